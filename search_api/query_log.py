"""Queries kept for review: a stated share of the searches, with what was asked for and what was found. No sound, no address.

One SQLite file in the service's folder. A query is there whole or not at all, and what was acknowledged survives a power cut.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, Final

from sonotheque.core.errors import Damaged, Invalid, NotFound, Unavailable
from sonotheque.core.suggest import did_you_mean

VERDICTS: Final = ("good", "poor", "unsure")
HITS_MAX: Final = 1_000  # of one query
_BUSY_S: Final = 10.0
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS queries (
    number INTEGER PRIMARY KEY, token TEXT NOT NULL UNIQUE, asked_utc TEXT NOT NULL, query TEXT NOT NULL, options TEXT NOT NULL,
    plan TEXT NOT NULL, hits TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS reviews (
    number INTEGER PRIMARY KEY, token TEXT NOT NULL REFERENCES queries (token), verdict TEXT NOT NULL, note TEXT NOT NULL,
    reviewer TEXT NOT NULL, at_utc TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS reviews_by_token ON reviews (token, number);
"""
# The kinds of value that may be kept of a query: what it was, never what was heard.
_OF_QUERY: Final = (
    "kind",
    "name",
    "model",
    "windows",
    "vectors",
    "recording_id",
    "window",
    "clip_id",
    "from_s",
    "to_s",
)
_LAST: Final = "(SELECT max(number) FROM reviews r WHERE r.token = q.token)"


@dataclass(frozen=True, slots=True)
class LoggedPage:
    """Queries, newest first; ``next`` is the number to go on before, or None."""

    rows: list[dict[str, Any]]
    next: int | None


