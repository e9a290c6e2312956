"""A DuckDB connection over one store: its views, its clock in UTC, its errors in our words."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from sonotheque.core.errors import Damaged, Invalid, SonothequeError, Unavailable
from sonotheque.core.places import is_object
from sonotheque.core.suggest import did_you_mean
from store import views
from store.annotations import AnnotationLog
from store.catalog import Catalog
from store.config import StoreConfig
from store.snapshots import Snapshot

VIEWS = ("recordings", "windows", "predictions", "embeddings", "annotations", "scores", "sites")
Parameters = Sequence[Any] | dict[str, Any] | None
_BLOCK_ROWS = 65_536
_LATE = re.compile(r"\b(embeddings|annotations|scores)\b", re.IGNORECASE)
_LITERAL = re.compile(r"'[^']*'")
_SCORES_FILE = re.compile(r"[^\s\"']*/scores/[0-9a-f]{16}/[^\s\"']*\.parquet")
_CATALOG_FILE = re.compile(r"[^\s\"']*/catalog/v\d+/[^\s\"']*")
_CANDIDATES = re.compile(r"Candidate bindings: (.*?)(?:\n|$)|Did you mean \"([^\"]+)\"")
_LINE = re.compile(r"\n\nLINE (\d+): (.*)", re.DOTALL)


class Connection:
    """DuckDB over a snapshot and its catalog; safe to use from several threads, one query at a time.

    Parameters
    ----------
    root, config, snapshot, catalog
        The store.
    """

    def __init__(self, root: str, config: StoreConfig, snapshot: Snapshot, catalog: Catalog) -> None:
        self._root = root
        self._embeddings: Callable[[], str] = lambda: views.embeddings_view(root, config, snapshot, catalog)
        self._scores: Callable[[], str] = lambda: _scores_view(root, snapshot)
        self._lock = threading.RLock()
        self._has_embeddings = False
        self._db = duckdb.connect()
        if is_object(root):  # DuckDB's own way to buckets is an extension that is not in its package
            from store.object_reading import PartsFileSystem

            self._db.register_filesystem(PartsFileSystem())
        with self.told():
            self._db.execute("SET TimeZone = 'UTC'")  # the default is the machine's zone
            self._db.execute(
                "SET python_enable_replacements = false"
            )  # else a query finds this program's own variables
            for name, select in (
                ("recordings", views.recordings_view(catalog)),
                ("sites", views.sites_view(catalog)),
                ("_labels", views.labels_view(catalog)),
                ("windows", views.windows_view(catalog)),
                ("predictions", views.predictions_view(catalog, config)),
            ):
                self._db.execute(f"CREATE VIEW {name} AS {select}")

    def close(self) -> None:
        """Close it."""
        self._db.close()

    def table(self, query: str, parameters: Parameters = None) -> pa.Table:
        """Run a query and return its whole result."""
        if not query.strip():
            raise Invalid("the query is empty; `sonotheque schema` tells what can be asked")
        with self._lock, self.told():
            self._bring(query, self._db)
            found = self._db.sql(query, params=parameters or [])
            return pa.table({}) if found is None else found.to_arrow_table()

    def table_with(self, tables: dict[str, pa.Table], query: str, parameters: Parameters = None) -> pa.Table:
        """Run a query that also names some tables of the caller's, which are forgotten afterwards."""
        with self._lock:
            for name, table in tables.items():
                self._db.register(name, table)
            try:
                return self.table(query, parameters)
            finally:
                for name in tables:
                    self._db.unregister(name)

    def keep(self, name: str, table: pa.Table) -> None:
        """Make a table of the caller's known to all queries to come."""
        with self._lock, self.told():
            self._db.register(name, table)

    def batches(
        self, query: str, parameters: Parameters = None, *, rows: int = _BLOCK_ROWS
    ) -> Iterator[pa.RecordBatch]:
        """Run a query and yield its result in blocks, on a cursor of its own."""
        with self._lock, self.told():
            cursor = self._db.cursor()
            cursor.execute("SET TimeZone = 'UTC'")
            self._bring(query, cursor)
            reader = cursor.sql(query, params=parameters or []).to_arrow_reader(rows)
        with self.told():
            yield from reader

    def _bring(self, query: str, db: Any) -> None:
        """Make the views that cost something only when a query names them; annotations and scores as they are at this moment."""
        named = {found.lower() for found in _LATE.findall(_LITERAL.sub("", query))}
        if "annotations" in named:
            db.register("annotations", AnnotationLog(self._root).current())
        if "embeddings" in named and not self._has_embeddings:
            self._db.execute(f"CREATE VIEW embeddings AS {self._embeddings()}")
            self._has_embeddings = True
        if "scores" in named:
            self._db.execute(f"CREATE OR REPLACE VIEW scores AS {self._scores()}")

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """Turn DuckDB's errors into ours."""
        try:
            yield
        except duckdb.Error as error:
            raise _told(error, self._root) from error
        except (
            UnicodeDecodeError
        ) as error:  # DuckDB quotes a column's name or a text from a file whose bytes are others now
            raise _broken(self._root, str(error)) from error


