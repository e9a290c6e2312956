"""What other programs read of an archive: one table of what can be exported as what, and the one way it is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from search_api.clips import write_clips
from search_api.export_options import (
    FOLDER_FORMS,
    FORMS,
    WIDE_VALUES_MAX,
    ExportOptions,
    ExportSummary,
    Progress,
    files_beside,
    require_form,
    require_options,
)
from search_api.export_rows import Query, Reading
from search_api.locating import Locator
from sonotheque.core.errors import Limit
from sonotheque.core.version import VERSION
from store import Archive
from store.formats import (
    Written,
    write_audacity,
    write_birdnet_csv,
    write_birdnet_parquet,
    write_kaleidoscope,
    write_pamdp,
    write_parquet,
    write_plain_csv,
    write_raven,
    write_raven_combined,
    write_tidy,
)
from store.formats.vectors import write_hdf5, write_npy, write_vectors_csv, write_vectors_parquet
from store.formats.whole import require_free, whole_files, whole_folder


def check_export(store: str, what: str, form: str, out: str | Path, options: ExportOptions | None = None) -> None:
    """Look at what was asked for, before a store is opened for it.

    Raises
    ------
    Invalid, NotFound, Conflict
        As :func:`export`.
    """
    options, target = options or ExportOptions(), Path(out)
    require_form(what, form)
    require_options(what, form, options)
    is_folder = form in FOLDER_FORMS or (what == "clips" and target.suffix.lower() != ".zip")
    for path in [target, *files_beside(form, target)]:
        require_free(path, overwrite=options.overwrite, folder=is_folder, store=store)


def export(
    archive: Archive,
    what: str,
    form: str,
    out: str | Path,
    options: ExportOptions | None = None,
    progress: Progress | None = None,
) -> ExportSummary:
    """Export from a store.

    Parameters
    ----------
    archive : Archive
    what, form : str
        Of ``FORMS``.
    out : str or Path
        A new file, or a new folder for ``raven``, ``audacity``, ``pamdp`` and clips (a file if it ends in ``.zip``).
    options : ExportOptions, optional
    progress : callable, optional
        Called with (rows done, rows in all).

    Raises
    ------
    Invalid
        If there is no such export, or an option that it does not have.
    NotFound
        If a name in the filter, the folder of ``out`` or the recordings are not there.
    Conflict
        If ``out`` is there.
    Limit
        If a wide CSV would be larger than is sensible.
    Damaged
        If a part of the store cannot be read.
    Unavailable
        If it cannot be written; nothing is left of it then.
    """
    options = options or ExportOptions()
    check_export(archive.root, what, form, out, options)
    job = _Job(archive, what, form, Path(out), options, progress)
    written, failures = job.clips() if what == "clips" else (job.run(), [])
    where = options.where.to_json()
    notes = (*written.notes, *job.notes())
    return ExportSummary(
        what, form, str(out), written.rows, written.files, archive.snapshot.number, notes, failures, where
    )


class _Job:
    """One export under way."""

    def __init__(
        self, archive: Archive, what: str, form: str, target: Path, options: ExportOptions, progress: Progress | None
    ) -> None:
        self._archive, self._what, self._form, self._target = archive, what, form, target
        self._options, self._progress = options, progress
        self._reading = Reading(archive, options.where, progress)
        model = archive.config.model
        self._about: dict[str, Any] = {
            "what": what,
            "format": form,
            "store": archive.root,
            "snapshot": archive.snapshot.number,
            "model": model.name,
            "model_version": model.version,
            "weights_digest": model.weights_digest,
            "window_s": archive.config.windows.window_s,
            "hop_s": archive.config.windows.seconds(archive.config.windows.hop_samples),
            "filter": options.where.to_json(),
            "program": f"sonotheque {VERSION}",
        }

    def run(self) -> Written:
        """Write it."""
        if self._form in FOLDER_FORMS:
            with whole_folder(self._target, self._about, overwrite=self._options.overwrite) as folder:
                written = self._folder(folder)
                self._about |= {"rows": written.rows, "files": written.files}
            return written
        self._require_size()
        targets = (self._target, *files_beside(self._form, self._target))
        with whole_files(*targets, overwrite=self._options.overwrite) as paths:
            return self._files(paths)

    def notes(self) -> tuple[str, ...]:
        """Say what a user of the predictions may not have meant."""
        top_k = self._archive.config.top_k
        if self._what != "predictions" or self._options.where.asks_predictions:
            return ()
        if top_k == 0:
            return ("this store keeps no predictions: it was made with --top-k 0, or by a model without classes",)
        return (f"all {top_k} predictions of each window, whatever their score: --top 1 or --min-score narrow them",)

    def _folder(self, folder: Path) -> Written:
        detections = self._reading.detections(self._locator())
        if self._form == "raven":
            return write_raven(detections, folder, empty=self._options.empty)
        if self._form == "audacity":
            return write_audacity(detections, folder, empty=self._options.empty)
        return write_pamdp(detections, folder)

    def _files(self, paths: list[Path]) -> Written:
        if self._what == "embeddings":
            return self._embeddings(paths)
        with paths[0].open("xb") as handle:
            if self._what == "predictions" and self._form != "parquet":
                return self._detections(paths, handle)
            query: Query = self._reading.rows(self._what)
            if self._form == "csv":
                return write_plain_csv(query.blocks, query.schema, handle)
            return write_parquet(query.blocks, query.schema, handle, about=self._about)

    def _detections(self, paths: list[Path], handle: Any) -> Written:
        found = self._reading.detections(self._locator())
        if self._form == "raven-combined":
            with paths[1].open("xb") as files:
                written = write_raven_combined(found, handle, files)
            return Written(written.rows, written.files, (*written.notes, *self._reading.damage_notes()))
        if self._form == "kaleidoscope":
            return write_kaleidoscope(found, handle)
        if self._form == "birdnet-parquet":
            return write_birdnet_parquet(found, handle, about=self._about)
        writer = write_tidy if self._form == "tidy" else write_birdnet_csv
        return writer(found, handle, columns=self._options.columns)

    def _embeddings(self, paths: list[Path]) -> Written:
        vectors = self._reading.vectors(self._about)
        if self._form == "hdf5":
            return write_hdf5(vectors, paths[0])
        with paths[0].open("xb") as handle:
            if self._form == "npy":
                with paths[1].open("xb") as table:
                    return write_npy(vectors, handle, table)
            if self._form == "csv":
                return write_vectors_csv(vectors, handle)
            return write_vectors_parquet(vectors, handle, dtype=self._options.dtype)

    def _require_size(self) -> None:
        if (self._what, self._form) != ("embeddings", "csv") or self._options.force:
            return
        windows, dim = self._reading.count("windows"), self._archive.config.model.dim
        if windows * dim > WIDE_VALUES_MAX:
            raise Limit(
                f"{windows:,} windows of {dim:,} values as text are about {windows * dim * 11 / 1e9:,.1f} GB: export them as parquet, "
                "npy or hdf5, narrow the filter, or add --force"
            )

    def _locator(self) -> Locator:
        return Locator.of(self._archive.root, self._options.recordings_dir, follow_links=self._options.follow_links)

    def clips(self) -> tuple[Written, list[dict[str, Any]]]:
        """Cut and write clips."""
        options = self._options
        rows, matching = self._reading.clip_rows(options.max_clips)
        report = write_clips(
            rows,
            self._target,
            self._locator(),
            form=self._form,
            margin_s=options.margin_s,
            overwrite=options.overwrite,
            about=self._about,
            progress=self._progress,
        )
        notes = []
        if matching > rows.num_rows:
            best = "best" if options.where.asks_predictions else "first"
            notes.append(f"{matching:,} windows match; the {best} {rows.num_rows:,} were cut (--max-clips)")
        return Written(len(report.clips), len(report.clips) + 1, tuple(notes)), report.failures


__all__ = ["FORMS", "ExportOptions", "ExportSummary", "check_export", "export"]
