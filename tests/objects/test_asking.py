"""Requests to S3 that go on: tried again, resumed where they broke off, with credentials or without, and errors that say what to do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from botocore.parsers import ResponseParserError

from embedder.audio import open_windows
from embedder.remote import RemoteError, as_error, asking, list_below, look_at, object_at
from embedder.remote.facts import ObjectFacts
from embedder.remote.s3 import S3Client
from sonotheque.core.errors import SonothequeError, Unavailable
from store.remote import Passing, told
from tests.audio.damage import RULE
from tests.objects.kit import Bucket, Fault, StoreServer

DATA = np.random.default_rng(8).bytes(300_000)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "DELAYS_S", (0.01, 0.01, 0.01))
    monkeypatch.setattr(asking._DOORS, "_public", set())
    monkeypatch.setattr(asking._DOORS, "_readable", {})


@pytest.mark.parametrize("kind", ["status", "reset", "lose_answer", "drop_body"])
def test_what_breaks_is_asked_for_again(bucket: Bucket, kind: str) -> None:
    bucket.put("a.wav", DATA)
    fault = bucket.server.faults.add(Fault(kind, contains="a.wav", after_bytes=70_000, times=3))  # type: ignore[arg-type]
    assert asking.fetch(f"{bucket.url}/a.wav", 1000, 250_000) == DATA[1000:250_000]
    assert fault.hits == 3


def test_reading_goes_on_at_the_byte_where_it_broke(bucket: Bucket) -> None:
    bucket.put("a.wav", DATA)
    bucket.server.faults.add(Fault("drop_body", contains="a.wav", after_bytes=70_000, times=6))
    assert asking.fetch(f"{bucket.url}/a.wav", 0, 300_000) == DATA  # more drops than tries: each brought something
    began = [int(one.range.removeprefix("bytes=").split("-")[0]) for one in bucket.server.faults.seen]
    assert began == [0, 70_000, 140_000, 210_000, 280_000]


def test_it_ends(bucket: Bucket) -> None:
    bucket.put("a.wav", DATA)
    bucket.server.faults.add(Fault("status", times=-1))
    with pytest.raises(RemoteError, match=r"a\.wav: SlowDown: SlowDown \(tried 4 times\)") as caught:
        asking.fetch(f"{bucket.url}/a.wav", 0, 10)
    assert isinstance(as_error(caught.value), Unavailable)
    assert bucket.server.faults.count() == 4


def test_a_listing_comes_page_by_page_and_survives(bucket: Bucket) -> None:
    names = ["a?b#c.wav", "a b.wav", "a%20.wav", "a+.wav", "ä.wav", "a/b.wav", "a.wav", "z//b.wav"]
    for name in names:
        bucket.put(f"s/{name}", b"x")
    bucket.server.faults.add(Fault("status", contains="continuation-token", times=2, code=500, error="InternalError"))
    bucket.server.faults.add(Fault("reset", contains="continuation-token", skip=3, times=1))
    found = [item.key for item in list_below(f"{bucket.url}/s", limit=3)]
    assert found == sorted((f"s/{name}" for name in names), key=str.encode)
    for key in found:
        assert look_at(f"{bucket.url}/{key}").size_bytes == 1


def test_what_has_come_of_a_slow_listing_is_there_at_once(bucket: Bucket) -> None:
    for number in range(4):
        bucket.put(f"{number}.wav", b"x")
    held = bucket.server.faults.add(Fault("hold", contains="continuation-token"))
    listing = list_below(bucket.url, limit=2)
    assert [next(listing).key, next(listing).key] == ["0.wav", "1.wav"]
    threading.Timer(0.05, held.released.set).start()
    assert [item.key for item in listing] == ["2.wav", "3.wav"]


def test_facts_are_the_same_listed_and_asked_for(bucket: Bucket) -> None:
    bucket.put("a.wav", DATA)
    (listed,) = list_below(bucket.url)
    asked = look_at(f"{bucket.url}/a.wav")
    assert (listed.size_bytes, listed.mtime_ns, listed.version) == (asked.size_bytes, asked.mtime_ns, asked.version)


def test_another_content_has_another_time_within_the_second() -> None:
    when = datetime(2026, 5, 1, 4, 0, 0, 999_000, UTC)
    times = {ObjectFacts("a", 1, when, version).mtime_ns for version in ("", "a", "b", "c")}
    assert len(times) == 4
    assert {time // 10**9 for time in times} == {int(when.timestamp())}


def test_only_the_version_that_was_asked_for(bucket: Bucket) -> None:
    bucket.put("a.wav", DATA)
    url, version = f"{bucket.url}/a.wav", look_at(f"{bucket.url}/a.wav").version
    assert asking.fetch(url, 0, 10, version) == DATA[:10]
    bucket.put("a.wav", DATA[::-1])
    with pytest.raises(RemoteError) as caught:
        asking.fetch(url, 0, 10, version)
    assert caught.value.kind == "changed"


def test_what_an_address_is(bucket: Bucket) -> None:
    bucket.put("season/a.wav", b"abc")
    assert object_at(bucket.url) is None
    assert object_at(f"{bucket.url}/season") is None
    found = object_at(f"{bucket.url}/season/a.wav")
    assert found is not None
    assert found.size_bytes == 3
    for address in (
        f"{bucket.url}/sea",
        f"{bucket.url}/Season",
        f"{bucket.url}/season/b.wav",
        "s3://no-such-bucket/a.wav",
    ):
        with pytest.raises(SonothequeError, match="check the bucket's name") as caught:
            object_at(address)
        assert caught.value.kind == "not_found"


@pytest.mark.parametrize(
    ("code", "error", "kind", "said"),
    [
        (403, "AccessDenied", "forbidden", "name an account that may read it"),
        (403, "InvalidAccessKeyId", "forbidden", "AWS_PROFILE"),
        (400, "ExpiredToken", "unauthorized", "aws sso login"),
        (400, "AuthorizationHeaderMalformed", "invalid", "AWS_DEFAULT_REGION"),
        (301, "PermanentRedirect", "invalid", "AWS_DEFAULT_REGION"),
        (404, "NoSuchBucket", "not_found", "check the bucket's name"),
        (503, "SlowDown", "unavailable", "run the same command again later"),
    ],
)
def test_errors_say_what_to_do(bucket: Bucket, code: int, error: str, kind: str, said: str) -> None:
    bucket.put("a.wav", DATA)
    bucket.server.faults.add(Fault("status", times=-1, code=code, error=error))
    with pytest.raises(SonothequeError, match=said) as caught:
        object_at(f"{bucket.url}/season")
    assert caught.value.kind == kind
    assert f"{bucket.url}/season" in caught.value.message
    with pytest.raises(RemoteError) as single:
        look_at(f"{bucket.url}/a.wav")
    found = as_error(single.value).kind
    assert found == kind or error == "PermanentRedirect"  # an answer without a body, of a HEAD, does not say where to


def test_a_server_that_is_not_there(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(Unavailable, match="tried 4 times"):
        object_at(f"{bucket.url}/season")


def test_a_server_that_is_named_for_s3_alone(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore prefers it; a client that was made before it was named is of another server."""
    bucket.put("a.wav", DATA)
    assert asking.fetch(f"{bucket.url}/a.wav", 0, 10) == DATA[:10]
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with pytest.raises(RemoteError):
        asking.fetch(f"{bucket.url}/a.wav", 0, 10)
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3")
    assert asking.fetch(f"{bucket.url}/a.wav", 0, 10) == DATA[:10]


