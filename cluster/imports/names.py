"""From the paths another program wrote down to paths relative to an archive's root: what makes a recording the same one."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from sonotheque.core.errors import Invalid


def tidy(path: str) -> str:
    """Return a path with ``/`` between its parts and without ``.`` and doubled separators."""
    if "\\" in path and "/" not in path:
        path = path.replace("\\", "/")
    return posixpath.normpath(path) if path else path


def is_absolute(path: str) -> bool:
    """Tell whether a tidied path is absolute; a Windows drive counts."""
    return path.startswith("/") or path[1:3] == ":/"


def common_root(folders: Iterable[str], *, above: bool) -> str:
    """Return what all folders of recordings begin with.

    Parameters
    ----------
    folders : iterable of str
        Tidied; those that hold recordings themselves.
    above : bool
        The folder above the recordings' own: theirs is the site's, and an import of one site must give its files the
        names that they have in an import of all.

    Raises
    ------
    Invalid
        If some are absolute and some are not.
    """
    tops = sorted({posixpath.dirname(folder) if above else folder for folder in folders})
    absolute = [top for top in tops if is_absolute(top)]
    if absolute and len(absolute) < len(tops):
        relative = next(top for top in tops if top not in absolute)
        raise Invalid(
            f"some recordings have an absolute path (below {absolute[0]}) and some have not (below {relative or '.'}): "
            f"say with --root DIR what the absolute ones begin with and the others do not"
        )
    return posixpath.commonpath(tops) if tops and "" not in tops else ""


def below(path: str, root: str, prefix: str) -> str:
    """Return the stored path of a recording.

    Parameters
    ----------
    path : str
        As the source has it, tidied.
    root : str
        Taken away from its beginning; a path that is not absolute may lack it.
    prefix : str
        Put in front.

    Raises
    ------
    Invalid
        If the path is absolute and does not begin with the root.
    """
    root = tidy(root)
    inside = root.rstrip("/") + "/"
    if root and path.startswith(inside):
        path = path[len(inside) :]
    elif is_absolute(path):
        raise Invalid(f"{path} does not begin with {root or 'any root'}: --root must be what all recordings begin with")
    path = path.removeprefix("./")
    return f"{prefix.strip('/')}/{path}" if prefix.strip("/") else path
