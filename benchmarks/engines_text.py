"""The results of `bench engines` for people: a matrix a model, and what searches find in stores of different engines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

STAND_IN = "Perch 2 is a stand-in with random weights: for speed and size only, never for quality."


def text(result: dict[str, Any]) -> str:
    """Return the results as tables."""
    return "\n".join(_lines(result))


def headline(result: dict[str, Any]) -> list[str]:
    """Return the fastest of each model that passes, in a sentence."""
    told = []
    for name, model in result["models"].items():
        ran = [row for row in model["ways"] if row.get("verdict") == "passes" and "vectors" in row]
        if not ran:
            continue
        best = min(ran, key=lambda row: row["vectors"]["ms_per_window"])
        speed = best["vectors"]
        told.append(
            f"{name}{' (stand-in)' if model['stand_in'] else ''}: {best['title']} is the fastest that passes, "
            f"{speed['x_realtime_per_core']:.0f} x realtime a core, {speed['times_faster']:.1f} x {model['reference']}"
        )
    return told


def _lines(r: dict[str, Any]) -> Iterator[str]:
    yield f"{r['machine'].get('cpu', '')}; {r['data']}; CPU time, medians of {r['rounds']} rounds in turn."
    for name, model in r["models"].items():
        yield from ("", f"**{name}**, beside {model['reference']} (the reference)", "")
        if model["stand_in"]:
            yield from (STAND_IN, "")
        yield from _speed(model)
        yield ""
        yield from _fidelity(model)
        yield from _answers(model.get("same_answers"))
    yield from (f"\n{name}: not measured: {why}" for name, why in r.get("left_out", {}).items())


def _rows(model: dict[str, Any]) -> list[dict[str, Any]]:
    return [*model["ways"], *model["beside"]]


def _speed(model: dict[str, Any]) -> Iterator[str]:
    yield (
        "| way | vectors: ms a window | x realtime a core | with labels: ms a window | x realtime a core | times the reference | MB | verdict |"
    )
    yield "|---|---:|---:|---:|---:|---:|---:|---|"
    for row in _rows(model):
        if "failed" in row:
            yield f"| {row['title']} | | | | | | | {row['failed']} |"
            continue
        cells = []
        for output in ("vectors", "with_labels"):
            told = row.get(output)
            cells += [f"{told['ms_per_window']:.2f}", f"{told['x_realtime_per_core']:.0f}"] if told else ["", ""]
        times = (row.get("vectors") or row["with_labels"])["times_faster"]
        yield f"| {row['title']} | {' | '.join(cells)} | {times:.2f} | {row['rss_mb']:,} | {row['verdict']} |"


def _fidelity(model: dict[str, Any]) -> Iterator[str]:
    yield "| way | sounds | windows | cosine, least | median | same best class | same 10 neighbours |"
    yield "|---|---|---:|---:|---:|---:|---:|"
    for row in _rows(model):
        for name, f in row.get("fidelity", {}).items() if "failed" not in row else ():
            near = f"{f['neighbours_at_10']:.3f}" if "neighbours_at_10" in f else ""
            best = f"{f['top1_agreement']:.3f}" if "top1_agreement" in f else ""
            yield (
                f"| {row['title']} | {name} | {f['windows']} | {f['cosine_min']:.6f} | {f['cosine_median']:.6f} | {best} | "
                f"{near} |"
            )


def _answers(told: dict[str, Any] | None) -> Iterator[str]:
    if not told:
        return
    if "failed" in told:
        yield f"\nSearches were not compared: {told['failed']}"
        return
    yield from ("", "| stores by | queries | same 10 found | same best | queries with the same ten | score gap |")
    yield "|---|---:|---:|---:|---:|---:|"
    for row in told["rows"]:
        for words, key in ((f"{row['first']} and {row['second']}", "stores"), ("crossed", "crossed")):
            one = row[key]
            name = words if key == "stores" else f"{row['first']}, asked with vectors by {row['second']}"
            yield (
                f"| {name} | {row['queries']} | {one['top10_agreement']:.3f} | {one['first_agreement']:.3f} | "
                f"{one['same_sets']} of {row['queries']} | {one['score_gap_max']:.6f} |"
            )
