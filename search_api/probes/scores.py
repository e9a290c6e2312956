"""The scores of one stored probe, as questions need them: which files, which windows, in SQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from probes import Probe
from sonotheque.core.errors import NotFound
from sonotheque.core.filters import SearchFilter
from store import Archive
from store.scores import HeldScores, scores_select
from store.scores.writer import scores_footer

_READERS: Final = 8


class ProbeScores:
    """The scores of one probe over the parts of an archive's snapshot, as SQL.

    Parameters
    ----------
    archive : Archive
    probe : Probe
        As stored: its name, version and digest tell which scores are its own.

    Attributes
    ----------
    floor : float
        Least score that is there for every part.
    part_ids : list of str
        Parts that it was applied to.

    Raises
    ------
    NotFound
        If the probe was applied to none of the parts.
    Damaged
        If the description of a set of scores cannot be read.
    """

    def __init__(self, archive: Archive, probe: Probe) -> None:
        self._archive, self.probe = archive, probe
        self._held = HeldScores(archive.root)
        self._key, self._digest = (probe.name, probe.version), probe.digest
        found = {p.part_id: self._held.holding(p.part_id, self._key, self._digest) for p in archive.live_parts}
        self._files = {part_id: one for part_id, one in found.items() if one}
        self.part_ids = list(self._files)
        if archive.live_parts and not self._files:
            raise NotFound(
                f"probe {probe.name} version {probe.version} was not applied to {archive.root} yet: "
                f"`sonotheque probe apply {probe.name} --store {archive.root}` does it"
            )
        self.floor = max((one.floor for one in self._files.values()), default=0.0)

    def select(self, thresholds: dict[str, float], where: SearchFilter, columns: str) -> tuple[str, list[Any]]:
        """Return the SELECT, and its parameters, of scores from the thresholds on in the windows that a filter means.

        Parameters
        ----------
        thresholds : dict
            Class -> least score; other classes are left out.
        where : SearchFilter
        columns : str
            SQL, of ``w`` (the view ``windows``) and ``s`` (``probe, version, label, logit, score``).
        """
        raw = scores_select(self._held, self.part_ids, [self._key], {self._key: self._digest})
        windows, parameters = self._archive.select(where)
        either = " OR ".join("(label = ? AND score >= ?)" for _ in thresholds)
        values: list[Any] = [value for item in thresholds.items() for value in item]
        # The first two conditions say no more than the third, and are such that whole row groups are left out by them.
        marks = ", ".join("?" * len(thresholds))
        query = (
            f"SELECT {columns} FROM (SELECT * FROM ({raw}) WHERE probe = ? AND version = ? AND label IN ({marks}) AND ({either})) s "
            f"JOIN ({windows}) w USING (recording_id, start_sample, part_id)"
        )
        return query, [*self._key, *thresholds, *values, *parameters]

    def windows(self, where: SearchFilter) -> tuple[int, int]:
        """Return how many windows a filter means, and how many of them are in parts that the probe was applied to."""
        query, parameters = self._archive.select(where, columns="w.part_id, count(*) AS n")
        counts = self._archive.sql(f"{query} GROUP BY w.part_id", parameters)
        by_part = dict(zip(counts["part_id"].to_pylist(), counts["n"].to_pylist(), strict=True))
        return sum(by_part.values()), sum(n for part_id, n in by_part.items() if part_id in self._files)

    def not_scored(self) -> list[dict[str, Any]]:
        """Return the windows whose vector is not finite: ``path``, ``start_s``, ``recording_id``, ``start_sample``; live ones alone."""

        def of(item: tuple[str, Any]) -> list[dict[str, Any]]:
            part_id, one = item
            gone = set(self._archive.parts[part_id].superseded)
            told = scores_footer(self._held.path(one.set_name, part_id))["not_scored"]
            return [w for w in told if w["recording_id"] not in gone]

        with ThreadPoolExecutor(_READERS) as pool:
            return [window for found in pool.map(of, self._files.items()) for window in found]
