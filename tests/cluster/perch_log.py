"""Writes what perch-cpu-inference's batch tool logs: its lines, and its two tables as rich draws them into a file."""

from __future__ import annotations

import io
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

SETTINGS = {
    "Avg Chunks/File": "12.0",
    "RAM Budget": "10.0 GB",
    "Files per Group": "745",
    "Total Groups": "1",
    "System CPUs": "96",
    "Max CPUs (limit)": "96",
    "Inference Workers": "32",
    "Threads per Worker": "3",
    "Loader Threads": "24",
    "Batch Size": "4",
    "Checkpoint Interval": "Every 200 batches",
    "Embedding Format": "float32",
}


def drawn(title: str, rows: dict[str, str], *, encoding: str, colour: bool, heading: bool) -> str:
    """Return a table as the program prints it."""
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, width=80, force_terminal=colour, color_system="standard" if colour else None)
    table = Table(title=title, box=box.DOUBLE_EDGE if heading else box.ROUNDED, show_header=heading)
    table.add_column("Metric", style="cyan", width=None if heading else 30)
    table.add_column("Value", style="green bold", justify="right" if heading else "left")
    for row in rows.items():
        table.add_row(*row)
    console.print(table)
    file.flush()
    return file.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined,no-any-return]


def run_text(
    files: int,
    seconds: float,
    *,
    already: int = 0,
    groups: tuple[int, ...] = (),
    ends: bool = True,
    sizes: tuple[str, str] = ("0.75", "37.90"),
    encoding: str = "utf-8",
    colour: bool = False,
    **settings: str,
) -> str:
    """Return the output of one run of the script.

    Parameters
    ----------
    files, already : int
        To process, and processed by an earlier run.
    seconds : float
        Of its inner timer.
    groups : tuple of int
        Files done after each finished group; all of them in one by default.
    ends : bool
        Whether it comes to its results.
    """
    style: dict[str, Any] = {"encoding": encoding, "colour": colour}
    counts = {
        "Total Files": f"{files + already:,}",
        "Already Processed": f"{already:,}",
        "To Process": f"{files:,}",
    }
    text = "Estimating memory requirements...\n"
    text += drawn("Configuration", {**counts, **SETTINGS, **settings}, heading=False, **style)
    before = 0
    for number, done in enumerate(groups or (files,), 1):
        text += f"⠙ Loading group {number}... ━━━ 3/{files}\r⠹ Loading group {number}... ━━━ {files}/{files}\n"
        text += f"v Loaded {(done - before) * 12:,} chunks\n\n"
        text += f"v Group {number} complete ({done}/{files} files)\n\n"
        before = done
    if not ends:
        return text
    results = {
        "Files Processed": f"{files:,}",
        "Total Completed": f"{files + already:,}",
        "Total Running Time": f"{seconds:.2f}s",
        "Speed": f"{files * 60 / seconds:.1f}x realtime",
        "Throughput": f"{files / seconds:.2f} files/sec",
        "CPU Efficiency": "100.0%",
        "Peak RAM Used": "~10.0 GB (budget)",
    }
    text += (
        f"\nv Results saved to partitioned datasets\nEmbeddings size: {sizes[0]} GB\nPredictions size: {sizes[1]} MB\n"
    )
    return text + drawn("Performance Results", results, heading=True, **style)


def batch_text(*jobs: tuple[str, str, str]) -> str:
    """Return the batch tool's log of (site, what it printed, ``DONE``, ``FAILED`` or nothing)."""
    text = "========\nINFERENCE STARTED: Mon Jun  2 09:00:00 UTC 2025\nInput:  /in\nOutput: /out\n========\n\n"
    for hour, (site, printed, end) in enumerate(jobs, 9):
        text += f"[{hour:02d}:01:02] Starting: {site}\n{printed}"
        text += f"[{hour:02d}:31:00] {end}: {site}\n\n" if end else ""
    return text
