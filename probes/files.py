"""A probe as files, and back: numbers and JSON, nothing that runs, every byte checked by a digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from probes.probe import Probe
from sonotheque.core.errors import Damaged, Invalid
from sonotheque.core.ids import digest_of
from sonotheque.core.model_spec import ModelSpec

FORMAT_VERSION: Final = 1
PROBE, WEIGHTS, REPORT = "probe.json", "weights.safetensors", "report.json"
_HEADER: Final = "sonotheque.probe"  # the key of the one-file form's metadata
_SHORTEST: Final = 8  # bytes of a safetensors file before its header


def to_files(probe: Probe, extra: Mapping[str, bytes] | None = None) -> dict[str, bytes]:
    """Return the files of a version.

    Parameters
    ----------
    probe : Probe
        Its version is not in the files: the folder says it.
    extra : mapping, optional
        More files, name -> bytes, whose digests ``probe.json`` is to hold; not the report, which has one of its own.

    Returns
    -------
    dict
        ``probe.json``, ``weights.safetensors`` and ``extra``. The same probe and extra files give the same bytes.

    Raises
    ------
    Invalid
        If ``about`` holds what JSON cannot, such as NaN.
    """
    from safetensors.numpy import save

    files = {WEIGHTS: save(_tensors(probe)), **(extra or {})}
    return {**files, PROBE: _probe_json(probe, {name: _sha256(data) for name, data in sorted(files.items())})}


def from_files(files: Mapping[str, bytes], where: str = "") -> Probe:
    """Return the probe that files hold; its version is 0.

    Parameters
    ----------
    files : mapping
        File name -> bytes: ``probe.json`` and ``weights.safetensors``; others are checked if they are given.
    where : str
        The folder, for messages.

    Raises
    ------
    Damaged
        If one is missing, cannot be read, or is not what it was when it was written; the file is named.
    """
    prefix = f"{where.rstrip('/')}/" if where else ""
    value = _read_json(_needed(files, PROBE, prefix), f"{prefix}{PROBE}")
    weights = _needed(files, WEIGHTS, prefix)
    try:
        said = {WEIGHTS: value["files"][WEIGHTS], **value["files"]}  # a probe.json of the one-file form has none
    except (KeyError, TypeError) as error:
        raise Damaged(f"{prefix}{PROBE} cannot be read as a probe: {error!r} is missing") from error
    for name, sha256 in said.items():
        if name in files and _sha256(files[name]) != sha256:
            raise Damaged(
                f"{prefix}{name} is not what it was when it was written. Bring it back from a backup, or train again"
            )
    return _made(value, weights, f"{prefix}{PROBE}", f"{prefix}{WEIGHTS}")


def to_one_file(probe: Probe) -> bytes:
    """Return a probe as one safetensors file, whose header holds the rest: what is given to a colleague."""
    from safetensors.numpy import save

    return bytes(save(_tensors(probe), metadata={_HEADER: _probe_json(probe, {}).decode("ascii")}))


def from_one_file(data: bytes, where: str) -> Probe:
    """Return the probe that one file holds.

    Parameters
    ----------
    data : bytes
    where : str
        Its name, for messages.

    Raises
    ------
    Invalid
        If it is no file of a probe.
    Damaged
        If it is one, and not what it was when it was written.
    """
    size = int.from_bytes(data[:_SHORTEST], "little")
    try:
        text = json.loads(data[_SHORTEST : _SHORTEST + size])["__metadata__"][_HEADER]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Invalid(
            f"{where} holds no probe: expected a safetensors file made by `sonotheque probe export`, whole ({error!r})"
        ) from error
    if not isinstance(text, str):
        raise Invalid(f"{where} holds no probe: its header's {_HEADER} is no text")
    return _made(_read_json(text.encode("utf-8", "surrogatepass"), where), data, where, where)


def report_to_bytes(report: Mapping[str, Any]) -> bytes:
    """Return a report's file: its JSON, with a digest of the rest, as it tells when it was made and so is never the same twice."""
    value = json.loads(_dumped({k: v for k, v in report.items() if k != "digest"}, "the report"))
    return _dumped({"digest": digest_of(value), **value}, "the report")


