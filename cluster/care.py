"""Care of a store as commands do it: one at a time, never beside a run, and with a catalog for the new snapshot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cluster.job import RUNNING, STOPPING, JobFolder, job_numbers, store_lock
from sonotheque.core.errors import Conflict, SonothequeError
from store import read_config, read_snapshot
from store.care import CompactionReport, GarbageReport, MigrationReport, collect_garbage, compact, migrate
from store.care.compaction import Progress
from store.catalog import open_catalog
from store.state import require_folder


@contextmanager
def _alone(store: str, what: str, *, dry_run: bool) -> Iterator[None]:
    """Hold the store for one command; looking alone needs no lock, and may be done where nothing can be written.

    Raises
    ------
    Invalid
        If the store lies in an object store.
    Conflict
        If a run or another such command is at work (kind ``busy``), here or, by its heartbeat, on another machine.
    """
    require_folder(store, what)  # what may be removed follows from file times, and the lock reaches one machine alone
    read_config(store)  # a mistyped path gets no lock file
    if dry_run:
        yield
        return
    with store_lock(store):
        numbers = job_numbers(store)
        # Locks do not reach other machines on every file system; heartbeats do.
        if numbers and JobFolder(store, numbers[-1]).state() in (RUNNING, STOPPING):
            raise Conflict(
                f"job {numbers[-1]} is at work on {store}, on another machine. `sonotheque status --store {store}` shows it; "
                f"`sonotheque stop --store {store}` ends it",
                kind="busy",
            )
        yield


def compact_store(
    store: str,
    *,
    min_parts: int,
    dry_run: bool = False,
    skip_damaged: bool = False,
    progress: Progress | None = None,
    note: Callable[[str], None] | None = None,
) -> CompactionReport:
    """Merge small parts and drop superseded rows; see :func:`store.care.compact`.

    Parameters
    ----------
    note : callable, optional
        Told if the catalog of the new snapshot could not be built; the next question builds it then.
    """
    with _alone(store, "compact", dry_run=dry_run):
        report = compact(store, min_parts=min_parts, dry_run=dry_run, skip_damaged=skip_damaged, progress=progress)
        if report.made and not dry_run:
            try:
                open_catalog(store, read_config(store), read_snapshot(store))
            except SonothequeError as error:
                if note:
                    note(f"the catalog was not built: {error.message}")
        return report


def clean_store(store: str, *, grace_h: float, keep_snapshots: int, dry_run: bool = False) -> GarbageReport:
    """Remove what nobody needs any more; see :func:`store.care.collect_garbage`."""
    with _alone(store, "gc", dry_run=dry_run):
        return collect_garbage(store, grace_h=grace_h, keep_snapshots=keep_snapshots, dry_run=dry_run)


def migrate_store(store: str, *, dry_run: bool = False) -> MigrationReport:
    """Raise a store's format version; see :func:`store.care.migrate`."""
    with _alone(store, "migrate", dry_run=dry_run):
        return migrate(store, dry_run=dry_run)
