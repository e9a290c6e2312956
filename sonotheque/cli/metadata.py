"""``sonotheque metadata``: sites, zones, clocks and deployments put right after the fact, with a history."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import typer

_SHOWN = 20
_WHY: Final = {
    "no_deployment": "no folder or prefix fits",
    "outside_deployments": "outside the dates",
    "several_deployments": "more than one fits",
}
_STORE = typer.Option(..., "--store", metavar="DIR", help="The store's folder.")
_JSON = typer.Option(False, "--json", help="Print one JSON document.")
_DRY = typer.Option(False, "--dry-run", help="Show what would change and write nothing.")
_BY = typer.Option(None, "--by", metavar="NAME", help="Who says so [default: user@host].")
_REASON = typer.Option("", "--reason", metavar="TEXT", help="Why; kept in the history.")
_EPILOG = """Examples:

sonotheque metadata import deployments.csv --store archive --dry-run

sonotheque metadata site A01 --store archive --rename "Oak wood" --zone Europe/Paris --latitude 47.1 --longitude 4.9

sonotheque metadata clock --store archive --site A01 --from 2025-05-01 --add-seconds 3600 --reason "set an hour slow"

sonotheque metadata show --store archive

sonotheque metadata history --store archive

sonotheque metadata undo 3 --store archive

Nothing is embedded again: the next question works with what is right now."""


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        epilog=_EPILOG,
        help="Put sites, zones, clocks and deployments right after the fact; with a history.",
    )
    group.command("import", epilog="Example: sonotheque metadata import deployments.csv --store archive")(import_)
    group.command("site", epilog="Example: sonotheque metadata site A01 --store archive --zone Europe/Paris")(site)
    group.command("clock", epilog="Example: sonotheque metadata clock --store archive --site A01 --clock-zone UTC")(
        clock
    )
    group.command("show", epilog="Example: sonotheque metadata show --store archive --json")(show)
    group.command("history", epilog="Example: sonotheque metadata history --store archive")(history)
    group.command("undo", epilog="Example: sonotheque metadata undo 3 --store archive")(undo)
    app.add_typer(group, name="metadata")


def import_(
    table: str = typer.Argument(..., metavar="TABLE", help="Deployments as CSV: Camtrap DP, pamDP or plain."),
    store: str = _STORE,
    add: bool = typer.Option(False, "--add", help="Add to the deployments known so far [default: replace them]."),
    by: str = _BY,
    reason: str = _REASON,
    dry_run: bool = _DRY,
    as_json: bool = _JSON,
) -> int:
    """Take a table of deployments: sites, zones, coordinates and dates, matched by folder or prefix and by time."""
    from search_api.metadata import import_deployments

    return _print(import_deployments(store, table, add=add, by=by, reason=reason, dry_run=dry_run), as_json=as_json)


def site(
    name: str = typer.Argument(..., metavar="NAME", help="The site, as it is called now."),
    store: str = _STORE,
    rename: str = typer.Option(
        None, "--rename", metavar="NEW", help="Its name from now on; an existing one joins the two."
    ),
    zone: str = typer.Option(None, "--zone", metavar="ZONE", help="Its IANA time zone."),
    keep: str = typer.Option(
        "auto",
        "--keep",
        metavar="auto|clock|instant",
        help="What a new zone leaves alone: what the recorder's clock showed, or UTC [auto: UTC where the source had an offset].",
    ),
    latitude: float = typer.Option(None, "--latitude", metavar="DEG", help="North positive."),
    longitude: float = typer.Option(None, "--longitude", metavar="DEG", help="East positive."),
    by: str = _BY,
    reason: str = _REASON,
    dry_run: bool = _DRY,
    as_json: bool = _JSON,
) -> int:
    """Put a site's name, time zone or coordinates right."""
    from search_api.metadata import change_site
    from store.metadata import SiteChange

    change = SiteChange(name, rename, zone, keep, latitude, longitude)
    return _print(change_site(store, change, by=by, reason=reason, dry_run=dry_run), as_json=as_json)


def clock(
    store: str = _STORE,
    site: str = typer.Option(None, "--site", metavar="NAME", help="Recordings of this site."),
    deployment: str = typer.Option(None, "--deployment", metavar="ID", help="Recordings of this deployment."),
    recording: str = typer.Option(
        None, "--recording", metavar="GLOB", help="Recordings of these paths; * and ? allowed."
    ),
    date_from: str = typer.Option(None, "--from", metavar="DATE", help="From this local date."),
    date_to: str = typer.Option(None, "--to", metavar="DATE", help="Up to this local date, included."),
    add_seconds: float = typer.Option(
        0.0, "--add-seconds", metavar="S", help="Add to the clock; positive if it was slow."
    ),
    clock_zone: str = typer.Option(
        None, "--clock-zone", metavar="ZONE", help="The zone the clock was set to, often UTC."
    ),
    ignore_offsets: bool = typer.Option(
        False,
        "--ignore-offsets",
        help="With --clock-zone: also where the recorder wrote an offset (or UTC) beside the time.",
    ),
    by: str = _BY,
    reason: str = _REASON,
    dry_run: bool = _DRY,
    as_json: bool = _JSON,
) -> int:
    """Put a recorder's clock right: seconds it was off, or the zone it was set to."""
    from search_api.metadata import change_clock
    from store.metadata import ClockChange, Scope

    scope = Scope(site, deployment, recording, date_from, date_to)
    change = ClockChange(scope, add_seconds, clock_zone, ignore_offsets)
    return _print(change_clock(store, change, by=by, reason=reason, dry_run=dry_run), as_json=as_json)


