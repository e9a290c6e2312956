"""Care of a store: merging small parts, removing what nobody needs, raising its format version. See README.md."""

from store.care.compaction import CompactionReport, compact
from store.care.garbage import GRACE_H, KEEP_SNAPSHOTS, GarbageReport, collect_garbage
from store.care.migration import MigrationReport, migrate
from store.care.selection import MIN_PARTS

__all__ = [
    "GRACE_H",
    "KEEP_SNAPSHOTS",
    "MIN_PARTS",
    "CompactionReport",
    "GarbageReport",
    "MigrationReport",
    "collect_garbage",
    "compact",
    "migrate",
]
