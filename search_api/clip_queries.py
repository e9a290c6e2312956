"""A clip as query vectors: through the same decoding, windows and model as the archive's recordings."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from embedder.choosing import load_like
from embedder.models import Embedder
from embedder.pipeline import AudioFile, DecodeStalled, EmbedPipeline, FileEnd, Rows, merge_rows
from search_api.clip_rules import WINDOWS_MAX, clip_notes, require_range, seconds_text, too_many, too_short
from search_api.clip_sound import ClipWindows, open_clip
from search_api.queries import Query, QueryWindow
from sonotheque.core.errors import Conflict, Invalid, NotFound, Unavailable
from sonotheque.core.model_spec import ModelSpec
from sonotheque.core.outcome import DecodeSummary, Outcome, Status
from store import Archive, StoreConfig

_STALL_S = 60.0
_THREADS_MAX = 4
_FLAGS: Final = ("--from-s", "--to-s")


def clip_query(
    archive: Archive,
    path: str,
    *,
    from_s: float | None = None,
    to_s: float | None = None,
    weights: str | None = None,
    model: Embedder | None = None,
) -> Query:
    """Return the windows of a sound file as a query.

    Parameters
    ----------
    archive : Archive
    path : str
        Of a sound file.
    from_s, to_s : float, optional
        Only this range; windows begin at its start. A range shorter than a window means the window at its start.
    weights : str, optional
        Local copy of the model's weights.
    model : Embedder, optional
        The store's model, if it is loaded already.

    Raises
    ------
    NotFound
        If there is no such file, or no such model.
    Invalid
        If it cannot be decoded (kind ``unsupported_audio``), is too short, or the range cannot be.
    Limit
        If it has more than 1,000 windows.
    Conflict
        Kind ``model_conflict``: the weights here are not those that the store was made with; both are named.
    """
    _require_file(path)
    require_range(path, from_s, to_s, _FLAGS)
    config = archive.config
    model = model or load_like(config.model, weights=weights, threads=min(_THREADS_MAX, os.cpu_count() or 1))
    notes = require_model(model, archive)
    windows = open_clip(path, config.windows, name=path, channels=config.decode["channels"], from_s=from_s, to_s=to_s)
    rows, summary = _embedded(model, config, path, windows)
    found = clip_windows(config, rows.start_samples, rows.valid_samples, windows.first_s)
    name = Path(path).name
    notes += [*windows.notes, *clip_notes(name, summary), *([model.note] if model.note else [])]
    ranged = windows.left_s is not None
    return query_of_clip(config, name, rows.embeddings, found, path=path, ranged=ranged, notes=notes)


def query_of_clip(
    config: StoreConfig,
    name: str,
    vectors: NDArray[np.float32],
    windows: tuple[QueryWindow, ...],
    *,
    path: str | None,
    ranged: bool,
    notes: Sequence[str],
) -> Query:
    """Return the query of a clip's windows; ``vectors`` is float32, (n, dim), of n windows."""
    what = "1 window" if len(windows) == 1 else f"{len(windows):,} windows"
    where = f" from {seconds_text(windows[0].start_s)} s on" if ranged else ""
    about = f"{what} of {name}{where}, {config.model.name}"
    return Query("clip", path or name, vectors, windows, config.model, path, None, about, tuple(notes))


def clip_windows(
    config: StoreConfig, start_samples: NDArray[np.int64], valid_samples: NDArray[np.int64], first_s: float
) -> tuple[QueryWindow, ...]:
    """Return where windows lie in a clip, given their starts and sound in samples, each int64 (n,), counted from ``first_s``."""
    rule = config.windows
    starts_s = [first_s + rule.seconds(int(start)) for start in start_samples]
    valid_s = [rule.seconds(int(valid)) for valid in valid_samples]
    return tuple(QueryWindow(a, a + rule.window_s, v) for a, v in zip(starts_s, valid_s, strict=True))


def require_model(model: Embedder, archive: Archive) -> list[str]:
    """Raise Conflict, naming both, unless a model is the one that a store was made with; see :func:`compare_models`."""
    return compare_models(model.spec, archive.config.model, archive.root)


