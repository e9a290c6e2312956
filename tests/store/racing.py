"""One of two processes that try to commit the same parts at the same moment."""

from __future__ import annotations

from typing import Any

from sonotheque.core.errors import Unavailable
from store import load_ledger, write_snapshot
from tests.store import kit

PARTS = 25


def run(root: str, perturb: float, barrier: Any, results: Any) -> None:
    config = kit.store_config()
    out = []
    for number in range(PARTS):
        items = [(kit.recording(f"race/{number}.wav"), 2)]
        barrier.wait(60)
        try:
            out.append("won" if kit.write_part(root, config, items, perturb=perturb).won else "lost")
        except Unavailable:
            out.append("refused")
    results.put(out)


SNAPSHOTS = 10


def snapshots(root: str, name: str, barrier: Any, results: Any) -> None:
    """Commit a part, then write a snapshot at the same moment as the other process."""
    config = kit.store_config()
    out = []
    for number in range(SNAPSHOTS):
        kit.write_part(root, config, [(kit.recording(f"{name}/{number}.wav"), 1)])
        barrier.wait(60)
        ledger = load_ledger(root)
        out.append((write_snapshot(root, config, ledger).number, sorted(ledger.parts)))
    results.put(out)
