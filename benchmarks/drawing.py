"""Plots of results for the generated page: SVG on white, the same bytes for the same results.

A plot is a function that draws one result on axes, or raises ``KeyError`` if the result holds nothing to draw; that plot is left out then.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

_NAME_CHARS = 66  # of a bar: longer names go on below
OURS, THEIRS, SECOND = "#1f6f54", "#b9bec4", "#d98c2b"
_STYLE = {
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "axes.facecolor": "white",
    "axes.edgecolor": "#8a8f94",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "font.family": "sans-serif",
    "font.size": 9,
    "svg.fonttype": "none",  # text stays text: small files, and sharp
    "svg.hashsalt": "sonotheque",  # names inside are random otherwise
}


@dataclass(frozen=True)
class Plot:
    """A plot of one benchmark: what it shows, and what draws it."""

    shows: str
    draw: Callable[[Any, dict[str, Any]], None]


def save(plot: Plot, result: dict[str, Any], note: str, target: Path) -> bool:
    """Draw a result; returns whether it held anything to draw.

    Parameters
    ----------
    plot : Plot
    result : dict
    note : str
        Machine and commit, written below the plot: pictures travel without their page.
    target : Path
        The SVG file.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 3.4), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        try:
            plot.draw(axes, result)
        except (KeyError, IndexError, TypeError, ValueError):
            return False
        title = axes.get_title("left")
        axes.set_title("")
        figure.suptitle(title, x=0.01, ha="left", fontsize=11)  # over the names of the bars too, which may be long
        figure.supxlabel(note, fontsize=7, color="#6b7075", x=0.01, ha="left")
        target.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(target, format="svg", metadata={"Date": None, "Creator": None})
    return True


def bars(
    axes: Any,
    names: Sequence[str],
    values: Sequence[float],
    colours: Sequence[str],
    label: str,
    form: str | Sequence[str] = "{:,.0f}",
) -> None:
    """Draw named bars from the top down, each with its number, or with what ``form`` says instead of one.

    Raises
    ------
    KeyError
        If there are none.
    """
    if not names:
        raise KeyError("nothing to draw")
    drawn = axes.barh(range(len(names)), values, color=colours, height=0.7)
    said = [form.format(v) for v in values] if isinstance(form, str) else list(form)
    axes.bar_label(drawn, said, padding=3, fontsize=8)
    axes.set_yticks(range(len(names)), [textwrap.fill(name, _NAME_CHARS) for name in names], fontsize=7.5)
    axes.invert_yaxis()
    axes.set_xlabel(label)
    axes.margins(x=0.12)
    axes.grid(axis="x", color="#e6e8ea", linewidth=0.7)
    axes.tick_params(axis="y", length=0)


def embed(axes: Any, r: dict[str, Any]) -> None:
    """Draw end to end beside the bare model."""
    m = r["median"]
    rows = [
        (f"{words}, {n} worker{'s' if n > 1 else ''}", m[f"{key}_{n}"], colour)
        for n in (1, 2)
        for words, key, colour in _EMBED
    ]
    axes.set_title(f"{r['model']}{' (stand-in)' if r.get('stand_in') else ''}: seconds of sound a second")
    bars(axes, *zip(*rows, strict=True), "x realtime")


_EMBED = (("bare model", "bare", THEIRS), ("end to end", "end_to_end", OURS))


def _short(model: str, told: dict[str, Any]) -> str:
    """Return a model's name for a bar; a stand-in is called one wherever it stands."""
    name = model.split("_", maxsplit=1)[0]
    return f"{name} stand-in" if name == "perch" and told.get("stand_in") else name


def engines(axes: Any, r: dict[str, Any]) -> None:
    """Draw what a core reaches with each engine and precision: ours that pass, ours that do not, and what people use."""
    rows = []
    for name, model in r["models"].items():
        short = _short(name, model)
        for row in [*model["ways"], *model["beside"]]:
            told = row.get("vectors") or row.get("with_labels")
            if told and "failed" not in row:
                colour = (
                    THEIRS if not row["ours"] else OURS if row.get("verdict") in ("passes", "reference") else SECOND
                )
                output = "" if row.get("vectors") else ", with labels"
                rows.append((f"{short}: {row['title']}{output}", told["x_realtime_per_core"], colour))
    axes.set_title("Embedding by engine and precision: seconds of sound a core-second")
    axes.figure.set_figheight(max(3.4, 0.9 + 0.32 * len(rows)))
    bars(
        axes,
        [n for n, *_ in rows],
        [v for _, v, _ in rows],
        [c for *_, c in rows],
        "x realtime a core (orange: differs too much; grey: others)",
    )


def gpu_embed(axes: Any, r: dict[str, Any]) -> None:
    """Draw what a GPU reaches over the batch, by engine and precision."""
    by_name: dict[str, list[tuple[float, float]]] = {}
    for row in r["rows"]:
        if "failed" not in row:
            by_name.setdefault(row["name"], []).append((row["batch"], row["x_realtime"]))
    if not by_name:
        raise KeyError("nothing ran")
    for name, points in by_name.items():
        axes.plot(*zip(*sorted(points), strict=True), marker="o", markersize=4, label=name)
    axes.set_xscale("log", base=2)
    axes.set_xlabel("windows in a batch")
    axes.set_ylabel("x realtime")
    axes.set_title("Embedding on a GPU by batch size and precision")
    axes.grid(color="#e6e8ea", linewidth=0.7)
    axes.legend(fontsize=7, frameon=False)


