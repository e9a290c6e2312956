"""Deployments: one recorder at one site for one period, matched by place in the archive and by time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from sonotheque.core.clock import ClockReading
from sonotheque.core.recording import RecordingTime


@dataclass(frozen=True, slots=True)
class Deployment:
    """One row of the table.

    Attributes
    ----------
    id : str
        Unique in the table.
    site : str
        Empty if the table does not say.
    latitude, longitude : float or None
        Degrees.
    start, end : ClockReading or None
        First and last moment, both included; in UTC terms if they have an offset, else by the site's wall clock.
        An ``end`` that is a date alone is the end of that day.
    zone, clock_zone : ZoneInfo or None
        The site's zone, and the zone the recorder's clock was set to.
    folder, prefix : str
        Where its files are, if not in a folder (or under a prefix) called like the deployment. Without either, a folder called
        like its site is looked at too, for files that no deployment is nearer to.
    recorder, model : str
        Device id and type.
    line : int
        In the table's file.
    """

    id: str
    site: str = ""
    latitude: float | None = None
    longitude: float | None = None
    start: ClockReading | None = None
    end: ClockReading | None = None
    zone: ZoneInfo | None = None
    clock_zone: ZoneInfo | None = None
    folder: str = ""
    prefix: str = ""
    recorder: str = ""
    model: str = ""
    line: int = 0

    def holds(self, time: RecordingTime) -> bool:
        """Whether a time lies in the period; a bound and a time that cannot be compared do not exclude each other."""
        after = _compare(time, self.start)
        before = _compare(time, self.end)
        return (after is None or after >= timedelta(0)) and (before is None or before <= timedelta(0))


class Match(NamedTuple):
    """The deployment of a file, or None and why: a word of ``times.ISSUES``."""

    deployment: Deployment | None
    issue: str


class DeploymentTable:
    """All deployments, with a count of the files that each one got.

    Parameters
    ----------
    deployments : iterable of Deployment
    """

    def __init__(self, deployments: Iterable[Deployment]) -> None:
        self.deployments = tuple(deployments)
        self._matched: set[str] = set()
        self._by_place: dict[str, list[Deployment]] = {}
        self._by_site: dict[str, list[Deployment]] = {}
        for deployment in self.deployments:
            if not deployment.folder and not deployment.prefix:
                for name in {deployment.id, deployment.site} - {""}:
                    self._by_site.setdefault(name, []).append(deployment)
            for place in {deployment.id, deployment.folder, deployment.prefix} - {""}:
                self._by_place.setdefault(place, []).append(deployment)

    @property
    def places(self) -> frozenset[str]:
        """Every name that can be a folder or begin a file's name."""
        return frozenset({*self._by_place, *self._by_site})

    def match(
        self,
        path: str,
        time: RecordingTime | Callable[[Deployment], RecordingTime] | None = None,
        prefix: str = "",
        site: str = "",
    ) -> Match:
        """Return the deployment of a file.

        Parameters
        ----------
        path : str
            Relative to the archive's root, ``/`` between parts.
        time : RecordingTime or callable, optional
            When it starts; a callable gets a deployment and may use its zone.
        prefix : str
            Of the file's name, if known.
        site : str
            What its site is called so far, if that is known: a place like a folder.
        """
        places = self.candidates(path, prefix, site)
        inside: list[tuple[int, Deployment, bool]] = []
        for depth, deployment in places:
            when = time(deployment) if callable(time) else time or RecordingTime()
            if deployment.holds(when):
                inside.append((depth, deployment, when.local_start is not None))
        found = choose(places, inside)
        if found.deployment is not None:
            self._matched.add(found.deployment.id)
        return found

    def unused(self) -> tuple[Deployment, ...]:
        """Return the deployments that no file has matched so far."""
        return tuple(d for d in self.deployments if d.id not in self._matched)

    def candidates(self, path: str, prefix: str = "", site: str = "") -> list[tuple[int, Deployment]]:
        """Return the deployments of a place, each with how exactly the place is named (larger is more exact).

        Parameters
        ----------
        path, prefix, site : str
            As in :meth:`match`.
        """
        *folders, base = path.split("/")
        names = [(depth, folder) for depth, folder in enumerate(folders, 1)]
        names += [(depth, "/".join(folders[:depth])) for depth in range(2, len(folders) + 1)]
        words = base.split("_")
        deepest = len(folders) + 1
        names += [(deepest, name) for name in {prefix, *("_".join(words[:n]) for n in range(1, len(words)))} - {""}]
        return _deepest(names, self._by_place) or _deepest([(0, site), *names], self._by_site)


def choose(places: Sequence[object], inside: Sequence[tuple[int, Deployment, bool]]) -> Match:
    """Return the deployment of a file, given those of its place and those of them whose period it lies in.

    Parameters
    ----------
    places : sequence
        Empty: none has this place.
    inside : sequence of (int, Deployment, bool)
        How exactly the place is named, the deployment, and whether the file's time was known.
    """
    if not inside:
        return Match(None, "outside_deployments" if places else "no_deployment")
    best = max(depth for depth, _, _ in inside)
    nearest = [deployment for depth, deployment, _ in inside if depth == best]
    # Without a time, two deployments at one place cannot be told apart, however they are named.
    if len(nearest) > 1 or (len(inside) > 1 and not all(sure for _, _, sure in inside)):
        return Match(None, "several_deployments")
    return Match(nearest[0], "")


def _deepest(names: Iterable[tuple[int, str]], places: dict[str, list[Deployment]]) -> list[tuple[int, Deployment]]:
    found: dict[str, tuple[int, Deployment]] = {}
    for depth, name in names:
        for deployment in places.get(name, ()):
            if deployment.id not in found or found[deployment.id][0] < depth:
                found[deployment.id] = (depth, deployment)
    return list(found.values())


def _compare(time: RecordingTime, bound: ClockReading | None) -> timedelta | None:
    """Return how long after a bound a time is; None if the two cannot be compared."""
    if bound is None:
        return None
    at: datetime | None
    if bound.offset_min is not None:
        at, limit = time.utc_start, bound.utc
    else:
        at, limit = time.local_start, bound.start
    return None if at is None or limit is None else at - limit
