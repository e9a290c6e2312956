"""The measured results that are kept say what was asked, and their text can be made of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import imports
from tests.imports.support import do

RESULTS = Path(imports.__file__).parent / "results" / "imports.json"


def test_what_was_measured_is_what_was_asked() -> None:
    result = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert result["from_float32"]["ratio"] <= result["asked"]["ratio"] == imports.RATIO_ASKED
    assert result["from_float32"]["check"]["cosine_min"] >= result["asked"]["cosine_min"] == imports.COSINE_ASKED
    assert result["from_float32"]["windows"] >= 20_000
    assert result["from_float32"]["again"]["parts_written"] == 0
    text = imports.text(result)
    assert f"{result['from_float32']['ratio']:.3f}" in text
    assert f"{result['windows_per_s']:,} windows/s" in text


def test_its_source_is_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four sites, one of them killed and resumed; here with few numbers a vector."""
    make = imports.make_output
    monkeypatch.setattr(imports, "make_output", lambda *given, **more: make(*given, **more, dim=64, top=3))
    monkeypatch.setattr(imports, "_INTERVAL", 5)
    rows = imports.make_source(tmp_path / "out", 48 * 3)
    # The model's windows are 2 s, the files' 5 s: what is read is the layout, not the model.
    monkeypatch.setattr("embedder.models.registry.MODELS", _with_window(5.0))
    report = do(tmp_path / "out", tmp_path / "store")
    assert (report.rows, report.recordings, report.windows) == (rows, 12, 144)
    assert report.sites == {f"S{i}": 3 for i in range(4)}
    assert report.duplicates == {"identical": rows - 144, "differing": 0}
    assert rows > 144


def _with_window(window_s: float) -> dict:
    from dataclasses import replace

    from embedder.models.registry import MODELS

    return {**MODELS, "placeholder": replace(MODELS["placeholder"], window_s=window_s)}
