"""Trying the ways to run a model against the reference and against each other, in turn, each in a process of its own."""

from __future__ import annotations

import statistics
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedder.choosing.candidates import Candidate, reference_of
from embedder.choosing.child import Child
from embedder.choosing.records import FAILED, RAN, REFUSED, Measured
from embedder.models.hub import is_hub_address
from embedder.models.registry import model_info
from sonotheque.core.errors import SonothequeError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from embedder.models.base import Embedded

ROUNDS = 5
ROUND_S = 0.4  # of one candidate; at least one batch
LOAD_TIMEOUT_S = 600.0  # a network of 400 MB from a slow disk, cut and compiled
ROUND_TIMEOUT_S = 120.0


def survey(
    name: str,
    weights: str | None,
    tried: Sequence[Candidate],
    *,
    logits: bool = True,
    threads: int = 1,
    tell: Callable[[str], None] | None = None,
    frames: NDArray[np.float32] | None = None,
) -> tuple[Measured, ...]:
    """Try candidates: compare each with the reference, then time all of them in alternating rounds.

    Alternating, because a machine is rarely as fast in one minute as in the next, and what slows it down then slows all
    alike. All candidates are in memory at once.

    Parameters
    ----------
    name, weights, threads
        As for :func:`embedder.models.load_model`.
    tried : sequence of Candidate
        In any order; refused ones are passed through.
    logits : bool
        Whether predictions are wanted: without them the label head is not run, and not compared.
    tell : callable, optional
        Is told what is being done.
    frames : NDArray[np.float32], optional
        float32 (n, window_samples), what to compare on; by default :func:`embedder.choosing.windows.check_windows`.

    Returns
    -------
    tuple of Measured
        In the order of ``tried``.

    Raises
    ------
    SonothequeError
        The reference cannot be run; with what it raised.
    """
    tell = tell or _nothing
    runnable = [c for c in tried if not c.refusal]
    found = {c: Measured(c.engine, c.precision, REFUSED, c.refusal) for c in tried if c.refusal}
    with tempfile.TemporaryDirectory(prefix="sonotheque-engines-") as folder, ExitStack() as stack:
        bench = _Bench(name, weights, logits, threads, Path(folder))
        bench.write(frames)
        if runnable:
            bench.fetch()
            tell(f"{name}: the reference runs")
            reference = bench.reference(reference_of(name, weights))
        children: dict[Candidate, Child] = {}
        for candidate in runnable:
            tell(f"{name}: {candidate.name} is loaded and compared")
            child = stack.enter_context(Child(candidate.name, Path(folder) / f"{candidate.name}.log"))
            found[candidate] = bench.compared(candidate, child, reference)
            if found[candidate].state == RAN:
                children[candidate] = child
            else:
                child.close()
        if children:
            tell(f"{name}: {', '.join(c.name for c in children)} are timed in turn")
        found.update(_timed(children, found))
    return tuple(found[candidate] for candidate in tried)


def _nothing(text: str) -> None:
    """Tell nobody."""


class _Bench:
    """What all candidates of one survey share."""

    def __init__(self, name: str, weights: str | None, logits: bool, threads: int, folder: Path) -> None:
        self._name, self._weights, self._logits, self._threads = name, weights, logits, threads
        self._folder = folder

    def fetch(self) -> None:
        """Download what is named on the hub, if it is not here yet: here, because a child's time to load is limited."""
        from embedder.models.onnx_files import find_onnx

        if self._weights is not None and is_hub_address(self._weights):
            find_onnx(self._weights)

    def write(self, frames: NDArray[np.float32] | None) -> None:
        """Put the windows where every process reads them."""
        import numpy as np

        from embedder.choosing.windows import check_windows

        info = model_info(self._name)
        windows = check_windows(info.sample_rate_hz, info.window_samples) if frames is None else frames
        np.save(self._folder / "frames.npy", windows)

    def reference(self, natural: Candidate) -> Embedded:
        """Return what the model says where nothing of it is replaced: as published, at full precision."""
        with Child(f"the reference, {natural.name}", self._folder / "reference.log") as child:
            self._start(child, natural, whole=True)
        return self._answers()

    def compared(self, candidate: Candidate, child: Child, reference: Embedded) -> Measured:
        """Load a candidate and hold what it says against the reference."""
        from embedder.choosing.fidelity import compare_results

        failed = Measured(candidate.engine, candidate.precision, FAILED)
        try:
            answer = self._start(child, candidate)
            fidelity = compare_results(reference, self._answers())
        except SonothequeError as error:
            return replace(failed, reason=error.message)
        if answer["precision"] != candidate.precision:
            return replace(failed, reason=f"it really runs in {answer['precision']}")
        return replace(
            failed,
            state=RAN,
            fidelity=fidelity,
            load_s=answer["load_s"],
            rss_mib=answer["rss_mib"],
            window_s=answer["window_s"],
            runtime=answer["runtime"],
            device=answer["device"],
        )

    def _start(self, child: Child, candidate: Candidate, whole: bool = False) -> dict[str, Any]:
        request = {
            "name": self._name,
            "weights": self._weights,
            "threads": self._threads,
            "engine": candidate.engine,
            "precision": candidate.precision,
            "logits": self._logits,
            "whole": whole,
            "frames": str(self._folder / "frames.npy"),
            "answers": str(self._folder / "answers.npz"),
        }
        return child.ask(request, LOAD_TIMEOUT_S)

    def _answers(self) -> Embedded:
        import numpy as np

        from embedder.models.base import Embedded

        with np.load(self._folder / "answers.npz") as arrays:
            return Embedded(arrays["embeddings"], arrays.get("logits"))


def _timed(children: dict[Candidate, Child], found: dict[Candidate, Measured]) -> dict[Candidate, Measured]:
    """Return the records with their medians; one that fails while it is timed becomes a failure."""
    rounds: dict[Candidate, list[dict[str, Any]]] = {candidate: [] for candidate in children}
    failed: dict[Candidate, Measured] = {}
    for _ in range(ROUNDS):
        for candidate in [c for c in children if c not in failed]:
            try:
                rounds[candidate].append(children[candidate].ask({"seconds": ROUND_S}, ROUND_TIMEOUT_S))
            except Unavailable as error:
                failed[candidate] = Measured(candidate.engine, candidate.precision, FAILED, error.message)
    timed = {
        candidate: replace(
            found[candidate],
            cpu_ms=statistics.median(r["cpu_ms"] for r in answers),
            wall_ms=statistics.median(r["wall_ms"] for r in answers),
            rss_mib=max(r["rss_mib"] for r in answers),
        )
        for candidate, answers in rounds.items()
        if candidate not in failed
    }
    return {**timed, **failed}
