"""Lists of answers: those that came at once, and those that come page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")
Fetch = Callable[[str | None], tuple[list[Any], str | None]]


class Rows(Sequence[T]):
    """A list of answers that knows how to become a table.

    Parameters
    ----------
    items : list
    """

    def __init__(self, items: list[T]) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, i: int) -> T: ...
    @overload
    def __getitem__(self, i: slice) -> Rows[T]: ...
    def __getitem__(self, i: int | slice) -> T | Rows[T]:
        return Rows(self._items[i]) if isinstance(i, slice) else self._items[i]

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Rows | list) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        more = f", ... {len(self) - 3:,} more" if len(self) > 3 else ""
        return f"{type(self).__name__}([{', '.join(map(repr, self._items[:3]))}{more}])"

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return flat rows: of windows, times as text and annotations joined."""
        return [one if isinstance(one, dict) else one.row() for one in self._items]  # type: ignore[attr-defined]

    def to_polars(self) -> Any:
        """Return a polars.DataFrame; needs polars."""
        import polars as pl

        return pl.DataFrame(self.to_dicts(), infer_schema_length=None)

    def to_pandas(self) -> Any:
        """Return a pandas.DataFrame; needs pandas."""
        import pandas as pd  # type: ignore[import-untyped,unused-ignore]

        return pd.DataFrame(self.to_dicts())


class Pages(Generic[T]):
    """A list that comes page by page, while it is read; may be read again, and is asked for again then.

    Parameters
    ----------
    fetch : callable
        A cursor, None at the beginning -> (rows of the page, the next cursor or None).
    make : callable
        A row -> what it stands for.
    limit : int, optional
        Rows at most.
    """

    def __init__(self, fetch: Fetch, make: Callable[[dict[str, Any]], T], limit: int | None = None) -> None:
        self._fetch, self._make, self._limit = fetch, make, limit

    def __iter__(self) -> Iterator[T]:
        cursor, given = None, 0
        while True:
            rows, cursor = self._fetch(cursor)
            for row in rows:
                if given == self._limit:
                    return
                yield self._make(row)
                given += 1
            if cursor is None or given == self._limit:
                return

    def all(self) -> Rows[T]:
        """Read every page."""
        return Rows(list(self))

    def to_polars(self) -> Any:
        """Read every page; return a polars.DataFrame."""
        return self.all().to_polars()

    def to_pandas(self) -> Any:
        """Read every page; return a pandas.DataFrame."""
        return self.all().to_pandas()
