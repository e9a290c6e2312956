"""Care of a store: ``compact``, ``gc``, ``migrate``. (``verify`` and ``info`` are in ``jobs``.)"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from store.care import CompactionReport, GarbageReport

_STORE = typer.Option(..., "--store", metavar="DIR", help="The store's folder.")
_JSON = typer.Option(False, "--json", help="Print one JSON document.")
_DRY_RUN = typer.Option(False, "--dry-run", help="Only tell what would be done; nothing is written or removed.")
_LINE_EVERY_S = 5.0


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command(
        "compact",
        epilog="Examples: sonotheque compact --store archive --dry-run\n\nsonotheque compact --store archive --min-parts 4",
    )(compact)
    app.command(
        "gc",
        epilog="Examples: sonotheque gc --store archive --dry-run\n\nsonotheque gc --store archive --grace-h 72 --keep-snapshots 10",
    )(gc)
    app.command("migrate", epilog="Example: sonotheque migrate --store archive")(migrate)


def compact(
    store: str = _STORE,
    dry_run: bool = _DRY_RUN,
    min_parts: int = typer.Option(2, "--min-parts", metavar="N", help="Leave fewer small parts than this as they are."),
    skip_damaged: bool = typer.Option(
        False, "--skip-damaged", help="Leave damaged parts where they are and go on with the others."
    ),
    as_json: bool = _JSON,
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress on stderr."),
) -> int:
    """Merge the small parts of each site and date, and leave superseded rows behind; readers notice nothing.

    The old parts stay for readers of older snapshots until `sonotheque gc` removes them.
    """
    from cluster.care import compact_store
    from sonotheque.cli.output import document, tell

    told_at = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal told_at
        if not quiet and (time.monotonic() - told_at > _LINE_EVERY_S):
            told_at = time.monotonic()
            tell(f"{done / max(total, 1):4.0%}  {done:,} of {total:,} windows moved")

    found = compact_store(
        store, min_parts=min_parts, dry_run=dry_run, skip_damaged=skip_damaged, progress=progress, note=tell
    )
    if as_json:
        document(found.to_json())
    else:
        _say_compaction(store, found)
    return 0


def _say_compaction(store: str, found: CompactionReport) -> None:
    from sonotheque.cli.output import say, size

    would = "would be" if found.dry_run else "were"
    if found.made:
        say(
            f"{store}: {found.merged:,} parts {would} merged into {found.made:,}; {found.parts_before:,} -> {found.parts_after:,} parts in use"
        )
        say(
            f"  {found.windows:,} windows of {found.files:,} recordings {would} moved, "
            f"{found.superseded_windows:,} superseded rows left behind"
        )
        written = "" if found.dry_run else f", {size(found.bytes_written)} written"
        say(f"  {size(found.bytes_read)} read{written}; snapshot {found.snapshot}")
        if not found.dry_run:
            say(
                f"  the old parts stay for readers of older snapshots; `sonotheque gc --store {store}` removes them when no snapshot needs them"
            )
    else:
        say(f"{store}: nothing to compact in {found.parts_before:,} parts; snapshot {found.snapshot}")
    for path, why in found.left_alone.items():
        say(f"  left alone: {path}: {why}")
    for note in found.notes:
        say(f"  note: {note}")


def gc(
    store: str = _STORE,
    grace_h: float = typer.Option(
        24.0,
        "--grace-h",
        metavar="HOURS",
        help="Keep what went out of use later than this; longer than any reader or run takes.",
    ),
    keep_snapshots: int = typer.Option(
        3, "--keep-snapshots", metavar="N", help="Keep the newest N snapshots, with their parts, whatever their age."
    ),
    dry_run: bool = _DRY_RUN,
    as_json: bool = _JSON,
) -> int:
    """Remove superseded parts, orphaned files, old snapshots and leftovers, once their grace period is over."""
    from cluster.care import clean_store
    from sonotheque.cli.output import document

    found = clean_store(store, grace_h=grace_h, keep_snapshots=keep_snapshots, dry_run=dry_run)
    if as_json:
        document(found.to_json())
    else:
        _say_garbage(store, found)
    return 0


def _say_garbage(store: str, found: GarbageReport) -> None:
    from sonotheque.cli.output import say, size

    verb = "would be freed" if found.dry_run else "freed"
    say(
        f"{store}: {size(found.bytes_freed)} {verb}: {found.parts:,} superseded parts, {found.predictions:,} orphaned predictions files, "
        f"{len(found.snapshots):,} snapshots, {found.catalog_files:,} catalog files, "
        f"{found.index_files:,} index files, {found.score_files:,} files of scores, {found.temporary_files:,} leftovers"
    )
    numbers = found.snapshots_kept
    kept = (
        ", ".join(map(str, numbers)) if len(numbers) < 9 else f"{len(numbers):,} of {numbers[0]:,} to {numbers[-1]:,}"
    )
    say(f"  snapshots kept: {kept or 'none'}")
    if found.waiting:
        say(f"  {found.waiting:,} superseded parts ({size(found.waiting_bytes)}) stay for now")
    if found.listed:
        say(
            f"    {found.listed:,} of them only because a kept snapshot lists them: --keep-snapshots 1 keeps the newest alone"
        )
    for note in found.notes:
        say(f"  note: {note}")


def migrate(store: str = _STORE, dry_run: bool = _DRY_RUN, as_json: bool = _JSON) -> int:
    """Make a store of an earlier format version one of the newest: one small file changes, no part does."""
    from cluster.care import migrate_store
    from sonotheque.cli.output import document, say

    found = migrate_store(store, dry_run=dry_run)
    if as_json:
        document(found.to_json())
    elif not found.changed:
        say(f"{store} is of format version {found.to_version} already, the newest")
    else:
        would = "would become" if dry_run else "is now"
        say(
            f"{store} {would} a store of format version {found.to_version} (from {found.from_version}): "
            f"{found.parts:,} parts with {found.windows:,} windows checked, none changed"
        )
        if not dry_run:
            say(
                f"  the old settings are kept as {found.kept}; programs that read version {found.from_version} alone refuse this store now"
            )
    return 0
