"""The one door to an object store: its file system from fsspec, patience with what passes, and errors that say what to do."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final, TypeVar

from sonotheque.core.errors import NotFound, SonothequeError, Unavailable
from sonotheque.core.places import bucket_and_key, scheme_of, server_of

_T = TypeVar("_T")
ANONYMOUS: Final = "SONOTHEQUE_STORE_ANONYMOUS"  # of the store alone: recordings may be public and the store not
WAITS_S: Final = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0)  # before each further try
_PASSING_CODES: Final = frozenset(
    (
        "SlowDown",
        "ServiceUnavailable",
        "InternalError",
        "RequestTimeout",
        "OperationAborted",
        "ConditionalRequestConflict",
    )
)
_PASSING_STATUS: Final = frozenset((408, 409, 429, 500, 502, 503, 504))
_FORBIDDEN: Final = frozenset(
    ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken")
)
_ELSEWHERE: Final = frozenset(("PermanentRedirect", "301", "307", "Redirect", "IllegalLocationConstraintException"))
_LIBRARIES: Final = frozenset(
    ("botocore", "aiobotocore", "aiohttp", "fsspec", "http", "urllib3", "requests")
)  # whose errors without an answer are the network's
_ROOTS: Final = (
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
    ("botocore.parsers", "ResponseParserError"),
    ("aiohttp", "ClientError"),
    ("http.client", "HTTPException"),
    ("urllib3.exceptions", "HTTPError"),
    ("gcsfs.retry", "HttpError"),
    ("google.auth.exceptions", "GoogleAuthError"),
)
_EXTRA: Final = {"s3": "s3fs", "gs": "gcsfs"}


def filesystem(url: str) -> Any:
    """Return the fsspec file system of an address: one for a process, shared by its threads.

    Raises
    ------
    Unavailable
        Kind ``engine_missing``: the library for such addresses is not installed.
    """
    scheme = scheme_of(url)
    return _filesystem(
        scheme,
        os.getpid(),
        server_of(scheme),
        os.environ.get(ANONYMOUS, "") not in ("", "0"),
    )


@lru_cache(maxsize=4)
def _filesystem(scheme: str, process: int, server: str, anonymous: bool) -> Any:
    # A listing that is remembered would hide what another machine commits; an instance of fsspec's own cache is one thread's.
    shared: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
    try:
        if scheme == "s3":
            from s3fs import S3FileSystem

            limits = {
                "connect_timeout": 10,
                "read_timeout": 60,
                "retries": {"mode": "standard", "total_max_attempts": 1},
            }
            found = S3FileSystem(anon=anonymous, config_kwargs=limits, **shared)
            found.retries = 1  # there are three layers that ask again; `patiently` alone does
            return found
        from gcsfs.core import (
            GCSFileSystem,
        )  # the class of its front door asks by gRPC what kind of bucket it is, for a minute

        return GCSFileSystem(token="anon" if anonymous else None, **shared)
    except ImportError as error:
        raise Unavailable(
            f"stores at {scheme}:// addresses need {_EXTRA.get(scheme, 'fsspec')} ({error}): pip install 'sonotheque[objects]'",
            kind="engine_missing",
        ) from error


def waits_s(url: str) -> tuple[float, ...]:
    """Return the seconds to wait before each further try; gcsfs has tried six times in half a minute by itself."""
    return WAITS_S if scheme_of(url) == "s3" else WAITS_S[:1]


def patiently(url: str, call: Callable[[], _T]) -> _T:
    """Return what a request gives, asked again after growing waits while what is wrong may pass.

    Raises
    ------
    FileNotFoundError, FileExistsError
        The object is not there, or its name is taken.
    SonothequeError
        What else went wrong, with what to do; see :func:`told`.
    """
    for wait_s in waits_s(url):
        try:
            with told(url):
                return call()
        except Passing:
            time.sleep(wait_s)
    try:
        with told(url):
            return call()
    except Passing as error:
        raise error.final() from error


class Passing(Exception):  # noqa: N818 - an answer: ask again
    """A request failed in a way that may pass: no connection, an overloaded server, an answer that broke off."""

    def __init__(self, url: str, error: BaseException) -> None:
        super().__init__(f"{url}: {error}")
        self.url, self.error = url, error

    def final(self) -> SonothequeError:
        """Return the error for whoever does not ask again."""
        return Unavailable(
            f"{self.url} cannot be reached: {_words(self.error)}. Nothing that was committed is harmed: check the network and the "
            "provider (for another server than Amazon's, AWS_ENDPOINT_URL) and run the same command again",
            kind="store_unreachable",
        )


def _errors() -> tuple[type[Exception], ...]:
    """Return the roots of the trees of errors that the libraries raise, of those that were imported."""
    return (OSError, *(getattr(sys.modules[module], name) for module, name in _ROOTS if module in sys.modules))


@contextmanager
def told(url: str) -> Iterator[None]:
    """Turn the errors of fsspec, botocore and aiohttp into ours; missing and taken names stay as they are."""
    try:
        yield
    except FileExistsError:
        raise
    except _errors() as error:
        found = _worded(url, error)
        if found is None:
            raise
        raise found from error


def _worded(url: str, error: Exception) -> Exception | None:
    """Return the error to raise instead; None: this one says what is wrong."""
    code, status = answer_of(error)
    bucket, _ = bucket_and_key(url)
    if code == "NoSuchBucket":
        return no_bucket(url)
    if code == "PreconditionFailed" or status == 412:
        return FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), url)
    if isinstance(error, FileNotFoundError):
        return None
    if code in _ELSEWHERE:
        return Unavailable(
            f"bucket {bucket} lies in another region: set AWS_DEFAULT_REGION to its own, or AWS_ENDPOINT_URL to that region's address"
        )
    if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
        return Unavailable(
            f"{url} needs credentials and there are none: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run "
            f"`aws configure`. A public store is read with {ANONYMOUS}=1"
        )
    if code in _FORBIDDEN or status in (401, 403) or isinstance(error, PermissionError):
        expired = "; they have expired: renew them" if code in ("ExpiredToken", "InvalidToken") else ""
        return Unavailable(
            f"{url} may not be read or written with these credentials ({_words(error)}){expired}. A store needs the rights to list, "
            "get and put objects below its address",
            kind="read_only",
        )
    library = type(error).__module__.partition(".")[0] in _LIBRARIES
    network = library or isinstance(error, ConnectionError | TimeoutError)
    if code in _PASSING_CODES or status in _PASSING_STATUS or (network and not status):
        return Passing(url, error)
    return None


def no_bucket(url: str) -> NotFound:
    """Return the error of an address whose bucket does not exist."""
    bucket, _ = bucket_and_key(url)
    return NotFound(f"there is no bucket {bucket}: make it with the provider's own tools, or check the address {url}")


def answer_of(error: BaseException | None) -> tuple[str, int]:
    """Return the server's code and HTTP status behind an error; ``"", 0`` if no answer came."""
    seen = error
    while seen is not None:
        response = getattr(seen, "response", None)
        if isinstance(response, dict) and "Error" in response:
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return str(response["Error"].get("Code", "")), int(status or 0)
        code = getattr(seen, "code", None)
        if type(seen).__name__ == "HttpError" and str(code).isdigit():  # gcsfs
            return "", int(str(code))
        if type(seen) is OSError and seen.errno is None and str(seen).startswith("Forbidden:"):  # gcsfs again
            return "", 403
        seen = seen.__cause__
    return "", 0


def _words(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
