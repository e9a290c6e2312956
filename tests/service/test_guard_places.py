"""Places in the crowd: bodies that stall, by many and by one, take none from anybody; nor do clients that do not read."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time

import httpx
import pytest
from fastapi.responses import Response
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from search_api.http.guard.crowd import Crowd, Drain
from search_api.http.guard.front import PIECE_BYTES, Front
from search_api.http.guard.measures import Measures
from sonotheque.core.errors import Unavailable
from tests.service.guard_kit import Wire, bare_app, client_of, error_of, live, parsed

BIG = 24 << 20  # more than a system keeps for a connection
HALF = "POST {} HTTP/1.1\nHost: localhost\nContent-Type: application/json\nContent-Length: {}\n\n{{"


def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def places(app):
    text = app.state.measures.exposition().decode()
    samples = [s for f in text_string_to_metric_families(text) for s in f.samples]
    return {s.labels["place"]: s.value for s in samples if s.name == "sonotheque_places_taken" and s.value}


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    app = bare_app(tmp_path_factory.mktemp("places"), limits={"concurrency": 8, "rate_per_min": 0})

    @app.get("/v1/big")
    async def big() -> Response:
        return Response(bytes(BIG))

    return app


@pytest.fixture(scope="module")
def port(app):
    with live(app) as found:
        yield found


class TestStalledBodies:
    @pytest.mark.parametrize(("path", "length"), [("/v1/session", 4000), ("/v1/things", 60_000)])
    def test_many_small_ones_keep_nobody_out(self, app, port, path, length):
        with contextlib.ExitStack() as stack, httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            wires = [stack.enter_context(Wire(port)) for _ in range(20)]
            for wire in wires:
                wire.say(HALF.format(path, length))
            # Those that were given up have their answer; the newest of them are still waited for.
            assert [parsed(wire.answer())[0] for wire in wires[:12]] == [503] * 12
            assert 0 < sum(places(app).values()) <= 4
            for _ in range(3):
                assert client.get("/v1/things/7").status_code == 200
                assert client.post("/v1/things", json={"a": 1}).json() == {"a": 1}
                assert client.post("/v1/upload", content=bytes(1_000_000)).json() == 1_000_000
                assert client.post("/v1/session", json={"key": "sntq_wrong"}).status_code == 401
        until(lambda: not places(app))

    def test_whoever_is_given_up_is_told_when_to_come_back(self, app, port):
        with contextlib.ExitStack() as stack:
            wires = [stack.enter_context(Wire(port)) for _ in range(5)]
            for wire in wires:
                wire.say(HALF.format("/v1/things", 100))
            status, headers, value = parsed(wires[0].answer())
        assert (status, value["error"]["kind"]) == (503, "overloaded")
        assert headers["connection"] == "close"
        assert "retry-after" in headers
        assert value["error"]["request_id"] == headers["x-request-id"]
        until(lambda: not places(app))

    def test_slow_uploads_do_not_hold_up_small_ones(self, app, port):
        head = "POST /v1/upload HTTP/1.1\nHost: localhost\nContent-Length: 1000000\n\nx"
        with contextlib.ExitStack() as stack, httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            for _ in range(4):
                stack.enter_context(Wire(port)).say(head)
            until(lambda: places(app).get("uploading") == 4)
            assert client.post("/v1/upload", content=bytes(1_000_000)).status_code == 503
            for _ in range(10):
                assert client.post("/v1/things", json={}).status_code == 200
        until(lambda: not places(app))

    def test_a_sign_in_is_small(self, app):
        client = client_of(app)
        found = error_of(client.post("/v1/session", json={"key": "x" * 5000}), 413)
        assert found["kind"] == "too_large"
        assert client.post("/v1/session", json={"key": "x" * 150}).status_code == 401


# ---- the messages themselves ----------------------------------------------------------------------------------------


class Caller:
    """A request whose body comes when the test says so."""

    def __init__(self, crowd, address="10.0.0.1", *, path="/v1/x", method="POST", length=10):
        self.parts, self.sent = asyncio.Queue(), []
        self.error = None
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": [(b"content-length", str(length).encode())] if length else [],
            "client": (address, 1),
        }
        self.task = asyncio.create_task(self._call(crowd, scope))

    async def _call(self, crowd, scope):
        async def send(message):
            self.sent.append(message)

        try:
            await crowd(scope, self.parts.get, send)
        except Unavailable as error:
            self.error = error

    async def gives(self, *, more=False):
        self.parts.put_nowait({"type": "http.request", "body": b"x", "more_body": more})
        await turns()

    @property
    def status(self):
        """0 while there is no answer."""
        return self.error.status if self.error else next((m["status"] for m in self.sent if "status" in m), 0)


async def turns():
    for _ in range(20):
        await asyncio.sleep(0)


def crowd_of(limit):
    """Return a crowd whose application reads, waits for its event, and says 200, or 499 to whoever went away."""
    event = asyncio.Event()

    async def app(scope, receive, send):
        while (message := await receive()).get("more_body"):
            pass
        if message["type"] == "http.request":
            await event.wait()
        gone = message["type"] == "http.disconnect"
        await send({"type": "http.response.start", "status": 499 if gone else 200, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return Crowd(app, limit, Drain()), event


def taken(crowd):
    return {place: count for place, count in crowd.inside.items() if count}


async def ended(crowd, event, callers):
    """Let everybody finish; nothing is left behind."""
    event.set()
    for caller in callers:
        await caller.gives()
    await asyncio.gather(*(caller.task for caller in callers))
    assert taken(crowd) == {}
    assert not any(crowd._waiting.values())


class TestSharing:
    def test_one_callers_oldest_makes_room_for_its_next(self):
        async def go():
            crowd, event = crowd_of(8)
            mine = [Caller(crowd) for _ in range(4)]
            await turns()
            assert taken(crowd) == {"arriving": 4}
            mine.append(Caller(crowd))
            await turns()
            assert [c.status for c in mine] == [503, 0, 0, 0, 0]
            assert json.loads(mine[0].sent[1]["body"])["error"]["kind"] == "overloaded"
            assert len(mine[0].sent) == 2, "one answer, and nothing of the application's behind it"
            assert taken(crowd) == {"arriving": 4}
            await ended(crowd, event, mine)
            assert [c.status for c in mine] == [503, 200, 200, 200, 200]

        asyncio.run(go())

    def test_whoever_has_most_gives_way_to_the_others(self):
        async def go():
            crowd, event = crowd_of(4)
            one, two, three = Caller(crowd, "10.0.0.1"), Caller(crowd, "10.0.0.2"), Caller(crowd, "10.0.0.2")
            four = Caller(crowd, "10.0.0.3")
            await turns()
            five = Caller(crowd, "10.0.0.4")
            await turns()
            assert [c.status for c in (one, two, three, four, five)] == [0, 503, 0, 0, 0]
            await ended(crowd, event, [one, two, three, four, five])

        asyncio.run(go())

    def test_what_has_arrived_is_not_given_up(self):
        async def go():
            crowd, event = crowd_of(4)
            first = [Caller(crowd), Caller(crowd)]
            for caller in first:
                await caller.gives()
            assert taken(crowd) == {"working": 2}
            more = [Caller(crowd) for _ in range(4)]
            await turns()
            assert [c.status for c in (*first, *more)] == [0, 0, 503, 503, 0, 0]
            await ended(crowd, event, [*first, *more])
            assert [c.status for c in first] == [200, 200]

        asyncio.run(go())

    def test_half_of_all_of_one_caller_are_served_at_once(self):
        """Everybody behind one proxy has its address."""

        async def go():
            crowd, event = crowd_of(64)
            everybody = [Caller(crowd) for _ in range(32)]
            await turns()
            await ended(crowd, event, everybody)
            assert {c.status for c in everybody} == {200}

        asyncio.run(go())

    def test_an_upload_is_given_up_to_a_caller_with_fewer_alone(self):
        async def go():
            crowd, event = crowd_of(4)
            mine = [Caller(crowd, length=10**6) for _ in range(3)]
            await turns()
            assert [c.status for c in mine] == [0, 0, 503]
            assert "2 bodies are arriving" in mine[2].error.message
            other = Caller(crowd, "10.0.0.2", length=10**6)
            await turns()
            assert (mine[0].status, mine[1].status, other.status) == (503, 0, 0)
            third = Caller(crowd, "10.0.0.3", length=10**6)
            await turns()
            assert third.status == 503, "each has one: the last to come is told so"
            await ended(crowd, event, [*mine, other, third])
            assert (mine[1].status, other.status) == (200, 200)

        asyncio.run(go())

    def test_one_between_two_parts_is_given_up_when_it_asks_for_the_next(self):
        async def go():
            hold, seen = asyncio.Event(), []

            async def app(scope, receive, send):
                seen.append((await receive())["type"])
                await hold.wait()
                seen.append((await receive())["type"])

            crowd = Crowd(app, 2, Drain())
            one = Caller(crowd)
            await one.gives(more=True)
            two = Caller(crowd)
            await turns()
            assert taken(crowd) == {"arriving": 1}
            hold.set()
            await turns()
            assert seen[1] == "http.disconnect"
            assert (one.status, two.status) == (503, 0)
            await two.gives()
            await ended(crowd, hold, [two])

        asyncio.run(go())

    def test_work_is_bounded_also_where_bodies_came_before_it(self):
        async def go():
            crowd, event = crowd_of(2)
            busy, late = Caller(crowd, length=0), Caller(crowd, "10.0.0.2")
            await busy.gives()
            assert taken(crowd) == {"working": 1, "arriving": 1}
            other = Caller(crowd, "10.0.0.3", length=0)
            await other.gives()
            refused = Caller(crowd, "10.0.0.4")
            await turns()
            assert refused.status == 503, "before its body is sent"
            await late.gives()
            assert late.status == 503
            assert taken(crowd) == {"working": 2}
            await ended(crowd, event, [busy, other])

        asyncio.run(go())

    def test_a_sign_in_has_a_place_when_all_work(self):
        async def go():
            crowd, event = crowd_of(4)
            busy = [Caller(crowd, length=0) for _ in range(4)]
            for caller in busy:
                await caller.gives()
            new = Caller(crowd, path="/v1/session")
            await new.gives()
            assert taken(crowd) == {"working": 4, "signing_in": 1}
            second = Caller(crowd, path="/v1/session")
            await turns()
            assert second.status == 503, "its only place is taken by one whose body is there"
            await ended(crowd, event, [*busy, new])

        asyncio.run(go())

    @pytest.mark.parametrize("method", ["GET", "DELETE"])
    def test_a_body_that_no_route_reads_makes_no_second_kind_of_place(self, method):
        async def go():
            crowd, event = crowd_of(4)
            caller = Caller(crowd, method=method)
            await turns()
            assert taken(crowd) == {"working": 1}
            await ended(crowd, event, [caller])

        asyncio.run(go())

    @given(
        st.lists(
            st.tuples(st.sampled_from("abc"), st.sampled_from(["small", "large", "none", "body", "end"])), max_size=40
        )
    )
    @settings(max_examples=60, deadline=None)
    def test_whatever_happens_the_counts_are_right(self, steps):
        """The dumb twin counts tasks: a place is taken by each that runs unrefused, and by nobody else."""

        async def go():
            crowd, event = crowd_of(4)
            callers = []
            for who, what in steps:
                if what in ("small", "large", "none"):
                    callers.append(Caller(crowd, who, length={"small": 9, "large": 10**6, "none": 0}[what]))
                elif what == "body" and callers:
                    await callers[len(callers) // 2].gives()
                elif callers:
                    callers[-1].parts.put_nowait({"type": "http.disconnect"})
                await turns()
                assert sum(crowd.inside.values()) == sum(not c.task.done() for c in callers)
                assert all(crowd.inside[place] <= crowd.limits[place] for place in crowd.inside)
            await ended(crowd, event, callers)

        asyncio.run(go())


# ---- answers that nobody reads --------------------------------------------------------------------------------------


def deaf(port, path, room=4096):
    """Return a connection that asks and has little room for the answer."""
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    found.settimeout(20)
    found.connect(("127.0.0.1", port))
    found.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    return found


def test_answers_go_out_in_pieces():
    """A server looks between two messages alone whether its client reads."""
    body, sent = bytes(range(256)) * 4096 + b"end", []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": body[:PIECE_BYTES], "more_body": False})

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/v1/big", "headers": []}
    asyncio.run(Front(app, app, Measures())(scope, None, send))
    assert max(len(m["body"]) for m in sent[1:]) == PIECE_BYTES
    assert b"".join(m["body"] for m in sent[1:]) == body + body[:PIECE_BYTES]
    assert [m["more_body"] for m in sent[1:]] == [True] * (len(sent) - 2) + [False]


def test_a_client_that_does_not_read_is_cut_off(app, monkeypatch):
    monkeypatch.setattr("search_api.http.serving.UNREAD_S", 0.3)
    with live(app) as port, contextlib.ExitStack() as stack:
        wires = [stack.enter_context(contextlib.closing(deaf(port, "/v1/big"))) for _ in range(8)]
        until(lambda: places(app).get("working") == 8)
        until(lambda: not places(app))
        got = 0
        with contextlib.suppress(ConnectionResetError):
            while data := wires[0].recv(1 << 20):
                got += len(data)
        assert got < BIG
        assert httpx.get(f"http://127.0.0.1:{port}/v1/things/7").status_code == 200


def test_one_that_reads_slowly_gets_everything(app, monkeypatch):
    """What counts is the time for a piece, not for the whole."""
    monkeypatch.setattr("search_api.http.serving.UNREAD_S", 1.0)
    with live(app) as port, contextlib.closing(deaf(port, "/v1/big", room=256 << 10)) as wire:
        got = bytearray()
        while data := wire.recv(64 << 10):
            got += data
            time.sleep(0.006)
        assert len(got.partition(b"\r\n\r\n")[2]) == BIG
