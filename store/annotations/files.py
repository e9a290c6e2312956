"""Annotation tables as files: which of a folder are tables, and how an export is laid out and written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from sonotheque.core.errors import Conflict, Invalid, NotFound, Unavailable
from store.annotations.formats import FORMATS, Format, detect, format_named
from store.annotations.formats.audacity import write_audacity
from store.annotations.formats.birdnet import write_birdnet
from store.annotations.formats.hoplite import write_hoplite
from store.annotations.formats.pamdp import MEDIA_FILE, write_pamdp
from store.annotations.formats.parquet import write_parquet
from store.annotations.formats.raven import write_raven
from store.formats.text import names_for
from store.fsops import store_errors

_ENDINGS: Final = (".txt", ".csv", ".tsv", ".parquet")
_COMPANIONS: Final = (MEDIA_FILE, "deployments.csv")  # of pamDP's observations


def tables_in(paths: Sequence[str], format: str | None = None) -> tuple[list[Path], list[Path]]:
    """Return the tables that paths mean, and the files of folders among them that are none.

    Parameters
    ----------
    paths : sequence of str
        Files, taken as they are; and folders, in which every file ending in .txt, .csv, .tsv or .parquet is looked into.
    format : str, optional
        Of a folder, only tables that can be of this format.

    Raises
    ------
    NotFound
        If a path is not there, or a folder holds no table.
    Invalid
        If a folder holds tables of several formats: a detector's results are often written in more than one.
    """
    if format:
        format_named(format)
    files: list[Path] = []
    left_out: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            inside, others = _tables_of(path, format)
            files += inside
            left_out += others
        elif path.exists():
            files.append(path)
        else:
            raise NotFound(f"{path} is not there; expected a table of annotations, or a folder of them")
    return list(dict.fromkeys(files)), left_out


def _tables_of(folder: Path, format: str | None) -> tuple[list[Path], list[Path]]:
    by_format: dict[str, list[Path]] = {}
    others: list[Path] = []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in _ENDINGS and p.is_file()):
        if path.name in _COMPANIONS:
            continue
        found = detect(path)
        if format:
            found = [format] if format in found else []
        if not found:
            others.append(path)
        for name in found[:1]:
            by_format.setdefault(name, []).append(path)
    if not by_format:
        what = f"table of the format {format}" if format else "table of annotations"
        looked = f"; looked into {len(others):,} files, {others[0].name} the first" if others else ""
        raise NotFound(f"{folder} holds no {what}{looked}")
    if len(by_format) > 1:
        held = ", ".join(f"{FORMATS[name].title}: {len(p):,}" for name, p in by_format.items())
        raise Invalid(
            f"{folder} holds tables of several formats ({held}): the same judgements might be in both. Choose with --format "
            f"{' or '.join(by_format)}"
        )
    return next(iter(by_format.values())), others


def laid_out(chosen: Format, annotations: pa.Table, recordings: pa.Table, out: Path) -> dict[Path, bytes]:
    """Return the files of an export: path -> bytes.

    Parameters
    ----------
    chosen : Format
    annotations : pyarrow.Table
        Of ``ANNOTATION_SCHEMA``.
    recordings : pyarrow.Table
        All recordings of the store, with ``recording_id``, ``path``, ``duration_s``, ``sample_rate_hz``; for pamDP also ``site``,
        ``deployment``, ``utc_start``, ``utc_offset_min`` and ``channels``.
    out : Path
        A file, or a folder (without an ending, or there already).

    Raises
    ------
    Invalid
        If the format cannot hold these annotations in such a place.
    """
    if chosen.name == "parquet":
        return {_file(chosen, out): write_parquet(annotations)}
    rows = annotations.to_pylist()
    known = {row["path"]: row for row in recordings.to_pylist()}
    if chosen.name == "pamdp":
        return {_folder(chosen, out) / name: data for name, data in write_pamdp(rows, known).items()}
    if chosen.name == "birdnet":
        return {_file(chosen, out): write_birdnet(rows)}
    if chosen.name == "hoplite":
        return {_file(chosen, out): write_hoplite(rows)}
    by_path: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_path.setdefault(row["path"], []).append(row)
    high_hz = {path: row["sample_rate_hz"] / 2 for path, row in known.items() if row["sample_rate_hz"]}
    if _is_file(out):
        return {out: _one_file(chosen, out, rows, by_path, known, high_hz)}
    tables = {
        path: write_raven(own, high_hz=high_hz) if chosen.name == "raven" else write_audacity(own)
        for path, own in by_path.items()
    }
    return {out / name: tables[path] for path, name in zip(tables, names_for(tables, chosen.ending), strict=True)}


def _one_file(
    chosen: Format,
    out: Path,
    rows: list[dict[str, Any]],
    by_path: dict[str, list[dict[str, Any]]],
    known: dict[str, dict[str, Any]],
    high_hz: dict[str, float],
) -> bytes:
    if chosen.name == "raven":
        before_s = _before(known) if len(by_path) > 1 else {}
        return write_raven(rows, before_s=before_s, high_hz=high_hz)
    if len(by_path) > 1:
        raise Invalid(
            f"{out}: an Audacity label track holds one recording, and these are {len(by_path):,}; give a folder, or choose one with --recording"
        )
    return write_audacity(rows)


def _before(known: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Return what lies before each recording when all are opened as one sequence, by path."""
    total_s, before_s = 0.0, {}
    for path in sorted(known):
        before_s[path] = total_s
        total_s += known[path]["duration_s"] or 0.0
    return before_s


def write_files(files: dict[Path, bytes], *, overwrite: bool = False) -> None:
    """Write an export: all files under other names first, so that none is ever half there.

    Raises
    ------
    Conflict
        If a file is there already and may not be overwritten; nothing is written then.
    Unavailable
        If the place cannot be written to.
    """
    there = [path for path in files if path.exists()]
    if there and not overwrite:
        more = f" (and {len(there) - 1:,} more)" if len(there) > 1 else ""
        raise Conflict(f"{there[0]} is there already{more}; choose another place, or give --overwrite")
    written: dict[Path, Path] = {}
    try:
        for path, data in files.items():
            with store_errors(str(path.parent)):
                path.parent.mkdir(parents=True, exist_ok=True)
                written[path] = path.with_name(f".{path.name[:80]}.{os.getpid()}.tmp")
                written[path].write_bytes(data)
        for path, temporary in written.items():
            os.replace(temporary, path)
    except OSError as error:
        raise Unavailable(f"the export cannot be written to {error.filename}: {error.strerror or error}") from error
    finally:
        for temporary in written.values():
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def _is_file(out: Path) -> bool:
    return bool(out.suffix) and not out.is_dir()


def _file(chosen: Format, out: Path) -> Path:
    return out if _is_file(out) else out / f"annotations{chosen.ending}"


def _folder(chosen: Format, out: Path) -> Path:
    if _is_file(out):
        raise Invalid(f"{out}: {chosen.title} are several files; give a folder")
    return out
