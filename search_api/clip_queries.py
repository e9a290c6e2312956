"""A clip as query vectors: through the same decoding, windows and model as the archive's recordings."""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path

import numpy as np
import soundfile as sf

from embedder.models import Embedder, load_model
from embedder.pipeline import AudioFile, DecodeStalled, EmbedPipeline, FileEnd, Rows, merge_rows
from search_api.cutting import CLIP_S_MAX, Sound, cut_spans
from search_api.queries import WINDOWS_MAX, Query, QueryWindow, seconds_text
from sonotheque.core.errors import Conflict, Damaged, Invalid, Limit, NotFound, Unavailable
from sonotheque.core.outcome import DecodeSummary, Outcome, Status
from store import Archive, StoreConfig

_STALL_S = 60.0
_THREADS_MAX = 4
_MARGIN_S = 0.1  # a resampler's filter reaches less far


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
        If it cannot be decoded, is too short, or the range cannot be.
    Limit
        If it has more than 1,000 windows.
    Conflict
        Kind ``model_conflict``: the weights here are not those that the store was made with; both are named.
    """
    _require_file(path)
    _require_range(path, from_s, to_s)
    config = archive.config
    model = model or load_model(config.model.name, weights=weights, threads=min(_THREADS_MAX, os.cpu_count() or 1))
    notes = require_model(model, archive)
    if from_s is None and to_s is None:
        rows, summary = _embedded(model, config, path, path)
        first_s = 0.0
    else:
        rows, summary, first_s, told = _range_embedded(model, config, path, from_s or 0.0, to_s)
        notes += told
    windows = _windows(config, rows, first_s)
    name = Path(path).name
    what = "1 window" if len(windows) == 1 else f"{len(windows):,} windows"
    ranged = "" if from_s is None and to_s is None else f" from {seconds_text(windows[0].start_s)} s on"
    return Query(
        "clip",
        path,
        rows.embeddings,
        windows,
        config.model,
        path,
        None,
        f"{what} of {name}{ranged}, {config.model.name}",
        (*notes, *_notes(name, summary), *([model.note] if model.note else [])),
    )


def require_model(model: Embedder, archive: Archive) -> list[str]:
    """Raise Conflict, naming both, unless a model is the one that a store was made with.

    Returns
    -------
    list of str
        A note where that cannot be known: other programs' databases do not say which weights their vectors were made with.
    """
    mine, theirs = model.spec, archive.config.model
    shape = (theirs.name, theirs.dim, theirs.sample_rate_hz, theirs.window_samples)
    if theirs.weights_digest == "unknown" and shape == (mine.name, mine.dim, mine.sample_rate_hz, mine.window_samples):
        return [
            f"{archive.root} was imported and does not say which weights of {theirs.name} its vectors were made with; the clip was embedded "
            f"with {mine.version} ({mine.weights_digest[:12]})"
        ]
    if mine != theirs:
        raise Conflict(
            f"the {mine.name} {mine.version} here (weights {mine.weights_digest[:12]}) is not the one that {archive.root} was made with, "
            f"{theirs.name} {theirs.version} (weights {theirs.weights_digest[:12]}): their vectors cannot be compared. "
            "Give the store's weights with --weights",
            kind="model_conflict",
        )
    return []


def _require_file(path: str) -> None:
    if os.path.isdir(path):
        raise Invalid(f"{path} is a folder; a query is one sound file")
    if not os.path.exists(path):
        raise NotFound(f"there is no file {path}")


def _require_range(path: str, from_s: float | None, to_s: float | None) -> None:
    begin = from_s or 0.0
    if not (math.isfinite(begin) and begin >= 0):
        raise Invalid(f"--from-s {begin:g}: expected seconds from the start of {path}, 0 or more")
    if to_s is not None and not (math.isfinite(to_s) and to_s > begin):
        raise Invalid(f"the range of {path} ends at {to_s:g} s and begins at {begin:g} s: it has no length")


def _windows(config: StoreConfig, rows: Rows, first_s: float) -> tuple[QueryWindow, ...]:
    rule = config.windows
    starts_s = [first_s + rule.seconds(int(start)) for start in rows.start_samples]
    valid_s = [rule.seconds(int(valid)) for valid in rows.valid_samples]
    return tuple(QueryWindow(a, a + rule.window_s, v) for a, v in zip(starts_s, valid_s, strict=True))


def _range_embedded(
    model: Embedder, config: StoreConfig, path: str, from_s: float, to_s: float | None
) -> tuple[Rows, DecodeSummary, float, list[str]]:
    """Return the windows from ``from_s`` on, numbered from there, and where they begin in the clip.

    The sound before and after the range goes through the resampler too: cut off first, a window would begin and end with a click that
    the archive's windows do not have (and of a quiet recording at another rate BirdNET hears it: cosine 0.990 instead of 1).
    """
    rule = config.windows
    window_s, hop_s = rule.window_s, rule.seconds(rule.hop_samples)
    lead_s = hop_s * math.ceil(_MARGIN_S / hop_s)
    notes = []
    count = None
    if to_s is not None:
        if to_s - from_s < window_s:
            notes.append(
                f"the range is {seconds_text(to_s - from_s)} s, a window {seconds_text(window_s)} s: the window at its start was taken"
            )
        count = max(1, rule.count(round((to_s - from_s) * rule.sample_rate_hz * rule.rate_factor)))
    end = from_s + CLIP_S_MAX - lead_s if count is None else from_s + (count - 1) * hop_s + window_s + _MARGIN_S
    sound = _range(path, from_s, (max(0.0, from_s - lead_s), end))
    if count is None and sound.end_s >= end:
        raise Invalid(f"{path} goes on for more than {end - from_s:g} s after {from_s:g} s: add --to-s")
    if to_s is not None and sound.end_s < to_s - 1 / sound.sample_rate_hz:
        notes.append(f"the range ends at {seconds_text(to_s)} s, the sound already at {seconds_text(sound.end_s)} s")
    lead = round(lead_s * sound.sample_rate_hz)
    before = lead - (round(from_s * sound.sample_rate_hz) - round(sound.start_s * sound.sample_rate_hz))
    with tempfile.TemporaryDirectory(prefix="sonotheque-") as folder:
        file = f"{folder}/range.wav"
        subtype = "PCM_32" if sound.samples.dtype == np.int32 else "FLOAT"
        try:
            # Zeros are what the resampler takes to lie before a file's first sample.
            samples = np.pad(sound.samples, ((before, 0), (0, 0)))
            sf.write(file, samples, sound.sample_rate_hz, format="WAV", subtype=subtype)
        except (OSError, sf.LibsndfileError) as error:
            raise Unavailable(f"the range of {path} could not be written to {folder}: {error}") from error
        rows, summary = _embedded(model, config, path, file)
    first = round(lead_s / hop_s) * rule.hop_samples
    keep = rows.start_samples >= first
    if count is not None:
        keep &= rows.start_samples < first + count * rule.hop_samples
    if not keep.any():
        left_s = max(0.0, sound.end_s - from_s)
        raise _too_short(path, config, left_s, f" from {seconds_text(from_s)} s on")
    kept = Rows(0, rows.start_samples[keep] - first, rows.valid_samples[keep], rows.embeddings[keep], None, None, None)
    return kept, summary, from_s, notes


def _range(path: str, from_s: float, span: tuple[float, float]) -> Sound:
    try:
        _, sound = next(cut_spans(path, [span]))
    except Damaged as error:
        raise Invalid(f"{path} cannot be searched with: {error.message}") from error
    if isinstance(sound, Damaged):
        raise Invalid(f"{path} has no sound from {seconds_text(from_s)} s on: {sound.message}")
    if sound.end_s <= from_s:
        raise Invalid(f"{path} has no sound from {seconds_text(from_s)} s on: it ends at {seconds_text(sound.end_s)} s")
    return sound


def _embedded(model: Embedder, config: StoreConfig, path: str, file: str) -> tuple[Rows, DecodeSummary]:
    largest = float(np.finfo(np.float16).max) if config.dtype == "float16" else math.inf
    pipeline = EmbedPipeline(
        model, config.windows, top_k=0, largest=largest, channels=config.decode["channels"], stall_s=_STALL_S
    )
    rows: list[Rows] = []
    summary: DecodeSummary | None = None
    try:
        for item in pipeline.run([AudioFile(file)]):
            if isinstance(item, FileEnd):
                summary = item.summary
            else:
                rows.append(item)
                if sum(len(r.start_samples) for r in rows) > WINDOWS_MAX:
                    raise Limit(
                        f"{path} has more than {WINDOWS_MAX:,} windows of {config.windows.window_s:g} s: pick a range with --from-s and --to-s"
                    )
    except DecodeStalled as stalled:
        raise Invalid(f"{path}: the decoder made no progress for {_STALL_S:g} s") from stalled
    if summary is None or not rows or summary.outcome is not Outcome.DONE:
        raise _refusal(path, config, summary)
    return merge_rows(rows), summary


def _refusal(path: str, config: StoreConfig, summary: DecodeSummary | None) -> Invalid | Unavailable:
    if summary is None:
        return Invalid(f"{path} gave no windows")
    if summary.status is Status.TOO_SHORT:
        return _too_short(path, config, summary.duration_s)
    if summary.status in (Status.IO_ERROR, Status.CHANGED, Status.VANISHED):
        return Unavailable(f"{path} could not be read: {summary.status}: {summary.reason}")
    return Invalid(f"{path} cannot be searched with: {summary.status}: {summary.reason}")


def _too_short(path: str, config: StoreConfig, found_s: float, where: str = "") -> Invalid:
    least_s = config.windows.seconds(config.windows.valid_samples_min)
    return Invalid(
        f"{path} holds {found_s:.3f} s of sound{where}; a query needs at least {least_s:g} s "
        f"(a window of {config.model.name} is {config.windows.window_s:g} s)"
    )


def _notes(name: str, summary: DecodeSummary) -> list[str]:
    if summary.status is Status.SILENT:
        return [f"{name} is digital silence: what is nearest to it is silence too, and says nothing of any sound"]
    return [f"{name}: {summary.status}: {summary.reason}"] if summary.status is not Status.OK else []
