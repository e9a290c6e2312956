"""What an answer is of: which store, snapshot and model, and which choice of windows. Every answer carries it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sonotheque.core.errors import Invalid
from sonotheque.core.filters import SearchFilter
from store import Archive

# Where a sigmoid says yes rather than no, whatever the model: one figure for all, said with every answer. BirdNET's own
# tools keep from 0.25 on, for a person to look through; counts that nobody looks through should be stricter.
SCORE_MIN_DEFAULT: Final = 0.5
# What is asked of predictions or of single windows, and means nothing for whole recordings.
_OF_WINDOWS: Final = {
    "label": "--species",
    "score_min": "--min-score",
    "score_max": "--max-score",
    "rank_max": "--max-rank",
    "sun": "--sun",
    "annotated": "--annotated",
    "annotation_label": "--annotation-label",
    "judgement": "--judgement",
    "valid_min_s": "--min-valid-s",
}


@dataclass(frozen=True, slots=True)
class About:
    """The source of an answer.

    Attributes
    ----------
    store : str
        Its folder.
    snapshot : int
    model : str
        Name of the model.
    filter : dict
        As ``SearchFilter.to_json`` gives it.
    damaged : dict
        Part files that were left out on request -> why.
    """

    store: str
    snapshot: int
    model: str
    filter: dict[str, Any]
    damaged: dict[str, str]

    @classmethod
    def of(cls, archive: Archive, wanted: SearchFilter) -> About:
        """Return the source of an answer about an archive."""
        name = archive.config.model.name
        return cls(archive.root, archive.snapshot.number, name, wanted.to_json(), dict(archive.damaged))

    def to_json(self) -> dict[str, Any]:
        """Return the fields; ``damaged`` only if something was left out."""
        out = {"store": self.store, "snapshot": self.snapshot, "model": self.model, "filter": self.filter}
        return {**out, "damaged": self.damaged} if self.damaged else out

    def filter_text(self, *, without: tuple[str, ...] = ()) -> str:
        """Return the filter for people, such as ``sites forest, hours 04:00-06:30``; empty if it chooses nothing."""
        parts = []
        for name, value in self.filter.items():
            if name not in without:
                said = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
                parts.append(f"{name.replace('_', ' ')} {said}")
        return "; ".join(parts)


def require_recordings_only(wanted: SearchFilter, verb: str) -> None:
    """Refuse a filter that asks of windows what whole recordings cannot answer.

    Raises
    ------
    Invalid
        Names the flag.
    """
    given = wanted.to_json()
    for field, flag in _OF_WINDOWS.items():
        if field in given:
            raise Invalid(
                f"{flag}: {verb} is about recordings, and {flag} chooses windows; it takes --site, --deployment, --recording, "
                "--from, --to, --month and --hours (`sonotheque activity` and `species` take the others)"
            )
