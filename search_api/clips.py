"""Audio clips of windows: cut from the recordings, named so that a folder sorts by rank, with a table of which is what."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa
import soundfile as sf

from search_api.cutting import Sound, cut_spans
from search_api.locating import Locator
from sonotheque.core.errors import Damaged, Invalid, NotFound
from sonotheque.core.formulas import inert_value
from store.formats.text import safe_name
from store.formats.whole import MARK, whole_files, whole_folder

FORMS: Final = ("wav", "flac")
MARGIN_S_MAX: Final = 240.0
CLIPS_CSV: Final = (
    "clip",
    "rank",
    "path",
    "site",
    "deployment",
    "clip_start_s",
    "clip_end_s",
    "window_start_s",
    "window_end_s",
    "local_start",
    "utc_start",
    "label",
    "score",
    "sample_rate_hz",
    "channels",
)
FAILURES_CSV: Final = ("rank", "path", "window_start_s", "window_end_s", "reason")
Progress = Callable[[int, int], None]  # clips done, clips in all

_SUBTYPES: Final = {
    "wav": {"PCM_24": "PCM_24", "PCM_32": "PCM_32", "FLOAT": "FLOAT", "DOUBLE": "FLOAT"},
    "flac": {"PCM_24": "PCM_24", "PCM_32": "PCM_24", "FLOAT": "PCM_24", "DOUBLE": "PCM_24"},
}


@dataclass(slots=True)
class ClipsReport:
    """What became of the clips.

    Attributes
    ----------
    clips : list of dict
        ``CLIPS_CSV``, by rank.
    failures : list of dict
        ``FAILURES_CSV``, by rank.
    """

    clips: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Wanted:
    rank: int
    row: dict[str, Any]
    span: tuple[float, float]


class _Sink(Protocol):
    def add(self, name: str, data: bytes, *, pack: bool) -> None:
        """Take one file."""


def write_clips(
    rows: pa.Table,
    target: Path,
    locator: Locator,
    *,
    form: str = "wav",
    margin_s: float = 0.0,
    overwrite: bool = False,
    about: dict[str, Any] | None = None,
    progress: Progress | None = None,
) -> ClipsReport:
    """Cut a clip for each row of a table; the first row has rank 1.

    Parameters
    ----------
    rows : pyarrow.Table
        ``path``, ``start_s``, ``end_s``; and as far as there: ``site``, ``deployment``, ``label``, ``score``,
        ``local_start``, ``utc_start``, ``size_bytes`` of the recording when it was embedded.
    target : Path
        A new folder, or a new ZIP if it ends in ``.zip``. Clips, ``clips.csv``, and ``failures.csv`` if some failed.
    locator : Locator
    form : str
        ``wav`` or ``flac``: at the recording's rate, with its channels; whole numbers stay whole numbers.
    margin_s : float
        Of sound before and after the window, as far as there is.
    overwrite : bool
    about : dict, optional
        What the clips are of, for the folder's own note.
    progress : callable, optional

    Returns
    -------
    ClipsReport
        A recording that is missing or damaged is a failure of its clips; the others go on.

    Raises
    ------
    Invalid
        If the form or the margin cannot be.
    NotFound
        If there is none of the folders of recordings.
    Conflict, Unavailable
        If the target cannot be written.
    """
    if form not in FORMS:
        raise Invalid(f"clips as {form!r}: expected {' or '.join(FORMS)}")
    if not 0 <= margin_s <= MARGIN_S_MAX:
        raise Invalid(f"margin {margin_s:g} s: expected 0 to {MARGIN_S_MAX:g}")
    locator.require_there()
    wanted = [
        _Wanted(rank, row, (max(0.0, row["start_s"] - margin_s), row["end_s"] + margin_s))
        for rank, row in enumerate(rows.to_pylist(), 1)
    ]
    report = ClipsReport()
    told = {**(about or {}), "format": form, "margin_s": margin_s}
    with _sink(target, told, overwrite=overwrite) as sink:
        for one, found in _sounds(wanted, locator):
            if isinstance(found, Sound):
                _add(report, sink, one, found, form)
            else:
                report.failures.append(_failure(one, found))
            if progress:
                progress(len(report.clips) + len(report.failures), len(wanted))
        report.clips.sort(key=lambda clip: clip["rank"])
        report.failures.sort(key=lambda failure: failure["rank"])
        sink.add("clips.csv", _csv(CLIPS_CSV, report.clips), pack=True)
        if report.failures:
            sink.add("failures.csv", _csv(FAILURES_CSV, report.failures), pack=True)
    return report


def clip_name(rank: int, row: dict[str, Any], start_s: float, end_s: float, form: str) -> str:
    """Return a clip's name: rank, score, site, recording and place in it; safe on any file system, and unique by its rank."""
    stem = row["path"].rsplit("/", 1)[-1].rpartition(".")[0] or row["path"].rsplit("/", 1)[-1]
    score = row.get("score")
    parts = [
        f"{rank:04d}",
        *([] if score is None else [f"{score:.3f}"]),
        *([safe_name(row["site"], bytes_max=60)] if row.get("site") else []),
        safe_name(stem, bytes_max=100),
        f"{_seconds(start_s)}s-{_seconds(end_s)}s",
    ]
    return f"{'_'.join(parts)}.{form}"


