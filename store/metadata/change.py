"""What people can say of places, clocks and deployments after recordings were embedded: one noun for each kind of change."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, ClassVar, Final

from sonotheque.core.clock import load_zone, parse_iso
from sonotheque.core.deployments import Deployment
from sonotheque.core.errors import Invalid
from sonotheque.core.site import clean_site

KEEP: Final = ("auto", "clock", "instant")


@dataclass(frozen=True, slots=True)
class SiteChange:
    """A site's name, zone or coordinates, put right.

    Attributes
    ----------
    site : str
        As it is called before this change.
    rename : str or None
        The name from now on; that of another site joins the two.
    zone : str or None
        IANA name.
    keep : str
        What a new zone leaves as it is: ``clock``, what the recorder's clock showed (UTC follows from the zone), or ``instant``,
        UTC as it was so far (local time follows). ``auto``: ``clock`` where only a clock was read, ``instant`` where the source
        had an offset; see :mod:`store.metadata.readings`.
    latitude, longitude : float or None
        Degrees; both or neither.

    Raises
    ------
    Invalid
        If a value cannot be right, or nothing is changed.
    """

    kind: ClassVar[str] = "site"
    site: str
    rename: str | None = None
    zone: str | None = None
    keep: str = "auto"
    latitude: float | None = None
    longitude: float | None = None

    def __post_init__(self) -> None:
        if self.rename is not None and clean_site(self.rename) != self.rename:
            raise Invalid(f"{self.rename!r} cannot be a site's name; {clean_site(self.rename)!r} could")
        if self.zone is not None:
            load_zone(self.zone)
        if self.keep not in KEEP:
            raise Invalid(f"keep {self.keep!r}: expected {', '.join(KEEP)}")
        if (self.latitude is None) != (self.longitude is None):
            raise Invalid("coordinates: latitude and longitude are given together")
        for name, value, limit in (("latitude", self.latitude, 90), ("longitude", self.longitude, 180)):
            if value is not None and not -limit <= value <= limit:
                raise Invalid(f"{name} {value:g}: expected decimal degrees between -{limit} and {limit}")
        if self.rename is None and self.zone is None and self.latitude is None:
            raise Invalid(f"nothing is said of site {self.site!r}: give a new name, a zone or coordinates")

    @property
    def text(self) -> str:
        """The change in words."""
        words = [f"is called {self.rename!r}"] if self.rename is not None else []
        if self.zone is not None:
            words.append(f"has the zone {self.zone}" + ("" if self.keep == "auto" else f" (keeping the {self.keep})"))
        if self.latitude is not None:
            words.append(f"lies at {self.latitude:g}, {self.longitude:g}")
        return f"site {self.site!r} {', '.join(words)}"


@dataclass(frozen=True, slots=True)
class Scope:
    """Which recordings a clock's correction is about; every field narrows it.

    Site, deployment and dates are as the changes before this one left them: a site that is renamed later keeps its corrected clock.

    Attributes
    ----------
    site, deployment : str or None
    recording : str or None
        Path; ``*`` and ``?`` stand for any characters and any one.
    date_from, date_to : str or None
        Local dates, ISO 8601, both included.
    """

    site: str | None = None
    deployment: str | None = None
    recording: str | None = None
    date_from: str | None = None
    date_to: str | None = None

    def __post_init__(self) -> None:
        for text in (self.date_from, self.date_to):
            try:
                date.fromisoformat(text or "2000-01-01")
            except ValueError:
                raise Invalid(f"date {text!r}: expected a date such as 2025-05-03") from None
        if self.date_from and self.date_to and self.date_from > self.date_to:
            raise Invalid(f"dates {self.date_from} to {self.date_to}: the first is after the last")

    @property
    def is_placed(self) -> bool:
        """Whether it depends on what earlier changes say, and not on paths alone."""
        return self.site is not None or self.deployment is not None or self.is_dated

    @property
    def is_dated(self) -> bool:
        """Whether dates narrow it."""
        return self.date_from is not None or self.date_to is not None

    @property
    def text(self) -> str:
        """The scope in words."""
        words = [f"{name} {value!r}" for name, value in (("site", self.site), ("deployment", self.deployment)) if value]
        words += [f"recordings {self.recording!r}"] if self.recording else []
        words += [f"from {self.date_from}"] if self.date_from else []
        words += [f"to {self.date_to}"] if self.date_to else []
        return ", ".join(words) or "all recordings"


@dataclass(frozen=True, slots=True)
class ClockChange:
    """A recorder's clock, put right: seconds to add to it, or the zone it was set to.

    Attributes
    ----------
    scope : Scope
    add_s : float
        Seconds to add to what the clock showed; positive if it was slow.
    clock_zone : str or None
        IANA name; decides UTC where only a clock was read.
    ignore_offsets : bool
        Take it also where the source had an offset of its own: then only what its clock showed counts.
    """

    kind: ClassVar[str] = "clock"
    scope: Scope
    add_s: float = 0.0
    clock_zone: str | None = None
    ignore_offsets: bool = False

    def __post_init__(self) -> None:
        if self.clock_zone is not None:
            load_zone(self.clock_zone, "clock time zone")
        elif self.ignore_offsets:
            raise Invalid("without the recordings' offsets the zone of the clock decides: give it")
        if not abs(self.add_s) < 400 * 366 * 86_400:
            raise Invalid(f"{self.add_s:g} seconds cannot be a clock's error")
        if self.add_s == 0 and self.clock_zone is None:
            raise Invalid("nothing is said of the clock: give seconds to add, or the zone it was set to")

    @property
    def text(self) -> str:
        """The change in words."""
        words = [f"{self.add_s:+g} s"] if self.add_s else []
        words += [f"set to {self.clock_zone}"] if self.clock_zone else []
        words += ["whatever offset was recorded"] if self.ignore_offsets else []
        return f"clock of {self.scope.text}: {', '.join(words)}"


@dataclass(frozen=True, slots=True)
class DeploymentsChange:
    """A table of deployments: instead of the one before, or added to it by id."""

    kind: ClassVar[str] = "deployments"
    deployments: tuple[Deployment, ...]
    source: str = ""
    add: bool = False

    @property
    def text(self) -> str:
        """The change in words."""
        what = "1 deployment" if len(self.deployments) == 1 else f"{len(self.deployments)} deployments"
        return f"{what} {'added ' if self.add else ''}from {self.source or 'a table'}"


@dataclass(frozen=True, slots=True)
class Undo:
    """Takes a change back; of an undo: brings it again."""

    kind: ClassVar[str] = "undo"
    change: int

    @property
    def text(self) -> str:
        """The change in words."""
        return f"change {self.change} taken back"


Change = SiteChange | ClockChange | DeploymentsChange | Undo


def change_to_json(change: Change) -> dict[str, Any]:
    """Return a change as a JSON object, with its kind."""
    if isinstance(change, DeploymentsChange):
        rows = [_deployment_to_json(d) for d in change.deployments]
        return {"kind": change.kind, "source": change.source, "add": change.add, "deployments": rows}
    return {"kind": change.kind, **asdict(change)}


def change_of(value: dict[str, Any]) -> Change:
    """Rebuild a change from :func:`change_to_json`.

    Raises
    ------
    KeyError, TypeError, ValueError
        If it is none.
    """
    kind = value["kind"]
    if kind == "deployments":
        rows = tuple(_deployment_of(d) for d in value["deployments"])
        return DeploymentsChange(rows, value["source"], value["add"])
    if kind == "clock":
        return ClockChange(Scope(**value["scope"]), value["add_s"], value["clock_zone"], value["ignore_offsets"])
    if kind == "site":
        return SiteChange(**{name: value[name] for name in SiteChange.__slots__})
    if kind == "undo":
        return Undo(int(value["change"]))
    raise ValueError(f"kind {kind!r} is not known")


def _deployment_to_json(deployment: Deployment) -> dict[str, Any]:
    def clock(reading: Any) -> str | None:
        if reading is None:
            return None
        offset = reading.offset_min
        sign = "-" if (offset or 0) < 0 else "+"
        mark = "" if offset is None else f"{sign}{abs(offset) // 60:02d}:{abs(offset) % 60:02d}"
        return f"{reading.start.isoformat()}{mark}"

    zones = {
        name: zone.key if zone else None
        for name, zone in (("zone", deployment.zone), ("clock_zone", deployment.clock_zone))
    }
    own = {name: getattr(deployment, name) for name in _PLAIN}
    return {**own, **zones, "start": clock(deployment.start), "end": clock(deployment.end)}


def _deployment_of(value: dict[str, Any]) -> Deployment:
    read: dict[str, Any] = {name: value[name] for name in _PLAIN}
    read |= {name: load_zone(value[name]) if value[name] else None for name in ("zone", "clock_zone")}
    read |= {name: parse_iso(value[name]) if value[name] else None for name in ("start", "end")}
    return Deployment(**read)


_PLAIN: Final = ("id", "site", "latitude", "longitude", "folder", "prefix", "recorder", "model", "line")
