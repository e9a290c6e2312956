"""``sonotheque annotate list``, ``labels`` and ``undo``: what was judged, and taking it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    import pyarrow as pa

_STORE = typer.Option(..., "--store", metavar="DIR", help="The store's folder.")
_JSON = typer.Option(False, "--json", help="Print one JSON document.")


def list_(
    store: str = _STORE,
    label: str = typer.Option(None, "--label", metavar="TEXT", help="Only annotations of this label."),
    annotator: str = typer.Option(None, "--annotator", metavar="NAME", help="Only annotations by this annotator."),
    recording: str = typer.Option(
        None, "--recording", metavar="PATH", help="Only of recordings with this path; * and ? allowed."
    ),
    judgement: str = typer.Option(None, "--judgement", help="Only positive, negative or uncertain ones."),
    limit: int = typer.Option(50, "--limit", metavar="N", min=1, help="Most rows printed; --json prints all."),
    history: bool = typer.Option(False, "--history", help="Everything that happened, undone or not, in order."),
    as_json: bool = _JSON,
) -> int:
    """List the annotations that count, or their history."""
    from search_api.annotations import annotation_events, list_annotations
    from sonotheque.cli.output import document

    if history:
        found = annotation_events(store)
        titles = ["batch_id", "event", "by", "annotation_id", "path", "start_s", "end_s", "label", "judgement"]
    else:
        found = list_annotations(store, label=label, annotator=annotator, recording=recording, judgement=judgement)
        titles = ["annotation_id", "path", "start_s", "end_s", "label", "judgement", "annotator", "note"]
    if as_json:
        document(
            {
                "count": found.num_rows,
                "events" if history else "annotations": [_plain(row) for row in found.to_pylist()],
            }
        )
    else:
        _say_table(found, titles, limit, newest=history)
    return 0


def _say_table(found: pa.Table, titles: list[str], limit: int, *, newest: bool) -> None:
    from sonotheque.cli.output import say, table

    shown = found.slice(max(0, found.num_rows - limit)) if newest else found.slice(0, limit)
    rows = [[cell(row[title]) for title in titles] for row in shown.to_pylist()]
    numbers = tuple(i for i, title in enumerate(titles) if title.endswith(("_s", "_id")))
    headings = [title.removesuffix("_id").replace("_s", " s") for title in titles]
    if rows:
        say(table(headings, rows, right=numbers))
    if found.num_rows > len(rows):
        say(f"{len(rows):,} of {found.num_rows:,} shown; --limit shows more")
    if not found.num_rows:
        say("no annotations")


def labels(store: str = _STORE, as_json: bool = _JSON) -> int:
    """Count annotations by label and judgement."""
    from search_api.annotations import annotation_labels
    from sonotheque.cli.output import document, say, table

    found = annotation_labels(store)
    if as_json:
        document({"labels": found})
    elif found:
        titles = ["label", "positive", "negative", "uncertain", "recordings", "annotators"]
        say(table(titles, [[cell(row[title]) for title in titles] for row in found], right=(1, 2, 3, 4, 5)))
    else:
        say("no annotations")
    return 0


def undo(
    store: str = _STORE,
    last: bool = typer.Option(False, "--last", help="The newest batch that counts; again and again goes further back."),
    batch: int = typer.Option(
        None, "--batch", metavar="N", help="This batch; the batch of an undo brings back what it took."
    ),
    annotation_id: int = typer.Option(None, "--id", metavar="N", help="This annotation."),
    of: str = typer.Option(None, "--of", metavar="NAME", help="With --last: only batches by this annotator."),
    annotator: str = typer.Option(
        None, "--annotator", metavar="NAME", envvar="SONOTHEQUE_ANNOTATOR", help="Who undoes [default: the login name]."
    ),
    as_json: bool = _JSON,
) -> int:
    """Undo a batch or an annotation. Nothing is deleted: the undo is a batch as well, and can be undone."""
    from search_api.annotations import default_annotator, undo_annotations
    from sonotheque.cli.output import document, say

    found = undo_annotations(
        store,
        batch=batch,
        annotation_id=annotation_id,
        last=last,
        annotator=annotator or default_annotator(),
        of_annotator=of,
    )
    if as_json:
        document(found)
        return 0
    parts = [
        f"{found[k]:,} {word}"
        for k, word in (("undone", "undone"), ("restored", "restored"), ("left", "left as they are"))
        if found[k]
    ]
    say(f"batch {found['undoes']}: {', '.join(parts)}")
    say(f"  take that back with: sonotheque annotate undo --batch {found['batch']} --store {store}")
    return 0


def cell(value: Any) -> str:
    """Return a value as one line: labels are anybody's text, and a terminal obeys control characters."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return "".join(char if char.isprintable() else " " for char in text)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {k: v.isoformat().replace("+00:00", "Z") if hasattr(v, "isoformat") else v for k, v in row.items()}
