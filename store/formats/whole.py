"""Exports are there whole or not at all: written beside their place under another name, and renamed when they are done."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from sonotheque.core.errors import Conflict, Invalid, NotFound, Unavailable
from store.fsops import LocalFileOps

MARK: Final = "sonotheque-export.json"
"""In every folder that an export made: what it holds; only such a folder is ever replaced."""


def require_free(target: Path, *, overwrite: bool, folder: bool, store: str | None = None) -> None:
    """Look at where an export is to go, before the work.

    Parameters
    ----------
    target : Path
    overwrite : bool
    folder : bool
        Whether the export is a folder.
    store : str, optional
        A store's folder, in which nothing is exported.

    Raises
    ------
    Conflict
        If something is there that must not be replaced.
    NotFound
        If there is no folder to put it in.
    Invalid
        If it lies in the store.
    """
    place = target.absolute()
    if not place.parent.is_dir():
        raise NotFound(f"--out {target}: there is no folder {place.parent}; make it, or choose another")
    if store is not None and place.resolve().is_relative_to(Path(store).resolve()):
        raise Invalid(f"--out {target} lies in the store {store}, which holds its own files only; choose another place")
    if not os.path.lexists(place):
        return
    if place.is_dir() != folder:
        wanted, found = ("a folder", "a file") if folder else ("a file", "a folder")
        raise Conflict(f"--out {target} is {found}, and this export is {wanted}; choose another name")
    if not overwrite:
        raise Conflict(f"--out {target} is already there; choose another name, or add --overwrite to replace it")
    if folder and any(place.iterdir()) and not (place / MARK).is_file():
        raise Conflict(
            f"--out {target} holds files and was not made by an export (it has no {MARK}); choose another name"
        )


@contextlib.contextmanager
def whole_files(*targets: Path, overwrite: bool = False) -> Iterator[list[Path]]:
    """Give a temporary path beside each target; afterwards each has its name, or, after an error, none is there.

    Raises
    ------
    Conflict
        If a target came to be there meanwhile, and is not to be replaced.
    Unavailable
        If the disk is full or cannot be written to.
    """
    mark = secrets.token_hex(4)
    temporary = [target.with_name(f".{target.name[:200]}.{mark}.part") for target in targets]
    try:
        with _told(targets[0]):
            yield temporary
            for path in temporary:
                _sync(path)
            for path, target in reversed(
                list(zip(temporary, targets, strict=True))
            ):  # the table after what belongs to it
                _name(path, target, overwrite=overwrite)
            _sync(targets[0].absolute().parent)
    finally:
        for path in temporary:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(target: Path, about: Mapping[str, Any], *, overwrite: bool = False) -> Iterator[Path]:
    """Give an empty folder beside the target; afterwards it is the target, or, after an error, gone.

    Parameters
    ----------
    target : Path
    about : mapping
        Goes into ``MARK``, read when the writing is done.
    overwrite : bool
        Replace a folder that an export made.

    Raises
    ------
    Conflict, Unavailable
        As :func:`whole_files`.
    """
    mark = secrets.token_hex(4)
    temporary = target.with_name(f".{target.name[:200]}.{mark}.part")
    old = target.with_name(f".{target.name[:200]}.{mark}.old")
    try:
        with _told(target):
            temporary.mkdir()
            yield temporary
            (temporary / MARK).write_text(json.dumps(dict(about), indent=2, default=str) + "\n", encoding="utf-8")
            if overwrite and target.is_dir():
                os.rename(target, old)
            elif os.path.lexists(target):
                raise Conflict(f"{target} came to be there meanwhile, and was left as it is; choose another name")
            os.rename(temporary, target)
            _sync(target.absolute().parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if old.is_dir() and not target.exists():
            os.rename(old, target)
        shutil.rmtree(old, ignore_errors=True)


def _name(path: Path, target: Path, *, overwrite: bool) -> None:
    if overwrite:
        os.replace(path, target)
        return
    if not LocalFileOps().link_new(str(path), str(target)):
        raise Conflict(f"{target} came to be there meanwhile, and was left as it is; choose another name")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _told(target: Path) -> Iterator[None]:
    """Turn a full or read-only disk into an error that says what to do."""
    try:
        yield
    except OSError as error:
        said = f"{target} cannot be written: {error.strerror or error}. The store is unharmed, and nothing is left of the export. "
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise Unavailable(f"{said}Free some space, or choose another place", kind="disk_full") from error
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise Unavailable(f"{said}Choose a folder that you may write to", kind="read_only") from error
        raise
