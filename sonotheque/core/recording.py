"""Recording, and what is known of it before a sample is decoded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from sonotheque.core.ids import recording_id

# Where a recording's time came from, best first. `none`: unknown, and it stays unknown.
TIME_SOURCES = ("table", "guano", "header", "name_offset", "name", "none")


@dataclass(frozen=True, slots=True)
class RecordingTime:
    """When a recording starts.

    Attributes
    ----------
    local_start : datetime or None
        Naive: the wall clock at the site (or the recorder's clock, when nothing says how it was set).
    utc_start : datetime or None
        Aware, UTC; None if no offset and no zone is known: a time zone is never guessed.
    utc_offset_min : int or None
        Offset of ``local_start`` from UTC at that moment, in minutes.
    zone : str or None
        IANA name of the site's zone, if given.
    source : str
        One of ``TIME_SOURCES``.
    issues : tuple of str
        What a person should look at, e.g. ``header_and_name_differ``; empty if nothing.
    """

    local_start: datetime | None = None
    utc_start: datetime | None = None
    utc_offset_min: int | None = None
    zone: str | None = None
    source: str = "none"
    issues: tuple[str, ...] = ()

    @property
    def local_date(self) -> date | None:
        """The date partition this recording belongs to."""
        return self.local_start.date() if self.local_start else None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object; times as ISO 8601, UTC with ``Z``."""
        return {
            "local_start": self.local_start.isoformat() if self.local_start else None,
            "utc_start": self.utc_start.astimezone(UTC).isoformat().replace("+00:00", "Z") if self.utc_start else None,
            "utc_offset_min": self.utc_offset_min,
            "zone": self.zone,
            "source": self.source,
            "issues": list(self.issues),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> RecordingTime:
        """Rebuild a time from :meth:`to_json`."""
        local, utc = value["local_start"], value["utc_start"]
        return cls(
            datetime.fromisoformat(local) if local else None,
            datetime.fromisoformat(utc) if utc else None,
            value["utc_offset_min"],
            value["zone"],
            value["source"],
            tuple(value["issues"]),
        )


def printable_path(path: str) -> str:
    """Return a path that any reader can hold: bytes that are not UTF-8 appear as ``\\udcXX``."""
    return path.encode("utf-8", "backslashreplace").decode("utf-8")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One audio file as found on disk: the identity that decides whether it was already done.

    Attributes
    ----------
    path : str
        Relative to the archive's root, ``/`` between parts; bytes that are not UTF-8 as surrogate escapes.
    size_bytes, mtime_ns : int
        From ``stat``.
    """

    path: str
    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Recording:
    """One audio file with its place and time, as the plan knows it.

    Attributes
    ----------
    source : SourceFile
    site : str
        Never empty.
    time : RecordingTime
    deployment : str or None
        Id of the matching row of the deployments table.
    audio_s : float
        Length as the header says, an estimate until the file is decoded; 0 if the header cannot be read.
    device : dict
        Small facts of the recorder for people: ``recorder``, ``serial``, ``gain``, ``temperature_c``, ``battery_v``,
        ``latitude``, ``longitude`` ... as far as known.
    replaces : tuple of str
        Ids of the parts whose rows of this recording are superseded (the file has changed since).
    """

    source: SourceFile
    site: str
    time: RecordingTime
    deployment: str | None = None
    audio_s: float = 0.0
    device: dict[str, str | float] | None = None
    replaces: tuple[str, ...] = ()

    @property
    def recording_id(self) -> int:
        """63-bit id from the relative path."""
        return recording_id(self.source.path)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that :meth:`from_json` reads."""
        return {
            "path": self.source.path,
            "size_bytes": self.source.size_bytes,
            "mtime_ns": self.source.mtime_ns,
            "site": self.site,
            "time": self.time.to_json(),
            "deployment": self.deployment,
            "audio_s": self.audio_s,
            "device": self.device or {},
            "replaces": list(self.replaces),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Recording:
        """Rebuild a recording from :meth:`to_json`."""
        return cls(
            SourceFile(value["path"], value["size_bytes"], value["mtime_ns"]),
            value["site"],
            RecordingTime.from_json(value["time"]),
            value["deployment"],
            value["audio_s"],
            value["device"],
            tuple(value["replaces"]),
        )
