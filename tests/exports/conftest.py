"""A small archive, embedded for real by the placeholder, for what goes from a store to a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from store import open_archive
from tests.cluster.support import run, write_wav

LENGTHS = (4.0, 2.5, 7.13, 3.0, 5.55)


@dataclass(frozen=True)
class Made:
    """Recordings and their store."""

    recordings: Path
    store: str

    def rows(self, query: str) -> list[dict[str, Any]]:
        with open_archive(self.store) as archive:
            return archive.sql(query).to_pylist()


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Two sites, files of several lengths, one without a time, one too short, one that is no sound."""
    folder = tmp_path_factory.mktemp("made")
    seed = 0
    for site in ("north", "south"):
        for number, seconds in enumerate(LENGTHS):
            seed += 1
            write_wav(
                folder / "recordings" / site / f"2024050{number // 3 + 1}_{4 + number:02d}0000.wav", seconds, seed=seed
            )
    write_wav(folder / "recordings" / "south" / "untimed.wav", 6.0, seed=99, channels=2)
    write_wav(folder / "recordings" / "south" / "20240502_100000.wav", 0.25)
    (folder / "recordings" / "south" / "20240502_110000.wav").write_bytes(b"no sound")
    run(folder / "recordings", folder / "store", timezone="Europe/Paris")
    return Made(folder / "recordings", str(folder / "store"))
