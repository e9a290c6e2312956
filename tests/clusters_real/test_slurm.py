"""`embed --cluster` with kind slurm, on a SLURM of our own with one node, also with jobs that are over before the work is."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.support import cli, part_files, start_cli, wait_for
from tests.clusters_real.conftest import events, keep_log, outline, told_of, workers_here
from tests.clusters_real.kit_slurm import Slurm, missing, slurm
from tests.clusters_real.kit_ssh import free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(missing() is not None, reason=missing() or ""),
]
ASKED = ["--model", "placeholder"]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    with slurm(tmp_path_factory.mktemp("slurm")) as found:
        yield found


@pytest.fixture
def slurm_file(cluster_file: Callable[..., Path], tls: dict[str, str], there: Path) -> Callable[..., tuple[Path, str]]:
    """Write a file for two jobs of one worker; returns it and the scheduler's address."""

    def write(**more: Any) -> tuple[Path, str]:
        address = f"tls://127.0.0.1:{free_port()}"
        keys = {
            "kind": "slurm",
            "scheduler": address,
            "walltime": "0:30:00",
            "jobs": 2,
            "tls": tls,
            "partition": "short",
        }
        return cluster_file(**{**keys, "memory": "512 MB", "logs": str(there), **more}), address

    return write


@pytest.fixture
def slurm_cli(system: Slurm) -> Callable[..., Any]:
    return lambda *args: cli(*args, env=system.env, timeout_s=600)


def job_numbers(told: list[str]) -> list[str]:
    """Return the numbers of the batch jobs that a run says it started."""
    return [found.group(1) for text in told if (found := re.fullmatch(r"job (\d+): started", text))]


def no_jobs(system: Slurm) -> bool:
    return not system.run("squeue", "--me", "--noheader", "--format=%T").strip()


def test_a_run_submits_what_the_dry_run_shows(
    archive: Path,
    clean: dict[str, str],
    home: Path,
    system: Slurm,
    slurm_cli: Callable[..., Any],
    slurm_file: Callable[..., tuple[Path, str]],
) -> None:
    file, address = slurm_file()
    store = home / "slurm"
    asked = ["embed", archive, "--store", store, *ASKED, "--cluster", file]
    (step,) = json.loads(slurm_cli(*asked, "--dry-run", "--json").stdout)["cluster"]["steps"][1:]
    done = slurm_cli(*asked)
    assert done.returncode == 0, done.stderr
    assert part_files(store) == clean
    numbers = job_numbers(told_of(store))
    assert len(numbers) == 2
    for number in numbers:
        kept = Path(system.folder / f"script-{number}")
        system.run("scontrol", "write", "batch_script", number, str(kept))
        assert kept.read_text("utf-8") == step["text"]
    wait_for(lambda: no_jobs(system) and not workers_here(address), "the end of all jobs", timeout_s=40)


