"""A process that freezes in the middle of a commit, as one does whose machine is paused, and goes on when it is thawed."""

from __future__ import annotations

import os
import signal
from typing import Any

from sonotheque.core.errors import Unavailable
from tests.store import kit
from tests.store.faults import FaultyOps


class FreezingOps(FaultyOps):
    """LocalFileOps that freezes its own process before its ``freeze_at``-th call."""

    def __init__(self, freeze_at: int) -> None:
        super().__init__()
        self.freeze_at = freeze_at

    def step(self, name: str, effect: Any, torn: Any = None, path: str = "") -> Any:
        if not self._nested and len(self.calls) == self.freeze_at:
            os.kill(os.getpid(), signal.SIGSTOP)
        return super().step(name, effect, torn, path)


def run(roots: list[str], moments: list[int], turn: Any, results: Any) -> None:
    """Commit the same part into each store, freezing at another moment in each; says what became of it."""
    for root, freeze_at in zip(roots, moments, strict=True):
        turn.get()
        try:
            committed = kit.write_part(
                root, kit.store_config(), [(kit.recording("a.wav"), 3)], ops=FreezingOps(freeze_at)
            )
            results.put("won" if committed.won else "lost")
        except Unavailable:
            results.put("refused")
