"""Versions of probes for people: a comparison as a table, and its cells."""

from __future__ import annotations

from typing import Any


def say_compared(found: dict[str, Any]) -> None:
    """Print a comparison: means, classes, what they were judged by, what to know."""
    from sonotheque.cli.fitting import fitted
    from sonotheque.cli.output import say

    a, b, held = found["a"], found["b"], found["held_out"]
    names = {"map": "mAP", "cmap": "cmAP", "roc_auc": "ROC-AUC"}
    headings = [
        "",
        "positives",
        f"version {a['version']}",
        f"version {b['version']}",
        "difference",
        "95 % interval",
        "chance",
    ]
    rows = [
        [
            f"macro {title}{' (decides)' if key == found['metric'] else ''}",
            "",
            number(a["macro"][key]),
            number(b["macro"][key]),
            *difference_cells(found["difference"][key]),
            number(found["chance"][key]),
        ]
        for key, title in names.items()
    ]
    for label, of in found["classes"].items():
        for key, title in (("ap", "AP"), ("roc_auc", "ROC-AUC")):
            n, difference = str(of["n_positive"]), difference_cells(of["difference"][key])
            rows.append(
                [
                    f"{title} {cell(label)}",
                    n,
                    number(of["a"][key]),
                    number(of["b"][key]),
                    *difference,
                    number(of["chance"][key]),
                ]
            )
    say(fitted(headings, rows, right=(1, 2, 3, 4, 5, 6)))
    used = ", which is in use" if held["in_use"] else ""
    say(
        f"judged by {held['windows']:,} held-out windows of {held['recordings']:,} recordings: the test side of version {held['version']}{used}"
    )
    left = held["left_out"]
    say(
        f"  left out: {left['trained_on']:,} that either was trained on, {left['gone']:,} that the archive does not have any more"
    )
    if held["same_recordings"]:
        say(
            f"  {held['same_recordings']:,} of the judged windows lie in recordings of which either learnt other windows"
        )
    for note in found["notes"]:
        say(f"  {note}")


def difference_cells(value: dict[str, Any]) -> list[str]:
    """Return a difference and its interval as two cells."""
    low, high = value["ci"]
    interval = "" if low is None or high is None else f"{low:+.3f} to {high:+.3f}"
    return ["" if value["value"] is None else f"{value['value']:+.3f}", interval]


def macro(values: dict[str, Any]) -> list[str]:
    """Return mAP, cmAP and ROC-AUC as three cells."""
    return [number(values.get(k)) for k in ("map", "cmap", "roc_auc")]


def number(value: float | None) -> str:
    """Return a number with three decimals; nothing for None."""
    return "" if value is None else f"{value:.3f}"


def text(value: Any, empty: str = "") -> str:
    """Return a value as text, or ``empty`` for None."""
    return empty if value is None else str(value)


def cell(text: str) -> str:
    """Return text as one line: a label is anybody's text, and a terminal obeys control characters."""
    return "".join(c if c.isprintable() else " " for c in text)
