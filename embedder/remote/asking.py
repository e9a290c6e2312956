"""Requests that go on: the right credentials or none, tried again while what is wrong may pass, resumed where they broke off."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from embedder.remote.facts import ObjectFacts, StoreClient
from embedder.remote.faults import RemoteError, needs_extra
from sonotheque.core.places import bucket_and_key, scheme_of, server_of

ANONYMOUS: Final = "SONOTHEQUE_ANONYMOUS"
DELAYS_S: Final = (
    0.2,
    0.5,
    1.0,
    2.0,
    4.0,
)  # before the second try ... the sixth; a byte more than before begins the count anew
_TRIES_MAX: Final = 100  # of one range, however little comes each time
# Of all tries of one range: with the one that may be under way at its end less than the time after which a part counts as stuck.
DEADLINE_S: Final = 90.0
_PAGE: Final = 1000  # as many as S3 gives
_REFUSED: Final = frozenset({"forbidden", "expired"})
_LIBRARIES: Final = {"s3": "s3fs", "gs": "gcsfs"}
_Value = TypeVar("_Value")


class _Doors:
    """The clients of this process, and which buckets are open to everybody."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clients: dict[tuple[object, ...], StoreClient] = {}
        self._public: set[tuple[str, str]] = set()
        self._readable: dict[tuple[str, str], str] = {}  # of each bucket the object that was read last

    def client(self, url: str, *, anonymous: bool) -> StoreClient:
        scheme = scheme_of(url)
        key = (scheme, anonymous, os.getpid(), server_of(scheme))  # sessions do not survive a fork
        with self._lock:
            if key not in self._clients:
                self._clients[key] = _make_client(url, scheme, anonymous=anonymous)
            return self._clients[key]

    def ask(self, url: str, request: Callable[[StoreClient], _Value]) -> _Value:
        """Ask with what credentials there are; a bucket that refuses those, or wants none, without."""
        bucket = scheme_of(url), bucket_and_key(url)[0]
        if os.environ.get(ANONYMOUS, "") not in ("", "0"):
            return request(self.client(url, anonymous=True))
        if bucket in self._public:
            try:
                return request(self.client(url, anonymous=True))
            except RemoteError as error:
                if error.kind not in _REFUSED:
                    raise
                self._public.discard(bucket)  # open in parts only, or no longer
        try:
            return request(self.client(url, anonymous=False))
        except RemoteError as error:
            if error.kind not in _REFUSED:
                raise
            refused = error
        try:
            value = request(self.client(url, anonymous=True))
        except RemoteError as error:
            if error.kind == "passing":
                raise
            raise refused from error
        self._public.add(bucket)
        return value

    def note_read(self, url: str) -> None:
        """Remember that an object could be read."""
        bucket, key = bucket_and_key(url)
        self._readable[scheme_of(url), bucket] = key

    def is_lost(self, url: str) -> bool:
        """Tell whether the object of the same bucket that was read last may not be read any more either."""
        scheme, (bucket, _) = scheme_of(url), bucket_and_key(url)
        key = self._readable.get((scheme, bucket))
        if key is None:
            return False
        try:
            self.ask(f"{scheme}://{bucket}/{key}", lambda client: client.facts(bucket, key))
        except RemoteError as error:
            return error.kind in _REFUSED
        return False


_DOORS = _Doors()


def _make_client(url: str, scheme: str, *, anonymous: bool) -> StoreClient:
    try:
        if scheme == "s3":
            from embedder.remote.s3 import S3Client

            return S3Client(anonymous=anonymous)
        from embedder.remote.google import GoogleClient

        return GoogleClient(anonymous=anonymous)
    except ImportError as error:
        raise needs_extra(url, _LIBRARIES.get(scheme, "a library"), error) from error


def _patiently(url: str, request: Callable[[StoreClient], _Value], came: Callable[[], int] = lambda: 0) -> _Value:
    """Return what a request gives; ``came`` says how many bytes there are, so that progress is told from standing still."""
    failed, had, began = 0, came(), time.monotonic()
    for tries in range(1, _TRIES_MAX + 1):
        try:
            return _DOORS.ask(url, request)
        except RemoteError as error:
            failed = 1 if came() > had else failed + 1
            had = came()
            if error.kind == "forbidden" and _DOORS.is_lost(url):
                raise RemoteError("lost", url, error.detail) from error
            if error.kind != "passing":
                raise
            if failed > len(DELAYS_S) or tries == _TRIES_MAX or time.monotonic() - began > DEADLINE_S:
                raise RemoteError("passing", url, f"{error.detail} (tried {tries} times)") from error
        time.sleep(DELAYS_S[failed - 1] * random.uniform(0.5, 1.5))
    raise AssertionError("the last try returns or raises")


def look_at(url: str) -> ObjectFacts:
    """Return what is known of the object at an address.

    Raises
    ------
    RemoteError
        ``absent`` if there is none.
    """
    bucket, key = bucket_and_key(url)
    if not key:
        raise RemoteError("absent", url, "is a whole bucket and no object")
    found = _patiently(url, lambda client: client.facts(bucket, key))
    _DOORS.note_read(url)
    return found


def fetch(url: str, start: int, stop: int, version: str = "") -> bytes:
    """Return the bytes ``[start, stop)`` of an object, fewer if it ends before.

    Parameters
    ----------
    url : str
    start, stop : int
    version : str
        Only of this version.

    Raises
    ------
    RemoteError
        ``changed`` if the object has another version.
    """
    bucket, key = bucket_and_key(url)
    data = bytearray()

    def go_on(client: StoreClient) -> None:
        if start + len(data) < stop:
            client.fetch(bucket, key, start + len(data), stop, version, data)

    _patiently(url, go_on, came=lambda: len(data))
    _DOORS.note_read(url)
    return bytes(data)


def list_below(url: str, limit: int | None = None) -> Iterator[ObjectFacts]:
    """Yield the objects below an address, page by page, in the order of their keys' bytes.

    Parameters
    ----------
    url : str
        A bucket, or a prefix that ends where a folder's name would.
    limit : int, optional
        Objects of one page.
    """
    bucket, key = bucket_and_key(url)
    prefix = f"{key}/" if key else ""
    token = ""
    while True:
        page = _patiently(url, lambda client, token=token: client.page(bucket, prefix, token, limit or _PAGE))  # type: ignore[misc]
        yield from page.objects
        token = page.token
        if not token:
            return
