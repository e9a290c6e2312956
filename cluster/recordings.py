"""Recordings by the million: columns of numbers and two tables of what many share, in place of a dozen objects a file.

As objects a planned file takes 1.2 KB, and a season would not fit into a gigabyte; here it takes about 110 bytes. A
:class:`Recording` is made when somebody looks at it.
"""

from __future__ import annotations

import json
import math
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar, overload

from sonotheque.core.recording import Recording, RecordingTime, SourceFile
from store.ledger import FileIdentity

_NS = 1_000_000_000
_DAY_US = 86_400_000_000
_UNKNOWN = -1  # of a moment; the first one of the calendar is 0
_START = datetime(1, 1, 1)
_START_UTC = _START.replace(tzinfo=UTC)
_Value = TypeVar("_Value")
_as_json = json.JSONEncoder(separators=(",", ":")).encode
_from_json = lru_cache(maxsize=256)(json.loads)  # nobody changes what a recording says of its device


class _Shared(NamedTuple):
    """What the recordings of a site have in common."""

    site: str
    offset_min: int | None
    zone: str | None
    time_source: str
    issues: tuple[str, ...]
    deployment: str | None
    replaces: tuple[str, ...]


class _Table(Generic[_Value]):
    """Values that are kept once, by number."""

    def __init__(self) -> None:
        self.values: list[_Value] = []
        self._numbers: dict[_Value, int] = {}

    def number(self, value: _Value) -> int:
        """Return a value's number; a new one for a new value."""
        found = self._numbers.get(value)
        if found is None:
            found = self._numbers[value] = len(self.values)
            self.values.append(value)
        return found


