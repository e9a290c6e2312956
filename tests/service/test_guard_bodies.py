"""Bodies over a real connection: slow ones, interrupted ones, too large ones, and answers that come before they end."""

from __future__ import annotations

import asyncio
import threading
import time

import httpx
import pytest

from search_api.http.guard.bodies import Bodies, has_body
from search_api.http.guard.crowd import Crowd, Drain
from sonotheque.core.errors import Unavailable
from tests.service.guard_kit import Wire, bare_app, live, parsed

POST = "POST /v1/upload HTTP/1.1\nHost: localhost\n"


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    return bare_app(
        tmp_path_factory.mktemp("bodies"), limits={"upload_s": 0.5, "json_bytes": 100_000, "concurrency": 4}
    )


@pytest.fixture(scope="module")
def port(app):
    with live(app) as found:
        yield found


def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


class TestOnTheWire:
    def test_a_body_that_arrives(self, port):
        assert httpx.post(f"http://127.0.0.1:{port}/v1/upload", content=b"x" * 3_000_000).json() == 3_000_000

    @pytest.mark.parametrize(
        "text",
        [
            "Content-Length: 100\n\n",
            "Content-Length: 100\n\nabc",
            "Transfer-Encoding: chunked\n\n3\nabc\n",
            "Transfer-Encoding: chunked\n\n",
        ],
    )
    def test_a_body_that_stops(self, port, text):
        with Wire(port) as wire:
            status, headers, value = parsed(wire.say(POST + text).rest())
        assert status == 408
        assert value["error"]["kind"] == "timeout"
        assert headers["connection"] == "close"
        assert headers["x-content-type-options"] == "nosniff"

    def test_a_body_that_drips(self, port):
        """A byte now and then does not win time."""
        with Wire(port) as wire:
            wire.say(POST + "Content-Length: 1000000\n\n")
            stop = threading.Event()

            def drip():
                while not stop.wait(0.02):
                    try:
                        wire.say("x")
                    except OSError:
                        return

            dripping = threading.Thread(target=drip)
            dripping.start()
            answer = wire.rest()
            stop.set()
            dripping.join()
        assert parsed(answer)[0] == 408

    def test_json_that_stops_is_no_parse_error(self, port):
        text = "POST /v1/things HTTP/1.1\nHost: localhost\nContent-Type: application/json\nContent-Length: 50\n\n{"
        with Wire(port) as wire:
            assert parsed(wire.say(text).rest())[0] == 408

    def test_slow_ones_keep_nobody_else_out(self, app, port):
        """As many bodies as may arrive at once do: the next is told to come back, and everything else is served."""
        with Wire(port) as one, Wire(port) as two, httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            before = len(app.state.reading)
            for wire in (one, two):
                wire.say(POST + "Content-Length: 1000000\n\nxxx")
            until(lambda: len(app.state.reading) == before + 2)
            third = client.post("/v1/upload", content=b"x" * 1_000_000)
            assert client.get("/v1/things/7").status_code == 200
            assert client.post("/v1/things", json={}).status_code == 200
            assert client.post("/v1/upload", content=b"small").status_code == 200
            assert third.status_code == 503
            assert third.json()["error"]["kind"] == "overloaded"
            assert "retry-after" in third.headers
            assert [parsed(wire.rest())[0] for wire in (one, two)] == [408, 408]
        assert httpx.post(f"http://127.0.0.1:{port}/v1/upload", content=b"x" * 1_000_000).status_code == 200

    def test_one_that_breaks_off_leaves_nothing(self, app, port):
        for _ in range(6):
            before = len(app.state.reading)
            with Wire(port) as wire:
                wire.say(POST + "Content-Length: 1000000\n\nxxx")
                until(lambda before=before: len(app.state.reading) > before)
        answer = None
        end = time.monotonic() + 20
        while (answer := httpx.post(f"http://127.0.0.1:{port}/v1/upload", content=b"x" * 1_000_000)).status_code == 503:
            assert time.monotonic() < end
        assert answer.status_code == 200

    @pytest.mark.parametrize("size", [4 << 20, 12 << 20])
    def test_too_large_is_told_also_to_clients_that_send_first(self, port, size):
        """The answer must not be lost with the connection: `Expect` is not sent, the whole body is."""
        answer = httpx.post(f"http://127.0.0.1:{port}/v1/upload", content=b"x" * (size + 1))
        assert answer.status_code == 413
        assert answer.json()["error"]["kind"] == "too_large"
        assert answer.headers["connection"] == "close"

    def test_too_large_without_a_length(self, port):
        chunks = (b"x" * 65_536 for _ in range(100))
        answer = httpx.post(f"http://127.0.0.1:{port}/v1/upload", content=chunks)
        assert answer.status_code == 413
        assert answer.json()["error"]["kind"] == "too_large"

    @pytest.mark.parametrize("path", ["/v1/nothing", "/v1/things/7"])
    def test_a_body_that_nobody_wants(self, port, path):
        answer = httpx.post(f"http://127.0.0.1:{port}{path}", content=b"x" * 3_000_000)
        assert answer.status_code in (404, 405, 413)
        assert answer.json()["error"]["request_id"] == answer.headers["x-request-id"]

    def test_expect_is_answered_before_the_body(self, port):
        with Wire(port) as wire:
            wire.say(POST + "Content-Length: 99999999\nExpect: 100-continue\n\n")
            assert parsed(wire.rest())[0] == 413

    def test_two_requests_on_one_connection(self, port):
        with Wire(port) as wire:
            wire.say(POST + "Content-Length: 3\n\nabc")
            assert parsed(wire.answer())[2] == 3
            wire.say(POST + "Content-Length: 4\nConnection: close\n\nabcd")
            assert parsed(wire.rest())[2] == 4


