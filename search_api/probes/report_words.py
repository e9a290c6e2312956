"""A report in words and set numbers, for the page and for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

MISSING: Final = "–"
_FEW: Final = 10
Report = Mapping[str, Any]

HEADLINE: Final = (
    ("map", "mAP", "mean average precision"),
    ("cmap", "cmAP", "padded, as BirdCLEF has it"),
    ("roc_auc", "ROC-AUC", "mean over classes"),
    ("balanced_accuracy", "Balanced accuracy", ""),
    ("macro_f1", "Macro F1", ""),
    ("accuracy", "Accuracy", ""),
)
"""Macro metrics: key, name, what it is; nothing for those that are of decisions, see :func:`decision_words`."""

_GROUPS: Final = {"recording": "recording", "day": "day of a site", "site": "site"}
_PLURALS: Final = {"recording": "recordings", "day": "days", "site": "sites"}


def dig(value: Any, *keys: str) -> Any:
    """Return what stands below keys, or None if any of them is missing."""
    for key in keys:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def number(value: Any, digits: int = 3) -> str:
    """Return a share or score with fixed digits, or a dash."""
    return MISSING if value is None else f"{value:.{digits}f}"


def count(value: Any) -> str:
    """Return a whole number, or a dash."""
    return MISSING if value is None else f"{value:,.0f}"


def rate(value: Any) -> str:
    """Return a rate with three digits that matter, or a dash."""
    if value is None:
        return MISSING
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def interval(pair: Any, digits: int = 3) -> str:
    """Return an interval as ``0.781–0.882``, or nothing if it is not known."""
    if not pair or any(v is None for v in pair):
        return ""
    return f"{pair[0]:.{digits}f}–{pair[1]:.{digits}f}"


def split_label(label: str) -> tuple[str, str]:
    """Return a label's name for people and the scientific one, if it has two: ``Strix aluco_Tawny Owl``."""
    scientific, mark, common = label.partition("_")
    return (common, scientific) if mark and common and scientific and common != scientific else (label, "")


def short_label(label: str, most: int = 22) -> str:
    """Return a label for an axis: the common name, without its middle if it is too long, since both ends tell names apart."""
    name = split_label(label)[0]
    if len(name) <= most:
        return name
    head = (most - 1) // 2
    return f"{name[:head]}…{name[-(most - 1 - head) :]}"


def many(n: int | None, word: str, plural: str | None = None) -> str:
    """Return ``1 window`` or ``12 windows``."""
    return f"{count(n)} {word if n == 1 else plural or word + 's'}"


def recall_chance(of_class: Report) -> float | None:
    """Return the recall of a guess that calls as many windows as the probe does: the share of windows called."""
    recall, precision, share = (of_class.get(k) for k in ("recall", "precision", "ap_chance"))
    if recall is None or share is None:
        return None
    if not recall:
        return 0.0 if precision is None else None
    return min(1.0, float(recall * share / precision)) if precision else None


def decision_words(report: Report) -> str:
    """Return what counts as the probe's answer."""
    return "of the likeliest class" if report.get("kind") == "multiclass" else "at the thresholds"


def kind_words(report: Report) -> str:
    """Return what kind of probe it is."""
    classes = many(len(report.get("classes") or ()), "class", "classes")
    if report.get("kind") == "multiclass":
        return f"{classes} that exclude each other"
    return f"{classes}, each judged by itself" if len(report.get("classes") or ()) != 1 else classes


def model_words(report: Report) -> str:
    """Return the model's name and version."""
    model = report.get("model") or {}
    return " ".join(str(v) for v in (model.get("name"), model.get("version")) if v) or MISSING


def verdict(report: Report) -> str:
    """Return how good the probe is, in a sentence or two."""
    test = report.get("test")
    if not test:
        return "Nothing was held out, so nothing is known of how good this probe is."
    macro = test.get("macro") or {}
    seen = (
        f"{many(test.get('rows'), 'window')} of {many(test.get('recordings'), 'recording')} that it was not trained on"
    )
    if macro.get("map") is None:
        return f"It was tried on {seen}, but no class has both positives and negatives there: nothing is known of how good it is."
    span = interval(macro.get("map_ci"))
    chance = number(macro.get("map_chance"))
    counted, of = macro.get("classes_counted"), len(report.get("classes") or ())
    only = (
        f", over the {many(counted, 'class', 'classes')} of {of} that can be judged"
        if counted not in (None, of)
        else ""
    )
    text = f"Mean average precision {number(macro['map'])}{f' ({span} with 95 % confidence)' if span else ''}, where chance gives {chance}{only}"
    return f"{text}. Tried on {seen}."


