"""DuckDB without a file system, over datasets that pyarrow reads. Runs in the process of the query.

Every query gets a DuckDB of its own, made and thrown away with it: nothing that one query sets or makes can be seen by the next.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as fs

from search_api.safe_sql.answers import rows_json
from search_api.safe_sql.judging import judge
from search_api.safe_sql.limits import SqlLimits
from sonotheque.core.errors import Damaged, Invalid, Limit, SonothequeError

VIEWS: Final = frozenset({"windows", "recordings", "predictions", "annotations", "sites", "scores"})
_BATCH_ROWS: Final = 2048
_PATH: Final = re.compile(r"(?<![\w.:/])/(?:[^\s/'\"`,;:()<>]+/)+[^\s/'\"`,;:()<>]*")
_LOCKS: Final = (
    "SET TimeZone = 'UTC'",
    "SET python_enable_replacements = false",
    "SET enable_external_access = false",
    "SET disabled_filesystems = 'LocalFileSystem'",
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET allow_community_extensions = false",
    "SET allow_persistent_secrets = false",
)
_LOCK: Final = "SET lock_configuration = true"


class Engine:
    """What a process of queries holds between them: opened datasets, tables handed over, and a parser.

    Parameters
    ----------
    limits : SqlLimits
    """

    def __init__(self, limits: SqlLimits) -> None:
        self.limits = limits
        self._relations: dict[str, dict[str, Any]] = {}
        self._tables: dict[str, Any] = {}  # what a query's DuckDB is given, by name
        self._parser = self._connect()
        self._taken = frozenset(
            str(name).lower() for (name,) in self._parser.execute("SELECT view_name FROM duckdb_views()").fetchall()
        )
        self._parser.execute(_LOCK)

    def judge(self, query: str) -> list[str]:
        """Return which views a query reads; raises if it is not allowed."""
        try:
            text = self._parser.execute("SELECT json_serialize_sql(?::VARCHAR)", [query]).fetchone()
            tree = json.loads(text[0]) if text else {}
        except (duckdb.Error, RecursionError) as error:
            raise _told(error) from error
        return sorted(judge(tree, VIEWS, self._taken))

    def versions(self) -> dict[str, str]:
        """Return the version of every relation that is there."""
        return {name: str(one["version"]) for name, one in self._relations.items()}

    def bring(self, relation: Mapping[str, Any], body: bytes) -> None:
        """Take a relation over: files to open, or a whole table as an Arrow stream in ``body``."""
        name = str(relation["name"])
        for own in [key for key in self._tables if key == name or key.startswith(f"_{name}_")]:
            del self._tables[own]
        for own, files in relation.get("files", {}).items():
            self._tables[own] = _dataset(files)
        if body:
            self._tables[name] = pa.ipc.open_stream(body).read_all()
        self._relations[name] = dict(relation)

    def run(
        self, query: str, parameters: list[Any] | dict[str, Any] | None, views: list[str]
    ) -> tuple[dict[str, Any], bytes]:
        """Run a judged query.

        Returns
        -------
        header : dict
            ``columns, n, truncated, took_ms``.
        rows : bytes
            JSON.
        """
        began = time.monotonic()
        db = self._connect()
        try:
            for name in self._with_needs(views):
                self._make(db, name)
            db.execute(f"SET max_execution_time = {max(100, int(900 * self.limits.deadline_s))}")
            db.execute(_LOCK)
            found = db.sql(query, params=parameters or [])
            columns = [{"name": c, "type": str(t)} for c, t in zip(found.columns, found.types, strict=True)]
            batches = found.to_arrow_reader(_BATCH_ROWS)  # a stream: what nobody reads is not worked out
            rows, n, truncated = rows_json(_read(batches), self.limits.rows, self.limits.answer_bytes)
        except (
            duckdb.Error,
            pa.ArrowException,
            OverflowError,
            ValueError,
            TypeError,
            RuntimeError,
            MemoryError,
        ) as error:
            raise _told(error) from error
        finally:
            db.close()
        took = round(1000 * (time.monotonic() - began), 1)
        return {"columns": columns, "n": n, "truncated": truncated, "took_ms": took}, rows

    def _connect(self) -> Any:
        memory_mb = max(64, (self.limits.memory_bytes >> 20) * 2 // 5)  # DuckDB counts part of what it takes
        config = {"temp_directory": "", "threads": self.limits.threads, "memory_limit": f"{memory_mb}MB"}
        db = duckdb.connect(config=config)
        for statement in _LOCKS:
            db.execute(statement)
        return db

    def _with_needs(self, views: list[str]) -> list[str]:
        found: list[str] = []
        for name in views:
            for one in (*self._relations[name]["needs"], name):
                if one not in found:
                    found.append(one)
        return found

    def _make(self, db: Any, name: str) -> None:
        for own, table in self._tables.items():
            if own == name or own.startswith(f"_{name}_"):
                db.register(own, table)
        if sql := self._relations[name]["sql"]:
            db.execute(f"CREATE TEMP VIEW {name} AS {sql}")


def _read(batches: Any) -> Iterator[pa.RecordBatch]:
    yield from batches


def _dataset(files: list[list[Any]]) -> ds.Dataset:
    """Return a table over files; what follows from a path is a column that DuckDB can leave files out by."""
    local, form = fs.LocalFileSystem(), ds.ParquetFileFormat()
    fragments = []
    for path, columns in files:
        condition = None
        for key, value in columns.items():
            one = ds.field(key) == value
            condition = one if condition is None else condition & one
        fragments.append(form.make_fragment(path, filesystem=local, partition_expression=condition))
    schema = fragments[0].physical_schema.remove_metadata()
    for key in files[0][1]:
        schema = schema.append(pa.field(key, pa.string()))
    return ds.FileSystemDataset(fragments, schema, form, filesystem=local)


def _told(error: Exception) -> SonothequeError:
    """Return an engine's error in our words, without a path in it."""
    text = str(error)
    if isinstance(error, duckdb.OutOfMemoryException | MemoryError) or "bad_alloc" in text or "malloc" in text:
        return Limit("the query needs more memory than a query may take; narrow it, or aggregate earlier")
    if isinstance(error, duckdb.InterruptException) or "max_execution_time" in text or "imeout" in text:
        return Limit("the query ran longer than it may; narrow it by site, date or label")
    if isinstance(error, RecursionError):
        return Limit("the query is nested too deeply; write it with fewer brackets")
    if "Failed to open local file" in text or "Parquet" in text:
        return Damaged("a file of the archive cannot be read; it may have been replaced just now: ask again")
    if not isinstance(error, duckdb.Error):
        return Invalid(
            f"a value of the result cannot be told as JSON: {_PATH.sub('(a file)', text)[:200]}; cast it to VARCHAR"
        )
    head = _PATH.sub("(a file)", text).partition("\n\nLINE")[0].partition("Candidate functions")[0]
    kind = "unknown_column" if isinstance(error, duckdb.BinderException | duckdb.CatalogException) else "invalid"
    return Invalid(f"SQL: {' '.join(head.split())[:1000]}", kind=kind)
