"""Train a probe from what a store knows, and keep it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pyarrow.compute as pc

from probes import Examples
from probes.experiment import Experiment
from probes.experiment_files import experiment_yaml
from probes.parting import Sides
from probes.training import Trained, train
from search_api.locating import Locator
from search_api.probes.held_out import TEST, TRAIN, sides_table
from search_api.probes.labels import Labelled, annotated_examples
from search_api.probes.sound import with_snr
from search_api.probes.versions import examples_table, save_trained
from store import Archive, open_archive
from store.probes import ProbeStore, check_name

Progress = Callable[[str, int, int], None]
_THREADS_MAX = 4


def train_probe(
    root: str,
    experiment: Experiment,
    *,
    weights: str | None = None,
    snr: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train a probe on a store's annotations, or on a folder of clips, and keep it as a new version.

    Parameters
    ----------
    root : str
        The store.
    experiment : Experiment
    weights : str, optional
        Local copy of the model's weights, for clips.
    snr : bool
        Read the sound of judged windows, so that the report tells how good the probe is by signal over noise.
    progress : callable, optional
        Called with (stage, done, all): ``clips``, ``examples``, ``training``.

    Returns
    -------
    dict
        ``name``, ``version``, ``in_use`` (the version that is), ``seconds``, ``report``. The first version of a probe is in use at once.

    Raises
    ------
    NotFound, Invalid, Conflict
        See :func:`search_api.probes.labels.annotated_examples`, :func:`search_api.probes.clip_folders.clip_examples` and
        :func:`probes.training.train`.
    """
    began = time.perf_counter()
    check_name(experiment.name)
    with open_archive(root) as archive:
        labelled = gather(archive, experiment, weights=weights, progress=progress)
        if progress:
            progress("training", 0, 1)
        examples: Examples = labelled.examples
        told: list[str] = []
        if snr:
            examples, told = with_snr(examples, Locator.of(root))
        trained = train(
            examples, experiment, archive.config.model, _sides(root, experiment.name), sound_s=sound_s(archive)
        )
        trained.report["notes"] = [*labelled.notes, *told, *trained.report["notes"]]
        version = keep(archive, trained, experiment)
    return {
        "name": experiment.name,
        "version": version,
        "in_use": ProbeStore(root).in_use(experiment.name),
        "seconds": round(time.perf_counter() - began, 3),
        "report": {**trained.report, "version": version},
    }


def sound_s(archive: Archive) -> float:
    """Return the seconds of recording that a window stands for: the hop, where windows overlap."""
    rule = archive.config.windows
    return min(rule.window_s, rule.seconds(rule.hop_samples))


def _sides(root: str, name: str) -> Sides | None:
    """Return the recordings of the version in use, by side; None if there is none, or it was brought from elsewhere."""
    version = ProbeStore(root).in_use(name)
    table = None if version is None else sides_table(root, name, version)
    if table is None:
        return None
    of = [frozenset(table.filter(pc.equal(table["side"], s))["recording_id"].to_pylist()) for s in (TRAIN, TEST)]
    return Sides(*of)


def gather(
    archive: Archive, experiment: Experiment, *, weights: str | None = None, progress: Progress | None = None
) -> Labelled:
    """Return the examples that an experiment means."""
    if progress:
        progress("examples", 0, 1)
    if experiment.examples.source == "annotations":
        return annotated_examples(archive, experiment)
    from embedder.choosing import load_like
    from search_api.probes.clip_folders import clip_examples

    model = load_like(archive.config.model, weights=weights, threads=min(_THREADS_MAX, os.cpu_count() or 1))

    def told(done: int, total: int) -> None:
        if progress:
            progress("clips", done, total)

    return clip_examples(archive, experiment, model, told)


def keep(archive: Archive, trained: Trained, experiment: Experiment) -> int:
    """Store a training as a new version; the first one is in use at once."""
    sides = examples_table(trained.train, trained.test)
    return save_trained(archive.root, trained.probe, trained.report, experiment_yaml(experiment), sides)
