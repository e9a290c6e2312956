"""What the catalog costs: to build once, and to put right when a site's zone was wrong."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from store import open_archive
from store.metadata import SiteChange, write_change


def _bytes(folder: str) -> int:
    return sum(os.path.getsize(f"{base}/{name}") for base, _, names in os.walk(folder) for name in names)


def build_catalog(root: str) -> dict[str, Any]:
    """Remove a store's catalog and build it again by opening; returns how long that took, and what it weighs."""
    shutil.rmtree(f"{root}/catalog", ignore_errors=True)
    began = time.perf_counter()
    with open_archive(root) as archive:
        took_s = time.perf_counter() - began
        units = len(archive.catalog.manifest.units)
        windows, dim = archive.snapshot.live_rows, archive.config.model.dim
    weight = {name: _bytes(f"{root}/{name}") for name in ("embeddings", "predictions", "catalog")}
    return {
        "build_s": round(took_s, 1),
        "windows_per_s": round(windows / took_s),
        "units": units,
        "bytes": weight,
        "bytes_per_window": round(weight["catalog"] / windows, 1),
        "share_of_parts": round(weight["catalog"] / (weight["embeddings"] + weight["predictions"]), 4),
        "share_of_raw_float16_vectors": round(weight["catalog"] / (windows * dim * 2), 4),
    }


@contextmanager
def _linked(root: str) -> Iterator[str]:
    """Make a copy of a store by links, whose catalog and metadata can change: files of a store never do."""
    with tempfile.TemporaryDirectory(dir=Path(root).parent) as folder:
        yield shutil.copytree(root, f"{folder}/store", copy_function=os.link)


def correction(root: str, site: str, times: int) -> dict[str, Any]:
    """Return how long the next opening takes after a site's zone was corrected."""
    taken, counts = [], set()
    with _linked(root) as copy:
        for i in range(times):
            if i:  # else the files of an earlier change would be found again
                shutil.rmtree(f"{copy}/catalog")
                shutil.copytree(f"{root}/catalog", f"{copy}/catalog", copy_function=os.link)
            write_change(copy, SiteChange(site, zone=("Europe/Istanbul", "Atlantic/Azores")[i % 2], keep="instant"))
            began = time.perf_counter()
            with open_archive(copy) as archive:
                taken.append(time.perf_counter() - began)
                units = sum(u.site == site for u in archive.catalog.manifest.units)
                counts.add(archive.sql("SELECT count(*) AS n FROM windows WHERE site = ?", [site])["n"][0].as_py())
    return {
        "what": "opening after the zone of one site was corrected",
        "windows": sorted(counts),
        "units": units,
        "median_s": round(statistics.median(taken), 2),
        "all": [round(t, 2) for t in taken],
    }
