"""A probe's report as one page: a single file with its style and plots in it, that opens anywhere without a network."""

from __future__ import annotations

import json
from typing import Any

import yaml

from search_api.probes.markup import Markup, escaped, tag
from search_api.probes.report_sections import (
    caution_box,
    classes,
    confused,
    headline,
    learning,
    name_of,
    parts,
    plots,
    sides,
)
from search_api.probes.report_style import STYLE
from search_api.probes.report_trends import penalty_plot
from search_api.probes.report_words import MISSING, Report, dig, kind_words, model_words, number, verdict


def report_page(report: Report) -> str:
    """Return a report as HTML.

    Parameters
    ----------
    report : mapping
        As :func:`probes.training.train` makes it. What is missing or None is left out or shown as a dash.

    Returns
    -------
    str
        A whole document: no script, nothing loaded from elsewhere; light or dark as the reader's system is. Names from the archive are
        escaped. It can be encoded as UTF-8, also if they cannot.
    """
    title = f"{report.get('probe') or 'probe'}, version {report.get('version') or MISSING}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"Probe {title}"),
        tag("style", Markup(STYLE)),
    )
    main = tag(
        "main",
        _masthead(report),
        headline(report),
        caution_box(report),
        sides(report),
        classes(report),
        plots(report),
        confused(report),
        learning(report),
        parts(report),
        _facts(report),
        _footer() if report.get("test") else None,
    )
    return f"<!doctype html>\n{tag('html', head, tag('body', main), lang='en')}\n"


def _masthead(report: Report) -> Markup:
    version = report.get("version")
    name = tag("h1", name_of(report.get("probe") or MISSING), tag("small", f"version {version}") if version else None)
    made = str(report.get("created_utc") or "").replace("T", " ").replace("+00:00", "")[:16]
    facts = [kind_words(report), f"on vectors of {model_words(report)}", f"trained {made} UTC" if made else ""]
    return tag(
        "header",
        tag("p", "Probe report", class_="eyebrow"),
        name,
        tag("p", " · ".join(f for f in facts if f), class_="meta"),
        tag("p", verdict(report), class_="lead"),
    )


def _facts(report: Report) -> Markup:
    solver = report.get("solver") or {}
    pairs = [
        ("Solver", _solver_words(solver)),
        ("Calibration", dig(report, "calibration", "method")),
        ("Threshold rule", _rule_words(report)),
        ("Model", model_words(report)),
        ("Data digest", _digest(report.get("data_digest"))),
        ("Code version", report.get("code_version")),
    ]
    shown = [tag("dt", name) + tag("dd", value) for name, value in pairs if value not in (None, "")]
    tried = [row for row in solver.get("l2_tried") or () if row.get("score") is not None]
    plot = penalty_plot(tried, solver.get("l2")) if len(tried) > 1 else None
    listed = tag("dl", *(Markup(pair) for pair in shown))
    body = tag("div", listed, plot, class_="facts") if plot else listed
    experiment = report.get("experiment")
    whole = None
    if experiment:
        summary = tag("summary", "The experiment, as a file to train it again")
        whole = tag("details", summary, tag("pre", _yaml(experiment)))
    return tag("section", tag("h2", "How it was made"), body, whole)


def _solver_words(solver: Report) -> str:
    if not solver:
        return ""
    l2, steps, gradient = solver.get("l2"), solver.get("iterations"), solver.get("gradient")
    end = "converged" if solver.get("converged") else "did not converge" if solver.get("converged") is False else ""
    facts = [
        "logistic regression",
        f"l2 {l2:g}" if l2 is not None else "",
        f"{end} after {steps:,} steps" if end and steps is not None else end,
        f"gradient {gradient:.1e}" if gradient is not None else "",
        f"{solver['seconds']:.1f} s" if solver.get("seconds") is not None else "",
    ]
    return ", ".join(f for f in facts if f)


def _rule_words(report: Report) -> str:
    rule, value = (dig(report, "threshold_rule", key) for key in ("rule", "value"))
    if rule == "precision":
        return f"the lowest with a precision of at least {number(value, 2)}"
    if rule == "false_alarms":
        return (
            f"the highest recall with at most {value:g} false alarms an hour" if value is not None else "false alarms"
        )
    return "the highest F1" if rule == "max_f1" else str(rule or "")


def _digest(value: Any) -> Markup | None:
    return tag("code", value) if value else None


def _yaml(experiment: Any) -> Markup:
    plain = json.loads(json.dumps(experiment, default=str))  # tuples are lists
    return escaped(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100))


def _footer() -> Markup:
    words = (
        "Average precision is the mean precision over all recalls; mAP is its mean over classes. cmAP adds five perfect positives to every "
        "class first, as BirdCLEF 2023 does, so that rare classes weigh less. ROC-AUC is how often a positive scores above a negative.",
        "Intervals: 95 %, from recordings drawn again with replacement. Weak negatives are windows that nobody annotated; they count with "
        "their weight. A dash: not defined, for want of positives or negatives.",
    )
    return tag("footer", *(tag("p", w) for w in words))
