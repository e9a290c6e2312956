"""The season on paper: hours and euros for 17,940 h of sound on 1, 10 and 100 nodes, from measured figures.

Nothing is measured here. Figures come from ``results/`` (``bench peers``, ``bench embed``), each with the machine it was measured on; the
price of a core-hour and the cores of a node are assumptions, stated with the result and set by options.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.envelope import RESULTS, envelope, place, provenance, read, write
from benchmarks.peers_published import HARDWARE_THREADS, published
from sonotheque.core.errors import Invalid, NotFound

HOURS = 17_940
NODES = (1, 10, 100)
CORES_A_NODE = 32
PRICE_EUR = 0.04
ASSUMED = (
    "A core-hour costs {price:g} EUR (an assumption, and no provider's price: give your own). A node has {cores} such cores. "
    "Every core is as fast as one of those measured when all of them worked, and nodes share nothing but the store: files are "
    "independent, so that work divides evenly. Storage, network and the time a person spends are left out; each run pays its start once."
)


def run(
    *,
    price_eur_per_core_hour: float | None = None,
    cores_a_node: int = CORES_A_NODE,
    out: str | None = None,
    quiet: bool = False,
    results: Path = RESULTS,
) -> dict[str, Any]:
    """Work the table out, and write it.

    Parameters
    ----------
    price_eur_per_core_hour : float, optional
        Above 0; ``PRICE_EUR`` if it is not given.
    cores_a_node : int
        At least 1.
    out : str, optional
        File for the results.
    quiet : bool
        Taken for the sake of its siblings; there is no progress to tell.
    results : Path
        Folder with the measured figures.

    Raises
    ------
    Invalid
        If the price or the cores make no sense.
    NotFound
        If nothing was measured yet.
    """
    price_eur = PRICE_EUR if price_eur_per_core_hour is None else price_eur_per_core_hour
    if not 0 < price_eur < 1e6 or cores_a_node < 1:
        raise Invalid(
            f"a core-hour at {price_eur:g} EUR on nodes of {cores_a_node} cores makes no season: "
            "give a price above 0 and at least one core"
        )
    figures = [*from_peers(results), *from_embed(results)]
    if not figures:
        raise NotFound(
            f"{results} holds no measured speeds; run `sonotheque bench peers` or `sonotheque bench embed` first"
        )
    options = f"--price-eur-per-core-hour {price_eur:g}"
    result = envelope(
        "season", options, f"{HOURS:,} h of recordings, as one season of Wytham Woods; nothing is measured"
    ) | {
        "assumptions": {
            "text": ASSUMED.format(price=price_eur, cores=cores_a_node),
            "price_eur_per_core_hour": price_eur,
            "cores_a_node": cores_a_node,
        },
        "reference": reference(price_eur),
        "headline": headline(figures[0], price_eur, cores_a_node),
        "rows": [row for figure in figures for row in rows_of(figure, price_eur, cores_a_node)],
    }
    return write(result, place(out, "season", quick=False))


def rows_of(figure: dict[str, Any], price_eur: float, cores_a_node: int) -> list[dict[str, Any]]:
    """Return hours and euros of one program by the number of nodes."""
    found = []
    for nodes in NODES:
        cores = nodes * cores_a_node
        hours = HOURS / (figure["x_realtime_per_core"] * cores) + figure["startup_s"] / 3600
        found.append(
            {
                "name": f"{figure['program']}, {figure['model']}, {figure['output']}, {nodes} nodes, by {figure['measured'].partition(':')[0]}",
                **figure,
                "nodes": nodes,
                "cores": cores,
                "wall_h": round(hours, 3),
                "cost_eur": round(hours * cores * price_eur, 2),
            }
        )
    return found


def headline(figure: dict[str, Any], price_eur: float, cores_a_node: int) -> list[str]:
    """Return the season of the first program in a sentence."""
    one, _, many = rows_of(figure, price_eur, cores_a_node)
    return [
        f"{HOURS:,} h with {one['model']}, {one['output']}: {one['wall_h']:.1f} h on one node of {cores_a_node} cores, {many['wall_h']:.2f} h on "
        f"{many['nodes']}, {one['cost_eur']:,.0f} EUR at {price_eur:g} EUR a core-hour (assumed)"
    ]


def from_peers(results: Path) -> Iterable[dict[str, Any]]:
    """Yield the speeds that ``bench peers`` measured, all in one run."""
    told = _read(results / "peers.json")
    for row in told.get("contestants", ()):
        if "x_realtime_per_core" in row:
            yield {
                "program": row["title"],
                "model": row["model"],
                "output": row["output"],
                "x_realtime_per_core": row["x_realtime_per_core"],
                "startup_s": row["startup_s"],
                "measured": f"bench peers: {provenance(told)}",
            }


def from_embed(results: Path) -> Iterable[dict[str, Any]]:
    """Yield this program's speeds as ``bench embed`` measured them, a file a model: two workers' speed, halved.

    A result of another shape (no ``median``, or other keys in it) is passed over: ``bench peers`` holds the same run beside others.
    """
    for path in sorted(results.glob("embed-*.json")):
        told = _read(path)
        for one in (told, told.get("other_output") or {}):
            median = one.get("median")
            if isinstance(median, dict) and isinstance(median.get("steady_2"), int | float):
                yield {
                    "program": "sonotheque",
                    "model": f"{told.get('model', path.stem)}{' stand-in' if told.get('stand_in') else ''}",
                    "output": str(one.get("output", "vectors + labels")),
                    "x_realtime_per_core": round(median["steady_2"] / 2, 2),
                    "startup_s": median.get("startup_s_2", 0.0),
                    "measured": f"bench embed: {provenance(told)}",
                }


def reference(price_eur: float) -> dict[str, Any]:
    """Return what the field's report says of this season, with the price of its threads at the same assumption."""
    season = published()["season"]
    return {
        "program": "perch-cpu-inference, as published",
        "wall_h": season["wall_h"],
        "hardware_threads": HARDWARE_THREADS,
        "thread_hours_eur": round(season["wall_h"] * HARDWARE_THREADS * price_eur, 2),
        "note": "On one machine of its own. A hardware thread is counted here as a core, as clouds sell them.",
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        return read(path)
    except (NotFound, Invalid):
        return {}


def text(result: dict[str, Any]) -> str:
    """Return the table for people."""
    told, assumed = result["reference"], result["assumptions"]
    lines = [
        result["data"],
        assumed["text"],
        "Perch 2 was measured on a stand-in with random weights: for speed and size only, never for quality.",
        "",
        "| program | model, leaves behind | x realtime a core | "
        + " | ".join(f"{n} node{'s' * (n > 1)}" for n in NODES)
        + " |",
        "|---|---|---:|" + "---:|" * len(NODES),
    ]
    rows = result["rows"]
    for first in range(0, len(rows), len(NODES)):
        own = rows[first : first + len(NODES)]
        cells = " | ".join(f"{row['wall_h']:.2f} h, {row['cost_eur']:,.0f} EUR" for row in own)
        lines.append(
            f"| {own[0]['program']} | {own[0]['model']}, {own[0]['output']} | {own[0]['x_realtime_per_core']:.1f} | {cells} |"
        )
    lines += [
        "",
        f"{told['program']}: {told['wall_h']} h on {told['hardware_threads']} hardware threads; at the same price "
        f"{told['thread_hours_eur']:,.0f} EUR. {told['note']}",
        "",
        *dict.fromkeys(f"Measured: {row['measured']}" for row in rows),
    ]
    return "\n".join(lines)
