"""Clusters as YAML files: what a file can say, errors with their line, what would be started, and real runs on it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from distributed import Client, Security
from distributed.comm import connect as dial

import cluster.run
from cluster.dask_backend import DaskBackend
from cluster.dask_connect import connect
from cluster.dask_settings import REQUIRE_ENCRYPTION, SETTINGS, as_environment
from cluster.options import EmbedOptions, default_workers
from cluster.payload import ModelChoice
from cluster.resuming import resume
from cluster.run import embed, prepare
from cluster.specs.kinds import KINDS, Gpu, Kubernetes, Local, Pbs, Slurm, Ssh, Tls
from cluster.specs.manifests import manifests
from cluster.specs.placing import address_of, model_on_nodes, on_nodes, placed
from cluster.specs.read import read_cluster
from cluster.specs.script import pbs_script, slurm_script, steps_of
from sonotheque.core.errors import Invalid, NotFound, SonothequeError, Unavailable
from tests.cluster.support import (
    cli,
    cli_env,
    cluster_file,
    make_archive,
    options,
    part_files,
    run,
    wait_for,
    write_tls,
)
from tests.clusters_real.kit_ssh import free_port

EXAMPLES = Path(__file__).parents[2] / "cluster" / "examples"
SLURM = "kind: slurm\nscheduler: tcp://login1:8786\nwalltime: 12:00:00\n"
SSH = "kind: ssh\nscheduler: tcp://desk1:8786\nhosts: [a, b]\n"
POD = "kind: kubernetes\nimage: sonotheque:1\nvolumes: {archive: /data}\n"

each_kind = pytest.mark.parametrize("kind", sorted(KINDS))


def read(folder: Path, text: str) -> Any:
    """Return the cluster of a file with this text."""
    file = folder / "cluster.yaml"
    file.write_text(text, encoding="utf-8")
    return read_cluster(file)


def keys_of(cls: type) -> Iterator[str]:
    """Yield a kind's keys, those of the level below too."""
    for field in fields(cls):
        yield field.name
        if nested := field.metadata.get("nested"):
            yield from keys_of(nested)


# ---- the examples -----------------------------------------------------------------------------------------------------


@each_kind
def test_an_example_has_every_key_with_a_comment(kind: str) -> None:
    lines = (EXAMPLES / f"{kind}.yaml").read_text(encoding="utf-8").splitlines()
    for key in keys_of(KINDS[kind]):
        at = [i for i, line in enumerate(lines) if re.match(rf" *{key}:", line)]
        assert len(at) == 1, f"{key} is there {len(at)} times"
        assert re.match(r" *# \w", lines[at[0] - 1]), f"above {key} is no comment"
    assert all(len(line) <= 140 for line in lines)


@each_kind
def test_an_example_loads_and_sets_nothing_to_its_default(kind: str) -> None:
    found = read_cluster(EXAMPLES / f"{kind}.yaml")
    assert type(found) is KINDS[kind]
    assert found.kind == kind
    assert found.processes
    for field in fields(found):
        assert getattr(found, field.name) not in (None, (), {}), f"{field.name} shows nothing"


def test_there_is_an_example_of_each_kind_and_no_other() -> None:
    assert {p.stem for p in EXAMPLES.iterdir()} == set(KINDS)


# ---- reading ----------------------------------------------------------------------------------------------------------


def test_values_are_the_text_that_was_written(tmp_path: Path) -> None:
    """YAML 1.1 would make these 43200, true, 8 and 1.0."""
    variables = "environment: {A: yes, B: 010, C: 1.0, D: 12:30:00, E: '', F: '# no comment'}\n"
    found = read(tmp_path, SLURM + variables + "partition: 1e3\n")
    assert found.walltime == 12 * 3600
    assert found.environment == {"A": "yes", "B": "010", "C": "1.0", "D": "12:30:00", "E": "", "F": "# no comment"}
    assert found.partition == "1e3"


@pytest.mark.parametrize(
    ("written", "seconds"), [("04:00:00", 14_400), ("1-00:00:00", 86_400), ("100:00:01", 360_001), ("0:10:00", 600)]
)
def test_walltimes(tmp_path: Path, written: str, seconds: int) -> None:
    assert read(tmp_path, SLURM.replace("12:00:00", written)).walltime == seconds


