"""A small real store: two sites, two days, one file that failed, one without a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sonotheque.core.recording import RecordingTime
from store import load_ledger, write_snapshot
from tests.store.kit import NO_TIME, new_store, recording, write_part


def at(local: datetime) -> RecordingTime:
    return RecordingTime(local, (local - timedelta(hours=2)).replace(tzinfo=UTC), 120, "Europe/Berlin", "name")


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, config = new_store(tmp_path_factory.mktemp("asked"))
    for site in ("forest", "marsh"):
        for day in (1, 2):
            start = datetime(2024, 5, day, 4)
            files = [
                (recording(f"{site}/{day}{i}.wav", site=site, time=at(start + timedelta(hours=i))), 0 if (site, day, i) == ("marsh", 2, 3) else 3)
                for i in range(6)
            ]  # fmt: skip
            write_part(root, config, files, site=site, date=f"2024-05-{day:02d}")
    write_part(root, config, [(recording("marsh/untimed.wav", site="marsh", time=NO_TIME), 2)], site="marsh", date=None)
    write_snapshot(root, config, load_ledger(root))
    return Path(root)
