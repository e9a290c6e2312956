"""The benchmark of the search on a GPU, through the twin on the CPU; and what it says where there is no GPU."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import gpu_search
from sonotheque.core.errors import Unavailable
from store.index import device
from store.index.device import HostDevice


def test_without_a_gpu_it_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_turned_off", [])
    monkeypatch.setenv(device.OFF, "off")
    with pytest.raises(Unavailable, match="cannot be measured here"):
        gpu_search.run(quick=True, quiet=True)


def test_it_measures_and_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_turned_off", [])
    monkeypatch.setattr(gpu_search, "_DRAWN", 2_000)
    blocks = gpu_search.drawn(5_000, 64)
    assert [len(b) for b in blocks] == [2_000, 2_000, 1_000]
    assert not (blocks[0][:1_000] == blocks[2]).all(axis=1).any()
    devices = [HostDevice(64 * 2 * 3_000), HostDevice(64 * 2 * 3_000)]
    size = gpu_search.measure(devices, blocks, gpu_search.queries(5_000, 64), 100.0, 2, margin_bytes=0)
    assert (size["windows"], size["bytes"]) == (5_000, 640_000)
    assert size["recall"]["mean"] > 0.98
    assert size["certain"] == "32 of 32"
    assert [s["search"] for s in size["searches"]] == ["one query", "batch of 64", "one query, a tenth of the rows"]
    gpus = [{"name": "host", "total_bytes": 1 << 30, "copy_gb_s": 100}]
    table = gpu_search.text({"gpus": gpus, "dim": 64, "k": 50, "repeats": 2, "sizes": [size]})
    assert len(table.splitlines()) == 7
    assert "| 5,000 | 0.0 |" in table


def test_truth_is_that_of_a_plain_sort() -> None:
    rng = np.random.default_rng(3)
    rows = rng.standard_normal((500, 8)).astype(np.float16)
    rows[4] = 0
    asked = gpu_search.search_data._unit(rng.standard_normal((3, 8)).astype(np.float32))
    wide = rows.astype(np.float64)
    scores = asked.astype(np.float64) @ (wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-9)).T
    assert (gpu_search.truth([rows[:200], rows[200:]], asked) == np.argsort(-scores, axis=1)[:, : gpu_search.K]).all()
