"""Watching jobs: one reader however many watch, nothing missed, nobody kept."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.job import JobFolder, heartbeat
from search_api.boards import following
from search_api.boards.following import Followers
from search_api.boards.records import FINISHED, RUNNING, Record
from search_api.boards.sources import Event, LogSource, RunSource
from sonotheque.core.errors import NotFound, Unavailable

TOLD = {"kind": "train", "title": "Train probe owl", "root": "/nowhere", "request": {}, "by": None}


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    monkeypatch.setattr(following, "_EVERY_S", 0.01)


@pytest.fixture
def record(tmp_path) -> Record:
    return Record.create(tmp_path / "jobs", TOLD)


class Counted(LogSource):
    """Counts how often the file is looked at for news."""

    looks = 0

    def news(self, after: int) -> tuple[list[Event], int]:
        type(self).looks += 1
        return super().news(after)


def followers_of(record: Record, kind: type[LogSource] = LogSource) -> Followers:
    def source(job_id: str) -> LogSource:
        if job_id != record.job_id:
            raise NotFound(f"there is no job {job_id}")
        return kind(record)

    return Followers(source)


async def take(events: Any, n: int) -> list[Event]:
    return [e for e in [await asyncio.wait_for(anext(events), 5) for _ in range(n)] if e is not None]


def told(events: list[Event]) -> list[Any]:
    return [e.data.get("state") or e.data.get("done", e.data.get("text")) for e in events]


async def all_of(events: Any) -> list[Event]:
    async def listen() -> list[Event]:
        return [e async for e in events if e is not None]

    return await asyncio.wait_for(listen(), 5)


def run(coroutine: Any) -> Any:
    return asyncio.run(coroutine)


def test_the_past_in_short_then_all_that_comes(record) -> None:
    async def go() -> None:
        followers = followers_of(record)
        record.event("state", state=RUNNING)
        for n in range(50):
            record.event("progress", stage="training", done=n)
        record.event("note", text="hello")
        async with contextlib.aclosing(followers.watch(record.job_id)) as events:
            assert told(await take(events, 4)) == ["queued", RUNNING, 49, "hello"], "of the progress the last alone"
            for n in range(50, 60):
                record.event("progress", stage="training", done=n)
            assert told(await take(events, 10)) == list(range(50, 60))
            record.end(1, FINISHED)
            assert told(await all_of(events)) == [FINISHED], "and it ends"
        assert followers.following == followers.watchers == 0

    run(go())


def test_a_lost_line_goes_on_where_it_was(record) -> None:
    async def go() -> None:
        followers = followers_of(record)
        for n in range(5):
            record.event("note", text=str(n))
        async with contextlib.aclosing(followers.watch(record.job_id)) as events:
            seen = await take(events, 4)
        record.event("note", text="5")
        record.end(1, FINISHED)
        again = await all_of(followers.watch(record.job_id, seen[-1].id))
        assert told(seen) + told(again) == ["queued", "0", "1", "2", "3", "4", "5", FINISHED]
        assert [e.id for e in seen + again] == sorted({e.id for e in seen + again})
        # An id that is no event's is no secret: the whole story again.
        for strange in (seen[-1].id + 1, 10**15, -4):
            assert told(await all_of(followers.watch(record.job_id, strange)))[0] == "queued"

    run(go())


def test_of_a_job_that_has_ended_the_end_is_told_once(record) -> None:
    async def go() -> None:
        record.end(1, FINISHED)
        followers = followers_of(record)
        events = await all_of(followers.watch(record.job_id))
        assert told(events) == ["queued", FINISHED]
        assert told(await all_of(followers.watch(record.job_id, events[-1].id))) == [FINISHED], (
            "nothing new but the end"
        )

    run(go())


def test_a_job_whose_end_nobody_wrote_down_ends_all_the_same(record, monkeypatch) -> None:
    async def go() -> None:
        followers = followers_of(record)
        monkeypatch.setattr(Record, "state", lambda _: "interrupted")
        assert told(await all_of(followers.watch(record.job_id))) == ["queued", "interrupted"]

    run(go())


def test_many_watch_one_reads(record) -> None:
    async def go() -> None:
        Counted.looks = 0
        followers = followers_of(record, Counted)
        tasks = [asyncio.create_task(all_of(followers.watch(record.job_id))) for _ in range(50)]
        while followers.watchers < 50:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.1)
        assert followers.following == 1
        looks = Counted.looks
        for n in range(20):
            record.event("progress", stage="training", done=n)
        await asyncio.sleep(0.1)
        assert Counted.looks - looks < 40, "fifty watchers do not look fifty times"
        record.end(1, FINISHED)
        found = await asyncio.gather(*tasks)
        assert all(told(f)[-1] == FINISHED for f in found)
        assert all([d for d in told(f) if isinstance(d, int)][-1] == 19 for f in found)
        assert followers.following == followers.watchers == 0

    run(go())


def test_who_goes_away_is_forgotten_and_the_last_puts_out_the_light(record) -> None:
    async def go() -> None:
        followers = followers_of(record)
        tasks = [asyncio.create_task(all_of(followers.watch(record.job_id))) for _ in range(3)]
        while followers.watchers < 3 or not followers.following:
            await asyncio.sleep(0.005)
        for n, task in enumerate(tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            assert followers.watchers == 2 - n
        assert followers.following == 0
        await asyncio.sleep(0.05)
        assert len(asyncio.all_tasks()) == 1, "nothing runs on"
        # Somebody who comes right after is served by a new one.
        record.end(1, FINISHED)
        assert told(await all_of(followers.watch(record.job_id)))[-1] == FINISHED

    run(go())


def test_silence_is_broken_now_and_then(record) -> None:
    async def go() -> None:
        followers = followers_of(record)
        async with contextlib.aclosing(followers.watch(record.job_id, beat_s=0.03)) as events:
            await take(events, 1)
            assert await asyncio.wait_for(anext(events), 5) is None
            record.event("note", text="a")
            found = None
            while found is None:
                found = await asyncio.wait_for(anext(events), 5)
            assert found.data["text"] == "a"

    run(go())


def test_a_service_that_ends_lets_them_go(record) -> None:
    async def go() -> None:
        followers = followers_of(record)
        ending = False
        first = asyncio.create_task(all_of(followers.watch(record.job_id, beat_s=0.02, over=lambda: ending)))
        while not followers.watchers:
            await asyncio.sleep(0.005)
        ending = True
        assert told(await first) == ["queued"]
        second = asyncio.create_task(all_of(followers.watch(record.job_id)))
        while not followers.following:
            await asyncio.sleep(0.005)
        await asyncio.to_thread(followers.close)  # from another thread, as a service ends
        assert told(await second) == ["queued"]

    run(go())
    followers_of(record).close()  # with no loop at all


def test_one_who_does_not_listen_is_let_go_and_can_come_back(record, monkeypatch) -> None:
    monkeypatch.setattr(following, "_QUEUE", 5)

    async def go() -> None:
        followers = followers_of(record)
        async with contextlib.aclosing(followers.watch(record.job_id)) as events:
            seen = await take(events, 1)
            for n in range(30):
                record.event("note", text=str(n))
            await asyncio.sleep(0.1)
            seen += await all_of(events)
        assert len(seen) < 10, "its line ends"
        record.end(1, FINISHED)
        again = await all_of(followers.watch(record.job_id, seen[-1].id))
        texts = [t for t in told(seen + again) if t not in ("queued", FINISHED)]
        assert texts == [str(n) for n in range(30)], "and with its last id it has missed nothing"

    run(go())


def test_not_more_than_the_service_can_bear(record, monkeypatch) -> None:
    monkeypatch.setattr(following, "WATCHERS_MAX", 2)

    async def go() -> None:
        followers = followers_of(record)
        tasks = [asyncio.create_task(all_of(followers.watch(record.job_id))) for _ in range(2)]
        while followers.watchers < 2:
            await asyncio.sleep(0.005)
        with pytest.raises(Unavailable) as refused:
            await all_of(followers.watch(record.job_id))
        assert refused.value.kind == "overloaded"
        record.end(1, FINISHED)
        await asyncio.gather(*tasks)
        assert told(await all_of(followers.watch(record.job_id)))[-1] == FINISHED

    run(go())


def test_no_such_job(record) -> None:
    async def go() -> None:
        followers = followers_of(record)
        with pytest.raises(NotFound):
            await all_of(followers.watch("20250101T000000000000-aaaaaa"))
        assert followers.watchers == followers.following == 0

    run(go())


def test_a_run_of_the_command_line_is_watched_by_its_heartbeat(tmp_path) -> None:
    folder = JobFolder(str(tmp_path), 1)
    folder.path.mkdir(parents=True)
    folder.write_json("job.json", {"options": {"sources": ["/data/recordings"]}})
    heartbeat(folder, "running", phase="starting")

    async def go() -> None:
        followers = Followers(lambda _: RunSource(folder))
        async with contextlib.aclosing(followers.watch("run-1")) as events:
            first = await take(events, 2)
            assert [e.name for e in first] == ["state", "progress"]
            assert first[0].data == {"state": RUNNING}
            await asyncio.sleep(0.01)
            heartbeat(folder, "running", phase="embedding", files=3, files_total=9, eta_s=4)
            (now,) = await take(events, 1)
            assert (now.name, now.data["stage"], now.data["done"], now.data["eta_s"]) == ("progress", "embedding", 3, 4)
            assert now.id > first[0].id
            heartbeat(folder, "finished")
            assert told(await all_of(events))[-1] == FINISHED

    run(go())


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("state"), st.sampled_from(["running", "queued"])),
            st.tuples(st.just("progress"), st.integers(0, 99)),
            st.tuples(st.just("note"), st.text(max_size=20)),
            st.tuples(st.just("other"), st.none()),
            st.tuples(st.just("torn"), st.binary(max_size=10).filter(lambda b: b"\n" not in b)),
        ),
        max_size=30,
    ),
    st.integers(0, 40),
)
def test_the_past_against_a_twin_that_reads_everything(tmp_path_factory, written, cut) -> None:
    """Whoever joins with any event's id is told every state and note behind it, and the last progress."""
    record = Record.create(tmp_path_factory.mktemp("jobs"), TOLD)
    path = record.folder / "events.jsonl"
    for name, value in written:
        if name == "torn":
            with path.open("ab") as handle:
                handle.write(value + b"\n")
        else:
            key = {"state": "state", "progress": "done"}.get(name, "text")
            record.event(name, **{key: value})
    at, everything = 0, []
    for line in path.read_bytes().splitlines(keepends=True):
        at += len(line)
        with contextlib.suppress(ValueError):
            said = json.loads(line)
            if isinstance(said, dict) and said.get("event") in ("state", "progress", "note"):
                everything.append((at, said.pop("event"), said))
    after = everything[cut][0] if cut < len(everything) else 0
    behind = [e for e in everything if e[0] > after]
    progress = [e for e in behind if e[1] == "progress"]
    wanted = [e for e in behind if e[1] != "progress" or e == progress[-1]]
    source = LogSource(record)
    assert [(e.id, e.name, e.data) for e in source.backlog(after, source.start())] == wanted
    assert [(e.id, e.name, e.data) for e in source.news(after)[0]] == behind
