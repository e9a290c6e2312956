"""The roofline for people: Markdown tables, and the terms they are to be read by."""

from __future__ import annotations

from typing import Any


def text(result: dict[str, Any]) -> str:
    """Return the results."""
    where = result["machine"]
    lines = [
        f"{where['cpu']}, {result['cores']} cores; {result['data']}",
        result["stand_in"],
        "",
        *_costs(result["counted"]),
    ]
    dense = next(row for row in result["counted_front_end_as_product"] if row["kind"] == "all")
    lines += [
        "",
        f"With the transform as a product of matrices the front end is {dense['operations'] / 1e9:.2f} GFLOP. Activations: what convolutions, "
        "products and transforms read and write, float32; in brackets, if every node ran by itself.",
    ]
    return "\n".join(
        [*lines, "", *_peaks(result["peaks"]), "", *_stages(result["stages"]), "", *_kinds(result["kinds"])]
    )


def _costs(counted: list[dict[str, Any]]) -> list[str]:
    whole = sum(row["operations"] for row in counted if row["kind"] == "all")
    lines = ["| one window | nodes | GFLOP | of all | weights MB | activations MB |", "|---|---:|---:|---:|---:|---:|"]
    for row in counted:
        name = f"**{row['stage']}**" if row["kind"] == "all" else f"{row['stage']}: {row['kind']}"
        lines.append(
            f"| {name} | {row['nodes']} | {row['operations'] / 1e9:.3f} | {100 * row['operations'] / whole:.1f} % | "
            f"{row['weight_bytes'] / 1e6:.1f} | {row['moved_bytes'] / 1e6:.1f} ({row['all_moved_bytes'] / 1e6:.1f}) |"
        )
    return lines


def _peaks(peaks: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| measured peak | "
        + " | ".join(f"{p['processes']} process{'es' * (p['processes'] > 1)}" for p in peaks)
        + " |"
    ]
    lines.append("|---|" + "---:|" * len(peaks))
    for engine, by in peaks[0]["gflops"].items():
        for precision in by:
            values = " | ".join(f"{p['gflops'][engine][precision]:,.0f} GFLOP/s" for p in peaks)
            lines.append(f"| product of matrices, {engine} {precision} | {values} |")
    for kind in peaks[0]["gb_s"]:
        lines.append(f"| memory, {kind} | " + " | ".join(f"{p['gb_s'][kind]:.1f} GB/s" for p in peaks) + " |")
    return lines


def _stages(stages: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| stage on one core | engine | batch | ms a window | x realtime | GFLOP/s | of the peak | at least, by peak / by memory |",
        "|---|---|---:|---:|---:|---:|---:|---|",
    ]
    for row in stages:
        name = f"| {row['stage']} | {row['engine']} {row['precision']} |"
        if "failed" in row:
            lines.append(f"{name} | not measured: {' '.join(row['failed'].split())[:120]} | | | | |")
            continue
        share = f"{100 * row['share_of_peak']:.0f} %" if "share_of_peak" in row else ""
        least = f"{row['least_by_peak_ms']:.2f} / " if "least_by_peak_ms" in row else ""
        figures = f"{row['ms']:.2f} | {row['x_realtime']:,.0f} | {row['gflop_s']:.0f} | {share}"
        lines.append(f"{name} {row['batch']} | {figures} | {least}{row['least_from_memory_ms']:.2f} ms |")
    return lines


def _kinds(kinds: list[dict[str, Any]]) -> list[str]:
    if not kinds:
        return ["OpenVINO is not installed: what each kind of node takes is not told."]
    lines = [
        "| where the time goes | precision | ms a window | of the stage | of the peak |",
        "|---|---|---:|---:|---:|",
    ]
    for row in kinds:
        share = f"{100 * row['share_of_peak']:.0f} %" if "share_of_peak" in row else ""
        lines.append(
            f"| {row['stage']}: {row['kind']} | {row['precision']} | {row['ms']:.2f} | {100 * row['share']:.0f} % | {share} |"
        )
    return lines
