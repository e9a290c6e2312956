"""How many bytes a window costs, all told: vectors, identity, times, ledger and ten predictions."""

from __future__ import annotations

import tempfile
from datetime import datetime, timedelta

import numpy as np

from sonotheque.core.model_spec import ModelSpec
from sonotheque.core.outcome import DecodeSummary, Status, TopLabel
from sonotheque.core.recording import Recording, RecordingTime, SourceFile
from sonotheque.core.windows import WindowRule
from store import PartWriter, StoreConfig, TopClasses, WindowRows, create_config, ledger_entry, part_id

FILES, WINDOWS_EACH, CLASSES = 120, 12, 14_795


def bytes_per_window(dim: int = 1536, dtype: str = "float16") -> float:
    """Return bytes per window of a part of two hours in one-minute files, vectors and predictions random (worst case)."""
    spec = ModelSpec("size", "1", "0" * 64, 32_000, 160_000, dim, CLASSES, "0", "none")
    rule = WindowRule.for_model(spec)
    config = StoreConfig(spec, rule, {"channels": "mean"}, dtype, 10)
    rng = np.random.default_rng(5)
    start = datetime(2025, 5, 10)
    recordings = [
        Recording(
            SourceFile(f"site/20250510_{i // 60:02d}{i % 60:02d}00.WAV", 3_840_488, 1_700_000_000_000_000_000 + i),
            "site",
            RecordingTime(start + timedelta(minutes=i), None, None, None, "name"),
            audio_s=60.0,
        )
        for i in range(FILES)
    ]
    with tempfile.TemporaryDirectory() as root:
        create_config(root, config)
        names = tuple(f"Genus species{i}" for i in range(CLASSES))
        with PartWriter(
            root, config, part_id=part_id(config.digest, recordings), site="site", date="2025-05-10", classes=names
        ) as writer:
            entries = []
            for recording in recordings:
                first = writer.rows
                top = TopClasses(
                    rng.integers(0, CLASSES, (WINDOWS_EACH, 10)).astype(np.int32),
                    -np.sort(-rng.standard_normal((WINDOWS_EACH, 10))).astype(np.float32),
                    rng.random((WINDOWS_EACH, 10), np.float32),
                )
                vectors = rng.standard_normal((WINDOWS_EACH, dim)).astype(np.float32)
                starts = np.arange(WINDOWS_EACH, dtype=np.int64) * spec.window_samples
                writer.add(
                    WindowRows(recording, starts, np.full(WINDOWS_EACH, spec.window_samples, np.int64), vectors, top)
                )
                summary = DecodeSummary(Status.OK, "", 32_000, 1, 1_920_000, 1_920_000, 60.0, "WAV", "PCM_16")
                label = TopLabel("Genus species", 0.5, 0.0)
                entries.append(ledger_entry(recording, summary, windows=WINDOWS_EACH, first_row=first, top=label))
            done = writer.commit(entries)
    return round(done.bytes_written / done.rows, 1)
