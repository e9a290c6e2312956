"""A small store with recordings of three sites, and the verbs run as the console script runs them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from embedder.recorders import parse_name, resolve_time
from sonotheque.cli.main import main
from sonotheque.core.clock import ClockReading, load_zone
from store import load_ledger, write_snapshot
from tests.store import kit

# Path, site, header in UTC or none: an AudioMoth, a Song Meter embedded with a wrong zone, one without, one without a time.
RECORDINGS = (
    ("moth/20250503_031300.WAV", "moth", ClockReading(datetime(2025, 5, 3, 3, 13), 0), None),
    ("moth/20250503_031400.WAV", "moth", ClockReading(datetime(2025, 5, 3, 3, 14), 0), None),
    ("meter/SM_20190522_043000.wav", "meter", None, "Europe/Paris"),
    ("meter/SM_20190523_043000.wav", "meter", None, "Europe/Paris"),
    ("plain/P_20250601_120000.wav", "plain", None, None),
    ("plain/notes.wav", "plain", None, None),
)


@pytest.fixture
def store(tmp_path: Path) -> str:
    root, config = kit.new_store(tmp_path)
    parts: dict[tuple[str, str | None], list[Any]] = {}
    for path, site, header, zone in RECORDINGS:
        name = parse_name(path)
        time = resolve_time(header=header, name=name.clock if name else None, zone=load_zone(zone) if zone else None)
        recording = kit.recording(path, site=site, time=time)
        day = str(time.local_date) if time.local_date else None
        parts.setdefault((site, day), []).append((recording, 2))
    for (site, day), items in parts.items():
        kit.write_part(root, config, items, site=site, date=day)
    write_snapshot(root, config, load_ledger(root))
    return root


@dataclass
class Done:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


Metadata = Callable[..., Done]


@pytest.fixture
def metadata(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, store: str) -> Metadata:
    """Run ``sonotheque metadata`` on the store."""

    def run(*args: object) -> Done:
        monkeypatch.setattr("sys.argv", ["sonotheque", "metadata", *map(str, args), "--store", store])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return Done(int(ended.value.code or 0), out, err)

    return run
