"""Ready questions: ``summary``, ``activity``, ``species``. Each prints a table, and draws a picture with ``--plot``."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import typer

from sonotheque.cli.filters import with_filter
from sonotheque.cli.opening import opened
from sonotheque.core.filters import SearchFilter

_STORE = typer.Option(..., "--store", metavar="DIR", help="The store's folder.")
_JSON = typer.Option(False, "--json", help="Print one JSON document.")
_CSV = typer.Option(False, "--csv", help="Print the rows as CSV.")
_PLOT = typer.Option(None, "--plot", metavar="FILE", help="Draw it too: .png, .svg or .pdf.")
_SNAPSHOT = typer.Option(None, "--snapshot", metavar="N", help="Ask this snapshot [default: the newest].")
_SKIP = typer.Option(False, "--skip-damaged", help="Leave damaged parts out, and say which.")


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    app.command(
        "summary",
        epilog="Examples: sonotheque summary --store archive --by-day\n\n"
        "sonotheque summary --store archive --site forest --from 2025-05-01 --plot effort.png",
    )(with_filter(summary))
    app.command(
        "activity",
        epilog="Examples: sonotheque activity --species 'Tawny Owl' --store archive --plot owls.png\n\n"
        "sonotheque activity --species 'Strix aluco' --store archive --by sun --per-site",
    )(with_filter(activity))
    app.command(
        "species",
        epilog="Examples: sonotheque species --store archive --min-score 0.7\n\n"
        "sonotheque species --store archive --species 'Strix aluco' --best 10",
    )(with_filter(species))


def summary(
    store: str = _STORE,
    by_day: bool = typer.Option(False, "--by-day", help="Hours recorded by site and local day."),
    gap_min: float = typer.Option(60.0, "--min-gap-min", metavar="M", min=0, help="Gaps of at least so many minutes."),
    plot: str = _PLOT,
    *,
    where: SearchFilter,
    as_csv: bool = _CSV,
    as_json: bool = _JSON,
    snapshot: int = _SNAPSHOT,
    skip_damaged: bool = _SKIP,
) -> int:
    """Tell what was recorded: files, days and hours per site, the schedule of each recorder, and gaps in it.

    A gap is where the next recording comes later than one and a half of the recorder's usual intervals; pauses that come back every
    day are part of the schedule.
    """
    from search_api.plots import draw_summary, require_picture
    from search_api.questions.summary import flat_rows, summarise
    from sonotheque.cli.ask_tables import summary_text

    if plot:
        require_picture(plot)
    with opened(store, snapshot, skip_damaged=skip_damaged) as archive:
        answer = summarise(archive, where, gap_min_s=gap_min * 60)
    with _drawn(plot, lambda: draw_summary(answer, plot)):
        _print(
            answer.to_json,
            lambda: flat_rows(answer, by_day=by_day),
            summary_text(answer, by_day=by_day),
            as_json,
            as_csv,
        )
    return 0


def activity(
    store: str = _STORE,
    names: list[str] = typer.Option(
        None, "--species", metavar="NAME", help="Label, scientific or common name; may be repeated."
    ),
    by: str = typer.Option("date-hour", "--by", metavar="WHAT", help="date-hour, hour, date, month or sun."),
    source: str = typer.Option(
        "predictions", "--source", metavar="WHAT", help="predictions, or annotations (positive ones)."
    ),
    per_site: bool = typer.Option(False, "--per-site", help="A table and a panel for each site."),
    counts: bool = typer.Option(False, "--counts", help="Draw counts, not counts per hour of recording."),
    plot: str = _PLOT,
    *,
    where: SearchFilter,
    as_csv: bool = _CSV,
    as_json: bool = _JSON,
    snapshot: int = _SNAPSHOT,
    skip_damaged: bool = _SKIP,
) -> int:
    """Tell when a species was heard: windows by local date and hour of day, and per hour of recording.

    In the table a dot is an hour that was recorded without the species, and an empty cell an hour that was not recorded. Scores
    count from 0.5 on unless --min-score says otherwise.
    """
    from search_api.plots import draw_activity, draw_profile, require_picture
    from search_api.questions import activity as use
    from sonotheque.cli.ask_tables import activity_text
    from sonotheque.cli.output import tell

    if plot:
        require_picture(plot)
    rows, found_in = use.chosen_word(use.By, "--by", by), use.chosen_word(use.Source, "--source", source)
    asked = [*(names or []), *([where.label] if where.label else [])]
    with opened(store, snapshot, skip_damaged=skip_damaged) as archive:
        answer = use.activity(archive, asked, where, source=found_in, per_site=per_site, sun=rows is use.By.SUN)
        hints = use.hints(archive, answer, where)

    def draw() -> list[str]:
        if rows is use.By.CELL:
            return draw_activity(answer, plot, counts=counts)
        return draw_profile(answer, plot, rows, counts=counts)

    with _drawn(plot, draw):
        _print(
            lambda: answer.to_json(rows),
            lambda: use.rows_by(answer, rows),
            activity_text(answer, rows),
            as_json,
            as_csv,
        )
    for hint in hints:
        tell(f"note: {hint}")
    return 0


def species(
    store: str = _STORE,
    per_site: bool = typer.Option(False, "--per-site", help="A row for each species and site."),
    best: int = typer.Option(1, "--best", metavar="N", min=1, help="Name the N best windows of each row."),
    top: int = typer.Option(
        None, "--top", metavar="N", min=1, help="The N rows with most windows [default: 30; files: all]."
    ),
    plot: str = _PLOT,
    *,
    where: SearchFilter,
    as_csv: bool = _CSV,
    as_json: bool = _JSON,
    snapshot: int = _SNAPSHOT,
    skip_damaged: bool = _SKIP,
) -> int:
    """List the species found: windows, days, first and last time, and the window that shows each best.

    A window counts for its best class (--max-rank 1) from a score of 0.5 on, unless told otherwise.
    """
    from search_api.plots import SPECIES_MAX, draw_species, require_picture
    from search_api.questions import species as use
    from sonotheque.cli.ask_tables import species_text

    if plot:
        require_picture(plot)
    with opened(store, snapshot, skip_damaged=skip_damaged) as archive:
        answer = use.species(archive, where, per_site=per_site, best=best)
    with _drawn(plot, lambda: draw_species(answer, plot, top=top or SPECIES_MAX)):
        _print(
            lambda: answer.to_json(top),
            lambda: use.flat_rows(answer, top),
            species_text(answer, SPECIES_MAX if top is None else top),
            as_json,
            as_csv,
        )
    return 0


def _print(
    to_json: Callable[[], dict[str, Any]],
    rows: Callable[[], list[dict[str, Any]]],
    text: Iterable[str],
    as_json: bool,
    as_csv: bool,
) -> None:
    from search_api.questions.writing import rows_of, write_csv
    from sonotheque.cli.output import binary_output, document, say
    from sonotheque.core.errors import Invalid

    if as_json and as_csv:
        raise Invalid("--csv and --json: one format at a time")
    if as_json:
        document(to_json())
    elif as_csv:
        write_csv(rows_of(rows()), binary_output())
    else:
        for line in text:
            say(line)


@contextlib.contextmanager
def _drawn(plot: str | None, draw: Callable[[], list[str]]) -> Iterator[None]:
    """Draw if it was asked for, then print, whatever became of the picture: a reader may close the pipe after a few lines."""
    from sonotheque.cli.output import tell

    notes: list[str] = []
    try:
        if plot:
            notes = [*(f"note: {note}" for note in draw()), f"drawn: {plot}"]
    finally:
        yield
    for line in notes:
        tell(line)
