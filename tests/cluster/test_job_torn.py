"""Job files that a crash tore or a disk damaged: every question is answered or refused in words, and the work goes on."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cluster.history import job_history
from cluster.job import FINISHED, JobFolder
from cluster.report import read_rows
from cluster.resuming import resume
from cluster.run import embed
from cluster.status import ask_stop, job_report, job_rows, job_status, verify_store
from sonotheque.core.errors import Conflict, Damaged, NotFound, SonothequeError
from tests.cluster.support import make_archive, options, part_files, run

Damage = Callable[[bytes], bytes]
FILES = (
    "job.json",
    "heartbeat.json",
    "summary.json",
    "events.jsonl",
    "report.jsonl",
    "report.csv",
    "plan.jsonl.gz",
)
DAMAGES: dict[str, Damage] = {
    "gone": lambda data: b"",
    "half": lambda data: data[: len(data) // 2],
    "all but the last byte": lambda data: data[:-1],
    # What ext4 and XFS may leave of a file whose size was written and whose blocks were not.
    "zeros": lambda data: bytes(len(data)),
    "zeros at its end": lambda data: data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
    "zeros at its start": lambda data: bytes(len(data) // 3) + data[len(data) // 3 :],
    "bytes that are no text": lambda data: data[: len(data) // 3] + b"\xff\xfe\x00\x9d" + data[len(data) // 3 + 4 :],
    "of another program": lambda data: b'{"a": 1}\n',
    "a number": lambda data: b"7\n",
    "a list": lambda data: b"[]\n",
}
QUESTIONS: dict[str, Callable[[str], object]] = {
    "status": job_status,
    "report": job_report,
    "rows": lambda store: list(job_rows(store)),
    "jobs": lambda store: job_history(store, speeds=True),
    "verify": verify_store,
}


@dataclass(frozen=True)
class World:
    """Recordings, and a store of them with one finished job."""

    source: Path
    store: Path
    parts: dict[str, str]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("torn")
    source = make_archive(folder / "sound", sites=1, days=1, files=2, seconds=1.2)
    embed(options(source, folder / "store"))
    return World(source, folder / "store", part_files(folder / "store"))


def copy_of(world: World, tmp_path: Path) -> Path:
    store = tmp_path / "store"
    shutil.copytree(world.store, store)
    return store


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file(world: World, tmp_path: Path, name: str, damage: str) -> None:
    store = copy_of(world, tmp_path)
    file = store / "jobs" / "1" / name
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    for word, question in QUESTIONS.items():
        try:
            question(str(store))
        except SonothequeError as error:
            refused = (Damaged, NotFound) if name == "plan.jsonl.gz" else NotFound
            assert isinstance(error, refused), f"{word}: {error!r}"
            assert "job 1" in error.message
    # The same command goes on, and its job answers whatever the one before has become.
    report = run(world.source, store)
    assert (report.state, report.skipped) == (FINISHED, 2)
    assert part_files(store) == world.parts
    assert job_status(str(store))["state"] == FINISHED
    assert len(job_history(str(store))) == 2


@pytest.mark.parametrize("damage", DAMAGES)
def test_resume_and_stop_on_a_damaged_job(world: World, tmp_path: Path, damage: str) -> None:
    store = copy_of(world, tmp_path)
    for name in ("job.json", "heartbeat.json"):
        file = store / "jobs" / "1" / name
        file.write_bytes(DAMAGES[damage](file.read_bytes()))
    assert ask_stop(str(store), wait=True)["job"] == 1
    try:
        assert resume(str(store)).state == FINISHED
    except Conflict as error:
        assert "sonotheque embed" in error.message  # nobody knows any more what was asked for


def test_a_torn_plan_says_what_to_do(world: World, tmp_path: Path) -> None:
    store = copy_of(world, tmp_path)
    job = JobFolder(str(store), 1)
    whole = job.file("plan.jsonl.gz").read_bytes()
    for damaged in (whole[:-4], whole[: len(whole) // 2], gzip.compress(b'{"path": \n'), b"plain text\n"):
        job.file("plan.jsonl.gz").write_bytes(damaged)
        with pytest.raises(Damaged, match=r"plan of job 1 .*sonotheque embed"):
            list(job.read_plan())
        assert "sonotheque embed" in job_status(str(store))["problem"]
    run(world.source, store)
    assert verify_store(str(store)).ok


def test_lines_that_are_no_rows_are_left_out(world: World, tmp_path: Path) -> None:
    store = copy_of(world, tmp_path)
    report = store / "jobs" / "1" / "report.jsonl"
    rows = report.read_bytes()
    report.write_bytes(b'{"path": "torn{"path": 1}\n' + rows + b"[1]\n\n\0\0\0\n" + b'{"path": "x"}\n' + rows[:-3])
    assert len(list(read_rows(report.parent))) == 3  # two, and the first of the repeated ones
