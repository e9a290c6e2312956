"""Opening ``annotations.sqlite``: every connection is set up and checked in one place, and SQLite's errors get words.

The database is made whole under a temporary name and linked into place, so that no reader ever meets half of one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from sonotheque.core.errors import Conflict, Damaged, SonothequeError, Unavailable
from store import layout
from store.annotations import tables
from store.config import read_config, temp_name
from store.fsops import FileOps, ops_of, put_new, store_errors
from store.state import state_root

BUSY_S = 30.0
_READ_TRIES = 5


def database_path(root: str) -> str:
    """Return where a store's annotations lie."""
    return f"{state_root(root)}/{layout.ANNOTATIONS}"


@contextlib.contextmanager
def writing(root: str, ops: FileOps | None = None, *, busy_s: float = BUSY_S) -> Iterator[sqlite3.Connection]:
    """Open for writing, making the database if there is none; one transaction, committed if the block ends well.

    Raises
    ------
    NotFound
        If the folder is no store.
    Conflict
        (``foreign_database``) If the file is of another program or of a later version.
    Damaged
        If SQLite finds it damaged.
    Unavailable
        If it cannot be written to now: read-only, no room, or another writer for longer than ``busy_s``.
    """
    read_config(root)
    path = database_path(root)
    with store_errors(root), _sqlite_errors(path, busy_s):
        if not os.path.exists(path):
            _make(root, ops or ops_of(root))
        with contextlib.closing(_connect(path, "rw", busy_s)) as connection:
            require_ours(connection, path)
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                if connection.in_transaction:  # SQLite ends it itself when the disk is full
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")


@contextlib.contextmanager
def reading(root: str, *, busy_s: float = BUSY_S) -> Iterator[sqlite3.Connection | None]:
    """Open for reading, one moment of the database for the whole block; None if there is no database.

    Nothing is made, and a folder that may not be written to is read all the same.
    """
    path = database_path(root)
    if not os.path.exists(path):
        yield None
        return
    with contextlib.ExitStack() as stack, _sqlite_errors(path, busy_s):
        connection = _open_to_read(path, busy_s, stack)
        require_ours(connection, path)
        connection.execute("BEGIN")
        yield connection


def require_ours(connection: sqlite3.Connection, path: str) -> None:
    """Raise Conflict unless the database is an annotation log of this version or an earlier one."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != tables.APPLICATION_ID:
        raise Conflict(
            f"{path} is a database of another program (application id {application:#x}; an annotation log has "
            f"{tables.APPLICATION_ID:#x}). Move it away, and the next annotation makes a new one",
            kind="foreign_database",
        )
    if not 1 <= version <= tables.DATABASE_VERSION:
        raise Conflict(
            f"{path} has version {version}; this program reads versions up to {tables.DATABASE_VERSION}. "
            "Install a newer sonotheque",
            kind="foreign_database",
        )


def _connect(path: str, mode: str, busy_s: float) -> sqlite3.Connection:
    uri = f"file:{quote(os.path.abspath(path))}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=busy_s, isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")  # what was acknowledged survives a power cut
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def _make(root: str, ops: FileOps) -> None:
    with tempfile.TemporaryDirectory() as folder:
        fresh = f"{folder}/{layout.ANNOTATIONS}"
        with contextlib.closing(sqlite3.connect(fresh, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(tables.MAKE)
        data = Path(fresh).read_bytes()
    # Taken by another process meanwhile: then that one is as good.
    put_new(ops, f"{root}/{layout.TMP}", temp_name("annotations"), database_path(root), data)


def _open_to_read(path: str, busy_s: float, stack: contextlib.ExitStack) -> sqlite3.Connection:
    """Open with the least that works: with the right to write, SQLite tidies its side files away at the end."""
    for mode in ("rw", "ro"):
        try:
            connection = stack.enter_context(contextlib.closing(_connect(path, mode, busy_s)))
            connection.execute("PRAGMA query_only = ON")
            connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
        except sqlite3.OperationalError as error:
            if _code(error) not in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
                raise
        else:
            return connection
    # WAL needs a shared-memory file, and this folder takes none: read a copy, log and all.
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    copy = _copied(path, folder)
    return stack.enter_context(contextlib.closing(_connect(copy, "rw", busy_s)))


def _copied(path: str, folder: str) -> str:
    copy = f"{folder}/{layout.ANNOTATIONS}"
    for _ in range(_READ_TRIES):
        before = _signature(path)
        for ending in ("-wal", ""):
            Path(copy + ending).unlink(missing_ok=True)
            if os.path.exists(path + ending):
                shutil.copyfile(path + ending, copy + ending)
        if before == _signature(path):
            return copy
    raise Unavailable(f"{path} changes while it is copied, and its folder cannot be written to; try again", kind="busy")


def _signature(path: str) -> list[tuple[int, int] | None]:
    found: list[tuple[int, int] | None] = []
    for ending in ("", "-wal"):
        try:
            stat = os.stat(path + ending)
            found.append((stat.st_size, stat.st_mtime_ns))
        except FileNotFoundError:
            found.append(None)
    return found


def _code(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF  # the lower byte is the class of the error


@contextlib.contextmanager
def _sqlite_errors(path: str, busy_s: float) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _worded(path, busy_s, error) from error


def _worded(path: str, busy_s: float, error: sqlite3.Error) -> SonothequeError:
    code = _code(error)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Unavailable(
            f"{path} is being written to by another process, for more than {busy_s:g} s; try again when it is done",
            kind="busy",
        )
    if code == sqlite3.SQLITE_FULL:
        return Unavailable(
            f"no room to write in {path}: nothing of this call was kept. Free some space and run the same command again",
            kind="disk_full",
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return Unavailable(
            f"cannot write to {path}: {error}. Change the permissions of the file and of its folder", kind="read_only"
        )
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PROTOCOL):
        return Unavailable(
            f"{path}: {error}. SQLite needs a local disk, or a network disk with locks that work; nothing of this call was kept"
        )
    return Damaged(
        f"{path} is not what this program wrote: {error}. Put a backup in its place, or move it away and import the "
        "tables that it was made from again"
    )
