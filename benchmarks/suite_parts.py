"""What the suite runs, in which sizes: whole in ten minutes, small in one. ``python -m benchmarks.suite_parts`` is the process of one part."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.calling import known, module
from sonotheque.core.errors import SonothequeError


@dataclass(frozen=True)
class Size:
    """How large a part is measured.

    Attributes
    ----------
    needs_s : int
        About how long it takes on two cores, what it makes on its first run included. A part is not begun if less time is left.
    settings : dict
        For the benchmark's ``run``.
    constants : dict
        Of the benchmark's module: how often it repeats things is a constant there, and the suite has less time.
    """

    needs_s: int
    settings: dict[str, Any] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """One benchmark of the suite."""

    name: str
    module: str
    measures: str
    full: Size
    quick: Size


_FEW = {"FRESH_TIMES": 1, "COLD_TIMES": 1, "SEARCHES": 20, "SPEED_S": 1}
_SMALL = 4_000  # windows; up to 5,000 a store has two days, and is made in a few seconds
_SEARCH = {
    "peers": False,
    "peer_windows": 0,
    "usearch": False,
    "real": None,
    "hop_s": 0.5,
    "rebuild": False,
    "keep": True,
}

PARTS = (
    Part(
        "embed",
        "suite_embed",
        "the main job end to end, two workers against one, start-up apart",
        Size(190, {"models": ["birdnet_v2.4", "perch_v2"], "minutes": 60, "choose": True}),
        Size(11, {"models": ["birdnet_v2.4"], "minutes": 4, "choose": False}),
    ),
    Part(
        "engines",
        "engines",
        "engine by precision: speed, and whether the vectors are the same",
        Size(130, {"models": None, "brief": True, "quick": False}),
        Size(9, {"models": None, "quick": True}),
    ),
    Part(
        "search",
        "search",
        "search with recall beside every time, building, opening",
        Size(110, _SEARCH | {"windows": 100_000, "queries": 100, "quick": False}, {"FRESH_TIMES": 3, "COLD_TIMES": 1}),
        Size(10, _SEARCH | {"windows": _SMALL, "queries": 50, "quick": False}, _FEW),
    ),
    Part(
        "probes",
        "probes",
        "training a probe, and running probes over an archive",
        Size(40, {"peers": False, "quick": True}, {"_QUICK_WINDOWS": 100_000}),
        Size(9, {"peers": False, "brief": True, "quick": True}, {"_QUICK_WINDOWS": _SMALL}),
    ),
    Part(
        "api",
        "api",
        "the service: start, searches by sound and by window, users at once",
        Size(100, {"windows": 100_000, "seconds": 8.0, "page": False, "quick": False}),
        Size(14, {"windows": _SMALL, "seconds": 1.0, "page": False, "brief": True, "quick": False}),
    ),
)


def _set(benchmark: ModuleType, key: str, value: Any) -> None:
    """Set a constant; one that is not there would be set without any effect."""
    if not hasattr(benchmark, key):
        raise ValueError(f"{benchmark.__name__} has no {key}")
    setattr(benchmark, key, value)


def main(name: str, target: str, settings: str, constants: str) -> int:
    """Run one benchmark and write its result, or what stood against it, to a file."""
    try:
        benchmark = module(name)
        for key, value in json.loads(constants).items():
            _set(benchmark, key, value)
        given, _ = known(name, json.loads(settings))
        told = benchmark.run(**given)
    except SonothequeError as error:
        told = {"error": error.message}
    except ImportError as error:
        told = {"error": f"a library it needs is not installed: {error}"}
    except (RuntimeError, OSError, ValueError) as error:
        told = {"error": f"{type(error).__name__}: {error}"}
    Path(target).write_text(json.dumps(told), encoding="utf-8")
    return int("error" in told)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:5]))
