"""Which windows a version learnt from, and which were held out: written beside it, and read again from the archive."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from probes import Examples
from sonotheque.core.errors import Damaged, NotFound
from sonotheque.core.ids import recording_id
from store import Archive, layout
from store.probes import ProbeStore

FORMAT_VERSION: Final = 1
TRAIN, TEST = "train", "test"
_KEY: Final = b"sonotheque.probe"
_NUMBERS: Final = pa.list_(pa.float32())
COLUMNS: Final = pa.schema(
    [
        ("recording_id", pa.int64()),
        ("start_sample", pa.int64()),
        ("path", pa.string()),
        ("site", pa.string()),
        ("day", pa.string()),
        ("hour", pa.int16()),
        ("snr_db", pa.float32()),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("side", pa.string()),
        ("targets", _NUMBERS),
        ("weights", _NUMBERS),
        ("embedding", _NUMBERS),
    ]
)


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """A version's test side, with vectors.

    Attributes
    ----------
    examples : Examples
    gone : int
        Windows of it that the archive does not have any more.
    """

    examples: Examples
    gone: int


def examples_table(train: Examples, test: Examples) -> pa.Table:
    """Return both sides as a table of ``COLUMNS``, one row a window; classes are in its metadata.

    Vectors are kept (float32) only of clips, which no archive has: their recording's id is that of ``clips/`` and their path.
    """
    sides = [_rows(train, TRAIN), _rows(test, TEST)]
    about = json.dumps({"format_version": FORMAT_VERSION, "classes": list(train.classes)}).encode()
    return pa.concat_tables(sides).replace_schema_metadata({_KEY: about})


def table_bytes(table: pa.Table) -> bytes:
    """Return a table as a Parquet file: the same table gives the same bytes."""
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd", use_dictionary=["path", "site", "day", "side"])
    return out.getvalue()


def sides_table(root: str, name: str, version: int) -> pa.Table | None:
    """Return what :func:`examples_table` made of a version; None if it was not trained here.

    Raises
    ------
    NotFound
        If there is no such probe or version.
    Damaged
        If the file cannot be read, or is not what it was when it was written.
    """
    from probes.files import from_files

    files = ProbeStore(root).read(name, version, (layout.PROBE_FILE, layout.PROBE_WEIGHTS, layout.PROBE_EXAMPLES))
    where = f"{root}/{layout.probe_version(name, version)}"
    from_files(files, where)
    if layout.PROBE_EXAMPLES not in files:
        return None
    try:
        table = pq.read_table(io.BytesIO(files[layout.PROBE_EXAMPLES]))
        if not table.schema.equals(COLUMNS) or _about(table)["format_version"] != FORMAT_VERSION:
            raise Damaged(
                f"{where}/{layout.PROBE_EXAMPLES} was written by another release; install the newest sonotheque"
            )
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{where}/{layout.PROBE_EXAMPLES} cannot be read: {error}. Train the probe again") from error
    return table


def held_out(archive: Archive, name: str, version: int) -> Examples:
    """Return the windows that a version was judged by, with their vectors from the archive; see :func:`held_out_of`."""
    return held_out_of(archive, name, version).examples


def held_out_of(archive: Archive, name: str, version: int) -> HeldOut:
    """Return the windows that a version was judged by, and how many of them the archive does not have any more.

    Parameters
    ----------
    archive : Archive
    name : str
    version : int

    Raises
    ------
    NotFound
        If there is no such version, or nothing was held out for it, or nothing of that is left.
    Damaged
        If its list of windows, or a part that has to be read, cannot be read.
    """
    table = sides_table(archive.root, name, version)
    rows = None if table is None else table.filter(pc.equal(table["side"], TEST))
    if table is None or rows is None or not rows.num_rows:
        why = "it was brought from elsewhere" if table is None else "all its examples were trained on"
        raise NotFound(
            f"version {version} of probe {name} has no held-out windows: {why}. Train a version with a test side"
        )
    vectors, there = _vectors(archive, rows)
    if not there.any():
        raise NotFound(
            f"none of the {rows.num_rows:,} held-out windows of version {version} of probe {name} is in {archive.root} any more"
        )
    found = _examples(rows.filter(pa.array(there)), vectors[there], classes_of(table))
    return HeldOut(found, int((~there).sum()))


def classes_of(table: pa.Table) -> tuple[str, ...]:
    """Return the classes that the targets of a table of ``COLUMNS`` are of."""
    return tuple(_about(table)["classes"])


def learnt_from(table: pa.Table, examples: Examples) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Tell which windows share sound with one that was trained on, and which are of a recording with one.

    Parameters
    ----------
    table : Table
        Of ``COLUMNS``.
    examples : Examples, n of them

    Returns
    -------
    same_sound, same_recording : bool, (n,)
    """
    used = table.filter(pc.equal(table["side"], TRAIN))
    judged = _matrix(used["weights"]).max(axis=1, initial=0.0) > 0
    ids, starts, ends = (used[c].to_numpy()[judged] for c in ("recording_id", "start_s", "end_s"))
    same_sound = np.zeros(len(examples), bool)
    same_recording = np.isin(examples.recording_ids, ids)
    for recording in np.unique(examples.recording_ids[same_recording]):
        mine, asked = ids == recording, examples.recording_ids == recording
        order = np.argsort(starts[mine], kind="stable")
        reach = np.maximum.accumulate(ends[mine][order])
        # Of the training windows that begin before a window ends, does any end after it begins?
        before = np.searchsorted(starts[mine][order], examples.end_s[asked], side="left")
        same_sound[asked] = (before > 0) & (reach[before - 1] > examples.start_s[asked])
    return same_sound, same_recording