class TestHeaders:
    def test_a_flood(self, port):
        with Wire(port) as wire:
            wire.say("GET / HTTP/1.1\nHost: localhost\n")
            try:
                for _ in range(3000):
                    wire.say(f"X-Flood: {'x' * 100}\n")
            except OSError:  # the server had enough
                return
            assert wire.rest().startswith(b"HTTP/1.1 400")

    def test_one_that_is_long(self, port):
        with Wire(port) as wire:
            answer = wire.say(f"GET /{'x' * 200_000} HTTP/1.1\nHost: localhost\n\n").rest()
        assert answer[:12] in (b"HTTP/1.1 400", b"")

    def test_ones_that_stop(self, app, monkeypatch):
        monkeypatch.setattr("search_api.http.serving.HEADERS_S", 0.2)
        with live(app) as port:
            for text in ("", "GET / HTTP/1.1\nHost: loc"):
                with Wire(port) as wire:
                    assert wire.say(text).rest() == b"", "closed, without an answer"
            with Wire(port) as wire:
                wire.say("GET /healthz HTTP/1.1\nHost: localhost\n\n")
                assert wire.answer().startswith(b"HTTP/1.1 200")
                assert wire.say("GET /healthz HT").rest() == b"", "of a later request too"

    def test_a_slow_answer_is_no_slow_request(self, app, monkeypatch):
        monkeypatch.setattr("search_api.http.serving.HEADERS_S", 0.1)
        app.state.let_go = asyncio.Event()
        with live(app) as port, Wire(port) as wire:
            wire.say("GET /v1/slow HTTP/1.1\nHost: localhost\nConnection: close\n\n")
            time.sleep(0.4)
            app.state.loop.call_soon_threadsafe(app.state.let_go.set)
            assert parsed(wire.rest())[0] == 200


# ---- the messages themselves ----------------------------------------------------------------------------------------


def scope_of(**headers):
    return {
        "type": "http",
        "method": "POST",
        "path": "/v1/upload",
        "headers": [(k.replace("_", "-").encode(), str(v).encode()) for k, v in headers.items()],
    }


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, False),
        ({"content_length": 0}, False),
        ({"content_length": "00"}, False),
        ({"content_length": 10}, True),
        ({"transfer_encoding": "chunked"}, True),
    ],
)
def test_whether_there_is_a_body(headers, expected):
    assert has_body(scope_of(**headers)) == expected


def run_app(middleware, messages, scope):
    """Run an application over given messages; returns what it sent."""
    waiting, sent = list(messages), []

    async def receive():
        if waiting:
            return waiting.pop(0)
        await asyncio.sleep(3600)
        return None

    async def send(message):
        sent.append(message)

    asyncio.run(middleware(scope, receive, send))
    return sent


