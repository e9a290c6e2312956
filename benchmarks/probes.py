"""What probes cost and how good they are: trained beside perch-hoplite and scikit-learn, many at once, and run over an archive."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.envelope import write
from benchmarks.machine import machine
from benchmarks.probe_fit import LARGE, MANY, MANY_WINDOWS
from benchmarks.probe_layout import CLASSES, DIM, EACH, make_set
from benchmarks.search_children import child
from benchmarks.search_layout import Layout
from benchmarks.search_peers import environment
from benchmarks.search_store import make_search_store
from benchmarks.telling import telling

SCRATCH = Path(".bench")
RESULTS = Path(__file__).parent / "results" / "probes.json"
_QUICK_WINDOWS, _WINDOWS = 10_000, 100_000


def run(
    *,
    peers: bool = True,
    real: str | None = None,
    windows: int = _WINDOWS,
    quick: bool = False,
    brief: bool = False,
    out: str | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Measure; returns the result, which is written too.

    Parameters
    ----------
    peers : bool
        perch-hoplite too, in an environment of its own.
    real : str, optional
        A store made with birdnet_v2.4, whose confident predictions serve as labels.
    windows : int
        Size of the archive that probes are run over.
    quick : bool
        Small, and without what takes minutes.
    brief : bool
        Each training once, and no learning curve: what the suite has time for in a minute.
    out : str, optional
        Where the result is written.
    quiet : bool
    """
    tell = telling(quiet)
    scratch = SCRATCH.resolve()
    folder = scratch / "probes"
    make_set(folder)
    result: dict[str, Any] = {
        "what": "sonotheque bench probes",
        "command": "sonotheque bench probes"
        + (" --quick" if quick else "")
        + (f" --real {Path(real).name}" if real else ""),
        "machine": machine(),
        "data": f"{CLASSES * EACH} labels of {CLASSES} classes, {DIM} dimensions, overlapping sounds (probe_data.py)",
    }
    result["small"] = child("probe_fit", "brief" if brief else "small", folder)
    tell(f"trained in {_median(result['small']['arrays']):.2f} s")
    if peers:
        result["hoplite"] = child("probe_peer", folder, python=environment(scratch, tell))
        tell(f"perch-hoplite trained in {_median(result['hoplite']['runs']):.2f} s")
    shape = Layout(_QUICK_WINDOWS if quick else windows, DIM)
    result["apply"] = child("probe_apply", make_search_store(scratch, shape, quiet=quiet))
    tell(f"applied: {result['apply']['rows'][-1]['share_of_read_speed']:.2f} of the speed of reading")
    if not quick:
        for what in ("large", "many"):
            result[what] = child("probe_fit", what, folder, one_thread=what == "many")
            tell(f"{what}: {result[what].get('wall_s', result[what].get('train_s'))} s")
        result["quality"] = [child("probe_quality", _demo(scratch), "truth")]
        if real:
            result["quality"].append(child("probe_quality", real, "species"))
    target = Path(out) if out else (scratch / "probes.json" if quick else RESULTS)
    return write(result, target)


def _demo(scratch: Path) -> str:
    """Return a store of the demo's sounds, two minutes of each recording, embedded with BirdNET, beside ``recordings/truth.csv``."""
    folder = scratch / "probe-demo"
    if not (folder / "made").exists():
        from cluster.options import EmbedOptions
        from cluster.run import embed
        from embedder.audio.synthesis import write_archive

        shutil.rmtree(folder, ignore_errors=True)
        write_archive(folder / "recordings", duration_s=120.0)
        options = EmbedOptions(
            sources=(str(folder / "recordings"),),
            store=str(folder / "store"),
            model="birdnet_v2.4",
            timezone="Europe/Berlin",
        )
        embed(options)
        (folder / "made").touch()
    return str(folder / "store")


def _median(runs: list[dict[str, Any]], key: str = "wall_s") -> float:
    return float(np.median([r[key] for r in runs]))


