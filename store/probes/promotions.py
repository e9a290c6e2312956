"""Which version of a probe is in use: numbered records that are only ever added (``probes/<name>/promoted/<n>.json``)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Final

from sonotheque.core.errors import Damaged
from sonotheque.core.ids import digest_of
from store import layout
from store.fsops import FileOps, ops_of
from store.probes.names import numbers, stored_names

FORMAT_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Promotion:
    """One record: from then on this version was in use.

    Attributes
    ----------
    number : int
    version : int
    at_utc : str
        ISO 8601.
    why : str
    forced : bool
        Against the comparison, or without one.
    by : str
        User and machine.
    undoes : int or None
        Number of the record that it takes back; the version before that one is in use again.
    """

    number: int
    version: int
    at_utc: str
    why: str
    forced: bool
    by: str
    undoes: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return asdict(self)

    def to_bytes(self) -> bytes:
        """Return the record's file."""
        value = {"format_version": FORMAT_VERSION, **self.to_json()}
        return json.dumps({"digest": digest_of(value), **value}, indent=1).encode() + b"\n"


def in_use(root: str, ops: FileOps | None = None) -> dict[str, int]:
    """Return the version in use of every probe of a store: name -> version. A probe that was never promoted is not among them.

    Raises
    ------
    Damaged
        If the newest record of a probe cannot be read.
    """
    ops = ops or ops_of(root)
    newest = {name: newest_promotion(root, name, ops) for name in stored_names(root, ops)}
    return {name: found.version for name, found in newest.items() if found}


def newest_promotion(root: str, name: str, ops: FileOps) -> Promotion | None:
    """Return the record that counts; None if the probe was never promoted."""
    there = promotion_numbers(root, name, ops)
    return _read(root, name, there[-1], ops) if there else None


def read_promotions(root: str, name: str, ops: FileOps) -> list[Promotion]:
    """Return all records of a probe, oldest first.

    Raises
    ------
    Damaged
        If one is missing or cannot be read.
    """
    there = promotion_numbers(root, name, ops)
    return [_read(root, name, n, ops) for n in range(1, (there[-1] if there else 0) + 1)]


def promotion_stack(promotions: list[Promotion]) -> list[Promotion]:
    """Return the records that hold, oldest first: the last one is in use, a rollback goes to the one before it."""
    held: list[Promotion] = []
    for record in promotions:
        if record.undoes is None:
            held.append(record)
        else:
            held = [h for h in held if h.number < record.undoes]
    return held


def promotion_numbers(root: str, name: str, ops: FileOps) -> list[int]:
    """Return the numbers of a probe's records, ascending."""
    return numbers(ops.listdir(f"{root}/{layout.probe_promotions(name)}"), ".json")


def _read(root: str, name: str, number: int, ops: FileOps) -> Promotion:
    path = f"{root}/{layout.probe_promotion(name, number)}"
    again = f"Bring it back from a backup; `sonotheque probe show` tells the versions of {name}"
    try:
        value = json.loads(ops.read(path))
        if value["format_version"] > FORMAT_VERSION:
            raise Damaged(f"{path} was written by a newer release; install a newer sonotheque")
        if value.pop("digest") != digest_of(value):
            raise Damaged(f"{path} is not what it was when it was written. {again}")
        del value["format_version"]
        record = Promotion(**value)
    except FileNotFoundError:
        raise Damaged(f"{path} is missing: which version was in use then is not known. {again}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged(f"{path} cannot be read as a record of which version is in use: {error!r}. {again}") from error
    if record.number != number:
        raise Damaged(f"{path} says it is record {record.number}: it was renamed. {again}")
    return record
