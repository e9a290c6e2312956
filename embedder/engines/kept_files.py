"""Files that are made once on a machine and used by every worker on it: graphs cut and quantised.

A file is written under a name of its own and then renamed, so whoever finds it finds it whole, and of several that make
it at once the last one stays. A folder that cannot be written to costs the next worker the same work, and nothing else.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import secrets
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sonotheque.core.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

CACHE_VARIABLE = "SONOTHEQUE_CACHE"


def cache_folder() -> Path:
    """Return the folder for what can be made again: ``$SONOTHEQUE_CACHE``, else ``~/.cache/sonotheque``."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else Path.home() / ".cache" / "sonotheque"


def kept_name(digest: str, suffix: str, *parts: object) -> str:
    """Return the name of a kept file: of what it was made from, and a hash of all that it was made with.

    Parameters
    ----------
    digest : str
        SHA-256 of the file it is made from, as hex digits.
    suffix : str
        The end of the name: ``.onnx``.
    *parts : object
        JSON values that, with the digest, say all there is to say about its content.
    """
    made_with = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    return f"{digest[:16]}-{made_with[:16]}{suffix}"


def kept(name: str, make: Callable[[Path], None], *, folder: Path | None = None) -> Path:
    """Return the path of a kept file; make it first if it is not there.

    Parameters
    ----------
    name : str
        As of :func:`kept_name`.
    make : callable
        Writes the file to the path it is given. It may be called again, for another folder, if writing failed.
    folder : Path, optional
        ``graphs`` in :func:`cache_folder` by default. Where it cannot be written to, a temporary folder that goes away
        with this process takes its place.

    Raises
    ------
    Unavailable
        If neither folder can be written to.
    """
    for place in (folder or cache_folder() / "graphs", None):
        target = (place or _own_folder()) / name
        if target.is_file() and target.stat().st_size:  # empty: the machine went down before the content was on disk
            return target
        try:
            return made(target, make)
        except OSError as error:
            reason = error
    raise Unavailable(
        f"{name} cannot be written, neither to {folder or cache_folder() / 'graphs'} nor to {_own_folder()} ({reason}); "
        f"make room, or let {CACHE_VARIABLE} name a folder that can be written to"
    ) from reason


def made(target: Path, make: Callable[[Path], None]) -> Path:
    """Let ``make`` write a file under another name, and rename it to ``target`` once it is on disk; return ``target``."""
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.stem}.{os.getpid()}-{secrets.token_hex(4)}{target.suffix}")
    try:
        make(unfinished)
        with unfinished.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)
    return target


@cache
def _own_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="sonotheque-graphs-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