def undo(
    change: int = typer.Argument(..., metavar="N", help="Number of the change, from the history."),
    store: str = _STORE,
    by: str = _BY,
    reason: str = _REASON,
    dry_run: bool = _DRY,
    as_json: bool = _JSON,
) -> int:
    """Take a change back; of an undo, bring it again. The history keeps both."""
    from search_api.metadata import undo_change

    return _print(undo_change(store, change, by=by, reason=reason, dry_run=dry_run), as_json=as_json)


def show(store: str = _STORE, as_json: bool = _JSON) -> int:
    """List the sites as they are now: zone, place, dates, and what they were stored as."""
    from search_api.metadata import show as sites
    from sonotheque.cli.fitting import fitted
    from sonotheque.cli.output import document, say

    found = sites(store)
    if as_json:
        document(found)
    else:
        titles = ["site", "recordings", "first", "last", "zone", "place", "deployments", "notes"]
        say(fitted(titles, [_site_row(s) for s in found], right=(1, 6)))
    return 0


def _site_row(site: dict[str, Any]) -> list[str]:
    notes = [f"stored as {', '.join(site['was'])}"] if site["was"] else []
    notes += [f"{site['zones']} zones"] if site["zones"] > 1 else []
    notes += [f"{site['places']} places"] if site["places"] > 1 else []
    notes += [f"clock of {site['clock_corrected']:,} put right"] if site["clock_corrected"] else []
    notes += [f"UTC of {site['without_utc']:,} unknown"] if site["without_utc"] else []
    return [
        site["site"],
        f"{site['recordings']:,}",
        str(site["first_date"] or ""),
        str(site["last_date"] or ""),
        site["zone"] or "unknown",
        "unknown" if site["latitude"] is None else f"{site['latitude']:.4f} {site['longitude']:.4f}",
        f"{site['deployments']:,}",
        "; ".join(notes),
    ]


def history(store: str = _STORE, as_json: bool = _JSON) -> int:
    """List all changes, oldest first."""
    from search_api.metadata import history as changes
    from sonotheque.cli.output import document, say, table

    found = changes(store)
    if as_json:
        document(found)
    elif not found:
        say(f"{store}: everything is as it was stored; `sonotheque metadata --help` tells what can be put right")
    else:
        rows = [
            [c["change"], c["at"], c["by"], c["text"] + (" (taken back)" if c["undone"] else ""), c["reason"]]
            for c in found
        ]
        say(table(["change", "at", "by", "what", "why"], rows, right=(0,)))
    return 0


def _print(told: Any, *, as_json: bool) -> int:
    from sonotheque.cli.output import document, say

    if as_json:
        document(told.to_json())
        return 0
    say(f"{f'change {told.number}' if told.number else 'dry run'}: {told.text}")
    what = ", ".join(f"{name} {count:,}" for name, count in told.by_column.items())
    say(
        f"  about {told.concerned:,} of {told.recordings:,} recordings; {told.changed:,} change"
        + (f" ({what})" if what else "")
    )
    if told.match:
        _print_match(told.match)
    _print_list(f"{_recordings(row['recordings'])} of {row['was']!r}: now of {row['site']!r}" for row in told.sites)
    _print_list(
        f"{_recordings(row['recordings'])} of {row['site']!r}: zone {row['was'] or 'unknown'} -> {row['zone'] or 'unknown'}"
        for row in told.zones
    )
    _print_list(
        f"site {row['site']!r} was there already: with {row['joining']:,} more it has {row['recordings'] + row['joining']:,} recordings"
        for row in told.joined
    )
    _print_list(f"change {row['change']} goes on holding over the table: {row['text']}" for row in told.over_table)
    _print_list(f"change {row['change']} is about no recording any more: {row['text']}" for row in told.idle)
    say("  nothing is embedded again" + ("" if told.number else "; nothing was written"))
    return 0


def _recordings(count: int) -> str:
    return f"{count:,} recording{'' if count == 1 else 's'}"


def _print_list(lines: Iterable[str]) -> None:
    from sonotheque.cli.output import say

    for number, line in enumerate(lines):
        if number == _SHOWN:
            say("    ... (--json has all)")
            return
        say(f"    {line}")


def _print_match(match: Any) -> None:
    _print_list(f"deployment {name}: {_recordings(count)}" for name, count in match.matched.items())
    if match.unused:
        more = f" and {len(match.unused) - 8:,} more" if len(match.unused) > 8 else ""
        _print_list([f"deployments without recordings: {', '.join(match.unused[:8])}{more}"])
    for word, count in match.outside.items():
        paths = [path for path, why in match.outside_paths if why == word]
        _print_list(
            [f"{_recordings(count)} in none, {_WHY[word]}: {', '.join(paths[:3])}{' ...' if count > 3 else ''}"]
        )
    if "no_deployment" in match.outside and match.unused:
        _print_list(
            [
                "a table's column `folder` or `prefix` says where a deployment's files are, if not in a folder of its id or site"
            ]
        )
