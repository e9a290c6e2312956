"""What is kept and how it is asked: immutable Parquet parts, one commit rule, snapshots. See FORMAT.md."""

from sonotheque.core.search import SearchHit
from store.archive import Archive, open_archive
from store.config import StoreConfig, create_config, read_config, require_same
from store.exact import exact_search
from store.fsops import FileOps, LocalFileOps
from store.ledger import Ledger, LedgerFile, Part, ledger_entry, load_ledger, part_id
from store.leftovers import sweep_leftovers
from store.part_writer import Committed, PartWriter
from store.rows import TopClasses, WindowRows
from store.snapshots import Snapshot, read_snapshot, write_snapshot
from store.verify import VerifyReport, verify

__all__ = [
    "Archive",
    "Committed",
    "FileOps",
    "Ledger",
    "LedgerFile",
    "LocalFileOps",
    "Part",
    "PartWriter",
    "SearchHit",
    "Snapshot",
    "StoreConfig",
    "TopClasses",
    "VerifyReport",
    "WindowRows",
    "create_config",
    "exact_search",
    "ledger_entry",
    "load_ledger",
    "open_archive",
    "part_id",
    "read_config",
    "read_snapshot",
    "require_same",
    "sweep_leftovers",
    "verify",
    "write_snapshot",
]
