"""What the archive holds: windows, recordings, sites, species, and SQL over all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sonotheque.client.asking import filter_params
from sonotheque.client.base import Part, in_path
from sonotheque.client.nouns import Prediction, SqlResult, Window
from sonotheque.client.paging import Pages, Rows


class Browsing(Part):
    """The part of a client that looks through the archive."""

    def info(self) -> dict[str, Any]:
        """Return what the service holds and offers, what you may do, and its bounds."""
        return self._dict("/v1")

    def windows(self, *, limit: int | None = None, **filters: Any) -> Pages[Window]:
        """Windows that a filter means, by site and time."""
        return self._pages("/v1/windows", filter_params(filters), Window.of, limit)

    def window(self, window_id: str) -> dict[str, Any]:
        """Return one window with predictions, scores, judgements, neighbours and its recording."""
        return self._dict(f"/v1/windows/{in_path(window_id, 'window id')}")

    def recordings(self, *, limit: int | None = None, **filters: Any) -> Pages[dict[str, Any]]:
        """Recordings by site and time, those that failed too."""
        return self._pages("/v1/recordings", filter_params(filters), dict, limit)

    def recording(self, recording_id: str, *, score_min: float | None = None) -> dict[str, Any]:
        """Return one recording with what was heard in it."""
        return self._dict(f"/v1/recordings/{in_path(recording_id, 'recording id')}", {"score_min": score_min})

    def timeline(self, recording_id: str, *, top: int = 3) -> dict[str, Any]:
        """Return a recording's windows along its time."""
        return self._dict(f"/v1/recordings/{in_path(recording_id, 'recording id')}/timeline", {"top": top})

    def predictions(self, *, limit: int | None = None, **filters: Any) -> Pages[Prediction]:
        """Classes of the model that a filter means, a window and a class a row."""
        return self._pages("/v1/predictions", filter_params(filters), Prediction.of, limit, 1000)

    def scores(
        self,
        probe: str | None = None,
        label: str | None = None,
        min_score: float | None = None,
        *,
        limit: int | None = None,
        **filters: Any,
    ) -> Pages[Prediction]:
        """What the probes in use said of the windows that a filter means."""
        params = {**filter_params(filters), "probe": probe, "label": label, "min": min_score}
        return self._pages("/v1/scores", params, Prediction.of, limit, 1000)

    def sites(self) -> Rows[dict[str, Any]]:
        """Return the sites with place and effort."""
        return Rows(self._data("/v1/sites"))

    def effort(self, **filters: Any) -> dict[str, Any]:
        """Return the sound that was analysed in each hour of each local date."""
        return self._dict("/v1/effort", filter_params(filters))

    def species(self, *, limit: int = 500, per_site: bool = False, **filters: Any) -> Rows[dict[str, Any]]:
        """Return the species that were found, most windows first."""
        params = {**filter_params(filters), "limit": limit, "per_site": per_site}
        return Rows(self._data("/v1/species", params))

    def activity(self, *labels: str, by: str = "cell", **filters: Any) -> dict[str, Any]:
        """Return when species were heard, by local date and hour, beside how much was recorded."""
        return self._dict("/v1/activity", {**filter_params(filters), "label": list(labels), "by": by})

    def labels(self, q: str = "", *, limit: int = 50) -> Rows[dict[str, Any]]:
        """Return the labels of model, annotators and probes that have a text in any of their names."""
        return Rows(self._data("/v1/labels", {"q": q, "limit": limit}))

    def index(self) -> dict[str, Any]:
        """Return the state of the search index."""
        return self._dict("/v1/index")

    def snapshots(self) -> Rows[dict[str, Any]]:
        """Return the archive's numbered states."""
        return Rows(self._data("/v1/snapshots"))

    def sql(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> SqlResult:
        """Run one SELECT over the archive's views; needs a service that was started with it, and the scope ``sql``.

        Parameters
        ----------
        query : str
            ``?`` or ``$name`` mark parameters.
        parameters : list or dict, optional
        """
        given: Any = (
            dict(parameters) if isinstance(parameters, Mapping) else None if parameters is None else list(parameters)
        )
        return SqlResult(self._transport.post("/v1/sql", {"query": query, "parameters": given})["data"])
