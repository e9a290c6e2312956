"""Where Perch's weights are: the hub's handles and cache, a local folder, and the class list. TensorFlow-free."""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedder.models.base import WeightsStatus, how_to_install
from sonotheque.core.errors import Invalid, NotFound, Unavailable
from sonotheque.core.ids import file_sha256

if TYPE_CHECKING:
    from collections.abc import Callable

# Source: perch-hoplite, ``zoo/model_configs.py`` (version after the last slash).
_OWNER = "google/bird-vocalization-classifier/tensorFlow2"
INSTALL = f"{how_to_install('perch')} adds it; or use a model that needs neither TensorFlow nor a download: --model birdnet_v2.4"

# The class list among a SavedModel's assets: ``labels.csv`` in Perch 2 (whose other list is eBird codes and repeats
# ``no_ebird_code``), ``label.csv`` in Perch 1 (whose others belong to its genus, family and order heads).
CLASS_FILES = ("labels.csv", "label.csv")

_HUB_URL = "https://api.kaggle.com/"
_REACH_TIMEOUT_S = (5.0, 15.0)  # connect, read: what kagglehub itself uses for the files


@dataclass(frozen=True, slots=True)
class Handles:
    """A model's names on the hub, by device; the same where one edition runs on both."""

    cpu: str
    gpu: str

    @property
    def all(self) -> tuple[str, ...]:
        """Both handles, the CPU's first, without repetition."""
        return (self.cpu,) if self.cpu == self.gpu else (self.cpu, self.gpu)


HANDLES = {
    "perch_v2": Handles(cpu=f"{_OWNER}/perch_v2_cpu/1", gpu=f"{_OWNER}/perch_v2/2"),
    "perch_v1": Handles(cpu=f"{_OWNER}/bird-vocalization-classifier/8", gpu=f"{_OWNER}/bird-vocalization-classifier/8"),
}


def local_folder(weights: str) -> Path:
    """Return a local SavedModel folder after looking for what it must hold.

    Raises
    ------
    NotFound
        Kind ``no_weights``: there is no such folder.
    Invalid
        Kind ``invalid_weights``, naming what the folder lacks.
    """
    folder = Path(weights)
    if not folder.is_dir():
        raise NotFound(
            f"--weights {weights}: there is no such folder; it must be a Perch SavedModel with saved_model.pb, "
            "variables/ and assets/",
            kind="no_weights",
        )
    missing = [] if (folder / "saved_model.pb").is_file() else ["saved_model.pb"]
    missing += [] if (folder / "variables").is_dir() else ["variables/"]
    missing += [] if class_file(folder) else [f"assets/{CLASS_FILES[0]} or assets/{CLASS_FILES[1]}"]
    if missing:
        raise Invalid(
            f"--weights {weights} lacks {', '.join(missing)}; it must be a Perch SavedModel folder as unpacked from "
            "the hub, with saved_model.pb, variables/ and assets/",
            kind="invalid_weights",
        )
    return folder


def class_file(folder: Path) -> Path | None:
    """Return the file with the class list of a SavedModel folder, or None."""
    return next((file for name in CLASS_FILES if (file := folder / "assets" / name).is_file()), None)


