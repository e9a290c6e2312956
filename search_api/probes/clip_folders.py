"""A folder of clips, one folder a class, as examples.

Conventions are BirdNET-Analyzer's: a comma in a folder's name means several classes; a leading ``-`` means that the class is not heard;
``Noise``, ``Background``, ``Other`` and ``Silence`` hold none of them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from embedder.audio import AUDIO_EXTENSIONS
from embedder.models import Embedder
from probes import Examples
from probes.examples import join
from probes.experiment import Experiment
from search_api.clip_queries import clip_query
from search_api.probes.labels import Labelled, examples_of, weak_negatives
from sonotheque.core.errors import Invalid, Limit, NotFound, Unavailable
from sonotheque.core.ids import recording_id
from sonotheque.core.suggest import did_you_mean
from store import Archive

NOTHING: Final = ("noise", "background", "other", "silence")
SITE: Final = "clips"
Progress = Callable[[int, int], None]


def clip_examples(
    archive: Archive, experiment: Experiment, model: Embedder, progress: Progress | None = None
) -> Labelled:
    """Return the windows of the clips in an experiment's folder, and weak negatives from the archive.

    Every window of a clip is an example of its class. A clip that cannot be read is told of and left out.

    Raises
    ------
    NotFound
        If there is no such folder, or no folder for a class that was asked for.
    Invalid
        If the folder holds no clips in folders.
    Conflict
        If the model is not the store's.
    """
    root = Path(experiment.examples.clips or "")
    if not root.is_dir():
        raise NotFound(f"there is no folder {root}")
    files = _files(root)
    if not files:
        raise Invalid(
            f"{root} holds no sound files in folders; expected one folder a class, as in {root}/Strix aluco/1.wav"
        )
    classes = _classes(files, experiment, root)
    parts, notes, failed = [], [], []
    for done, (file, folder) in enumerate(files):
        if progress:
            progress(done, len(files))
        try:
            query = clip_query(archive, str(file), model=model)
            name = file.relative_to(root).as_posix()
            parts.append(_examples(query.vectors, query.windows, name, folder, classes, experiment, archive))
        except (Invalid, Limit, Unavailable) as error:
            failed.append(f"{file.relative_to(root)}: {error.message}")
    if progress:
        progress(len(files), len(files))
    if not parts:
        raise Invalid(f"none of the {len(files):,} clips in {root} could be read; the first: {failed[0]}")
    if failed:
        notes.append(
            f"{len(failed):,} of {len(files):,} clips could not be read, and were left out: {'; '.join(failed[:3])}"
        )
    weak = weak_negatives(archive, experiment)
    if weak.num_rows:
        shape = (weak.num_rows, len(classes))
        drawn, wrong = examples_of(archive, weak, classes, np.zeros(shape), np.full(shape, experiment.negatives.weight))
        parts.append(drawn)
        notes += wrong
        notes.append(
            f"{weak.num_rows:,} windows without annotations stand as weak negatives, weight {experiment.negatives.weight:g}"
        )
    return Labelled(join(parts), notes)


def _files(root: Path) -> list[tuple[Path, str]]:
    return [
        (file, folder.name)
        for folder in sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in AUDIO_EXTENSIONS and not file.name.startswith(".") and file.is_file()
    ]


def _named(folder: str) -> list[str]:
    return [part.strip() for part in folder.split(",") if part.strip()]


def _classes(files: list[tuple[Path, str]], experiment: Experiment, root: Path) -> tuple[str, ...]:
    heard = {n for _, folder in files for n in _named(folder) if not n.startswith("-") and n.lower() not in NOTHING}
    for name in experiment.classes:
        if name not in heard:
            raise NotFound(f"{root} has no folder {name!r}; {did_you_mean(name, heard)}")
    if not heard:
        raise Invalid(f"{root} has no folder of a class: only {', '.join(sorted({f for _, f in files}))}")
    return experiment.classes or tuple(sorted(heard))


def _examples(
    vectors: Any,
    windows: Any,
    path: str,
    folder: str,
    classes: tuple[str, ...],
    experiment: Experiment,
    archive: Archive,
) -> Examples:
    n, rate = len(vectors), archive.config.windows.sample_rate_hz * archive.config.windows.rate_factor
    names = _named(folder)
    target = np.array([float(c in names) for c in classes], np.float32)
    weight = np.full(len(classes), experiment.negatives.weight, np.float32)
    weight[target > 0] = 1.0
    if (experiment.kind == "multiclass" and target.sum() == 1) or any(name.lower() in NOTHING for name in names):
        weight[:] = 1.0
    weight[[i for i, c in enumerate(classes) if f"-{c}" in names]] = 1.0
    starts = np.array([w.start_s for w in windows])

    def same(text: str) -> Any:
        return np.array([text] * n, object)

    return Examples(
        classes,
        np.asarray(vectors, np.float32),
        np.tile(target, (n, 1)),
        np.tile(weight, (n, 1)),
        np.full(n, recording_id(f"clips/{path}"), np.int64),
        np.round(starts * rate).astype(np.int64),
        same(path),
        same(SITE),
        same(""),
        np.full(n, -1, np.int16),
        np.full(n, np.nan, np.float32),
        starts,
        np.array([w.end_s for w in windows]),
    )
