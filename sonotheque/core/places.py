"""Addresses of places that may be a folder on this machine or lie in an object store: ``s3://bucket/prefix``, ``gs://``, ``file://``.

Text and the environment only: nothing here opens anything or imports a library of an object store. An object's key is any text,
so an address is never taken apart by the rules of the web: ``?``, ``#`` and ``%`` are letters of a name like others.
"""

from __future__ import annotations

import os
import re
from typing import Final

from sonotheque.core.errors import Invalid

OBJECT_SCHEMES: Final = ("s3", "gs")
SCHEMES: Final = (*OBJECT_SCHEMES, "file")

_ALIASES: Final = {"gcs": "gs", "s3a": "s3", "s3n": "s3"}
# Where each kind of address is, if not at its usual provider: the variables that the libraries read, the first one set wins.
_SERVERS: Final = {"s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"), "gs": ("STORAGE_EMULATOR_HOST",)}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,221}[a-z0-9]")


def scheme_of(path: str) -> str:
    """Return an address's scheme in small letters, ``s3`` for ``s3a`` and ``gs`` for ``gcs``; empty for a path."""
    match = _SCHEME.match(path)
    if match is None:
        return ""
    scheme = match.group(1).lower()
    return _ALIASES.get(scheme, scheme)


def is_url(path: str) -> bool:
    """Tell whether a text is an address with a scheme, known or not, and no path of this machine."""
    return bool(scheme_of(path))


def is_object(path: str) -> bool:
    """Tell whether a text is an address in an object store (``s3://``, ``gs://``)."""
    return scheme_of(path) in OBJECT_SCHEMES


def server_of(scheme: str) -> str:
    """Return the server that the environment names for a scheme's addresses; empty for the usual one."""
    named = (os.environ.get(name, "") for name in _SERVERS.get(scheme, ()))
    return next(filter(None, named), "").rstrip("/")


def absolute(path: str) -> str:
    """Return what names a place from any working folder: an address as it is, a path from the root."""
    return path if is_object(path) else os.path.abspath(path)


def normal(address: str) -> str:
    """Return the one spelling of an address.

    Parameters
    ----------
    address : str
        A path, which is returned as it is, or an address.

    Returns
    -------
    str
        ``scheme://bucket/key`` without a slash at the end; the path that a ``file://`` address names.

    Raises
    ------
    Invalid
        If the scheme is not one of :data:`SCHEMES`, or the bucket's name cannot be one.
    """
    scheme = scheme_of(address)
    if not scheme:
        return address
    rest = address.split("://", 1)[1]
    if scheme == "file":
        return _local(address, rest)
    if scheme not in OBJECT_SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise Invalid(f"{address}: {scheme}:// is no kind of address that can be read; there are {known} and paths")
    bucket, _, key = rest.partition("/")
    if "@" in bucket:
        raise Invalid(
            f"{scheme}://...@{bucket.rpartition('@')[2]}: an address must not hold a key or password, because it is written into "
            "the store; give them by the environment or the provider's own settings file"
        )
    if not _BUCKET.fullmatch(bucket):
        raise Invalid(
            f"{address}: {bucket!r} cannot be a bucket's name (3 to 223 small letters, digits, '.', '_', '-'); "
            f"write {scheme}://BUCKET/PREFIX"
        )
    key = key.rstrip("/")
    return f"{scheme}://{bucket}/{key}" if key else f"{scheme}://{bucket}"


def _local(address: str, rest: str) -> str:
    host, slash, path = rest.partition("/")
    if host not in ("", "localhost") or not slash:
        raise Invalid(
            f"{address}: a file:// address needs three slashes and a whole path, as in file:///data/recordings"
        )
    return "/" + path.strip("/")


def bucket_and_key(url: str) -> tuple[str, str]:
    """Return the bucket and the key of a normal address; the key is empty for a whole bucket."""
    bucket, _, key = url.split("://", 1)[1].partition("/")
    return bucket, key


def join(base: str, *parts: str) -> str:
    """Return an address or path with further parts below it; empty parts are left out."""
    whole = base
    for part in parts:
        if part:
            whole = f"{whole.rstrip('/')}/{part.lstrip('/')}"
    return whole


def inside(address: str, base: str) -> bool:
    """Tell whether a normal address is another one or lies below it; ``s3://b/ab`` does not lie in ``s3://b/a``."""
    return address == base or address.startswith(base.rstrip("/") + "/")


def relative(address: str, base: str) -> str:
    """Return what of an address is left below a base, without a slash before it; empty for the base itself.

    Raises
    ------
    Invalid
        If the address does not lie in the base.
    """
    if not inside(address, base):
        raise Invalid(f"{address} does not lie in {base}")
    return address[len(base.rstrip("/")) + 1 :]


def parent(address: str) -> str:
    """Return the address one level up; a bucket is its own parent."""
    scheme, _, rest = address.partition("://")
    head, slash, _ = rest.rpartition("/")
    return f"{scheme}://{head}" if slash else address


def name_of(address: str) -> str:
    """Return the last part of an address or path."""
    return address.rstrip("/").rpartition("/")[2]


def common(addresses: list[str]) -> str:
    """Return the deepest address that all of some normal addresses lie in; empty if they share no bucket."""
    if len({(scheme_of(each), bucket_and_key(each)[0]) for each in addresses}) != 1:
        return ""
    parts = [each.split("/") for each in addresses]
    shared = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        shared.append(level[0])
    return "/".join(shared)
