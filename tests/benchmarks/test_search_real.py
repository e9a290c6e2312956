"""Real embeddings in the search benchmark: a query's own recording is left out inside, and codes are judged by what they put forward."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from benchmarks import search_real
from benchmarks.search_layout import Layout
from benchmarks.search_measure import K, cosines
from benchmarks.search_real import candidate_recall, generated, statistics, true_rows
from benchmarks.search_store import make_search_store
from benchmarks.search_text import real_lines
from embedder.audio.synthesis import CALLS, SAMPLE_RATE_HZ, compose
from tests.store.kit import tree


def unit(rows: Any) -> Any:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_the_statistics_of_known_vectors() -> None:
    rng = np.random.default_rng(1)
    told = statistics(unit(rng.standard_normal((2000, 300))))
    assert told["mean_cosine"] == pytest.approx(0, abs=0.01)
    assert told["negative_share"] == pytest.approx(0.5, abs=0.01)
    flat = np.zeros((500, 300))
    flat[:, :10] = rng.random((500, 10))
    told = statistics(unit(flat))
    assert told["variance_in_64"] == 1
    assert told["negative_share"] == 0
    assert told["mean_cosine"] > 0.6


def test_the_own_group_is_no_answer() -> None:
    rng = np.random.default_rng(2)
    vectors, groups = unit(rng.standard_normal((300, 16))), np.repeat(np.arange(30), 10)
    for query, own, rows in zip(
        vectors[:9], groups[:9], true_rows(vectors, vectors[:9], groups, groups[:9]), strict=True
    ):
        assert len(rows) == K
        assert own not in groups[rows]
        others = np.flatnonzero(groups != own)
        assert set(rows) == set(others[np.argsort(-cosines(vectors[others], query))[:K]])


def test_all_candidates_hold_the_truth_and_few_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_real, "CANDIDATES", (5, 60, 2000))
    made, asked = generated(2000, 64)
    assert made.shape == (2000, 64)
    told = candidate_recall(made, asked[:40], np.full(2000, -1), np.full(40, -2))
    assert set(told) == {"1 bit (RaBitQ)", "SQ8", "PQ64"}
    for name, kind in told.items():
        assert kind["5"]["recall"] <= 0.1, "5 candidates hold a tenth of 50 at most"
        assert kind["5"]["recall"] <= kind["60"]["recall"] <= kind["2000"]["recall"] == 1, name
    assert told["SQ8"]["60"]["recall"] > told["1 bit (RaBitQ)"]["60"]["recall"]
    assert told["1 bit (RaBitQ)"]["bytes_per_window"] == 64 / 8 + 8


def test_recordings_are_embedded_and_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_real, "MODEL", "placeholder")
    monkeypatch.setattr(search_real, "QUERIES", 20)
    monkeypatch.setattr("cluster.options.default_workers", lambda model: 0)
    rng = np.random.default_rng(3)
    for number in range(4):
        sound, _ = compose(tuple(CALLS), 30.0, rng)
        path = tmp_path / "sounds" / f"20250501_0{number}0000.wav"
        path.parent.mkdir(exist_ok=True)
        sf.write(path, sound, SAMPLE_RATE_HZ, subtype="PCM_16")
    told = search_real.measure(tmp_path, tmp_path / "sounds", 0.5)
    assert (told["recordings"], told["queries"], told["hop_s"]) == (4, 20, 0.5)
    assert told["windows"] > 150
    assert told["end_to_end"]["default"]["how"] == ["codes"], "codes are used, few as the windows are"
    assert told["end_to_end"]["recall 0.999"]["recall"] > 0.9
    assert told["candidates"]["real"]["SQ8"]["200"]["recall"] > 0.9
    assert set(told["statistics"]) == {"real", "generated"}
    assert json.loads(json.dumps(told)) == told
    shown = "\n".join(real_lines(told))
    assert "4 recordings, placeholder, hop 0.5 s" in shown
    assert "| SQ8 | real |" in shown


def test_a_store_is_measured_on_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_real, "QUERIES", 20)
    shape = Layout(1_000, dim=32)
    store = make_search_store(tmp_path, shape, processes=1, quiet=True) / "store"
    before = tree(str(store))
    told = search_real.measure(tmp_path, store, 9.0)
    assert tree(str(store)) == before
    assert (told["windows"], told["recordings"], told["hop_s"]) == (1_000, 1_000, 5.0)
    real, generated = told["statistics"]["real"], told["statistics"]["generated"]
    assert real["mean_cosine"] == pytest.approx(generated["mean_cosine"], abs=0.05)
    assert set(told["candidates"]["real"]) == {"1 bit (RaBitQ)", "SQ8"}, "32 dimensions cannot be cut into 64"
    assert told["end_to_end"]["default"]["recall"] > 0.9
    again = search_real.measure(tmp_path, store, 9.0)
    assert again == told