def _about(table: pa.Table) -> dict[str, Any]:
    return dict(json.loads((table.schema.metadata or {})[_KEY]))


def _rows(examples: Examples, side: str) -> pa.Table:
    clip = [
        recording_id(f"clips/{p}") == i for p, i in zip(examples.paths, examples.recording_ids.tolist(), strict=True)
    ]
    snr = [None if np.isnan(v) else float(v) for v in examples.snr_db]
    columns = {
        "recording_id": examples.recording_ids,
        "start_sample": examples.start_samples,
        "path": list(examples.paths),
        "site": list(examples.sites),
        "day": list(examples.days),
        "hour": examples.hours,
        "snr_db": snr,
        "start_s": examples.start_s,
        "end_s": examples.end_s,
        "side": [side] * len(examples),
        "targets": list(examples.targets),
        "weights": list(examples.weights),
        "embedding": [v if c else None for v, c in zip(examples.vectors, clip, strict=True)],
    }
    return pa.table({f.name: pa.array(columns[f.name], f.type) for f in COLUMNS}, schema=COLUMNS)


def _matrix(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """Return lists of one length as float32 (n, C)."""
    flat = pc.list_flatten(column).to_numpy()
    return np.asarray(flat, np.float32).reshape(len(column), -1) if len(column) else np.empty((0, 0), np.float32)


def _vectors(archive: Archive, rows: pa.Table) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the windows' vectors (n, dim), and which of them were found."""
    vectors = np.zeros((rows.num_rows, archive.config.model.dim), np.float32)
    there = pc.is_valid(rows["embedding"]).to_numpy().astype(bool)
    if there.any():
        vectors[there] = _matrix(rows["embedding"].filter(pa.array(there)))
    asked = rows.select(["recording_id", "start_sample"]).append_column("place", pa.array(np.arange(rows.num_rows)))
    found = archive.sql_with(
        {"asked": asked.filter(pa.array(~there))},
        "SELECT a.place, w.part_id, w.part_row FROM asked a JOIN windows w USING (recording_id, start_sample) ORDER BY a.place",
    )
    places = found["place"].to_numpy()
    vectors[places] = archive.vectors_of(found)
    there[places] = True
    return vectors, there & np.isfinite(vectors).all(axis=1)


def _examples(rows: pa.Table, vectors: NDArray[np.float32], classes: tuple[str, ...]) -> Examples:
    def text(column: str) -> NDArray[np.object_]:
        return np.array(rows[column].to_pylist(), object)

    return Examples(
        classes,
        vectors,
        _matrix(rows["targets"]),
        _matrix(rows["weights"]),
        rows["recording_id"].to_numpy(),
        rows["start_sample"].to_numpy(),
        text("path"),
        text("site"),
        text("day"),
        rows["hour"].to_numpy(),
        np.array([np.nan if v is None else v for v in rows["snr_db"].to_pylist()], np.float32),
        rows["start_s"].to_numpy(),
        rows["end_s"].to_numpy(),
    )
