"""The figures of any result, with which way is better: what `bench compare` and the generated page go by.

Results differ in shape, and new benchmarks bring new ones. What a number is, its key says: units stand last in names (``cpu_ms``,
``peak_rss_mb``, ``windows_per_s``), and the few that have none are listed here. A number whose key says nothing is no figure.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.envelope import ENVELOPE

Better = Literal["higher", "lower"]

#: Keys that tell one row of a list from another.
_NAMES = (
    *(
        "model",
        "title",
        "peer",
        "program",
        "engine",
        "precision",
        "search",
        "question",
        "setting",
        "filter",
        "format",
        "source",
    ),
    *(
        "stage",
        "kind",
        "op",
        "device",
        "layout",
        "windows",
        "classes",
        "probes",
        "shots",
        "workers",
        "processes",
        "threads",
        "batch",
    ),
    *("batch_size", "users", "nodes", "hours"),
)
#: Sizes and counts: numbers, and no figures.
_NEUTRAL = {
    *(
        "audio_s",
        "window_s",
        "hop_s",
        "seconds",
        "duration_s",
        "recorded_s",
        "within_s",
        "total_bytes",
        "memory_gib",
        "hours",
        "seed",
    ),
    *(
        "files",
        "windows",
        "rows",
        "queries",
        "eligible",
        "coded",
        "compared",
        "answers",
        "users",
        "rounds",
        "repeats",
        "pairs",
        "k",
        "dim",
    ),
    *("classes", "recordings", "scores_kept", "l2", "missing"),
}
#: What holds no figures at any depth: settings, what the machine did beside, repetitions of which the medians stand elsewhere.
_CLOSED = {
    *(
        "machine",
        "versions",
        "settings",
        "assumptions",
        "asked",
        "published",
        "load_before",
        "load_after",
        "statuses",
        "bytes_before",
    ),
    *("all", "duplicates", "difference", "interval"),
}
#: Other programs, and this one held back for comparison: measured, but not what a change here makes worse.
_THEIRS = {"hoplite", "plain", "beside", "beside_usearch", "scikit_learn", "no_delegate", "peers", "bare"}
_HIGHER = re.compile(
    r"(^|_)(per_(cpu_|wall_)?s|x_realtime|realtime|end_to_end|steady|bare|efficiency|gb_s|gflops|tflops|gflop_s|two_against_one|speed_up|times_faster|qps|"
    r"share_of_(peak|copy|read_speed|bandwidth|roofline)|share_reached|recall(_at_\w+)?|cosine|agreement|neighbours_at_\d+|top1|roc_auc|ap|map)$"
)
_LOWER = re.compile(
    r"(^|_)(s|ms|us|ns|mb|gb|gib|bytes|rss|eur|euros|errors|bytes_per_window|cpu_ms_each|ms_per_window|ms_a_window|difference_max|wall|cpu)$"
)
_QUALITY = re.compile(r"(^|_)(recall|cosine|agreement|neighbours_at_\d+|top1|roc_auc|ap|map)")
_SUFFIX = re.compile(r"(_(mean|median|min|max|p5|p50|p95|p99|one|two|each|alone|float16|float32|\d+))+$")
_OF = re.compile(r"_(by|a|an)_\w+$")  # peak_rss_mb_by_windows, x_realtime_a_core: the unit stands before
_PER = re.compile(r"_per_(window|core|worker|recording|file)s?$")


@dataclass(frozen=True)
class Figure:
    """One number that is better higher or lower."""

    name: str
    value: float
    better: Better

    @property
    def is_quality(self) -> bool:
        """Whether it says how right, not how fast or how small."""
        return self.better == "higher" and any(_QUALITY.search(part) for part in self.name.lower().split(" / ")[-2:])

    @property
    def is_ours(self) -> bool:
        """Whether it is of this program, not of one that was measured beside it."""
        parts = self.name.split(" / ")
        contest = [part.removeprefix("contestants: ") for part in parts if part.startswith("contestants: ")]
        beside = any(part.split(":")[0] in _THEIRS or part.startswith(("bare", "plain")) for part in parts)
        return not beside and all(key.startswith("ours") for key in contest)


def better(key: str) -> Better | None:
    """Return which way a number of this key is better; None if the key does not say."""
    key = key.lower()
    for form in (key, _SUFFIX.sub("", key), _SUFFIX.sub("", _OF.sub("", key)), _SUFFIX.sub("", _PER.sub("", key))):
        if _HIGHER.search(form):
            return "higher"
        if _LOWER.search(form):
            return "lower"
    return None


def figures(result: dict[str, Any]) -> dict[str, Figure]:
    """Return the figures of a result by name; of repetitions the median."""
    found = [f for key, value in result.items() if key not in ENVELOPE for f in _walk(value, (key,), None)]
    return {figure.name: figure for figure in found}


def _walk(value: Any, path: tuple[str, ...], inherited: Better | None) -> Iterator[Figure]:
    key = path[-1]
    if key in _CLOSED:
        return
    # A name such as "peak_rss_mb_by_windows" says what the numbers below it are, whose own keys are sizes.
    way = better(key) or inherited
    if isinstance(value, dict):
        for inner, below in value.items():
            yield from _walk(below, (*path, str(inner)), way)
    elif isinstance(value, list):
        yield from _rows(value, path, way)
    elif way and key not in _NEUTRAL and _is_number(value):
        yield Figure(" / ".join(path), float(value), way)


def _rows(rows: list[Any], path: tuple[str, ...], way: Better | None) -> Iterator[Figure]:
    """Yield the figures of rows that have names of their own, or the medians of rows that are repetitions."""
    if rows and all(isinstance(row, dict) for row in rows):
        names = [_name(row) for row in rows]
        if names[0] and len(set(names)) == len(names):
            for name, row in zip(names, rows, strict=True):
                for key, below in row.items():
                    if key not in _NAMES:
                        yield from _walk(below, (*path[:-1], f"{path[-1]}: {name}", key), way)
            return
        by_name: dict[str, list[Figure]] = {}
        for row in rows:
            for figure in (f for key, below in row.items() for f in _walk(below, (*path, key), way)):
                by_name.setdefault(figure.name, []).append(figure)
        for name, same in by_name.items():
            yield Figure(name, statistics.median(f.value for f in same), same[0].better)
    elif way and rows and all(_is_number(row) for row in rows):
        yield Figure(" / ".join(path), float(statistics.median(rows)), way)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _name(row: dict[str, Any]) -> str:
    for key in ("key", "name"):
        if isinstance(row.get(key), str):  # meant to tell rows apart, where titles and settings may be worded anew
            return str(row[key])
    told = [row[key] for key in _NAMES if isinstance(row.get(key), str | int) and not isinstance(row[key], bool)]
    return ", ".join(map(str, told))


def settings(result: dict[str, Any]) -> dict[str, Any]:
    """Return the scalars at the top of a result that are no figures: sizes and settings that two results should share."""
    known = figures(result)
    free = {*ENVELOPE, *known, "made", "headline"}
    return {key: value for key, value in result.items() if key not in free and isinstance(value, str | int | float)}
