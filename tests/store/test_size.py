"""What a window costs on disk at full size: 1536 float16 values, ten predictions, one-minute files."""

from __future__ import annotations

from dataclasses import replace

from store import load_ledger, write_snapshot
from tests.store import kit

BYTES_PER_WINDOW_MAX = 3200
FILES, WINDOWS = 60, 12  # one hour of one-minute files, 5 s windows


def test_bytes_per_window(tmp_path):
    config = replace(kit.store_config(top_k=10), model=kit.model_spec(dim=1536, n_classes=1000))
    root, _ = kit.new_store(tmp_path, config)
    items = [(kit.recording(f"SITE_{i // 20}/20240501_{i:06d}.WAV"), WINDOWS) for i in range(FILES)]
    done = kit.write_part(root, config, items, classes=tuple(f"Genus species{i}" for i in range(1000)))
    snapshot = write_snapshot(root, config, load_ledger(root))
    all_bytes = sum(len(data) for data in kit.tree(root).values())
    assert done.rows == FILES * WINDOWS
    assert done.bytes_written == snapshot.bytes
    assert 2500 < all_bytes / done.rows <= BYTES_PER_WINDOW_MAX