class QueryLog:
    """Keeps a share of the queries.

    Parameters
    ----------
    path : str or Path
        A folder; it is made when the first query is kept.
    share : float
        Of the queries, 0 to 1: each is kept or not by chance, whoever asks.
    seed : int, optional
        Of the chance, for tests.
    """

    def __init__(self, path: str | Path, *, share: float = 0.0, seed: int | None = None) -> None:
        if not 0.0 <= share <= 1.0:
            raise Invalid(f"share of queries to keep: {share:g}; expected 0 to 1, as 0.05 for 5 %")
        self.share = share
        self._file = Path(path) / "queries.sqlite"
        self._chance = Random(seed)
        self._lock = threading.Lock()

    def wants(self) -> bool:
        """Return whether chance picks the next query."""
        with self._lock:
            return self._chance.random() < self.share

    def record(
        self,
        query: Mapping[str, Any],
        options: Mapping[str, Any],
        plan: Mapping[str, Any],
        hits: Sequence[Mapping[str, Any]],
    ) -> str | None:
        """Keep a query, if chance picks it.

        Parameters
        ----------
        query : mapping
            What was searched for; of it, only what it is and no numbers of a vector.
        options, plan : mapping
            JSON.
        hits : sequence of mapping
            With ``window_id``, ``score`` and ``rank``; the rest is left out.

        Returns
        -------
        str or None
            Token of the query; None if it was not kept.

        Raises
        ------
        Unavailable
            If it cannot be written.
        """
        return self.keep(query, options, plan, hits) if self.wants() else None

    def keep(
        self,
        query: Mapping[str, Any],
        options: Mapping[str, Any],
        plan: Mapping[str, Any],
        hits: Sequence[Mapping[str, Any]],
    ) -> str:
        """Keep a query, whatever the share, and return its token; see :meth:`record`."""
        token = secrets.token_urlsafe(9)
        own = {name: query[name] for name in _OF_QUERY if name in query}
        kept = [{name: hit.get(name) for name in ("window_id", "score", "rank")} for hit in hits[:HITS_MAX]]
        texts = [json.dumps(value, default=str) for value in (own, dict(options), dict(plan), kept)]
        with self._writing() as db:
            db.execute(
                "INSERT INTO queries (token, asked_utc, query, options, plan, hits) VALUES (?, ?, ?, ?, ?, ?)",
                (token, _now(), *texts),
            )
        return token

    def page(self, *, limit: int = 50, before: int | None = None, reviewed: bool | None = None) -> LoggedPage:
        """Return queries without their hits, newest first.

        Parameters
        ----------
        limit : int
        before : int, optional
            Only those before this number.
        reviewed : bool, optional
            Only those that were reviewed, or only others.
        """
        terms, values = ["true"], []
        if before is not None:
            terms.append("q.number < ?")
            values.append(before)
        if reviewed is not None:
            terms.append(f"{_LAST} IS {'NOT ' if reviewed else ''}NULL")
        with self._reading() as db:
            rows = [] if db is None else db.execute(_select(" AND ".join(terms)), [*values, limit + 1]).fetchall()
        shown = [_row(row) for row in rows[:limit]]
        return LoggedPage(shown, rows[limit - 1]["number"] if len(rows) > limit else None)

    def get(self, token: str) -> dict[str, Any]:
        """Return one query with its hits and all reviews of it.

        Raises
        ------
        NotFound
            If no query has this token.
        """
        with self._reading() as db:
            row = None if db is None else db.execute(_select("q.token = ?"), [token, 1]).fetchone()
            if db is None or row is None:
                raise NotFound(f"no kept query has the token {token[:60]!r}")
            hits = db.execute("SELECT hits FROM queries WHERE token = ?", [token]).fetchone()["hits"]
            reviews = db.execute(
                "SELECT verdict, note, reviewer, at_utc FROM reviews WHERE token = ? ORDER BY number", [token]
            ).fetchall()
        return {**_row(row), "hits": json.loads(hits), "reviews": [dict(review) for review in reviews]}

    def review(self, token: str, verdict: str, *, reviewer: str, note: str = "") -> dict[str, Any]:
        """Say what a kept query's answer was worth; the newest review counts, and all are kept.

        Raises
        ------
        NotFound
            If no query has this token.
        Invalid
            If the verdict is none of ``good``, ``poor`` and ``unsure``.
        """
        if verdict not in VERDICTS:
            raise Invalid(f"verdict {verdict!r}: {did_you_mean(verdict, VERDICTS)}")
        self.get(token)
        with self._writing() as db:
            db.execute(
                "INSERT INTO reviews (token, verdict, note, reviewer, at_utc) VALUES (?, ?, ?, ?, ?)",
                (token, verdict, note, reviewer, _now()),
            )
        return self.get(token)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._told():
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.closing(self._connected("rwc")) as db:
                db.execute("PRAGMA journal_mode = WAL")
                db.executescript(_TABLES)
                with db:  # one transaction
                    yield db

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        if not self._file.exists():
            yield None
            return
        with self._told(), contextlib.closing(self._connected("rw")) as db:
            db.executescript(_TABLES)
            yield db

    def _connected(self, mode: str) -> sqlite3.Connection:
        uri = f"{self._file.resolve().as_uri()}?mode={mode}"
        db = sqlite3.connect(uri, uri=True, timeout=_BUSY_S)
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA synchronous = FULL")
        return db

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise Unavailable(f"the log of queries cannot be used now: {error}") from error
        except sqlite3.DatabaseError as error:
            raise Damaged(
                f"{self._file} is no log of queries: {error}. Move it away, and the next query makes a new one"
            ) from error
        except OSError as error:
            raise Unavailable(f"the log of queries cannot be written to {error.filename}: {error.strerror}") from error


def _select(condition: str) -> str:
    return (
        "SELECT q.number, q.token, q.asked_utc, q.query, q.options, q.plan, json_array_length(q.hits) AS found, r.verdict, r.note, "
        f"r.reviewer, r.at_utc FROM queries q LEFT JOIN reviews r ON r.number = {_LAST} WHERE {condition} ORDER BY q.number DESC LIMIT ?"
    )


def _row(row: sqlite3.Row) -> dict[str, Any]:
    review = {name: row[name] for name in ("verdict", "note", "reviewer", "at_utc")} if row["verdict"] else None
    own = {"token": row["token"], "asked_utc": row["asked_utc"], "found": row["found"], "review": review}
    return {**own, **{name: json.loads(row[name]) for name in ("query", "options", "plan")}}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
