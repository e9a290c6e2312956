"""What a coordinator does when the disk or the cluster fails it and not its workers."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from distributed.client import ClosedClientError

import cluster.dask_cluster
import cluster.reading_back
import cluster.running
from cluster.dask_cluster import DaskWorkers
from cluster.job import JobFolder
from cluster.reading_back import WAITS_S, read_committed
from cluster.sums import Books
from cluster.supervising import PASSING_KINDS
from sonotheque.core.errors import Damaged, Unavailable
from store.ledger import Part, read_part
from tests.cluster.support import make_archive, part_files, run


@pytest.fixture
def part(tmp_path: Path) -> tuple[str, str]:
    run(make_archive(tmp_path / "in", sites=1, days=1, files=1), tmp_path / "store")
    return str(tmp_path / "store"), min(
        name for name in part_files(tmp_path / "store") if name.startswith("embeddings")
    )


def failing(monkeypatch: pytest.MonkeyPatch, number: int, times: int) -> list[str]:
    """Let the first reads of a footer fail."""
    real: Callable[..., Any] = cluster.reading_back.read_part
    seen: list[str] = []

    def read(store: str, relative: str) -> Part:
        seen.append(relative)
        if len(seen) <= times:
            error = OSError(number, os.strerror(number))
            raise Damaged(f"{relative} cannot be read as a part: {error}") from error
        part: Part = real(store, relative)
        return part

    monkeypatch.setattr(cluster.reading_back, "read_part", read)
    return seen


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EIO, errno.ESTALE])
def test_a_fault_of_this_machines_disk_is_waited_for(
    part: tuple[str, str], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    waits: list[float] = []
    seen = failing(monkeypatch, number, 3)
    assert read_committed(*part, wait=waits.append) == read_part(*part)
    assert len(seen) == 4
    assert waits == list(WAITS_S[:3]) == sorted(waits)
    assert sum(WAITS_S) <= 60


def test_at_last_it_is_no_damage(part: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, errno.EIO, 1000)
    with pytest.raises(Unavailable, match="was committed and cannot be read from here") as caught:
        read_committed(*part, wait=lambda s: None)
    assert caught.value.kind in PASSING_KINDS


def test_a_missing_part_and_a_damaged_one(part: tuple[str, str]) -> None:
    store, relative = part
    waits: list[float] = []
    with pytest.raises(Unavailable):
        read_committed(store, relative.replace("part-", "part-0"), wait=waits.append)
    assert waits == list(WAITS_S)
    Path(store, relative).write_bytes(b"PAR1" + bytes(200) + b"PAR1")
    with pytest.raises(Damaged):
        read_committed(store, relative, wait=lambda s: pytest.fail("damage does not pass"))


def test_a_run_outlives_such_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster.reading_back, "WAITS_S", (0.0,) * 3)
    failing(monkeypatch, errno.ENOENT, 2)
    assert run(make_archive(tmp_path / "in"), tmp_path / "store").clean


def test_a_snapshot_that_fails_on_the_way_does_not_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster.running, "_SNAPSHOT_EVERY_S", -1.0)
    real, calls = Books.snapshot, []

    def snapshot(books: Books) -> Any:
        calls.append(1)
        if len(calls) <= 2:
            raise Unavailable("no answer", kind="store_unreachable") if len(calls) == 1 else OSError(5, "I/O error")
        return real(books)

    monkeypatch.setattr(Books, "snapshot", snapshot)
    report = run(make_archive(tmp_path / "in"), tmp_path / "store")
    assert report.clean and report.snapshot and len(calls) > 2
    told = JobFolder(str(tmp_path / "store"), 1).file("events.jsonl").read_text()
    assert told.count("the snapshot was not written") == 2


@pytest.mark.parametrize("error", [OSError("Timed out"), ClosedClientError("closed"), TimeoutError()], ids=repr)
def test_a_scheduler_that_is_gone_is_told_as_that(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def fail(self, *_: Any, **__: Any) -> Any:
            raise error

        nthreads = submit = fail

    workers = DaskWorkers(3)
    monkeypatch.setattr(workers, "_client", Gone())
    monkeypatch.setattr(cluster.dask_cluster, "_SLOTS_EVERY_S", -1.0)
    assert workers.slots == 3
    with pytest.raises(Unavailable) as caught:
        workers.submit(len, "", key="a")
    assert caught.value.kind == "workers_lost"
