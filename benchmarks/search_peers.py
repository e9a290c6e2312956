"""What others do with the same vectors and the same queries, each in processes of its own, and how this program compares."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.search_children import child
from benchmarks.search_layout import Layout

REQUIREMENTS = Path(__file__).parents[1] / "requirements" / "peers.txt"
OWN = ("numpy", "duckdb")  # run in this program's environment, whose dependencies they are
ENOUGH = 0.99  # recall from which a peer's setting counts as good
FILTER = "1 %, one site"
ALL = ("numpy", "duckdb", "hoplite", "usearch", "hnswlib", "lancedb")


def environment(scratch: Path, tell: Callable[[str], None] = lambda _: None) -> str:
    """Return the Python of the peers' environment, made from ``requirements/peers.txt`` unless it is there.

    Raises
    ------
    RuntimeError
        If it cannot be made.
    """
    folder = (scratch / "peers").resolve()
    python, mark = folder / "bin" / "python", folder / "made-from.txt"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if mark.exists() and mark.read_text("ascii") == wanted:
        return str(python)
    tell(f"making the peers' environment in {folder} (1.5 GB, some minutes); --no-peers leaves them out")
    shutil.rmtree(folder, ignore_errors=True)
    install = [str(python), "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--require-hashes"]
    for command in ([sys.executable, "-m", "venv", str(folder)], [*install, "-r", str(REQUIREMENTS)]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr[-2000:]}")
    mark.write_text(wanted, "ascii")
    return str(python)


def measure(
    scratch: Path, folder: Path, names: Sequence[str], queries: int, tell: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Build and ask each peer in turn; one that fails is told with its reason, and the others go on."""
    python = environment(scratch, tell) if set(names) - set(OWN) else sys.executable
    found = []
    for name in names:
        data = folder / "peer" / name
        shutil.rmtree(data, ignore_errors=True)
        own = sys.executable if name in OWN else python
        try:
            told = child("search_peer", name, "build", folder, data, python=own)
            tell(f"{told['name']}: built in {told['build']['wall_s']:.0f} s")
            told |= child("search_peer", name, "ask", folder, data, queries, python=own, one_thread=True)
            best = max(told["unfiltered"], key=lambda s: s["recall"])
            tell(f"{told['name']}: {best['name']}: {best['cpu_ms']:.2f} ms CPU, recall {best['recall']:.4f}")
        except RuntimeError as error:
            told = {"name": name, "failed": str(error)}
            tell(f"{name} failed: {error}")
        found.append(told)
        shutil.rmtree(folder / "peer", ignore_errors=True)
    return found


def compare(ours: dict[str, Any], build: dict[str, Any], peers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Set each setting of each peer beside ours that costs least and finds at least as much.

    A peer that finds everything stands beside our comparison of everything; ``times_default`` sets it beside our default as well, whose
    recall is told with it.
    """
    rows: list[dict[str, Any]] = []
    mine = {"unfiltered": ours["unfiltered"], "filtered": [f for f in ours["filtered"] if f["name"] == FILTER]}
    for peer in peers:
        if "failed" in peer:
            continue
        for kind, own in mine.items():
            for setting in peer[kind]:
                enough = [s for s in own if s["recall"] >= setting["recall"]] or [max(own, key=lambda s: s["recall"])]
                least = min(enough, key=lambda s: s["cpu_ms"])
                rows.append(
                    {
                        "peer": peer["name"],
                        "setting": setting["name"],
                        "filter": "none" if kind == "unfiltered" else FILTER,
                        "cpu_ms": setting["cpu_ms"],
                        "recall": setting["recall"],
                        "recall_p5": setting["recall_p5"],
                        "ours": least["name"],
                        "ours_cpu_ms": least["cpu_ms"],
                        "ours_recall": least["recall"],
                        "times": round(setting["cpu_ms"] / least["cpu_ms"], 2),
                        "default_recall": own[0]["recall"],
                        "default_cpu_ms": own[0]["cpu_ms"],
                        "times_default": round(setting["cpu_ms"] / own[0]["cpu_ms"], 2),
                        "build_times": round(peer["build"]["cpu_s"] / build["cpu_s"], 2),
                        "build_wall_times": round(peer["build"]["wall_s"] / build["wall_s"], 2),
                    }
                )
    return rows


def at_equal_recall(rows: Sequence[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Return one row of each peer: its cheapest setting whose recall is enough, else the one that finds most."""
    chosen = []
    for peer in dict.fromkeys(row["peer"] for row in rows):
        own = [row for row in rows if row["peer"] == peer and row["filter"] == kind]
        if own:
            best = max(row["recall"] for row in own)
            few = [row for row in own if row["recall"] >= min(ENOUGH, best)]
            chosen.append(min(few, key=lambda row: row["cpu_ms"]))
    return chosen


def beside(
    scratch: Path,
    folder: Path,
    shape: Layout,
    names: Sequence[str],
    queries: int,
    ours: dict[str, Any],
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Measure peers over an archive on which ours was measured in this run; all settings, and each at equal recall."""
    peers = measure(scratch, folder, names, queries, tell)
    rows = compare(ours["ask"], ours["build"], peers)
    equal = [row for kind in ("none", FILTER) for row in at_equal_recall(rows, kind)]
    return {
        "windows": shape.windows,
        "dim": shape.dim,
        "ours": ours,
        "peers": peers,
        "compared": rows,
        "at_equal_recall": equal,
    }
