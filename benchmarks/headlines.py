"""A result in a sentence or a few: what stands first on the generated page, and at the end of the suite.

A benchmark that is not known here may say its own, as a text or a list of them under ``headline``; without that, and for a result of an
older shape that holds none of what is looked for, the first of its figures are told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

from benchmarks.envelope import verb
from benchmarks.figures import figures

_FIRST = 3


def headlines(result: dict[str, Any]) -> list[str]:
    """Return what a result says, in a sentence or a few."""
    own = result.get("headline")
    if own:
        return [own] if isinstance(own, str) else [str(words) for words in own]
    told: list[str] = []
    if (teller := _TELLERS.get(verb(result))) is not None:
        try:
            told.extend(teller(result))
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            told.append("(of an older shape than this page knows)") if not told else None
    if told and not told[0].startswith("("):
        return told
    first = [f for f in figures(result).values() if f.is_ours][:_FIRST]
    return [*told, *(f"{f.name}: {f.value:,.4g}" for f in first)]


def _embed(r: dict[str, Any]) -> Iterator[str]:
    if "rows" in r:
        for row in r["rows"]:
            engine = " ".join(filter(None, (row.get("engine"), row.get("precision"))))
            workers = f"{row['workers']} worker{'s' if row['workers'] > 1 else ''}"
            yield f"{row['model']}, {engine}, {workers}: {row['x_realtime']:.0f} x realtime end to end, start-up {row['startup_s']:.1f} s of it"
        return
    m = r["median"]
    # In older files `engine` is a comparison of BirdNET's engines.
    words = [
        r["model"],
        "the stand-in" if r.get("stand_in") else "",
        r.get("engine"),
        r.get("precision"),
        r.get("output"),
    ]
    how = ", ".join(word for word in words if word and isinstance(word, str))
    yield f"{how}: {m['end_to_end_1']:.0f} x realtime end to end with one worker, {m['end_to_end_2']:.0f} x with two ({m['two_against_one']:.2f} x)"
    if "efficiency_2" in m:
        yield f"{m['efficiency_1']:.2f} and {m['efficiency_2']:.2f} of the bare model"
    if (other := r.get("other_output")) is not None:
        yield f"{other['output']}: {other['median']['end_to_end_2']:.0f} x with two workers"
    if "bytes_per_window_1536_float16" in r:
        yield f"{r['bytes_per_window_1536_float16']:,.0f} bytes a window of 1,536 dimensions"


def _store(r: dict[str, Any]) -> Iterator[str]:
    times = [row["times_faster"] for row in r["questions"] if row.get("times_faster")]
    yield f"{len(times)} questions answered {min(times):.1f} to {max(times):.0f} times as fast as by plain DuckDB, median {median(times):.0f}"
    fresh = r["fresh_process"]["warm"]["sonotheque"]
    yield f"opened in {1000 * fresh['open_s']:.0f} ms, first activity after {1000 * fresh['activity_s']:.0f} ms in a fresh process"
    yield f"catalog: {r['catalog']['bytes_per_window']:.0f} bytes a window, built in {r['catalog']['build_s']:.0f} s"


def _search(r: dict[str, Any]) -> Iterator[str]:
    rows = {row["name"]: row for row in r["ours"]["ask"]["unfiltered"]}
    one, every = rows["default"], rows["exact"]
    yield f"{one['cpu_ms']:.1f} ms of CPU a query at recall@50 {one['recall']:.4f} in {r['windows']:,} windows"
    yield f"{every['cpu_ms']:.0f} ms with all of them compared in full"
    build = r["ours"]["build"]
    opened = r["ours"]["fresh"]["warm"]["index_ms"]
    yield f"built in {build['wall_s']:.0f} s, {build['hot_bytes_per_window']:.0f} bytes a window in memory; opened in {opened:.0f} ms"


def _probes(r: dict[str, Any]) -> Iterator[str]:
    took = median(run["wall_s"] for run in r["small"]["arrays"])
    beside = ""
    if r.get("hoplite"):
        beside = f", perch-hoplite {median(run['wall_s'] for run in r['hoplite']['runs']):.1f} s"
    yield f"a probe of 20 classes from 500 labels in {took:.2f} s{beside}"
    rows = r["apply"]["rows"]
    yield f"{rows[-1]['probes']} probes over {rows[-1]['windows']:,} windows in {rows[-1]['apply_s']:.1f} s, one in {rows[0]['apply_s']:.1f} s"


def _api(r: dict[str, Any]) -> Iterator[str]:
    yield f"ready {median(s['ready_s'] for s in r['start']):.1f} s after the start"
    sound = r["sound"]["alone"]
    yield f"five seconds of sound answered in {sound['median_ms']:.0f} ms (p95 {sound['p95_ms']:.0f} ms)"
    yield f"by a window of the archive in {r['window']['one']['median_ms']:.0f} ms"


def _import(r: dict[str, Any]) -> Iterator[str]:
    one = r["from_float32"]
    yield f"perch-cpu-inference output at {one['ratio']:.2f} of its size, cosine at least {one['check']['cosine_min']:.7f}"
    yield f"{r['windows_per_s']:,} windows/s"


def _gpu(r: dict[str, Any]) -> Iterator[str]:
    size = r["sizes"][-1]
    one = size["searches"][0]
    yield f"exact search of {size['windows']:,} windows in {one['ms']:g} ms, {100 * one['share_of_copy']:.0f} % of the memory's bandwidth"


def _peers(r: dict[str, Any]) -> Iterator[str]:
    for row in r["contestants"]:
        if row.get("key") in ("ours", "ours-labels", "ours-birdnet"):
            yield f"{row['model']}, {row['output']}: {row['x_realtime']:.0f} x realtime"
    for row in r["contestants"]:
        if row.get("ours_times"):
            yield f"{row['ours_times']:.1f} times as fast as {row['title']}"


_TELLERS: dict[str, Callable[[dict[str, Any]], Iterator[str]]] = {
    "embed": _embed,
    "store": _store,
    "search": _search,
    "probes": _probes,
    "api": _api,
    "import": _import,
    "gpu": _gpu,
    "peers": _peers,
}
