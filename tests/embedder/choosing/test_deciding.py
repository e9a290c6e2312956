"""The rules of the choice, on figures made up for it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from embedder.choosing.candidates import Candidate
from embedder.choosing.deciding import cost_ms, decide, unmeasured
from embedder.choosing.fidelity import Fidelity
from embedder.choosing.records import Measured
from sonotheque.core.errors import Unavailable

POSSIBLE = [Candidate("onnx", "fp32"), Candidate("openvino", "fp32"), Candidate("openvino", "bf16")]
CLOSE = Fidelity(48, 0.9999, 0.99999, 1.0, 1.0, 0.01)


def ran(engine: str, precision: str, cpu_ms: float, median: float = 0.99999, worst: float = 0.9999) -> Measured:
    fidelity = replace(CLOSE, cosine_median=median, cosine_min=worst)
    return Measured(
        engine, precision, "ran", "", fidelity, cpu_ms=cpu_ms, wall_ms=cpu_ms, window_s=5.0, runtime="x", device="CPU"
    )


def chosen(*measured: Measured, fixed: bool = False) -> str:
    possible = [c for c in POSSIBLE if (c.engine, c.precision) in {(m.engine, m.precision) for m in measured}]
    return decide(possible, measured, fixed_precision=fixed).name


@pytest.mark.parametrize(
    ("fp32_median", "bf16_median", "name"),
    [
        (0.9999, 0.5, "openvino fp32"),  # exactly what is asked is enough
        (0.99989, 0.999, "openvino bf16"),
        (0.99989, 0.99899, "onnx fp32"),
        (0.9999, 0.999, "openvino bf16"),
    ],
)
def test_full_precision_is_held_to_more_than_reduced(fp32_median: float, bf16_median: float, name: str) -> None:
    records = [
        ran("onnx", "fp32", 9.0),
        ran("openvino", "fp32", 8.0, fp32_median),
        ran("openvino", "bf16", 3.0, bf16_median),
    ]
    assert chosen(*records) == name


def test_one_window_far_off_is_enough_to_be_out() -> None:
    assert chosen(ran("onnx", "fp32", 9.0), ran("openvino", "fp32", 3.0, worst=0.9899)) == "onnx fp32"
    assert chosen(ran("onnx", "fp32", 9.0), ran("openvino", "fp32", 3.0, worst=0.99)) == "openvino fp32"


def test_of_two_as_fast_the_more_precise_then_the_more_usual() -> None:
    first, second, third = ran("onnx", "fp32", 5.1), ran("openvino", "fp32", 5.0), ran("openvino", "bf16", 4.96)
    assert chosen(first, second, third) == "onnx fp32"
    assert chosen(third, second, first) == "onnx fp32"
    assert chosen(second, third) == "openvino fp32"
    assert chosen(first, second, ran("openvino", "bf16", 4.8)) == "openvino bf16"


def test_on_an_accelerator_the_clock_counts() -> None:
    """Its work is no processor time: by that alone it would always win."""
    quick = replace(ran("onnx", "fp32", 0.1), wall_ms=2.0, device="GPU:0 NVIDIA H200")
    slow = replace(quick, wall_ms=9.0)
    other = ran("openvino", "fp32", 5.0)
    assert cost_ms(quick, [other, quick]) == 2.0
    assert cost_ms(other, [other]) == 5.0
    assert quick.x_realtime == 2500.0
    assert chosen(quick, other) == "onnx fp32"
    assert chosen(slow, other) == "openvino fp32"
    why = decide(POSSIBLE[:1], [quick], fixed_precision=False).why
    assert why.startswith("2.00 ms a window, 2,500 x realtime on GPU:0 NVIDIA H200")


def test_if_nothing_passes_full_precision_is_used_with_a_warning() -> None:
    records = [ran("onnx", "fp32", 9.0, 0.98), ran("openvino", "fp32", 3.0, 0.97), ran("openvino", "bf16", 1.0, 0.99)]
    choice = decide(POSSIBLE, records, fixed_precision=False)
    assert choice.name == "onnx fp32"
    assert "no candidate agrees with the reference" in choice.warning
    assert choice.measured == tuple(records)


def test_a_precision_asked_for_is_used_with_a_warning() -> None:
    choice = decide(POSSIBLE[2:], [ran("openvino", "bf16", 1.0, 0.99)], fixed_precision=True)
    assert choice.name == "openvino bf16"
    assert "was asked for and differs from the reference: median cosine 0.99000" in choice.warning
    assert choice.why.startswith("asked for")


def test_one_that_passes_is_preferred_to_a_faster_one_that_was_asked_for_as_well() -> None:
    possible = [Candidate("onnx", "fp16"), Candidate("openvino", "fp16")]
    records = [ran("onnx", "fp16", 9.0, 0.9995), ran("openvino", "fp16", 1.0, 0.99)]
    choice = decide(possible, records, fixed_precision=True)
    assert (choice.name, choice.warning) == ("onnx fp16", "")


def test_if_nothing_ran_every_reason_is_told() -> None:
    records = [Measured("onnx", "fp32", "failed", "no memory"), Measured("openvino", "bf16", "failed", "killed")]
    with pytest.raises(Unavailable, match="onnx fp32: no memory; openvino bf16: killed") as caught:
        decide(POSSIBLE, records, fixed_precision=False)
    assert caught.value.kind == "engine_missing"


def test_the_reason_compares_with_the_next() -> None:
    why = decide(POSSIBLE[:2], [ran("onnx", "fp32", 10.0), ran("openvino", "fp32", 5.0)], fixed_precision=False).why
    assert why == (
        "5.00 ms a window, 1,000 x realtime on a core; 2.00 x as fast as onnx fp32; "
        "median cosine to the reference 0.99999 (0.9999 is asked)"
    )
    assert decide(POSSIBLE[:1], [ran("onnx", "fp32", 10.0)], fixed_precision=False, before=True).why.endswith("earlier")


def test_the_only_possibility_needs_no_figures() -> None:
    assert unmeasured(POSSIBLE[0], asked=False).why == "it is the only possibility here"
    assert unmeasured(POSSIBLE[0], asked=True).why == "as asked for"


def test_records_go_to_json_and_back() -> None:
    for record in (ran("onnx", "fp32", 10.0), Measured("onnx", "fp16", "refused", "none")):
        assert Measured.from_json(json.loads(json.dumps(record.to_json()))) == record
    told = decide(POSSIBLE[:1], [ran("onnx", "fp32", 10.0)], fixed_precision=False).to_json()
    assert json.loads(json.dumps(told))["measured"][0]["verdict"] == "passes"
    with pytest.raises(TypeError):
        Measured.from_json({**ran("onnx", "fp32", 1.0).to_json(), "of_a_later_version": 1})
