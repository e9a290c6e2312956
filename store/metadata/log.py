"""The log of changes: numbered files that never change (``metadata/<n>.json``), and the state they add up to."""

from __future__ import annotations

import getpass
import json
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from sonotheque.core.errors import Conflict, Damaged, NotFound
from sonotheque.core.ids import digest_of
from sonotheque.core.recording import printable_path
from store import layout
from store.config import temp_name
from store.fsops import FileOps, ops_of, put_new, store_errors
from store.metadata.change import Change, ClockChange, DeploymentsChange, Undo, change_of, change_to_json

LOG_VERSION = 1
_NAME = re.compile(r"([1-9][0-9]*)\.json")


@dataclass(frozen=True, slots=True)
class Entry:
    """One change as it stands in the log.

    Attributes
    ----------
    number : int
    at : str
        UTC, ISO 8601.
    by, reason : str
    change : Change
    """

    number: int
    at: str
    by: str
    reason: str
    change: Change


@dataclass(frozen=True, slots=True)
class MetadataState:
    """What holds after all changes.

    Attributes
    ----------
    version : int
        Number of the newest change; 0 if there is none.
    changes : tuple of Change
        Those that hold, in their order: each speaks of things as the ones before it left them. A table of deployments that a later
        one replaces is among them only if a clock's change between the two may speak of what it said.
    entries : tuple of Entry
        The history.
    undone : frozenset of int
        Numbers of changes that are taken back.
    numbers : tuple of int
        Of ``changes``.
    """

    version: int = 0
    changes: tuple[Change, ...] = ()
    entries: tuple[Entry, ...] = ()
    undone: frozenset[int] = frozenset()
    numbers: tuple[int, ...] = ()

    @property
    def digest(self) -> str:
        """The same for states that change recordings in the same way."""
        return digest_of([change_to_json(c) for c in self.changes])


def latest_metadata(root: str, ops: FileOps | None = None) -> int:
    """Return the number of the newest change; 0 if there is none."""
    names = (ops or ops_of(root)).listdir(f"{root}/{layout.METADATA}")
    return max((int(found[1]) for n in names if (found := _NAME.fullmatch(n))), default=0)


def read_metadata(root: str, version: int | None = None, ops: FileOps | None = None) -> MetadataState:
    """Return the state after the changes up to a version; the newest by default.

    Raises
    ------
    NotFound
        If there is no such version.
    Damaged
        If a change is missing or cannot be read: leaving it out would be a wrong answer.
    """
    ops = ops or ops_of(root)
    newest = latest_metadata(root, ops)
    last = newest if version is None else version
    if not 0 <= last <= newest:
        raise NotFound(f"{root} has no version {last} of the metadata; the newest is {newest}")
    return state_of(tuple(_entry(root, n, ops) for n in range(1, last + 1)))


def state_of(entries: tuple[Entry, ...]) -> MetadataState:
    """Fold a history."""
    undone: set[int] = set()
    for entry in reversed(entries):  # the last word first: an undo that is undone takes nothing back
        if isinstance(entry.change, Undo) and entry.number not in undone:
            undone.add(entry.change.change)
    held = [e for e in entries if e.number not in undone and not isinstance(e.change, Undo)]
    kept = _without_replaced(held)
    return MetadataState(
        entries[-1].number if entries else 0,
        tuple(e.change for e in kept),
        entries,
        frozenset(undone),
        tuple(e.number for e in kept),
    )


def _without_replaced(held: list[Entry]) -> list[Entry]:
    """Leave out the tables of deployments that nothing follows from any more."""
    kept: list[Entry] = []
    replaced = False
    for entry in reversed(held):
        change = entry.change
        if isinstance(change, DeploymentsChange):
            if replaced:
                continue
            replaced = not change.add
        elif isinstance(change, ClockChange) and change.scope.is_placed:
            replaced = False  # it means the sites and deployments of the table before it
        kept.append(entry)
    return kept[::-1]


def write_change(
    root: str,
    change: Change,
    *,
    by: str | None = None,
    reason: str = "",
    check: Callable[[MetadataState], None] | None = None,
    ops: FileOps | None = None,
) -> Entry:
    """Append a change to the log; two writers at once both come in, one after the other.

    Parameters
    ----------
    root : str
    change : Change
    by : str, optional
        Who says so; user@host by default.
    reason : str
    check : callable, optional
        Gets the state that the change will come after, again for each attempt; may raise.

    Raises
    ------
    NotFound
        If an undo names a change that is not there.
    Conflict
        If it is taken back already.
    Unavailable
        Disk full or read-only.
    """
    ops = ops or ops_of(root)
    said_by = _one_line(by or "") or f"{_user()}@{socket.gethostname()}"
    reason = _one_line(reason)
    while True:
        state = read_metadata(root, ops=ops)
        check_undo(root, state, change)
        if check:
            check(state)
        number = state.version + 1
        at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        value = {
            "format_version": LOG_VERSION,
            "change": number,
            "at": at,
            "by": said_by,
            "reason": reason,
            **_body(change),
        }
        data = json.dumps(value, indent=1, ensure_ascii=True).encode()
        with store_errors(root):
            target = f"{root}/{layout.metadata_path(number)}"
            if put_new(ops, f"{root}/{layout.TMP}", temp_name(f"metadata-{number}"), target, data):
                return Entry(number, at, said_by, reason, change)


def _body(change: Change) -> dict[str, object]:
    value = change_to_json(change)
    if isinstance(change, Undo):
        return {"kind": "undo", "of": change.change}
    return {"kind": value.pop("kind"), "said": value}


def _entry(root: str, number: int, ops: FileOps) -> Entry:
    path = f"{root}/{layout.metadata_path(number)}"
    try:
        value = json.loads(ops.read(path))
        if value["format_version"] > LOG_VERSION:
            raise Damaged(
                f"{path} has version {value['format_version']}; this program reads versions up to {LOG_VERSION}. Install a newer sonotheque"
            )
        if value["change"] != number:
            raise Damaged(f"{path} says it is change {value['change']}: it was renamed")
        said = {"change": value["of"]} if value["kind"] == "undo" else value["said"]
        return Entry(number, value["at"], value["by"], value["reason"], change_of({"kind": value["kind"], **said}))
    except FileNotFoundError:
        raise Damaged(f"{path} is missing; what it changed is not known. Bring it back from a backup") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, Damaged):
            raise
        raise Damaged(
            f"{path} cannot be read as a change of the metadata: {error!r}. Bring it back from a backup"
        ) from error


def check_undo(root: str, state: MetadataState, change: Change) -> None:
    """Raise NotFound or Conflict if a change is an undo of what is not there, or is taken back already."""
    if not isinstance(change, Undo):
        return
    if not 1 <= change.change <= state.version:
        raise NotFound(f"{root} has no change {change.change}; `sonotheque metadata history --store {root}` lists them")
    if change.change in state.undone:
        by = next(e.number for e in state.entries if e.change == change and e.number not in state.undone)
        raise Conflict(f"change {change.change} is taken back already, by change {by}; undo {by} to bring it again")


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in printable_path(text)).split())


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return "unknown"
