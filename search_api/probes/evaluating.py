"""Judge a stored probe again, by the windows that were held out when it was trained."""

from __future__ import annotations

from typing import Any

from probes.evaluation import evaluate
from search_api.probes.held_out import held_out_of
from search_api.probes.training import sound_s
from search_api.probes.versions import load_probe, read_report
from store import open_archive


def evaluate_probe(root: str, name: str, version: int | None = None) -> dict[str, Any]:
    """Return a version's report, its ``test`` worked out anew from the vectors as they are stored now.

    Parameters
    ----------
    root, name
    version : int, optional
        The one in use by default.

    Raises
    ------
    NotFound
        If there is no such version, or nothing was held out for it.
    Conflict, Damaged
        See :func:`search_api.probes.versions.load_probe`.
    """
    probe = load_probe(root, name, version)
    report = read_report(root, probe.name, probe.version) or {"probe": probe.name, "version": probe.version}
    with open_archive(root) as archive:
        held = held_out_of(archive, probe.name, probe.version)
        stands_for_s = sound_s(archive)
    test = held.examples
    settings = report.get("experiment") or {}
    report["test"] = evaluate(
        test,
        probe.probabilities(probe.logits(test.vectors)),
        kind=probe.kind,
        thresholds=probe.thresholds,
        window_s=stands_for_s,
        bootstrap=settings.get("bootstrap", 200),
        seed=settings.get("seed", 0),
    )
    if held.gone:
        report["notes"] = [*report.get("notes", []), f"{held.gone:,} held-out windows are not in the store any more"]
    return report