def roofline(axes: Any, r: dict[str, Any]) -> None:
    """Draw the CPU time of a window by stage, engine and precision."""
    rows = [row for row in r["stages"] if "failed" not in row]
    names = [f"{row['stage']}: {row['engine']} {row['precision']}" for row in rows]
    axes.set_title("Perch 2's stand-in: CPU time of a window by stage, one core")
    axes.figure.set_figheight(max(3.4, 0.9 + 0.22 * len(rows)))
    bars(axes, names, [row["ms"] for row in rows], [OURS] * len(rows), "ms a window", "{:.2f}")


def store(axes: Any, r: dict[str, Any]) -> None:
    """Draw how many times as fast as plain DuckDB each question is answered."""
    rows = [(q["name"], q["times_faster"]) for q in r["questions"] if q.get("times_faster")]
    axes.set_title("Questions to a store: times as fast as plain DuckDB over the same files")
    bars(
        axes,
        [n for n, _ in rows],
        [v for _, v in rows],
        [OURS if v >= 1 else SECOND for _, v in rows],
        "times as fast (1: alike)",
        "{:.1f}",
    )
    axes.axvline(1, color="#6b7075", linewidth=0.8)


def search(axes: Any, r: dict[str, Any]) -> None:
    """Draw the CPU time of a query over its recall, of this program and of the others on as many windows."""
    beside = r.get("beside")
    mine = (beside["ours"] if beside else r["ours"])["ask"]["unfiltered"]
    windows = beside["windows"] if beside else r["windows"]
    axes.scatter(
        [1 - q["recall"] for q in mine], [q["cpu_ms"] for q in mine], color=OURS, s=36, zorder=3, label="sonotheque"
    )
    if beside:
        rows = [p for p in beside["compared"] if p.get("filter") in (None, "none", "") and p["recall"] > 0.9]
        for marker, peer in zip("sv^DPX*ph", dict.fromkeys(p["peer"] for p in rows), strict=False):
            own = [p for p in rows if p["peer"] == peer]
            axes.scatter(
                [1 - p["recall"] for p in own],
                [p["cpu_ms"] for p in own],
                color="#7d8288",
                marker=marker,
                s=24,
                label=peer,
            )
    axes.set_xscale("symlog", linthresh=1e-4)
    axes.set_yscale("log")
    axes.set_xlim(-2e-5, None)
    axes.set_xlabel("share of the true 50 that is missed (1 - recall@50); left is better")
    axes.set_ylabel("CPU ms a query")
    axes.set_title(f"Search in {windows:,} windows, unfiltered, one thread: low and left is better")
    axes.grid(color="#e6e8ea", linewidth=0.7)
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))


def probes(axes: Any, r: dict[str, Any]) -> None:
    """Draw what a training takes."""
    rows = [("from arrays", r["small"]["arrays"], OURS)]
    rows += [(f"from the store: {name}", runs, OURS) for name, runs in r["small"]["store"].items()]
    rows += [("perch-hoplite", r["hoplite"]["runs"], THEIRS)] if r.get("hoplite") else []
    axes.set_title("Training a probe: 500 labels of 20 classes")
    took = [median(run["wall_s"] for run in runs) for _, runs, _ in rows]
    bars(axes, [n for n, _, _ in rows], took, [c for _, _, c in rows], "seconds", "{:.2f}")


def api(axes: Any, r: dict[str, Any]) -> None:
    """Draw how long users wait."""
    told = {
        "sound, one user": r["sound"]["alone"],
        "sound, 8 users": r["sound"].get("eight"),
        "sound, 32 users": r["sound"].get("thirty_two"),
        "window, one user": r["window"]["one"],
        "window, 8 users": r["window"].get("eight"),
    }
    rows = [(name, row["median_ms"], row["p95_ms"]) for name, row in told.items() if row]
    axes.set_title("The service: how long an answer takes, median and 95th percentile")
    said = [f"{middle:,.0f} (p95 {high:,.0f})" for _, middle, high in rows]
    bars(axes, [n for n, *_ in rows], [m for _, m, _ in rows], [OURS] * len(rows), "ms", said)


def peers(axes: Any, r: dict[str, Any]) -> None:
    """Draw what programs reach on the same files."""
    rows = [row for row in r["contestants"] if row.get("x_realtime")]
    names = [f"{row['title']} ({_short(row['model'], r)}, {row['output']})" for row in rows]
    axes.figure.set_figheight(max(3.4, 0.9 + 0.34 * len(rows)))
    axes.set_title("The same files through what people use: seconds of sound a second")
    bars(
        axes,
        names,
        [row["x_realtime"] for row in rows],
        [OURS if row["key"].startswith("ours") else THEIRS for row in rows],
        "x realtime",
    )


def gpu(axes: Any, r: dict[str, Any]) -> None:
    """Draw the share of the memory's bandwidth."""
    rows = [(f"{s['windows']:,}: {q['search']}", 100 * q["share_of_copy"]) for s in r["sizes"] for q in s["searches"]]
    axes.set_title("Exact search on a GPU: share of its memory's bandwidth")
    bars(axes, [n for n, _ in rows], [v for _, v in rows], [OURS] * len(rows), "%")


#: The first of a verb's that finds in a result what it draws is its plot.
PLOTS: dict[str, tuple[Plot, ...]] = {
    "engines": (Plot("engine by precision: what a core reaches", engines),),
    "roofline": (Plot("CPU time of a window by stage", roofline),),
    "embed": (Plot("end to end beside the bare model", embed),),
    "peers": (Plot("this program and others over the same files", peers),),
    "store": (Plot("questions to a store beside plain DuckDB", store),),
    "search": (Plot("CPU time over recall", search),),
    "probes": (Plot("training a probe", probes),),
    "api": (Plot("waiting for the service", api),),
    "gpu": (Plot("exact search on a GPU", gpu), Plot("embedding on a GPU", gpu_embed)),
}
