"""Detectors of a served archive: trained from what was judged, reported, promoted, applied, reviewed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sonotheque.client.asking import filter_params
from sonotheque.client.base import Part, in_path
from sonotheque.client.jobs import AWAY_S, Jobs, Told
from sonotheque.client.nouns import Hit, Job
from sonotheque.client.paging import Pages, Rows
from sonotheque.client.transport import Transport


class ReviewQueue(Rows[Hit]):
    """Windows to judge next.

    Attributes
    ----------
    review : str
        Provenance to judge them with.
    more : dict
        All else that the answer tells.
    """

    def __init__(self, data: dict[str, Any]) -> None:
        super().__init__([Hit.of(one) for one in data["to_judge"]])
        self.review: str = data["review"]
        self.more = {key: value for key, value in data.items() if key != "to_judge"}


class Probes(Part):
    """Probes of a service.

    Parameters
    ----------
    transport : Transport
    jobs : Jobs
    """

    def __init__(self, transport: Transport, jobs: Jobs) -> None:
        super().__init__(transport)
        self._jobs = jobs

    def list(self) -> Rows[dict[str, Any]]:
        """Return all probes, each by its version in use."""
        return Rows(self._data("/v1/probes"))

    def get(self, name: str) -> dict[str, Any]:
        """Return a probe with its versions, and which was in use when."""
        return self._dict(_path(name))

    def train(
        self,
        name: str,
        *,
        classes: Sequence[str] = (),
        experiment: dict[str, Any] | None = None,
        wait: bool = True,
        progress: Told | None = None,
        away_s: float = AWAY_S,
    ) -> Job:
        """Train a new version from what was judged.

        Parameters
        ----------
        name : str
        classes : sequence of str
            Labels to learn; all that were judged by default.
        experiment : dict, optional
            Settings, with the keys of an experiment's YAML.
        wait : bool
            Return when it has ended; else at once.
        progress : callable, optional
            Called with every :class:`sonotheque.client.JobEvent` meanwhile.
        away_s : float
            As of :meth:`sonotheque.client.jobs.Jobs.wait`.

        Raises
        ------
        SonothequeError
            Why the training failed, if it was waited for.
        """
        job = self._jobs.submit("train", probe=name, classes=list(classes) or None, experiment=experiment)
        return self._jobs.wait(job, progress, away_s=away_s) if wait else job

    def apply(
        self,
        names: str | Sequence[str] = "all",
        *,
        floor: float | None = None,
        wait: bool = True,
        progress: Told | None = None,
        away_s: float = AWAY_S,
    ) -> Job:
        """Score every window by probes, all in use by default; what is scored already is not read again."""
        chosen = names if names == "all" else [names] if isinstance(names, str) else list(names)
        job = self._jobs.submit("apply", probes=chosen, floor=floor)
        return self._jobs.wait(job, progress, away_s=away_s) if wait else job

    def report(self, name: str, version: int | None = None) -> dict[str, Any]:
        """Return one version with the report of its training; the newest by default."""
        number = version or max(self.get(name)["versions"])
        return self._dict(f"{_path(name)}/versions/{number}")

    def report_page(self, name: str, version: int) -> str:
        """Return the report as an HTML page that opens anywhere."""
        return self._transport.send("GET", f"{_path(name)}/versions/{version}/report").text

    def compare(self, name: str, a: int, b: int) -> dict[str, Any]:
        """Judge two versions by the same windows, which neither has learnt from."""
        return self._dict(f"{_path(name)}/compare", {"a": a, "b": b})

    def promote(self, name: str, version: int, why: str = "", *, force: bool = False) -> dict[str, Any]:
        """Take a version into use; Conflict if it is not better than the one that is."""
        body = {"version": version, "why": why, "force": force}
        found: dict[str, Any] = self._transport.post(f"{_path(name)}/promote", body)["data"]
        return found

    def rollback(self, name: str, why: str = "") -> dict[str, Any]:
        """Take the version into use again that was before."""
        found: dict[str, Any] = self._transport.post(f"{_path(name)}/rollback", {"why": why})["data"]
        return found

    def histogram(self, name: str, label: str | None = None, *, bins: int = 50, **filters: Any) -> dict[str, Any]:
        """Return how the scores of one class are spread, with the judged windows and the threshold."""
        found: dict[str, Any] = self._data(
            f"{_path(name)}/histogram", {**_filters(filters), "label": label, "bins": bins}
        )
        return found

    def review(
        self, name: str, how: str = "uncertain", *, k: int | None = None, label: str | None = None, **filters: Any
    ) -> ReviewQueue:
        """Choose windows to judge next: ``uncertain, top, margin`` or ``bins``; judge them with ``review`` as provenance."""
        more: dict[str, Any] = {key: filters.pop(key) for key in ("version", "bins", "seed") if key in filters}
        return ReviewQueue(
            self._data(f"{_path(name)}/review", {**_filters(filters), **more, "how": how, "k": k, "label": label})
        )

    def hits(
        self,
        name: str,
        label: str | None = None,
        *,
        threshold: float | None = None,
        best_per: str | None = None,
        version: int | None = None,
        limit: int | None = None,
        **filters: Any,
    ) -> Pages[Hit]:
        """What a probe found, best first; it must have been applied."""
        own = {"label": label, "threshold": threshold, "best_per": best_per, "version": version}
        return self._pages(f"{_path(name)}/hits", {**_filters(filters), **own}, Hit.of, limit)


def _filters(given: dict[str, Any]) -> dict[str, Any]:
    """Return filters as an address has them; ``species`` is a class of the model, since ``label`` is one of the probe here."""
    species = given.pop("species", None)
    return {**filter_params(given), "species": species}


def _path(name: str) -> str:
    return f"/v1/probes/{in_path(name, 'name of a probe')}"
