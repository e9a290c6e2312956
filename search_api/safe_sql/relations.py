"""What a query's process reads: the archive's own views, their files handed over as datasets instead of names.

The text of every view stays the archive's; only ``read_parquet([...])`` in it becomes the name of a pyarrow dataset. So a row
here is a row there, and DuckDB itself needs no file system.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final
from urllib.parse import unquote

from sonotheque.core.errors import Unavailable

_READ: Final = re.compile(r"read_parquet\(\[((?:'(?:[^']|'')*'(?:, )?)*)\](, [^()]*)?\)")
_LITERAL: Final = re.compile(r"'((?:[^']|'')*)'")


@dataclass(frozen=True, slots=True, order=True)
class FileSet:
    """Parquet files that are one table.

    Attributes
    ----------
    paths : tuple of str
    hive : bool
        Whether ``key=value`` folders are columns, as text.
    filename : bool
        Whether the path is a column.
    """

    paths: tuple[str, ...]
    hive: bool
    filename: bool

    def columns_of(self, path: str) -> dict[str, str]:
        """Return the columns that follow from a file's path."""
        found = {"filename": path} if self.filename else {}
        if self.hive:
            parts = (part.partition("=") for part in path.split("/")[:-1])
            found |= {key: unquote(value) for key, mark, value in parts if mark}
        return found


@dataclass(frozen=True, slots=True)
class Relation:
    """One view.

    Attributes
    ----------
    name : str
    sql : str
        Its SELECT, over the names in ``files``.
    files : dict
        Name -> files.
    needs : tuple of str
        Other views it reads.
    stamp : str
        Of a table that is handed over whole: of what it holds.
    body : bytes
        That table, as an Arrow stream; empty where files are read.
    """

    name: str
    sql: str
    files: dict[str, FileSet] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    stamp: str = ""
    body: bytes = field(default=b"", repr=False, compare=False)

    @property
    def version(self) -> str:
        """Equal where the view is the same."""
        return sha256(repr((self.stamp, self.sql, sorted(self.files.items()))).encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Return what the query's process is told."""
        files = {
            name: [[path, one.columns_of(path)] for path in one.paths] for name, one in self.files.items() if one.paths
        }
        return {"name": self.name, "version": self.version, "sql": self.sql, "files": files, "needs": list(self.needs)}


def relation(name: str, select: str, needs: tuple[str, ...] = ()) -> Relation:
    """Return a view of the archive as a relation.

    Parameters
    ----------
    name : str
    select : str
        As ``store.views`` makes it.
    needs : tuple of str
        Views it names.

    Raises
    ------
    Unavailable
        If it reads files in a way that is not known here.
    """
    files: dict[str, FileSet] = {}

    def instead(found: re.Match[str]) -> str:
        paths = tuple(text.replace("''", "'") for text in _LITERAL.findall(found[1]))
        options = found[2] or ""
        own = f"_{name}_{len(files)}"
        files[own] = FileSet(paths, "hive_partitioning=true" in options, "filename=true" in options)
        return own

    sql = _READ.sub(instead, select.replace(", hive_types={'site': VARCHAR, 'month': VARCHAR}", ""))
    if "read_parquet" in sql:
        raise Unavailable(f"the view {name} cannot be asked over HTTP: it reads files in a way that is not known here")
    return Relation(name, sql, files, needs)
