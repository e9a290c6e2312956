"""A machine of one's own: what it has, what its engines do, and an empty cache."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embedder.choosing import candidates as candidates_module
from embedder.choosing import child, survey

ROOT = Path(__file__).parents[3]
Machine = Callable[..., str]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("SONOTHEQUE_CACHE", str(folder))
    return folder


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return what makes a machine of {candidate: what it does}; its answer is the path of the weights, an ONNX file."""
    monkeypatch.setattr(child, "COMMAND", (sys.executable, "-m", "tests.embedder.choosing.fake_measure"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(survey, "ROUND_S", 0.02)
    monkeypatch.setattr(survey, "ROUNDS", 3)

    def make(has: dict[str, dict[str, Any]], **others: dict[str, Any]) -> str:
        def refusal(engine: str, precision: str) -> str:
            return "" if f"{engine} {precision}" in has else f"this CPU has no {precision} for {engine}"

        monkeypatch.setattr(candidates_module, "refusal", refusal)
        weights = tmp_path / "fake.onnx"
        weights.write_text(json.dumps({**has, **others}), encoding="utf-8")
        return str(weights)

    return make


def loads(weights: str) -> list[str]:
    """Return what was loaded, in order: ``openvino bf16 logits=True threads=1``."""
    log = Path(weights).with_suffix(".log")
    return log.read_text(encoding="utf-8").splitlines() if log.exists() else []
