"""Two versions of a probe, judged by the same held-out windows."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from probes import Examples, Probe
from probes.intervals import percentile_interval
from probes.macro import METRICS, ClassRankings, Measured, none_if_nan
from probes.metrics import average_precision_chance, padded_cmap_chance, roc_auc_chance
from search_api.probes.held_out import held_out_of, learnt_from, sides_table
from search_api.probes.stored import load_probe
from sonotheque.core.errors import Conflict, NotFound
from store import Archive
from store.probes import ProbeStore

BOOTSTRAP: Final = 500


def compare(
    archive: Archive, name: str, a: int, b: int, *, bootstrap: int = BOOTSTRAP, seed: int = 0
) -> dict[str, Any]:
    """Judge two versions by the same windows, which neither has learnt from.

    They are the test side of the newer one: a training keeps held out what was held out for the version in use, and the newer one knows
    best what is heard there. Where that leaves nothing, they are those of the version in use, then of the other. Windows that share sound
    with one that either was trained on are left out. Only classes that both versions and those windows have are compared. Where both rank
    equally well, the log loss of their probabilities decides.

    Parameters
    ----------
    archive : Archive
    name : str
    a, b : int
        Versions; differences are ``b`` less ``a``.
    bootstrap : int
        Repeats behind each interval: recordings are drawn, the same ones for both.
    seed : int

    Returns
    -------
    dict
        ``name``, ``a`` and ``b`` (``version``, ``macro``: map, cmap, roc_auc, ``log_loss``), ``difference`` (per metric ``value`` and ``ci``, 95 %),
        ``chance``, ``metric`` (the one that decides, of ``b``'s experiment), ``better`` (``a``, ``b``, ``same`` or None where it cannot be told),
        ``classes`` (per class ``n_positive``, ``n_negative``, ``a``, ``b``, ``difference``, ``chance``), ``held_out`` (``version``,
        ``in_use``, ``windows``, ``recordings``, ``left_out``: ``trained_on`` and ``gone``; ``same_recordings``: windows judged of whose
        recording either learnt others), ``notes``.

    Raises
    ------
    NotFound
        If there is no such probe or version.
    Conflict
        If no held-out windows are left that can tell the two apart; or a version is of another model.
    Damaged
        If a file cannot be read.
    """
    sides = (load_probe(archive.root, name, a), load_probe(archive.root, name, b))
    examples, held, notes = _judged_by(archive, sides)
    rankings = [_rankings(probe, examples) for probe in sides]
    now = [r.measure() for r in rankings]
    repeats = [r.repeats(bootstrap if r.n_groups > 1 else 0, seed) for r in rankings]
    metric = _metric(sides[1])
    macro = {m: _pair(now[0].macro(m), now[1].macro(m), repeats[0].macro(m), repeats[1].macro(m)) for m in METRICS}
    gain = macro[metric]["difference"]["value"]
    losses = [_log_loss(probe, examples) for probe in sides]
    if gain == 0 and losses[0] != losses[1]:
        gain = losses[0] - losses[1]
        notes.append(
            f"their {metric} is the same; the log loss of their probabilities decides: {losses[0]:.3f} of version {a}, {losses[1]:.3f} of version {b}"
        )
    missing = [sorted(set(p.classes) - set(examples.classes)) for p in sides]
    for probe, left in zip(sides, missing, strict=True):
        if left:
            notes.append(f"classes of version {probe.version} that could not be compared: {', '.join(left)}")
    if rankings[0].n_groups == 1:
        notes.append("all held-out windows are of one recording, so no interval can be given")
    return {
        "name": sides[0].name,
        "a": {"version": a, "macro": {m: macro[m]["a"] for m in METRICS}, "log_loss": losses[0]},
        "b": {"version": b, "macro": {m: macro[m]["b"] for m in METRICS}, "log_loss": losses[1]},
        "difference": {m: macro[m]["difference"] for m in METRICS},
        "chance": _chance(examples, now[0]),
        "metric": metric,
        "better": None if gain is None else "b" if gain > 0 else "a" if gain < 0 else "same",
        "classes": {c: _class(examples, i, now, repeats) for i, c in enumerate(examples.classes)},
        "held_out": held,
        "notes": notes,
    }


def _judged_by(archive: Archive, sides: tuple[Probe, Probe]) -> tuple[Examples, dict[str, Any], list[str]]:
    """Return the windows to judge by, what they are, and what to know of them."""
    name = sides[0].name
    versions = [p.version for p in sides]
    told, taught = [], {v: sides_table(archive.root, name, v) for v in dict.fromkeys(versions)}
    for version, table in taught.items():
        if table is None:
            told.append(
                f"version {version} was brought from elsewhere: whether it learnt from these windows is not known"
            )
    current, why_not = ProbeStore(archive.root).in_use(name), []
    others = [] if current is None else [current]
    for version in dict.fromkeys([max(versions), *others, min(versions)]):
        try:
            found = held_out_of(archive, name, version)
        except NotFound as error:
            why_not.append(error.message)
            continue
        known = [t for t in taught.values() if t is not None]
        seen = [learnt_from(table, found.examples) for table in known]
        used = np.any([s[0] for s in seen], axis=0) if seen else np.zeros(len(found.examples), bool)
        near = np.any([s[1] for s in seen], axis=0) if seen else used
        examples = _shared(found.examples.take(np.flatnonzero(~used)), sides)
        if not _tells(examples):
            why_not.append(
                f"of the {len(found.examples):,} held-out windows of version {version}, {int(used.sum()):,} were trained on, and the rest "
                "hold no class of both versions with windows that have it and windows that do not"
            )
            continue
        held = {
            "version": version,
            "in_use": version == current,
            "windows": len(examples),
            "recordings": len(np.unique(examples.recording_ids)),
            "left_out": {"trained_on": int(used.sum()), "gone": found.gone},
            "same_recordings": int((near & ~used).sum()),
        }
        told += why_not
        return examples, held, told
    raise Conflict(
        f"versions {versions[0]} and {versions[1]} of probe {name} cannot be compared: {'; '.join(why_not)}. "
        "Annotate windows of recordings that neither has seen, and train a version on them with a test side"
    )


def _shared(examples: Examples, sides: tuple[Probe, Probe]) -> Examples:
    return examples.of_classes(tuple(c for c in examples.classes if all(c in p.classes for p in sides)))


def _tells(examples: Examples) -> bool:
    """Tell whether some class has positives and negatives."""
    known = examples.weights > 0
    heard = examples.targets > 0
    return bool(((known & heard).any(axis=0) & (known & ~heard).any(axis=0)).any())


def _rankings(probe: Probe, examples: Examples) -> ClassRankings:
    columns = [probe.classes.index(c) for c in examples.classes]
    scores = probe.probabilities(probe.logits(examples.vectors))[:, columns]
    return ClassRankings(examples, np.clip(scores, 0.0, 1.0), examples.recording_ids)


def _log_loss(probe: Probe, examples: Examples) -> float:
    """Return the mean log loss of the probabilities of all classes; what is judged and what is not weigh as they did in training."""
    columns = [probe.classes.index(c) for c in examples.classes]
    p = np.clip(probe.probabilities(probe.logits(examples.vectors))[:, columns].astype(np.float64), 1e-6, 1 - 1e-6)
    each = -np.where(examples.targets > 0, np.log(p), np.log1p(-p))
    return float((each * examples.weights).sum() / max(float(examples.weights.sum()), 1e-12))


def _metric(probe: Probe) -> str:
    said = (probe.about.get("experiment") or {}).get("metric")
    return said if said in METRICS else METRICS[0]


def _pair(a: NDArray[Any], b: NDArray[Any], a_again: NDArray[Any], b_again: NDArray[Any]) -> dict[str, Any]:
    """Return two values, and their difference with its interval."""
    interval = percentile_interval(b_again - a_again)
    return {
        "a": none_if_nan(a[0]),
        "b": none_if_nan(b[0]),
        "difference": {"value": none_if_nan(b[0] - a[0]), "ci": [none_if_nan(v) for v in interval]},
    }


def _chance(examples: Examples, now: Measured) -> dict[str, float | None]:
    defined = np.flatnonzero(~np.isnan(now.average_precision[:, 0]))
    levels = [average_precision_chance(examples.targets[:, c] > 0, examples.weights[:, c]) for c in defined]
    return {
        "map": float(np.mean(levels)),
        "cmap": none_if_nan(padded_cmap_chance(examples.targets > 0, weights=examples.weights)),
        "roc_auc": 0.5,
    }


def _class(examples: Examples, c: int, now: list[Measured], repeats: list[Measured]) -> dict[str, Any]:
    known, heard = examples.weights[:, c] > 0, examples.targets[:, c] > 0
    ap = _pair(*(m.average_precision[c] for m in (*now, *repeats)))
    area = _pair(*(m.roc_auc[c] for m in (*now, *repeats)))
    return {
        "n_positive": int((known & heard).sum()),
        "n_negative": int((known & ~heard).sum()),
        "a": {"ap": ap["a"], "roc_auc": area["a"]},
        "b": {"ap": ap["b"], "roc_auc": area["b"]},
        "difference": {"ap": ap["difference"], "roc_auc": area["difference"]},
        "chance": {
            "ap": none_if_nan(average_precision_chance(heard, examples.weights[:, c])),
            "roc_auc": none_if_nan(roc_auc_chance(heard, examples.weights[:, c])),
        },
    }
