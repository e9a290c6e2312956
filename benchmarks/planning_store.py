"""The store of a season that is done: every part in its place with its ledger, and next to nothing in it."""

from __future__ import annotations

import time
from typing import Any, BinaryIO

import numpy as np

from cluster.options import EmbedOptions
from cluster.plan import PartPlan, pack, part_target_s
from cluster.run import prepare
from embedder.models import load_model
from sonotheque.core.outcome import DecodeSummary, Status, TopLabel
from store import (
    LocalFileOps,
    PartWriter,
    StoreConfig,
    TopClasses,
    WindowRows,
    create_config,
    ledger_entry,
    load_ledger,
    write_snapshot,
)
from store.catalog import open_catalog

WINDOWS = (
    2  # of each part's first recording; the others were too short: what else a ledger says does not depend on them
)


class NoSync(LocalFileOps):
    """Files of a store that is thrown away afterwards need not survive a power cut."""

    def sync_file(self, handle: BinaryIO) -> None:
        handle.flush()

    def sync_dir(self, path: str) -> None:
        """Nothing."""


def make_store(options: EmbedOptions) -> dict[str, Any]:
    """Commit every part of a plan, as tasks would that had embedded it."""
    began = time.monotonic()
    prepared = prepare(options)
    model = load_model("placeholder")
    config = create_config(options.store, prepared.settled.config_for(model.spec))
    target_s = part_target_s(prepared.inventory.audio_s)
    parts = 0
    for part in pack(prepared.inventory.new, config.digest, target_s):
        _commit(options.store, config, part, model.classes)
        parts += 1
    # As a run leaves it that came to its end: with a snapshot and its catalog.
    snapshot = write_snapshot(options.store, config, load_ledger(options.store))
    open_catalog(options.store, config, snapshot)
    return {"parts": parts, "files": prepared.inventory.files, "wall_s": round(time.monotonic() - began, 1)}


def _commit(store: str, config: StoreConfig, part: PartPlan, classes: tuple[str, ...]) -> None:
    dim, top_k = config.model.dim, config.top_k
    offsets = np.arange(WINDOWS, dtype=np.int64) * config.windows.hop_samples
    valid = np.full(WINDOWS, config.windows.window_samples, np.int32)
    vectors = np.ones((WINDOWS, dim), np.float32)
    best = TopClasses(
        np.tile(np.arange(top_k, dtype=np.int32), (WINDOWS, 1)),
        np.zeros((WINDOWS, top_k), np.float32),
        np.full((WINDOWS, top_k), 0.5, np.float32),
    )
    entries = []
    with PartWriter(
        store, config, part_id=part.part_id, site=part.site, date=part.date, classes=classes, ops=NoSync()
    ) as writer:
        for number, recording in enumerate(part.recordings):
            windows = 0 if number else WINDOWS
            status = Status.TOO_SHORT if number else Status.OK
            summary = DecodeSummary(status, "", 48_000, 1, 3_120_000, 3_120_000, 65.0, "WAV", "PCM_16")
            top = TopLabel(classes[0], 0.5, 0.0)
            entries.append(ledger_entry(recording, summary, windows=windows, first_row=writer.rows, top=top))
            if windows:
                writer.add(WindowRows(recording, offsets, valid, vectors, best))
        writer.commit(entries)
