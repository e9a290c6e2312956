"""An import from beginning to end: look at everything, agree with the store, then write part by part."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from contextlib import ExitStack
from itertools import islice

from cluster.imports.check import check_import
from cluster.imports.describing import Placing
from cluster.imports.held import Held, ImportPlan, plan_parts
from cluster.imports.hoplite import HopliteSource
from cluster.imports.index import WindowIndex
from cluster.imports.options import HOPLITE, ImportOptions
from cluster.imports.parts import PartBuilder
from cluster.imports.perch_cpu import PerchCpuSource
from cluster.imports.report import ImportReport, add_stored
from cluster.imports.source import Progress, Settings, Source
from cluster.job import store_lock
from cluster.settle import require_store_name
from sonotheque.core.errors import Damaged, NotFound, SonothequeError
from sonotheque.core.windows import WindowRule
from store import (
    Ledger,
    StoreConfig,
    create_config,
    load_ledger,
    read_config,
    require_same,
    sweep_leftovers,
    write_snapshot,
)
from store.annotations import Annotation, AnnotationLog
from store.catalog import open_catalog
from store.state import require_folder

_ANNOTATIONS_A_TIME = 5000
_DAMAGED_SHOWN = 5
HOPLITE_UNNAMED = "perch-hoplite"  # annotator and provenance of annotations that name none


def import_into_store(
    options: ImportOptions, progress: Progress | None = None, *, dry_run: bool = False
) -> ImportReport:
    """Import the results of another program; run again, it goes on where it was interrupted.

    Everything but the vectors is read and checked before anything is written.

    Parameters
    ----------
    options : ImportOptions
    progress : callable, optional
        Told (phase, done, of): phases are ``reading``, ``describing``, ``writing``.
    dry_run : bool
        Write nothing.

    Returns
    -------
    ImportReport

    Raises
    ------
    NotFound, Invalid
        If the source or an option cannot be right.
    Damaged
        If source files cannot be read and ``skip_damaged`` is not set.
    Conflict
        If the store is of another model or other settings, has another recording under a path, or is busy.
    Unavailable
        If the store cannot be written to.
    """
    began = time.monotonic()
    require_folder(options.store, "import")
    require_store_name(os.path.abspath(options.store))
    there = _config_of(options.store)
    if options.recordings is not None and not os.path.isdir(options.recordings):
        raise NotFound(
            f"--recordings {options.recordings} is not a folder: give the one that stored paths are relative to"
        )
    options.describer()  # a wrong zone or table is told before files are read
    source: Source = HopliteSource(options) if options.kind == HOPLITE else PerchCpuSource(options)
    with ExitStack() as stack:
        stack.callback(source.close)
        index = stack.enter_context(WindowIndex())
        if there and not dry_run:
            stack.enter_context(store_lock(options.store))
        run = _Run(options, source, index, progress or (lambda phase, done, of: None))
        config = run.look(there)
        if not there and not dry_run:
            stack.enter_context(store_lock(options.store))
        report = run.plan(config) if dry_run else run.write(config)
        report.wall_s = round(time.monotonic() - began, 3)
        return report


def _config_of(store: str) -> StoreConfig | None:
    try:
        return read_config(store)
    except NotFound:
        return None


class _Run:
    """One import, once its source is open."""

    def __init__(self, options: ImportOptions, source: Source, index: WindowIndex, progress: Progress) -> None:
        self._options, self._source, self._index, self._progress = options, source, index, progress
        self._counts = ImportPlan()
        self._report = ImportReport(options.kind, options.path, options.store, "")

    def look(self, there: StoreConfig | None) -> StoreConfig:
        """Read the source, place its recordings, and agree with the store on what its vectors are."""
        source, report = self._source, self._report
        source.fill(self._index, self._progress)
        self._require_sound()
        settings = source.settings()
        config = self._config(settings, there)
        placing = Placing(self._options, source.root(), config.windows, ends_known=source.ends_known)
        self._index.describe(placing.place, lambda done, of: self._progress("describing", done, of))
        left = self._index.settle(config.windows.valid_samples_min)
        found = source.found
        report.model = config.model.name
        report.rows, report.damaged = found.rows, found.damaged
        report.left_out = {**left, **found.counts}
        report.bytes_before = {**found.bytes, "total": found.bytes.total()}
        report.notes = [*found.notes, *self._notes(settings, config)]
        if unread := placing.counts.pop("unreadable_times", 0):
            report.notes.append(f"{unread:,} recordings have a datetime that is no ISO 8601 time: it was not used")
        report.sound = {name.removeprefix("sound_"): n for name, n in placing.counts.items()}
        report.recordings, report.windows = self._index.totals()[:2]
        if not report.recordings:
            raise NotFound(f"{self._options.path} holds no recording: there is nothing to import")
        return config

    def _require_sound(self) -> None:
        damaged = self._source.found.damaged
        if not damaged or self._options.skip_damaged:
            return
        shown = "; ".join(f"{path}: {why}" for path, why in list(damaged.items())[:_DAMAGED_SHOWN])
        more = f"; and {len(damaged) - _DAMAGED_SHOWN:,} more" if len(damaged) > _DAMAGED_SHOWN else ""
        raise Damaged(
            f"{len(damaged):,} of the source's files or rows cannot be used, and nothing was written: {shown}{more}. "
            "--skip-damaged leaves them out and imports the rest"
        )

    def _config(self, settings: Settings, there: StoreConfig | None) -> StoreConfig:
        options = self._options
        rule = WindowRule.for_model(settings.spec, hop_s=settings.hop_s, rate_factor=settings.rate_factor)
        if options.keep_short or (there and there.windows.valid_samples_min == 1):
            rule = WindowRule(rule.sample_rate_hz, rule.window_samples, rule.hop_samples, 1, rule.rate_factor)
        top_k = there.top_k if there else settings.top_k if options.predictions else 0
        dtype = options.dtype or (there.dtype if there else "float16")
        wanted = StoreConfig(settings.spec, rule, settings.decode, dtype, top_k)
        if there:
            require_same(options.store, there, wanted)
        return there or wanted

    def _notes(self, settings: Settings, config: StoreConfig) -> list[str]:
        notes = []
        if settings.top_k and not config.top_k and self._options.predictions:
            notes.append("the store was made without predictions: the source's are left out")
        if config.model.weights_digest == "unknown":
            notes.append(
                f"which weights made these vectors is not recorded: the store's model is '{config.model.name}, {config.model.version}', "
                "and `sonotheque embed` will not add vectors of its own weights to it"
            )
        return notes

    def plan(self, config: StoreConfig) -> ImportReport:
        """Tell what would be done."""
        report = self._report
        ledger = self._ledger()
        for _ in plan_parts(self._index, Held(self._options.store, ledger), self._options, config.digest, self._counts):
            continue
        _, windows, rows, _ = self._index.totals()
        sites: Counter[str] = Counter()
        report.without_time = report.without_utc = 0
        for planned in self._index.planned():
            time_of = json.loads(planned.text)["time"]
            report.without_time += time_of["local_start"] is None
            report.without_utc += time_of["local_start"] is not None and time_of["utc_start"] is None
            sites[planned.site] += 1
        report.sites = dict(sorted(sites.items()))
        report.dry_run = True
        report.new, report.changed, report.settled = self._counts.new, self._counts.changed, self._counts.settled
        report.parts, report.duplicates = self._counts.parts, {"rows": rows - windows}
        return report

    def _ledger(self) -> Ledger:
        ledger = load_ledger(self._options.store)
        if ledger.damaged:
            path, why = next(iter(ledger.damaged.items()))
            raise Damaged(
                f"{len(ledger.damaged)} part file(s) of {self._options.store} cannot be read, the first: {path}: {why}. "
                f"`sonotheque verify --store {self._options.store}` lists all; move them out of the store and run again"
            )
        return ledger

    def write(self, config: StoreConfig) -> ImportReport:
        """Write what is missing, part by part, then a snapshot."""
        options, report, counts = self._options, self._report, self._counts
        held = Held(options.store, self._ledger())
        for _ in plan_parts(self._index, held, options, config.digest, counts):
            continue  # every conflict is met before the first part is written
        config = create_config(options.store, config)
        sweep_leftovers(options.store)
        builder = PartBuilder(options.store, config, self._source, self._index)
        sha256: dict[str, str] = {}
        done = 0
        for part in plan_parts(self._index, held, options, config.digest, ImportPlan()):
            committed = builder.build(part)
            sha256[part.plan.part_id] = committed.sha256
            done += sum(p.windows for p in part.planned)
            self._progress("writing", done, counts.windows)
        report.new, report.changed, report.settled = counts.new, counts.changed, counts.settled
        report.parts_written = len(sha256)
        report.annotations = self._add_annotations()
        ledger = load_ledger(options.store)
        snapshot = write_snapshot(options.store, config, ledger, known_sha256=sha256)
        add_stored(report, options.store, config, self._index, ledger, snapshot)
        if options.check:
            report.check = check_import(options.store, self._index, self._source, ledger)
        try:
            open_catalog(options.store, config, snapshot)
        except SonothequeError as error:  # derived: the first question builds it
            report.notes.append(f"the catalog was not built: {error.message}")
        return report

    def _add_annotations(self) -> dict[str, int]:
        """Add the source's judgements; those that are there already are not doubled."""
        log = AnnotationLog(self._options.store)
        counts = {"added": 0, "already_there": 0, "unmatched": 0}
        given = self._source.annotations()
        while page := list(islice(given, _ANNOTATIONS_A_TIME)):
            known = self._index.of_keys(sorted({a.key for a in page}))
            counts["unmatched"] += sum(a.key not in known for a in page)
            page = [a for a in page if a.key in known]
            rows = [Annotation(*known[a.key], a.start_s, a.end_s, a.label, a.judgement) for a in page]
            whence = [a.provenance if a.provenance.strip() else HOPLITE_UNNAMED for a in page]
            added = log.add(rows, annotator=self._options.annotator or whence, provenance=whence)
            counts["added"] += added.added
            counts["already_there"] += added.already_there
        return counts if any(counts.values()) else {}
