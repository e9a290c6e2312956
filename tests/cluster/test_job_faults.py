"""A whole run on a disk that goes wrong, its job folder included: an error, a death and a power cut at every call.

After each of them the store answers, the same command ends the work, and what it leaves is byte for byte what a clean run leaves.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import cluster.coordinator
from cluster.heart import Heart
from cluster.history import job_history
from cluster.job import DEAD, FAILED, FINISHED, RUNNING, JobFolder, job_numbers, new_job
from cluster.progress import forget_progress, tell_progress
from cluster.report import ReportWriter
from cluster.run import embed
from cluster.status import job_report, job_rows, job_status
from sonotheque.core.errors import NotFound, SonothequeError, Unavailable
from tests.cluster import dying_run
from tests.cluster.support import cli_env, make_archive, options, part_files, report_rows, run, wait_for
from tests.store.faults import FaultyOps, ForgetfulOps, everywhere

ERRORS = ("eio", "enospc", "eio_after")
DEATHS = ("exit", "exit_after")
FILES = 5
BLOCKS = 8
# What a power cut may tear: nobody decides anything by it.
MAY_TEAR = ("heartbeat.json", "progress")


@dataclass(frozen=True)
class World:
    """Recordings, and what a clean run makes of them."""

    source: Path
    parts: dict[str, str]
    rows: dict[str, dict[str, Any]]
    calls: list[tuple[str, str]]

    def of_jobs(self) -> list[int]:
        """Calls on files of the job folder."""
        return [n for n, (_, path) in enumerate(self.calls) if "/jobs" in path]


@pytest.fixture(autouse=True)
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster.coordinator, "RETRY_AFTER_S", 0.0)
    for clocked in dying_run.CLOCKED:
        monkeypatch.setattr(*clocked)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("clean")
    source = make_archive(folder / "sound", sites=2, days=1, files=2, seconds=1.2)
    (source / "site0" / "20240501_090000.wav").touch()  # a recording that fails
    ops = FaultyOps()
    with pytest.MonkeyPatch.context() as patch:  # a fixture of each test alone would be too late
        for clocked in dying_run.CLOCKED:
            patch.setattr(*clocked)
        with everywhere(ops):
            report = embed(options(source, folder / "store"))
    assert (report.files, report.done, report.failed) == (FILES, FILES - 1, 1)
    short = [path.replace(str(folder / "store"), "") for path in ops.paths]
    return World(source, part_files(folder / "store"), told(report), list(zip(ops.calls, short, strict=True)))


def told(report: Any) -> dict[str, dict[str, Any]]:
    """Return a report's rows by path, without what differs from run to run."""
    return {p: {k: v for k, v in r.items() if k != "seconds"} for p, r in report_rows(report).items()}


def attempt(world: World, store: Path, ops: FaultyOps) -> Exception | None:
    try:
        with everywhere(ops):
            embed(options(world.source, store))
    except (OSError, SonothequeError) as error:
        return error
    return None


def ask(store: Path) -> None:
    """Ask all that can be asked of a store's jobs: each question is answered, or says in words why not."""
    for number in job_numbers(str(store)):
        status = job_status(str(store), number)
        assert status["parts_committed"] <= status["parts_planned"]
        rows = list(job_rows(str(store), number))
        assert len({row["path"] for row in rows}) == len(rows) <= FILES
        try:
            report = job_report(str(store), number)
        except NotFound as error:
            assert "no plan yet" in error.message
        else:
            assert report["files"] == sum(report[key] for key in ("done", "skipped", "failed", "pending"))
    if job_numbers(str(store)):
        assert [row.job for row in job_history(str(store), speeds=True)] == job_numbers(str(store))


def require_whole(world: World, store: Path, where: str) -> None:
    """Run the same command again: it ends the work, and nothing differs from a clean run."""
    before = part_files(store)
    assert before.items() <= world.parts.items(), where
    ask(store)
    report = run(world.source, store)
    assert (report.state, report.files) == (FINISHED, FILES), where
    assert part_files(store) == world.parts, where
    rows = told(report)
    assert rows.keys() == world.rows.keys(), where
    for path, row in rows.items():
        assert (row["status"], row["windows"]) == (world.rows[path]["status"], world.rows[path]["windows"]), where
    ask(store)
    assert job_status(str(store))["state"] == FINISHED


def litter(store: Path) -> list[str]:
    """Temporary files of commits and jobs."""
    return [str(p) for p in store.rglob("*") if p.is_file() and (p.parent.name == "_tmp" or p.name.startswith("."))]


