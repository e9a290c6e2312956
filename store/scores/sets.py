"""Sets of probes that were applied together. A set's folder is named by what is in it, so any two runs agree on it."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Final

from sonotheque.core.errors import Damaged, Invalid
from sonotheque.core.ids import digest_of
from store import layout
from store.config import temp_name
from store.fsops import FileOps, ops_of, put_new

SCORE_FLOOR: Final = 0.01
"""Scores below it are not kept unless somebody asks: at 0.01 a rare class costs next to nothing on disk."""


@dataclass(frozen=True, slots=True)
class ScoredProbe:
    """A probe as the scores name it.

    Attributes
    ----------
    name : str
    version : int
        From 1.
    digest : str
        Of what it computes: scores of another probe of this name and number are not its own.
    classes : tuple of str
    kind : str
        ``multilabel`` or ``multiclass``.
    """

    name: str
    version: int
    digest: str
    classes: tuple[str, ...]
    kind: str

    @property
    def key(self) -> tuple[str, int]:
        """Name and version."""
        return self.name, self.version

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return {
            "name": self.name,
            "version": self.version,
            "digest": self.digest,
            "classes": list(self.classes),
            "kind": self.kind,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ScoredProbe:
        """Rebuild it from :meth:`to_json`."""
        given = {f.name: value[f.name] for f in fields(cls)}
        return cls(**{**given, "classes": tuple(value["classes"])})


@dataclass(frozen=True, slots=True)
class ScoreSet:
    """Probes that were applied together, in the order of their names, and the least score that was kept.

    Attributes
    ----------
    probes : tuple of ScoredProbe
    floor : float
        Rows with a score from it on are there; 0: all are.
    """

    probes: tuple[ScoredProbe, ...]
    floor: float = SCORE_FLOOR

    @classmethod
    def of(cls, probes: tuple[ScoredProbe, ...], floor: float) -> ScoreSet:
        """Return the set of some probes, given in any order.

        Raises
        ------
        Invalid
            If there are none, one is there twice or was not stored, or the floor cannot be.
        """
        ordered = tuple(sorted(probes, key=lambda p: p.key))
        keys = [p.key for p in ordered]
        if not keys:
            raise Invalid("no probe is given: expected at least one")
        if twice := next((k for k in keys if keys.count(k) > 1), None):
            raise Invalid(f"probe {twice[0]} version {twice[1]} is given twice; once is enough")
        if unstored := next((k for k in keys if k[1] < 1), None):
            raise Invalid(
                f"probe {unstored[0]} has no version yet: store it first, so that its scores can be told from others"
            )
        return cls(ordered, require_floor(floor))

    @property
    def name(self) -> str:
        """The set's folder: the first 16 digits of the digest of its JSON."""
        return _name_of(self)

    def to_json(self) -> dict[str, Any]:
        """Return what ``set.json`` holds."""
        return {"probes": [p.to_json() for p in self.probes], "floor": self.floor}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ScoreSet:
        """Rebuild a set from :meth:`to_json`."""
        return cls(tuple(ScoredProbe.from_json(p) for p in value["probes"]), float(value["floor"]))

    def put(self, root: str, ops: FileOps) -> None:
        """Write ``set.json`` if it is not there; it comes before the first file of scores."""
        target = f"{root}/{layout.score_set(self.name)}"
        if not ops.exists(target):
            text = json.dumps(self.to_json(), indent=1, ensure_ascii=True, sort_keys=True) + "\n"
            put_new(ops, f"{root}/{layout.TMP}", temp_name(f"set-{self.name}"), target, text.encode("ascii"))


@lru_cache(maxsize=64)  # asked several times for every part, of sets of hundreds of probes
def _name_of(one: ScoreSet) -> str:
    return digest_of(one.to_json())[:16]


def require_floor(floor: float) -> float:
    """Return a floor; raises Invalid unless it is in [0, 1)."""
    if not 0.0 <= floor < 1.0:
        raise Invalid(f"--floor {floor:g}: the least score that is kept; expected 0 (keep all) up to, but not, 1")
    return float(floor)


def read_sets(root: str, ops: FileOps | None = None) -> dict[str, ScoreSet]:
    """Return the sets of a store by the names of their folders; a folder without ``set.json`` is none.

    Raises
    ------
    Damaged
        If a ``set.json`` cannot be read, or is not what its folder says.
    """
    ops = ops or ops_of(root)
    found: dict[str, ScoreSet] = {}
    for name in ops.listdir(f"{root}/{layout.SCORES}"):
        path = f"{root}/{layout.score_set(name)}"
        try:
            one = ScoreSet.from_json(json.loads(ops.read(path)))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Damaged(f"{path} cannot be read: {error!r}. {_again(root, name)}") from error
        if one.name != name:
            raise Damaged(
                f"{path} describes another set ({one.name}) than its folder's name says. {_again(root, name)}"
            )
        found[name] = one
    return found


def _again(root: str, name: str) -> str:
    return f"Scores are derived: remove the folder {root}/{layout.SCORES}/{name} and run `sonotheque probe apply` again"
