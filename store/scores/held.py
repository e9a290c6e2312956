"""Which files hold the scores of a part by a probe, and what is still to be scored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from store import layout
from store.fsops import FileOps, ops_of
from store.scores.sets import ScoredProbe, ScoreSet, read_sets


@dataclass(frozen=True, slots=True)
class Holding:
    """The file that holds the scores of one part by one probe.

    Attributes
    ----------
    set_name : str
    floor : float
        Least score that was kept.
    """

    set_name: str
    floor: float


class HeldScores:
    """The scores of a store as its folders list them; no file of scores is opened.

    Several sets may hold the same part and probe, after two runs at once or with another floor. One of them is read: that with
    the least floor, and of those the one whose name comes first; so nothing is counted twice.

    Parameters
    ----------
    root : str
    ops : FileOps, optional

    Attributes
    ----------
    sets : dict
        Name of a set's folder -> the set.

    Raises
    ------
    Damaged
        If a ``set.json`` cannot be read.
    """

    def __init__(self, root: str, ops: FileOps | None = None) -> None:
        ops = ops or ops_of(root)
        self.root = root
        self.sets = read_sets(root, ops)
        self._parts = {
            name: {
                identity
                for file in ops.listdir(f"{root}/{layout.SCORES}/{name}")
                if (identity := layout.part_id_of(file))
            }
            for name in self.sets
        }
        order = sorted(self.sets, key=lambda name: (self.sets[name].floor, name))
        self._of: dict[tuple[str, int], list[tuple[str, str]]] = {}
        for name in order:
            for probe in self.sets[name].probes:
                self._of.setdefault(probe.key, []).append((name, probe.digest))

    def holding(self, part_id: str, key: tuple[str, int], digest: str | None = None) -> Holding | None:
        """Return the file of a part and a probe, given by name and version; None if it was not scored.

        ``digest`` is the probe's; without one, that of the set that comes first.
        """
        for name, found in self._of.get(key, ()):
            wanted = digest or self._of[key][0][1]
            if found == wanted and part_id in self._parts[name]:
                return Holding(name, self.sets[name].floor)
        return None

    def probe(self, key: tuple[str, int], digest: str | None = None) -> ScoredProbe | None:
        """Return a probe as some set describes it; None if it was never applied."""
        for name, found in self._of.get(key, ()):
            if digest in (None, found):
                return next(p for p in self.sets[name].probes if p.key == key)
        return None

    def missing(self, part_id: str, probes: Sequence[ScoredProbe], floor: float) -> tuple[ScoredProbe, ...]:
        """Return the probes that a part is still to be scored by, for scores from ``floor`` on."""
        out = []
        for probe in probes:
            found = self.holding(part_id, probe.key, probe.digest)
            if found is None or found.floor > floor:
                out.append(probe)
        return tuple(out)

    def plan(
        self, part_ids: Iterable[str], probes: Sequence[ScoredProbe], floor: float
    ) -> list[tuple[ScoreSet, list[str]]]:
        """Return what is to be done: sets, each with the parts that it is to be written for, in the order given."""
        groups: dict[tuple[ScoredProbe, ...], list[str]] = {}
        known: dict[tuple[str, ...], tuple[ScoredProbe, ...]] = {}
        for part_id in part_ids:
            alike = self._sets_of(part_id)
            if alike not in known:
                known[alike] = self.missing(part_id, probes, floor)
            if todo := known[alike]:
                groups.setdefault(todo, []).append(part_id)
        return [(ScoreSet.of(todo, floor), parts) for todo, parts in groups.items()]

    def chosen(
        self,
        part_ids: Iterable[str],
        keys: Iterable[tuple[str, int]],
        digests: Mapping[tuple[str, int], str] | None = None,
    ) -> dict[tuple[str, frozenset[tuple[str, int]]], list[str]]:
        """Return which files to read for some probes: (set, probes to take from it) -> ids of the parts."""
        wanted = list(keys)
        found: dict[tuple[str, frozenset[tuple[str, int]]], list[str]] = {}
        known: dict[tuple[str, ...], dict[str, set[tuple[str, int]]]] = {}
        for part_id in part_ids:
            alike = self._sets_of(part_id)
            if alike not in known:
                by_set = known[alike] = {}
                for key in wanted:
                    if one := self.holding(part_id, key, (digests or {}).get(key)):
                        by_set.setdefault(one.set_name, set()).add(key)
            for name, taken in known[alike].items():
                found.setdefault((name, frozenset(taken)), []).append(part_id)
        return found

    def _sets_of(self, part_id: str) -> tuple[str, ...]:
        """Return the sets that hold a part: parts held by the same ones are treated alike, and archives have few kinds."""
        return tuple(name for name, parts in self._parts.items() if part_id in parts)

    def path(self, set_name: str, part_id: str) -> str:
        """Return where a file of scores lies."""
        return f"{self.root}/{layout.score_part(set_name, part_id)}"
