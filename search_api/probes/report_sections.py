"""The sections of the report page: each takes a report and gives HTML, or None where there is nothing to tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from search_api.probes.markup import Markup, joined, tag
from search_api.probes.report_axes import strip
from search_api.probes.report_matrix import matrix_plot
from search_api.probes.report_plots import curve_plot, histogram_plot
from search_api.probes.report_trends import learning_plot
from search_api.probes.report_words import (
    HEADLINE,
    Report,
    cautions,
    count,
    decision_words,
    dig,
    interval,
    leak_words,
    many,
    number,
    rate,
    recall_chance,
    short_label,
    split_label,
    split_words,
)

_SHOWN: Final = 12  # of classes whose plots stand open; the others are behind a fold
_CAUTIONS_SHOWN: Final = 8
_NAME_MAX: Final = 90
_SLICES: Final = (
    ("site", "Site"),
    ("hour", "Hour of the day, local"),
    ("snr", "Loudness over noise"),
)


def name_of(value: object) -> Markup:
    """Return a name from the archive; its reading direction does not reach the words around it."""
    text = str(value)
    if len(text) <= _NAME_MAX:
        return tag("bdi", text)
    return tag("bdi", short_label(text, _NAME_MAX), title=text)


def class_name(label: str) -> Markup:
    """Return a class's label: the common name, and the scientific one below it."""
    name, scientific = split_label(label)
    return joined(name_of(name), tag("i", name_of(scientific), class_="under") if scientific else None)


def headline(report: Report) -> Markup | None:
    """Return the macro numbers, each with its interval and with chance."""
    macro = dig(report, "test", "macro")
    if not macro:
        return None
    cells = []
    for key, name, what in HEADLINE:
        value, chance, span = macro.get(key), macro.get(f"{key}_chance"), macro.get(f"{key}_ci")
        beside = tag(
            "div",
            tag("span", f"chance {number(chance)}", class_="chance-word"),
            tag("span", f"95 % {interval(span)}") if interval(span) else None,
            class_="beside",
        )
        cells.append(
            tag(
                "div",
                tag("span", name, class_="name"),
                tag("span", what or decision_words(report), class_="what"),
                tag("span", number(value), class_="value"),
                strip(value, chance, span, name, width=290),
                beside,
                class_="number",
            )
        )
    return tag("div", *cells, class_="numbers")


def caution_box(report: Report) -> Markup | None:
    """Return what a reader should know first."""
    told = cautions(report)
    if not told:
        return None
    items = [tag("li", words) for words in told]
    rest = None
    if len(items) > _CAUTIONS_SHOWN + 1:
        summary = tag("summary", f"{len(items) - _CAUTIONS_SHOWN} more")
        rest = tag("details", summary, tag("ul", *items[_CAUTIONS_SHOWN:]))
        items = items[:_CAUTIONS_SHOWN]
    return tag("aside", tag("h2", "Worth knowing"), tag("ul", *items), rest, class_="cautions")


def sides(report: Report) -> Markup:
    """Return how the examples were parted, and whether the two sides are apart."""
    apart, words = leak_words(report)
    mark = {True: "Checked. ", False: "Leak. ", None: ""}[apart]
    leak = tag("p", tag("strong", mark) if mark else None, words)
    return _section("How it was tried", tag("p", split_words(report)), leak)


def classes(report: Report) -> Markup | None:
    """Return the table of classes."""
    rows = dig(report, "test", "classes")
    if not rows:
        return None
    groups = [("", 1), ("Windows tried", 2), ("Average precision", 2), ("ROC-AUC", 1), ("At the threshold", 5)]
    heads = [
        "Class",
        "there",
        "not there",
        "",
        "0 to 1",
        "",
        "threshold",
        "precision",
        "recall",
        "F1",
        "false alarms / h",
    ]
    caption = (
        "Small figures: 95 % interval below the value, then what chance would give. Chance is the share of positives for precision "
        "and average precision, one half for ROC-AUC, the recall of as many random calls, and the F1 of calling everything."
    )
    body = [_class_row(str(name), row) for name, row in rows.items()]
    table = _table(heads, body, groups=groups)
    return _section("Class by class", tag("p", caption, class_="caption"), table)


def _class_row(name: str, row: Mapping[str, Any]) -> Markup:
    weak = f"+ {count(row['n_weak'])} weak" if row.get("n_weak") else None
    roc_chance = row.get("roc_auc_chance", 0.5 if row.get("roc_auc") is not None else None)
    cells = [
        tag("td", count(row.get("n_positive", row.get("n")))),
        tag("td", count(row.get("n_negative")), tag("span", weak, class_="under") if weak else None),
        _value(row.get("ap"), row.get("ap_chance"), row.get("ap_ci")),
        tag(
            "td",
            strip(row.get("ap"), row.get("ap_chance"), row.get("ap_ci"), f"{name}: average precision"),
            class_="pic",
        ),
        _value(row.get("roc_auc"), roc_chance, row.get("roc_auc_ci")),
        tag("td", number(row.get("threshold"))),
        _value(row.get("precision"), row.get("ap_chance")),
        _value(row.get("recall"), recall_chance(row)),
        _value(row.get("f1"), row.get("f1_chance")),
        tag("td", rate(row.get("false_alarms_per_hour"))),
    ]
    return tag("tr", tag("th", class_name(name), scope="row"), *cells)