def fail_at(world: World, store: Path, n: int, fault: str) -> None:
    ops = FaultyOps(n, fault)
    error = attempt(world, store, ops)
    where = f"{fault} at call {n}, {ops.calls[n]} {ops.paths[n]}"
    if fault == "enospc" and error is not None and ops.calls[n] != "exists":  # a look needs no room
        assert isinstance(error, Unavailable), f"{where}: {error!r}"
        assert error.kind == "disk_full", where
    if ops.calls[n] != "unlink":
        assert litter(store) == [], where
    for number in job_numbers(str(store)):
        state = JobFolder(str(store), number).state()
        assert state != RUNNING, f"{where}: the run is over, and its job says it runs"
        assert error is None or state in (FAILED, DEAD), where
    require_whole(world, store, where)


# ---- errors ----------------------------------------------------------------------------------------------------------


def test_the_sweep_meets_every_file_and_every_kind_of_call(world: World) -> None:
    jobs = [world.calls[n] for n in world.of_jobs()]
    files = " ".join(path for _, path in jobs)
    for name in (
        "job.json",
        "plan.jsonl.gz",
        "heartbeat",
        "events",
        "report.csv",
        "report.jsonl",
        "summary",
        "progress",
    ):
        assert name in files, name
    assert {c for c, _ in jobs} >= {
        "make_folder",
        "create",
        "write",
        "sync_file",
        "close",
        "replace",
        "sync_dir",
        "append",
    }


def test_an_error_at_a_call_on_a_job_file(world: World, tmp_path: Path) -> None:
    seen: set[tuple[str, str]] = set()
    for n in world.of_jobs():
        name, path = world.calls[n]
        kind = (name, path.rpartition("/")[2].split(".")[1 if "/." in path else 0])
        if kind not in seen:  # the sweep over all of them is a long test
            seen.add(kind)
            fail_at(world, tmp_path / str(n), n, ERRORS[n % len(ERRORS)])
    assert len(seen) > 20


@pytest.mark.slow
@pytest.mark.parametrize("block", range(BLOCKS))
@pytest.mark.parametrize("fault", ERRORS)
def test_an_error_at_every_call_of_a_run(world: World, tmp_path: Path, fault: str, block: int) -> None:
    for n in range(block, len(world.calls), BLOCKS):
        fail_at(world, tmp_path / str(n), n, fault)
        shutil.rmtree(tmp_path / str(n))


# ---- deaths ----------------------------------------------------------------------------------------------------------


