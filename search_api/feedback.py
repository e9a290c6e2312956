"""Feedback: a listener says whether an answer was right. It becomes a judgement like any other, and says what it was about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from search_api.judging import Judgement, add_judgements
from sonotheque.core.errors import Invalid
from sonotheque.core.suggest import did_you_mean
from store import Archive

VERDICTS: Final = {"right": "positive", "wrong": "negative", "unsure": "uncertain"}
"""What a listener says -> the judgement that it is."""
SOURCES: Final = ("search", "prediction", "probe")


@dataclass(frozen=True, slots=True)
class FeedbackSource:
    """What made the answer that is judged.

    Attributes
    ----------
    kind : str
        ``search``, ``prediction`` or ``probe``.
    name : str or None
        Of the probe, the model, or the query.
    version : str or None
    score : float or None
        That the answer had.

    Raises
    ------
    Invalid
        If the kind is none of these.
    """

    kind: str
    name: str | None = None
    version: str | None = None
    score: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in SOURCES:
            raise Invalid(f"source {self.kind!r}: {did_you_mean(self.kind, SOURCES)}")

    @property
    def provenance(self) -> str:
        """Where the judgement comes from, in words: ``feedback: probe owls, version 3, score 0.83``."""
        parts = [f"{self.kind} {self.name}" if self.name else self.kind]
        parts += [f"version {self.version}"] if self.version else []
        parts += [f"score {self.score:.6g}"] if self.score is not None else []
        return f"feedback: {', '.join(parts)}"


def give_feedback(
    archive: Archive,
    window: str,
    label: str,
    verdict: str,
    source: FeedbackSource,
    *,
    listener: str,
    comment: str = "",
    provenance: str | None = None,
) -> dict[str, Any]:
    """Keep what a listener says of a window; on disk when this returns.

    Parameters
    ----------
    archive : Archive
    window : str
        Its id.
    label : str
        What was said to be there.
    verdict : str
        ``right``, ``wrong`` or ``unsure``.
    source : FeedbackSource
    listener : str
        Who judges.
    comment : str
    provenance : str, optional
        Where the judgement comes from; what the source says of itself by default.

    Returns
    -------
    dict
        As :func:`search_api.judging.add_judgements`.

    Raises
    ------
    NotFound
        If there is no such window.
    Invalid
        If a value cannot be right.
    """
    if verdict not in VERDICTS:
        raise Invalid(f"verdict {verdict!r}: {did_you_mean(verdict, VERDICTS)}")
    said = Judgement(label, window_id=window, judgement=VERDICTS[verdict], note=comment.strip())
    return add_judgements(archive, [said], annotator=listener, provenance=provenance or source.provenance)
