"""The versions of probes: which there are, which is in use, how they came about; taking one into use, and back."""

from __future__ import annotations

from typing import Any

from probes.files import from_files
from search_api.probes.comparing import compare
from search_api.probes.held_out import examples_table, held_out
from search_api.probes.stored import (
    export_probe,
    import_probe,
    load_probe,
    read_report,
    resolve,
    save_trained,
)
from sonotheque.core.errors import Conflict, Damaged, Invalid, NotFound, SonothequeError
from store import layout, open_archive, read_config
from store.probes import ProbeStore, promotion_stack

__all__ = [
    "compare",
    "examples_table",
    "export_probe",
    "held_out",
    "import_probe",
    "list_probes",
    "load_probe",
    "newest",
    "promote",
    "read_report",
    "rollback",
    "runs",
    "save_trained",
    "show",
    "used",
]
_MACRO = ("map", "cmap", "roc_auc")


def list_probes(root: str) -> list[dict[str, Any]]:
    """Return a row a probe: ``name``, ``in_use``, ``versions``, and of the version in use ``kind``, ``classes``, ``macro``, ``digest``, ``problem``.

    A probe that cannot be used is in the list, with why in ``problem``.

    Raises
    ------
    NotFound
        If the folder is no store.
    """
    read_config(root)
    store = ProbeStore(root)
    return [_row(store, name) for name in store.names()]


def _row(store: ProbeStore, name: str) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "in_use": None, "versions": store.versions(name), "kind": None, "classes": []}
    row |= {"macro": dict.fromkeys(_MACRO), "digest": None, "problem": None}
    try:
        row["in_use"] = store.in_use(name)
        probe = load_probe(store.root, name)
        row |= {"kind": probe.kind, "classes": list(probe.classes), "digest": probe.digest}
        row["macro"] = _macro(read_report(store.root, name, probe.version))
    except SonothequeError as error:
        row["problem"] = error.message
    return row


def newest(root: str, name: str) -> int:
    """Return the number of a probe's newest version, or raise NotFound."""
    store = ProbeStore(root)
    return store.versions(store.require(name))[-1]


def used(root: str, name: str) -> int:
    """Return the number of the version in use, or raise NotFound."""
    store = ProbeStore(root)
    return resolve(store, store.require(name), None)


def show(root: str, name: str, version: int | None = None) -> dict[str, Any]:
    """Return all that is kept of a version, the one in use by default; ``report`` is None for one brought from elsewhere.

    Raises
    ------
    NotFound, Damaged
        As :func:`load_probe`. A version of another model is shown.
    """
    store = ProbeStore(root)
    name = store.require(name, version)
    number = resolve(store, name, version)
    files = store.read(name, number)
    probe = from_files(files, f"{root}/{layout.probe_version(name, number)}")
    return {
        "name": name,
        "version": number,
        "in_use": store.in_use(name),
        "versions": store.versions(name),
        "kind": probe.kind,
        "classes": {c: {"threshold": float(t)} for c, t in zip(probe.classes, probe.thresholds, strict=True)},
        "model": probe.model.to_json(),
        "fits": probe.model == read_config(root).model,
        "digest": probe.digest,
        "about": probe.about,
        "experiment_yaml": files.get(layout.PROBE_EXPERIMENT, b"").decode("utf-8"),
        "files": {file: len(data) for file, data in files.items()},
        "promotions": [p.to_json() for p in store.promotions(name)],
        "report": read_report(root, name, number),
    }


def runs(root: str, name: str | None = None) -> list[dict[str, Any]]:
    """Return the record of all trainings, oldest first: a row a version, of one probe or of all.

    Returns
    -------
    list of dict
        ``name``, ``version``, ``created_utc``, ``in_use``, ``imported``, ``train_rows``, ``test_rows``, ``macro``, ``l2``, ``seconds``,
        ``code_version``, ``data_digest``, ``experiment_digest``, ``problem``.

    Raises
    ------
    NotFound
        If the folder is no store, or has no probe of that name.
    """
    read_config(root)
    store = ProbeStore(root)
    names = [store.require(name)] if name else store.names()
    found = [_run(store, n, v) for n in names for v in store.versions(n)]
    return sorted(found, key=lambda r: (r["created_utc"] or "", r["name"], r["version"]))


def _run(store: ProbeStore, name: str, version: int) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "version": version, "created_utc": None, "in_use": False, "imported": False}
    row |= dict.fromkeys(
        ("train_rows", "test_rows", "l2", "seconds", "code_version", "data_digest", "experiment_digest")
    )
    row |= {"macro": dict.fromkeys(_MACRO), "problem": None}
    try:
        row["in_use"] = store.in_use(name) == version
        files = store.read(name, version, (layout.PROBE_FILE, layout.PROBE_WEIGHTS))
        about = from_files(files, f"{store.root}/{layout.probe_version(name, version)}").about
        row |= {k: about.get(k) for k in ("code_version", "data_digest", "experiment_digest", "l2")}
        report = read_report(store.root, name, version)
        row["imported"] = report is None
        if report:
            split, solver = report.get("split") or {}, report.get("solver") or {}
            row |= {"created_utc": report.get("created_utc"), "seconds": solver.get("seconds"), "macro": _macro(report)}
            row |= {f"{side}_rows": (split.get(side) or {}).get("rows") for side in ("train", "test")}
    except Damaged as error:
        row["problem"] = error.message
    return row


