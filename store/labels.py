"""Which label a person means: the model's own spelling, or a scientific or common name in any case."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Final

from sonotheque.core.errors import Invalid, NotFound
from sonotheque.core.suggest import did_you_mean

_SHOWN = 5
_SAME: Final = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'", "\u2010": "-", "\u2011": "-", "\u2013": "-"})


def resolve_label(labels: Iterable[str], text: str, *, among: str = "predictions") -> str:
    """Return the label that a text names.

    A label such as ``Poecile atricapillus_Black-capped Chickadee`` is named by itself, by its scientific name or by its
    common name. The label as it is spelled wins, then the label in another case, then one of its names; typographic
    apostrophes and hyphens, doubled spaces and ``_`` for a space make no difference.

    Parameters
    ----------
    labels : iterable of str
        What there is: the labels that occur in a store.
    text : str
        What a person wrote.
    among : str
        What the labels are of, for the message.

    Raises
    ------
    NotFound
        If no label is so named; the message offers near names.
    Invalid
        If the text is empty, or names several labels; the message lists them.
    """
    if not text.strip():
        raise Invalid("a species without a name: expected a label, a scientific or a common name")
    there = sorted(set(labels))
    wanted = _plain(text)
    for tier in (
        [label for label in there if label == text],
        [label for label in there if _plain(label) == wanted],
        [label for label in there if wanted in {_plain(name) for name in names_of(label)}],
    ):
        if len(tier) == 1:
            return tier[0]
        if tier:
            more = f" and {len(tier) - _SHOWN} more" if len(tier) > _SHOWN else ""
            raise Invalid(f"{text!r} names {len(tier)} labels: {', '.join(tier[:_SHOWN])}{more}. Give the whole label")
    names = {name for label in there for name in names_of(label)}
    if not names:
        raise NotFound(f"no species {text!r}: the store holds no {among}")
    raise NotFound(f"no species {text!r} among the store's {among}; {did_you_mean(text, names)}")


def names_of(label: str) -> tuple[str, ...]:
    """Return the names in a label: scientific and common, or the label itself if it is one name."""
    scientific, mark, common = label.partition("_")
    return (scientific, common) if mark and scientific and common else (label,)


def _plain(text: str) -> str:
    """Return a text without what does not tell names apart."""
    same = unicodedata.normalize("NFKC", text).translate(_SAME).replace("_", " ")
    return " ".join(same.casefold().split())