def _scores_view(root: str, snapshot: Snapshot) -> str:
    from store.probes import in_use
    from store.scores import scores_view

    return scores_view(root, snapshot, in_use(root))


def _told(error: duckdb.Error, root: str) -> SonothequeError:
    text = str(error)
    if isinstance(error, duckdb.IOException | duckdb.InvalidInputException | duckdb.SerializationException) and (
        found := _CATALOG_FILE.search(text)
    ):
        return Damaged(
            f"the catalog's file {found.group()} cannot be read. It is derived: remove the folder {root}/catalog and ask again"
        )
    if isinstance(error, duckdb.IOException | duckdb.InvalidInputException) and (lost := _SCORES_FILE.search(text)):
        return Damaged(
            f"the scores in {lost.group()} cannot be read. They are derived: remove the file and run `sonotheque probe apply` again"
        )
    if isinstance(error, duckdb.IOException | duckdb.InvalidInputException) and ".parquet" in text:
        return Damaged(
            f"a file of the store cannot be read: {text.splitlines()[0]}. `sonotheque verify --store {root} --deep` lists all damage"
        )
    if type(error) is duckdb.Error:  # no class of its own: the Parquet reader met bytes that it did not expect
        return _of_object(root, text) if text.startswith("Traceback ") else _broken(root, text)
    if isinstance(error, duckdb.OutOfMemoryException):
        return Unavailable(
            f"the query needs more memory than there is: {text.splitlines()[0]}. Narrow it, or aggregate earlier"
        )
    return Invalid(_plain(text), kind=_kind(error))


def _of_object(root: str, text: str) -> SonothequeError:
    """Return the error behind one that DuckDB hands over as text, from reading an object."""
    name, _, words = text.partition("\n\nLINE ")[0].strip().splitlines()[-1].partition(": ")
    if name.endswith("FileNotFoundError"):
        return Damaged(
            f"a part of {root} is not there: {words}. `sonotheque verify --store {root} --deep` lists all damage"
        )
    if name.endswith("PermissionError"):  # of our own file system, which only reads
        return Invalid(words)
    return Unavailable(f"a part of {root} could not be read: {words or name}", kind="store_unreachable")


def _broken(root: str, text: str) -> Damaged:
    return Damaged(
        f"a file of the store cannot be read, its bytes are not those that were written: {text.splitlines()[0] if text else ''}. "
        f"`sonotheque verify --store {root} --deep` names it"
    )


def _kind(error: duckdb.Error) -> str:
    return "unknown_column" if isinstance(error, duckdb.BinderException | duckdb.CatalogException) else "invalid"


def _plain(text: str) -> str:
    """Return DuckDB's message in one line, with near names where a view is not there."""
    where = _LINE.search(text)
    head = (text[: where.start()] if where else text).partition("Candidate functions")[0]
    line = where[2].splitlines()[0].strip() if where else ""
    if missing := re.search(r"Table with name (\w+) does not exist", head):
        head = f"there is no view {missing[1]}; {did_you_mean(missing[1], VIEWS)}"
    elif (odd := re.search(r'syntax error at or near "(\w+)"', head)) and odd[1].lower() == "window":
        head += "; a word of SQL's own: did you mean windows?"
    return f"SQL: {' '.join(head.split())}" + (f" (line {where[1]}: {line})" if where else "")
