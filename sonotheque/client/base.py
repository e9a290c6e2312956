"""What the parts of a client share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

from sonotheque.client.paging import Pages
from sonotheque.client.transport import Transport
from sonotheque.core.errors import Invalid

T = TypeVar("T")


class Part:
    """Something that asks a service.

    Parameters
    ----------
    transport : Transport
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def _data(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        return self._transport.get(path, params)["data"]

    def _dict(self, path: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        found: dict[str, Any] = self._data(path, params)
        return found

    def _pages(
        self,
        path: str,
        params: Mapping[str, Any],
        make: Callable[[dict[str, Any]], T],
        limit: int | None = None,
        page_rows: int = 500,
    ) -> Pages[T]:
        size = page_rows if limit is None else max(1, min(limit, page_rows))

        def fetch(cursor: str | None) -> tuple[list[Any], str | None]:
            body = self._transport.get(path, {**params, "limit": size, "cursor": cursor})
            return body["data"], body["meta"]["next"]

        return Pages(fetch, make, limit)


def in_path(one: str, what: str) -> str:
    """Return an id or name as one part of an address.

    Raises
    ------
    Invalid
        If it is empty, or would lead elsewhere: another address would be asked then.
    """
    if one in ("", ".", ".."):
        raise Invalid(f"{one!r} is no {what}")
    return quote(one, safe=":")
