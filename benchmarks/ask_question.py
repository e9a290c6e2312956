"""One question, asked in two ways by turns: the answers must be the same before any time counts."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Question:
    """One question, asked in two ways.

    Attributes
    ----------
    name, words : str
    ours, plain : callable
    answers : callable
        Of what both returned: two values that must be equal, and how many rows or cells they are.
    target : str
        What must hold, for people; empty if nothing was promised.
    is_met : callable
        Of both medians, in seconds.
    pairs : int or None
        Repetitions, if fewer than the others; then nothing is asked beforehand to warm up.
    """

    name: str
    words: str
    ours: Callable[[], Any]
    plain: Callable[[], Any]
    answers: Callable[[Any, Any], tuple[Any, Any, int]]
    target: str = ""
    is_met: Callable[[float, float], bool] = lambda ours_s, plain_s: True
    pairs: int | None = None

    def measure(self, pairs: int) -> dict[str, Any]:
        """Ask both sides in turn, the first one changing.

        Raises
        ------
        RuntimeError
            If their answers differ: then no time means anything.
        """
        times: dict[str, list[float]] = {"ours": [], "plain": []}
        sides = {"ours": self.ours, "plain": self.plain}
        said: dict[str, Any] = {} if self.pairs else {side: ask() for side, ask in sides.items()}
        for i in range(self.pairs or pairs):
            for side in ("ours", "plain") if i % 2 == 0 else ("plain", "ours"):
                began = time.perf_counter()
                said[side] = sides[side]()
                times[side].append(time.perf_counter() - began)
        ours, plain, rows = self.answers(said["ours"], said["plain"])
        if not _same(ours, plain):
            raise RuntimeError(f"{self.name}: the answers differ")
        ours_s, plain_s = (statistics.median(times[side]) for side in ("ours", "plain"))
        return {
            "name": self.name,
            "question": self.words,
            "rows": rows,
            "ours_s": round(ours_s, 4),
            "plain_duckdb_s": round(plain_s, 4),
            "times_faster": round(statistics.median(p / o for o, p in zip(*times.values(), strict=True)), 2),
            "target": self.target,
            "met": self.is_met(ours_s, plain_s) if self.target else None,
            "pairs": self.pairs or pairs,
            "all": {side: [round(t, 4) for t in taken] for side, taken in times.items()},
        }


def _same(ours: Any, plain: Any) -> bool:
    if isinstance(ours, tuple):
        return len(ours) == len(plain) and all(_same(a, b) for a, b in zip(ours, plain, strict=True))
    if isinstance(ours, np.ndarray):
        return ours.dtype == plain.dtype and np.array_equal(ours, plain)
    return bool(ours == plain)
