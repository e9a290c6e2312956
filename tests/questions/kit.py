"""An archive in memory: the views of a store as tables made by hand, with the filter language and nothing of Parquet."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa

from sonotheque.core.filters import SearchFilter
from store.filtering import PREDICTIONS, WINDOWS, Names, compile_filter
from store.results import shaped
from tests.store.kit import store_config

OWL, TIT, CHIFFCHAFF = "Strix aluco_Tawny Owl", "Parus major_Great Tit", "Phylloscopus collybita_Common Chiffchaff"
LABELS = (OWL, TIT, CHIFFCHAFF, "rain")
HOP_S = 3.0
RATE_HZ = 48_000
Row = dict[str, Any]

RECORDING_TYPES = {
    "recording_id": pa.int64(), "path": pa.string(), "site": pa.string(), "deployment": pa.string(), "date": pa.date32(),
    "local_start": pa.timestamp("us"), "utc_start": pa.timestamp("us", "UTC"), "zone": pa.string(), "duration_s": pa.float64(),
    "status": pa.string(), "outcome": pa.string(), "windows": pa.int64(), "latitude": pa.float64(), "longitude": pa.float64(),
}  # fmt: skip
_OF_WINDOW = {
    "recording_id": pa.int64(), "start_sample": pa.int64(), "path": pa.string(), "site": pa.string(), "deployment": pa.string(),
    "date": pa.date32(), "start_s": pa.float64(), "end_s": pa.float64(), "utc_start": pa.timestamp("us", "UTC"),
    "local_start": pa.timestamp("us"), "hour": pa.int8(),
}  # fmt: skip
WINDOW_TYPES = {
    **_OF_WINDOW, "valid_s": pa.float64(), "minutes_since_sunrise": pa.float32(), "minutes_since_sunset": pa.float32(),
}  # fmt: skip
PREDICTION_TYPES = {
    **_OF_WINDOW,
    "rank": pa.int16(),
    "label": pa.string(),
    "logit": pa.float32(),
    "score": pa.float32(),
}
SITE_TYPES = {"site": pa.string(), "latitude": pa.float64(), "longitude": pa.float64(), "zone": pa.string()}
ANNOTATION_TYPES = {
    "recording_id": pa.int64(), "start_s": pa.float64(), "end_s": pa.float64(), "label": pa.string(), "judgement": pa.string(),
}  # fmt: skip


@dataclass
class Recording:
    """A file of the archive. ``found``: per window its predictions, best first, as (label, score)."""

    path: str
    site: str = "forest"
    local_start: datetime | None = datetime(2025, 5, 1, 4, 30)
    duration_s: float = 9.0
    zone: str | None = "Europe/Paris"
    deployment: str | None = None
    outcome: str = "done"
    status: str = "ok"
    place: tuple[float, float] | None = None
    found: Sequence[Sequence[tuple[str, float]]] = ()
    sun: tuple[float, float] | None = None

    @property
    def utc_start(self) -> datetime | None:
        if self.local_start is None or self.zone is None:
            return None
        return self.local_start.replace(tzinfo=ZoneInfo(self.zone)).astimezone(UTC)


@dataclass
class Tables:
    """The views' rows."""

    recordings: list[Row] = field(default_factory=list)
    windows: list[Row] = field(default_factory=list)
    predictions: list[Row] = field(default_factory=list)
    sites: list[Row] = field(default_factory=list)
    annotations: list[Row] = field(default_factory=list)


