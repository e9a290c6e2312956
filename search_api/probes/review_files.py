"""Windows to judge as a table that `sonotheque annotate import` takes back, as clips, and as a sheet of spectrograms."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from search_api.clips import ClipsReport, Progress, write_clips
from search_api.locating import Locator
from search_api.panels import Panel, SheetReport, draw_panels
from search_api.plots.style import shortened
from search_api.probes.review import Review
from search_api.queries import seconds_text
from search_api.search import with_sizes
from sonotheque.core.errors import Conflict, Invalid
from sonotheque.core.version import VERSION
from store import Archive
from store.annotations.formats import read_table
from store.annotations.formats.words import REVIEW_MARK, csv_bytes, inert, plain_number
from store.formats.whole import whole_files

TABLE_CSV: Final = (
    *("recording", "start_s", "end_s", "label", "judgement", "note"),
    *("rank", "score", "site", "local_start", "clip", "stratum", "review"),
)
_WAYS: Final = {
    "top": "highest probability",
    "margin": "nearest to the threshold",
    "uncertain": "uncertain and unlike each other",
    "bins": "random in each score bin",
}


def review_csv(review: Review, clips: Mapping[int, str] | None = None) -> bytes:
    """Return the table of a review.

    Parameters
    ----------
    review : Review
    clips : mapping, optional
        Rank -> name of the clip.

    Returns
    -------
    bytes
        CSV of ``TABLE_CSV``. ``judgement`` is empty: positive, negative or uncertain goes there. A row without one is not imported.
        A span ends with the sound, where the window is padded.
    """
    return csv_bytes(TABLE_CSV, (_cells(row, review.tag, clips or {}) for row in review.table.to_pylist()))


def write_review(
    review: Review, target: str | Path, clips: Mapping[int, str] | None = None, *, overwrite: bool = False
) -> None:
    """Write the table of a review to a file.

    Raises
    ------
    Conflict
        If the file is there and not to be replaced, or holds judgements that somebody has filled in.
    Unavailable
        If it cannot be written.
    """
    path = Path(target)
    require_not_judged(path)
    with whole_files(path, overwrite=overwrite) as (temporary,):
        temporary.write_bytes(review_csv(review, clips))


def require_not_judged(target: str | Path) -> None:
    """Raise Conflict if a file is a review's table that somebody has begun to fill in; an hour of listening may be in it."""
    path = Path(target)
    if not path.is_file():
        return
    try:
        _, rows = read_table(path, format="hoplite")
    except Invalid:  # another table
        return
    judged = sum((row.provenance or "").startswith(REVIEW_MARK) and not row.is_open for row in rows)
    if judged:
        raise Conflict(f"-o {path} holds {judged:,} judgements, and is not replaced: choose another name")


def cut_review(
    archive: Archive,
    review: Review,
    target: str | Path,
    locator: Locator,
    *,
    form: str = "wav",
    margin_s: float = 0.0,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> ClipsReport:
    """Cut a clip for each window; see :func:`search_api.clips.write_clips`."""
    rows = with_sizes(archive, review.table)
    about = about_review(archive, review)
    return write_clips(
        rows, Path(target), locator, form=form, margin_s=margin_s, overwrite=overwrite, about=about, progress=progress
    )


def draw_review(
    archive: Archive, review: Review, target: str, locator: Locator, *, top_khz: float | None = None
) -> SheetReport:
    """Draw the windows as spectrograms, in their order; see :func:`search_api.panels.draw_panels`."""
    rows = with_sizes(archive, review.table).to_pylist()
    several = len(review.labels) > 1
    panels = [
        Panel(row["rank"], row["path"], (row["start_s"], row["end_s"]), _title(row, several), row["size_bytes"])
        for row in rows
    ]
    probe = review.probe
    what = review.labels[0] if not several else f"{len(review.labels)} classes"

    def words(drawn: int) -> tuple[str, str, str]:
        way = _WAYS[review.options.how]
        return (
            f"To judge for {probe.name}: {shortened(what, 60)}",
            f"{way}; {drawn} of {len(rows)} among {review.windows:,} windows: rank, probability, "
            f"{'label, ' if several else ''}site, local time",
            f"probe {probe.name} version {probe.version}, snapshot {review.snapshot}",
        )

    return draw_panels(archive, panels, words, target, locator, top_khz)


def about_review(archive: Archive, review: Review) -> dict[str, Any]:
    """Return what a file of windows to judge is of."""
    spec, probe = archive.config.model, review.probe
    return {
        "what": "windows to judge",
        "review": review.tag,
        "store": archive.root,
        "snapshot": review.snapshot,
        "model": spec.name,
        "model_version": spec.version,
        "weights_digest": spec.weights_digest,
        "probe": probe.name,
        "probe_version": probe.version,
        "probe_digest": probe.digest,
        "how": review.options.how,
        "seed": review.options.seed,
        "labels": list(review.labels),
        "filter": review.options.where.to_json(),
        "program": f"sonotheque {VERSION}",
    }


def _cells(row: dict[str, Any], tag: str, clips: Mapping[int, str]) -> list[str]:
    end_s = min(row["end_s"], row["start_s"] + row["valid_s"])
    local = row["local_start"]
    return [
        inert(row["path"]),
        plain_number(row["start_s"]),
        plain_number(end_s),
        inert(row["label"]),
        "",
        "",
        str(row["rank"]),
        f"{row['score']:.6g}",
        inert(row["site"] or ""),
        f"{local:%Y-%m-%d %H:%M:%S}" if local else "",
        inert(clips.get(row["rank"], "")),
        "" if row["stratum"] is None else str(row["stratum"]),
        inert(tag),
    ]


def _title(row: dict[str, Any], several: bool) -> str:
    local = row["local_start"]
    words = [
        str(row["rank"]),
        f"{row['score']:.3f}",
        *([shortened(row["label"], 18)] if several else []),
        shortened(row["site"], 18),
        f"{local:%Y-%m-%d %H:%M:%S}" if local else f"{seconds_text(row['start_s'])} s",
    ]
    return "   ".join(words)


__all__ = ["TABLE_CSV", "about_review", "cut_review", "draw_review", "require_not_judged", "review_csv", "write_review"]