def _seconds(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _sounds(
    wanted: Sequence[_Wanted], locator: Locator
) -> Iterator[tuple[_Wanted, Sound | Damaged | NotFound | Invalid]]:
    """Yield each wanted clip with its sound or why there is none; a recording is opened once for all its clips."""
    by_path: dict[str, list[_Wanted]] = {}
    for one in wanted:
        by_path.setdefault(one.row["path"], []).append(one)
    for path in sorted(by_path):
        group = by_path[path]
        missing = set(range(len(group)))
        try:
            where = locator.find(path)
            for index, sound in cut_spans(
                where, [one.span for one in group], size_bytes=group[0].row.get("size_bytes")
            ):
                missing.discard(index)
                yield group[index], sound
        except (Damaged, NotFound, Invalid) as error:
            for index in sorted(missing):
                yield group[index], error


def _add(report: ClipsReport, sink: _Sink, one: _Wanted, sound: Sound, form: str) -> None:
    name = clip_name(one.rank, one.row, sound.start_s, sound.end_s, form)
    try:
        data = encoded(sound, form)
    except Damaged as error:
        report.failures.append(_failure(one, error))
        return
    sink.add(name, data, pack=form == "wav")
    row = one.row
    values = {
        "clip": name,
        "rank": one.rank,
        "clip_start_s": round(sound.start_s, 6),
        "clip_end_s": round(sound.end_s, 6),
        "window_start_s": round(row["start_s"], 6),
        "window_end_s": round(row["end_s"], 6),
        "local_start": _iso(row.get("local_start"), row.get("utc_start")),
        "utc_start": _iso(row.get("utc_start")),
        "score": None if row.get("score") is None else round(row["score"], 6),
        "sample_rate_hz": sound.sample_rate_hz,
        "channels": sound.samples.shape[1],
    }
    report.clips.append({column: values[column] if column in values else row.get(column) for column in CLIPS_CSV})


def encoded(sound: Sound, form: str) -> bytes:
    """Return a sound as the bytes of a WAV or FLAC file.

    Raises
    ------
    Damaged
        If the format cannot hold it: FLAC has at most 8 channels and 655,350 Hz.
    """
    subtype = _SUBTYPES[form].get(sound.subtype, "PCM_16")
    out = BytesIO()
    try:
        sf.write(out, np.ascontiguousarray(sound.samples), sound.sample_rate_hz, format=form.upper(), subtype=subtype)
    except sf.LibsndfileError as error:
        shape = f"{sound.samples.shape[1]} channels at {sound.sample_rate_hz:,} Hz"
        raise Damaged(f"{form.upper()} cannot hold {shape}: {error.error_string}; ask for wav") from error
    return out.getvalue()


def _failure(one: _Wanted, error: Exception) -> dict[str, Any]:
    row = one.row
    values = (one.rank, row["path"], round(row["start_s"], 6), round(row["end_s"], 6), str(error))
    return dict(zip(FAILURES_CSV, values, strict=True))


def _iso(moment: Any, utc: Any = None) -> str | None:
    """Return ISO 8601 text: with ``Z``, with the offset that follows from ``utc``, or, if that is not known, without."""
    if moment is None:
        return None
    text = str(moment.replace(tzinfo=None).isoformat(timespec="milliseconds"))
    if moment.tzinfo is not None:
        return f"{text}Z"
    if utc is None:
        return text
    minutes = round((moment - utc.replace(tzinfo=None)).total_seconds() / 60)
    return f"{text}{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def _csv(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> bytes:
    text = StringIO(newline="")
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows({k: inert_value(v) for k, v in row.items()} for row in rows)
    return text.getvalue().encode()


@contextmanager
def _sink(target: Path, about: dict[str, Any], *, overwrite: bool) -> Iterator[_Sink]:
    if target.suffix.lower() != ".zip":
        with whole_folder(target, about, overwrite=overwrite) as folder:
            yield _Folder(folder)
        return
    with (
        whole_files(target, overwrite=overwrite) as (temporary,),
        temporary.open("xb") as handle,
        zipfile.ZipFile(handle, "w", allowZip64=True) as archive,
    ):
        sink = _Zip(archive)
        yield sink
        sink.add(MARK, (json.dumps(about, indent=2, default=str) + "\n").encode(), pack=True)


class _Folder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, name: str, data: bytes, *, pack: bool) -> None:
        (self._folder / name).write_bytes(data)


class _Zip:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    def add(self, name: str, data: bytes, *, pack: bool) -> None:
        entry = zipfile.ZipInfo(name)  # of 1980: the same clips give the same bytes
        entry.external_attr = 0o644 << 16
        self._archive.writestr(entry, data, zipfile.ZIP_DEFLATED if pack else zipfile.ZIP_STORED)


__all__ = ["CLIPS_CSV", "FAILURES_CSV", "FORMS", "ClipsReport", "clip_name", "encoded", "write_clips"]
