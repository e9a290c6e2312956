"""Probes in a store: kept, read back, handed over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from probes import Probe
from probes.files import from_files, from_one_file, report_from_bytes, report_to_bytes, to_files, to_one_file
from search_api.probes.held_out import table_bytes
from sonotheque.core.errors import Conflict, Invalid, NotFound
from store import layout, read_config
from store.formats.whole import require_free, whole_files
from store.probes import ProbeStore, check_name

SUFFIX = ".safetensors"


def load_probe(root: str, name: str, version: int | None = None) -> Probe:
    """Return a stored probe.

    Parameters
    ----------
    root : str
        The store.
    name : str
    version : int, optional
        The one in use by default.

    Raises
    ------
    NotFound
        If there is no such probe or version, with near names; or none is in use.
    Conflict
        (``model_conflict``) If it was trained on another model than the store's; both are named.
    Damaged
        If a file of it is not what it was when it was written; the file is named.
    """
    store = ProbeStore(root)
    name = store.require(name, version)
    number = resolve(store, name, version)
    files = store.read(name, number, (layout.PROBE_FILE, layout.PROBE_WEIGHTS))
    probe = from_files(files, f"{root}/{layout.probe_version(name, number)}")
    probe.require_model(read_config(root).model)
    return replace(probe, name=name, version=number)


def resolve(store: ProbeStore, name: str, version: int | None) -> int:
    """Return a version's number: the one in use if none is given, or NotFound."""
    number = store.in_use(name) if version is None else version
    if number is None:
        newest = store.versions(name)[-1]
        raise NotFound(
            f"no version of probe {name} is in use; it has {newest} as its newest: "
            f"`sonotheque probe promote {name} --version {newest} --store {store.root}` takes it into use"
        )
    store.require(name, number)
    return number


def save_trained(
    root: str, probe: Probe, report: Mapping[str, Any], experiment_yaml: str, examples: pa.Table | bytes
) -> int:
    """Keep a trained probe as a new version, which is in use at once if none is.

    Parameters
    ----------
    root : str
        The store.
    probe : Probe
    report : mapping
        JSON.
    experiment_yaml : str
    examples : Table or bytes
        See :func:`search_api.probes.held_out.examples_table`; bytes are a Parquet file of it.

    Returns
    -------
    int
        The version's number.

    Raises
    ------
    Conflict
        (``model_conflict``) If the probe is of another model than the store's.
    Invalid
        If the name cannot be one.
    Unavailable
        Disk full or read-only.
    """
    extra = {
        layout.PROBE_EXPERIMENT: experiment_yaml.encode("utf-8"),
        layout.PROBE_EXAMPLES: examples if isinstance(examples, bytes) else table_bytes(examples),
    }
    return _add(root, probe, {**to_files(probe, extra), layout.PROBE_REPORT: report_to_bytes(report)})


def read_report(root: str, name: str, version: int) -> dict[str, Any] | None:
    """Return the report of a version's training, with its number in it; None if it was brought from elsewhere."""
    files = ProbeStore(root).read(name, version, (layout.PROBE_REPORT,))
    if layout.PROBE_REPORT not in files:
        return None
    where = f"{root}/{layout.probe_version(name, version)}/{layout.PROBE_REPORT}"
    return {**report_from_bytes(files[layout.PROBE_REPORT], where), "version": version}


def export_probe(
    root: str, name: str, out: str | None = None, version: int | None = None, *, overwrite: bool = False
) -> dict[str, Any]:
    """Write a probe to one file that can be given away: no sound, no list of recordings.

    Parameters
    ----------
    root, name
    out : str, optional
        The file, or a folder for it; ``NAME.safetensors`` here by default.
    version : int, optional
        The one in use by default.
    overwrite : bool

    Returns
    -------
    dict
        ``file``, ``bytes``, ``name``, ``version``, ``digest``, ``classes``, ``model``.

    Raises
    ------
    NotFound, Conflict, Damaged
        As :func:`load_probe`; Conflict also if the file is there, NotFound if its folder is not.
    Invalid
        If the file lies in the store.
    Unavailable
        If the file cannot be written.
    """
    probe = load_probe(root, name, version)
    path = Path(out) if out else Path(f"{probe.name}{SUFFIX}")
    if path.is_dir():
        path = path / f"{probe.name}{SUFFIX}"
    require_free(path, overwrite=overwrite, folder=False, store=root)
    data = to_one_file(probe)
    with whole_files(path, overwrite=overwrite) as (temporary,):
        temporary.write_bytes(data)
    return {"file": str(path), "bytes": len(data), **_identity(probe)}


def import_probe(root: str, file: str, name: str | None = None) -> dict[str, Any]:
    """Take a probe that was exported elsewhere into a store, as a new version; in use at once if no other is.

    Parameters
    ----------
    root : str
    file : str
    name : str, optional
        Its own by default.

    Returns
    -------
    dict
        ``name``, ``version``, ``in_use`` (the version that is), ``digest``, ``classes``, ``model``.

    Raises
    ------
    NotFound
        If there is no such file.
    Invalid
        If it is no probe.
    Conflict
        (``model_conflict``) If it was trained on another model than the store's; both are named.
    Damaged
        If it is not what it was when it was written.
    """
    try:
        data = Path(file).read_bytes()
    except FileNotFoundError:
        raise NotFound(f"there is no file {file}") from None
    except OSError as error:
        raise Invalid(f"{file} cannot be read: {error.strerror or error}") from error
    probe = from_one_file(data, file)
    probe = replace(probe, name=check_name(name or probe.name))
    version = _add(root, probe, to_files(probe))
    return {**_identity(replace(probe, version=version)), "in_use": ProbeStore(root).in_use(probe.name)}


def _add(root: str, probe: Probe, files: Mapping[str, bytes]) -> int:
    probe.require_model(read_config(root).model)
    store = ProbeStore(root)
    version = store.add(probe.name, files)
    if store.in_use(probe.name) is None:
        try:
            store.promote(probe.name, version, "the first version", after=0)
        except Conflict as error:  # another training was first
            if error.kind != "busy":
                raise
    return version


def _identity(probe: Probe) -> dict[str, Any]:
    return {
        "name": probe.name,
        "version": probe.version,
        "kind": probe.kind,
        "classes": list(probe.classes),
        "digest": probe.digest,
        "model": {"name": probe.model.name, "version": probe.model.version},
    }