def report_from_bytes(data: bytes, where: str = REPORT) -> dict[str, Any]:
    """Return the report of a file, or raise Damaged."""
    return _read_json(data, where, versioned=False)


def _tensors(probe: Probe) -> dict[str, NDArray[Any]]:
    return {
        "bias": np.ascontiguousarray(probe.bias, np.float32),
        "weights": np.ascontiguousarray(probe.weights, np.float32),
    }


def _probe_json(probe: Probe, files: dict[str, str]) -> bytes:
    value = {
        "format_version": FORMAT_VERSION,
        "name": probe.name,
        "kind": probe.kind,
        "classes": list(probe.classes),
        "model": probe.model.to_json(),
        "slopes": probe.slopes.tolist(),
        "offsets": probe.offsets.tolist(),
        "thresholds": probe.thresholds.tolist(),
        "probe_digest": probe.digest,
        "files": files,
        "about": probe.about,
    }
    value = json.loads(_dumped(value, f"probe {probe.name}"))
    return _dumped({"digest": digest_of(value), **value}, f"probe {probe.name}")


def _dumped(value: dict[str, Any], what: str) -> bytes:
    try:
        return json.dumps(value, indent=1, ensure_ascii=True, allow_nan=False).encode("ascii") + b"\n"
    except (ValueError, TypeError) as error:
        raise Invalid(f"{what} holds a value that JSON has no word for: {error}") from error


def _read_json(data: bytes, where: str, *, versioned: bool = True) -> dict[str, Any]:
    """Return a JSON object whose digest is right, without it."""
    try:
        value = json.loads(data)
        said = value.pop("digest")
        version = value.pop("format_version") if versioned else FORMAT_VERSION
        found = digest_of({**({"format_version": version} if versioned else {}), **value})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged(f"{where} cannot be read: {error!r}. Bring it back from a backup, or train again") from error
    if said != found:
        raise Damaged(f"{where} is not what it was when it was written. Bring it back from a backup, or train again")
    if version != FORMAT_VERSION:
        raise Damaged(
            f"{where} has version {version}; this program reads version {FORMAT_VERSION}. Install a newer sonotheque"
        )
    return dict(value)


def _made(value: dict[str, Any], weights: bytes, where: str, where_weights: str) -> Probe:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(bytes(weights))
        if {k: v.dtype for k, v in tensors.items()} != {"bias": np.float32, "weights": np.float32}:
            raise Damaged(f"{where_weights} holds {', '.join(sorted(tensors))}; expected bias and weights, float32")
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise Damaged(
            f"{where_weights} cannot be read as weights: {error}. Bring it back from a backup, or train again"
        ) from error
    try:
        probe = Probe(
            value["name"],
            0,
            value["kind"],
            tuple(value["classes"]),
            ModelSpec.from_json(value["model"]),
            tensors["weights"],
            tensors["bias"],
            np.array(value["slopes"], np.float64),
            np.array(value["offsets"], np.float64),
            np.array(value["thresholds"], np.float64),
            dict(value["about"]),
        )
        said = value["probe_digest"]
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise Damaged(
            f"{where} cannot be read as a probe: {error}. Bring it back from a backup, or train again"
        ) from error
    if probe.digest != said:
        raise Damaged(
            f"{where_weights} does not hold the probe that {where} speaks of. Bring it back from a backup, or train again"
        )
    return probe


def _needed(files: Mapping[str, bytes], name: str, prefix: str) -> bytes:
    if name not in files:
        raise Damaged(f"{prefix}{name} is missing. Bring it back from a backup, or train again")
    return files[name]


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
