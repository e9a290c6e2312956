"""Names of probes: what is one, and which ones a store has."""

from __future__ import annotations

import unicodedata
from typing import Final

from sonotheque.core.errors import Invalid
from store import layout
from store.fsops import FileOps

LONGEST: Final = 100
_LONGEST_FOLDER: Final = 255  # bytes; what file systems take
_NO_PATH: Final = "/\\"


def check_name(name: str) -> str:
    """Return a probe's name in one form (NFC), so that one typed on another keyboard is the same.

    Raises
    ------
    Invalid
        If it is empty, over 100 characters or too long for a folder's name, begins with a dot, begins or ends with white space, or
        holds a slash or a character that cannot be seen.
    """
    if not isinstance(name, str) or not name.strip():
        raise Invalid("the name of the probe is empty; expected a word or two, such as tawny-owl")
    name = unicodedata.normalize("NFC", name)
    if len(name) > LONGEST:
        raise Invalid(f"a probe's name of {len(name)} characters, {name[:20]!r}...; expected {LONGEST} at most")
    if any(c in _NO_PATH for c in name) or name.startswith("."):
        raise Invalid(
            f"the probe's name {name!r} looks like a path; expected one without slashes and without a dot at its beginning"
        )
    if hidden := [c for c in name if not c.isprintable()]:
        raise Invalid(
            f"the probe's name {name!r} holds a character that cannot be seen ({ord(hidden[0]):#x}); leave it out"
        )
    if name != name.strip():
        raise Invalid(f"the probe's name {name!r} begins or ends with white space; leave it out")
    if (size := len(layout.probe_folder(name).encode()) - len(layout.PROBES) - 1) > _LONGEST_FOLDER:
        raise Invalid(
            f"the probe's name {name!r} takes {size} characters as a folder's name, where letters outside ASCII take six or more; "
            f"expected {_LONGEST_FOLDER} at most: choose a shorter one"
        )
    return name


def stored_names(root: str, ops: FileOps) -> list[str]:
    """Return the names that have a folder, sorted; whatever else lies in ``probes/`` is left alone."""
    found = [layout.probe_name_of(f) for f in ops.listdir(f"{root}/{layout.PROBES}")]
    return sorted(name for name in found if name is not None)


def numbers(names: list[str], ending: str = "") -> list[int]:
    """Return the numbers among a folder's names, ascending: ``7`` or ``7.json``, never ``07``."""
    stems = [n.removesuffix(ending) for n in names if n.endswith(ending)]
    return sorted(int(s) for s in stems if s.isascii() and s.isdigit() and s[0] != "0")
