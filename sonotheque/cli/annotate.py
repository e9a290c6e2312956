"""``sonotheque annotate``: judgements on spans of recordings, in and out, listed and undone."""

from __future__ import annotations

from typing import Any

import typer

from sonotheque.cli.annotate_list import cell, labels, list_, undo

_STORE = typer.Option(..., "--store", metavar="DIR", help="The store's folder.")
_JSON = typer.Option(False, "--json", help="Print one JSON document.")
_ANNOTATOR = typer.Option(
    None, "--annotator", metavar="NAME", envvar="SONOTHEQUE_ANNOTATOR", help="Who judges [default: the login name]."
)
_FORMAT = typer.Option(None, "--format", metavar="NAME", help="raven, audacity, birdnet, hoplite, pamdp or parquet.")
_ONLY_LABEL = typer.Option(None, "--label", metavar="TEXT", help="Only annotations of this label.")
_ONLY_ANNOTATOR = typer.Option(None, "--annotator", metavar="NAME", help="Only annotations by this annotator.")
_ONLY_RECORDING = typer.Option(
    None, "--recording", metavar="PATH", help="Only of recordings with this path; * and ? allowed."
)

_EPILOG = """Examples:

sonotheque annotate import selections/ --store archive --annotator Ana

sonotheque annotate add --store archive --recording wood/dawn.wav --start-s 12 --end-s 14.5 --label "Strix aluco"

sonotheque annotate labels --store archive

sonotheque annotate undo --last --store archive"""


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        epilog=_EPILOG,
        help="Judgements on spans of recordings: in and out, listed, undone.",
    )
    group.command("import", epilog="Example: sonotheque annotate import wood.Table.1.selections.txt --store archive")(
        import_
    )
    group.command("export", epilog="Example: sonotheque annotate export labels.parquet --store archive")(export)
    group.command(
        "add",
        epilog='Example: sonotheque annotate add --store archive --recording dawn.wav --start-s 3 --end-s 5 --label "Strix aluco"',
    )(add)
    group.command("list", epilog="Example: sonotheque annotate list --store archive --label 'Strix aluco'")(list_)
    group.command("labels", epilog="Example: sonotheque annotate labels --store archive")(labels)
    group.command("undo", epilog="Example: sonotheque annotate undo --batch 3 --store archive")(undo)
    app.add_typer(group, name="annotate")


