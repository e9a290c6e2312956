"""Trainings logged to MLflow, a folder or a server: an optional extra. Without it, ``probe runs`` lists the built-in record."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from probes.files import from_files
from search_api.probes.stored import read_report, resolve
from sonotheque.core.errors import Invalid, Unavailable
from store import layout
from store.probes import ProbeStore

EXPERIMENT_PREFIX: Final = "sonotheque/"
_LONGEST_VALUE: Final = 500  # characters; servers of older releases refuse more
_NOT_IN_NAMES: Final = re.compile(r"[^\w\-. /]", re.ASCII)
_PER_CLASS: Final = ("ap", "roc_auc", "precision", "recall", "f1", "false_alarms_per_hour", "threshold", "n_positive")


def log_training(root: str, name: str, version: int | None, uri: str, *, client: Any = None) -> str:
    """Log a stored version: parameters, metrics, and the files that it consists of.

    Parameters
    ----------
    root, name
    version : int or None
        None: the one in use.
    uri : str
        A folder, ``file:...``, or a server, ``http://...``.
    client : optional
        What stands in for ``mlflow.tracking.MlflowClient``.

    Returns
    -------
    str
        The run's id; the experiment is ``sonotheque/NAME``.

    Raises
    ------
    NotFound, Damaged
        If there is no such version, or it cannot be read.
    Invalid
        If the address is empty.
    Unavailable
        (``engine_missing``) If MLflow is not installed; or if it cannot be reached or written to.
    """
    store = ProbeStore(root)
    name = store.require(name, version)
    number = resolve(store, name, version)
    files = store.read(name, number)
    probe = from_files(files, f"{root}/{layout.probe_version(name, number)}")
    report = read_report(root, name, number) or {}
    tags = {
        "probe": name,
        "version": str(number),
        "digest": probe.digest,
        "model": f"{probe.model.name} {probe.model.version}",
    }
    tags |= {k: str(probe.about[k]) for k in ("data_digest", "code_version", "experiment_digest") if k in probe.about}
    settings: dict[str, Any] = {
        "kind": probe.kind,
        "classes": len(probe.classes),
        **(probe.about.get("experiment") or {}),
    }
    parameters: dict[str, str] = dict(parameters_of(settings))
    if "l2" in probe.about:
        parameters["l2_used"] = str(probe.about["l2"])
    metrics = list(metrics_of(report))
    errors: tuple[type[Exception], ...] = (OSError,)
    if client is None:
        client, errors = _client(uri)
    try:
        return _logged(client, name, number, tags, parameters, metrics, files)
    except errors as error:
        told = " ".join(str(error).split())
        raise Unavailable(
            f"version {number} of probe {name} could not be logged to {uri}: {told}. The version is kept; log it again when {uri} can be reached"
        ) from error


def _client(uri: str) -> tuple[Any, tuple[type[Exception], ...]]:
    if not uri.strip():
        raise Invalid("the tracking address is empty; expected a folder, or a server such as http://localhost:5000")
    # A tool of the field does not report home, and an unreachable server is told of in seconds, not in minutes.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    if "://" not in uri or uri.startswith("file:"):
        os.environ.setdefault(
            "MLFLOW_ALLOW_FILE_STORE", "true"
        )  # newer releases want to be told that a folder is meant
    try:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise Unavailable(
            "MLflow is not installed here: `pip install 'sonotheque[mlflow]'` brings it. Without it, "
            "`sonotheque probe runs` lists all trainings",
            kind="engine_missing",
        ) from error
    known: tuple[type[Exception], ...] = (OSError, MlflowException)
    try:
        return MlflowClient(tracking_uri=_as_uri(uri)), known
    except known as error:
        raise Unavailable(f"MLflow cannot log to {uri}: {' '.join(str(error).split())}") from error


def _as_uri(uri: str) -> str:
    """Return a folder's path as an address; others as they are."""
    from pathlib import Path

    return uri if ":" in uri else Path(uri).absolute().as_uri()


def _logged(
    client: Any,
    name: str,
    version: int,
    tags: Mapping[str, str],
    parameters: Mapping[str, str],
    metrics: list[tuple[str, float, int]],
    files: Mapping[str, bytes],
) -> str:
    """Log everything to one run, which is marked as failed if that fails half-way."""
    experiment = client.get_experiment_by_name(f"{EXPERIMENT_PREFIX}{name}")
    identity = experiment.experiment_id if experiment else client.create_experiment(f"{EXPERIMENT_PREFIX}{name}")
    run_id = str(client.create_run(identity, run_name=f"{name} {version}", tags=dict(tags)).info.run_id)
    status = "FAILED"
    try:
        for key, value in parameters.items():
            client.log_param(run_id, key, value)
        for key, number, step in metrics:
            client.log_metric(run_id, key, number, step=step)
        _log_files(client, run_id, files)
        status = "FINISHED"
    finally:
        client.set_terminated(run_id, status=status)
    return run_id


def _log_files(client: Any, run_id: str, files: Mapping[str, bytes]) -> None:
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory(prefix="sonotheque-") as folder:
        for file, data in files.items():
            Path(folder, file).write_bytes(data)
        client.log_artifacts(run_id, folder)


def parameters_of(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield an experiment's settings, names joined by dots, values as text of 500 characters at most."""
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            yield from parameters_of(inner, f"{prefix}{key}.")
        elif inner is not None:
            text = ", ".join(map(str, inner)) if isinstance(inner, list | tuple) else str(inner)
            yield _named(f"{prefix}{key}"), text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def metrics_of(report: Mapping[str, Any]) -> Iterator[tuple[str, float, int]]:
    """Yield (name, value, step) of a report: means, classes, and the learning curve, whose step is the number of shots."""
    test = report.get("test") or {}
    for key, value in (test.get("macro") or {}).items():
        if key.endswith("_ci") and isinstance(value, list):
            yield from _finite((f"macro/{key[:-3]}_{end}", v, 0) for end, v in zip(("low", "high"), value, strict=True))
        else:
            yield from _finite([(f"macro/{key}", value, 0)])
    taken: set[str] = set()
    for number, (name, values) in enumerate((test.get("classes") or {}).items()):
        plain = _named(name)
        if plain in taken:  # two names that differ in what MLflow does not take
            plain = f"{plain}-{number}"
        taken.add(plain)
        yield from _finite((f"class/{plain}/{key}", values.get(key), 0) for key in _PER_CLASS)
    solver = report.get("solver") or {}
    yield from _finite((f"solver/{key}", solver.get(key), 0) for key in ("iterations", "gradient", "seconds"))
    for row in report.get("learning_curve") or []:
        if isinstance(row.get("shots"), int):
            yield from _finite((f"curve/{key}", row.get(key), row["shots"]) for key in ("map", "roc_auc"))


def _finite(rows: Any) -> Iterator[tuple[str, float, int]]:
    for name, value, step in rows:
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield _named(name), float(value), step


def _named(text: str) -> str:
    return _NOT_IN_NAMES.sub("_", text)