START = {"type": "http.response.start", "status": 200, "headers": []}
END = {"type": "http.response.body", "body": b"x", "more_body": False}


def test_an_answer_that_fails_half_way_is_not_made_whole():
    async def app(scope, receive, send):
        await send(START)
        await send({**END, "more_body": True})
        raise RuntimeError

    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": True}

    with pytest.raises(RuntimeError):
        asyncio.run(Bodies(app, 1.0)(scope_of(content_length=10), receive, send))
    assert [m.get("more_body") for m in sent] == [None, True], "no last word: the client must see that it is cut"


def answered_early(messages):
    """Answer before a body is there; returns what was sent, and how many messages were sent when each came."""
    waiting, sent, seen = list(messages), [], []

    async def app(scope, receive, send):
        await send(START)
        await send(END)

    async def receive():
        seen.append(len(sent))
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    asyncio.run(Bodies(app, 10.0)(scope_of(content_length=10), receive, send))
    return sent, seen


def test_after_an_early_answer_the_rest_is_read_before_the_last_word():
    """Closing on unread bytes makes some systems throw away what they have received."""
    part = {"type": "http.request", "body": b"x", "more_body": True}
    sent, seen = answered_early([part, part, {**part, "more_body": False}, part])
    assert (b"connection", b"close") in sent[0]["headers"]
    assert [m.get("more_body") for m in sent] == [None, True, False]
    assert b"".join(m.get("body", b"") for m in sent) == b"x"
    assert seen == [2, 2, 2], "three messages were read, after the answer and before its end"


def test_reading_on_ends_when_the_client_goes():
    sent, seen = answered_early([{"type": "http.request", "body": b"x", "more_body": True}])
    assert seen == [2, 2]
    assert sent[-1]["more_body"] is False


def test_what_is_sent_after_a_late_body_goes_nowhere():
    async def app(scope, receive, send):
        assert (await receive())["type"] == "http.request"
        assert (await receive())["type"] == "http.disconnect"
        assert (await receive())["type"] == "http.disconnect"
        await send(START)
        await send(END)

    first = {"type": "http.request", "body": b"x", "more_body": True}
    sent = run_app(Bodies(app, 0.05), [first], scope_of(content_length=10))
    assert [m.get("status") for m in sent] == [408, None]


def test_the_floor_gives_time_for_what_has_come():
    """After the grace a body has one second for each `floor` bytes: three messages of two seconds' worth are in time."""

    async def app(scope, receive, send):
        count = 0
        while (message := await receive())["type"] == "http.request" and message["more_body"]:
            count += len(message["body"])
        await send({**START, "status": 200 if message["type"] == "http.request" else 499})
        await send(END)

    def served(per_message):
        count = 0

        async def receive():
            nonlocal count
            count += 1
            await asyncio.sleep(0.06)
            return {"type": "http.request", "body": b"x" * per_message, "more_body": count < 5}

        sent = []

        async def send(message):
            sent.append(message)

        asyncio.run(Bodies(app, 100.0, 0.1, 1000.0)(scope_of(content_length=10), receive, send))
        return sent[0]["status"]

    assert served(1000) == 200
    assert served(1) == 408


def taken(crowd):
    return {place: count for place, count in crowd.inside.items() if count}


