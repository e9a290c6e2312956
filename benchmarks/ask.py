"""Questions to a store of millions of windows, each beside plain DuckDB over the same part files, in one run.

Both sides are asked in turn, several times, the file cache warm; medians are reported, and their answers must be the same. A store is
made once (``store_maker``) and kept; its catalog is built anew by every run.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.ask_catalog import build_catalog, correction
from benchmarks.ask_fresh import command, fresh
from benchmarks.ask_plain import Plain
from benchmarks.ask_question import Question
from benchmarks.ask_questions import (
    DISTINCT,
    activity_questions,
    distinct_question,
    table_questions,
    vector_questions,
    window_questions,
)
from benchmarks.community import CHIFFCHAFF
from benchmarks.envelope import write
from benchmarks.machine import machine
from benchmarks.store_maker import MADE, Shape, make_store, site_name
from benchmarks.telling import telling
from store import open_archive

SCRATCH = Path(".bench")
RESULTS = Path(__file__).parent / "results"
SITE = 6


def run(
    *, windows: int, pairs: int, quick: bool, rebuild: bool, keep: bool, out: str | None, quiet: bool = False
) -> dict[str, Any]:
    """Measure and write the results.

    Parameters
    ----------
    windows : int
        At least so many.
    pairs : int
        Repetitions of each comparison.
    quick : bool
        100,000 windows and two pairs.
    rebuild : bool
        Make the store again, also if it is there.
    keep : bool
        Leave the store in ``.bench/`` for the next run.
    out : str, optional
        File for the results.
    quiet : bool
        No progress.
    """
    SCRATCH.mkdir(exist_ok=True)
    windows, pairs = (100_000, 2) if quick else (windows, pairs)
    shape = Shape.of(windows)
    stores = [make_store(SCRATCH, own, rebuild=rebuild, quiet=quiet).resolve() for own in (shape, DISTINCT)]
    root, told, site = str(stores[0]), telling(quiet), site_name(min(SITE, shape.sites - 1))
    result: dict[str, Any] = {
        "what": "sonotheque bench store",
        "command": "sonotheque bench store " + ("--quick" if quick else f"--windows {windows} --pairs {pairs}"),
        "data": shape.words(),
        "machine": machine(),
        "cache": "warm: every question was asked before it was timed; `cold` after the files were dropped from the cache",
        "pairs": pairs,
        "made": (stores[0] / MADE).read_text("ascii").strip(),
        "catalog": build_catalog(root),
        "fresh_process": _fresh(root, site, pairs),
    }
    told("the catalog is built and opening measured")
    result["questions"] = _ask(root, str(stores[1]), shape, site, pairs, told)
    result["correction"] = correction(root, site, 2 if quick else 3)
    target = Path(out) if out else (SCRATCH if quick else RESULTS) / _file_name(shape)
    result = write(result, target)
    if not keep:
        for made in stores:
            shutil.rmtree(made)
    return result


def _fresh(root: str, site: str, pairs: int) -> dict[str, Any]:
    sides = ("sonotheque", "plain")
    warm = {side: fresh(side, root, CHIFFCHAFF, site, pairs) for side in sides}
    cold = {side: fresh(side, root, CHIFFCHAFF, site, min(pairs, 3), cold=True) for side in sides}
    return {"warm": warm, "cold": cold, "command": command(root, CHIFFCHAFF, pairs)}


def _ask(
    root: str, distinct: str, shape: Shape, site: str, pairs: int, told: Callable[[str], None]
) -> list[dict[str, Any]]:
    found = []

    def ask(question: Question) -> None:
        found.append(question.measure(pairs))
        told(f"{question.name}: {found[-1]['ours_s']:.3f} s, plain DuckDB {found[-1]['plain_duckdb_s']:.3f} s")

    with open_archive(root) as archive, closing(Plain(root, shape.dim)) as plain:
        for asked in (
            activity_questions(archive, plain),
            window_questions(archive, plain, shape, site),
            vector_questions(archive, plain, shape, site),
            table_questions(archive, plain),
        ):
            for question in asked:
                ask(question)
    with open_archive(distinct) as archive, closing(Plain(distinct, DISTINCT.dim)) as plain:
        ask(distinct_question(archive, plain, DISTINCT))
    return found


def _file_name(shape: Shape) -> str:
    millions = shape.windows / 1e6
    return f"store-{millions:.0f}m.json" if millions >= 1 else f"store-{shape.windows // 1000}k.json"


def text(result: dict[str, Any]) -> str:
    """Return the results as a Markdown table with a few lines around it."""
    warm, cold, catalog = result["fresh_process"]["warm"], result["fresh_process"]["cold"], result["catalog"]
    lines = [
        f"{result['data']}; medians of {result['pairs']} alternating pairs, warm cache; {result['machine']['cpu']}, "
        f"{result['machine']['cores']} cores, DuckDB {result['machine']['versions']['duckdb']}",
        "",
        "| question | rows | sonotheque | plain DuckDB | times faster | target | met |",
        "|---|---:|---:|---:|---:|---|---|",
        f"| opening, in a fresh process (imports, {warm['sonotheque']['import_s'] * 1e3:.0f} ms, apart) | | "
        f"{_seconds(warm['sonotheque']['open_s'])} | | | < 300 ms | {_yes(warm['sonotheque']['open_s'] < 0.3)} |",
    ]
    for q in result["questions"]:
        lines.append(
            f"| {q['question']} | {q['rows']:,} | {_seconds(q['ours_s'])} | {_seconds(q['plain_duckdb_s'])} | {q['times_faster']:.1f} | "
            f"{q['target']} | {_yes(q['met'])} |"
        )
    again = result["correction"]
    lines += [
        "",
        f"Catalog: built once in {catalog['build_s']:g} s, {catalog['bytes']['catalog'] / 1e6:,.0f} MB, "
        f"{catalog['bytes_per_window']:g} bytes a window, {100 * catalog['share_of_raw_float16_vectors']:.1f} % of the raw vectors. "
        f"After the zone of one site was corrected ({again['windows'][0]:,} windows, {again['units']} units): {again['median_s']:g} s.",
        "",
        f"`sonotheque activity` as a command, from start to end: {_seconds(result['fresh_process']['command']['s'])}. Load of the machine "
        f"before and after: {result['machine']['load_before'][0]:g}, {result['machine']['load_after'][0]:g}.",
        "",
        "First answers in a process of their own (imports apart), warm and from the disk:",
        "",
        "| | open | activity | dawn hour | vectors of an hour |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, side in (("sonotheque", "sonotheque"), ("plain DuckDB", "plain")):
        for state, told in (("warm", warm[side]), ("cold", cold[side])):
            cells = [_seconds(told[k]) for k in ("open_s", "activity_s", "hour_s", "vectors_s")]
            lines.append(f"| {name}, {state} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _seconds(value: float) -> str:
    return f"{value * 1e3:.0f} ms" if value < 1 else f"{value:.2f} s" if value < 10 else f"{value:.0f} s"


def _yes(value: bool | None) -> str:
    return "" if value is None else "yes" if value else "no"
