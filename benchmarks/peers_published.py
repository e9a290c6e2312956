"""Figures that others published for their own machines: told beside the measured ones, and never compared with them by a ratio."""

from __future__ import annotations

from typing import Any

TERMS = (
    "Published by perch-cpu-inference for its own machine (96 hardware threads); not measured here. Its x-realtime is the number of "
    "files x 60 s / seconds of its inner timer: whatever the files' real lengths, files that failed to decode included, imports and the "
    "making of output folders left out. With start-up, 100 files in the 11.7 s of its table are 513 x, not 752 x. Every window gets its "
    "labels: the whole graph is run. Its 17,940 h are 1,076,405 files x 60 s; per hardware thread 433.6 x is 4.5 x."
)

# workers, batch, seconds for 100 files, files a second, x-realtime: mean of three runs each
_BENCHMARK = (
    (32, 4, 11.7, 12.54, 752.4),
    (32, 8, 12.4, 11.66, 699.8),
    (32, 16, 14.4, 9.34, 560.4),
    (16, 8, 16.6, 7.81, 468.8),
    (16, 16, 17.3, 7.39, 443.6),
    (16, 4, 17.4, 7.33, 440.0),
    (8, 8, 19.4, 6.38, 383.0),
    (8, 4, 20.1, 6.08, 365.0),
    (8, 16, 21.6, 5.62, 337.0),
    (2, 4, 43.1, 2.53, 152.0),
    (2, 8, 45.2, 2.45, 146.8),
    (2, 16, 44.8, 2.43, 145.6),
)
HARDWARE_THREADS = 96


def published() -> dict[str, Any]:
    """Return the season and the benchmark of perch-cpu-inference, with their terms."""
    season = {
        "files": 1_076_405,
        "hours": 17_940,
        "wall_h": 40.85,
        "x_realtime": 433.6,
        "x_realtime_range": [324.9, 896.3],
        "x_realtime_per_hardware_thread": round(433.6 / HARDWARE_THREADS, 2),
        "workers": 32,
        "threads_a_worker": 3,
        "batch": 4,
        "embeddings_gb": 118.33,
        "predictions_gb": 5.94,
    }
    rows = [
        {
            "workers": workers,
            "batch": batch,
            "time_s": time_s,
            "files_per_s": files_per_s,
            "x_realtime": x,
            "x_realtime_from_time": round(100 * 60 / time_s, 1),
        }
        for workers, batch, time_s, files_per_s, x in _BENCHMARK
    ]
    return {"name": "perch-cpu-inference", "terms": TERMS, "season": season, "benchmark": rows}
