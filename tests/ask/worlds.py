"""A store over several sites and months, and what any reader must see of it, worked out one window at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sonotheque.core.recording import Recording, RecordingTime
from store import StoreConfig, load_ledger, write_snapshot
from tests.store import kit

SITES = ("Oak wood", "b=c", "%", "é/日")
ZONES = ("Europe/Berlin", "America/New_York", None, "Europe/Berlin")
MONTHS = (3, 5, 10)


def time_of(local: datetime, zone: str | None) -> RecordingTime:
    if zone is None:
        return RecordingTime(local, None, None, None, "name")
    utc = local.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    there = utc.astimezone(ZoneInfo(zone))
    offset = there.utcoffset()
    assert offset is not None
    return RecordingTime(there.replace(tzinfo=None, fold=0), utc, int(offset.total_seconds() // 60), zone, "name")


def recordings(site: str, zone: str | None, month: int) -> list[tuple[Recording, int]]:
    """Four files: an ordinary one, one over midnight, one through the night of the clocks' change, one that failed."""
    starts = [
        datetime(2025, month, 4, 5, 30),
        datetime(2025, month, 4, 23, 59, 55),
        datetime(2025, month, 26, 2, 59, 57),
    ]
    found = []
    for n, start in enumerate(starts):
        device = {"recorder": "AudioMoth", "latitude": 51.5, "longitude": 8.0 + n} if zone else {"recorder": "SM4"}
        one = kit.recording(f"{site}/{month}-{n}.wav", site=site, time=time_of(start, zone))
        found.append((replace(one, device=device), 4))
    return [*found, (kit.recording(f"{site}/{month}-bad.wav", site=site), 0)]


def fill(
    root: str, config: StoreConfig, *, sites: int = 4, months: tuple[int, ...] = MONTHS
) -> list[tuple[Recording, int]]:
    """Commit the world, a part for each site and month, and one recording without a time."""
    everything: list[tuple[Recording, int]] = []
    for site, zone in list(zip(SITES, ZONES, strict=True))[:sites]:
        for month in months:
            items = recordings(site, zone, month)
            kit.write_part(root, config, items, date=f"2025-{month:02d}-04")
            everything += items
    timeless = [(kit.recording("Oak wood/no time.wav", site="Oak wood", time=kit.NO_TIME), 3)]
    kit.write_part(root, config, timeless, date=None)
    return everything + timeless


def snapshot(root: str, config: StoreConfig) -> None:
    write_snapshot(root, config, load_ledger(root))


def new_world(folder: Path, **options: Any) -> tuple[str, StoreConfig, list[tuple[Recording, int]]]:
    root, config = kit.new_store(folder)
    items = fill(root, config, **options)
    snapshot(root, config)
    return root, config, items


def windows(items: list[tuple[Recording, int]], config: StoreConfig) -> list[dict[str, Any]]:
    """Every window with its own place and time."""
    out = []
    for rec, n in items:
        for i in range(n):
            start_s = i * config.windows.hop_samples / config.windows.sample_rate_hz
            utc = rec.time.utc_start and rec.time.utc_start + timedelta(seconds=start_s)
            local = rec.time.local_start and rec.time.local_start + timedelta(seconds=start_s)
            if utc and rec.time.zone:
                local = utc.astimezone(ZoneInfo(rec.time.zone)).replace(tzinfo=None, fold=0)
            out.append(
                {
                    "recording_id": rec.recording_id,
                    "start_sample": i * config.windows.hop_samples,
                    "path": rec.source.path,
                    "site": rec.site,
                    "deployment": rec.deployment,
                    "date": local and local.date(),
                    "start_s": start_s,
                    "end_s": start_s + config.windows.window_s,
                    "valid_s": config.windows.window_s,
                    "utc_start": utc,
                    "local_start": local,
                    "hour": None if local is None else local.hour,
                }
            )
    return out