def die(world: World, folder: Path, fault: str, numbers: list[int]) -> Iterator[tuple[int, int, list[str]]]:
    folder.mkdir()
    command = [
        sys.executable,
        "-m",
        "tests.cluster.dying_run",
        str(world.source),
        str(folder),
        fault,
        *map(str, numbers),
    ]
    done = subprocess.run(command, env=cli_env(), capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        found = json.loads(line)
        yield found["n"], found["code"], found["call"]


def require_deaths(world: World, folder: Path, fault: str, numbers: list[int]) -> None:
    met = 0
    for n, code, call in die(world, folder, fault, numbers):
        where = f"{fault} at call {n}, {call}"
        assert code == dying_run.DEAD, f"{where}: it ended with {code}"
        store = folder / str(n)
        for number in job_numbers(str(store)):
            # Behind its last call a job has said that it ended.
            assert JobFolder(str(store), number).state() in (DEAD, FINISHED), where
        require_whole(world, store, where)
        met += 1
    assert met == len(numbers)


def test_a_death_at_a_call_on_a_job_file(world: World, tmp_path: Path) -> None:
    numbers = world.of_jobs()
    require_deaths(world, tmp_path / "before", "exit", numbers[::11])
    require_deaths(world, tmp_path / "after", "exit_after", numbers[5::11])


@pytest.mark.slow
@pytest.mark.parametrize("block", range(BLOCKS))
@pytest.mark.parametrize("fault", DEATHS)
def test_a_death_at_every_call_of_a_run(world: World, tmp_path: Path, fault: str, block: int) -> None:
    require_deaths(world, tmp_path / fault, fault, list(range(block, len(world.calls), BLOCKS)))


# ---- a disk that forgets ---------------------------------------------------------------------------------------------


def test_a_power_cut_at_every_moment_loses_nothing_that_was_told(world: World, tmp_path: Path) -> None:
    """Whatever was not forced to disk is gone: names, bytes, whole folders. Every different disk that this can leave is tried."""
    base = tmp_path / "disk"
    base.mkdir()
    found: dict[str, tuple[Path, str]] = {}

    def cut(name: str, path: str) -> None:
        target = tmp_path / "cuts" / str(len(ops.log))
        ops.after_power_cut(target)
        state = hashlib.sha256()
        for file in sorted(target.rglob("*")):
            state.update(f"{file.relative_to(target)}\0".encode() + (file.read_bytes() if file.is_file() else b"/"))
        found.setdefault(state.hexdigest(), (target, f"a power cut at call {len(ops.log)}, {name} {path}"))

    ops = ForgetfulOps(str(base), lambda path: any(word in path for word in MAY_TEAR), cut)
    with everywhere(ops):
        embed(options(world.source, base / "store"))
    cut("the end", "")
    assert len(found) > 30
    for disk, where in found.values():
        store = disk / "store"
        if part_files(store):
            (job,) = job_numbers(str(store))
            assert "options" in JobFolder(str(store), job).read_json("job.json"), where
            assert len(list(JobFolder(str(store), job).read_plan())) == FILES, where
        require_whole(world, store, where)


def test_what_a_run_that_ended_has_on_disk(world: World, tmp_path: Path) -> None:
    base = tmp_path / "disk"
    base.mkdir()
    ops = ForgetfulOps(str(base), lambda path: any(word in path for word in MAY_TEAR))
    with everywhere(ops):
        embed(options(world.source, base / "store"))
    ops.after_power_cut(tmp_path / "after")
    store = str(tmp_path / "after" / "store")
    assert part_files(store) == world.parts
    job = JobFolder(store, 1)
    assert job.state() == FINISHED
    assert job_report(store)["done"] == FILES - 1
    assert {row["path"] for row in job_rows(store)} == world.rows.keys()
    assert len((job.path / "report.csv").read_text().splitlines()) == FILES + 1
    assert len(list(job.read_plan())) == FILES


# ---- one file at a time ----------------------------------------------------------------------------------------------


class Broken(FaultyOps):
    """A disk of which every call of a kind fails, until it is mended."""

    def __init__(self, call: str, code: int) -> None:
        super().__init__()
        self.call, self.code = call, code

    def step(self, name: str, effect: Any, torn: Any = None, path: str = "") -> Any:
        if name == self.call and self.code and not self._nested:
            if torn is not None:
                self._nested = True
                torn()
                self._nested = False
            raise OSError(self.code, os.strerror(self.code), path)
        return super().step(name, effect, torn, path)


def test_a_line_that_a_passing_fault_took_ends_no_run_and_harms_no_other(tmp_path: Path) -> None:
    job = new_job(str(tmp_path))
    job.event("first")
    ops = Broken("append", errno.EIO)
    with everywhere(ops):
        job.event("lost")
        ops.code = 0
        job.event("last")
    lines = job.file("events.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in (lines[0], lines[-1])] == ["first", "last"]
    assert len(lines) == 3  # half of the lost one has a line of its own


@pytest.mark.parametrize(
    ("code", "kind"), [(errno.ENOSPC, "disk_full"), (errno.EDQUOT, "disk_full"), (errno.EROFS, "read_only")]
)
@pytest.mark.parametrize("call", ["event", "ask_cancel", "make_progress", "report"])
def test_a_full_or_read_only_disk_is_told(tmp_path: Path, call: str, code: int, kind: str) -> None:
    job = new_job(str(tmp_path))
    calls: dict[str, Callable[[], object]] = {
        "event": lambda: job.event("x"),
        "ask_cancel": job.ask_cancel,
        "make_progress": job.make_progress,
        "report": lambda: ReportWriter(job.path),
    }
    with (
        everywhere(Broken("make_folder" if call == "make_progress" else "append", code)),
        pytest.raises(Unavailable) as caught,
    ):
        calls[call]()
    assert caught.value.kind == kind


def test_a_report_that_cannot_be_written_is_an_error_and_no_silence(tmp_path: Path) -> None:
    with everywhere(Broken("append", errno.EIO)), pytest.raises(OSError, match="Input/output"):
        ReportWriter(tmp_path)


def test_the_heart_goes_on_after_a_passing_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cluster.heart.EVERY_S", 0.01)
    job = new_job(str(tmp_path))
    ops = Broken("create", 0)
    with everywhere(ops), Heart(job) as heart:
        ops.code = errno.ESTALE
        heart.tell(phase="while it fails")
        tried = len(ops.calls)
        wait_for(lambda: len(ops.calls) > tried + 3, "beats that fail", timeout_s=20)
        assert job.read_json("heartbeat.json")["phase"] == "starting"
        ops.code = 0
        heart.tell(phase="mended")
        wait_for(lambda: job.read_json("heartbeat.json")["phase"] == "mended", "a beat", timeout_s=20)


def test_progress_is_told_whole_and_no_disk_fault_ends_a_part(tmp_path: Path) -> None:
    class Payload:
        progress_file = tmp_path / "part.json"

    payload: Any = Payload()
    tell_progress(payload, {"files": 1})
    with everywhere(Broken("replace", errno.EIO)):
        tell_progress(payload, {"files": 2})
    assert json.loads(payload.progress_file.read_text()) == {"files": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["part.json"]
    with everywhere(Broken("unlink", errno.EIO)):
        forget_progress(payload)
    forget_progress(payload)
    assert list(tmp_path.iterdir()) == []
    payload.progress_file = tmp_path / "gone" / "part.json"
    tell_progress(payload, {"files": 3})
    assert not (tmp_path / "gone").exists()
