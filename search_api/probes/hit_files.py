"""Hits as tables that other programs read, and as clips."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any, Final

import pyarrow as pa

from search_api.clips import ClipsReport, Progress, write_clips
from search_api.export_rows import Reading
from search_api.locating import Locator
from search_api.probes.hits import Hits
from search_api.search import with_sizes
from sonotheque.core.errors import Invalid
from sonotheque.core.suggest import did_you_mean
from sonotheque.core.version import VERSION
from store import Archive
from store.formats import (
    Detections,
    Facts,
    Written,
    write_audacity,
    write_pamdp,
    write_parquet,
    write_plain_csv,
    write_raven,
)
from store.formats.raven import write_raven_combined
from store.formats.whole import require_free, whole_files, whole_folder

FORMS: Final = ("csv", "parquet", "raven", "raven-combined", "audacity", "pamdp")
FOLDERS: Final = frozenset({"raven", "audacity", "pamdp"})


def check_target(form: str, out: str | Path | None, *, overwrite: bool, store: str) -> None:
    """Look at what was asked for, before the work.

    Raises
    ------
    Invalid
        If there is no such format, or it needs a place to go to.
    NotFound, Conflict
        If ``out`` cannot be written there.
    """
    if form not in FORMS:
        raise Invalid(f"--format {form}: {did_you_mean(form, ('table', *FORMS))}")
    if out is None:
        if form != "csv":
            raise Invalid(
                f"--format {form} needs a {'folder' if form in FOLDERS else 'file'} to be written to: -o PATH"
            )
        return
    for target in _targets(form, Path(out)):
        require_free(target, overwrite=overwrite, folder=form in FOLDERS, store=store)


def write_hits(
    archive: Archive,
    hits: Hits,
    form: str,
    out: str | Path,
    *,
    overwrite: bool = False,
    recordings_dir: str | None = None,
) -> Written:
    """Write hits to a new file, or a new folder for ``raven``, ``audacity`` and ``pamdp``.

    Parameters
    ----------
    archive : Archive
    hits : Hits
    form : str
        Of ``FORMS``.
    out : str or Path
    overwrite : bool
    recordings_dir : str, optional
        Where the recordings are now; by default where they were embedded from.

    Raises
    ------
    Invalid, NotFound, Conflict
        As :func:`check_target`.
    Unavailable
        If it cannot be written; nothing is left of it then.
    """
    check_target(form, out, overwrite=overwrite, store=archive.root)
    target, about = Path(out), about_hits(archive, hits)
    if form in FOLDERS:
        with whole_folder(target, about, overwrite=overwrite) as folder:
            found = _detections(archive, hits, recordings_dir)
            if form == "raven":
                return write_raven(found, folder)
            return write_audacity(found, folder) if form == "audacity" else write_pamdp(found, folder)
    with whole_files(*_targets(form, target), overwrite=overwrite) as paths, paths[0].open("xb") as handle:
        if form == "raven-combined":
            with paths[1].open("xb") as files:
                return write_raven_combined(_detections(archive, hits, recordings_dir), handle, files)
        if form == "csv":
            return csv_hits(hits, handle)
        return write_parquet(hits.table.to_batches(), hits.table.schema, handle, about=about)


def csv_hits(hits: Hits, handle: IO[bytes]) -> Written:
    """Write hits as CSV to a binary file."""
    return write_plain_csv(hits.table.to_batches(), hits.table.schema, handle)


def cut_hits(
    archive: Archive,
    hits: Hits,
    target: str | Path,
    locator: Locator,
    *,
    form: str = "wav",
    margin_s: float = 0.0,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ClipsReport:
    """Cut a clip for each hit; see :func:`search_api.clips.write_clips`."""
    rows = with_sizes(archive, hits.table)
    about = about_hits(archive, hits)
    return write_clips(
        rows, Path(target), locator, form=form, margin_s=margin_s, overwrite=overwrite, about=about, progress=progress
    )


def about_hits(archive: Archive, hits: Hits) -> dict[str, Any]:
    """Return what a file of hits is of."""
    spec, probe = archive.config.model, hits.probe
    return {
        "what": "hits",
        "store": archive.root,
        "snapshot": hits.snapshot,
        "model": spec.name,
        "model_version": spec.version,
        "weights_digest": spec.weights_digest,
        "probe": probe.name,
        "probe_version": probe.version,
        "probe_digest": probe.digest,
        "thresholds": hits.thresholds,
        "best_per": hits.options.best_per,
        "filter": hits.options.where.to_json(),
        "program": f"sonotheque {VERSION}",
    }


def _targets(form: str, target: Path) -> tuple[Path, ...]:
    return (target, target.with_name(f"{target.stem}.files.txt")) if form == "raven-combined" else (target,)


def _detections(archive: Archive, hits: Hits, recordings_dir: str | None) -> Detections:
    reading = Reading(archive, hits.options.where)
    probe, own = hits.probe, reading.facts()
    # A probe's classes are what annotators wrote: "alarm_call" has an underscore and no second name.
    has_two_names = any(label in set(archive.labels) for label in probe.classes)
    who = f"probe {probe.name} on {own.model}"
    facts = Facts(who, str(probe.version), own.overlap_s, None, own.high_hz, has_two_names)
    recordings = reading.recordings(Locator.of(archive.root, recordings_dir))
    columns = [
        "path",
        "start_s",
        "end_s",
        "label",
        "score",
        "recording_id",
        "site",
        "deployment",
        "utc_start",
        "local_start",
        "logit",
    ]
    rows: pa.Table = hits.table.select(columns)
    return Detections.of(rows, recordings, facts)