@pytest.mark.parametrize(
    ("written", "amount"), [("4 GB", 4 * 10**9), ("4GiB", 4 << 30), ("3.5 GiB", 7 << 29), ("512MB", 512 * 10**6)]
)
def test_memory(tmp_path: Path, written: str, amount: int) -> None:
    assert read(tmp_path, f"kind: local\nmemory: {written}\n").memory == amount


def test_an_empty_value_is_the_default_where_that_is_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, "kind: local\nworkers:\nmemory: null\ntls: ~\n") == Local()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SLURM + "worker: 4\n", r"line 4: unknown key 'worker' of kind slurm; did you mean workers"),
        ("kind: local\npaths: {/a: /b}\n", r"line 2: unknown key 'paths' of kind local; .*\(paths is a key of .*slurm"),
        ("kind: local\ntls:\n  ca: /a\n  cert: /b\n  kye: /c\n", r"line 5: unknown key 'tls\.kye' of tls; .*key"),
        ("kind: local\ntls:\n  ca: /a\n", r"line 3: the keys tls\.cert, tls\.key are missing, which tls needs"),
        ("kind: slurm\nscheduler: tcp://a:1\n", r"line 1: the key walltime is missing, which kind slurm needs"),
        ("workers: 4\n", r"line 1: the key kind is missing; expected one of local, ssh"),
        ("\n\nkind: slrum\n", r"line 3: kind is 'slrum'; did you mean slurm\?"),
        ("kind: [local]\n", r"line 1: kind is a list \(local\)"),
        ("kind: local\nworkers: many\n", r"line 2: workers is 'many'; expected a whole number of at least 1"),
        ("kind: local\nworkers: 0\n", r"line 2: workers is '0'; expected a whole number of at least 1"),
        ("kind: local\nworkers: '4'\n", r"line 2: workers is '4'; expected a whole number"),
        ("kind: local\nworkers: [4]\n", r"line 2: workers is a list \(4\); expected a whole number"),
        ("kind: local\nworkers: 1:30\n", r"line 2: workers is '1:30'; expected a whole number"),
        ("kind: local\nthreads:\n", r"line 2: threads is empty; expected a whole number"),
        ("kind: local\nmemory: 4\n", r"line 2: memory is '4'; expected an amount such as 4 GB"),
        ("kind: local\nmemory: 1 MB\n", r"line 2: memory is '1 MB'; expected .* of at least 256 MB"),
        ("kind: local\nworkers: 2\nworkers: 3\n", r"line 3: workers is there twice, first in line 2; keep one"),
        ("kind: local\ntls: /a\n", r"line 2: tls is '/a'; expected keys below it: ca, cert, key"),
        ("kind: local\ntls: {ca: a.pem, cert: /b, key: /c}\n", r"line 2: tls\.ca is 'a\.pem'; expected a path from"),
        ("kind: local\nenvironment: {A B: c}\n", r"line 2: environment is keys and values \(A B\); expected names"),
        ("kind: local\nenvironment: {A: [1]}\n", r"line 2: environment .*; expected names and texts"),
        ("kind: local\nenvironment: {A: 1, A: 2}\n", r"line 2: environment .*each once"),
        ('kind: local\nenvironment: {A: "b\\nexit"}\n', r"line 2: environment .*; expected names and texts"),
        (SLURM.replace("12:00:00", "43200"), r"line 3: walltime is '43200'; expected a time such as 12:00:00"),
        (SLURM.replace("12:00:00", "00:00:59"), r"line 3: walltime is '00:00:59'; .* of at least 00:01:00"),
        (SLURM.replace("12:00:00", "12:75:00"), r"line 3: walltime is '12:75:00'"),
        (SLURM.replace("login1:8786", "login1"), r"line 2: scheduler is 'tcp://login1'; expected an address"),
        (SLURM.replace(":8786", ":99999"), r"line 2: scheduler is 'tcp://login1:99999'"),
        (SLURM.replace("tcp", "tls"), r"line 1: scheduler is tls://login1:8786 and there are no files below tls"),
        (SLURM + "tls: {ca: /a, cert: /b, key: /c}\n", r"line 1: scheduler is tcp://.* there are files below tls"),
        (SLURM + "partition: cpu --gres\n", r"line 4: partition is 'cpu --gres'; expected a name without blanks"),
        (SLURM + 'setup: ["a\\nb"]\n', r"line 4: setup is .*; expected a list of lines"),
        (SLURM + "setup: module load x\n", r"line 4: setup is 'module load x'; expected a list of lines"),
        (SLURM + "paths: {here: /there}\n", r"line 4: paths is keys and values \(here\); expected pairs of folders"),
        (SSH.replace("[a, b]", "[]"), r"line 3: hosts is a list \(\); expected a list of host names"),
        (SSH.replace("[a, b]", "[a, a]"), r"line 3: hosts is a list \(a, a\); .*each once"),
        (SSH.replace("[a, b]", "[-oProxyCommand=x]"), r"line 3: hosts is .*; expected a list of host names"),
        ("kind: gpu\nscheduler: tcp://a:1\ndevices: [0, x]\n", r"line 3: devices is a list \(0, x\); .*GPU numbers"),
        (POD + "name: My_Pods\n", r"line 4: name is 'My_Pods'; expected lower case letters"),
        (
            POD.replace("{archive: /data}", "{}"),
            r"line 3: volumes is keys and values \(\); expected claims and folders",
        ),
        ("- kind: local\n", r"line 1: expected keys and values, beginning with `kind: local`"),
        ("", r"line 1: expected keys and values"),
        ("kind: local\nworkers: [\n", r"cluster\.yaml is no YAML: .*line 3"),
        ("[a]: b\n", r"line 1: a key must be one word"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(Invalid, match=expected) as caught:
        read(tmp_path, text)
    assert str(tmp_path / "cluster.yaml") in caught.value.message


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no cluster file .*none\.yaml; the folder cluster/examples"):
        read_cluster(tmp_path / "none.yaml")
    with pytest.raises(Invalid, match="cannot be read"):
        read_cluster(tmp_path)
    (tmp_path / "bytes.yaml").write_bytes(b"kind: \xff")
    with pytest.raises(Invalid, match="cannot be read"):
        read_cluster(tmp_path / "bytes.yaml")


# ---- what would be started --------------------------------------------------------------------------------------------


def body(script: str) -> list[str]:
    """Return a script without the lines that set Dask's and the allocator's variables."""
    return [line for line in script.splitlines() if not line.startswith(("export DASK_", "export MALLOC_"))]


def test_a_slurm_script(tmp_path: Path) -> None:
    more = "jobs: 3\nworkers: 4\nthreads: 2\nmemory: 1 GiB\npartition: cpu\nlogs: /logs/\ndirectives: [--gres=none]\n"
    script = slurm_script(read(tmp_path, SLURM + more + "setup: [module load python]\nenvironment: {A: it's}\n"))
    assert body(script) == [
        "#!/bin/bash",
        "#SBATCH --job-name=sonotheque",
        "#SBATCH --nodes=1",
        "#SBATCH --ntasks=1",
        "#SBATCH --cpus-per-task=8",
        "#SBATCH --time=12:00:00",
        "#SBATCH --mem=4096M",
        "#SBATCH --partition=cpu",
        "#SBATCH --output=/logs/sonotheque-%j.log",
        "#SBATCH --gres=none",
        "set -e",
        "export A='it'\"'\"'s'",
        "export SONOTHEQUE_WALLTIME_S=43200",
        "export SONOTHEQUE_JOB_BEGAN=$(date +%s)",
        "module load python",
        "exec python3 -m dask worker tcp://login1:8786 --nworkers 4 --nthreads 1 --no-dashboard --death-timeout 120 "
        "--memory-limit 1073741824 --preload cluster.launching.draining",
    ]


def test_a_pbs_script(tmp_path: Path) -> None:
    text = "kind: pbs\nscheduler: tcp://a:1\nwalltime: 0:10:00\nqueue: q\naccount: x\n"
    script = body(pbs_script(read(tmp_path, text)))
    assert script[1:7] == [
        "#PBS -N sonotheque",
        "#PBS -l select=1:ncpus=1",
        "#PBS -l walltime=00:10:00",
        "#PBS -q q",
        "#PBS -A x",
        "set -e",
    ]
    many = pbs_script(read(tmp_path, text + "jobs: 2\nmemory: 1 GiB\nlogs: /l\n"))
    assert "#PBS -J" not in many, "each job is followed by itself"
    assert "ncpus=1:mem=1024mb\n" in many
    assert "#PBS -j oe -o /l/\n" in many


def test_a_logs_folder_with_a_blank(tmp_path: Path) -> None:
    """As sbatch reads a line of options; qsub knows no quotes."""
    script = slurm_script(read(tmp_path, SLURM + "logs: /my logs/it's\n"))
    (line,) = [line for line in script.splitlines() if "--output" in line]
    assert shlex.split(line.removeprefix("#SBATCH ")) == ["--output=/my logs/it's/sonotheque-%j.log"]
    text = "kind: pbs\nscheduler: tcp://a:1\nwalltime: 0:10:00\n"
    with pytest.raises(Invalid, match=r"line 4: logs is '/my logs'; expected a path from the root without blanks"):
        read(tmp_path, text + "logs: /my logs\n")


@each_kind
def test_what_is_printed_is_a_program_that_a_shell_reads(kind: str) -> None:
    steps = steps_of(read_cluster(EXAMPLES / f"{kind}.yaml"))
    shell = "\n".join(step.shell() for step in steps)
    done = subprocess.run(["bash", "-n"], input=shell, text=True, capture_output=True, check=True)
    assert not done.stderr, "bash warns of a here-document without an end"
    assert (not steps) == (kind == "local")
    assert all(json.loads(json.dumps(step.to_json())) == asdict(step) for step in steps)


def test_nothing_in_a_file_leaves_its_quotes(tmp_path: Path) -> None:
    evil = '\'; touch made; echo "$(touch made)" `touch made` \\'
    mine = {"A": evil, "B": "$HOME", "C": "two  blanks "}
    ssh = replace(read(tmp_path, SSH), environment=mine, identity="/a b")
    step = steps_of(ssh)[1]
    words = shlex.split(step.command.removesuffix(" &"))
    assert words[:6] == ["ssh", "-n", "-o", "BatchMode=yes", "-i", "/a b"]
    assert words[6] == "a"
    remote = shlex.split(words[7])  # what the shell over there makes of it
    assert {f"{k}={v}" for k, v in mine.items()} <= set(remote)
    slurm = replace(read(tmp_path, SLURM), environment=mine, python="/a b/python")
    exports = slurm_script(slurm).replace("exec ", "env -0; : ")
    told = subprocess.run(["bash"], input=exports, text=True, capture_output=True, cwd=tmp_path, check=True).stdout
    assert {f"{k}={v}" for k, v in mine.items()} <= set(told.split("\0"))
    assert not (tmp_path / "made").exists()


def test_a_line_that_would_end_the_script_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="END_OF_SONOTHEQUE"):
        steps_of(read(tmp_path, SLURM + "setup: [END_OF_SONOTHEQUE]\n"))


