"""Runs of the real `sonotheque embed`, and of the bare model with the same engine beside them: what `bench embed` is made of."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bare import bare_x_realtime
from benchmarks.corpus import sound_minutes
from benchmarks.envelope import SCRATCH
from sonotheque.core.errors import EXIT_FILES_FAILED, EXIT_OK

WORKERS = (2, 1)
DASK_FREE = 0  # of `--workers`: embedded in the process itself
FORMATS = ((48_000, "wav"), (48_000, "flac"), (48_000, "ogg"), (48_000, "mp3"), (22_050, "wav"))


@dataclass(frozen=True, slots=True)
class Job:
    """What is run, whatever it is run on.

    Attributes
    ----------
    model : str
    weights : str or None
    engine : str or None
        None: the one that the weights were published for.
    precision : str
    logits : bool
        Ten labels a window are kept, else vectors only.
    """

    model: str
    weights: str | None = None
    engine: str | None = None
    precision: str = "fp32"
    logits: bool = True

    @property
    def output(self) -> str:
        """What it leaves behind, in words."""
        return "vectors + labels" if self.logits else "vectors"

    @property
    def options(self) -> list[str]:
        """The options of `sonotheque embed`."""
        options = ["--model", self.model, "--engine", self.engine or "reference", "--precision", self.precision]
        options += ["--weights", self.weights] if self.weights else []
        return options + ([] if self.logits else ["--no-predictions"])

    def bare(self, processes: int, seconds: float) -> float:
        """Return the x-realtime of so many bare models side by side."""
        how = {"weights": self.weights, "engine": self.engine, "precision": self.precision, "logits": self.logits}
        return bare_x_realtime(self.model, processes, seconds, **how)


def sonotheque(*arguments: str, clean: bool = True) -> dict[str, Any]:
    """Run the real command with ``--json`` and return its document.

    Parameters
    ----------
    *arguments : str
    clean : bool
        Whether files that cannot be read are a failure.

    Raises
    ------
    RuntimeError
        If it fails; with what it said.
    """
    command = [str(Path(sys.executable).parent / "sonotheque"), *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (EXIT_OK, *(() if clean else (EXIT_FILES_FAILED,))):
        said = (done.stderr or done.stdout).strip()
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {said[-2000:]}")
    value: dict[str, Any] = json.loads(done.stdout)
    return value


def chosen(model: str, weights: str | None, *, logits: bool, tell: Callable[[str], None]) -> Job:
    """Return the job with the engine that `--engine auto` takes here; it is found before the clock runs."""
    from embedder.choosing import choose

    choice = choose(model, weights, logits=logits, tell=tell)
    return Job(model, weights, choice.engine, choice.precision, logits)


@contextmanager
def fresh() -> Iterator[Path]:
    """Yield a new folder in the scratch folder; it goes away with what is in it."""
    folder = Path(tempfile.mkdtemp(dir=SCRATCH))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def once(job: Job, source: Path, workers: int) -> dict[str, Any]:
    """Embed a folder into a fresh store; returns the run's closing sum, with ``steady``: x-realtime once the workers are up."""
    with fresh() as store:
        told = sonotheque(
            "embed", str(source), "--store", str(store), *job.options, "--workers", str(workers), "--quiet"
        )
    return told | {"steady": told["audio_s"] / told["work_s"]}  # like the bare model, from ready to done


def pair(job: Job, source: Path, bare_s: float, *, whole: bool) -> dict[str, float]:
    """Measure the bare model and the pipeline, with two workers, with one, and in one process without Dask.

    Parameters
    ----------
    job : Job
    source : Path
        Folder of recordings.
    bare_s : float
        Of each run of the bare model.
    whole : bool
        The bare model runs before and after, and the run without Dask is made too.
    """
    out: dict[str, float] = {}
    for workers in WORKERS:
        before = job.bare(workers, bare_s)
        run = once(job, source, workers)
        # The bare model before and after: a neighbour's load that comes or goes shows, and half of it cancels.
        bare = (before + job.bare(workers, bare_s)) / 2 if whole else before
        out |= {
            f"bare_{workers}": bare,
            f"end_to_end_{workers}": run["x_realtime"],
            f"steady_{workers}": run["steady"],
            f"efficiency_{workers}": run["x_realtime"] / bare,
            f"steady_efficiency_{workers}": run["steady"] / bare,
            f"startup_s_{workers}": run["startup_s"],
            f"windows_per_s_{workers}": run["windows"] / run["work_s"],
            f"worker_peak_mb_{workers}": run["peak_rss_bytes"]["workers"] >> 20,
            f"coordinator_peak_mb_{workers}": run["peak_rss_bytes"]["coordinator"] >> 20,
            f"bytes_per_window_{workers}": run["bytes_per_window"],
        }
        out |= {f"share_{stage}_{workers}": share for stage, share in run["stage_shares"].items()}
    out["two_against_one"] = out["end_to_end_2"] / out["end_to_end_1"]
    out["steady_two_against_one"] = out["steady_2"] / out["steady_1"]
    out["bare_two_against_one"] = out["bare_2"] / out["bare_1"]
    if whole:
        alone = once(job, source, DASK_FREE)
        out |= {"steady_0": alone["steady"], "startup_s_0": alone["startup_s"]}
        out["dask_overhead"] = 1 - out["steady_1"] / alone["steady"]
    return out


def medians(measured: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the median of every figure over repetitions."""
    return {key: round(statistics.median(m[key] for m in measured), 4) for key in measured[0]}


def formats(
    job: Job, native_hz: int, minutes: int, rounds: int, kinds: Sequence[tuple[int, str]] = FORMATS
) -> list[dict[str, Any]]:
    """Embed the same sounds from files of several formats and rates, in turn, with two workers.

    Returns
    -------
    list of dict
        A row a format, WAV at the model's own rate first; ``share_of_native`` is the median over the rounds of its speed divided by
        that one's in the same round.
    """
    first = (native_hz, "wav")
    order = [first, *(kind for kind in kinds if kind != first)]
    sources = {kind: sound_minutes(SCRATCH, minutes, *kind) for kind in order}
    runs: dict[tuple[int, str], list[dict[str, Any]]] = {kind: [] for kind in order}
    for _ in range(rounds):
        for kind in order:
            runs[kind].append(once(job, sources[kind], WORKERS[0]))
    rows = []
    for (rate_hz, form), mine in runs.items():
        shares = [run["steady"] / native["steady"] for run, native in zip(mine, runs[first], strict=True)]
        rows.append(
            {
                "key": f"{form} {rate_hz} Hz",
                "format": form,
                "rate_hz": rate_hz,
                "steady": round(statistics.median(run["steady"] for run in mine), 1),
                "end_to_end": round(statistics.median(run["x_realtime"] for run in mine), 1),
                "share_of_native": round(statistics.median(shares), 3),
                "stage_shares": medians([run["stage_shares"] for run in mine]),
            }
        )
    return rows
