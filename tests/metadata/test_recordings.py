"""Recordings as the footers describe them, against a twin that reads the footers' JSON alone."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest

from sonotheque.core.errors import Damaged
from sonotheque.core.recording import RecordingTime, printable_path
from store import load_ledger, part_id, read_snapshot, write_snapshot
from store.recordings import SCHEMA, stored_recordings
from tests.store import kit

ODD = ("A/caf\udce9.wav", "A/日本 'x'.wav", 'A/"quoted",comma.wav', "A/new\nline.wav")


def snapshot(root, config):
    return write_snapshot(root, config, load_ledger(root)).parts


def twin(root, parts):
    """One dict a live recording, from the footers."""
    rows = []
    for part in parts:
        value = kit.footer(f"{root}/{part.embeddings}")
        for file in value["files"]:
            if file["recording_id"] in part.superseded:
                continue
            time, device = file["time"], file["device"] or {}
            utc = time["utc_start"]
            rows.append(
                {
                    **{k: file[k] for k in ("recording_id", "deployment", "duration_s", "sample_rate_hz", "channels")},
                    **{k: file[k] for k in ("container", "codec", "status", "reason", "windows", "first_row")},
                    **{k: file[k] for k in ("size_bytes", "mtime_ns")},
                    **{k: time[k] for k in ("utc_offset_min", "zone")},
                    "part_id": value["part_id"],
                    "path": printable_path(file["path"]),
                    "site": value["site"],
                    "local_start": datetime.fromisoformat(time["local_start"]) if time["local_start"] else None,
                    "utc_start": datetime.fromisoformat(utc) if utc else None,
                    "time_source": time["source"],
                    "time_issues": time["issues"],
                    "outcome": "done" if file["windows"] else "failed",
                    "latitude": device.get("latitude"),
                    "longitude": device.get("longitude"),
                    "recorder": device.get("recorder"),
                    "device": device,
                }
            )
    return sorted(rows, key=lambda r: (r["part_id"], r["path"]))


def test_against_the_footers(tmp_path):
    root, config = kit.new_store(tmp_path)
    kit.write_part(root, config, [(kit.recording(path), n) for n, path in enumerate(ODD)])
    silent = RecordingTime(None, None, None, "Europe/Berlin", "none", ("clock_not_set", "no_deployment"))
    kit.write_part(root, config, [(kit.recording("B/x.wav", site="B / C", time=silent), 0)], date=None)
    both = [kit.recording("A/changed.wav"), kit.recording("A/same.wav")]
    kit.write_part(root, config, [(both[0], 3), (both[1], 1)])
    newer = kit.recording("A/changed.wav", version=2, replaces=[part_id(config.digest, both)])
    kit.write_part(root, config, [(newer, 2)], date="2024-05-02")
    parts = snapshot(root, config)
    found = stored_recordings(root, parts)
    assert dict(found.schema) == SCHEMA
    got = [{**r, "device": json.loads(r["device"])} for r in found.sort("part_id", "path").to_dicts()]
    assert got == twin(root, parts)
    assert sorted(found["path"].to_list()) == sorted(
        [*map(printable_path, ODD), "B/x.wav", "A/changed.wav", "A/same.wav"]
    )
    assert found.filter(path="A/changed.wav")["windows"].to_list() == [2]
    assert found.filter(path="B/x.wav")["site"].to_list() == ["B / C"]


def test_device_facts(tmp_path):
    root, config = kit.new_store(tmp_path)
    devices = [
        {"recorder": "Song Meter", "latitude": 52.5, "longitude": -4, "gain": "médium"},
        {"latitude": "unknown", "longitude": None},
        None,
        {"latitude": 1.5},
        {"recorder": "Song Meter", "latitude": 52.5, "longitude": -4, "gain": "médium"},
    ]
    for n, device in enumerate(devices):
        recording = kit.recording(f"A/{n}.wav")
        object.__setattr__(recording, "device", device)
        kit.write_part(root, config, [(recording, 1)], date=f"2024-05-{n + 1:02d}")
    rows = stored_recordings(root, snapshot(root, config)).sort("path")
    places = rows.select("recorder", "latitude", "longitude").rows()
    meter = ("Song Meter", 52.5, -4.0)
    assert places == [
        meter,
        (None, None, None),
        (None, None, None),
        (None, 1.5, None),
        meter,
    ]
    assert [json.loads(d) for d in rows["device"]] == [d or {} for d in devices]


def test_no_recordings(tmp_path):
    root, _ = kit.new_store(tmp_path)
    empty = stored_recordings(root, ())
    assert dict(empty.schema) == SCHEMA and empty.height == 0
    assert pl.concat([empty, stored_recordings(root, ())]).height == 0


@pytest.mark.parametrize("spoil", [os.unlink, lambda path: Path(path).write_bytes(b"PAR1")], ids=["gone", "torn"])
def test_a_damaged_part_is_named(tmp_path, spoil):
    root, config = kit.new_store(tmp_path)
    kit.write_part(root, config, [(kit.recording("A/x.wav"), 1)])
    parts = snapshot(root, config)
    spoil(f"{root}/{parts[0].embeddings}")
    with pytest.raises(Damaged, match="part-"):
        stored_recordings(root, parts)


def test_many_parts_come_in_their_order(tmp_path):
    root, config = kit.new_store(tmp_path)
    for n in range(30):
        kit.write_part(root, config, [(kit.recording(f"s{n}/{i}.wav", site=f"s{n}"), 0) for i in range(3)])
    parts = snapshot(root, config)
    found = stored_recordings(root, parts)
    assert found["part_id"].unique(maintain_order=True).to_list() == [p.part_id for p in parts]
    assert stored_recordings(root, parts[5:7]).equals(
        found.filter(pl.col("part_id").is_in([p.part_id for p in parts[5:7]]))
    )
    assert len(read_snapshot(root).parts) == 30
