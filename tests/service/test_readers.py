"""Readers of the archive: shared, bounded, and at the newest state without anybody waiting for it."""

from __future__ import annotations

import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from search_api.metadata import change_site
from search_api.readers import Readers, State
from sonotheque.core.errors import Unavailable
from store.metadata import SiteChange
from tests.cluster.support import run
from tests.search import kit

COUNT = "SELECT count(*) AS n FROM windows"


@pytest.fixture
def readers(own):
    found = Readers(own.store, 2, poll_s=0.05)
    found.start()
    yield found
    found.close()


def counted(readers: Readers) -> int:
    with readers.lease() as archive:
        return archive.sql(COUNT)["n"][0].as_py()


def until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


def more_recordings(own) -> None:
    folder = own.recordings.parent / f"more-{time.monotonic_ns()}"
    shutil.copytree(own.recordings, folder)
    kit.write(folder / "north/20240503_040000.wav", kit.tone(900.0))
    run(folder, own.store, timezone="Europe/Paris", root=str(folder))


def test_before_the_start_there_is_nothing_to_lease(own):
    with pytest.raises(Unavailable, match="not open"), Readers(own.store).lease():
        pass


def test_an_archive_that_was_given_back_is_used_again(readers):
    with readers.lease() as first:
        pass
    with readers.lease() as second:
        assert second is first


def test_two_at_once_have_archives_of_their_own_and_a_third_waits(readers, monkeypatch):
    monkeypatch.setattr("search_api.readers._WAIT_S", 0.1)
    with readers.lease() as one, readers.lease() as two:
        assert one is not two
        with pytest.raises(Unavailable, match="busy") as refused, readers.lease():
            pass
        assert refused.value.kind == "overloaded"
    assert counted(readers) == 18


def test_one_that_waits_gets_the_archive_that_comes_free(readers):
    entered, leave = threading.Event(), threading.Event()

    def hold():
        with readers.lease():
            entered.set()
            leave.wait(10)

    with ThreadPoolExecutor(3) as pool:
        holding = [pool.submit(hold), pool.submit(hold)]
        entered.wait(10)
        asked = pool.submit(counted, readers)
        time.sleep(0.05)
        leave.set()
        assert asked.result(10) == 18
        for one in holding:
            one.result(10)


def test_what_is_committed_is_seen_without_a_restart_and_nobody_loses_what_they_read(readers, own):
    with readers.lease() as before:
        old = readers.state
        more_recordings(own)
        until(lambda: readers.state != old)
        assert before.sql(COUNT)["n"][0].as_py() == 18
        assert counted(readers) == 19
    assert counted(readers) == 19
    with readers.lease() as after:
        assert after is not before


def test_a_correction_of_a_site_is_seen_too(readers, own):
    old = readers.state
    change_site(own.store, SiteChange("north", rename="nord"), by="Ana", reason="spelling")
    until(lambda: readers.state != old)
    with readers.lease() as archive:
        assert "nord" in archive.sql("SELECT site FROM sites")["site"].to_pylist()


def test_a_damaged_newer_state_is_told_and_the_one_before_stays(readers, own):
    path = f"{own.store}/snapshots/{readers.state.snapshot + 1}.json"
    with open(path, "w") as handle:
        handle.write("{ not json")
    until(lambda: readers.trouble is not None)
    assert counted(readers) == 18
    os.remove(path)
    until(lambda: readers.trouble is None)  # also when the state is what it was before


def test_a_store_that_was_away_for_a_moment(readers, own):
    os.rename(f"{own.store}/snapshots", f"{own.store}/elsewhere")
    until(lambda: readers.trouble is not None)
    os.rename(f"{own.store}/elsewhere", f"{own.store}/snapshots")
    until(lambda: readers.trouble is None)
    assert counted(readers) == 18


def test_after_the_end_nothing_is_leased(own):
    readers = Readers(own.store, poll_s=0.05)
    readers.start()
    with readers.lease() as held:
        readers.close()
        assert held.sql(COUNT)["n"][0].as_py() == 18  # who has one may finish
    with pytest.raises(Unavailable), readers.lease():
        pass


def test_the_state_names_what_changed(own):
    before = State.of(own.store)
    more_recordings(own)
    after = State.of(own.store)
    assert after.snapshot > before.snapshot
    assert (after.metadata, after.index) == (before.metadata, before.index)


def test_many_threads_get_equal_answers(readers):
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: counted(readers), range(64))) == {18}
