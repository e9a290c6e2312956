"""Folders of sites, and what is alive of a run."""

from __future__ import annotations

from pathlib import Path

import psutil

from tests.cluster.support import write_wav


def make_sites(
    folder: Path, *, sites: tuple[str, ...] = ("marsh", "wood"), days: int = 2, seconds: float = 4.0
) -> Path:
    """Write one recording for each day of each site."""
    seed = 0
    for site in sites:
        for day in range(days):
            seed += 1
            write_wav(folder / site / f"2024050{day + 1}_040000.wav", seconds, seed=seed)
    return folder


def whole_tree(pid: int) -> list[psutil.Process]:
    """Return a process and all below it."""
    top = psutil.Process(pid)
    return [top, *top.children(recursive=True)]