def text(result: dict[str, Any]) -> str:
    """Return the result in words and tables."""
    where = result["machine"]
    load = f"load before and after {where['load_before'][0]}, {where['load_after'][0]}"
    lines = [
        f"{result['data']}; {where['cpu']}, {where['cores']} cores; {load}; commit {where['commit']}. Medians.",
        "",
    ]
    lines += ["| training | wall s | CPU s | ROC-AUC, 4,000 unseen windows |", "|---|---:|---:|---:|"]
    small = result["small"]
    rows = [("from arrays: penalty, calibration, thresholds, held-out metrics", small["arrays"])]
    rows += [(f"from the store: {name}", runs) for name, runs in small["store"].items()]
    if "hoplite" in result:
        rows.append(
            (
                f"perch-hoplite {result['hoplite']['versions']['perch-hoplite']}, its notebook's settings",
                result["hoplite"]["runs"],
            )
        )
    lines += [f"| {n} | {_median(r):.2f} | {_median(r, 'cpu_s'):.2f} | {_median(r, 'roc_auc'):.4f} |" for n, r in rows]
    if "hoplite" in result:
        theirs = _median(result["hoplite"]["runs"])
        ratios = ", ".join(f"{theirs / _median(runs):.1f} x" for _, runs in rows[:-1])
        lines += ["", f"Times as fast as perch-hoplite, row by row: {ratios}."]
    lines += ["", *_applied(result["apply"]["rows"])]
    if "large" in result:
        r = result["large"]
        lines += [
            "",
            f"{LARGE[0]:,} negatives and {LARGE[1]:,} positives: {r['wall_s']:.1f} s ({r['cpu_s']:.1f} s of CPU), at most {r['peak_mb']:,} MB; "
            f"on held-out recordings AP {r['ap']:.4f} ({r['ap_ci'][0]:.4f} to {r['ap_ci'][1]:.4f}), recall at one false alarm an hour "
            f"{r['recall_at_1_false_alarm_an_hour']:.4f}.",
        ]
    if "many" in result:
        r = result["many"]
        lines += [
            "",
            f"{MANY} probes of 3 classes, {MANY_WINDOWS:,} windows: {r['train_s']:.0f} s with {r['processes']} processes, {r['each_s']:.2f} s each.",
        ]
    for quality in result.get("quality", []):
        lines += ["", *_quality(quality)]
    return "\n".join(lines)


def _applied(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| run over an archive | windows | reading alone, s | reading, scoring, writing, s | share of the reading speed | windows x probes a second |"
    ]
    lines.append("|---|---:|---:|---:|---:|---:|")
    for r in rows:
        what = f"{r['probes']} probe{'s' if r['probes'] > 1 else ''}, {r['classes']} classes"
        lines.append(
            f"| {what} | {r['windows']:,} | {r['read_s']:.2f} | {r['apply_s']:.2f} | {r['share_of_read_speed']:.2f} | {r['window_probes_per_s']:,} |"
        )
    return lines


def _quality(found: dict[str, Any]) -> list[str]:
    what = "calls of the demo's archive" if found["what"] == "truth" else "the model's own confident labels"
    lines = [
        f"{found['model']}, {found['windows']:,} windows of {found['recordings']} recordings, {len(found['classes'])} classes: {what}; half of the "
        "recordings held out; scikit-learn's regression tuned by cross-validation on the same rows.",
        "",
        "| shots | mAP | scikit-learn | difference (95 % interval) | ROC-AUC | scikit-learn |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for r in found["rows"]:
        m, a = r["map"], r["roc_auc"]
        low, high = m["interval"]
        lines.append(
            f"| {r['shots']} | {m['ours']:.3f} | {m['scikit_learn']:.3f} | {m['difference']:+.3f} ({low:+.3f} to {high:+.3f}) "
            f"| {a['ours']:.3f} | {a['scikit_learn']:.3f} |"
        )
    return lines
