"""The peers' results for people: Markdown tables, their terms, and the published reference rows."""

from __future__ import annotations

from typing import Any

_HEAD = (
    "| program | leaves behind | x realtime | a core | x a CPU second | start-up | peak MB | ours is |",
    "|---|---|---:|---:|---:|---:|---:|---|",
)


def text(result: dict[str, Any]) -> str:
    """Return the results."""
    where = result["machine"]
    lines = [
        f"{result['data']}; medians of {result['rounds']} rounds, all in turn; {where['cpu']}, {result['cores']} cores",
        result["stand_in"],
        "x realtime: seconds of sound a second of wall time from 'models ready' to the last byte on disk; start-up stands apart.",
    ]
    rows = result["contestants"]
    models = dict.fromkeys(row["model"] for row in rows)
    for model in models:
        lines += ["", f"**{model}**", "", *_HEAD]
        lines += [_row(row) for row in rows if row["model"] == model]
    return "\n".join([*lines, "", *_published(result["published"])])


def _row(row: dict[str, Any]) -> str:
    if "failed" in row:
        return f"| {row['title']} | {row['output']} | not measured: {' '.join(row['failed'].split())[:160]} | | | | | |"
    times = f"{row['ours_times']:.2f} x as fast ({row['beside']})" if "ours_times" in row else ""
    return (
        f"| {row['title']} | {row['output']} | {row['x_realtime']:.1f} | {row['x_realtime_per_core']:.1f} | {row['x_realtime_per_cpu_s']:.1f} | "
        f"{row['startup_s']:.1f} s | {row['peak_mb']:,.0f} | {times} |"
    )


def _published(told: dict[str, Any]) -> list[str]:
    season, best = told["season"], told["benchmark"][0]
    two = next(row for row in told["benchmark"] if row["workers"] == 2)
    return [
        f"**Reference, published for another machine: {told['name']}**",
        "",
        told["terms"],
        "",
        "| run | workers | batch | x realtime, as published | from its wall time |",
        "|---|---:|---:|---:|---:|",
        f"| season of {season['files']:,} files | {season['workers']} x {season['threads_a_worker']} threads | {season['batch']} | "
        f"{season['x_realtime']:.1f} ({season['x_realtime_per_hardware_thread']:.1f} a hardware thread) | {season['hours'] / season['wall_h']:.1f} |",
        *(
            f"| 100 files | {row['workers']} | {row['batch']} | {row['x_realtime']:.1f} | {row['x_realtime_from_time']:.1f} |"
            for row in (best, two)
        ),
    ]
