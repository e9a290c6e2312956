"""Engine by precision by model: how fast each is, and whether it says what the reference says.

Every way to run a model sits in a process of its own, one thread each; all are compared with the published graph run whole at full
precision, on made-up sounds and on real recordings, and timed in turn, round by round, in CPU time. Beside this program's ways stand
those that people use: whole graphs, TensorFlow, the ``birdnet`` package's interpreter. Perch 2 is the stand-in of
:mod:`benchmarks.standin`: for speed and size only; its fidelity tells of arithmetic, not of birds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.corpus import sound_minutes
from benchmarks.embed_runs import Job
from benchmarks.engines_data import recordings, recordings_folder, sets
from benchmarks.engines_text import headline, text
from benchmarks.engines_turns import by_turns
from benchmarks.engines_ways import BIRDNET, PERCH, Way, ways
from benchmarks.envelope import SCRATCH, envelope, place, write
from benchmarks.same_answers import measure as same_answers
from benchmarks.standin import StandIn, ensure
from benchmarks.telling import telling
from embedder.models import model_info

__all__ = ["run", "text"]


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured: windows of each kind, rounds of timing and their seconds, and what takes long."""

    synthetic: int
    real: int
    rounds: int
    round_s: float
    answers: bool
    int8: bool


FULL = Size(48, 96, 5, 0.5, answers=True, int8=True)
BRIEF = Size(24, 24, 2, 0.4, answers=False, int8=False)
QUICK = Size(6, 6, 1, 0.1, answers=False, int8=False)


def run(
    *,
    models: Sequence[str] | None = None,
    quick: bool = False,
    brief: bool = False,
    out: str | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Measure all ways of the models, and write the results.

    Parameters
    ----------
    models : sequence of str, optional
        By default ``perch_v2`` (the stand-in) and ``birdnet_v2.4``; of a quick run the second alone.
    quick : bool
        A few windows once, to see that it works.
    brief : bool
        As much as fits into the suite: fewer windows and rounds, no int8, no stores.
    out : str, optional
        File for the results.
    quiet : bool
        No progress.

    Raises
    ------
    RuntimeError
        If no model could be measured; with what each said.
    """
    tell = telling(quiet)
    SCRATCH.mkdir(exist_ok=True)
    size = QUICK if quick else BRIEF if brief else FULL
    options = " ".join([*(f"--model {name}" for name in models or ()), *(["--quick"] if quick else [])])
    result = envelope("engines", options, _data(size))
    found: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    for name in models or ((BIRDNET,) if quick else (PERCH, BIRDNET)):
        try:
            found[name] = matrix(name, size, tell)
        except (RuntimeError, ImportError) as error:
            left_out[name] = " ".join(str(error).split())
    if not found:
        raise RuntimeError("; ".join(f"{name}: {why}" for name, why in left_out.items()))
    result |= {"rounds": size.rounds, "models": found, "left_out": left_out}
    return write(result | {"headline": headline(result)}, place(out, "engines", quick=quick))


def matrix(name: str, size: Size, tell: Callable[[str], None]) -> dict[str, Any]:
    """Return the rows of one model: ``ways`` are this program's, ``beside`` what people use; and ``same_answers``.

    Raises
    ------
    RuntimeError
        If the model's reference cannot be run.
    """
    standin = _stand_in(tell) if name == PERCH else None
    all_of_them = ways(name, standin, int8=size.int8)
    if not all_of_them:
        raise RuntimeError("it is built in and has no engine to choose")
    frames = sets(model_info(name), size.synthetic, size.real)
    rows = by_turns(all_of_them, frames, rounds=size.rounds, round_s=size.round_s, tell=tell)
    told: dict[str, Any] = {
        "stand_in": standin is not None,
        "reference": all_of_them[0].title,
        "compared_on": {key: len(value) for key, value in frames.items()},
        "ways": [row for row in rows if row["ours"]],
        "beside": [row for row in rows if not row["ours"]],
    }
    if size.answers:
        told["same_answers"] = _same_answers(all_of_them, rows, tell)
    return told


def _same_answers(
    all_of_them: Sequence[Way], rows: Sequence[dict[str, Any]], tell: Callable[[str], None]
) -> dict[str, Any]:
    """Return the answers of stores made by every way that ran, beside those of the first one's."""
    ran = {row["key"] for row in rows if row["ours"] and "failed" not in row}
    jobs = [
        Job(way.model, way.weights, way.engine, way.precision, logits=False) for way in all_of_them if way.key in ran
    ]
    folder = recordings_folder()
    sources = recordings(folder) if folder is not None else [str(sound_minutes(SCRATCH, 10, 48_000, "flac"))]
    if len(jobs) < 2:
        return {"failed": "there are no two ways to compare"}
    try:
        rows = same_answers(jobs, sources, root=None if folder is None else str(folder), tell=tell)
    except RuntimeError as error:
        return {"failed": str(error)}
    return {"recordings": len(sources), "rows": rows}


def _stand_in(tell: Callable[[str], None]) -> StandIn:
    tell("building what is missing of the stand-in of Perch 2")
    try:
        return ensure(SCRATCH / "standin")
    except ImportError:  # without TensorFlow there is no SavedModel, and no row for it
        return ensure(SCRATCH / "standin", saved_model=False)


def _data(size: Size) -> str:
    real = f" and up to {size.real} of real recordings" if recordings_folder() is not None else ""
    return f"{size.synthetic} windows of made-up sounds{real}, resampled to each model's rate; one thread"
