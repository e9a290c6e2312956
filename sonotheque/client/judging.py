"""Judgements: given, taken back, listed, taken out as files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sonotheque.client.base import Part
from sonotheque.client.nouns import Window
from sonotheque.client.paging import Pages, Rows
from sonotheque.core.errors import Invalid
from sonotheque.core.suggest import did_you_mean

_ONLY = ("label", "annotator", "recording", "judgement")


class Judging(Part):
    """The part of a client that judges."""

    def annotations(
        self,
        *,
        label: str | None = None,
        annotator: str | None = None,
        recording: str | None = None,
        judgement: str | None = None,
        limit: int | None = None,
    ) -> Pages[dict[str, Any]]:
        """Judgements that count, newest first."""
        params = {"label": label, "annotator": annotator, "recording": recording, "judgement": judgement}
        return self._pages("/v1/annotations", params, dict, limit)

    def annotation_labels(self) -> Rows[dict[str, Any]]:
        """Return the labels that annotators used, with how often."""
        return Rows(self._data("/v1/annotations/labels"))

    def annotate(
        self, judgements: Iterable[dict[str, Any]], *, annotator: str | None = None, provenance: str | None = None
    ) -> dict[str, Any]:
        """Add judgements, all or none; they are on disk when this returns, and nothing is doubled.

        Parameters
        ----------
        judgements : iterable of dict
            ``window_id``, or ``recording_id`` or ``path`` with ``start_s`` and ``end_s``; ``label``; ``judgement`` (positive, negative or
            uncertain); ``low_hz, high_hz, note`` if you like.
        annotator : str, optional
            Who judges; the key's name by default.
        provenance : str, optional
            Where the judgements come from.

        Returns
        -------
        dict
            ``batch`` (what :meth:`undo` takes), ``added, already, contrary, annotations``.

        Raises
        ------
        NotFound, Invalid
            If a window or recording is not there, or a value cannot be right; nothing was added then.
        """
        body: dict[str, Any] = {"annotations": list(judgements)}
        body |= {k: v for k, v in {"annotator": annotator, "provenance": provenance}.items() if v is not None}
        found: dict[str, Any] = self._transport.post("/v1/annotations", body)["data"]
        return found

    def judge(
        self,
        window: str | Window,
        label: str,
        judgement: str = "positive",
        *,
        note: str = "",
        annotator: str | None = None,
        provenance: str | None = None,
    ) -> dict[str, Any]:
        """Judge one window; see :meth:`annotate`."""
        window_id = window.window_id if isinstance(window, Window) else window
        one = {"window_id": window_id, "label": label, "judgement": judgement, "note": note}
        return self.annotate([one], annotator=annotator, provenance=provenance)

    def undo(
        self,
        *,
        batch: int | None = None,
        annotation_id: int | None = None,
        last: bool = False,
        annotator: str | None = None,
    ) -> dict[str, Any]:
        """Undo a batch, one judgement, or the annotator's newest batch; an undo can be undone."""
        given = {"batch": batch, "annotation_id": annotation_id, "last": last or None, "annotator": annotator}
        body = {k: v for k, v in given.items() if v is not None}
        found: dict[str, Any] = self._transport.post("/v1/annotations/undo", body)["data"]
        return found

    def feedback(
        self,
        window: str | Window,
        label: str,
        verdict: str,
        *,
        kind: str = "search",
        name: str | None = None,
        version: int | None = None,
        score: float | None = None,
        comment: str | None = None,
        listener: str | None = None,
    ) -> dict[str, Any]:
        """Say whether an answer was ``right``, ``wrong`` or ``unsure``: it becomes a judgement that names the answer.

        Parameters
        ----------
        window : str or Window
        label : str
        verdict : str
        kind : str
            Of the answer: ``search``, ``prediction`` or ``probe``; ``name``, ``version`` and ``score`` tell more of it.
        comment, listener : str, optional
        """
        window_id = window.window_id if isinstance(window, Window) else window
        source = {
            k: v for k, v in {"kind": kind, "name": name, "version": version, "score": score}.items() if v is not None
        }
        given = {
            "window_id": window_id,
            "label": label,
            "verdict": verdict,
            "source": source,
            "comment": comment,
            "listener": listener,
        }
        body = {k: v for k, v in given.items() if v is not None}
        found: dict[str, Any] = self._transport.post("/v1/feedback", body)["data"]
        return found

    def export(self, target: str | Path, form: str = "csv", **only: Any) -> int:
        """Write judgements to a file as they come; return its bytes.

        Parameters
        ----------
        target : path
        form : str
            ``csv``, ``json``, or a ZIP file of ``raven`` or ``audacity`` tables.
        **only
            ``label, annotator, recording, judgement``: of judgements, not the filter of windows.

        Raises
        ------
        Invalid
            If there is no such name, or no such form.
        """
        for name in only:
            if name not in _ONLY:
                raise Invalid(f"judgements cannot be chosen by {name!r}; {did_you_mean(name, _ONLY)}")
        written = 0
        wanted = {**only, "form": form}
        with self._transport.stream("GET", "/v1/annotations/export", wanted) as answer, open(target, "wb") as file:
            for piece in answer.iter_bytes():
                written += file.write(piece)
        return written
