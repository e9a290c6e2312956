"""Jobs that are waited for while the service is away, on a clock that is made up."""

from __future__ import annotations

import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sonotheque.client.jobs as jobs
from sonotheque.client import Client
from sonotheque.core.errors import Invalid, NotFound, Unavailable

STREAM = {"content-type": "text/event-stream"}
GONE = httpx.ConnectError("refused")


class Clock:
    """Time that passes only while somebody waits."""

    def __init__(self):
        self.now, self.slept = 1000.0, []

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


class Restarting:
    """A service with one job, away in some stretches of the clock's time."""

    def __init__(self, clock, away, ends, says=GONE, beat=10.0, asked_max=5000):
        self.clock, self.away, self.ends, self.says, self.beat = clock, away, 1000.0 + ends, says, beat
        self.asked, self.left = 0, asked_max

    def __call__(self, request):
        self.asked += 1
        assert self.asked < self.left, "asked for ever"
        if any(1000 + begin <= self.clock.now < 1000 + end for begin, end in self.away):
            if isinstance(self.says, Exception):
                raise self.says
            return self.says
        state = "finished" if self.clock.now >= self.ends else "running"
        if not request.url.path.endswith("/events"):
            job = {"job_id": "j", "kind": "train", "state": state, "title": "t"}
            return httpx.Response(200, json={"data": job, "meta": {}})
        return httpx.Response(200, headers=STREAM, content=self.events())

    def events(self):
        """Heartbeats until the job has ended or the service goes."""
        number = int(self.clock.now)
        yield f'id: {number}\nevent: progress\ndata: {{"done": {number}}}\n\n'.encode()
        while self.clock.now < self.ends:
            self.clock.now += self.beat
            if any(1000 + begin <= self.clock.now < 1000 + end for begin, end in self.away):
                raise httpx.ReadError("cut off")
            yield b": still here\n\n"
        yield b'event: state\ndata: {"state": "finished"}\n\n'

    def client(self):
        return Client("http://archive.test", http=httpx.Client(transport=httpx.MockTransport(self)), retries=0)


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr(jobs, "time", found)
    return found


@pytest.mark.parametrize(
    "says",
    [
        GONE,
        httpx.ReadTimeout("slow"),
        httpx.Response(502, text="<html>Bad Gateway</html>"),
        httpx.Response(200, text="<html>Back soon</html>"),
        httpx.Response(503, json={"error": {"kind": "unavailable", "message": "the service begins"}}),
    ],
    ids=["refused", "slow", "502", "page", "503"],
)
def test_a_restart_does_not_end_a_wait(clock, says):
    service = Restarting(clock, [(25, 150)], ends=400, says=says)
    seen = []
    assert service.client().jobs.wait("j", seen.append).state == "finished"
    assert seen[-1].data == {"state": "finished"} and len(seen) >= 3


def test_several_restarts_are_each_counted_anew(clock):
    away = [(100 + 400 * n, 270 + 400 * n) for n in range(6)]
    assert sum(end - begin for begin, end in away) > 5 * jobs.AWAY_S
    assert Restarting(clock, away, ends=3000).client().jobs.wait("j").over


def test_a_job_that_runs_for_hours_without_a_word_is_waited_for(clock):
    assert Restarting(clock, [], ends=50_000, beat=15.0).client().jobs.wait("j").over


@pytest.mark.parametrize("says", [GONE, httpx.Response(200, text="<html>For sale</html>")], ids=["refused", "page"])
def test_a_service_that_stays_away_ends_the_watch(clock, says):
    service = Restarting(clock, [(0, 1e9)], ends=400, says=says)
    with pytest.raises(Unavailable):
        list(service.client().jobs.watch("j"))
    assert sum(clock.slept) == pytest.approx(jobs.AWAY_S)
    assert service.asked < 30 and clock.slept[:3] == [1.0, 2.0, 4.0] and max(clock.slept) == jobs._PAUSE_MAX_S


@given(st.floats(0.0, 400.0), st.floats(0.0, 400.0), st.floats(0.0, 300.0))
def test_how_long_is_the_callers_choice(begin, away, bound):
    """The dumb twin: it is over if and only if the service is away for longer than the bound, give or take a heartbeat."""
    found = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "time", found)
        service = Restarting(found, [(begin, begin + away)], ends=1000)
        try:
            ended = service.client().jobs.wait("j", away_s=bound).over
        except Unavailable:
            ended = False
    if away < bound - 30:
        assert ended
    if away > bound + 30:
        assert not ended


def test_training_can_wait_over_a_restart_too(clock):
    service = Restarting(clock, [(25, 100)], ends=300)
    assert service.client().probes.apply("owl").state == "finished"
    clock.now = 1000.0
    with pytest.raises(Unavailable):
        Restarting(clock, [(25, 100)], ends=300).client().probes.train("owl", away_s=20.0)


def test_what_is_not_there_is_not_waited_for(clock):
    told = {"error": {"kind": "not_found", "message": "no such job"}}
    for status, kind in ((404, NotFound), (422, Invalid)):
        http = httpx.Client(transport=httpx.MockTransport(lambda _, s=status: httpx.Response(s, json=told)))
        with pytest.raises(kind):
            list(Client("http://archive.test", http=http).jobs.watch("j"))
    assert not clock.slept


@pytest.mark.parametrize("text", ["not JSON", "[1]", json.dumps("text")])
def test_events_that_are_none(text):
    with pytest.raises(Unavailable, match="not JSON"):
        list(jobs.events_of([f"data: {text}", ""]))