def plots(report: Report) -> Markup | None:
    """Return curve and scores of every class."""
    test = report.get("test") or {}
    rows, curves, bars = test.get("classes") or {}, test.get("curves") or {}, test.get("histograms") or {}
    if not rows:
        return None
    pairs = [_pair(str(name), row, curves.get(name) or {}, bars.get(name) or {}) for name, row in rows.items()]
    key = _key(
        ("is-positive", "positives, upwards"),
        ("is-negative", "negatives, downwards"),
        ("is-weak", "weak negatives"),
        ("is-line", "chance"),
    )
    caption = "The curve: precision against recall, as the threshold falls; ring: the threshold. The bars: how the windows tried were scored."
    rest = None
    if len(pairs) > _SHOWN + 1:
        rest = tag("details", tag("summary", f"{len(pairs) - _SHOWN} more classes"), *pairs[_SHOWN:])
        pairs = pairs[:_SHOWN]
    return _section("Curves and scores", tag("p", caption, class_="caption"), key, *pairs, rest)


def _pair(name: str, row: Mapping[str, Any], curve: Mapping[str, Any], bars: Mapping[str, Any]) -> Markup:
    there = joined(
        tag("b", count(row.get("n_positive", row.get("n")))),
        " there, ",
        tag("b", count(row.get("n_negative"))),
        " not there",
    )
    weak = f", {count(row['n_weak'])} weak" if row.get("n_weak") else None
    known = joined(
        "average precision ",
        tag("b", number(row.get("ap"))),
        ", ",
        tag("span", f"chance {number(row.get('ap_chance'))}", class_="chance-word"),
    )
    head = tag("div", tag("h3", class_name(name)), tag("p", known), tag("p", there, weak), class_="about")
    return tag(
        "div", head, curve_plot(name, curve, row), histogram_plot(name, bars, row.get("threshold")), class_="pair"
    )


def confused(report: Report) -> Markup | None:
    """Return the confusion matrix."""
    drawn = matrix_plot(dig(report, "test", "confusion") or {})
    if drawn is None:
        return None
    caption = (
        "Counted is the likeliest class of every window whose class is known."
        if report.get("kind") == "multiclass"
        else "On the diagonal: windows with the class that were found. Off it: windows of the row in which the column's class is found and is not."
    )
    key = _key(("is-positive", "right"), ("is-wrong", "wrong"))
    return _section(
        "What is taken for what",
        tag("p", f"{caption} Shaded by share of the row.", class_="caption"),
        key,
        tag("div", drawn, class_="scroll"),
    )


def learning(report: Report) -> Markup | None:
    """Return the learning curve."""
    rows = report.get("learning_curve") or []
    if not rows:
        return None
    macro = dig(report, "test", "macro") or {}
    repeats = max((row.get("repeats") or 0 for row in rows), default=0)
    caption = f"The same test, trained on few positives a class, drawn anew {many(repeats, 'time')}. Band: lowest to highest draw. {_advice(rows)}"
    drawn = (
        learning_plot(rows, "map", "mean average precision", macro.get("map_chance")),
        learning_plot(rows, "roc_auc", "ROC-AUC", macro.get("roc_auc_chance")),
    )
    return _section(
        "How many examples are enough", tag("p", caption, class_="caption"), tag("div", *drawn, class_="grid")
    )


def _advice(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return whether more annotations would help, as far as the curve's end can tell."""
    known = [row["map"] for row in rows if row.get("map") is not None]
    if len(known) < 3:
        return ""
    gain = known[-1] - known[-2]
    if gain > 0.02:
        return f"It still rises at its end (by {gain:.3f}): more examples should help."
    return "It is flat at its end: more of the same examples would change little."


def parts(report: Report) -> Markup | None:
    """Return where it works better and worse."""
    found = dig(report, "test", "slices") or {}
    tables = [_slice_table(title, found[key]) for key, title in _SLICES if len(found.get(key) or ()) > 1]
    if not tables:
        return None
    caption = "Mean average precision of parts of the test. It rises with the share of positives, so compare each part with its own chance."
    return _section("Where it works", tag("p", caption, class_="caption"), tag("div", *tables, class_="grid wide"))


def _slice_table(title: str, values: Mapping[str, Any]) -> Markup:
    body = []
    for value, row in values.items():
        cells = [
            tag("td", count(row.get("n"))),
            _value(row.get("map"), row.get("map_chance")),
            tag("td", strip(row.get("map"), row.get("map_chance"), None, f"{value}: mAP"), class_="pic"),
            tag("td", number(row.get("roc_auc"))),
        ]
        body.append(tag("tr", tag("th", name_of(value), scope="row"), *cells))
    return _table([title, "windows", "mAP", "0 to 1", "ROC-AUC"], body)


def _value(value: Any, chance: Any, span: Any = None) -> Markup:
    """Return a cell: the value, its interval, and chance."""
    below = [tag("span", interval(span), class_="under")] if interval(span) else []
    if chance is not None and value is not None:
        below.append(tag("span", number(chance), class_="under chance-word", title="chance"))
    return tag("td", number(value), *below)


def _table(heads: Sequence[str], body: Sequence[Markup], groups: Iterable[tuple[str, int]] = ()) -> Markup:
    above = [tag("th", name, colspan=n, scope="colgroup" if name else None) for name, n in groups]
    top = tag("tr", *above, class_="group") if above else None
    row = tag("tr", *(tag("th", head, scope="col") for head in heads))
    return tag("div", tag("table", tag("thead", top, row), tag("tbody", *body)), class_="scroll")


def _key(*items: tuple[str, str]) -> Markup:
    return tag("ul", *(tag("li", tag("i", class_=class_), words) for class_, words in items), class_="key")


def _section(title: str, *children: object) -> Markup:
    return tag("section", tag("h2", title), joined(*children))