def tables_of(recordings: Sequence[Recording], annotations: Sequence[Row] = (), *, windows: bool = True) -> Tables:
    """Windows of 3 s, one after another; the last one with what is left. ``windows=False``: counted, and not made."""
    out = Tables(annotations=list(annotations))
    for number, rec in enumerate(recordings):
        local, utc = rec.local_start, rec.utc_start
        n = -(-int(rec.duration_s * 1000) // 3000) if rec.outcome == "done" else 0
        latitude, longitude = rec.place or (None, None)
        out.recordings.append(
            {
                "recording_id": number, "path": rec.path, "site": rec.site, "deployment": rec.deployment,
                "date": local and local.date(), "local_start": local, "utc_start": utc, "zone": rec.zone,
                "duration_s": rec.duration_s if rec.outcome == "done" else 0.0, "status": rec.status, "outcome": rec.outcome,
                "windows": n, "latitude": latitude, "longitude": longitude,
            }
        )  # fmt: skip
        for i in range(n if windows else 0):
            step = timedelta(seconds=HOP_S * i)
            moved = None if local is None else local + step
            own = {
                "recording_id": number, "start_sample": int(i * HOP_S * RATE_HZ), "path": rec.path, "site": rec.site,
                "deployment": rec.deployment, "date": moved and moved.date(), "start_s": HOP_S * i, "end_s": HOP_S * (i + 1),
                "utc_start": utc and utc + step, "local_start": moved, "hour": None if moved is None else moved.hour,
            }  # fmt: skip
            rise, fall = (None, None) if rec.sun is None else (m + HOP_S * i / 60 for m in rec.sun)
            valid_s = min(HOP_S, rec.duration_s - HOP_S * i)
            out.windows.append({**own, "valid_s": valid_s, "minutes_since_sunrise": rise, "minutes_since_sunset": fall})
            for rank, (label, score) in enumerate(rec.found[i] if i < len(rec.found) else (), 1):
                out.predictions.append({**own, "rank": rank, "label": label, "logit": 0.0, "score": score})
    seen: dict[str, Row] = {}
    for rec in recordings:
        latitude, longitude = rec.place or (None, None)
        site = seen.setdefault(rec.site, {"site": rec.site, "latitude": None, "longitude": None, "zone": None})
        site.update(
            {k: v for k, v in (("latitude", latitude), ("longitude", longitude), ("zone", rec.zone)) if v is not None}
        )
    out.sites = list(seen.values())
    return out


class FakeArchive:
    """What questions use of ``store.Archive``, over tables in memory."""

    def __init__(self, tables: Tables | None = None) -> None:
        self.root, self.damaged = "forest.store", {}
        self.config = store_config()
        self.snapshot = SimpleNamespace(number=3)
        self.db = duckdb.connect()
        self.lock = threading.RLock()
        self.db.execute("SET TimeZone = 'UTC'")
        self.hold(tables or Tables())

    def hold(self, rows: Tables) -> FakeArchive:
        """Hold these rows and no others; a new archive for each example would take most of the time."""
        made = {
            "recordings": (rows.recordings, RECORDING_TYPES),
            "windows": (rows.windows, WINDOW_TYPES),
            "predictions": (rows.predictions, PREDICTION_TYPES),
            "sites": (rows.sites, SITE_TYPES),
            "annotations": (rows.annotations, ANNOTATION_TYPES),
        }
        for name, (own, types) in made.items():
            self.add(name, pa.Table.from_pylist(own, schema=pa.schema(list(types.items()))))
        return self

    def add(self, name: str, table: pa.Table) -> None:
        """A table that cursors see too."""
        self.db.register("_given", table)
        self.db.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT * FROM _given")
        self.db.unregister("_given")

    def __enter__(self) -> FakeArchive:
        return self

    def __exit__(self, *_: object) -> None:
        self.db.close()

    def sql(self, query: str, parameters: Any = None, *, result: str = "arrow") -> Any:
        return shaped(self.db.sql(query, params=parameters or []).to_arrow_table(), result)

    def batches(self, query: str, parameters: Any = None, *, rows: int = 65_536) -> Iterator[pa.RecordBatch]:
        yield from self.db.cursor().sql(query, params=parameters or []).to_arrow_reader(rows)

    def select(
        self, wanted: SearchFilter | None = None, *, relation: str = WINDOWS, columns: str = "*"
    ) -> tuple[str, list[Any]]:
        condition = compile_filter(wanted or SearchFilter(), self.names, relation=relation)
        return f"SELECT {columns} FROM {relation} w WHERE {condition.sql}", condition.parameters

    @property
    def names(self) -> Names:
        def column(query: str) -> list[str]:
            return self.sql(query).column(0).to_pylist()

        return Names(
            sites=lambda: column("SELECT site FROM sites"),
            deployments=lambda: column("SELECT DISTINCT deployment FROM recordings WHERE deployment IS NOT NULL"),
            labels=lambda: column("SELECT DISTINCT label FROM predictions"),
            has_recording=lambda path: bool(
                self.db.execute("SELECT 1 FROM recordings WHERE path = ?", [path]).fetchall()
            ),
        )


__all__ = ["PREDICTIONS", "FakeArchive", "Recording", "Tables", "tables_of"]
