"""``sonotheque probe train-all``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Group

    from search_api.probes.many import ManyTrained, Row

_STYLES = {"pending": "dim", "training": "cyan", "done": "green", "failed": "red"}
_ORDER = ("training", "failed", "done", "pending")
_HEADINGS = ("probe", "state", "positives", "bal. acc.", "chance", "macro F1", "chance", "mAP", "chance", "s")
_RIGHT = (3, 4, 5, 6, 7, 8, 9)
_ROOM = 6  # lines of a terminal that are not rows
_CLASSES_SHOWN = 4
_WIDE, _NUMBERS_WIDE, _NUMBERS_NARROW = 118, 84, 56  # of a terminal; of the columns that are not names
_NARROW = (0, 1, 2, 3, 4, 5, 6)


def register(group: typer.Typer) -> None:
    """Add the verb."""
    group.command(
        "train-all",
        epilog="Examples: sonotheque probe train-all species.csv --store archive\n\n"
        "sonotheque probe train-all species.yaml --store archive --workers 4 --out trained.csv\n\n"
        "A row a probe: name, classes separated by |, and any key of an experiment, such as negatives.weak.",
    )(train_all)


def train_all(
    table: Path = typer.Argument(..., metavar="TABLE", help="A row a probe: .yaml or .csv."),
    store: str = typer.Option(..., "--store", metavar="DIR", help="The store's folder."),
    workers: int = typer.Option(None, "--workers", metavar="N", help="Processes [default: one a core]."),
    out: Path = typer.Option(None, "--out", metavar="FILE", help="Write the table of results, as .csv or .json."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress on stderr."),
) -> int:
    """Train a probe for every row of a table; rows that are done already are not trained again, and a row that fails fails alone."""
    from search_api.probes.many import train_all as run
    from sonotheque.cli.output import document, say, tell
    from sonotheque.core.errors import EXIT_FILES_FAILED, EXIT_STOPPED

    if out:
        _require_target(out)
    with _watch(quiet=quiet) as watch:
        made = run(store, table, workers=workers, watch=watch)
    if out:
        _write(made, out)
        if not quiet:
            tell(f"results: {out}")
    if as_json:
        document(made.to_json())
    else:
        say("\n".join(_lines(made)))
    return EXIT_STOPPED if made.stopped and made.count("pending") else EXIT_FILES_FAILED if made.count("failed") else 0


def _lines(made: ManyTrained) -> list[str]:
    from sonotheque.cli.fitting import fitted
    from sonotheque.cli.output import seconds

    lines = [fitted(_HEADINGS, [_cells(row) for row in made.rows], right=_RIGHT)]
    failed = [row for row in made.rows if row.state == "failed"]
    lines += ["", *(f"{row.name}: {row.reason}" for row in failed)] if failed else []
    already = sum(row.already for row in made.rows)
    counts = f"{made.count('done')} done{f' ({already} already)' if already else ''}, {len(failed)} failed"
    if pending := made.count("pending"):
        counts += f", {pending} pending: the same command goes on"
    return [*lines, "", f"{counts}; {seconds(made.wall_s)}"]


def _cells(row: Row) -> list[str]:
    from search_api.probes.report_words import number

    listed = [f"{label} {n}" for label, n in row.n.items()]
    more = f" and {len(listed) - _CLASSES_SHOWN} more" if len(listed) > _CLASSES_SHOWN else ""
    state = f"done, v{row.version}" if row.state == "done" else row.state

    def pair(value: float | None, chance: float | None) -> list[str]:
        return [number(value), number(chance)] if row.state == "done" else ["", ""]

    return [
        row.name,
        f"{state} (already)" if row.already else state,
        ", ".join(listed[:_CLASSES_SHOWN]) + more,
        *pair(row.balanced_accuracy, row.balanced_accuracy_chance),
        *pair(row.macro_f1, row.macro_f1_chance),
        *pair(row.map, row.map_chance),
        "" if row.seconds is None else f"{row.seconds:.1f}",
    ]


class _Quiet:
    """Tells nothing."""

    def __enter__(self) -> Any:
        return None

    def __exit__(self, *_: object) -> None:
        return None


class _Plain:
    """A line for every row that comes to its end: for pipes and log files."""

    def __init__(self) -> None:
        self._told: set[int] = set()

    def __enter__(self) -> Any:
        return self._watch

    def __exit__(self, *_: object) -> None:
        return None

    def _watch(self, rows: Sequence[Row]) -> None:
        from sonotheque.cli.output import tell

        for i, row in enumerate(rows):
            if row.state in ("done", "failed") and i not in self._told:
                self._told.add(i)
                told = f"{row.reason}" if row.reason else f"mAP {_cells(row)[7]}, chance {_cells(row)[8]}"
                tell(f"{len(self._told)}/{len(rows)}  {row.name}: {_cells(row)[1]}; {told}")


class _Live:
    """A table that changes as rows do: for terminals."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(stderr=True)
        self._live = Live(console=self._console, transient=True, refresh_per_second=4)

    def __enter__(self) -> Any:
        self._live.start()
        return lambda rows: self._live.update(live_table(rows, self._console.height - _ROOM, self._console.width))

    def __exit__(self, *_: object) -> None:
        self._live.stop()


