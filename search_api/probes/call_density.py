"""How many windows hold a call: from a review of random windows of each score bin, as far as its judgements came back."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from probes.density import DRAWS, Stratum, estimate
from search_api.probes.judged_windows import NO, UNCLEAR, YES, annotations_of, states
from sonotheque.core.errors import Invalid, NotFound
from sonotheque.core.suggest import did_you_mean
from store import read_config
from store.probes import ProbeStore
from store.probes.reviews import read_review, review_numbers
from store.snapshots import read_snapshot


def call_density(
    root: str, name: str, *, label: str | None = None, number: int | None = None, draws: int = DRAWS, seed: int = 0
) -> dict[str, Any]:
    """Estimate how many windows hold a call, with 95 % intervals.

    Parameters
    ----------
    root : str
        The store.
    name : str
        Of the probe.
    label : str, optional
        The class; needed if reviews of several were drawn.
    number : int, optional
        Of the review; by default the newest with a judgement. What was judged before a review was drawn counts in it as known, so the
        newest holds all that the earlier ones found.
    draws, seed
        Of the simulation behind the intervals.

    Returns
    -------
    dict
        ``store, probe, version, label, review, snapshot, window_s, filter, picked, judged_picks, uncertain`` and the fields of
        :class:`probes.density.Density`, ``notes`` at the end.

    Raises
    ------
    NotFound
        If there is no such probe, class or review.
    Invalid
        If reviews of several classes were drawn, and none is named.
    Damaged
        If the record of a draw is not what it was when it was written.
    """
    read_config(root)
    name = ProbeStore(root).require(name)
    design, number = _design(root, name, label, number)
    said = _said(root, design)
    strata = [
        Stratum(
            low=one["low"],
            high=one["high"],
            windows=one["windows"],
            positive=sum(s == YES for b, s in said if b == place),
            negative=sum(s == NO for b, s in said if b == place),
            known_positive=one["known_positive"],
            known_negative=one["known_negative"],
            picked=one["picked"],
        )
        for place, one in enumerate(design["bins"])
    ]
    found = estimate(strata, draws=draws, seed=seed)
    unclear = sum(s == UNCLEAR for _, s in said)
    notes = [*found.notes, *_notes(root, name, design, said, unclear)]
    return {
        "store": root,
        "probe": name,
        "version": design["version"],
        "label": design["label"],
        "review": number,
        "snapshot": design["snapshot"],
        "window_s": design["window_s"],
        "filter": design["filter"],
        "picked": len(said),
        "uncertain": unclear,
        **found.to_json(),
        "notes": notes,
    }


def _design(root: str, name: str, label: str | None, number: int | None) -> tuple[dict[str, Any], int]:
    """Return the review that is meant, and its number."""
    again = f"`sonotheque probe review {name} --how bins --store {root} -o judge.csv` draws one"
    if number is not None:
        design = read_review(root, name, number)
        if label not in (None, design["label"]):
            raise NotFound(f"review {number} of probe {name} is of {design['label']}, and not of {label}")
        return design, number
    there = [(n, read_review(root, name, n)) for n in reversed(review_numbers(root, name))]
    if not there:
        raise NotFound(f"no random windows of probe {name} were drawn to be judged: {again}")
    labels = list(dict.fromkeys(d["label"] for _, d in there))
    if label is None and len(labels) > 1:
        raise Invalid(
            f"reviews of several classes of probe {name} were drawn: {', '.join(labels)}; choose with --label"
        )
    if label is not None and label not in labels:
        raise NotFound(
            f"no random windows of {label!r} were drawn; {did_you_mean(label, labels)}. {again} with --label"
        )
    own = [(n, d) for n, d in there if label in (None, d["label"])]
    judged = next(((n, d) for n, d in own if any(s in (YES, NO) for _, s in _said(root, d))), own[0])
    return judged[1], judged[0]


def _said(root: str, design: dict[str, Any]) -> list[tuple[int, int]]:
    """Return bin and judgement (or 0) of each window that was drawn."""
    picks = design["picks"]
    windows = pa.table(
        {
            "recording_id": pa.array([p["recording_id"] for p in picks], pa.int64()),
            "start_s": pa.array([p["start_s"] for p in picks], pa.float64()),
            "end_s": pa.array([p["end_s"] for p in picks], pa.float64()),
        }
    )
    found = states(annotations_of(root, design["label"]), windows)
    return [(p["bin"], int(s)) for p, s in zip(picks, found, strict=True)]


def _notes(root: str, name: str, design: dict[str, Any], said: list[tuple[int, int]], unclear: int) -> list[str]:
    notes = []
    left = sum(s == 0 for _, s in said)
    if left:
        notes.append(
            f"{left:,} of {len(said):,} windows drawn are not judged yet; the others are taken as a fair sample"
        )
    if unclear:
        notes.append(
            f"{unclear:,} windows drawn were judged uncertain, or both ways; they count as not judged. If they hold the call more often than "
            "others of their bin, the estimate is too low"
        )
    newest = read_snapshot(root).number
    if newest != design["snapshot"]:
        notes.append(
            f"the windows are those of snapshot {design['snapshot']}; the store is at {newest} by now, and a new review would count all of it"
        )
    in_use = ProbeStore(root).in_use(name)
    if in_use is not None and in_use != design["version"]:
        notes.append(
            f"drawn by version {design['version']}; version {in_use} is in use. The count holds all the same, the ROC-AUC is that of the former"
        )
    return notes