def test_each_gpu_has_a_worker_that_sees_it_alone(tmp_path: Path) -> None:
    steps = steps_of(read(tmp_path, "kind: gpu\nscheduler: tcp://127.0.0.1:8786\ndevices: [0, 3]\nthreads: 2\n"))
    assert [re.findall(r"CUDA_VISIBLE_DEVICES=\S+", s.command) for s in steps[1:]] == [
        ["CUDA_VISIBLE_DEVICES=0"],
        ["CUDA_VISIBLE_DEVICES=3"],
    ]
    assert all("TF_FORCE_GPU_ALLOW_GROWTH=true" in s.command and " --nworkers 1 " in s.command for s in steps[1:])
    assert f"{sys.executable} -m dask scheduler --host 127.0.0.1 --port 8786 --no-dashboard" in steps[0].command


def test_addresses_of_ipv6(tmp_path: Path) -> None:
    command = steps_of(read(tmp_path, SSH.replace("desk1", "[::1]")))[0].command
    assert " --host ::1 --port 8786 " in command


def test_tls_files_are_named_where_the_nodes_see_them() -> None:
    slurm = read_cluster(EXAMPLES / "slurm.yaml")
    scheduler, job = steps_of(slurm)
    assert "--protocol tls --tls-ca-file /home/me/tls/ca.pem" in scheduler.command
    assert "--tls-ca-file /scratch/me/tls/ca.pem" in (job.text or "")
    assert "--tls-key /scratch/me/tls/cluster.key" in (job.text or "")
    assert "export DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION=True" in (job.text or "")


