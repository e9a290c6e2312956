"""What may be asked for: each kind of job, taken from plain values and made sure of before it is begun."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from zoneinfo import ZoneInfo

from probes.experiment import Experiment
from sonotheque.core.errors import Invalid, NotFound
from sonotheque.core.places import inside
from sonotheque.core.suggest import did_you_mean

EMBED, TRAIN, APPLY, INDEX = "embed", "train", "apply", "index"
KINDS: Final = (EMBED, TRAIN, APPLY, INDEX)
ACTIONS: Final = ("build", "update")
WORKERS_MAX: Final = 256
_BOOTSTRAP_MAX: Final = 10_000
_WEAK_MAX: Final = 200_000
_SHOTS_MAX: Final = 32
_FOLDS_MAX: Final = 20
_SEED_MAX: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Request:
    """A job as it is kept: what to do, in plain values.

    Attributes
    ----------
    kind : str
        One of ``KINDS``.
    title : str
        For people.
    values : dict
    """

    kind: str
    title: str
    values: dict[str, Any]


def embed_request(
    root: str,
    ingest_roots: Mapping[str, str],
    *,
    source: str,
    folder: str = "",
    site: str | None = None,
    timezone: str | None = None,
    workers: int | None = None,
    weights: str | None = None,
) -> Request:
    """Return the job that embeds a folder below a configured one.

    Parameters
    ----------
    root : str
        The store.
    ingest_roots : mapping
        Name -> folder.
    source : str
        One of the names.
    folder : str
        Below it; all of it by default.
    site, timezone : str, optional
        As in ``sonotheque embed``.
    workers : int, optional
        Processes; as many as the machine holds by default.
    weights : str, optional
        Local copy of the model's weights.

    Raises
    ------
    NotFound
        If there is no such source or folder.
    Invalid
        If the folder leads out of the source, or a value cannot be right.
    """
    from cluster.options import EmbedOptions, default_workers
    from cluster.run import require_work
    from store import read_config

    place = place_below(ingest_roots, source, folder)
    _zone(timezone)
    if site is not None and (not site.strip() or not site.isprintable()):
        raise Invalid(f"site {site!r}: expected a name that can be seen")
    if workers is not None and not 0 <= workers <= WORKERS_MAX:
        raise Invalid(f"workers {workers}: expected 0 (no processes of their own) to {WORKERS_MAX}")
    options = EmbedOptions(
        sources=(place,),
        store=root,
        root=_stored_below(root, os.path.realpath(ingest_roots[source]), place),
        site=site,
        timezone=timezone,
        weights=weights,
        workers=default_workers(read_config(root).model.name) if workers is None else workers,
    )
    require_work(options)
    inner = folder.strip("/")
    title = f"Embed {source}/{inner}" if inner else f"Embed {source}"
    return Request(EMBED, title, {"options": options.to_json(), "source": source, "folder": inner})


def place_below(ingest_roots: Mapping[str, str], source: str, folder: str) -> str:
    """Return a folder below a configured one; what leads out of it, links too, is refused.

    Raises
    ------
    NotFound
        If there is no such source or folder.
    Invalid
        If it is an absolute path, goes up, or leads outside.
    """
    if source not in ingest_roots:
        if not ingest_roots:
            raise NotFound(
                "this service embeds nothing: start it with --ingest NAME=DIR for each folder whose recordings may be embedded"
            )
        raise NotFound(f"there is no source {source!r} to embed from; {did_you_mean(source, list(ingest_roots))}")
    if any(not c.isprintable() for c in folder) or "\\" in folder:
        raise Invalid(f"folder {folder!r}: it holds a character that no folder here has")
    if folder.startswith("/") or ".." in folder.split("/"):
        raise Invalid(f"folder {folder!r}: expected one below the source {source}, as in 2025/forest")
    top = os.path.realpath(ingest_roots[source])
    found = os.path.realpath(os.path.join(top, folder))
    if not inside(found, top):
        raise Invalid(f"folder {folder!r} leads out of the source {source}; only what lies in it can be embedded")
    if not os.path.isdir(found):
        raise NotFound(f"the source {source} has no folder {folder!r}")
    return found


def _stored_below(root: str, top: str, place: str) -> str | None:
    """Return what stored paths are to be relative to: the source, so that jobs on two folders of it do not name files alike.

    None where the store knows better: an earlier job began at a folder around this one, or within it.
    """
    from cluster.settle import known_roots

    known = [known for known, prefix in known_roots(root) if not prefix]
    return None if any(inside(place, k) or inside(k, place) for k in known) else top


def _zone(name: str | None) -> None:
    if name is None:
        return
    try:
        ZoneInfo(name)
    except (OSError, ValueError, LookupError):  # a folder, "../x", no such zone
        raise Invalid(f"timezone {name!r}: expected an IANA name such as Europe/Paris") from None


def train_request(*, probe: str, experiment: Mapping[str, Any] | None = None) -> Request:
    """Return the job that trains a probe from what was judged.

    Parameters
    ----------
    probe : str
        Its name.
    experiment : mapping, optional
        Keys as in an experiment's YAML; what is not given is as `sonotheque probe train NAME` has it.

    Raises
    ------
    Invalid
        If a key or value cannot be right, or it would read files of the server.
    """
    from probes.experiment_files import experiment_from
    from store.probes import check_name

    name = check_name(probe)
    values = dict(experiment or {})
    if values.get("name", name) != name:
        raise Invalid(f"experiment: its name is {values['name']!r}, the probe's {name!r}; leave one of them away")
    try:
        wanted = bounded(experiment_from({**values, "name": name}))
    except OverflowError as error:
        raise Invalid(f"experiment: a number in it is too large: {error}") from error
    return Request(TRAIN, f"Train probe {name}", {"probe": name, "experiment": wanted.to_json()})


def bounded(experiment: Experiment) -> Experiment:
    """Return an experiment, or raise Invalid if it would read a folder of the server or run for days."""
    if experiment.examples.source != "annotations" or experiment.examples.clips is not None:
        raise Invalid(
            "examples: over HTTP a probe learns from annotations alone; `sonotheque probe train --clips` takes folders"
        )
    for what, value, most in (
        ("bootstrap", experiment.bootstrap, _BOOTSTRAP_MAX),
        ("negatives: weak", experiment.negatives.weak, _WEAK_MAX),
        ("shots: numbers", len(experiment.shots), _SHOTS_MAX),
        ("folds", experiment.folds, _FOLDS_MAX),
        ("seed", experiment.seed, _SEED_MAX),
        ("split: seed", experiment.split.seed, _SEED_MAX),
    ):
        if value > most:
            raise Invalid(
                f"{what} {value:,}: over HTTP at most {most:,}; `sonotheque probe train --experiment FILE` takes any"
            )
    return experiment


def apply_request(root: str, *, probes: list[str] | str, floor: float | None = None) -> Request:
    """Return the job that scores every window by probes; only what is not scored yet is read.

    Parameters
    ----------
    root : str
        The store.
    probes : list of str or str
        Their names; ``all``: every one that has a version in use.
    floor : float, optional
        Scores below it are not kept.

    Raises
    ------
    NotFound
        If there is no such probe, or none has a version in use.
    Invalid
        If no probe is named, or the floor is no probability.
    """
    from search_api.probes.stored import load_probe
    from store.probes import in_use

    if isinstance(probes, str) and probes != "all":
        probes = [probes]
    names = sorted(in_use(root)) if isinstance(probes, str) else list(dict.fromkeys(probes))
    if not names:
        if isinstance(probes, str):
            raise NotFound("no probe is in use: train one first")
        raise Invalid('no probe is named: give names, or "all"')
    if floor is not None and not 0.0 <= floor <= 1.0:
        raise Invalid(f"floor {floor:g}: a probability, from 0 to 1")
    for name in names:
        load_probe(root, name)
    title = f"Apply probe {names[0]}" if len(names) == 1 else f"Apply {len(names)} probes"
    return Request(APPLY, title, {"probes": names, "floor": floor})


def index_request(*, action: str) -> Request:
    """Return the job that builds the index, or brings it up to date; raises Invalid."""
    if action not in ACTIONS:
        raise Invalid(f"action {action!r}: {did_you_mean(action, ACTIONS)}")
    return Request(INDEX, "Build the index" if action == "build" else "Bring the index up to date", {"action": action})
