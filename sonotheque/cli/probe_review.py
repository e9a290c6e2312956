"""``sonotheque probe review`` and ``probe density``: what to judge next, and how many calls there are."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sonotheque.cli.filters import with_filter
from sonotheque.cli.opening import opened
from sonotheque.cli.stages import stage_progress
from sonotheque.core.filters import SearchFilter

if TYPE_CHECKING:
    from search_api.locating import Locator
    from search_api.probes.review import Review
    from store import Archive

_STORE = typer.Option(..., "--store", metavar="DIR", help="The store's folder.")
_JSON = typer.Option(False, "--json", help="Print one JSON document.")
_TOLD = 5


def register(group: typer.Typer) -> None:
    """Add the verbs."""
    group.command(
        "review",
        epilog="Examples: sonotheque probe review owl --store archive --how uncertain -k 20 -o judge.csv --clips judge.zip\n\n"
        "sonotheque probe review owl --store archive --how bins -k 100 -o judge.csv --plot judge.png\n\n"
        "Fill in the column judgement (positive, negative or uncertain), then: sonotheque annotate import judge.csv --store archive",
    )(with_filter(review))
    group.command(
        "density",
        epilog="Example: sonotheque probe density owl --store archive\n\n"
        "The method is that of Navine et al. 2024, All thresholds barred, doi 10.3389/fbirs.2024.1380636.",
    )(density)


def review(
    name: str = typer.Argument(..., metavar="NAME", help="The probe."),
    store: str = _STORE,
    version: int = typer.Option(
        None, "--version", metavar="N", help="This version of the probe [default: the one in use]."
    ),
    how: str = typer.Option(
        "uncertain",
        "--how",
        metavar="WAY",
        help="top: the best; margin: nearest to the threshold; uncertain: nearest to 0.5 and unlike each other; bins: random ones of "
        "each score bin, to count calls with.",
    ),
    k: int = typer.Option(
        None, "-k", metavar="N", help="Windows of each class [default: 10; with bins, 10 of each bin]."
    ),
    label: str = typer.Option(None, "--label", metavar="CLASS", help="Only this class of the probe [default: all]."),
    bins: int = typer.Option(
        6, "--bins", metavar="N", help="Score bins, each of half as many windows as the one below."
    ),
    seed: int = typer.Option(0, "--seed", metavar="N", help="Of the random choice; the same seed, the same windows."),
    out: str = typer.Option(
        None, "--out", "-o", metavar="FILE", help="Write the table, a new .csv that `annotate import` takes back."
    ),
    clips: str = typer.Option(None, "--clips", metavar="PATH", help="Cut the windows as clips: a new .zip or folder."),
    clips_as: str = typer.Option("wav", "--clips-as", metavar="FORMAT", help="Clips as wav or flac."),
    margin_s: float = typer.Option(0.0, "--margin-s", metavar="S", help="Clips: seconds before and after each window."),
    plot: str = typer.Option(None, "--plot", metavar="FILE", help="Spectrograms of the windows: .png, .svg or .pdf."),
    plot_khz: float = typer.Option(None, "--plot-khz", metavar="KHZ", help="Up to this frequency [default: 12]."),
    recordings: str = typer.Option(
        None,
        "--recordings",
        metavar="DIR",
        help="Where the recordings are now [default: where they were embedded from].",
    ),
    overwrite: bool = typer.Option(
        False, "--overwrite", help="Replace what a review made; never a table with judgements."
    ),
    *,
    where: SearchFilter,
    snapshot: int = typer.Option(None, "--snapshot", metavar="N", help="Of this snapshot [default: the newest]."),
    skip_damaged: bool = typer.Option(False, "--skip-damaged", help="Leave damaged parts out, and say which."),
    as_json: bool = _JSON,
    quiet: bool = typer.Option(False, "--quiet", "-q", help="No progress on stderr."),
) -> int:
    """Choose the windows to judge next, as a table to fill in, clips and pictures; those judged before are left out."""
    from search_api.locating import Locator
    from search_api.probes.review import ReviewOptions
    from search_api.probes.reviewing import review as run
    from search_api.probes.stored import load_probe
    from sonotheque.core.errors import EXIT_FILES_FAILED

    options = ReviewOptions(how, k, label, where, bins, seed)
    locator = Locator.of(store, recordings)
    _require_targets(out, clips, plot, clips_as, locator, overwrite=overwrite, store=store)
    probe = load_probe(store, name, version)
    told = None if quiet else functools.partial(stage_progress({"scores": "scoring windows"}), "scores")
    with opened(store, snapshot, skip_damaged=skip_damaged) as archive:
        found = run(archive, probe, options, told)
        drawn = _draw(archive, found, plot, locator, plot_khz)
        cut = _cut(archive, found, clips, locator, form=clips_as, margin_s=margin_s, overwrite=overwrite, quiet=quiet)
    names = {clip["rank"]: clip["clip"] for clip in cut["clips"]} if cut else {}
    written = _write(found, out, names, overwrite=overwrite)
    _show(found, {"out": written, "plot": drawn, "clips": cut}, store, as_json=as_json)
    return EXIT_FILES_FAILED if cut and cut["failures"] else 0


def _require_targets(
    out: str | None,
    clips: str | None,
    plot: str | None,
    clips_as: str,
    locator: Locator,
    *,
    overwrite: bool,
    store: str,
) -> None:
    """Look at where everything is to go, before the work."""
    from search_api.clips import FORMS
    from search_api.plots import require_picture
    from search_api.probes.review_files import require_not_judged
    from sonotheque.core.errors import Conflict, Invalid, NotFound
    from store.formats.whole import require_free

    if out is not None:
        if Path(out).suffix.lower() != ".csv":
            raise Invalid(f"-o {out}: the table is CSV; choose a name that ends in .csv")
        require_free(Path(out), overwrite=overwrite, folder=False, store=store)
        require_not_judged(out)
    if plot:
        require_picture(plot)
    if clips_as not in FORMS:
        raise Invalid(f"--clips-as {clips_as}: expected {' or '.join(FORMS)}")
    if clips is None:
        return
    try:
        require_free(Path(clips), overwrite=overwrite, folder=not clips.lower().endswith(".zip"), store=store)
    except (Conflict, Invalid, NotFound) as error:
        raise type(error)(error.message.replace("--out", "--clips", 1), kind=error.kind) from error
    locator.require_there()


def _draw(
    archive: Archive, found: Review, plot: str | None, locator: Locator, top_khz: float | None
) -> dict[str, Any] | None:
    if plot is None or not found.table.num_rows:
        return None
    from search_api.probes.review_files import draw_review

    return draw_review(archive, found, plot, locator, top_khz=top_khz).to_json()


def _cut(
    archive: Archive,
    found: Review,
    clips: str | None,
    locator: Locator,
    *,
    form: str,
    margin_s: float,
    overwrite: bool,
    quiet: bool,
) -> dict[str, Any] | None:
    if clips is None or not found.table.num_rows:
        return None
    from search_api.probes.review_files import cut_review

    told = None if quiet else functools.partial(stage_progress({"clips": "cutting clips"}), "clips")
    report = cut_review(
        archive, found, clips, locator, form=form, margin_s=margin_s, overwrite=overwrite, progress=told
    )
    return {"out": clips, "clips": report.clips, "failures": report.failures}


def _write(found: Review, out: str | None, clips: dict[int, str], *, overwrite: bool) -> str | None:
    if out is None or not found.table.num_rows:
        return None
    from search_api.probes.review_files import write_review

    write_review(found, out, clips, overwrite=overwrite)
    return out


def _show(found: Review, made: dict[str, Any], store: str, *, as_json: bool) -> None:
    from sonotheque.cli.output import document, say, tell
    from sonotheque.cli.probe_review_text import review_lines

    cut, drawn = made["clips"], made["plot"]
    if as_json:
        clips = cut and {**cut, "clips": len(cut["clips"])}
        document({**found.to_json(), **made, "clips": clips})
    else:
        for line in review_lines(found, made["out"], store):
            say(line)
    for note in (*found.notes, *(drawn or {}).get("notes", ())):
        tell(f"note: {note}")
    if drawn and drawn["file"]:
        tell(f"drawn: {drawn['file']} ({drawn['pictures']} pictures)")
    if cut:
        tell(f"{len(cut['clips']):,} clips written to {cut['out']}")
        for one in cut["failures"][:_TOLD]:
            tell(f"  not cut: {one['path']} at {one['window_start_s']:g} s: {one['reason']}")


def density(
    name: str = typer.Argument(..., metavar="NAME", help="The probe."),
    store: str = _STORE,
    label: str = typer.Option(None, "--label", metavar="CLASS", help="The class, if several were reviewed."),
    number: int = typer.Option(
        None, "--review", metavar="N", help="Of this review [default: the newest with judgements]."
    ),
    seed: int = typer.Option(0, "--seed", metavar="N", help="Of the simulation behind the intervals."),
    as_json: bool = _JSON,
) -> int:
    """Estimate how many windows hold the call, and how sure that is, from a review of random windows (--how bins)."""
    from search_api.probes.call_density import call_density
    from sonotheque.cli.output import document, say, tell
    from sonotheque.cli.probe_review_text import density_lines
    from sonotheque.core.errors import Invalid

    if seed < 0:
        raise Invalid(f"--seed {seed}: expected 0 or more")
    found = call_density(store, name, label=label, number=number, seed=seed)
    if as_json:
        document(found)
    else:
        for line in density_lines(found):
            say(line)
    for note in found["notes"]:
        tell(f"note: {note}")
    return 0


__all__ = ["density", "register", "review"]
