"""What a worker sees to before it works: a file that a share shows late is waited for, one that is elsewhere is not made."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from cluster import worker_side
from cluster.worker_side import leave_interrupts, shows


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Folders that were listed, each after a wait that takes no time."""
    found: list[str] = []
    plain = os.listdir

    def listdir(folder: str) -> list[str]:
        found.append(folder)
        return plain(folder)

    monkeypatch.setattr(worker_side.os, "listdir", listdir)
    monkeypatch.setattr(worker_side.time, "sleep", lambda _: None)
    return found


def test_what_is_there_is_not_waited_for(tmp_path: Path, asked: list[str]) -> None:
    (tmp_path / "mark").touch()
    assert shows(str(tmp_path / "mark"))
    assert not asked


def test_a_file_that_is_shown_late_is_waited_for(
    tmp_path: Path, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder as well: the nearest that is there is what a share is asked for anew."""
    waits: list[float] = []

    def sleep(wait_s: float) -> None:
        waits.append(wait_s)
        if len(waits) == 2:
            (tmp_path / "scores").mkdir()
        if len(waits) == 3:
            (tmp_path / "scores" / "set.json").touch()

    monkeypatch.setattr(worker_side.time, "sleep", sleep)
    assert shows(str(tmp_path / "scores" / "set.json"))
    assert asked == [str(tmp_path), str(tmp_path / "scores"), str(tmp_path / "scores")]
    assert waits == list(worker_side._SHOWN_AFTER_S[:3]) == sorted(waits)
    assert 10 < sum(worker_side._SHOWN_AFTER_S) < 60


def test_what_is_not_there_is_not_made(tmp_path: Path, asked: list[str]) -> None:
    assert not shows(str(tmp_path / "elsewhere" / "store" / "mark"))
    assert set(asked) == {str(tmp_path)}
    assert not list(tmp_path.iterdir())


def test_interrupts_are_the_coordinators() -> None:
    before = signal.getsignal(signal.SIGINT)
    try:
        thread = threading.Thread(target=leave_interrupts)  # a worker in a thread has none of its own
        thread.start()
        thread.join()
        assert signal.getsignal(signal.SIGINT) is before
        leave_interrupts()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
