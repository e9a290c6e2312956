"""Which engine is chosen, of engines that do what they are told, each in a process of its own."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from embedder.choosing import choose
from embedder.choosing.cache import FILE
from embedder.choosing.candidates import candidates
from embedder.choosing.survey import survey
from embedder.models import load_model
from sonotheque.core.errors import Invalid, NotFound, Unavailable
from tests.embedder.choosing.conftest import Machine, loads

SLOW, MIDDLE, FAST = {"spin_ms": 3.0}, {"spin_ms": 1.5}, {"spin_ms": 0.3}
OFF = {"noise": 0.5}


def test_the_fastest_that_passes_is_chosen_and_the_others_are_kept(machine: Machine) -> None:
    weights = machine({"onnx fp32": SLOW, "openvino fp32": MIDDLE, "openvino bf16": {**FAST, "noise": 0.01}})
    told: list[str] = []
    choice = choose("placeholder", weights, tell=told.append)
    assert (choice.engine, choice.precision, choice.warning) == ("openvino", "bf16", "")
    assert [m.name for m in choice.measured] == ["onnx fp32", "openvino fp32", "openvino bf16"]
    assert all(m.passes for m in choice.measured)
    assert choice.measured[0].cpu_ms > choice.measured[1].cpu_ms > choice.measured[2].cpu_ms > 0
    assert 0.999 < choice.measured[2].fidelity.cosine_median < 1.0  # type: ignore[union-attr]
    assert choice.measured[2].x_realtime == pytest.approx(2000.0 / choice.measured[2].cpu_ms)
    assert "x as fast as openvino fp32" in choice.why
    assert told[-1] == f"placeholder: openvino bf16 is used: {choice.why}"


def test_a_fast_one_that_says_something_else_is_not_chosen(machine: Machine) -> None:
    weights = machine({"onnx fp32": SLOW, "openvino fp32": MIDDLE, "openvino bf16": {**FAST, **OFF}})
    choice = choose("placeholder", weights)
    assert choice.name == "openvino fp32"
    assert choice.measured[2].verdict.startswith("median cosine 0.")
    assert "0.999 is asked of bf16" in choice.measured[2].verdict


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("exit", "openvino fp32 ended with exit code 3: RuntimeError: no such operator"),
        ("abort", "openvino fp32 was killed by SIGABRT"),
        ("abort_later", "openvino fp32 was killed by SIGABRT"),
        ("refuse", "the graph is not for this engine"),
    ],
)
def test_what_crashes_is_a_failure_of_its_own(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, fault: str, reason: str
) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # so that what a library said waits to be written
    weights = machine({"onnx fp32": SLOW, "openvino fp32": {"fault": fault}, "openvino bf16": MIDDLE})
    choice = choose("placeholder", weights)
    assert choice.name == "openvino bf16"
    failed = choice.measured[1]
    assert (failed.state, failed.passes, failed.x_realtime) == ("failed", False, 0.0)
    assert failed.reason.startswith(reason)


def test_neither_vectors_that_are_not_finite_nor_another_precision_pass(machine: Machine) -> None:
    other, broken = {**FAST, "precision": "fp32"}, {**FAST, "fault": "nonfinite"}
    choice = choose("placeholder", machine({"onnx fp32": SLOW, "openvino fp32": broken, "openvino bf16": other}))
    assert choice.name == "onnx fp32"
    assert choice.measured[1].fidelity.cosine_min == 0.0  # type: ignore[union-attr]
    assert choice.measured[2].reason == "it really runs in fp32"


def test_int8_is_tried_only_if_asked_for(machine: Machine) -> None:
    weights = machine({"onnx fp32": SLOW, "onnx int8": FAST, "openvino bf16": MIDDLE})
    assert choose("placeholder", weights).name == "openvino bf16"
    assert not any("int8" in line for line in loads(weights))
    assert choose("placeholder", weights, precision="int8").name == "onnx int8"


def test_without_predictions_the_head_is_neither_run_nor_compared(machine: Machine) -> None:
    weights = machine({"onnx fp32": SLOW, "openvino fp32": FAST})
    choice = choose("placeholder", weights, logits=False, threads=2)
    assert set(loads(weights)) == {f"{w} logits=False threads=2" for w in ("reference", "onnx fp32", "openvino fp32")}
    assert choice.measured[1].fidelity.top1_agreement is None  # type: ignore[union-attr]


def test_what_is_asked_for_by_name_is_not_measured(machine: Machine) -> None:
    weights = machine({"onnx fp32": SLOW, "openvino fp32": FAST, "openvino bf16": FAST})
    choice = choose("placeholder", weights, engine="onnx", precision="fp32")
    assert (choice.name, choice.why, choice.measured) == ("onnx fp32", "as asked for", ())
    assert choose("placeholder", weights, engine="onnx").name == "onnx fp32"
    assert loads(weights) == []


def test_one_engine_picks_its_precision_and_one_precision_its_engine(machine: Machine) -> None:
    weights = machine({"onnx fp32": FAST, "onnx fp16": FAST, "openvino fp32": SLOW, "openvino fp16": MIDDLE})
    assert choose("placeholder", weights, engine="openvino").name == "openvino fp16"
    assert choose("placeholder", weights, precision="fp16").name == "onnx fp16"


def test_a_precision_asked_for_that_misses_the_rules_is_used_with_a_warning(machine: Machine) -> None:
    weights = machine({"onnx fp32": SLOW, "openvino bf16": {**FAST, **OFF}})
    told: list[str] = []
    choice = choose("placeholder", weights, precision="bf16", tell=told.append)
    assert choice.name == "openvino bf16"
    assert "openvino bf16 was asked for and differs from the reference: median cosine" in choice.warning
    assert told[-1].endswith(choice.warning)


def test_the_references_own_error_is_raised_as_it_is(machine: Machine) -> None:
    weights = machine({"onnx fp32": SLOW, "openvino fp32": FAST}, reference={"fault": "refuse"})
    with pytest.raises(Invalid, match="the graph is not for this engine") as caught:
        choose("placeholder", weights)
    assert caught.value.kind == "invalid_weights"


def test_a_crash_of_the_reference_is_told(machine: Machine) -> None:
    with pytest.raises(Unavailable, match="the reference, onnx fp32 was killed by SIGABRT"):
        choose("placeholder", machine({"onnx fp32": SLOW, "openvino fp32": FAST}, reference={"fault": "abort"}))


def test_what_this_machine_cannot_do_is_told(machine: Machine) -> None:
    weights = machine({"onnx fp32": FAST})
    with pytest.raises(Unavailable, match="openvino bf16: this CPU has no bf16 for openvino") as caught:
        choose("placeholder", weights, precision="bf16")
    assert caught.value.kind == "engine_missing"


def test_everything_shows_what_is_not_here_too(machine: Machine) -> None:
    choice = choose("placeholder", machine({"onnx fp32": FAST}), everything=True)
    assert choice.name == "onnx fp32"
    assert [(m.name, m.state) for m in choice.measured] == [
        ("onnx fp32", "ran"),
        ("onnx bf16", "refused"),
        ("onnx fp16", "refused"),
        ("openvino fp32", "refused"),
        ("openvino bf16", "refused"),
        ("openvino fp16", "refused"),
    ]
    assert choice.measured[2].verdict == "refused: this CPU has no fp16 for onnx"


def test_a_file_of_the_hub_is_fetched_before_any_process_has_to_be_quick(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, asked = machine({"onnx fp32": SLOW}), list[str]()

    def find(named: str) -> None:
        asked.append(named)
        assert loads(weights) == []
        raise Unavailable("no network", kind="download_failed")

    monkeypatch.setattr("embedder.models.onnx_files.find_onnx", find)
    with pytest.raises(Unavailable, match="no network") as caught:
        survey("placeholder", "hf:o/n/x.onnx", candidates("placeholder", weights))
    assert caught.value.kind == "download_failed"
    assert asked == ["hf:o/n/x.onnx"]
    assert survey("placeholder", weights, candidates("placeholder", weights))[0].state == "ran"
    assert asked == ["hf:o/n/x.onnx"], "what is on this machine is not looked for on the hub"


# What is known from before.


def test_a_second_time_nothing_is_loaded(machine: Machine) -> None:
    weights = machine({"onnx fp32": SLOW, "openvino fp32": FAST})
    first = choose("placeholder", weights)
    before = loads(weights)
    second = choose("placeholder", weights)
    assert loads(weights) == before
    assert second.measured == first.measured
    assert second.why == f"{first.why}; measured earlier"
    choose("placeholder", weights, again=True)
    assert len(loads(weights)) == 2 * len(before)


def test_part_of_what_was_measured_is_known_too(machine: Machine) -> None:
    weights = machine({"onnx fp32": SLOW, "openvino fp32": FAST, "openvino bf16": MIDDLE})
    choose("placeholder", weights)
    before = loads(weights)
    assert choose("placeholder", weights, engine="openvino").name == "openvino fp32"
    assert choose("placeholder", weights, precision="bf16").name == "openvino bf16"
    assert loads(weights) == before


def test_other_weights_threads_or_predictions_are_measured_anew(machine: Machine) -> None:
    has = {"onnx fp32": SLOW, "openvino fp32": FAST}
    weights = machine(has)
    counts = []
    for options in ({}, {"threads": 2}, {"logits": False}):
        choose("placeholder", weights, **options)  # type: ignore[arg-type]
        counts.append(len(loads(weights)))
    machine(has, unrelated={"spin_ms": 1.0})  # the same path with other bytes in it
    choose("placeholder", weights)
    counts.append(len(loads(weights)))
    assert counts == [3, 6, 9, 12]


def test_several_at_once_measure_once(machine: Machine) -> None:
    weights = machine({"onnx fp32": SLOW, "openvino fp32": FAST})
    names: list[str] = []
    threads = [threading.Thread(target=lambda: names.append(choose("placeholder", weights).name)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names == ["openvino fp32"] * 3
    assert len(loads(weights)) == 3


def test_an_unreadable_cache_is_measured_over(machine: Machine, own_cache: Path) -> None:
    weights = machine({"onnx fp32": SLOW, "openvino fp32": FAST})
    choose("placeholder", weights)
    (own_cache / FILE).write_bytes(b'{"format": 1, "entr')
    assert choose("placeholder", weights).name == "openvino fp32"
    assert json.loads((own_cache / FILE).read_text(encoding="utf-8"))["entries"]
    assert len(loads(weights)) == 6


def test_a_cache_that_cannot_be_made_is_done_without(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SONOTHEQUE_CACHE", str(tmp_path / "file" / "folder"))
    assert choose("placeholder", machine({"onnx fp32": SLOW, "openvino fp32": FAST})).name == "openvino fp32"


# Words and weights.


def test_a_model_without_engines_has_nothing_to_choose() -> None:
    choice = choose("placeholder")
    assert (choice.engine, choice.precision, choice.measured) == (None, "fp32", ())
    assert load_model("placeholder").spec.precision == choice.precision
    assert choose("placeholder", precision="fp32").engine is None


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "placeholder",
            {"engine": "tflite"},
            "--engine is 'tflite'; it takes auto, tensorflow, onnx, openvino, litert",
        ),
        ("placeholder", {"precision": "fp8"}, "--precision is 'fp8'; it takes auto, fp32, bf16, fp16, int8"),
        ("placeholder", {"engine": "onnx"}, "has no engine to choose"),
        ("placeholder", {"precision": "bf16"}, "has no engine to choose"),
        ("birdnet_v2.4", {"engine": "tensorflow"}, r"\(tflite\) run on: litert fp32, openvino fp32"),
        ("birdnet_v2.4", {"engine": "litert", "precision": "bf16"}, "cannot be run with litert bf16"),
        ("perch_v2", {"engine": "openvino"}, "StableHLO export.* --weights hf:justinchuby/Perch-onnx/perch_v2.onnx"),
        ("perch_v2", {"weights": "/somewhere/perch_v2.onnx", "engine": "litert"}, r"\(onnx\) run on: onnx fp32"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(name: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        choose(name, **options)  # type: ignore[arg-type]


def test_an_unknown_model_is_named() -> None:
    with pytest.raises(NotFound, match=r"birdnet_v2\.4"):
        choose("birdnet")
