"""How windows were drawn for a review: numbered records that never change (``probes/<name>/reviews/<n>.json``).

A table of windows goes to somebody's desk and comes back as annotations. What it takes to count with them, how many windows each score
bin held and which of them were drawn, stays here.
"""

from __future__ import annotations

import json
from typing import Any, Final

from sonotheque.core.errors import Damaged, NotFound
from sonotheque.core.ids import digest_of
from store import layout
from store.config import temp_name
from store.fsops import FileOps, ops_of, put_new, store_errors
from store.probes.names import numbers

FORMAT_VERSION: Final = 1
REVIEWS: Final = "reviews"


def review_numbers(root: str, name: str, ops: FileOps | None = None) -> list[int]:
    """Return the numbers of a probe's reviews, ascending."""
    return numbers((ops or ops_of(root)).listdir(f"{root}/{_folder(name)}"), ".json")


def put_review(root: str, name: str, design: dict[str, Any], ops: FileOps | None = None) -> int:
    """Keep how a review was drawn.

    Parameters
    ----------
    root : str
        The store.
    name : str
        Of the probe.
    design : dict
        JSON.
    ops : FileOps, optional

    Returns
    -------
    int
        Its number. The same design as the newest one has that one's number: it was asked for twice.

    Raises
    ------
    Unavailable
        Disk full or read-only.
    Damaged
        If the newest record cannot be read.
    """
    ops = ops or ops_of(root)
    there = review_numbers(root, name, ops)
    if there and read_review(root, name, there[-1], ops) == design:
        return there[-1]
    data = {"format_version": FORMAT_VERSION, "digest": digest_of(design), "design": design}
    text = json.dumps(data, indent=1, ensure_ascii=True).encode("ascii") + b"\n"
    number = max(there, default=0)
    with store_errors(root):
        while True:
            number += 1
            target = f"{root}/{_folder(name)}/{number}.json"
            if put_new(ops, f"{root}/{layout.TMP}", temp_name(f"review-{number}"), target, text):
                return number


def read_review(root: str, name: str, number: int, ops: FileOps | None = None) -> dict[str, Any]:
    """Return how a review was drawn.

    Raises
    ------
    NotFound
        If the probe has no review of this number.
    Damaged
        If the record is not what it was when it was written.
    """
    path = f"{root}/{_folder(name)}/{number}.json"
    again = "Bring it back from a backup, or draw a new review"
    try:
        value = json.loads((ops or ops_of(root)).read(path))
        if value["format_version"] > FORMAT_VERSION:
            raise Damaged(f"{path} was written by a newer release; install a newer sonotheque")
        design: dict[str, Any] = value["design"]
        if value["digest"] != digest_of(design):
            raise Damaged(f"{path} is not what it was when it was written. {again}")
    except (FileNotFoundError, NotADirectoryError):
        there = review_numbers(root, name, ops)
        held = f"it has {', '.join(map(str, there))}" if there else "it has none"
        raise NotFound(f"probe {name} of {root} has no review {number}; {held}") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise Damaged(f"{path} cannot be read as a review: {error!r}. {again}") from error
    return design


def _folder(name: str) -> str:
    return f"{layout.probe_folder(name)}/{REVIEWS}"
