"""Use cases over one store. The command line calls these; routes will."""

from __future__ import annotations

from typing import Any

from sonotheque.core.errors import NotFound
from store import Archive, SearchHit, exact_search, open_archive, read_config

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


def nearest_to_window(
    archive: Archive, path: str, start_s: float, k: int = 10, *, other_recordings: bool = True
) -> list[SearchHit]:
    """Return the windows nearest to one of the archive's own, by exact search.

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
    found = archive.sql(
        "SELECT recording_id, part_id, part_row FROM windows WHERE path = ? AND start_s = ?", [path, start_s]
    )
    if found.num_rows:
        own = found["recording_id"][0].as_py() if other_recordings else None
        return exact_search(archive, archive.vectors_of(found)[0], k, without_recording=own)
    starts = archive.sql(
        "SELECT start_s FROM windows WHERE path = ? ORDER BY abs(start_s - ?) LIMIT 1", [path, start_s]
    )
    if starts.num_rows:
        raise NotFound(
            f"{path} has no window that starts at {start_s:g} s; the nearest starts at {starts['start_s'][0].as_py():g} s"
        )
    raise NotFound(f"{archive.root} has no recording {path}")