class TestWithoutCredentials:
    @pytest.fixture(autouse=True)
    def _none(self, store_server: StoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(asking, "_DOORS", asking._Doors())  # sessions keep the credentials they found
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    def test_a_public_object_needs_none(self, bucket: Bucket) -> None:
        bucket.put("open.wav", DATA, ACL="public-read")
        assert asking.fetch(f"{bucket.url}/open.wav", 0, 10) == DATA[:10]
        assert not any(one.signed for one in bucket.server.faults.seen)

    def test_one_that_is_not_public_says_so(self, bucket: Bucket) -> None:
        bucket.put("shut.wav", DATA)
        with pytest.raises(RemoteError, match="no usable credentials") as caught:
            look_at(f"{bucket.url}/shut.wav")
        assert "a public bucket needs none" in as_error(caught.value).message


def test_credentials_that_are_refused_do_not_shut_a_public_bucket(bucket: Bucket) -> None:
    bucket.put("open.wav", DATA, ACL="public-read")
    bucket.server.faults.add(Fault("status", code=403, error="InvalidAccessKeyId"))
    assert asking.fetch(f"{bucket.url}/open.wav", 0, 10) == DATA[:10]
    assert asking.fetch(f"{bucket.url}/open.wav", 10, 20) == DATA[10:20]
    assert [one.signed for one in bucket.server.faults.seen] == [True, False, False]


def test_none_are_looked_for_when_told_so(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SONOTHEQUE_ANONYMOUS", "1")
    bucket.put("open.wav", DATA, ACL="public-read")
    bucket.put("shut.wav", DATA)
    assert look_at(f"{bucket.url}/open.wav").size_bytes == len(DATA)
    with pytest.raises(RemoteError, match="asked without credentials") as caught:
        look_at(f"{bucket.url}/shut.wav")
    assert caught.value.kind == "forbidden"
    assert not any(one.signed for one in bucket.server.faults.seen)


def test_errors_cross_processes() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(RemoteError("expired", "s3://b/a", "why")))
    assert (error.kind, error.url, error.detail, error.errno) == ("expired", "s3://b/a", "why", 1)


def test_a_bucket_that_is_open_in_parts(bucket: Bucket) -> None:
    bucket.put("open.wav", DATA, ACL="public-read")
    bucket.put("shut.wav", DATA)
    bucket.server.faults.add(Fault("status", code=403, error="InvalidAccessKeyId"))
    assert asking.fetch(f"{bucket.url}/open.wav", 0, 10) == DATA[:10]
    assert asking.fetch(f"{bucket.url}/shut.wav", 0, 10) == DATA[:10]
    assert [one.signed for one in bucket.server.faults.seen] == [True, False, False, True]


class TestAccessThatIsLost:
    @pytest.mark.parametrize("name", ["a.wav", "b.wav"])
    def test_credentials_that_expire_are_no_fault_of_a_recording(self, bucket: Bucket, name: str) -> None:
        bucket.put("a.wav", DATA)
        bucket.server.faults.add(Fault("status", times=-1, code=400, error="ExpiredToken"))
        with pytest.raises(Unavailable, match="aws sso login") as caught:
            list(open_windows(f"{bucket.url}/{name}", RULE))
        assert caught.value.kind == "access_lost"

    def test_nor_are_rights_that_are_taken_back(self, bucket: Bucket) -> None:
        bucket.put("a.wav", DATA)
        bucket.put("b.wav", DATA)
        look_at(f"{bucket.url}/a.wav")
        bucket.server.faults.add(Fault("status", times=-1, code=403, error="AccessDenied"))
        with pytest.raises(Unavailable, match="see to the account's rights") as caught:
            list(open_windows(f"{bucket.url}/b.wav", RULE))
        assert caught.value.kind == "access_lost"

    def test_one_object_that_is_forbidden_is_its_own_fault(self, bucket: Bucket) -> None:
        bucket.put("a.wav", DATA)
        bucket.put("b.wav", DATA)
        look_at(f"{bucket.url}/a.wav")
        bucket.server.faults.add(Fault("status", contains="b.wav", times=-1, code=403, error="AccessDenied"))
        stream = open_windows(f"{bucket.url}/b.wav", RULE)
        assert list(stream) == []
        assert (stream.summary.status, stream.summary.passing) == ("io_error", False)


def test_all_tries_of_a_range_together_have_an_end(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "DEADLINE_S", -1.0)
    bucket.server.faults.add(Fault("status", times=-1))
    with pytest.raises(RemoteError, match="tried 1 times"):
        asking.fetch(f"{bucket.url}/a.wav", 0, 10)


class Careless(BaseHTTPRequestHandler):
    """A server that speaks S3 and heeds no condition, and no range where it is told so."""

    protocol_version = "HTTP/1.1"
    content, ranges = b"A" * 1000, True

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        if not asked:
            return self._answer(200, b"this is no XML <", [])
        start, stop = map(int, asked.removeprefix("bytes=").split("-"))
        if not self.ranges:
            return self._answer(200, self.content, [])
        where = f"bytes {start}-{stop}/{len(self.content)}"
        return self._answer(206, self.content[start : stop + 1], [("Content-Range", where)])

    def _answer(self, status: int, body: bytes, headers: list[tuple[str, str]]) -> None:
        self.send_response(status)
        for name, value in (*headers, ("ETag", f'"{self.content[:1].decode()}"'), ("Content-Length", str(len(body)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def careless(store_server: StoreServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Careless]]:
    handler = type("Handler", (Careless,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    yield handler
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_server_that_heeds_no_condition_mixes_no_versions(careless: type[Careless]) -> None:
    assert asking.fetch("s3://bucket/a.wav", 0, 10, "A") == b"A" * 10
    careless.content = b"B" * 1000
    with pytest.raises(RemoteError) as caught:
        asking.fetch("s3://bucket/a.wav", 10, 20, "A")
    assert caught.value.kind == "changed"


def test_a_server_that_heeds_no_range_gives_no_other_bytes(careless: type[Careless]) -> None:
    careless.ranges, careless.content = False, bytes(range(65, 91)) * 40
    assert asking.fetch("s3://bucket/a.wav", 0, 10) == b"ABCDEFGHIJ"
    with pytest.raises(RemoteError, match=r"asked from byte 10 on, .* \(tried"):
        asking.fetch("s3://bucket/a.wav", 10, 20)


def test_an_answer_that_cannot_be_read_may_pass(store_server: StoreServer, monkeypatch: pytest.MonkeyPatch) -> None:
    client = S3Client(anonymous=True)

    async def garbled(bucket: str) -> None:
        raise ResponseParserError("no XML")

    monkeypatch.setattr(client._fs, "get_s3", garbled)
    with pytest.raises(RemoteError, match="no XML") as caught:
        client.page("bucket", "", "", 10)
    assert caught.value.kind == "passing"
    with pytest.raises(Passing), told("s3://bucket/archive"):
        raise ResponseParserError("no XML")
