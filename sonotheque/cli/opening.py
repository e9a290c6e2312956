"""Opening a store from the terminal: a line while its catalog is built, and what was left out."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from store import Archive

_LINE_EVERY_S = 3.0


@contextlib.contextmanager
def opened(store: str, snapshot: int | None, *, skip_damaged: bool) -> Iterator[Archive]:
    """Give a store for reading; see ``store.open_archive``."""
    from sonotheque.cli.output import tell
    from store import open_archive

    told_at = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal told_at
        if time.monotonic() - told_at >= _LINE_EVERY_S and done < total:
            told_at = time.monotonic()
            tell(
                f"{done / max(total, 1):4.0%}  building the catalog, once for this snapshot: {done:,} of {total:,} site months"
            )

    with open_archive(store, snapshot, skip_damaged=skip_damaged, progress=progress) as archive:
        for path, why in archive.damaged.items():
            tell(f"left out, damaged: {path}: {why}")
        yield archive