class Recordings(Sequence[Recording]):
    """A list of recordings that can only grow.

    Parameters
    ----------
    recordings : iterable of Recording, optional
        Local starts are naive; UTC starts come back in ``datetime.UTC``, whatever name that zone had.

    Attributes
    ----------
    audio_s : array of float
        The lengths of all.
    """

    def __init__(self, recordings: Iterable[Recording] = ()) -> None:
        self.audio_s = array("d")
        self._paths, self._path_ends = bytearray(), array("Q")
        self._sizes, self._seconds, self._nanoseconds = array("Q"), array("q"), array("I")
        self._local_us, self._utc_us = array("q"), array("q")
        self._shared: _Table[_Shared] = _Table()
        self._device: _Table[str] = _Table()  # as JSON: 1 and 1.0 are equal, and not the same in a footer
        self._around: list[tuple[str, str, str]] = []  # of a plan's line: what is the same for all of a `_Shared`
        self._shared_of, self._device_of = array("I"), array("I")
        for recording in recordings:
            self.append(recording)

    def append(self, recording: Recording) -> None:
        """Add a recording."""
        source, time = recording.source, recording.time
        self._paths += source.path.encode("utf-8", "surrogateescape")
        self._path_ends.append(len(self._paths))
        self._sizes.append(source.size_bytes)
        seconds, nanoseconds = divmod(source.mtime_ns, _NS)  # as one number they end in the year 2262
        self._seconds.append(seconds)
        self._nanoseconds.append(nanoseconds)
        self._local_us.append(_microseconds(time.local_start, _START))
        self._utc_us.append(_microseconds(time.utc_start, _START_UTC))
        self.audio_s.append(recording.audio_s)
        shared = _Shared(
            recording.site,
            time.utc_offset_min,
            time.zone,
            time.source,
            time.issues,
            recording.deployment,
            recording.replaces,
        )
        self._shared_of.append(self._shared.number(shared))
        self._device_of.append(self._device.number(_as_json(recording.device)))

    def __len__(self) -> int:
        return len(self.audio_s)

    @overload
    def __getitem__(self, index: int) -> Recording: ...

    @overload
    def __getitem__(self, index: slice) -> list[Recording]: ...

    def __getitem__(self, index: int | slice) -> Recording | list[Recording]:
        if isinstance(index, slice):
            return [self._at(i) for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"recording {index} of {len(self)}")
        return self._at(index % len(self))

    def __iter__(self) -> Iterator[Recording]:
        return map(self._at, range(len(self)))

    def path(self, index: int) -> str:
        """Return the stored path of one."""
        begin = self._path_ends[index - 1] if index else 0
        return self._paths[begin : self._path_ends[index]].decode("utf-8", "surrogateescape")

    def _at(self, index: int) -> Recording:
        shared = self._shared.values[self._shared_of[index]]
        local_us, utc_us = self._local_us[index], self._utc_us[index]
        time = RecordingTime(
            None if local_us == _UNKNOWN else _START + timedelta(microseconds=local_us),
            None if utc_us == _UNKNOWN else _START_UTC + timedelta(microseconds=utc_us),
            shared.offset_min,
            shared.zone,
            shared.time_source,
            shared.issues,
        )
        return Recording(
            SourceFile(*self._source(index)),
            shared.site,
            time,
            shared.deployment,
            self.audio_s[index],
            _from_json(self._device.values[self._device_of[index]]),
            shared.replaces,
        )

    def _source(self, index: int) -> tuple[str, int, int]:
        mtime_ns = self._seconds[index] * _NS + self._nanoseconds[index]
        return self.path(index), self._sizes[index], mtime_ns

    def identity(self, index: int) -> FileIdentity:
        """Return what the id of its part is made from."""
        return *self._source(index), list(self._shared.values[self._shared_of[index]].replaces)

    def line(self, index: int, part_id: str) -> str:
        """Return one's line of a plan: the JSON of :meth:`Recording.to_json` with its part's id, without making a recording."""
        path, size_bytes, mtime_ns = self._source(index)
        audio_s, device = self.audio_s[index], self._device.values[self._device_of[index]]
        shared = self._shared_of[index]
        while len(self._around) <= shared:
            self._around.append(_around(self._shared.values[len(self._around)]))
        site, deployment, replaces = self._around[shared]
        return (
            f'{{"path":{json.dumps(path)},"size_bytes":{size_bytes},"mtime_ns":{mtime_ns},{site}{_iso(self._local_us[index])},'
            f'"utc_start":{_iso(self._utc_us[index], "Z")},{deployment}{audio_s if math.isfinite(audio_s) else _as_json(audio_s)},'
            f'"device":{"{}" if device == "null" else device},{replaces}{json.dumps(part_id)}}}'
        )

    def places(self) -> Iterator[tuple[str, str | None, array[int]]]:
        """Yield sites with their local dates (``YYYY-MM-DD``; None first), and the numbers of their recordings."""
        held: dict[tuple[str, int], array[int]] = {}
        for index, (number, local_us) in enumerate(zip(self._shared_of, self._local_us, strict=True)):
            place = self._shared.values[number].site, local_us // _DAY_US  # of an unknown moment it is -1 as well
            if place not in held:
                held[place] = array("I")
            held[place].append(index)
        for site, day in sorted(held):
            date = None if day == _UNKNOWN else (_START + timedelta(days=day)).date().isoformat()
            yield site, date, held.pop((site, day))

    def sites(self) -> dict[str, int]:
        """Return how many each site has, the most first."""
        return dict(Counter(self._shared.values[number].site for number in self._shared_of).most_common())

    @property
    def without_deployment(self) -> int:
        """How many match no deployment."""
        none = [shared.deployment is None for shared in self._shared.values]
        return sum(none[number] for number in self._shared_of)

    @property
    def without_time(self) -> int:
        """How many have no start."""
        return self._local_us.count(_UNKNOWN)

    @property
    def without_utc(self) -> int:
        """How many have a local start and no offset from UTC."""
        pairs = zip(self._local_us, self._utc_us, strict=True)
        return sum(local != _UNKNOWN and utc == _UNKNOWN for local, utc in pairs)

    @property
    def without_zone(self) -> int:
        """How many have a UTC start and no zone: their local time is the recorder's own clock."""
        none = [shared.zone is None for shared in self._shared.values]
        return sum(utc != _UNKNOWN and none[number] for utc, number in zip(self._utc_us, self._shared_of, strict=True))


def _around(shared: _Shared) -> tuple[str, str, str]:
    """Return what stands in a plan's line before its local start, before its length, and before its part's id."""
    site = f'"site":{_as_json(shared.site)},"time":{{"local_start":'
    more = {
        "utc_offset_min": shared.offset_min,
        "zone": shared.zone,
        "source": shared.time_source,
        "issues": shared.issues,
    }
    deployment = f'{_as_json(more)[1:]},"deployment":{_as_json(shared.deployment)},"audio_s":'
    return site, deployment, f'"replaces":{_as_json(shared.replaces)},"part_id":'


def _iso(since_us: int, zone: str = "") -> str:
    """Return a moment as :meth:`RecordingTime.to_json` has it, in JSON."""
    return "null" if since_us == _UNKNOWN else f'"{(_START + timedelta(microseconds=since_us)).isoformat()}{zone}"'


def _microseconds(moment: datetime | None, start: datetime) -> int:
    if moment is None:
        return _UNKNOWN
    since = moment - start
    return since.days * _DAY_US + since.seconds * 1_000_000 + since.microseconds
