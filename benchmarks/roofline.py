"""How near Perch 2's embedding comes to what the machine can do: what a window costs, what the cores reach, and what takes the time.

Operations and bytes are counted from the stand-in's ONNX graph; peaks are measured through the same engines; stages are measured each by
itself on one core. The share reached is operations / CPU time / peak of the same engine and precision.
"""

from __future__ import annotations

import os
from typing import Any

from benchmarks.envelope import SCRATCH, envelope, place, write
from benchmarks.roofline_count import HEAVY, STAGES, count, summed
from benchmarks.roofline_peak import measured
from benchmarks.roofline_text import text
from benchmarks.search_children import child
from benchmarks.standin import ensure
from benchmarks.telling import telling

__all__ = ["run", "text"]

SECONDS, QUICK_SECONDS = 2.0, 0.2
WINDOW_S = 5.0
SPARSE_MEL = 2 * 2 * 512 * 500  # each bin weighs in two bands at most: what is left of the product with the mel matrix
BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 1}


def run(*, quick: bool = False, out: str | None = None, quiet: bool = False) -> dict[str, Any]:
    """Count, measure, and write the results.

    Parameters
    ----------
    quick : bool
        Few repetitions and one batch size.
    out : str, optional
        File for the results.
    quiet : bool
        No progress.
    """
    tell = telling(quiet)
    SCRATCH.mkdir(exist_ok=True)
    seconds, cores = QUICK_SECONDS if quick else SECONDS, len(os.sched_getaffinity(0))
    head = envelope("roofline", "--quick" if quick else "", "windows of 5 s of noise with a tone, in memory")
    standin = ensure(SCRATCH / "standin", saved_model=False)
    counted = summed(count(standin.onnx))
    as_product = [row for row in summed(count(standin.onnx_no_dft)) if row["stage"] == STAGES[0]]
    tell("counted; now the peaks")
    peaks = [measured(processes, seconds) for processes in sorted({1, cores})]
    tell("now the stages")
    told = child("roofline_stages", standin.onnx_no_dft.resolve(), seconds, one_thread=True)
    peaks[0] = raised(peaks[0], kinds_reached(told["kinds"], told["stages"], counted, as_product, peaks[0]))
    stages = [reached(row, counted, as_product, peaks[0]) for row in told["stages"]]
    result = head | {
        "stand_in": "Perch 2 is a stand-in with random weights: for speed and size only, never for quality.",
        "headline": headline(counted, stages),
        "cores": cores,
        "counted": counted,
        "counted_front_end_as_product": as_product,
        "peaks": peaks,
        "stages": stages,
        "kinds": kinds_reached(told["kinds"], told["stages"], counted, as_product, peaks[0]),
    }
    return write(result, place(out, "roofline", quick=quick))


def raised(peak: dict[str, Any], kinds: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the peak, raised to the fastest part of the network where that was faster than the products made to find it.

    A peak that something exceeds is none: an engine may find a better way for a shape of the network's than for those tried.
    """
    gflops = {engine: dict(by) for engine, by in peak["gflops"].items()}
    for row in kinds:
        if row.get("share_of_peak", 0.0) > 1.0:
            seen = peak["gflops"][row["engine"]][row["precision"]] * row["share_of_peak"]
            gflops[row["engine"]][row["precision"]] = max(gflops[row["engine"]][row["precision"]], round(seen, 1))
    return peak | {"gflops": gflops}


def headline(counted: list[dict[str, Any]], stages: list[dict[str, Any]]) -> list[str]:
    """Return what matters in two sentences: the costs, and the fastest backbone."""
    whole = {row["stage"]: row["operations"] / 1e9 for row in counted if row["kind"] == "all"}
    told = ", ".join(f"{stage} {gflop:.2f}" for stage, gflop in whole.items())
    trunks = [row for row in stages if row["stage"] == STAGES[1] and "share_of_peak" in row]
    if not trunks:
        return [f"GFLOP a window: {told}"]
    best = min(trunks, key=lambda row: row["ms"])
    share = f"{100 * best['share_of_peak']:.0f} % of its peak"
    return [
        f"GFLOP a window: {told}",
        f"the backbone takes {best['ms']:.1f} ms of one core in {best['engine']} {best['precision']}: {share}",
    ]


def reached(
    row: dict[str, Any], counted: list[dict[str, Any]], as_product: list[dict[str, Any]], peak: dict[str, Any]
) -> dict[str, Any]:
    """Add what a stage reaches: GFLOP/s, its share of the peak, and the share of the lower of its two roofs.

    The roofs are the engine's peak and the memory's bandwidth, as if every byte of activations and weights came from memory: most of
    them come from caches, so that the second is a lower bound, and a stage may reach more than it.
    """
    if "failed" in row:
        return row
    outside = row["engine"] == "scipy"
    table = as_product if row["stage"] == STAGES[0] else counted
    cost = next(c for c in table if c["kind"] == "all" and c["stage"] == (STAGES[0] if outside else row["stage"]))
    if outside:
        cost = cost | {"operations": cost["operations"] - _dense_mel(counted) + SPARSE_MEL}
    gflops = cost["operations"] / row["ms"] / 1e6
    peak_gflops = peak["gflops"].get(row["engine"], {}).get(row["precision"])
    size = BYTES[row["precision"]] / 4
    moved = size * (cost["moved_bytes"] + cost["weight_bytes"] / row["batch"])
    from_memory_ms = moved / peak["gb_s"]["copy"] / 1e6
    found = row | {
        "x_realtime": round(1e3 * WINDOW_S / row["ms"], 1),
        "gflop": round(cost["operations"] / 1e9, 3),
        "gflop_s": round(gflops, 1),
        "operations_a_byte": round(cost["operations"] / moved, 1),
        "least_from_memory_ms": round(from_memory_ms, 3),
    }
    if peak_gflops:
        least_ms = cost["operations"] / peak_gflops / 1e6
        found |= {
            "least_by_peak_ms": round(least_ms, 3),
            "share_of_peak": round(gflops / peak_gflops, 3),
            "share_of_roofline": round(max(least_ms, from_memory_ms) / row["ms"], 3),
        }
    return found


def _dense_mel(counted: list[dict[str, Any]]) -> int:
    return sum(c["operations"] for c in counted if (c["stage"], c["kind"]) == (STAGES[0], "product"))


def kinds_reached(
    kinds: list[dict[str, Any]],
    stages: list[dict[str, Any]],
    counted: list[dict[str, Any]],
    as_product: list[dict[str, Any]],
    peak: dict[str, Any],
) -> list[dict[str, Any]]:
    """Add to each kind of node its milliseconds (its share of the stage's CPU time) and its share of the engine's peak."""
    rows = []
    for kind in kinds:
        same = [
            s
            for s in stages
            if (s["stage"], s["engine"], s["precision"]) == (kind["stage"], kind["engine"], kind["precision"])
        ]
        if not same or "failed" in same[0]:
            continue
        names = {kind["kind"]} | ({"squeeze and excite"} if kind["kind"] == "convolution 1 x 1" else set())
        table = as_product if kind["stage"] == STAGES[0] else counted
        operations = sum(c["operations"] for c in table if c["stage"] == kind["stage"] and c["kind"] in names)
        ms = same[0]["ms"] * kind["share"]
        top = peak["gflops"].get(kind["engine"], {}).get(kind["precision"])
        row = kind | {"ms": round(ms, 3)}
        if kind["kind"] in HEAVY and ms and top:
            row["share_of_peak"] = round(operations / ms / 1e6 / top, 3)
        rows.append(row)
    return rows