def test_workers_started_by_commands_have_the_settings_of_ours() -> None:
    wanted = {**SETTINGS, REQUIRE_ENCRYPTION: True}
    code = (
        "import os, sys, json, dask, distributed.nanny as nanny;"
        "spawn = {**os.environ, **nanny._get_env_variables('distributed.nanny.pre-spawn-environ')};"
        "print(json.dumps([spawn, {k: dask.config.get(k) for k in sys.argv[1:]}]))"
    )
    keys = [key for key in wanted if "pre-spawn-environ" not in key]
    command = [sys.executable, "-c", code, *keys]
    done = subprocess.run(command, env=cli_env(as_environment(wanted)), capture_output=True, text=True, check=True)
    spawn, found = json.loads(done.stdout)
    assert found == {key: wanted[key] for key in keys}
    for key in set(wanted) - set(keys):
        assert spawn[key.rpartition(".")[2]] == str(wanted[key])


def test_manifests_fit_together(tmp_path: Path) -> None:
    text = POD + "workers: 5\nmemory: 1 GiB\nthreads: 2\nenvironment: {A: yes, B: '1'}\nname: birds\n"
    written = manifests(read(tmp_path, text))
    assert "&id" not in written
    service, scheduler, workers = yaml.safe_load_all(written)
    assert [d["kind"] for d in (service, scheduler, workers)] == ["Service", "Job", "Job"]
    assert {d["metadata"]["namespace"] for d in (service, scheduler, workers)} == {"default"}
    assert service["spec"]["selector"] == scheduler["spec"]["template"]["metadata"]["labels"]
    for job in (scheduler, workers):
        assert job["spec"]["ttlSecondsAfterFinished"] > 0, "nothing is left for ever"
        pod = job["spec"]["template"]["spec"]
        assert pod["securityContext"] == {"runAsNonRoot": True, "runAsUser": 1000, "fsGroup": 1000}
        (container,) = pod["containers"]
        assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
        assert all(isinstance(v["value"], str) for v in container["env"])
        assert {"name": "A", "value": "yes"} in container["env"]
        assert all(isinstance(word, str) for word in container["command"])
    assert scheduler["spec"]["template"]["metadata"]["labels"] != workers["spec"]["template"]["metadata"]["labels"]
    assert (scheduler["spec"]["parallelism"], workers["spec"]["parallelism"]) == (1, 5)
    (asked,) = scheduler["spec"]["template"]["spec"]["containers"]
    assert "--idle-timeout" in asked["command"], "a scheduler whose run was killed ends"
    (worker,) = workers["spec"]["template"]["spec"]["containers"]
    assert worker["command"][4] == f"tcp://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    assert worker["resources"]["requests"] == {"cpu": "2", "memory": str(1 << 30)}
    forward = steps_of(read(tmp_path, text))[1].command
    assert forward == "kubectl --namespace default port-forward service/birds 8786:8786 &"