def import_(
    files: list[str] = typer.Argument(..., metavar="FILE...", help="Tables of annotations, or folders of them."),
    store: str = _STORE,
    format: str = _FORMAT,
    annotator: str = typer.Option(
        None,
        "--annotator",
        metavar="NAME",
        envvar="SONOTHEQUE_ANNOTATOR",
        help="Who judged, where the table does not say [default: the login name].",
    ),
    judgement: str = typer.Option(
        "positive",
        "--judgement",
        help="What a row means, where the table does not say: positive, negative or uncertain.",
    ),
    label_column: str = typer.Option(None, "--label-column", metavar="TITLE", help="The column that holds the label."),
    label: str = typer.Option(None, "--label", metavar="TEXT", help="The label of rows that have none."),
    skip_unknown: bool = typer.Option(
        False,
        "--skip-unknown",
        help="Leave out rows of recordings that are not in the store; by default they are an error.",
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Read and check everything, and add nothing."),
    as_json: bool = _JSON,
) -> int:
    """Import tables: all rows of all files, or none. What the same annotator said before is not doubled."""
    from search_api.annotation_tables import ImportOptions, import_tables
    from sonotheque.cli.output import document

    options = ImportOptions(format, annotator or "", judgement, label_column, label, skip_unknown, dry_run)
    found = import_tables(store, files, options)
    if as_json:
        document(found)
    else:
        _say_imported(found, store)
    return 0


def _say_imported(found: dict[str, Any], store: str) -> None:
    from sonotheque.cli.output import say, tell

    formats = ", ".join(dict.fromkeys(file["format"] for file in found["files"]))
    verb = "would be added" if found["dry_run"] else "added"
    batch = f" as batch {found['batch']}" if found["batch"] else ""
    read = f"{_count(found['rows'], 'row')} of {_count(len(found['files']), 'table')} ({formats})"
    say(f"{read}: {found['added']:,} {verb}{batch}, {found['already_there']:,} already there")
    if found["found_by"]:
        how = ", ".join(f"{how} ({_count(rows, 'row')})" for how, rows in found["found_by"].items())
        say(f"  recordings found by {how}")
    if found["cut"]:
        say(f"  {_count(found['cut'], 'span')} cut at the end of the recording")
    if found["contrary"]:
        say(f"  {found['contrary']:,} say otherwise than the same annotator of the same span and label; both count")
    if found["not_judged"]:
        tell(
            f"left out: {_count(found['not_judged'], 'row')} of a review without a judgement: positive, negative or uncertain"
        )
    if found["unknown"]:
        rows, names = _count(sum(found["unknown"].values()), "row"), list(found["unknown"])
        tell(f"left out: {rows} of {_count(len(names), 'recording')} not in the store, such as {cell(names[0])}")
    for path in found["left_out"]:
        tell(f"left out: {path} is no table of annotations")
    if found["batch"]:
        say(f"  take it back with: sonotheque annotate undo --batch {found['batch']} --store {store}")


def export(
    out: str = typer.Argument(..., metavar="OUT", help="A file, or a folder for one table a recording."),
    store: str = _STORE,
    format: str = _FORMAT,
    judgement: str = typer.Option(
        None,
        "--judgement",
        help="positive, negative, uncertain or all [default: all for hoplite and parquet; positive for the others, whose readers "
        "take every row for what is there].",
    ),
    label: str = _ONLY_LABEL,
    annotator: str = _ONLY_ANNOTATOR,
    recording: str = _ONLY_RECORDING,
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace files that are there."),
    as_json: bool = _JSON,
) -> int:
    """Write annotations as other programs read them."""
    from search_api.annotation_tables import export_annotations
    from sonotheque.cli.output import document, say, tell

    found = export_annotations(
        store,
        out,
        format=format,
        judgement=judgement,
        overwrite=overwrite,
        label=label,
        annotator=annotator,
        recording=recording,
    )
    if as_json:
        document(found)
        return 0
    say(
        f"{_count(found['annotations'], 'annotation')} written to {_count(len(found['files']), 'file')} ({found['format']}): {found['out']}"
    )
    if found["left_out"]:
        left = ", ".join(f"{n:,} {judgement}" for judgement, n in found["left_out"].items())
        holds_all = found["format"] not in ("audacity", "pamdp")
        tell(f"left out: {left}{'; --judgement all writes all' if holds_all else ', which the format cannot hold'}")
    return 0


def add(
    store: str = _STORE,
    recording: str = typer.Option(
        ..., "--recording", metavar="PATH", help="The recording's path as stored, or its last parts."
    ),
    start_s: float = typer.Option(..., "--start-s", metavar="S", help="Seconds from the recording's start."),
    end_s: float = typer.Option(..., "--end-s", metavar="S", help="Seconds from the recording's start."),
    label: str = typer.Option(..., "--label", metavar="TEXT", help="What is judged: a species, a sound."),
    judgement: str = typer.Option("positive", "--judgement", help="positive, negative or uncertain."),
    annotator: str = _ANNOTATOR,
    low_hz: float = typer.Option(None, "--low-hz", metavar="HZ", help="Low edge of the box."),
    high_hz: float = typer.Option(None, "--high-hz", metavar="HZ", help="High edge of the box."),
    note: str = typer.Option("", "--note", metavar="TEXT", help="Anything else."),
    as_json: bool = _JSON,
) -> int:
    """Add one judgement."""
    from search_api.annotations import add_annotation, default_annotator
    from sonotheque.cli.output import document, say

    who = annotator or default_annotator()
    found = add_annotation(
        store,
        recording,
        start_s,
        end_s,
        label,
        annotator=who,
        judgement=judgement,
        low_hz=low_hz,
        high_hz=high_hz,
        note=note,
    )
    if as_json:
        document(found)
        return 0
    where = cell(f"{found['path']} {found['start_s']:g} to {found['end_s']:g} s")
    if found["added"]:
        say(f"{cell(found['label'])} {judgement} by {cell(who)}, {where}: added as batch {found['batch']}")
        if found["contrary"]:
            say("  the same annotator said otherwise of this span before; both count")
    else:
        say(f"{cell(who)} said so of {where} before: nothing added")
    return 0


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
