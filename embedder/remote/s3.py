"""S3 and what speaks like it, through s3fs' session: requests and errors are botocore's own, and nothing tries again by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    TokenRetrievalError,
    UnauthorizedSSOTokenError,
)
from botocore.exceptions import ConnectionError as EndpointError
from botocore.parsers import ResponseParserError
from fsspec.asyn import FSTimeoutError, sync
from s3fs import S3FileSystem

from embedder.remote.facts import ObjectFacts, Page
from embedder.remote.faults import Kind, RemoteError

_PIECE_BYTES: Final = 1 << 16
_DEADLINE_S: Final = 60.0  # of one request; what has come of a range by then stays
_CONFIG: Final = {
    "connect_timeout": 10,
    "read_timeout": 30,
    "max_pool_connections": 64,
    "retries": {"total_max_attempts": 1},
}
_ABSENT: Final = frozenset({"NoSuchKey", "NoSuchBucket", "404", "NotFound"})
_FORBIDDEN: Final = frozenset(
    {
        "AccessDenied",
        "403",
        "Forbidden",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "AllAccessDisabled",
        "AccountProblem",
    }
)
_EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired"})
_REGION: Final = frozenset(
    {
        "PermanentRedirect",
        "TemporaryRedirect",
        "301",
        "307",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
    }
)
_PASSING: Final = frozenset(
    {"SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "Throttling", "ThrottlingException"}
)
_UNCLEAR: Final = frozenset({"400", "403", "Bad Request"})  # answers to HEAD have no body that says why
_NETWORK = (
    HTTPClientError,
    EndpointError,
    ResponseParserError,
    aiohttp.ClientError,
    asyncio.TimeoutError,
    FSTimeoutError,
    ConnectionError,
)
_SIGN_IN = (NoCredentialsError, PartialCredentialsError, ProfileNotFound)
_Value = TypeVar("_Value")


class S3Client:
    """Requests to S3.

    Parameters
    ----------
    anonymous : bool
        Sign nothing; else as botocore finds credentials: environment, settings files, the machine's role.
    """

    def __init__(self, *, anonymous: bool) -> None:
        self._anonymous = anonymous
        self._fs = S3FileSystem(
            anon=anonymous, skip_instance_cache=True, use_listings_cache=False, config_kwargs=dict(_CONFIG)
        )

    def page(self, bucket: str, prefix: str, token: str, limit: int) -> Page:
        """Return the next objects of a listing."""
        more = {"ContinuationToken": token} if token else {}
        answer = self._ask(
            bucket, prefix, lambda s3: s3.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=limit, **more)
        )
        objects = [_facts(item["Key"], item["Size"], item) for item in answer.get("Contents", [])]
        return Page(objects, answer.get("NextContinuationToken", "") if answer.get("IsTruncated") else "")

    def facts(self, bucket: str, key: str) -> ObjectFacts:
        """Return what is known of one object."""

        async def look(s3: Any) -> ObjectFacts:
            try:
                return _facts_of(key, await s3.head_object(Bucket=bucket, Key=key))
            except ClientError as error:
                if _code(error) not in _UNCLEAR:
                    raise
            answer = await s3.get_object(Bucket=bucket, Key=key, Range="bytes=0-0")  # says why, or works after all
            answer["Body"].close()
            raise RemoteError("passing", f"s3://{bucket}/{key}", "HEAD is refused and GET is not")

        return self._ask(bucket, key, look)

    def fetch(self, bucket: str, key: str, start: int, stop: int, version: str, into: bytearray) -> None:
        """Append a range of an object."""
        pinned = {"IfMatch": version} if version else {}

        async def read(s3: Any) -> None:
            answer = await s3.get_object(Bucket=bucket, Key=key, Range=f"bytes={start}-{stop - 1}", **pinned)
            async with answer["Body"] as body:
                _require(answer, f"s3://{bucket}/{key}", start, version)
                left = stop - start
                while left and (piece := await body.read(min(_PIECE_BYTES, left))):
                    into.extend(piece)
                    left -= len(piece)

        self._ask(bucket, key, read)

    def _ask(self, bucket: str, key: str, request: Callable[[Any], Awaitable[_Value]]) -> _Value:
        async def run() -> _Value:
            await self._fs.set_session()
            return await request(await self._fs.get_s3(bucket))

        try:
            value: _Value = sync(self._fs.loop, run, timeout=_DEADLINE_S)
        except RemoteError:
            raise
        except RecursionError as error:  # botocore follows every redirect, and this server redirects to itself
            raise RemoteError("region", f"s3://{bucket}/{key}".rstrip("/"), "is redirected round and round") from error
        except (TimeoutError, BotoCoreError, ClientError, ResponseParserError, aiohttp.ClientError, OSError) as error:
            raise _fault(error, f"s3://{bucket}/{key}".rstrip("/"), anonymous=self._anonymous) from error
        return value


def _require(answer: dict[str, Any], url: str, start: int, version: str) -> None:
    """Refuse the bytes of another version, or of another place: not every server that speaks S3 heeds ``If-Match`` and ``Range``."""
    found = _version(answer)
    if version and found and found != version:
        raise RemoteError("changed", url, "another object has this name now")
    told = answer.get("ContentRange", "")
    if not told.startswith(f"bytes {start}-") and (told or start):
        raise RemoteError(
            "passing", url, f"asked from byte {start} on, the server answers {told or 'from the first on'}"
        )


def _version(answer: dict[str, Any]) -> str:
    return str(answer.get("ETag", "")).strip('"')


def _facts_of(key: str, answer: dict[str, Any]) -> ObjectFacts:
    return _facts(key, answer["ContentLength"], answer)


def _facts(key: str, size_bytes: int, item: dict[str, Any]) -> ObjectFacts:
    return ObjectFacts(key, size_bytes, item["LastModified"], _version(item))


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _fault(error: Exception, url: str, *, anonymous: bool) -> RemoteError:
    """Return an error of botocore or of the network in our words."""
    if isinstance(error, ClientError):
        return RemoteError(_kind(error), url, _said(error, anonymous=anonymous))
    if isinstance(error, _SIGN_IN):
        return RemoteError("forbidden", url, f"no usable credentials ({error})")
    if isinstance(error, TokenRetrievalError | UnauthorizedSSOTokenError):
        return RemoteError("expired", url, str(error))
    words = str(error) or type(error).__name__
    if isinstance(error, _NETWORK) or not isinstance(error, BotoCoreError):
        return RemoteError("passing", url, words)
    return RemoteError("region", url, words)  # what is left of botocore's own: a setting it cannot use


def _kind(error: ClientError) -> Kind:
    code, status = _code(error), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _PASSING or status >= 500 or status in (408, 429):
        return "passing"
    if status in (412, 416):
        return "changed"
    for kind, codes in (("absent", _ABSENT), ("expired", _EXPIRED), ("region", _REGION)):
        if code in codes:
            return kind  # type: ignore[return-value]
    return "forbidden" if code in _FORBIDDEN or status in (401, 403) else "region"


def _said(error: ClientError, *, anonymous: bool) -> str:
    told = error.response.get("Error", {})
    words = f"{told.get('Code', 'an error')}: {told.get('Message', '')}".rstrip(": ")
    region = told.get("Region") or error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get(
        "x-amz-bucket-region"
    )
    words += f" (the bucket lies in {region})" if region and _code(error) in _REGION else ""
    return f"{words} (asked without credentials)" if anonymous else words
