"""Use cases over one store. The command line calls these; routes will."""

from __future__ import annotations

from typing import Any

from cluster.job import JobFolder, job_numbers
from search_api.queries import found_window
from search_api.search import SearchOptions, search
from store import Archive, SearchHit, open_archive, read_config

_BY_SITE = """
SELECT site, first_date::VARCHAR AS first_date, last_date::VARCHAR AS last_date, recordings, windows, audio_s,
       latitude, longitude, zone
FROM sites ORDER BY site
"""


def store_info(root: str) -> dict[str, Any]:
    """Return what a store holds: model, settings, sites, dates, windows, bytes.

    Raises
    ------
    NotFound
        If the folder is no store, or nothing was committed yet.
    """
    config = read_config(root)
    with open_archive(root) as archive:
        sites = archive.sql(_BY_SITE).to_pylist()
        snapshot = archive.snapshot
    windows = config.windows
    return {
        "store": root,
        "model": config.model.to_json(),
        "precision": config.model.precision,
        "precision_mixed": _mixed(root),
        "dtype": config.dtype,
        "top_k": config.top_k,
        "window_s": config.model.window_s,
        "hop_s": windows.hop_samples / windows.sample_rate_hz,
        "rate_factor": windows.rate_factor,
        "snapshot": snapshot.number,
        "parts": len(snapshot.parts),
        "windows": snapshot.live_rows,
        "bytes": snapshot.bytes,
        "bytes_per_window": round(snapshot.bytes / snapshot.live_rows, 1) if snapshot.live_rows else 0.0,
        "sites": sites,
    }


def _mixed(root: str) -> bool:
    """Tell whether any job was allowed to add vectors of another precision; ``verify`` counts them."""
    told = (JobFolder(root, number).read_json("job.json") for number in job_numbers(root))
    return any(t.get("options", {}).get("mix_precision") for t in told)


def nearest_to_window(
    archive: Archive, path: str, start_s: float, k: int = 10, *, other_recordings: bool = True
) -> list[SearchHit]:
    """Return the windows nearest to one of the archive's own, through its index if there is one.

    Parameters
    ----------
    archive : Archive
    path : str
        Of a recording, as stored.
    start_s : float
        Start of a window in it.
    k : int
    other_recordings : bool
        Leave the window's own recording out.

    Raises
    ------
    NotFound
        If the archive has no such window; the message names the nearest one.
    """
    query = found_window(archive, path, start_s)
    options = SearchOptions(k=k, own_recording=not other_recordings)
    return search(archive, query, options).answer.hits
