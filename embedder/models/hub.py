"""Files from Hugging Face, named ``hf:OWNER/NAME/FILE``: the only module that imports its client, when a file is fetched.

What has been fetched once is used from the client's cache without asking the network again: the hash, and not the hub, says
whether a file is the right one.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embedder.models.base import how_to_install
from embedder.models.published import RECOMMENDED
from sonotheque.core.errors import Invalid, NotFound, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEME = "hf:"
SUFFIX = ".onnx"
_PART = r"[A-Za-z0-9][\w.\-]*"
_ADDRESS = re.compile(rf"hf:(?P<repository>{_PART}/{_PART})/(?P<file>{_PART}(?:/{_PART})*)\Z", re.ASCII)
_REACH_TIMEOUT_S = (
    10.0  # the client itself tries six times, with pauses: half a minute until an offline machine hears of it
)


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository.

    Attributes
    ----------
    repository, file : str
        ``OWNER/NAME``, and the path in it.
    """

    repository: str
    file: str

    @property
    def address(self) -> str:
        """The name it is asked for by."""
        return f"{SCHEME}{self.repository}/{self.file}"


def is_hub_address(weights: str) -> bool:
    """Tell whether ``--weights`` names a file on the hub and not a path."""
    return weights.startswith(SCHEME)


def is_onnx(weights: str) -> bool:
    """Tell whether ``--weights`` names an ONNX file: by its suffix, or on the hub."""
    return is_hub_address(weights) or weights.lower().endswith(SUFFIX)


def hub_file(address: str) -> HubFile:
    """Return the parts of ``hf:OWNER/NAME/FILE``.

    Raises
    ------
    Invalid
        If it is not of that shape.
    """
    found = _ADDRESS.match(address)
    if found is None or ".." in address:
        raise Invalid(
            f"--weights {address}: a file on Hugging Face is named hf:OWNER/NAME/FILE, as {RECOMMENDED.address}"
        )
    return HubFile(found["repository"], found["file"])


def cached_file(file: HubFile) -> Path | None:
    """Return where the client keeps a completed download, or None; the client is not imported and nothing is asked."""
    folder = _cache() / f"models--{file.repository.replace('/', '--')}"
    try:
        commit = (folder / "refs" / "main").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    path = folder / "snapshots" / commit / file.file
    return path if commit and path.is_file() else None


def _cache() -> Path:
    """Return the client's cache folder by its own rules."""
    own = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if own:
        return Path(own).expanduser()
    general = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("HF_HOME") or f"{general}/huggingface").expanduser() / "hub"


def fetch(file: HubFile) -> Path:
    """Return the path of a file, downloading it if it is not in the client's cache.

    Raises
    ------
    NotFound
        ``no_weights``: the hub has no such repository or file.
    Unavailable
        ``engine_missing``: the client is not installed; ``download_failed``: with the ways on.
    """
    cached = cached_file(file)
    if cached is not None:
        return cached
    client = _import_client(file)
    try:
        client.reach()
        return Path(client.download(file.repository, file.file))
    except client.absent as error:
        raise NotFound(
            f"{file.address}: Hugging Face has no such repository or file ({_in_short(error)}); "
            f"one that was published is {RECOMMENDED.address}",
            kind="no_weights",
        ) from error
    except client.failures as error:
        raise Unavailable(_failed(file, error), kind="download_failed") from error


@dataclass(frozen=True, slots=True)
class _Client:
    reach: Callable[[], None]
    download: Callable[[str, str], str]
    absent: tuple[type[Exception], ...]
    failures: tuple[type[Exception], ...]


def _import_client(file: HubFile) -> _Client:
    try:
        import huggingface_hub
        from huggingface_hub import constants, errors
    except ImportError as error:
        raise Unavailable(
            f"{file.address}: the client of Hugging Face cannot be imported ({error}); {how_to_install('engines')} adds it; "
            "or download the file elsewhere and give its path: --weights FILE.onnx",
            kind="engine_missing",
        ) from error

    session = huggingface_hub.get_session()
    # The client has changed its HTTP library before, and the base of that library's errors is none of Python's own.
    http_error = sys.modules[type(session).__module__.partition(".")[0]].HTTPError

    def reach() -> None:
        if constants.HF_HUB_OFFLINE:
            raise OSError("HF_HUB_OFFLINE is set")
        session.head(constants.ENDPOINT, timeout=_REACH_TIMEOUT_S)

    def download(repository: str, name: str) -> str:
        return str(huggingface_hub.hf_hub_download(repository, name))

    absent: tuple[type[Exception], ...] = (errors.RepositoryNotFoundError, errors.RemoteEntryNotFoundError)
    return _Client(reach, download, absent, (OSError, ValueError, http_error, errors.XetDownloadError))


def _in_short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _failed(file: HubFile, error: Exception) -> str:
    return (
        f"{file.address} could not be downloaded from Hugging Face: {_in_short(error)}. Three ways on: "
        "(1) run the same command again when this machine is online; "
        f"(2) download https://huggingface.co/{file.repository} elsewhere and give --weights FILE.onnx, with the class list "
        "(labels.csv) beside it; "
        "(3) use a model that needs no download: --model birdnet_v2.4"
    )


def hub_client_installed() -> bool:
    """Tell whether the client is there, without importing it."""
    return importlib.util.find_spec("huggingface_hub") is not None
