"""``sonotheque probe list``, ``show``, ``runs``, ``compare``, ``promote``, ``rollback``, ``export`` and ``import``."""

from __future__ import annotations

import typer

from sonotheque.cli.probe_versions_text import cell, macro, number, say_compared, text

_NAME = typer.Argument(..., metavar="NAME", help="Of the probe.")
_STORE = typer.Option(..., "--store", metavar="DIR", help="The store's folder.")
_JSON = typer.Option(False, "--json", help="Print one JSON document.")
_VERSION = typer.Option(None, "--version", metavar="N", min=1, help="[default: the one in use].")
_WHY = typer.Option("", "--why", metavar="TEXT", help="Put into the record.")


def register(group: typer.Typer) -> None:
    """Add the verbs."""
    group.command("list", epilog="Example: sonotheque probe list --store archive")(list_)
    group.command("show", epilog="Example: sonotheque probe show owl --store archive --version 2")(show)
    group.command("runs", epilog="Example: sonotheque probe runs --store archive")(runs)
    group.command(
        "compare",
        epilog="Examples: sonotheque probe compare owl --store archive\n\nsonotheque probe compare owl 1 3 --store archive --json",
    )(compare)
    group.command("promote", epilog="Example: sonotheque probe promote owl --store archive --version 3")(promote)
    group.command("rollback", epilog="Example: sonotheque probe rollback owl --store archive")(rollback)
    group.command("export", epilog="Example: sonotheque probe export owl --store archive -o owl.safetensors")(export)
    group.command("import", epilog="Example: sonotheque probe import owl.safetensors --store archive")(import_)


def list_(store: str = _STORE, as_json: bool = _JSON) -> int:
    """List the probes of a store, and which version of each is in use."""
    from search_api.probes.versions import list_probes
    from sonotheque.cli.fitting import fitted
    from sonotheque.cli.output import document, say, tell

    found = list_probes(store)
    if as_json:
        document({"probes": found})
        return 0
    if not found:
        say(f"{store} has no probes yet: `sonotheque probe train NAME --store {store}` trains one")
        return 0
    headings = ["probe", "in use", "versions", "kind", "classes", "mAP", "cmAP", "ROC-AUC"]
    rows = [
        [
            cell(p["name"]),
            text(p["in_use"]),
            str(len(p["versions"])),
            text(p["kind"]),
            cell(", ".join(p["classes"])),
            *macro(p["macro"]),
        ]
        for p in found
    ]
    say(fitted(headings, rows, right=(1, 2, 5, 6, 7)))
    for p in found:
        if p["problem"]:
            tell(f"{cell(p['name'])}: {p['problem']}")
    return 0


def show(name: str = _NAME, store: str = _STORE, version: int = _VERSION, as_json: bool = _JSON) -> int:
    """Show what is kept of a version: classes and thresholds, how good it is, what it was made from, when it was in use."""
    from search_api.probes.versions import show as shown
    from sonotheque.cli.fitting import fitted
    from sonotheque.cli.output import document, say

    found = shown(store, name, version)
    if as_json:
        document(found)
        return 0
    used = "in use" if found["in_use"] == found["version"] else f"version {text(found['in_use'], 'none')} is in use"
    model, report = found["model"], found["report"] or {}
    say(
        f"probe {cell(name)} version {found['version']}, {found['kind']}; {used}; versions {', '.join(map(str, found['versions']))}"
    )
    say(
        f"  model {model['name']} {model['version']}, {model['dim']} numbers a window{'' if found['fits'] else ': not the model of this store'}"
    )
    say(f"  trained {report.get('created_utc', 'elsewhere')}; digest {found['digest'][:16]}")
    test = report.get("test") or {}
    classes = test.get("classes") or {}
    headings = ["class", "threshold", "positives", "AP", "ROC-AUC", "precision", "recall"]
    rows = [
        [
            cell(c),
            number(values["threshold"]),
            text(classes.get(c, {}).get("n_positive")),
            *(number(classes.get(c, {}).get(k)) for k in ("ap", "roc_auc", "precision", "recall")),
        ]
        for c, values in found["classes"].items()
    ]
    say(fitted(headings, rows, right=(1, 2, 3, 4, 5, 6)))
    if test:
        means = zip(("mAP", "cmAP", "ROC-AUC"), macro(test.get("macro") or {}), strict=True)
        say("held out when it was trained: " + ", ".join(f"{k} {v or 'unknown'}" for k, v in means))
    for record in found["promotions"]:
        forced = " (forced)" if record["forced"] else ""
        say(
            f"{record['at_utc']}  version {record['version']} taken into use{forced} by {cell(record['by'])}: {cell(record['why'])}"
        )
    return 0