def compare_models(mine: ModelSpec, theirs: ModelSpec, root: str) -> list[str]:
    """Raise Conflict, naming both, unless a model here is the one that a store was made with.

    Returns
    -------
    list of str
        A note where that cannot be known: other programs' databases do not say which weights their vectors were made with.
    """
    shape = (theirs.name, theirs.dim, theirs.sample_rate_hz, theirs.window_samples)
    if theirs.weights_digest == "unknown" and shape == (mine.name, mine.dim, mine.sample_rate_hz, mine.window_samples):
        return [
            f"{root} was imported and does not say which weights of {theirs.name} its vectors were made with; the clip was embedded "
            f"with {mine.version} ({mine.weights_digest[:12]})"
        ]
    if mine != theirs:
        raise Conflict(
            f"the {mine.name} {mine.version} here (weights {mine.weights_digest[:12]}) is not the one that {root} was made with, "
            f"{theirs.name} {theirs.version} (weights {theirs.weights_digest[:12]}): their vectors cannot be compared. "
            "Give the store's weights with --weights",
            kind="model_conflict",
        )
    return []


def largest_kept(config: StoreConfig) -> float:
    """Return the largest absolute value that a store's vectors can hold."""
    return float(np.finfo(np.float16).max) if config.dtype == "float16" else math.inf


def refusal(
    name: str, config: StoreConfig, summary: DecodeSummary | None, ranged: tuple[float, float] | None = None
) -> Invalid | Unavailable:
    """Return the error of a clip that gave no vector.

    Parameters
    ----------
    name : str
        What the clip is called.
    config : StoreConfig
    summary : DecodeSummary or None
        What decoding found.
    ranged : (float, float), optional
        Where the range began, and seconds of sound from there on.
    """
    if summary is None:
        return Invalid(f"{name} gave no windows")
    if summary.outcome is Outcome.DONE or summary.status is Status.TOO_SHORT:
        if ranged is None:
            return too_short(name, config.model.name, config.windows, summary.duration_s)
        where = f" from {seconds_text(ranged[0])} s on"
        if summary.status is Status.ZERO_TAIL:
            return Invalid(f"{name} is digital silence{where}: there is nothing to search with")
        return too_short(name, config.model.name, config.windows, ranged[1], where)
    if summary.status in (Status.IO_ERROR, Status.CHANGED, Status.VANISHED):
        return Unavailable(f"{name} could not be read: {summary.status}: {summary.reason}")
    kind = "unsupported_audio" if summary.status is Status.UNREADABLE else "invalid"
    return Invalid(f"{name} cannot be searched with: {summary.status}: {summary.reason}", kind=kind)


def _require_file(path: str) -> None:
    if os.path.isdir(path):
        raise Invalid(f"{path} is a folder; a query is one sound file")
    if not os.path.exists(path):
        raise NotFound(f"there is no file {path}")


def _embedded(model: Embedder, config: StoreConfig, path: str, windows: ClipWindows) -> tuple[Rows, DecodeSummary]:
    pipeline = EmbedPipeline(
        model,
        config.windows,
        top_k=0,
        largest=largest_kept(config),
        stall_s=_STALL_S,
        opened=lambda _: windows,
    )
    rows: list[Rows] = []
    summary: DecodeSummary | None = None
    try:
        for item in pipeline.run([AudioFile(path)]):
            if isinstance(item, FileEnd):
                summary = item.summary
            else:
                rows.append(item)
                if sum(len(r.start_samples) for r in rows) > WINDOWS_MAX:
                    raise too_many(path, config.windows.window_s, _FLAGS)
    except DecodeStalled as stalled:
        raise Invalid(f"{path}: the decoder made no progress for {_STALL_S:g} s") from stalled
    if summary is None or not rows or summary.outcome is not Outcome.DONE:
        ranged = None if windows.left_s is None else (windows.first_s, windows.left_s)
        raise refusal(path, config, summary, ranged)
    return merge_rows(rows), summary
