"""From a table's words to annotations: which recording a path means, and whether a span lies in it.

A path is looked up as it is; then by its last parts, the longest match wins; and only if that finds nothing, without regard to
case and to how accents are encoded. A path that could mean two recordings is refused, never decided.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import pyarrow as pa

from sonotheque.core.errors import Invalid, NotFound
from sonotheque.core.suggest import did_you_mean
from store.annotations.annotation import Annotation
from store.annotations.formats.raw import RawAnnotation

_NAMED_MAX = 5  # recordings named in a message
_NEAR_MAX = 2_000  # names that near ones are looked for among
EXACT, BY_PARTS, BY_NAME, FOLDED = "exact path", "last parts of the path", "file name alone", "without regard to case"
HOW: Final = (EXACT, BY_PARTS, BY_NAME, FOLDED)


@dataclass(frozen=True, slots=True)
class Place:
    """A recording, as far as annotations need it. ``duration_s``: None if not known."""

    recording_id: int
    path: str
    duration_s: float | None


@dataclass(slots=True)
class Resolved:
    """Annotations with their recordings.

    Attributes
    ----------
    annotations : list of Annotation
    raws : list of RawAnnotation
        The row that each was made of.
    how : Counter
        How their recordings were found, by the words of ``HOW``.
    cut : int
        Spans that reached a little past the end, and were cut there.
    unknown : dict of str to int
        Recordings that are not in the store -> rows left out.
    """

    annotations: list[Annotation] = field(default_factory=list)
    raws: list[RawAnnotation] = field(default_factory=list)
    how: Counter[str] = field(default_factory=Counter)
    cut: int = 0
    unknown: Counter[str] = field(default_factory=Counter)


class RecordingIndex:
    """Finds recordings by what tables call them.

    Parameters
    ----------
    recordings : pyarrow.Table
        With ``recording_id``, ``path`` and ``duration_s``.
    """

    def __init__(self, recordings: pa.Table) -> None:
        self._ids, paths, self._lengths_s = (
            recordings[name].to_pylist() for name in ("recording_id", "path", "duration_s")
        )
        self._rows = {path: row for row, path in enumerate(paths)}

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        return _grouped(self._rows, str)

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        return _grouped(self._rows, _stem)

    @cached_property
    def _folded(self) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        return _grouped(self._rows, _fold), _grouped(self._rows, lambda name: _fold(_stem(name)))

    def _place(self, path: str) -> Place:
        row = self._rows[path]
        return Place(self._ids[row], path, self._lengths_s[row])

    def find(self, text: str, *, named_after: bool = False) -> tuple[Place, str] | None:
        """Return the recording that a path means, and how it was found; None if there is none.

        Parameters
        ----------
        text : str
            With ``/`` or ``\\``, absolute or not, of this machine or another.
        named_after : bool
            The path may lack the recording's ending.

        Raises
        ------
        Invalid
            (``ambiguous_recording``) If it could mean more than one.
        """
        if text in self._rows:
            return self._place(text), EXACT
        spellings = list(dict.fromkeys((tuple(_parts(text)), tuple(_parts(text.replace("\\", "/"))))))
        for parts in spellings:
            if found := self._longest(text, parts, named_after=named_after, fold=False):
                return found
        for parts in spellings:
            if found := self._longest(text, parts, named_after=named_after, fold=True):
                return found
        return None

    def near(self, text: str) -> str:
        """Return a hint for a path that no recording has."""
        parts = _parts(text.replace("\\", "/")) or [text]
        name = parts[-1]
        few = len(self._rows) <= _NEAR_MAX
        names = [n for n in self._by_name if few or n[:6] == name[:6]][:_NEAR_MAX]
        for tail, known in (("/".join(parts[-3:]), self._rows if few else ()), (name, names)):
            if (hint := did_you_mean(tail, known)).startswith("did you mean"):
                return hint
        return "no recording has a name like it"

    def _longest(self, text: str, parts: Sequence[str], *, named_after: bool, fold: bool) -> tuple[Place, str] | None:
        if not parts:
            return None
        change = _fold if fold else str
        asked = [change(part) for part in parts]
        candidates = (self._folded[0] if fold else self._by_name).get(asked[-1], [])
        if named_after and not candidates:
            candidates = (self._folded[1] if fold else self._by_stem).get(asked[-1], [])
        if not candidates:
            return None
        # All share the name, or the stem: how many folders before it agree as well?
        shared = {path: _agreeing([change(p) for p in path.split("/")[:-1]], asked[:-1]) for path in candidates}
        best = max(shared.values())
        found = [path for path, n in shared.items() if n == best]
        if len(found) > 1:
            shown = ", ".join(sorted(found)[:_NAMED_MAX]) + (" ..." if len(found) > _NAMED_MAX else "")
            raise Invalid(
                f"{text!r} could mean {len(found):,} recordings: {shown}. Give the table paths with enough folders to tell them apart",
                kind="ambiguous_recording",
            )
        return self._place(found[0]), FOLDED if fold else BY_PARTS if best else BY_NAME


def resolve(
    raws: Iterable[RawAnnotation], index: RecordingIndex, *, judgement: str = "positive", skip_unknown: bool = False
) -> Resolved:
    """Look up the recordings of a table's rows, and check the spans against them.

    Parameters
    ----------
    raws : iterable of RawAnnotation
    index : RecordingIndex
    judgement : str
        For rows that do not say.
    skip_unknown : bool
        Leave out rows of recordings that are not in the store, and count them; by default they are an error.

    Raises
    ------
    NotFound
        (``unknown_recording``) Naming the recordings that are not in the store, with near names.
    Invalid
        If a path could mean two recordings, a span ends after its recording, or a value cannot be right; file and line are named.
    """
    out = Resolved()
    known: dict[tuple[str, bool], tuple[Place, str] | None] = {}
    first: dict[str, RawAnnotation] = {}
    for raw in raws:
        asked = (raw.recording, raw.named_after)
        try:
            if asked not in known:
                known[asked] = index.find(raw.recording, named_after=raw.named_after)
            found = known[asked]
            if found is None:
                out.unknown[raw.recording] += 1
                first.setdefault(raw.recording, raw)
                continue
            place, how = found
            end_s = _cut(raw, place)
            made = Annotation(
                place.recording_id,
                place.path,
                raw.start_s,
                end_s,
                raw.label,
                raw.judgement or judgement,
                raw.low_hz,
                raw.high_hz,
                raw.note,
            )
        except Invalid as error:
            kind = "invalid_table" if error.kind == "invalid" else error.kind
            raise Invalid(f"{raw.file}, line {raw.line}: {error.message}", kind=kind) from None
        out.annotations.append(made)
        out.raws.append(raw)
        out.how[how] += 1
        out.cut += end_s != raw.end_s
    if out.unknown and not skip_unknown:
        raise _unknown(out.unknown, first, index)
    return out


def _cut(raw: RawAnnotation, place: Place) -> float:
    """Return the span's end, at most the recording's."""
    length_s = place.duration_s
    if not length_s or raw.end_s <= length_s:  # a length of 0 is that of a file that could not be read
        return raw.end_s
    if raw.start_s >= length_s or raw.end_s - length_s > raw.slack_s:
        raise Invalid(
            f"the span {raw.start_s:g} to {raw.end_s:g} s ends after the recording {place.path}, which lasts {length_s:.3f} s. Times "
            "count from the recording's start; in a Raven table over several files that takes the column File Offset (s)"
        )
    return length_s


def _unknown(unknown: Counter[str], first: dict[str, RawAnnotation], index: RecordingIndex) -> NotFound:
    rows = sum(unknown.values())
    shown = []
    for name in list(unknown)[:_NAMED_MAX]:
        raw = first[name]
        what = "is named after no recording of the store" if raw.named_after else "is no recording of the store"
        shown.append(f"{raw.file}, line {raw.line}: {name!r} {what}; {index.near(name)}")
    more = f" ... and {len(unknown) - len(shown):,} more." if len(unknown) > len(shown) else ""
    return NotFound(
        f"{'; '.join(shown)}{more} Nothing was imported; --skip-unknown leaves out these {rows:,} rows of {len(unknown):,} "
        f"recording{'s' if len(unknown) > 1 else ''}",
        kind="unknown_recording",
    )


def _parts(text: str) -> list[str]:
    return [part for part in text.split("/") if part not in ("", ".")]


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


def _grouped(paths: Iterable[str], key: Callable[[str], str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        groups[key(path.rpartition("/")[2])].append(path)
    return dict(groups)


def _agreeing(folders: Sequence[str], asked: Sequence[str]) -> int:
    """Return how many last folders of two paths are the same."""
    n = 0
    for mine, theirs in zip(reversed(folders), reversed(asked), strict=False):
        if mine != theirs:
            break
        n += 1
    return n
