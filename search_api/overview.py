"""What an archive holds, in one answer: what a page shows before anything was asked."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from embedder.models import MODELS
from store import Archive

_TOTALS = """
SELECT coalesce(sum(windows), 0)::BIGINT AS windows, coalesce(sum(recordings), 0)::BIGINT AS recordings, count(*)::BIGINT AS sites,
       coalesce(sum(audio_s), 0)::DOUBLE AS audio_s, min(first_date)::VARCHAR AS first, max(last_date)::VARCHAR AS last
FROM sites
"""


@dataclass(frozen=True, slots=True)
class Overview:
    """What an archive holds.

    Attributes
    ----------
    windows, recordings, sites : int
        Live windows, recordings that have any, sites that have any.
    audio_s : float
        Seconds of sound in them.
    first, last : str or None
        Local dates of the first and the last recording; None if no recording has a time.
    """

    windows: int
    recordings: int
    sites: int
    audio_s: float
    first: str | None
    last: str | None


def archive_overview(archive: Archive) -> Overview:
    """Return what an archive holds: sums over its sites, so that its size does not matter."""
    return Overview(**archive.sql(_TOTALS).to_pylist()[0])


def model_facts(archive: Archive) -> dict[str, Any]:
    """Return what an archive's vectors are: name, version, dim, window_s, sample_rate_hz, licence_note."""
    model = archive.config.model
    info = MODELS.get(model.name)
    free = info is None or info.licence in ("none", "Apache-2.0")
    return {
        "name": model.name,
        "version": model.version,
        "dim": model.dim,
        "window_s": model.window_s,
        "sample_rate_hz": model.sample_rate_hz,
        "licence_note": "" if free or info is None else f"{info.title}: weights under {info.licence}. {info.note}",
    }


def archive_name(root: str) -> str:
    """Return what a store is called: its folder's name."""
    return os.path.basename(os.path.realpath(root)) or "archive"