@pytest.mark.parametrize("version", ["1.29", "1.31", kubernetes_validate.latest_version()])
def test_manifests_are_what_kubernetes_takes(tmp_path: Path, version: str) -> None:
    short = manifests(read(tmp_path, POD))
    for text in (manifests(read_cluster(EXAMPLES / "kubernetes.yaml")), short):
        for document in yaml.safe_load_all(text):
            kubernetes_validate.validate(document, version, strict=True)
    broken = next(d for d in yaml.safe_load_all(short) if d["kind"] == "Job")
    broken["spec"]["paralelism"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, version, strict=True)


# ---- a file and a run -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("/a", "/x"),
        ("/a/b.wav", "/x/b.wav"),
        ("/a/deep/c", "/y/c"),
        ("/ab/c", "/ab/c"),
        ("/a/deeper", "/x/deeper"),
        ("/else", "/else"),
    ],
)
def test_the_deepest_folder_counts(path: str, there: str) -> None:
    assert on_nodes(path, {"/a": "/x", "/a/deep": "/y"}) == there


def test_the_root_can_be_another() -> None:
    assert on_nodes("/a/b", {"/": "/mnt"}) == "/mnt/a/b"
    assert on_nodes("/a/b", {"/a": "/"}) == "/b"
    assert on_nodes("/a/b", {}) == "/a/b"


def test_weights_are_where_the_nodes_see_them() -> None:
    paths = {"/a": "/x"}
    assert model_on_nodes(ModelChoice("m", "/a/w.onnx"), paths).weights == "/x/w.onnx"
    assert model_on_nodes(ModelChoice("m", "hf:a/b/c.onnx"), paths).weights == "hf:a/b/c.onnx"
    assert model_on_nodes(ModelChoice("m"), paths).weights is None