def read_classes(folder: Path) -> tuple[str, ...]:
    """Read the class list: first column, without the first row, which names the list's namespace.

    Raises
    ------
    Invalid
        Kind ``invalid_weights``: no list, or one that is not UTF-8 text.
    """
    file = class_file(folder)
    if file is None:
        raise Invalid(f"{folder} has no assets/{' and no assets/'.join(CLASS_FILES)}", kind="invalid_weights")
    try:
        with file.open(encoding="utf-8", newline="") as handle:
            rows = [row[0] for row in csv.reader(handle) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise Invalid(f"{file} is not a UTF-8 CSV file: {error}", kind="invalid_weights") from error
    return tuple(rows[1:])


def folder_digest(folder: Path) -> str:
    """Return the SHA-256 over the sorted (relative name, SHA-256) pairs of a SavedModel's own files.

    Only ``saved_model.pb``, ``variables/`` and ``assets/`` count: a file manager's or the hub's additions beside them
    must not make another model of the same weights.
    """
    files = [folder / "saved_model.pb"]
    files += [file for part in ("variables", "assets") for file in (folder / part).rglob("*") if file.is_file()]
    sha = hashlib.sha256()
    for name, file in sorted((file.relative_to(folder).as_posix(), file) for file in files):
        sha.update(f"{name}\0{file_sha256(file)}\n".encode())
    return sha.hexdigest()


def cached_folder(handle: str) -> Path | None:
    """Return where the hub's client keeps a completed download of a handle, or None; the client is not imported."""
    cache = os.environ.get("KAGGLEHUB_CACHE") or str(Path.home() / ".cache" / "kagglehub")
    folder = Path(cache) / "models" / handle
    marker = folder.parent / f"{folder.name}.complete"
    return folder if marker.is_file() and (folder / "saved_model.pb").is_file() else None


def reach_hub(name: str, handle: str) -> None:
    """Ask the hub for a sign of life, within seconds.

    The hub's client sets no timeout on its first request, so behind a firewall that drops packets it would hang.
    This request takes the same route (proxies, certificates) and has one.

    Raises
    ------
    Unavailable
        ``engine_missing``: kagglehub is not installed; ``download_failed``: with the three ways on.
    """
    hub = _import_hub()
    if "KAGGLE_DATA_PROXY_URL" in os.environ or "TBE_RUNTIME_ADDR" in os.environ:
        return  # Kaggle's and Colab's notebooks have caches of their own, which need no way out
    try:
        hub.head(_HUB_URL, timeout=_REACH_TIMEOUT_S, allow_redirects=False).close()
    except OSError as error:  # requests' errors are among these
        raise Unavailable(_download_failed(name, handle, error), kind="download_failed") from error


def fetch(name: str, handle: str) -> Path:
    """Return the folder of a published model, downloading it if it is not in the hub client's cache.

    Raises
    ------
    Unavailable
        ``engine_missing``: kagglehub is not installed; ``download_failed``: with the three ways on.
    """
    cached = cached_folder(handle)
    if cached is not None:
        return cached
    reach_hub(name, handle)
    hub = _import_hub()
    try:
        return Path(hub.download(handle))
    except hub.failures as error:
        raise Unavailable(_download_failed(name, handle, error), kind="download_failed") from error


@dataclass(frozen=True, slots=True)
class _Hub:
    download: Callable[[str], str]
    head: Callable[..., Any]
    failures: tuple[type[Exception], ...]


def _import_hub() -> _Hub:
    try:
        import kagglehub
        import requests
        from kagglehub import exceptions
    except ImportError as error:
        raise Unavailable(f"kagglehub cannot be imported ({error}); {INSTALL}", kind="engine_missing") from error
    failures = (
        OSError,  # requests' errors are among these, and a full disk, and a cut connection
        ValueError,  # an answer the client cannot read
        exceptions.BackendError,
        exceptions.CredentialError,
        exceptions.DataCorruptionError,
        exceptions.KaggleEnvironmentError,
        exceptions.NotFoundError,
        exceptions.UnauthenticatedError,
    )
    return _Hub(kagglehub.model_download, requests.head, failures)


def _download_failed(name: str, handle: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return (
        f"{name}: the weights ({handle}) could not be downloaded from Kaggle: {reason}. Three ways on: "
        "(1) run the same command again when this machine is online; "
        "(2) give --weights DIR, a local copy of the SavedModel folder (saved_model.pb, variables/, assets/), "
        f"downloaded elsewhere from https://www.kaggle.com/models/{_OWNER.rsplit('/', 1)[0]} and unpacked; "
        "(3) use a model that needs no download: --model birdnet_v2.4"
    )


def perch_weights_status(name: str, weights: str | None = None) -> WeightsStatus:
    """Tell whether a Perch model's weights are in a local folder or in the hub client's cache."""
    engine = (
        "" if importlib.util.find_spec("tensorflow") else f" TensorFlow, which runs it, is not installed: {INSTALL}."
    )
    if weights is not None:
        try:
            local = local_folder(weights)
        except (NotFound, Invalid) as error:
            return WeightsStatus(False, weights, error.message)
        return WeightsStatus(True, str(local), f"Local folder.{engine}")
    cached = [(handle, folder) for handle in HANDLES[name].all if (folder := cached_folder(handle))]
    if cached:
        names = ", ".join(handle for handle, _ in cached)
        return WeightsStatus(True, str(cached[0][1]), f"Downloaded: {names}.{engine}")
    where = f"kaggle: {HANDLES[name].cpu}"
    return WeightsStatus(False, where, f"Not downloaded yet; this happens at first use, or give --weights DIR.{engine}")