class TestCrowd:
    def served(self, limit, **headers):
        """Return a crowd whose application waits, and a way to let it go on."""
        go = asyncio.Event()

        async def app(scope, receive, send):
            if scope["path"] == "/healthz":
                return
            while (await receive()).get("more_body"):
                pass
            await go.wait()

        return Crowd(app, limit, Drain()), go

    def test_one_too_many_and_never_health(self):
        async def go():
            crowd, event = self.served(2)
            body = {"type": "http.request", "body": b"", "more_body": False}

            async def receive():
                return body

            async def send(_):
                raise AssertionError

            tasks = [asyncio.create_task(crowd(scope_of(), receive, send)) for _ in range(2)]
            await asyncio.sleep(0)
            with pytest.raises(Unavailable) as refused:
                await crowd(scope_of(), receive, send)
            assert refused.value.kind == "overloaded"
            await crowd({**scope_of(), "path": "/healthz"}, receive, send)
            event.set()
            await asyncio.gather(*tasks)
            await crowd(scope_of(), receive, send)
            assert set(crowd.inside.values()) == {0}

        asyncio.run(go())

    def test_a_body_takes_a_place_of_its_own_until_it_is_there(self):
        async def go():
            crowd, event = self.served(2)
            arrived = asyncio.Event()

            async def receive():
                await arrived.wait()
                return {"type": "http.request", "body": b"x", "more_body": False}

            async def send(_):
                raise AssertionError

            task = asyncio.create_task(crowd(scope_of(content_length=10**6), receive, send))
            await asyncio.sleep(0)
            assert taken(crowd) == {"uploading": 1}
            with pytest.raises(Unavailable, match="1 bodies are arriving already"):
                await crowd(scope_of(transfer_encoding="chunked"), receive, send)
            arrived.set()
            for _ in range(10):
                await asyncio.sleep(0)
            assert taken(crowd) == {"working": 1}
            event.set()
            await task
            task.cancel()
            assert set(crowd.inside.values()) == {0}

        asyncio.run(go())

    def test_a_failing_request_gives_its_place_back(self):
        async def app(scope, receive, send):
            raise RuntimeError

        crowd = Crowd(app, 1, Drain())
        for _ in range(3):
            with pytest.raises(RuntimeError):
                run_app(crowd, [], scope_of())
        assert set(crowd.inside.values()) == {0}


class TestStreams:
    def test_they_take_no_place_and_end_when_the_service_does(self, tmp_path):
        app = bare_app(tmp_path, limits={"concurrency": 1})
        with live(app) as port, Wire(port) as wire:
            wire.say("GET /v1/events HTTP/1.1\nHost: localhost\nConnection: close\n\n")
            assert b"200 OK" in wire.some()
            assert httpx.get(f"http://127.0.0.1:{port}/v1/things/7").status_code == 200
            app.state.loop.call_soon_threadsafe(app.state.drain.begin)
            assert wire.rest().endswith(b"0\r\n\r\n"), "the stream has an end of its own"

    def test_a_request_that_waits_is_not_told_to_go(self):
        async def go():
            drain, ended = Drain(), []

            async def app(scope, receive, send):
                await receive()
                gone = asyncio.create_task(receive())
                await asyncio.sleep(0.02)
                ended.append(gone.done())
                gone.cancel()

            crowd = Crowd(app, 1, drain)
            first = [{"type": "http.request", "body": b"", "more_body": False}]

            async def receive():
                if first:
                    return first.pop()
                await asyncio.sleep(3600)
                return None

            async def send(_):
                raise AssertionError

            drain.begin()
            await crowd(scope_of(), receive, send)
            assert ended == [False]

        asyncio.run(go())


@pytest.mark.parametrize("path", ["/v1/upload", "/v1/things", "/v1/nothing", "/v1/session"])
@pytest.mark.parametrize("connection", ["close", "keep-alive"])
def test_a_client_that_sends_everything_before_it_reads_gets_its_413(port, path, connection):
    """Many programs do; nothing is read before the last byte is sent."""
    size = 26 << 20
    with Wire(port) as wire:
        wire.say(f"POST {path} HTTP/1.1\nHost: localhost\nConnection: {connection}\nContent-Length: {size}\n\n")
        part = bytes(1 << 16)
        for _ in range(size // len(part)):
            wire.say(part)
        status, _, value = parsed(wire.rest())
    assert status == 413
    assert value["error"]["kind"] == "too_large"


def test_reading_on_goes_on_while_the_client_sends(monkeypatch):
    """A link of a megabyte a second needs longer than the moment that is waited for silence."""
    monkeypatch.setattr("search_api.http.guard.bodies._LINGER_S", 0.1)
    waiting, sent = [True] * 8 + [False], []

    async def app(scope, receive, send):
        await send(START)
        await send(END)

    async def receive():
        await asyncio.sleep(0.03)
        return {"type": "http.request", "body": b"x", "more_body": waiting.pop(0)}

    async def send(message):
        sent.append(message)

    asyncio.run(Bodies(app, 10.0)(scope_of(content_length=10), receive, send))
    assert waiting == []
    assert sent[-1]["more_body"] is False