def test_workers_and_threads_are_the_files(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    read(tmp_path, "kind: local\nworkers: 3\nthreads: 2\n")
    asked = EmbedOptions(sources=("a",), store="s", model="placeholder", cluster=str(file))
    options_, found = placed(asked)
    assert (options_.workers, options_.threads, options_.cluster) == (3, 2, str(file))
    assert isinstance(found, Local)
    assert placed(options_) == (options_, found)
    read(tmp_path, "kind: local\n")
    assert placed(asked)[0].workers == default_workers("placeholder")
    assert placed(replace(asked, cluster=None)) == (replace(asked, cluster=None), None)
    read(tmp_path, SLURM + "workers: 4\njobs: 3\n")
    assert placed(asked)[0].workers == 12


def test_where_the_scheduler_answers() -> None:
    tls = Tls(ca="/a", cert="/b", key="/c")
    assert address_of(Local()) is None
    assert address_of(Ssh(scheduler="tcp://a:1", hosts=("b",))) == "tcp://a:1"
    assert address_of(Kubernetes(image="i", volumes={"a": "/b"})) == "tcp://127.0.0.1:8786"
    assert address_of(Kubernetes(image="i", volumes={"a": "/b"}, tls=tls)) == "tls://127.0.0.1:8786"
    for cls, more in ((Gpu, {"devices": (0,)}), (Pbs, {"walltime": 600}), (Slurm, {"walltime": 600})):
        with pytest.raises(Invalid, match=r"tls://a:1.*no files"):
            cls(scheduler="tls://a:1", **more)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("slurm", "no sbatch on this machine.*login node"),
        ("pbs", "no qsub on this machine.*login node"),
        ("kubernetes", "no kubectl on this machine"),
        ("gpu", "no nvidia-smi on this machine.*kind: local"),
    ],
)
def test_what_is_not_installed_is_told_and_leaves_nothing(
    kind: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = make_archive(tmp_path / "archive", sites=1, days=1, files=1)
    monkeypatch.setenv("PATH", str(tmp_path))
    file = str(EXAMPLES / f"{kind}.yaml")
    with pytest.raises(Unavailable, match=rf"{kind}\.yaml: .*{said}.*--dry-run.*--scheduler"):
        embed(options(archive, tmp_path / "store", cluster=file))
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("kind", ["ssh", "slurm", "pbs"])
def test_a_missing_extra_is_named(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = make_archive(tmp_path / "archive", sites=1, days=1, files=1)
    monkeypatch.setattr("cluster.launching.ready.find_spec", lambda name: None)
    with pytest.raises(Unavailable, match=r"asyncssh|dask-jobqueue") as caught:
        embed(options(archive, tmp_path / "store", cluster=str(EXAMPLES / f"{kind}.yaml")))
    assert caught.value.kind == "engine_missing"
    assert "pip install 'sonotheque[nodes]'" in caught.value.message
    assert not (tmp_path / "store").exists()


def test_a_file_for_here_and_a_scheduler_elsewhere(tmp_path: Path) -> None:
    archive = make_archive(tmp_path / "archive", sites=1, days=1, files=1)
    read(tmp_path, "kind: local\n")
    asked = options(archive, tmp_path / "store", cluster=str(tmp_path / "cluster.yaml"), scheduler="tcp://a:1")
    for call in (embed, prepare):
        with pytest.raises(Invalid, match=r"--scheduler tcp://a:1 with --cluster .*kind is local"):
            call(asked)
    assert not (tmp_path / "store").exists()


# ---- real runs --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archive(tmp_path_factory.mktemp("specs") / "here" / "archive", sites=2, days=2, files=2)


@pytest.fixture(scope="module")
def clean(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The part files of a run without Dask."""
    store = tmp_path_factory.mktemp("clean") / "store"
    run(archive, store)
    return part_files(store)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Files of an authority that signed itself, as a cluster file names them."""
    return write_tls(tmp_path_factory.mktemp("tls"))


def test_local_workers_are_as_the_file_says(tmp_path: Path, tls: dict[str, str]) -> None:
    file = cluster_file(tmp_path, kind="local", workers=2, memory="1 GiB", environment={"SPECS_TEST": "a  b"}, tls=tls)
    backend = DaskBackend(ModelChoice("placeholder"), job=1, workers=2, cluster=read_cluster(file))
    try:
        backend.start()
        client = backend._live
        workers = client.scheduler_info(n_workers=-1)["workers"]
        address = client.scheduler.address
        assert set(client.run(os.getenv, "SPECS_TEST").values()) == {"a  b"}
        assert {w["memory_limit"] for w in workers.values()} == {1 << 30}
        assert len(workers) == 2
        assert all(a.startswith("tls://") for a in [address, *workers])
        asyncio.run(dial(address, timeout=10, **backend._live.security.get_connection_args("client"))).abort()
        for other in (Security(), Security.temporary()):  # without a certificate, and with another authority's
            with pytest.raises((OSError, TypeError)):
                asyncio.run(dial(address, timeout=2, **other.get_connection_args("client")))
    finally:
        backend.close()


def test_a_run_on_local_workers_writes_what_one_process_writes(
    archive: Path, clean: dict[str, str], tmp_path: Path, tls: dict[str, str]
) -> None:
    file = cluster_file(tmp_path, kind="local", workers=2, tls=tls)
    report = run(archive, tmp_path / "store", cluster=file)
    assert part_files(tmp_path / "store") == clean
    assert report.workers <= 2
    told = json.loads((tmp_path / "store/jobs/1/job.json").read_text(encoding="utf-8"))["options"]
    assert (told["cluster"], told["workers"]) == (file, 2)


def test_resume_asks_the_file_again_unless_it_is_told_a_number(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = cluster_file(tmp_path, kind="local", workers=1)
    run(archive, tmp_path / "store", cluster=file)
    seen: list[EmbedOptions] = []
    monkeypatch.setattr("cluster.resuming.embed", lambda options, watcher: seen.append(options))
    resume(str(tmp_path / "store"))
    resume(str(tmp_path / "store"), workers=0)
    assert [(o.cluster, o.workers) for o in seen] == [(file, 1), (None, 0)]


def test_missing_tls_files_are_named(tmp_path: Path, archive: Path) -> None:
    file = cluster_file(tmp_path, kind="local", workers=1, tls={"ca": "/no/ca", "cert": "/no/c", "key": "/no/k"})
    with pytest.raises(NotFound, match="tls: there is no file /no/ca"):
        embed(options(archive, tmp_path / "store", cluster=file))


def test_an_encrypted_scheduler_without_certificates() -> None:
    with pytest.raises(SonothequeError, match=r"--scheduler tls://127\.0\.0\.1:9"):
        connect("tls://127.0.0.1:9")


@pytest.fixture
def pasted(tmp_path: Path) -> Iterator[Any]:
    """Give what pastes lines into a shell whose `sbatch` runs the jobs here; all of it ends with the test."""
    programs = tmp_path / "bin"
    programs.mkdir()
    fake = programs / "sbatch"
    # A job, from a script on stdin, as SLURM would start it elsewhere.
    fake.write_text('#!/bin/bash\nscript=$(cat)\nbash -c "$script" &\n', encoding="ascii")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    started: list[subprocess.Popen[str]] = []

    def paste(lines: str) -> subprocess.Popen[str]:
        env = cli_env({"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"})
        log = (tmp_path / "shell.log").open("w", encoding="utf-8")
        shell = subprocess.Popen(
            ["bash"], env=env, stdin=subprocess.PIPE, stdout=log, stderr=log, text=True, start_new_session=True
        )
        assert shell.stdin
        shell.stdin.write(lines + "\nwait\n")
        shell.stdin.close()
        started.append(shell)
        return shell

    yield paste
    for shell in started:
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()


def test_what_is_printed_starts_a_cluster_on_which_a_run_runs(
    archive: Path, clean: dict[str, str], tmp_path: Path, tls: dict[str, str], pasted: Any
) -> None:
    """The whole way of SLURM, with a `sbatch` of ours: dry run, paste, run; the workers see the folders under another name."""
    here, there = archive.parent, tmp_path / "there"
    there.symlink_to(here)
    address = f"tls://127.0.0.1:{free_port()}"
    keys = {"kind": "slurm", "scheduler": address, "walltime": "1:00:00", "workers": 1, "jobs": 2}
    file = cluster_file(tmp_path, **keys, python=sys.executable, tls=tls, paths={str(here): str(there)})
    asked = ["embed", archive, "--store", here / "store", "--model", "placeholder", "--cluster", file, "-q"]
    dry = cli(*asked, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert f"folder   {here / 'store'} is {there / 'store'} on the nodes" in dry.stdout
    assert not (here / "store").exists()
    *_, shell = dry.stdout.partition("# nothing was started")
    lines, _, again = shell.partition("# The run, once workers are there\n")
    pasted("#" + lines)
    security = Security(
        require_encryption=True, tls_ca_file=tls["ca"], tls_client_cert=tls["cert"], tls_client_key=tls["key"]
    )
    with Client(address, security=security, timeout=60) as client:
        client.wait_for_workers(2, timeout=60)
        seen: list[tuple[str, str]] = []
        original = cluster.running.TaskPayload
        cluster.running.TaskPayload = lambda store, config, part, root, *rest: (  # type: ignore[assignment,misc]
            seen.append((store, root)) or original(store, config, part, root, *rest)
        )
        try:
            run(archive, here / "store", cluster=file, scheduler=address)
        finally:
            cluster.running.TaskPayload = original  # type: ignore[misc]
        assert set(seen) == {(str(there / "store"), str(there / "archive"))}
        assert part_files(here / "store") == clean
        assert wait_for(lambda: len(client.nthreads()) == 2, "the workers, still there", timeout_s=10)
    assert again.strip() == f"sonotheque {shlex.join(map(str, asked))} --scheduler {address}"
    done = cli(*shlex.split(again)[1:], "--json")
    assert json.loads(done.stdout)["skipped"] == 8, done.stderr


# ---- the command line -------------------------------------------------------------------------------------------------


def test_a_dry_run_of_a_local_cluster(archive: Path, tmp_path: Path) -> None:
    file = cluster_file(tmp_path, kind="local", workers=3, threads=2, memory="2 GB", environment={"A": "b"})
    asked = ["embed", archive, "--store", tmp_path / "store", "--model", "placeholder", "--cluster", file, "--dry-run"]
    text = cli(*asked).stdout
    assert "8 to embed with placeholder" in text
    assert f"cluster  {file}, kind local" in text
    assert f"3 worker processes of {sys.executable}, 2 threads of the model's engine each" in text
    assert "2.0 GB" in text
    assert "with A=b" in text
    told = json.loads(cli(*asked, "--json").stdout)
    assert told["new"] == 8
    assert (told["cluster"]["workers"], told["cluster"]["threads"], told["cluster"]["steps"]) == (3, 2, [])
    assert not (tmp_path / "store").exists()


@each_kind
def test_a_dry_run_of_every_kind_is_one_document(kind: str, archive: Path, tmp_path: Path) -> None:
    file = EXAMPLES / f"{kind}.yaml"
    done = cli(
        "embed", archive, "--store", tmp_path / "s", "--model", "placeholder", "--cluster", file, "--dry-run", "--json"
    )
    told = json.loads(done.stdout)["cluster"]
    assert told["kind"] == kind
    assert [step["command"] for step in told["steps"]] == [s.command for s in steps_of(read_cluster(file))]
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("option", ["--workers", "--threads"])
def test_what_the_file_says_is_not_said_twice(option: str, archive: Path, tmp_path: Path) -> None:
    file = cluster_file(tmp_path, kind="local")
    done = cli("embed", archive, "--store", tmp_path / "store", "--cluster", file, option, 1)
    assert done.returncode == 2
    assert f"{option} 1 beside --cluster {file}" in done.stderr


def test_a_wrong_file_ends_with_its_line(archive: Path, tmp_path: Path) -> None:
    file = cluster_file(tmp_path, kind="local", wokers=2)
    done = cli("embed", archive, "--store", tmp_path / "store", "--model", "placeholder", "--cluster", file)
    assert done.returncode == 2
    assert f"{file}, line 2: unknown key 'wokers' of kind local; did you mean workers?" in done.stderr
    assert not (tmp_path / "store").exists()


def test_the_readme_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    readme = EXAMPLES.parent / "specs" / "README.md"
    (block,) = re.findall(r"```python\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(block, "README.md", "exec"), {})
    modules = {p.stem for p in readme.parent.glob("*.py")} - {"__init__"}
    assert modules <= set(re.findall(r"`(\w+)`", readme.read_text(encoding="utf-8"))), "every module is named"