def live_table(rows: Sequence[Row], room: int, width: int) -> Group:
    """Return the rows as a table of at most ``room`` of them: what is being trained first, then what failed, then what was done last."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from sonotheque.cli.fitting import shortened

    wide = width >= _WIDE
    shown = range(len(_HEADINGS)) if wide else _NARROW
    spare = width - (_NUMBERS_WIDE if wide else _NUMBERS_NARROW)
    name_max, said_max = max(spare * 2 // 5, 10), max(spare * 3 // 5, 10)
    order = sorted(range(len(rows)), key=lambda i: (_ORDER.index(rows[i].state), -i if rows[i].state == "done" else i))
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    for i in shown:
        table.add_column(_HEADINGS[i], justify="right" if i in _RIGHT else "left", no_wrap=True)
    for row in (rows[i] for i in sorted(order[: max(room, 1)])):
        cells = _cells(row)
        cells[0], cells[2] = shortened(row.name, name_max), shortened(row.reason or cells[2], said_max)
        cells[1] = "done before" if row.already else cells[1]
        table.add_row(*(Text(cells[i], style=_STYLES[row.state] if i == 1 else "") for i in shown))
    counts = ", ".join(f"{sum(row.state == state for row in rows)} {state}" for state in _STYLES)
    return Group(table, Text(f"{counts}; Ctrl-C ends after what is being trained", style="dim"))


def _watch(*, quiet: bool) -> Any:
    if quiet:
        return _Quiet()
    return _Live() if sys.stderr.isatty() else _Plain()


def _require_target(out: Path) -> None:
    from sonotheque.core.errors import Invalid, NotFound

    if out.suffix.lower() not in (".csv", ".json"):
        raise Invalid(f"--out {out}: expected a name that ends in .csv or .json")
    if not out.absolute().parent.is_dir():
        raise NotFound(f"--out {out}: there is no folder {out.parent}; make it, or choose another")


def _write(made: ManyTrained, out: Path) -> None:
    import csv
    import json

    from store.formats.whole import whole_files

    rows = [row.to_json() for row in made.rows]
    with whole_files(out, overwrite=True) as (temporary,):
        if out.suffix.lower() == ".json":
            temporary.write_text(json.dumps(made.to_json(), indent=1, ensure_ascii=False), "utf-8")
            return
        with temporary.open("w", encoding="utf-8", newline="") as handle:
            writer = csv.DictWriter(handle, list(rows[0]))
            writer.writeheader()
            writer.writerows({**row, "n": "|".join(f"{label}={n}" for label, n in row["n"].items())} for row in rows)
