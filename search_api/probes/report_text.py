"""A probe's report for a terminal: what a person wants before opening the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from search_api.probes.report_words import (
    HEADLINE,
    Report,
    cautions,
    count,
    dig,
    interval,
    kind_words,
    leak_words,
    model_words,
    number,
    rate,
    recall_chance,
    short_label,
    split_words,
    verdict,
)

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, Group, RenderableType
    from rich.table import Table
    from rich.text import Text

_CLASSES_SHOWN: Final = 60
_CAUTIONS_SHOWN: Final = 12
_NAME_LETTERS: Final = 30
_BAR: Final = 20
_WIDE: Final = 116
_SLICES: Final = (("site", "site"), ("hour", "hour"), ("snr", "SNR"))


def report_text(report: Report) -> Group:
    """Return a report for rich to print.

    Parameters
    ----------
    report : mapping
        As :func:`search_api.probes.report_page.report_page` takes it.

    Returns
    -------
    rich.console.Group
        Names from the archive are text, never rich's markup. It fits 80 columns as far as the tables can be made narrower.
    """
    from rich.console import Group
    from rich.text import Text

    version = f", version {report['version']}" if report.get("version") else ""
    parts: list[RenderableType] = [
        Text.assemble(
            (_printable(report.get("probe") or "probe"), "bold"),
            f"{version}: {kind_words(report)}; {model_words(report)}",
        ),
        Text(verdict(report)),
        Text(),
    ]
    if macro := dig(report, "test", "macro"):
        parts += [_headline(macro), Text()]
    if rows := dig(report, "test", "classes"):
        parts += [_Classes(rows), *_more(len(rows) - _CLASSES_SHOWN, "classes"), Text()]
    if curve := report.get("learning_curve"):
        parts += [_curve(curve), Text()]
    if slices := _slices(dig(report, "test", "slices") or {}):
        parts += [slices, Text()]
    apart, words = leak_words(report)
    parts.append(Text(split_words(report)))
    parts.append(Text(words, style="bold red" if apart is False else ""))
    told = [t for t in cautions(report) if t != words]
    for caution in told[:_CAUTIONS_SHOWN]:
        parts.append(Text.assemble(("! ", "bold yellow"), _printable(caution)))
    return Group(*parts, *_more(len(told) - _CAUTIONS_SHOWN, "notes"))


def _headline(macro: Mapping[str, Any]) -> Table:
    table = _table(
        ("mean over classes", "l"), ("value", "r"), ("chance", "r"), ("95 %", "l"), (f"0{'1':>{_BAR - 1}}", "l")
    )
    for key, name, _ in HEADLINE:
        value, chance = macro.get(key), macro.get(f"{key}_chance")
        table.add_row(name, _strong(value), _dim(chance), interval(macro.get(f"{key}_ci")), _bar(value, chance))
    return table


class _Classes:
    """The table of classes, with as many columns as fit."""

    def __init__(self, rows: Mapping[str, Any]) -> None:
        self._rows = rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        from rich.text import Text

        columns = [column for column in _COLUMNS if options.max_width >= _WIDE or not column[1]]
        table = _table(("class", "l"), *((heading, "r") for heading, _, _ in columns))
        for name, row in list(self._rows.items())[:_CLASSES_SHOWN]:
            cells = (cell(row) for _, _, cell in columns)
            table.add_row(Text(short_label(_printable(name), _NAME_LETTERS)), *cells)
        yield table


def _beside(value: Any, chance: Any, digits: int = 2) -> Text:
    """Return a value, and chance beside it."""
    from rich.text import Text

    beside = f"{number(chance, digits)}" if value is not None and chance is not None else ""
    return Text(number(value, digits)).append(f" {beside:>{digits + 2}}", style="yellow")


Cell = Callable[[Mapping[str, Any]], "str | Text"]
_COLUMNS: Final[tuple[tuple[str, bool, Cell], ...]] = (
    ("there", False, lambda row: count(row.get("n_positive", row.get("n")))),
    ("not", True, lambda row: count(row.get("n_negative"))),
    ("AP chance", False, lambda row: _beside(row.get("ap"), row.get("ap_chance"), 3)),
    ("ROC-AUC chance", False, lambda row: _beside(row.get("roc_auc"), row.get("roc_auc_chance"), 3)),
    ("from", True, lambda row: number(row.get("threshold"), 2)),
    ("precision", True, lambda row: _beside(row.get("precision"), row.get("ap_chance"))),
    ("recall", True, lambda row: _beside(row.get("recall"), recall_chance(row))),
    ("F1 chance", False, lambda row: _beside(row.get("f1"), row.get("f1_chance"))),
    ("false/h", False, lambda row: rate(row.get("false_alarms_per_hour"))),
)
"""Heading, whether it needs a wide terminal, and its cell."""


def _curve(rows: Any) -> Table:
    table = _table(("positives a class", "l"), *((str(row.get("shots")), "r") for row in rows))
    table.add_row("mAP", *(number(row.get("map")) for row in rows))
    table.add_row("ROC-AUC", *(number(row.get("roc_auc")) for row in rows))
    return table


def _slices(slices: Mapping[str, Any]) -> Table | None:
    from rich.text import Text

    shown = [(word, slices[key]) for key, word in _SLICES if len(slices.get(key) or ()) > 1]
    if not shown:
        return None
    table = _table(("part", "l"), ("", "l"), ("windows", "r"), ("mAP", "r"), ("chance", "r"), ("ROC-AUC", "r"))
    for word, values in shown:
        for i, (value, row) in enumerate(values.items()):
            table.add_row(
                "" if i else word,
                Text(short_label(_printable(value), _NAME_LETTERS)),
                count(row.get("n")),
                number(row.get("map")),
                _dim(row.get("map_chance")),
                number(row.get("roc_auc")),
            )
    return table


def _table(*columns: tuple[str, str]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
    for i, (name, side) in enumerate(columns):
        right = side == "r"
        table.add_column(
            name,
            justify="right" if right else "left",
            no_wrap=right,
            overflow="ellipsis",
            header_style="dim" if i else "bold",
        )
    return table


def _bar(value: float | None, chance: float | None) -> Text:
    """Return a value from 0 to 1 as a bar, with chance as a mark on it."""
    from rich.text import Text

    full = round((value or 0.0) * _BAR)
    bar = Text("━" * full, style="green") + Text("─" * (_BAR - full), style="dim")
    if chance is None:
        return bar
    at = min(round(chance * _BAR), _BAR - 1)
    return bar[:at] + Text("┃", style="yellow") + bar[at + 1 :]


def _strong(value: Any) -> Text:
    from rich.text import Text

    return Text(number(value), style="bold")


def _dim(value: Any) -> Text:
    from rich.text import Text

    return Text(number(value), style="yellow")


def _more(n: int, what: str) -> list[Text]:
    from rich.text import Text

    return [Text(f"... and {n:,} more {what}: --json or --report shows them", style="dim")] if n > 0 else []


def _printable(value: object) -> str:
    """Return a text without what moves a terminal's cursor, or cannot be encoded."""
    return "".join(c if c.isprintable() and not 0xD800 <= ord(c) <= 0xDFFF else "\ufffd" for c in str(value))
