"""Which names the service answers to, and which requests other web sites made. Both keep foreign pages out of an open service.

A page of another site can make a visitor's browser send requests to ``127.0.0.1``, and, with a name of its own that it lets point there
(DNS rebinding), read the answers too. Browsers say which site a request comes from, and under which name it was sent: that is looked at.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from starlette.types import Scope

from search_api.http.guard.headers import values
from sonotheque.core.errors import Invalid, Refused

WILDCARDS: Final = ("0.0.0.0", "::", "")
_HOST: Final = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_SAFE: Final = ("GET", "HEAD")
_PORTS: Final = {"http": 80, "https": 443}


def check_path(scope: Scope) -> None:
    """Raise ``Invalid`` for a path with control characters: routes would take ``/metrics`` and a line feed for ``/metrics``."""
    if _CONTROL.search(scope["path"]):
        raise Invalid("a path holds no control characters")


def is_loopback(host: str) -> bool:
    """Tell whether a name or address means this machine and nothing else."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class HostCheck:
    """Refuses requests that were sent under a name that is not the service's.

    Parameters
    ----------
    bound : str
        Where the service listens.
    allowed : iterable of str
        More names, as ``birds.example.org``.
    """

    def __init__(self, bound: str, allowed: Iterable[str]) -> None:
        self._names = {name.strip("[]").rstrip(".").lower() for name in (*allowed, bound)}
        self._addresses = bound in WILDCARDS  # a rebound name is a name: an address in its place is never one

    def __call__(self, scope: Scope) -> None:
        """Raise ``Refused`` (``cross_site``) unless the request names the service."""
        found = values(scope, b"host")
        if len(found) != 1 or not scope["path"].startswith("/"):
            raise Refused("a request names exactly one host, and a path on it", kind="cross_site")
        match = _HOST.fullmatch(found[0])
        name = match["name"].strip("[]").rstrip(".").lower() if match else ""
        if not name or not (name in self._names or is_loopback(name) or self._is_address(name)):
            raise Refused(
                f"this service does not answer to the name {name[:100]!r}; if it should, start it with "
                f"--allow-host {name[:100] or 'NAME'}",
                kind="cross_site",
            )

    def _is_address(self, name: str) -> bool:
        if not self._addresses:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


class SiteCheck:
    """Refuses requests that a page of another site made: all that change something, and all that read but for a visit to a page.

    Programs send neither ``Sec-Fetch-Site`` nor ``Origin`` and are let through: it is the key that they need.

    Parameters
    ----------
    pages : pattern
        Of the paths of pages, which other sites may link to.
    """

    def __init__(self, pages: re.Pattern[str]) -> None:
        self._pages = pages

    def __call__(self, scope: Scope) -> None:
        """Raise ``Refused`` (``cross_site``) if another site made the request."""
        sites, origins = values(scope, b"sec-fetch-site"), values(scope, b"origin")
        foreign = any(site not in ("same-origin", "none") for site in sites)
        foreign = foreign or any(not _same_origin(origin, values(scope, b"host")) for origin in origins)
        if foreign and not self._is_visit(scope):
            raise Refused(
                "this request was made by a page of another site; the service answers its own pages and programs only",
                kind="cross_site",
            )

    def _is_visit(self, scope: Scope) -> bool:
        return (
            scope["method"] in _SAFE
            and values(scope, b"sec-fetch-mode") == ["navigate"]
            and values(scope, b"sec-fetch-dest") == ["document"]
            and not values(scope, b"origin")
            and self._pages.fullmatch(scope["path"]) is not None
        )


def _same_origin(origin: str, hosts: list[str]) -> bool:
    """Compare names and ports. The scheme may differ: something in front of the service may speak TLS."""
    try:
        parts = urlsplit(origin)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return False
    match = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
    if match is None or parts.scheme not in _PORTS or parts.hostname is None:
        return False
    default = _PORTS[parts.scheme]
    return match["name"].strip("[]").lower() == parts.hostname and int(match["port"] or default) == port