def runs(
    name: str = typer.Argument(None, metavar="[NAME]", help="Only of this probe."),
    store: str = _STORE,
    as_json: bool = _JSON,
) -> int:
    """List all trainings, oldest first: the built-in record, with MLflow or without."""
    from search_api.probes.versions import runs as all_runs
    from sonotheque.cli.fitting import fitted
    from sonotheque.cli.output import document, say, tell

    found = all_runs(store, name)
    if as_json:
        document({"runs": found})
        return 0
    if not found:
        say(f"{store} has no probes yet: `sonotheque probe train NAME --store {store}` trains one")
        return 0
    headings = ["trained (UTC)", "probe", "version", "in use", "train", "test", "mAP", "cmAP", "ROC-AUC", "data"]
    rows = [
        [
            "imported" if r["imported"] else text(r["created_utc"])[:19],
            cell(r["name"]),
            str(r["version"]),
            "yes" if r["in_use"] else "",
            text(r["train_rows"]),
            text(r["test_rows"]),
            *macro(r["macro"]),
            text(r["data_digest"])[:8],
        ]
        for r in found
    ]
    say(fitted(headings, rows, right=(2, 4, 5, 6, 7, 8)))
    for r in found:
        if r["problem"]:
            tell(f"{cell(r['name'])} version {r['version']}: {r['problem']}")
    return 0


def compare(
    name: str = _NAME,
    a: int = typer.Argument(None, metavar="[A]", help="A version [default: the one in use]."),
    b: int = typer.Argument(None, metavar="[B]", help="Another [default: the newest]."),
    store: str = _STORE,
    bootstrap: int = typer.Option(500, "--bootstrap", metavar="N", min=0, help="Resamples behind each interval."),
    as_json: bool = _JSON,
) -> int:
    """Judge two versions by the same held-out windows, which neither has learnt from."""
    from search_api.probes.versions import compare as compared
    from search_api.probes.versions import newest, used
    from sonotheque.cli.output import document
    from store import open_archive

    first = used(store, name) if a is None else a
    second = newest(store, name) if b is None else b
    with open_archive(store) as archive:
        found = compared(archive, name, first, second, bootstrap=bootstrap)
    if as_json:
        document(found)
    else:
        say_compared(found)
    return 0


def promote(
    name: str = _NAME,
    store: str = _STORE,
    version: int = typer.Option(None, "--version", metavar="N", min=1, help="[default: the newest]."),
    force: bool = typer.Option(False, "--force", help="Also if it is not better, or that cannot be told."),
    why: str = _WHY,
    as_json: bool = _JSON,
) -> int:
    """Take a version into use, if it is better than the one that is on the same held-out windows."""
    from search_api.probes.versions import newest
    from search_api.probes.versions import promote as promoted
    from sonotheque.cli.output import document, say, tell

    found = promoted(store, name, newest(store, name) if version is None else version, force=force, why=why)
    if as_json:
        document(found)
        return 0
    if found["comparison"]:
        say_compared(found["comparison"])
    for note in found["notes"]:
        tell(note)
    if found["changed"]:
        say(f"version {found['version']} of probe {cell(name)} is in use now: {cell(found['why'])}")
    else:
        say(f"version {found['version']} of probe {cell(name)} is in use already")
    return 0


def rollback(name: str = _NAME, store: str = _STORE, why: str = _WHY, as_json: bool = _JSON) -> int:
    """Take the version into use again that was before the one that is."""
    from search_api.probes.versions import rollback as rolled_back
    from sonotheque.cli.output import document, say

    found = rolled_back(store, name, why=why)
    if as_json:
        document(found)
    else:
        say(f"version {found['version']} of probe {cell(name)} is in use again, in place of version {found['before']}")
    return 0


def export(
    name: str = _NAME,
    store: str = _STORE,
    out: str = typer.Option(
        None, "-o", "--out", metavar="FILE", help="A file, or a folder for it [default: NAME.safetensors]."
    ),
    version: int = _VERSION,
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace a file that is there."),
    as_json: bool = _JSON,
) -> int:
    """Write a probe to one file that can be given away: weights, classes, thresholds; no list of recordings."""
    from search_api.probes.versions import export_probe
    from sonotheque.cli.output import document, say, size

    found = export_probe(store, name, out, version, overwrite=overwrite)
    if as_json:
        document(found)
    else:
        say(f"probe {cell(name)} version {found['version']} written to {found['file']} ({size(found['bytes'])})")
    return 0


def import_(
    file: str = typer.Argument(..., metavar="FILE", help="Made by probe export."),
    store: str = _STORE,
    name: str = typer.Option(None, "--name", metavar="NAME", help="[default: the probe's own]."),
    as_json: bool = _JSON,
) -> int:
    """Take a probe from a file into a store, as a new version; refused if it is of another model."""
    from search_api.probes.versions import import_probe
    from sonotheque.cli.output import document, say

    found = import_probe(store, file, name)
    if as_json:
        document(found)
        return 0
    used = "in use" if found["in_use"] == found["version"] else f"version {found['in_use']} stays in use"
    say(f"probe {cell(found['name'])} version {found['version']} ({cell(', '.join(found['classes']))}); {used}")
    return 0
