"""perch-hoplite embeds a folder through its own worker: ``python -m benchmarks.peers_hoplite SAVED_MODEL SOURCE SCRATCH``.

Runs in the peers' environment, with its defaults: eight decoder threads, shards of a minute, TensorFlow's own choice of threads.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

WINDOW_S, RATE_HZ, DIM = 5.0, 32_000, 1536
SHARD_S = 60


def main(saved_model: Path, source: Path, scratch: Path) -> dict[str, Any]:
    """Embed every recording below ``source`` into a new database in ``scratch``."""
    began = time.perf_counter()
    embed = importlib.import_module("perch_hoplite.agile.embed")
    sources = importlib.import_module("perch_hoplite.agile.source_info")
    presets = importlib.import_module("perch_hoplite.zoo.model_configs")
    db = importlib.import_module("perch_hoplite.db.db_loader").create_new_usearch_db(
        db_path=str(scratch / "db"), embedding_dim=DIM
    )
    config = embed.ModelConfig(
        model_key="taxonomy_model_tf", embedding_dim=DIM, model_config=presets.perch_config(str(saved_model))
    )
    kind = next(path for path in sorted(source.rglob("*")) if path.is_file()).suffix
    glob = sources.AudioSourceConfig(dataset_name="bench", base_path=str(source), file_glob=f"*/*{kind}")
    worker = embed.EmbedWorker(sources.AudioSources((glob,)), config, db)
    # The first call of a size is traced; it belongs to the start.
    worker.embedding_model.embed(np.zeros(SHARD_S * RATE_HZ, np.float32))
    ready = time.perf_counter()
    worker.process_all()
    ended = time.perf_counter()
    windows = int(db.count_embeddings())
    return {
        "audio_s": windows * WINDOW_S,
        "windows": windows,
        "startup_s": round(ready - began, 3),
        "work_s": round(ended - ready, 3),
        "bytes": sum(file.stat().st_size for file in scratch.rglob("*") if file.is_file()),
        "versions": {name: version(name) for name in ("perch-hoplite", "tensorflow")},
    }


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        told = main(*map(Path, sys.argv[1:4]))
    print(json.dumps(told))
