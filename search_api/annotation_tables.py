"""Use cases of annotation tables: all rows of some files into the log, or none; and out again for another program."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from search_api.annotations import RECORDINGS, default_annotator, list_annotations
from sonotheque.core.errors import Invalid, NotFound
from sonotheque.core.filters import JUDGEMENTS
from store import open_archive
from store.annotations import AnnotationLog
from store.annotations.files import laid_out, tables_in, write_files
from store.annotations.formats import FORMATS, Format, RawAnnotation, format_named, read_table
from store.annotations.resolve import RecordingIndex, resolve

_FOR_EXPORT = (
    "SELECT recording_id, path, duration_s, sample_rate_hz, site, deployment, utc_start, utc_offset_min, channels "
    "FROM recordings"
)


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """How tables are read.

    Attributes
    ----------
    format : str or None
        One of ``store.annotations.formats.FORMATS``; by default what the content says.
    annotator : str
        Who judged, where the table does not say.
    judgement : str
        What the rows mean, where the table does not say.
    label_column : str or None
        The column that holds the label.
    label : str or None
        For rows that have none.
    skip_unknown : bool
        Leave out rows of recordings that are not in the store.
    dry_run : bool
        Only tell what would be added.
    """

    format: str | None = None
    annotator: str = ""
    judgement: str = "positive"
    label_column: str | None = None
    label: str | None = None
    skip_unknown: bool = False
    dry_run: bool = False


def import_tables(root: str, paths: list[str], options: ImportOptions | None = None) -> dict[str, Any]:
    """Import tables of annotations, or folders of them: all rows of all of them, or none.

    Parameters
    ----------
    root : str
        The store's folder.
    paths : list of str
    options : ImportOptions, optional

    Returns
    -------
    dict
        ``files`` (path, format, rows), ``rows``, ``not_judged`` (rows of a review that nobody judged yet, which are left out), ``added``,
        ``already_there``, ``contrary``, ``batch``, ``cut``, ``unknown`` (recording -> rows left out), ``found_by`` (how recordings were
        found -> rows), ``left_out`` (files of a folder that are no tables), ``dry_run``.

    Raises
    ------
    NotFound
        If a path or a recording is not there.
    Invalid
        If a row cannot be right; file, line, column, value and what was expected are named.
    """
    options = options or ImportOptions()
    files, left_out = tables_in(paths, options.format)
    read: list[tuple[Path, str, list[RawAnnotation]]] = []
    for file in files:
        chosen, rows = read_table(file, format=options.format, label_column=options.label_column, label=options.label)
        read.append((file, chosen.name, rows))
    with open_archive(root) as archive:
        index = RecordingIndex(archive.sql(RECORDINGS))
    raws = [raw for _, _, rows in read for raw in rows if not raw.is_open]
    whence = {str(file): f"{name}:{file.name}" for file, name, _ in read}
    found = resolve(raws, index, judgement=options.judgement, skip_unknown=options.skip_unknown)
    annotators = [raw.annotator or options.annotator or default_annotator() for raw in found.raws]
    log = AnnotationLog(root)
    if options.dry_run:
        added = log.would_add(found.annotations, annotator=annotators)
    else:
        added = log.add(
            found.annotations,
            annotator=annotators,
            provenance=[raw.provenance or whence[raw.file] for raw in found.raws],
            created_utc=[raw.created_utc for raw in found.raws],
        )
    return {
        "files": [{"path": str(file), "format": name, "rows": len(rows)} for file, name, rows in read],
        "rows": len(raws),
        "not_judged": sum(raw.is_open for _, _, rows in read for raw in rows),
        **added.to_json(),
        "cut": found.cut,
        "unknown": dict(found.unknown),
        "found_by": dict(found.how),
        "left_out": [str(path) for path in left_out],
        "dry_run": options.dry_run,
    }


def export_annotations(
    root: str,
    out: str,
    *,
    format: str | None = None,
    judgement: str | None = None,
    overwrite: bool = False,
    label: str | None = None,
    annotator: str | None = None,
    recording: str | None = None,
) -> dict[str, Any]:
    """Write annotations for another program.

    Parameters
    ----------
    root : str
        The store's folder.
    out : str
        A file, or a folder: one table a recording for Raven and Audacity, several files for pamDP.
    format : str, optional
        One of ``store.annotations.formats.FORMATS``; by default what the ending of ``out`` says, if it says one.
    judgement : str, optional
        ``positive``, ``negative``, ``uncertain`` or ``all``. By default all where the format's readers know judgements, and only the
        positive ones elsewhere: another program would take a negative for a sound that is there.
    overwrite : bool
        Replace files that are there.
    label, annotator, recording : str, optional
        See :func:`list_annotations`.

    Returns
    -------
    dict
        ``out``, ``format``, ``files``, ``annotations``, ``left_out`` (judgement -> annotations not written).

    Raises
    ------
    Invalid
        If the format is not clear, or cannot hold these annotations.
    NotFound
        If there is nothing to write.
    Conflict
        If a file is there already.
    """
    chosen = format_named(format) if format else _by_ending(out)
    if judgement not in (None, "all", *JUDGEMENTS):
        raise Invalid(f"--judgement {judgement!r}: expected all, {', '.join(JUDGEMENTS)}")
    table = list_annotations(root, label=label, annotator=annotator, recording=recording)
    wanted = judgement or ("all" if chosen.judgements else "positive")
    kept = table if wanted == "all" else table.filter(pc.equal(table["judgement"], wanted))
    if not kept.num_rows:
        raise NotFound(f"{root} holds no such annotations: nothing to write ({table.num_rows:,} of other judgements)")
    with open_archive(root) as archive:
        recordings = archive.sql(_FOR_EXPORT)
    files = laid_out(chosen, kept, recordings, Path(out))
    write_files(files, overwrite=overwrite)
    left = Counter(table["judgement"].to_pylist()) - Counter(kept["judgement"].to_pylist())
    return {
        "out": out,
        "format": chosen.name,
        "files": [str(path) for path in files],
        "annotations": kept.num_rows,
        "left_out": dict(left),
    }


def _by_ending(out: str) -> Format:
    name = Path(out).name.lower()
    if name.endswith(".parquet"):
        return FORMATS["parquet"]
    if name == "hoplite_annotations.csv":
        return FORMATS["hoplite"]
    if name.endswith((".selections.txt", ".selection.table.txt")):
        return FORMATS["raven"]
    raise Invalid(f"{out}: the name does not say the format; give --format {', '.join(FORMATS)}")
