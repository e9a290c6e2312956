"""One of several processes that add versions of the same probe at the same moment."""

from __future__ import annotations

import os
import signal
from typing import Any

from store.fsops import LocalFileOps
from store.probes import ProbeStore

VERSIONS = 8
NAMES = ("weights.safetensors", "experiment.yaml", "examples.parquet", "report.json", "probe.json")


def add(root: str, who: str, barrier: Any, results: Any) -> None:
    store = ProbeStore(root)
    numbers = []
    for _ in range(VERSIONS):
        barrier.wait(60)
        numbers.append(store.add("owl", dict.fromkeys(NAMES, who.encode())))
        store.promote("owl", numbers[-1], who)
    results.put((who, numbers))


class KilledOps(LocalFileOps):
    """Ends its own process with SIGKILL before the Nth call that names a file or forces one to disk."""

    def __init__(self, at: int) -> None:
        self.left = at

    def _step(self) -> None:
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def create(self, path: str) -> Any:
        self._step()
        return super().create(path)

    def sync_file(self, handle: Any) -> None:
        self._step()
        super().sync_file(handle)

    def link_new(self, source: str, target: str) -> bool:
        self._step()
        return super().link_new(source, target)

    def sync_dir(self, path: str) -> None:
        self._step()
        super().sync_dir(path)


def add_and_die(root: str, at: int) -> None:
    """Add a version and take it into use, in a process forked for it, killed before the Nth call."""
    store = ProbeStore(root, KilledOps(at))
    store.promote("owl", store.add("owl", dict.fromkeys(NAMES, b"new")), "new")
