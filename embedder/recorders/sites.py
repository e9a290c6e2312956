"""Which site a recording belongs to, from its path alone. The answer is never empty."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from embedder.recorders.names import NameTime
from sonotheque.core.errors import Invalid
from sonotheque.core.site import clean_site

MODES: Final = ("auto", "folder", "prefix", "fixed")
# What recorders and people call a folder that says nothing of the place.
_GENERIC: Final = frozenset({"data", "audio", "recordings", "recording", "wav", "wavs", "flac", "raw", "sounds"})
_DATE_LIKE = re.compile(r"\d{4}[-_.]?\d{2}[-_.]?\d{2}|\d{4}[-_.]\d{2}", re.ASCII)
# Patterns whose prefix is, by the makers' own advice, the name of a place or of a recorder that stays at one.
_SITE_PATTERNS: Final = frozenset({"song_meter", "smart", "owlsense", "iso", "swiftone", "user"})
_PRODUCT_PREFIXES: Final = frozenset({"swiftone", "swift"})


@dataclass(frozen=True, slots=True)
class SiteRule:
    """How a path gives a site.

    Attributes
    ----------
    mode : str
        ``auto``: the first folder below the root that is neither a date nor a word like ``Data``; else the prefix of
        a Song Meter-like file name; else the root folder's own name. ``folder``: the first folder below the root,
        whatever it is called. ``prefix``: the prefix of the file's name. ``fixed``: always ``name``.
    name : str
        For ``fixed``.
    """

    mode: str = "auto"
    name: str = ""

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise Invalid(f"site rule {self.mode!r} is not known; expected auto, folder, prefix or fixed:NAME")
        if self.mode == "fixed" and not self.name.strip():
            raise Invalid("site rule fixed needs a name, as in fixed:Waterhoek")

    @classmethod
    def parse(cls, text: str) -> SiteRule:
        """Return the rule of a text: ``auto``, ``folder``, ``prefix`` or ``fixed:NAME``.

        Raises
        ------
        Invalid
            If it is none of these.
        """
        mode, _, name = text.strip().partition(":")
        if name and mode != "fixed":
            raise Invalid(f"site rule {text!r} is not known; expected auto, folder, prefix or fixed:NAME")
        return cls(mode, name.strip())


def site_of(rule: SiteRule, root: str, path: str, name: NameTime | None = None) -> str:
    """Return the site of a file.

    Parameters
    ----------
    rule : SiteRule
    root : str
        The archive's folder.
    path : str
        Relative to the root, ``/`` between parts.
    name : NameTime, optional
        What the file's name says; a user's pattern may name the site.
    """
    if rule.mode == "fixed":
        return clean_site(rule.name)
    folders = [part for part in path.split("/")[:-1] if part not in ("", ".")]
    named = name.site if name else ""
    if rule.mode == "prefix":
        choices = [named, name.prefix if name else "", *folders[:1]]
    elif rule.mode == "folder":
        choices = folders[:1]
    else:
        choices = [named, next((f for f in folders if not _says_nothing(f)), ""), _place_prefix(name)]
    return next((clean_site(choice) for choice in choices if choice.strip()), "") or clean_site(_own_name(root))


@lru_cache(maxsize=4096)  # asked for every file, and the files of a folder follow each other
def _says_nothing(folder: str) -> bool:
    return folder.strip().lower() in _GENERIC or _DATE_LIKE.fullmatch(folder.strip()) is not None


def _place_prefix(name: NameTime | None) -> str:
    if name is None or name.pattern not in _SITE_PATTERNS or name.prefix.lower() in _PRODUCT_PREFIXES:
        return ""
    return name.prefix


@lru_cache(maxsize=64)
def _own_name(root: str) -> str:
    own = Path(root).name
    try:
        return own if own not in ("", ".", "..") else Path(root).resolve().name
    except (OSError, ValueError, RuntimeError):  # a loop of links, a NUL
        return ""
