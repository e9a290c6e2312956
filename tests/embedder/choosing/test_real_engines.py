"""The choice with the engines that are installed, on BirdNET's own weights, and what the command line prints of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from embedder.choosing import choose, survey
from embedder.models import load_model, weights_status
from tests.cluster.support import cli

needs_birdnet = pytest.mark.skipif(
    not weights_status("birdnet_v2.4").present, reason="BirdNET's weights are not installed"
)


@needs_birdnet
def test_what_is_chosen_for_birdnet_passes_and_can_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ai_edge_litert")
    monkeypatch.setattr(survey, "ROUNDS", 1)
    choice = choose("birdnet_v2.4", everything=True)
    chosen = next(m for m in choice.measured if m.name == choice.name)
    assert chosen.passes
    for m in choice.measured:
        assert m.state in ("ran", "refused"), m.verdict
        if m.precision == "fp32" and m.fidelity:
            assert m.fidelity.cosine_min > 0.99999
            assert m.fidelity.top1_agreement == 1.0
    model = load_model("birdnet_v2.4", engine=choice.engine, precision=choice.precision)
    assert model.spec.precision == choice.precision


@needs_birdnet
def test_models_engines_prints_a_table_and_then_knows(own_cache: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    env = {"SONOTHEQUE_CACHE": str(own_cache)}
    first = cli("models", "engines", "birdnet_v2.4", "--engine", "litert", "--no-predictions", env=env)
    assert first.returncode == 0, first.stderr
    lines = first.stdout.splitlines()
    assert lines[0].split()[:3] == ["engine", "precision", "ms/window"]
    assert lines[2].startswith("litert")
    assert lines[2].endswith("passes, chosen")
    assert lines[2].split()[-5] == "1.00000"
    assert lines[-1].startswith("birdnet_v2.4: litert fp32 is used: ")
    assert "the reference runs" in first.stderr
    again = cli("models", "engines", "birdnet_v2.4", "--engine", "litert", "--no-predictions", "--json", env=env)
    told = json.loads(again.stdout)
    assert (told["model"], told["engine"], told["precision"]) == ("birdnet_v2.4", "litert", "fp32")
    assert told["why"].endswith("measured earlier")
    assert told["measured"][0]["fidelity"]["top1_agreement"] is None
    assert again.stderr == ""


def test_models_engines_of_a_model_without_any() -> None:
    done = cli("models", "engines", "placeholder")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "placeholder: built in fp32 is used: it is built in and has no engine to choose\n"
    refused = cli("models", "engines", "placeholder", "--engine", "onnx", "--json")
    assert refused.returncode == 2
    assert json.loads(refused.stdout)["error"]["kind"] == "invalid"


def test_models_check_tells_the_precision() -> None:
    done = cli("models", "check", "placeholder", "--engine", "auto")
    assert done.returncode == 0, done.stderr
    assert "  numbers  fp32\n" in done.stdout
    told = json.loads(cli("models", "check", "placeholder", "--json").stdout)
    assert told["precision"] == "fp32"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["placeholder", "--engine", "openvino"], "without an engine"),
        (["placeholder", "--engine", "auto", "--precision", "bf16"], "has no engine to choose"),
        (["placeholder", "--precision", "fp8"], "fp8"),
    ],
)
def test_models_check_refuses_what_cannot_be(arguments: list[str], message: str) -> None:
    done = cli("models", "check", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
