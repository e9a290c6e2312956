"""The results of `bench embed` for people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any


def text(result: dict[str, Any]) -> str:
    """Return the results as tables."""
    return "\n".join(_lines(result))


def _lines(r: dict[str, Any]) -> Iterator[str]:
    yield f"{r['model']} on {r['data']}; medians of {r['pairs']}; {r['machine']['cpu']}, {r['machine']['cores']} cores"
    if r.get("stand_in"):
        yield r["stand_in"]
    yield from _pair(r)
    if r.get("other_output"):
        yield from _pair(r["other_output"])
    if r.get("formats"):
        yield from (
            "",
            "| read from | x realtime, 2 workers up | share of WAV at the model's rate |",
            "|---|---:|---:|",
        )
        for row in r["formats"]:
            yield f"| {row['format'].upper()}, {row['rate_hz'] / 1000:g} kHz | {row['steady']:.1f} | {row['share_of_native']:.3f} |"
    yield ""
    if r.get("memory_mb_by_files"):
        yield f"Memory by number of files (MB): {json.dumps(r['memory_mb_by_files'])}"
    if (long := r.get("memory_long_file")) is not None:
        yield f"One file of {long['hours']} h: worker {long['worker_mb']} MB"
    if r.get("bytes_per_window_1536_float16"):
        yield f"Bytes per window, 1536-d float16, random-like, all told: {r['bytes_per_window_1536_float16']}"
    if r.get("help_s"):
        yield f"sonotheque --help: {r['help_s']} s"
    engine = r.get("engine_beside_no_delegate")
    if engine:
        yield (
            f"BirdNET in LiteRT: {engine['ms_per_window']['ours']} ms a window against {engine['ms_per_window']['no_delegate']} "
            f"without delegate: {engine['ratio']} x, cosine >= {engine['cosine_min']:.6f}"
        )


def _pair(r: dict[str, Any]) -> Iterator[str]:
    m = r["median"]
    how = [r.get("engine"), r.get("precision"), r.get("output")]
    yield from ("", " ".join(word for word in how if isinstance(word, str)), "")
    yield from ("| | 1 worker | 2 workers | two against one |", "|---|---:|---:|---:|")
    rows = (
        ("bare model, x realtime", "bare", ".1f", m.get("bare_two_against_one")),
        ("end to end, x realtime", "end_to_end", ".1f", m["two_against_one"]),
        ("once workers are up, x realtime", "steady", ".1f", m.get("steady_two_against_one")),
        ("pipeline efficiency, start-up included", "efficiency", ".3f", None),
        ("pipeline efficiency, workers up", "steady_efficiency", ".3f", None),
        ("start-up, s", "startup_s", ".1f", None),
        ("windows a second, workers up", "windows_per_s", ".1f", None),
        ("peak of the workers, MB", "worker_peak_mb", ".0f", None),
        ("peak of the coordinator, MB", "coordinator_peak_mb", ".0f", None),
        ("bytes a window", "bytes_per_window", ".0f", None),
        *((f"share of {s}", f"share_{s}", ".3f", None) for s in ("decode", "resample", "infer", "write")),
    )
    for words, key, form, ratio in rows:
        if f"{key}_1" in m and f"{key}_2" in m:
            yield f"| {words} | {m[f'{key}_1']:{form}} | {m[f'{key}_2']:{form}} | {f'{ratio:.2f}' if ratio else ''} |"
    if "dask_overhead" in m:
        yield f"\nWithout Dask, in one process: {m['steady_0']:.1f} x realtime; one Dask worker costs {100 * m['dask_overhead']:.1f} %."
