"""The gaps in recording: of each recorder the schedule, where it was not kept, and files that may be why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from search_api.questions.schedules import Schedule, Silence, Starts, schedule_of
from search_api.questions.values import plain
from store import Archive

GAP_MIN_DEFAULT_S: Final = 3600.0
_EXAMPLES = 3
_STARTS = """
SELECT site, deployment, local_start, utc_start, duration_s, outcome = 'done' AS is_sound, outcome,
       CASE WHEN outcome <> 'done' THEN path END AS path, CASE WHEN outcome <> 'done' THEN status END AS status
FROM ({chosen}) WHERE local_start IS NOT NULL ORDER BY site, deployment, local_start, path
"""


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which a recorder should have recorded and did not.

    Attributes
    ----------
    site : str
    deployment : str or None
    from_local, to_local : datetime64[us]
        End of the recording before it and start of the one after it, on the site's clock.
    length_s : float
        By UTC where that is known, so that a change of the clocks does not count.
    failed, skipped : int
        Files within it that are there and gave no sound.
    examples : tuple of str
        A few of them, with what is wrong.
    """

    site: str
    deployment: str | None
    from_local: np.datetime64
    to_local: np.datetime64
    length_s: float
    failed: int
    skipped: int
    examples: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the gap as a JSON object."""
        return {
            "site": self.site,
            "deployment": self.deployment,
            "from_local": plain(self.from_local.astype(object)),
            "to_local": plain(self.to_local.astype(object)),
            "length_s": self.length_s,
            "failed": self.failed,
            "skipped": self.skipped,
            "examples": list(self.examples),
        }


def gaps_of(
    archive: Archive, chosen: str, parameters: list[Any]
) -> Iterator[tuple[str, str | None, Schedule, list[Gap]]]:
    """Yield, for each site and deployment, its schedule and its gaps in order of time.

    Parameters
    ----------
    archive : Archive
    chosen : str
        A SELECT of rows of ``recordings``.
    parameters : list
        Its own.
    """
    starts = archive.sql(_STARTS.format(chosen=chosen), parameters)
    for site, deployment, rows in _recorders(starts):
        rule, found = _gaps(site, deployment, rows)
        yield site, deployment, rule, found


def _recorders(starts: pa.Table) -> list[tuple[str, str | None, pa.Table]]:
    """Return the rows of each site and deployment: slices of a table ordered by them."""
    keys = list(zip(starts["site"].to_pylist(), starts["deployment"].to_pylist(), strict=True))
    cuts = [0, *(i for i in range(1, len(keys)) if keys[i] != keys[i - 1]), len(keys)]
    return [(*keys[low], starts.slice(low, high - low)) for low, high in pairwise(cuts) if high > low]


def _gaps(site: str, deployment: str | None, rows: pa.Table) -> tuple[Schedule, list[Gap]]:
    local = _times(rows["local_start"])
    time = local if rows["utc_start"].null_count else _times(rows["utc_start"])
    order = np.argsort(time, kind="stable")
    rows = rows.take(pa.array(order))
    starts = Starts(
        local[order], time[order], rows["duration_s"].to_numpy(), rows["is_sound"].to_numpy(zero_copy_only=False)
    )
    rule, silences = schedule_of(starts)
    silent = np.flatnonzero(~starts.is_sound)
    return rule, [_gap(site, deployment, silence, starts, rows, silent) for silence in silences]


def _gap(
    site: str, deployment: str | None, gap: Silence, starts: Starts, rows: pa.Table, silent: NDArray[np.int64]
) -> Gap:
    within = silent[(silent > gap.before) & (silent < gap.after)]
    files = rows.take(pa.array(within)).select(["path", "status", "outcome"]).to_pylist()
    failed = [f for f in files if f["outcome"] == "failed"]
    begin = starts.local[gap.before] + np.timedelta64(timedelta(seconds=float(starts.duration_s[gap.before])))
    examples = tuple(f"{f['path']}: {f['status']}" for f in (failed or files)[:_EXAMPLES])
    return Gap(
        site, deployment, begin, starts.local[gap.after], gap.length_s, len(failed), len(files) - len(failed), examples
    )


def _times(column: pa.ChunkedArray) -> NDArray[np.datetime64]:
    times: NDArray[np.datetime64] = column.cast(pa.timestamp("us")).to_numpy().astype("datetime64[us]")
    return times