def test_jobs_that_are_over_before_the_work_is_are_submitted_again(
    archive: Path,
    clean: dict[str, str],
    home: Path,
    tmp_path: Path,
    system: Slurm,
    slurm_cli: Callable[..., Any],
    slurm_file: Callable[..., tuple[Path, str]],
) -> None:
    """Jobs of one minute, of which workers take parts for half; the work takes more than two of them."""
    file, _ = slurm_file(walltime="0:01:00", jobs=1, slow_model_s=2.5)
    store = home / "short"
    asked = ["embed", archive, "--store", store, *ASKED, "--cluster", file]
    dry = slurm_cli(*asked, "--dry-run")
    done = slurm_cli(*asked, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["done"], report["failed"]) == (60, 0)
    assert part_files(store) == clean
    told = told_of(store)
    numbers = job_numbers(told)
    assert len(numbers) >= 3, told
    assert "trouble" not in {e["event"] for e in events(store)}, "workers end the part they have; none fails with them"
    accounts = system.run("scontrol", "--oneliner", "show", "jobs")
    states = dict(re.findall(r"JobId=(\d+).*?JobState=(\w+)", accounts))
    assert {states[n] for n in numbers[:-1]} == {"COMPLETED"}, "they leave by themselves before they are ended"
    lives = [re.sub(r"^(.*?JobId=\d+).*?(JobState=\w+).*?(RunTime=\S+).*?(TimeLimit=\S+).*$", r"\1 \2 \3 \4", line)
             for line in accounts.splitlines() if line.split(" ")[0].removeprefix("JobId=") in numbers]  # fmt: skip
    verified = cli("verify", "--store", store, "--deep")
    assert verified.returncode == 0
    keep_log(
        "slurm",
        "kind: slurm, jobs of one minute for work of several; one node, which is this machine",
        [
            ("cat cluster.yaml", file.read_text("utf-8")),
            ("sonotheque embed archive --store short --model placeholder --cluster cluster.yaml --dry-run", dry.stdout),
            (
                "sonotheque embed archive --store short --model placeholder --cluster cluster.yaml --json",
                json.dumps({k: report[k] for k in ("state", "files", "done", "failed", "parts", "wall_s")}),
            ),
            ("the job's events", outline(store)),
            ("scontrol --oneliner show jobs", "\n".join(lives)),
            ("sonotheque verify --store short --deep", verified.stdout),
        ],
        [home, tmp_path, system.folder],
    )


def test_jobs_end_when_their_run_is_killed(
    archive: Path,
    clean: dict[str, str],
    home: Path,
    system: Slurm,
    slurm_cli: Callable[..., Any],
    slurm_file: Callable[..., tuple[Path, str]],
) -> None:
    file, address = slurm_file(slow_model_s=0.3)
    store = home / "killed"
    process = start_cli("embed", archive, "--store", store, *ASKED, "--cluster", file, "-q", env=system.env)
    wait_for(lambda: list(store.glob("embeddings/**/*.parquet")), "the first part")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    wait_for(lambda: no_jobs(system) and not workers_here(address), "the end of all jobs", timeout_s=90)
    assert part_files(store).items() <= clean.items()
    again = slurm_cli("resume", "--store", store, "--json")
    assert again.returncode == 0, again.stderr
    assert part_files(store) == clean


def test_a_run_that_waits_in_the_queue_says_so_and_can_be_stopped(
    archive: Path, home: Path, system: Slurm, slurm_file: Callable[..., tuple[Path, str]]
) -> None:
    node = system.run("sinfo", "--noheader", "--format=%n").strip()
    system.run("scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=repairs")
    try:
        file, _ = slurm_file(start_within="0:01:00", jobs=1)
        store = home / "waits"
        process = start_cli("embed", archive, "--store", store, *ASKED, "--cluster", file, "-q", env=system.env)
        told = wait_for(
            lambda: (store / "jobs/1/events.jsonl").exists() and [t for t in told_of(store) if "no worker" in t],
            "what the queue says",
            timeout_s=150,
        )
        assert "PENDING" in told[0]
        assert "sonotheque stop" in told[0]
        cli("stop", "--store", store)
        process.communicate(timeout=60)
        assert process.returncode in (9, -signal.SIGTERM, -signal.SIGKILL)
        wait_for(lambda: no_jobs(system), "the job's cancelling", timeout_s=30)
        assert not part_files(store)
    finally:
        system.run("scontrol", "update", f"NodeName={node}", "State=RESUME")


def test_a_script_that_is_refused_ends_the_run(
    archive: Path, home: Path, slurm_cli: Callable[..., Any], slurm_file: Callable[..., tuple[Path, str]]
) -> None:
    file, _ = slurm_file(partition="no-such", jobs=1)
    done = slurm_cli("embed", archive, "--store", home / "refused", *ASKED, "--cluster", file, "-q")
    assert done.returncode == 6, done.stderr
    assert "invalid partition" in done.stderr
