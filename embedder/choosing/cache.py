"""What was measured on a machine, kept for the next process of it: one small JSON file, shared by all.

Measuring takes half a minute and a run has many processes, so one measures and the others wait for what it finds. The
file is a convenience: one that cannot be read, or written, is as good as none.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from embedder.choosing.records import Measured
from embedder.engines.kept_files import cache_folder
from sonotheque.core.ids import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from embedder.choosing.candidates import Candidate

FILE = "engines.json"
_FORMAT = 1
_KEY_CHARS = 16
_KEPT_MAX = 100  # models, weights and versions of libraries that one machine is asked about; the oldest go


def recall(key: dict[str, Any], wanted: Sequence[Candidate]) -> tuple[Measured, ...] | None:
    """Return what one survey measured of all these candidates, in their order; None if none did.

    Parameters
    ----------
    key : dict
        Of :func:`embedder.choosing.machine.key_of`.
    wanted : sequence of Candidate
    """
    pairs = [(c.engine, c.precision) for c in wanted]
    for survey in _surveys(_read(), key):
        try:
            there = {(m.engine, m.precision): m for m in map(Measured.from_json, survey)}
        except (TypeError, AttributeError):  # of another version of the program, or edited
            continue
        if set(pairs) <= set(there):
            return tuple(there[pair] for pair in pairs)
    return None


def remember(key: dict[str, Any], measured: Sequence[Measured]) -> None:
    """Keep a survey; it replaces those of which it covers every candidate."""
    with _turn(FILE):
        content = _read()
        covered = {(m.engine, m.precision) for m in measured}
        others = [s for s in _surveys(content, key) if not {_pair(record) for record in s} <= covered]
        name = _name(key)
        entries = [(n, entry) for n, entry in content.get("entries", {}).items() if n != name]
        entries.append((name, {"key": key, "surveys": [[m.to_json() for m in measured], *others]}))
        _write({"format": _FORMAT, "entries": dict(entries[-_KEPT_MAX:])})


@contextmanager
def alone(key: dict[str, Any], waiting: Callable[[], None]) -> Iterator[None]:
    """Hold off other processes of this machine that would measure the same at the same time.

    Parameters
    ----------
    key : dict
        What is measured.
    waiting : callable
        Is called if another process is at it, before it is waited for.
    """
    with _turn(f"engines-{_name(key)}", waiting):
        yield


def _name(key: dict[str, Any]) -> str:
    return digest_of(key)[:_KEY_CHARS]


def _pair(record: object) -> tuple[object, object]:
    return (record.get("engine"), record.get("precision")) if isinstance(record, dict) else (None, None)


def _surveys(content: dict[str, Any], key: dict[str, Any]) -> list[list[Any]]:
    entry = content.get("entries", {}).get(_name(key), {})
    surveys = entry.get("surveys") if isinstance(entry, dict) else None
    return [s for s in surveys if isinstance(s, list)] if isinstance(surveys, list) else []


def _read() -> dict[str, Any]:
    try:
        content = json.loads((cache_folder() / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there, not readable, or not JSON
        return {}
    whole = isinstance(content, dict) and content.get("format") == _FORMAT and isinstance(content.get("entries"), dict)
    return content if whole else {}


def _write(content: dict[str, Any]) -> None:
    folder = cache_folder()
    with suppress(OSError):  # a full disk or a read-only home: it is measured again next time
        handle, name = tempfile.mkstemp(prefix=f".{FILE}-", dir=folder)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(content, file, indent=1)
            os.replace(name, folder / FILE)
        except OSError:
            os.unlink(name)
            raise


@contextmanager
def _turn(name: str, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold a lock beside the file; where there can be none, go on without."""
    descriptor = -1
    with suppress(OSError):
        cache_folder().mkdir(parents=True, exist_ok=True)
        descriptor = os.open(cache_folder() / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting:
                waiting()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if descriptor >= 0:
            os.close(descriptor)  # which lets go of the lock
