"""``sonotheque search``: where else does it occur?"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sonotheque.cli.filters import with_filter
from sonotheque.cli.opening import opened
from sonotheque.core.filters import SearchFilter

if TYPE_CHECKING:
    from search_api.locating import Locator
    from search_api.queries import Query
    from search_api.search import SearchResult
    from store import Archive

_EPILOG = """Examples:

sonotheque search call.wav --store archive

sonotheque search call.wav --from-s 12 --to-s 15 --store archive -k 100 --site forest --month 5 --hours 22:00-04:00

sonotheque search --window forest/20250510_000000.flac@12 --store archive --plot hits.png --export hits.zip

sonotheque search --vector probe.npy --store archive --best-per day --json

sonotheque search call.wav --store archive --per-bin 20 --bins 0.3,0.5,0.7,0.9 --export sample.zip

A score is the cosine of two vectors, computed from the stored ones; ~ beside it: codes chose what was compared, so a nearer window may
have been missed. Exit codes: 0 searched, also if nothing was found; 3 clips could not be cut; others are errors."""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("search", epilog=_EPILOG)(with_filter(search))


def search(
    clip: str = typer.Argument(None, metavar="CLIP", help="A sound file; each of its windows is searched for."),
    window: str = typer.Option(
        None, "--window", metavar="ID", help="A window of the store: PATH@START_S, or RECORDING_ID:START_SAMPLE."
    ),
    vector: str = typer.Option(None, "--vector", metavar="FILE", help="Vectors: .npy, .csv or .json."),
    store: str = typer.Option(..., "--store", metavar="DIR", help="The store's folder."),
    k: int = typer.Option(None, "-k", metavar="N", help="Windows to find [default: 50]."),
    from_s: float = typer.Option(None, "--from-s", metavar="S", help="Of the clip: only from here."),
    to_s: float = typer.Option(None, "--to-s", metavar="S", help="Of the clip: only up to here."),
    combine: str = typer.Option(
        "best", "--combine", metavar="best|mean", help="A hit's score, of its cosines with several query windows."
    ),
    best_per: str = typer.Option(
        None, "--best-per", metavar="WHAT", help="Only the best hit of each recording, site or day."
    ),
    distinct: float = typer.Option(
        None, "--distinct", metavar="COSINE", help="Leave out hits this similar to a better one, as 0.98."
    ),
    without: list[str] = typer.Option(
        None, "--without", metavar="PATH", help="Leave this recording out; may be repeated."
    ),
    own_recording: bool = typer.Option(
        False, "--own-recording", help="With --window: do not leave out the recording that it is of."
    ),
    exact: bool = typer.Option(False, "--exact", help="Compare every window that the filter means."),
    recall: float = typer.Option(
        None, "--recall", metavar="SHARE", help="Share of the true hits to find [default: what the index is tuned for]."
    ),
    near_score: float = typer.Option(
        None, "--near-score", metavar="SCORE", help="The windows whose scores are nearest to this, not the best."
    ),
    per_bin: int = typer.Option(
        None, "--per-bin", metavar="N", help="So many random windows of each bin of --bins, not the best."
    ),
    bins: str = typer.Option(None, "--bins", metavar="SCORES", help="Edges of the score bins, as 0.2,0.4,0.6."),
    seed: int = typer.Option(0, "--seed", metavar="N", help="Of the random choice; the same seed, the same windows."),
    weights: str = typer.Option(None, "--weights", metavar="PATH", help="A local copy of the model's weights."),
    export: str = typer.Option(None, "--export", metavar="PATH", help="Cut the hits as clips: a new .zip or folder."),
    clips_as: str = typer.Option("wav", "--clips-as", metavar="FORMAT", help="Clips as wav or flac."),
    margin_s: float = typer.Option(0.0, "--margin-s", metavar="S", help="Clips: seconds before and after each window."),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace clips that an export made."),
    plot: str = typer.Option(
        None, "--plot", metavar="FILE", help="Spectrograms of query and hits: .png, .svg or .pdf."
    ),
    plot_khz: float = typer.Option(None, "--plot-khz", metavar="KHZ", help="Up to this frequency [default: 12]."),
    recordings: str = typer.Option(
        None,
        "--recordings",
        metavar="DIR",
        help="Where the recordings are now [default: where they were embedded from].",
    ),
    follow_links: bool = typer.Option(
        False, "--follow-links", help="Also recordings that a link leads to, outside of their folder."
    ),
    *,
    where: SearchFilter,
    as_csv: bool = typer.Option(False, "--csv", help="Print the hits as CSV."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
    snapshot: int = typer.Option(None, "--snapshot", metavar="N", help="Search this snapshot [default: the newest]."),
    skip_damaged: bool = typer.Option(False, "--skip-damaged", help="Leave damaged parts out, and say which."),
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress on stderr."),
) -> int:
    """Find the windows that sound most like a clip, a window of the store, or a vector."""
    from search_api.locating import Locator
    from search_api.search import SearchOptions, check
    from search_api.search import search as run

    _require_one(clip, window, vector, ranged=[from_s, to_s] != [None] * 2)
    _require_form(as_csv=as_csv, as_json=as_json)
    options = SearchOptions(
        k=k,
        where=where,
        combine=combine,
        without=tuple(without or ()),
        best_per=best_per,
        distinct=distinct,
        exact=exact,
        recall=recall,
        own_recording=own_recording,
        near_score=near_score,
        per_bin=per_bin,
        bins=_edges(bins),
        seed=seed,
    )
    locator = Locator.of(store, recordings, follow_links=follow_links)
    _require_targets(plot, export, locator, store=store, form=clips_as, overwrite=overwrite)
    with opened(store, snapshot, skip_damaged=skip_damaged) as archive:
        check(archive, options)
        query = _query(archive, clip, window, vector, from_s=from_s, to_s=to_s, weights=weights, quiet=quiet)
        result = run(archive, query, options)
        drawn = _draw(archive, result, plot, locator, plot_khz)
        cut = _cut(archive, result, export, locator, form=clips_as, margin_s=margin_s, overwrite=overwrite, quiet=quiet)
    return _print(result, drawn, cut, as_csv=as_csv, as_json=as_json)


def _require_one(clip: str | None, window: str | None, vector: str | None, *, ranged: bool) -> None:
    from sonotheque.core.errors import Invalid

    given = [name for name, value in (("CLIP", clip), ("--window", window), ("--vector", vector)) if value is not None]
    if len(given) != 1:
        said = " and ".join(given) if given else "none of them"
        raise Invalid(f"what to search for is one of CLIP, --window ID and --vector FILE; given: {said}")
    if ranged and clip is None:
        raise Invalid(f"--from-s and --to-s pick a range of a CLIP; {given[0]} has none")


def _require_form(*, as_csv: bool, as_json: bool) -> None:
    from sonotheque.core.errors import Invalid

    if as_json and as_csv:
        raise Invalid("--csv and --json: one format at a time")


def _edges(text: str | None) -> tuple[float, ...]:
    from sonotheque.core.errors import Invalid

    if text is None:
        return ()
    try:
        return tuple(float(word) for word in text.split(","))
    except ValueError:
        raise Invalid(f"--bins {text!r}: expected scores with commas between them, as 0.2,0.4,0.6") from None


def _require_targets(
    plot: str | None, export: str | None, locator: Locator, *, store: str, form: str, overwrite: bool
) -> None:
    """Look at where pictures and clips are to go, before the work."""
    from search_api.clips import FORMS
    from search_api.plots import require_picture
    from sonotheque.core.errors import Conflict, Invalid, NotFound
    from store.formats.whole import require_free

    if plot:
        require_picture(plot)
    if form not in FORMS:
        raise Invalid(f"--clips-as {form}: expected {' or '.join(FORMS)}")
    if export is None:
        return
    try:
        require_free(Path(export), overwrite=overwrite, folder=not export.lower().endswith(".zip"), store=store)
    except (Conflict, Invalid, NotFound) as error:
        raise type(error)(error.message.replace("--out", "--export", 1), kind=error.kind) from error
    locator.require_there()


def _query(
    archive: Archive,
    clip: str | None,
    window: str | None,
    vector: str | None,
    *,
    from_s: float | None,
    to_s: float | None,
    weights: str | None,
    quiet: bool,
) -> Query:
    if window is not None:
        from search_api.queries import window_query

        return window_query(archive, window)
    if vector is not None:
        from search_api.vector_files import vector_query

        return vector_query(archive, vector)
    from search_api.clip_queries import clip_query
    from sonotheque.cli.embed import licence_notice

    licence_notice(archive.config.model.name, quiet=quiet)
    return clip_query(archive, str(clip), from_s=from_s, to_s=to_s, weights=weights)


def _draw(
    archive: Archive, result: SearchResult, plot: str | None, locator: Locator, top_khz: float | None
) -> dict[str, Any] | None:
    if plot is None:
        return None
    from search_api.sheet import draw_sheet

    return draw_sheet(archive, result, plot, locator, top_khz=top_khz).to_json()


def _cut(
    archive: Archive,
    result: SearchResult,
    export: str | None,
    locator: Locator,
    *,
    form: str,
    margin_s: float,
    overwrite: bool,
    quiet: bool,
) -> dict[str, Any] | None:
    if export is None or not result.answer.hits:
        return None
    from search_api.search import export_hits
    from sonotheque.cli.stages import stage_progress

    told = None if quiet else functools.partial(stage_progress({"clips": "cutting clips"}), "clips")
    report = export_hits(
        archive, result, Path(export), locator, form=form, margin_s=margin_s, overwrite=overwrite, progress=told
    )
    return {"out": export, "clips": len(report.clips), "failures": report.failures}


def _print(
    result: SearchResult,
    drawn: dict[str, Any] | None,
    cut: dict[str, Any] | None,
    *,
    as_csv: bool,
    as_json: bool,
) -> int:
    from search_api.questions.sql import Rows
    from search_api.questions.writing import write_csv
    from search_api.search import hits_table
    from sonotheque.cli.output import binary_output, document, say, tell
    from sonotheque.cli.search_text import answer_lines, closing_notes, plan_line
    from sonotheque.core.errors import EXIT_FILES_FAILED

    if as_json:
        document({**result.to_json(), "plot": drawn, "export": cut})
    else:
        if as_csv:
            table = hits_table(result.answer.hits)
            write_csv(Rows(table.schema, iter(table.to_batches()), None), binary_output())
            tell(plan_line(result))
        else:
            for line in answer_lines(result):
                say(line)
        for note in closing_notes(result, drawn, cut):
            tell(note)
    return EXIT_FILES_FAILED if cut and cut["failures"] else 0