def _macro(report: dict[str, Any] | None) -> dict[str, float | None]:
    macro = ((report or {}).get("test") or {}).get("macro") or {}
    return {metric: macro.get(metric) for metric in _MACRO}


def promote(
    root: str, name: str, version: int, *, force: bool = False, why: str = "", by: str | None = None
) -> dict[str, Any]:
    """Take a version into use if it is better than the one that is, on the same held-out windows.

    The first version is taken at once. Better means a higher value of the experiment's metric; the interval of the difference is told.

    Parameters
    ----------
    root, name, version
    force : bool
        Also if it is not better, or that cannot be told.
    why : str
        Put into the record.
    by : str, optional

    Returns
    -------
    dict
        ``name``, ``version``, ``before`` (or None), ``changed``, ``forced``, ``why``, ``comparison`` (see :func:`compare`, or None),
        ``notes``.

    Raises
    ------
    NotFound
        If there is no such probe or version.
    Conflict
        If it is not better, or cannot be compared, without ``force``; or it is of another model.
    """
    store = ProbeStore(root)
    name = load_probe(root, name, version).name
    records = store.promotions(name)
    before, after = (records[-1].version, records[-1].number) if records else (None, 0)
    told: dict[str, Any] = {"name": name, "version": version, "before": before, "changed": before != version}
    told |= {"forced": False, "why": why, "comparison": None, "notes": []}
    if before == version:
        return told
    if before is None:
        told["why"] = why or "the first version"
    else:
        told |= _decided(root, name, before, version, force=force)
        told["why"] = "; ".join(t for t in (told["why"], why) if t)
    store.promote(name, version, told["why"], told["forced"], by, after=after)
    return told


def _decided(root: str, name: str, before: int, version: int, *, force: bool) -> dict[str, Any]:
    try:
        with open_archive(root) as archive:
            comparison = compare(archive, name, before, version)
    except (Conflict, NotFound, Damaged, Invalid) as error:
        if not force:
            if isinstance(error, Conflict) and error.kind == "conflict":
                raise Conflict(f"{error.message}; or take it into use unseen: --force") from error
            raise
        return {"forced": True, "why": "forced, without a comparison", "notes": [error.message]}
    metric, held = comparison["metric"], comparison["held_out"]
    a, b = (comparison[side]["macro"][metric] for side in "ab")
    said = f"{metric} {_number(b)} against {_number(a)} of version {before}"
    if a == b:
        losses = [_number(comparison[side]["log_loss"]) for side in "ba"]
        said += f", log loss {losses[0]} against {losses[1]}"
    on = f"{held['windows']:,} held-out windows of version {held['version']}"
    if comparison["better"] == "b":
        return {"forced": False, "why": f"{said}, on {on}", "comparison": comparison}
    if force:
        return {"forced": True, "why": f"forced: {said}, on {on}", "comparison": comparison}
    difference = comparison["difference"][metric]
    interval = " to ".join(_number(v, "+") for v in difference["ci"])
    raise Conflict(
        f"version {version} of probe {name} is not better than version {before}, which stays in use: {said}, on {on} "
        f"(difference {_number(difference['value'], '+')}, 95 % interval {interval}). --force takes it into use all the same"
    )


def rollback(root: str, name: str, *, why: str = "", by: str | None = None) -> dict[str, Any]:
    """Take the version into use again that was before the one that is.

    Returns
    -------
    dict
        ``name``, ``version``, ``before``, ``why``.

    Raises
    ------
    NotFound
        If there is no such probe.
    Conflict
        (``nothing_to_undo``) If no version was in use before.
    """
    store = ProbeStore(root)
    name = store.require(name)
    records = store.promotions(name)
    held = promotion_stack(records)
    if len(held) < 2:
        now = f"version {held[0].version} is the first that was" if held else "none is"
        raise Conflict(f"probe {name} has no version to go back to: of those in use, {now}", kind="nothing_to_undo")
    target = held[-2].version
    load_probe(root, name, target)
    said = "; ".join(t for t in (f"back from version {held[-1].version}", why) if t)
    store.promote(name, target, said, by=by, undoes=held[-1].number, after=records[-1].number)
    return {"name": name, "version": target, "before": held[-1].version, "why": said}


def _number(value: float | None, sign: str = "") -> str:
    return "unknown" if value is None else format(value, f"{sign}.3f")
