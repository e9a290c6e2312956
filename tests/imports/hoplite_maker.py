"""Small perch-hoplite databases of any shape, with the tables of the golden one, which the real package made."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from usearch.index import Index, MetricKind, ScalarKind

GOLDEN = Path(__file__).parent / "golden" / "hoplite"
PERCH_V2 = {
    "model_key": "taxonomy_model_tf",
    "embedding_dim": 1536,
    "model_config": {
        "window_size_s": 5.0,
        "hop_size_s": 5.0,
        "sample_rate": 32000,
        "tfhub_path": "google/bird-vocalization-classifier/tensorFlow2/perch_v2_cpu",
        "tfhub_version": 1,
        "model_path": "",
    },
    "logits_key": None,
    "logits_idxes": None,
}
# A model that this program does not have, with few numbers: quick to write.
TINY = {
    "model_key": "tiny_model",
    "embedding_dim": 8,
    "model_config": {"window_size_s": 2.0, "hop_size_s": 2.0, "sample_rate": 16000},
}


def open_golden() -> sqlite3.Connection:
    return sqlite3.connect(f"file:{GOLDEN / 'hoplite.sqlite'}?mode=ro&immutable=1", uri=True)


def schema() -> list[str]:
    with open_golden() as db:
        return [
            sql
            for (sql,) in db.execute("SELECT sql FROM sqlite_master WHERE sql NOT NULL AND name NOT LIKE 'sqlite_%'")
        ]


def offsets(start_s: float, end_s: float) -> bytes:
    return np.array([start_s, end_s], "<f8").tobytes()


class Maker:
    """Writes one database; ``windows`` get ids 1, 2, 3 ... and a vector each, unless told otherwise."""

    def __init__(self, folder: Path, *, dim: int = 8, config: dict[str, Any] | None = None, **metadata: Any) -> None:
        folder.mkdir(parents=True)
        self.folder, self.dim = folder, dim
        self.db = sqlite3.connect(folder / "hoplite.sqlite")
        for sql in schema():
            self.db.execute(sql)
        self.index = Index(
            ndim=dim, metric=MetricKind.IP, dtype=ScalarKind.F16, expansion_add=256, expansion_search=128
        )
        self.vectors: dict[int, np.ndarray] = {}
        self.metadata("usearch_config", {"embedding_dim": dim, "dtype": "float16"})
        chosen = TINY if config is None else config
        if chosen:
            self.metadata("model_config", chosen)
        for key, value in metadata.items():
            self.metadata(key, value)

    def metadata(self, key: str, value: Any) -> None:
        self.db.execute("INSERT INTO hoplite_metadata VALUES (?, ?)", (key, json.dumps(value)))

    def deployment(
        self, name: str, project: str = "p", latitude: float | None = None, longitude: float | None = None
    ) -> int:
        row = self.db.execute(
            "INSERT INTO deployments (name, project, latitude, longitude) VALUES (?, ?, ?, ?)",
            (name, project, latitude, longitude),
        )
        return int(row.lastrowid or 0)

    def recording(self, filename: str, deployment: int | None = None, start: str | None = None) -> int:
        row = self.db.execute(
            "INSERT INTO recordings (filename, datetime, deployment_id) VALUES (?, ?, ?)", (filename, start, deployment)
        )
        return int(row.lastrowid or 0)

    def window(
        self, recording: int, start_s: float, end_s: float | None = None, *, vector: Any = "random", blob: Any = None
    ) -> int:
        held = offsets(start_s, start_s + 2.0 if end_s is None else end_s) if blob is None else blob
        row = self.db.execute("INSERT INTO windows (recording_id, offsets) VALUES (?, ?)", (recording, held))
        number = int(row.lastrowid or 0)
        if vector is not None:
            if isinstance(vector, str):
                vector = np.random.default_rng(number).standard_normal(self.dim)
            self.vectors[number] = np.asarray(vector, np.float16)
            self.index.add(number, self.vectors[number])
        return number

    def windows(self, recording: int, starts: Sequence[float]) -> list[int]:
        return [self.window(recording, s) for s in starts]

    def annotation(
        self, recording: int, start_s: float, end_s: float, label: str, kind: Any = 1, by: str = "ana", blob: Any = None
    ) -> None:
        self.db.execute(
            "INSERT INTO annotations (recording_id, offsets, label, label_type, provenance) VALUES (?, ?, ?, ?, ?)",
            (recording, offsets(start_s, end_s) if blob is None else blob, label, kind, by),
        )

    def done(self) -> Path:
        self.db.commit()
        self.db.close()
        self.index.save(str(self.folder / "usearch.index"))
        return self.folder