def split_words(report: Report) -> str:
    """Return how the examples were parted."""
    split = report.get("split") or {}
    by = str(split.get("by") or "recording")
    train, test = split.get("train") or {}, split.get("test") or {}
    if not test.get("rows"):
        return f"All {many(train.get('rows'), 'window')} of {many(train.get('recordings'), 'recording')} were trained on; none were held out."
    share = test["rows"] / max(test["rows"] + (train.get("rows") or 0), 1)
    asked = split.get("test_share")
    return (
        f"Each {_GROUPS.get(by, by)} is wholly on one side. Trained on {many(train.get('rows'), 'window')} of "
        f"{many(train.get('recordings'), 'recording')}, tried on {many(test['rows'], 'window')} of {many(test.get('recordings'), 'recording')}: "
        f"{100 * share:.0f} % held out{f', {100 * asked:.0f} % asked for' if asked is not None else ''}; seed {split.get('seed', MISSING)}."
    )


def leak_words(report: Report) -> tuple[bool | None, str]:
    """Return whether the sides share nothing (None: not known), and that in words."""
    split = report.get("split") or {}
    found = split.get("leaks")
    if not (split.get("test") or {}).get("rows"):
        return None, "There is no other side to compare with."
    if not found:
        return None, "The two sides were not compared."
    by = str(found.get("by") or split.get("by") or "recording")
    group, groups = _GROUPS.get(by, by), _PLURALS.get(by, f"{by}s")
    counted = (
        (found.get("shared_groups"), group, groups, "on both sides"),
        (found.get("shared_recordings") if by != "recording" else 0, "recording", "recordings", "on both sides"),
        (found.get("identical_vectors"), "test window", "test windows", "with the very vector of a training window"),
        (found.get("overlapping_windows"), "test window", "test windows", "in the same sound as a training window"),
    )
    wrong = [f"{many(n, word, plural)} {where}" for n, word, plural, where in counted if n]
    if wrong:
        return False, f"The sides are not apart: {', '.join(wrong)}. The numbers may be too good."
    return True, f"No {_GROUPS.get(by, by)} is on both sides, no vector stands on both, no windows overlap across them."


def cautions(report: Report) -> list[str]:
    """Return what a reader should know before believing the numbers, the gravest first."""
    told = []
    apart, words = leak_words(report)
    if apart is False:
        told.append(words)
    if dig(report, "solver", "converged") is False:
        told.append("The training did not converge: another l2 may help.")
    told += _chance_cautions(report)
    for row in dig(report, "threshold_rule", "chosen") or ():
        if row.get("note"):
            told.append(f"{row.get('class')}: {row['note']}")
    told += [str(note) for note in dig(report, "test", "notes") or ()]
    told += _few_cautions(report)
    told += [str(note) for note in report.get("notes") or ()]
    return list(dict.fromkeys(told))


def _chance_cautions(report: Report) -> list[str]:
    reached = [
        name
        for name, row in (dig(report, "test", "classes") or {}).items()
        if interval(row.get("ap_ci")) and row.get("ap_chance") is not None and row["ap_ci"][0] <= row["ap_chance"]
    ]
    if not reached:
        return []
    return [
        f"Chance is not ruled out for {_listed(reached)}: the interval of the average precision reaches down to it."
    ]


def _few_cautions(report: Report) -> list[str]:
    rows = dig(report, "test", "classes") or {}
    few = [f"{name} ({row['n']})" for name, row in rows.items() if 0 < (row.get("n") or 0) < _FEW]
    return [f"Fewer than {_FEW} positives were tried of {_listed(few)}: these numbers are loose."] if few else []


def _listed(names: Sequence[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
