"""Reading ``hoplite.sqlite``: opened without changing anything beside it, its rows checked and said in our words."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sonotheque.core.errors import Damaged, Invalid, NotFound

SQLITE, USEARCH = "hoplite.sqlite", "usearch.index"
_TABLES: Final = {
    "deployments": {"id", "name", "project"},
    "recordings": {"id", "filename", "deployment_id"},
    "windows": {"id", "recording_id", "offsets"},
    "hoplite_metadata": {"key", "value"},
}
_OLD_TABLES: Final = {"hoplite_embeddings", "hoplite_sources", "hoplite_labels"}
_PAGE = 20_000


@dataclass(frozen=True, slots=True)
class HopliteRecording:
    """A row of ``recordings`` with its deployment; ``deployment_id`` is -1 without one."""

    id: int
    filename: str
    start: str | None
    deployment_id: int
    deployment: str
    project: str
    latitude: float | None
    longitude: float | None


class HopliteDb:
    """The SQLite half of a database.

    Parameters
    ----------
    path : str
        The folder, or the ``hoplite.sqlite`` in it.
    project : str, optional
        Only recordings of this project's deployments.

    Raises
    ------
    NotFound
        If the folder, one of the two files, or the project is not there.
    Invalid
        If it is not a database of perch-hoplite 1.x.
    Damaged
        If SQLite cannot read it.
    """

    def __init__(self, path: str, project: str | None = None) -> None:
        folder = Path(path).parent if Path(path).name == SQLITE else Path(path)
        self.sqlite, self.usearch = folder / SQLITE, folder / USEARCH
        for file in (self.sqlite, self.usearch):
            if not file.is_file():
                raise NotFound(
                    f"{folder} is not a perch-hoplite database: it has no {file.name}. Give the folder that holds {SQLITE} and {USEARCH}"
                )
        self._db = _open(self.sqlite)
        with self._told():
            self._columns = self._table_columns()
            self._require_tables()
            self._where, self._parameters = self._of_project(project)

    def close(self) -> None:
        """Close it."""
        self._db.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise Damaged(
                f"{self.sqlite} cannot be read: {error}. If another program has it open, close that; if the copy is not whole, copy the "
                f"folder again, with {SQLITE}-wal if there is one"
            ) from error

    def _table_columns(self) -> dict[str, set[str]]:
        names = [row[0] for row in self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: {row[1] for row in self._db.execute(f"PRAGMA table_info('{name}')")} for name in names}

    def _require_tables(self) -> None:
        if "windows" not in self._columns and self._columns.keys() & _OLD_TABLES:
            raise Invalid(
                f"{self.sqlite} is of perch-hoplite before 1.0 (tables {', '.join(sorted(self._columns.keys() & _OLD_TABLES))}): convert it "
                "with perch-hoplite's own migration notebook, and import what that makes"
            )
        for table, needed in _TABLES.items():
            missing = needed - self._columns.get(table, set())
            if missing:
                what = (
                    f"table {table} has no column {', '.join(sorted(missing))}"
                    if table in self._columns
                    else f"it has no table {table}"
                )
                raise Invalid(f"{self.sqlite} is not a database of perch-hoplite 1.x: {what}")

    def _of_project(self, project: str | None) -> tuple[str, tuple[str, ...]]:
        if project is None:
            return "", ()
        there = [row[0] for row in self._db.execute("SELECT DISTINCT project FROM deployments ORDER BY project")]
        if project not in there:
            raise NotFound(f"--project {project}: the database has {', '.join(there) or 'no project'}")
        return (
            "WHERE r.deployment_id IN (SELECT id FROM deployments WHERE project = ?)",
            (project,),
        )

    def metadata(self) -> dict[str, Any]:
        """Return the metadata, each value parsed; a value that is no JSON is left as text."""
        found: dict[str, Any] = {}
        with self._told():
            for key, value in self._db.execute("SELECT key, value FROM hoplite_metadata"):
                try:
                    found[key] = json.loads(value)
                except ValueError:
                    found[key] = value
        return found

    def recordings(self) -> Iterator[HopliteRecording]:
        """Yield the recordings by id."""
        start = "r.datetime" if "datetime" in self._columns["recordings"] else "NULL"
        place = ["d.latitude", "d.longitude"] if "latitude" in self._columns["deployments"] else ["NULL", "NULL"]
        query = (
            f"SELECT r.id, r.filename, {start}, coalesce(d.id, -1), coalesce(d.name, ''), coalesce(d.project, ''), {', '.join(place)} "
            f"FROM recordings r LEFT JOIN deployments d ON d.id = r.deployment_id {self._where} ORDER BY r.id"
        )
        with self._told():
            for row in self._db.execute(query, self._parameters):
                yield HopliteRecording(*row)

    def count(self, table: str) -> int:
        """Return how many rows a table has, of the recordings chosen; rows of recordings that are gone are not counted."""
        with self._told():
            query = f"SELECT count(*) FROM {table} t JOIN recordings r ON r.id = t.recording_id {self._where}"
            return int(self._db.execute(query, self._parameters).fetchone()[0])

    def orphans(self) -> int:
        """Return how many windows belong to no recording."""
        with self._told():
            query = "SELECT count(*) FROM windows WHERE recording_id NOT IN (SELECT id FROM recordings)"
            return int(self._db.execute(query).fetchone()[0])

    def windows(self) -> Iterator[list[tuple[int, int, bytes]]]:
        """Yield pages of (window id, recording id, offsets) by window id."""
        query = f"SELECT t.id, t.recording_id, t.offsets FROM windows t JOIN recordings r ON r.id = t.recording_id {self._where} ORDER BY t.id"
        with self._told():
            cursor = self._db.execute(query, self._parameters)
            while page := cursor.fetchmany(_PAGE):
                yield page

    def annotations(self) -> Iterator[tuple[int, int, bytes, str, int, str]]:
        """Yield (id, recording id, offsets, label, label type, provenance), those of one recording together."""
        if "annotations" not in self._columns:
            return
        query = (
            "SELECT t.id, t.recording_id, t.offsets, t.label, t.label_type, t.provenance FROM annotations t "
            f"JOIN recordings r ON r.id = t.recording_id {self._where} ORDER BY t.recording_id, t.id"
        )
        with self._told():
            yield from self._db.execute(query, self._parameters)


def _open(path: Path) -> sqlite3.Connection:
    """Open for reading alone. SQLite would lay two files beside a database in WAL mode; an unused one needs none."""
    wal = path.with_name(f"{path.name}-wal")
    quiet = not wal.exists() or wal.stat().st_size == 0
    mode = "mode=ro&immutable=1" if quiet else "mode=ro"
    db = sqlite3.connect(f"file:{quote(str(path.resolve()))}?{mode}", uri=True)
    db.execute("PRAGMA query_only = ON")
    return db
