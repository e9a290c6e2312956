"""What seeds share: recordings, what a quiet run makes of them, and a cluster that goes on from seed to seed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.judging import Clean
from tests.chaos.processes import Cluster
from tests.cluster.support import make_archive, run, write_wav

SLOW_MODEL_S = 0.05  # a batch takes so long that a moment in the middle of a part can be met


def make_recordings(folder: Path) -> Path:
    """Write 48 sound files of 24 parts, and three that cannot be embedded or not in full."""
    make_archive(folder, sites=6, days=4, files=2)
    (folder / "site0" / "20240501_070000.wav").touch()
    write_wav(folder / "site1" / "20240501_070000.wav", 0.5, seed=901)
    cut = write_wav(folder / "site2" / "20240501_070000.wav", 6.0, seed=902)
    os.truncate(cut, cut.stat().st_size // 2)
    return folder


@dataclass(slots=True)
class Stage:
    """What seeds share: recordings, the clean store, a cluster that is mended and goes on."""

    folder: Path
    recordings: Path
    clean: Clean
    cluster: Cluster

    @classmethod
    def build(cls, folder: Path) -> Stage:
        """Make all of it; ``close`` ends its processes."""
        recordings = make_recordings(folder / "recordings")
        run(recordings, folder / "clean")
        cluster = Cluster(folder / "cluster", slow_model_s=SLOW_MODEL_S)
        stage = cls(folder, recordings, Clean.of(folder / "clean"), cluster)
        try:
            cluster.start()
        except BaseException:
            cluster.stop()
            raise
        return stage

    def renew(self) -> None:
        """Begin with a new cluster: after a seed that left the old one in disorder."""
        self.cluster.stop()
        self.cluster.start()

    def close(self) -> None:
        """End the cluster."""
        self.cluster.stop()
