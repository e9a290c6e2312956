"""Search by sound, and what is singing in one."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonotheque.client.asking import filter_json, filter_params
from sonotheque.client.base import Part, in_path
from sonotheque.client.faults import not_ours
from sonotheque.client.nouns import Identified, SearchResult, Window
from sonotheque.client.paging import Rows
from sonotheque.client.transport import Sound
from sonotheque.core.errors import Invalid


class Searching(Part):
    """The part of a client that sends sounds."""

    def search(
        self,
        sound: Sound | None = None,
        *,
        clip: str | None = None,
        window: str | Window | None = None,
        vector: NDArray[Any] | Sequence[float] | None = None,
        from_s: float | None = None,
        to_s: float | None = None,
        k: int | None = None,
        combine: str | None = None,
        without: Sequence[str] = (),
        best_per: str | None = None,
        distinct: float | None = None,
        exact: bool | None = None,
        recall: float | None = None,
        own_recording: bool | None = None,
        near_score: float | None = None,
        per_bin: int | None = None,
        bins: Sequence[float] = (),
        seed: int | None = None,
        **filters: Any,
    ) -> SearchResult:
        """Find where else something occurs.

        Parameters
        ----------
        sound : path, file or bytes, optional
            A sound to search for; sent as it is read. Or one of the three that follow.
        clip : str, optional
            Id of an uploaded clip.
        window : str or Window, optional
            A window of the archive.
        vector : (dim,) or (m, dim), optional
            Of the archive's model.
        from_s, to_s : float, optional
            The part of the sound or clip to search for.
        k, combine, without, best_per, distinct, exact, recall, own_recording, near_score, per_bin, bins, seed
            As ``sonotheque search``.
        **filters
            Fields of :class:`sonotheque.core.filters.SearchFilter`: ``sites, date_from, hours, label, annotated`` and so on.

        Returns
        -------
        SearchResult
            A list of :class:`Hit`, best first.

        Raises
        ------
        Invalid
            If not one thing is searched for, or a filter or option cannot be.
        """
        options = {
            "k": k,
            "combine": combine,
            "without": list(without) or None,
            "best_per": best_per,
            "distinct": distinct,
            "exact": exact,
            "recall": recall,
            "own_recording": own_recording,
            "near_score": near_score,
            "per_bin": per_bin,
            "bins": list(bins) or None,
            "seed": seed,
        }
        wanted = {
            "clip": clip,
            "window": _id(window),
            "vector": None if vector is None else np.asarray(vector).tolist(),
        }
        _one({"sound": sound, **wanted})
        span = {"from_s": from_s, "to_s": to_s}
        if sound is not None:
            params = {**filter_params(filters), **options, **span}
            body = self._transport.told(self._transport.upload("/v1/search", sound, params))
        else:
            given = {k: v for k, v in {**wanted, **options, **span}.items() if v is not None}
            body = self._transport.post("/v1/search", {**given, "filter": filter_json(filters)})
        return SearchResult(body["data"], body["meta"]["notes"])

    def identify(
        self,
        sound: Sound | None = None,
        *,
        clip: str | None = None,
        window: str | Window | None = None,
        from_s: float | None = None,
        to_s: float | None = None,
        top_k: int = 5,
        probes: str | Sequence[str] = "all",
    ) -> Identified:
        """Tell what is singing: the model's classes and the probes' scores; one of ``sound``, ``clip`` and ``window`` is given.

        ``probes``: ``all`` in use, ``none``, or names; an empty list is ``none``.
        """
        names = (
            [probes] if isinstance(probes, str) else list(probes) or ["none"]
        )  # a parameter without values would not be sent
        params = {"top_k": top_k, "probes": names}
        body = self._sounding("/v1/identify", sound, {"clip": clip, "window": _id(window)}, from_s, to_s, params)
        return Identified(body["data"]["windows"], Rows(body["data"]["summary"]), body["meta"]["notes"])

    def embed(self, sound: Sound, *, from_s: float | None = None, to_s: float | None = None) -> NDArray[np.float32]:
        """Return a sound's vectors, float32 (windows, dim), as the archive's own are made; needs the scope ``embed``."""
        params = {"form": "npy", "from_s": from_s, "to_s": to_s}
        answer = self._transport.upload("/v1/embed", sound, params)
        try:
            found: NDArray[np.float32] = np.load(io.BytesIO(answer.content), allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            told = answer.headers.get("content-type", "")
            raise not_ours(self._transport.url, answer.status_code, told, "a NumPy file") from error
        return found

    def classify(
        self,
        probe: str,
        sound: Sound | None = None,
        *,
        clip: str | None = None,
        windows: Sequence[str | Window] | None = None,
        from_s: float | None = None,
        to_s: float | None = None,
        version: int | None = None,
    ) -> dict[str, Any]:
        """Return what a probe says of a sound, a clip or windows of the archive."""
        ids = None if windows is None else [_id(one) for one in windows]
        path = f"/v1/probes/{in_path(probe, 'name of a probe')}/classify"
        found: dict[str, Any] = self._sounding(
            path, sound, {"clip": clip, "windows": ids}, from_s, to_s, {"version": version}, named=False
        )["data"]
        return found

    def _sounding(
        self,
        path: str,
        sound: Sound | None,
        wanted: dict[str, Any],
        from_s: float | None,
        to_s: float | None,
        params: dict[str, Any],
        *,
        named: bool = True,
    ) -> Any:
        _one({"sound": sound, **wanted})
        span = {"from_s": from_s, "to_s": to_s}
        if sound is not None:
            return self._transport.told(self._transport.upload(path, sound, {**params, **span}, named=named))
        given = {k: v for k, v in {**wanted, **span}.items() if v is not None}
        return self._transport.post(path, given, params)


def _id(window: str | Window | None) -> str | None:
    return window.window_id if isinstance(window, Window) else window


def _one(given: dict[str, Any]) -> None:
    names = [name for name, value in given.items() if value is not None]
    if len(names) != 1:
        raise Invalid(f"give one of {', '.join(given)}" + (f", not {' and '.join(names)}" if names else ""))
