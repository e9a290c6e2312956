"""Made recordings and detections, for writers that know no store; and readers that know no writer."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from search_api import exports
from search_api.export_options import ExportOptions, ExportSummary, Progress
from store import open_archive
from store.formats import Detections, Facts

START = datetime(2024, 5, 1, 4, 30)
FACTS = Facts("tiny", "1.2", overlap_s=0.5, sensitivity=1.0, high_hz=12_000.0)
RECORDINGS = pa.schema(
    [
        ("path", pa.string()),
        ("duration_s", pa.float64()),
        ("recording_id", pa.int64()),
        ("site", pa.string()),
        ("deployment", pa.string()),
        ("sample_rate_hz", pa.int64()),
        ("channels", pa.int16()),
        ("container", pa.string()),
        ("codec", pa.string()),
        ("latitude", pa.float64()),
        ("longitude", pa.float64()),
        ("utc_start", pa.timestamp("us", tz="UTC")),
        ("local_start", pa.timestamp("us")),
        ("recorder", pa.string()),
        ("serial", pa.string()),
        ("time_issues", pa.list_(pa.string())),
        ("file", pa.string()),
    ]
)
ROWS = pa.schema(
    [
        ("path", pa.string()),
        ("start_s", pa.float64()),
        ("end_s", pa.float64()),
        ("label", pa.string()),
        ("score", pa.float32()),
        ("rank", pa.int16()),
    ]
)
LABELS = ("Strix aluco_Tawny Owl", "Parus major_Great Tit", "Engine_Engine", "Poecile atricapillus")


def recording(number: int, path: str | None = None, duration_s: float = 10.0, **more: Any) -> dict[str, Any]:
    """A recording of site A in Paris' summer time, one an hour."""
    local = START + timedelta(hours=number)
    row = {
        "path": path or f"A/rec{number}.wav",
        "duration_s": duration_s,
        "recording_id": 1000 + number,
        "site": "A",
        "deployment": None,
        "sample_rate_hz": 48_000,
        "channels": 1,
        "container": "WAV",
        "codec": "PCM_16",
        "latitude": 48.8,
        "longitude": 2.3,
        "local_start": local,
        "utc_start": (local - timedelta(hours=2)).replace(tzinfo=UTC),
        "recorder": "AudioMoth",
        "serial": "24F3",
        "time_issues": [],
        "file": None,
    }
    return row | more


def row(
    path: str, start_s: float = 0.0, label: str = LABELS[0], score: float = 0.5, rank: int = 1, window_s: float = 3.0
) -> dict[str, Any]:
    return {"path": path, "start_s": start_s, "end_s": start_s + window_s, "label": label, "score": score, "rank": rank}


def recordings(rows: Sequence[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=RECORDINGS)


def rows(found: Sequence[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(list(found), schema=ROWS)


def detections(
    found: Sequence[dict[str, Any]], of: Sequence[dict[str, Any]], *, block: int | None = None, facts: Facts = FACTS
) -> Detections:
    """Detections in the order of their recordings, in blocks of so many rows."""
    if block is None:
        return Detections.of(rows(found), recordings(of), facts)
    order = {one["path"]: i for i, one in enumerate(of)}
    placed = sorted(found, key=lambda r: (order[r["path"]], r["start_s"], r["rank"]))
    return Detections(recordings(of), rows(placed).to_batches(max_chunksize=block), facts)


def export(
    store: str, what: str, form: str, out: Path, options: ExportOptions | None = None, progress: Progress | None = None
) -> ExportSummary:
    """Export from a store's newest snapshot."""
    with open_archive(store) as archive:
        return exports.export(archive, what, form, out, options, progress)


def tabbed(path: Path) -> list[dict[str, str]]:
    """Read a tab-separated table as a stranger would: no quotes, a header."""
    head, *lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    names = head.split("\t")
    return [dict(zip(names, line.split("\t"), strict=True)) for line in lines]


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


@st.composite
def archives(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Recordings of odd lengths, several without detections, and detections of the others."""
    durations = draw(
        st.lists(
            st.floats(0.01, 4000).map(lambda s: round(s * 22_050) / 22_050) | st.sampled_from([0.0, 10.0, 3600.0]),
            min_size=1,
            max_size=12,
        )
    )
    folders = draw(st.lists(st.sampled_from(["", "A/", "B/x/"]), min_size=len(durations), max_size=len(durations)))
    made = [recording(i, f"{folder}r{i}.wav", d) for i, (folder, d) in enumerate(zip(folders, durations, strict=True))]
    found = []
    for one in made:
        for number in range(draw(st.integers(0, 4))):
            start_s = number * 2.5
            if start_s < one["duration_s"]:
                label = draw(st.sampled_from(LABELS))
                found.append(row(one["path"], start_s, label, round(draw(st.floats(0, 1)), 4), number + 1))
    return made, draw(st.permutations(found))
