"""The roofline: what is counted is what a graph does, peaks come from products that are right, and shares follow from both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed (extra: engines)")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed (extra: engines)")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from benchmarks import roofline, roofline_text  # noqa: E402
from benchmarks.roofline_count import Counted, count, summed  # noqa: E402
from benchmarks.roofline_peak import measured, product_graph  # noqa: E402
from benchmarks.roofline_stages import CUTS, kind_of  # noqa: E402
from benchmarks.roofline_stages import main as measure_stages  # noqa: E402
from benchmarks.standin import Architecture, StandIn, ensure  # noqa: E402
from embedder.engines import open_network  # noqa: E402

NARROW = Architecture(width=0.25, depth=0.5, classes=20)


def weights(name: str, *shape: int) -> Any:
    return numpy_helper.from_array(np.ones(shape, np.float32), name)


def value(name: str, *shape: Any) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A spectrogram that is a product, a convolution of each kind, a mean, and a head."""
    nodes = [
        helper.make_node("MatMul", ["inputs", "mel"], ["spectrogram"]),
        helper.make_node("Unsqueeze", ["spectrogram", "one"], ["image"]),
        helper.make_node("Conv", ["image", "stem"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["c1", "deep"], ["c2"], pads=[1, 1, 1, 1], group=4),
        helper.make_node("Sigmoid", ["c2"], ["s"]),
        helper.make_node("Conv", ["s", "flat", "bias"], ["c3"]),
        helper.make_node("ReduceMean", ["c3", "axes"], ["embedding"], keepdims=0),
        helper.make_node("Gemm", ["embedding", "classes"], ["label"]),
    ]
    constants = [
        weights("mel", 8, 6),
        weights("stem", 4, 1, 3, 3),
        weights("deep", 4, 1, 3, 3),
        weights("flat", 10, 4, 1, 1),
        weights("bias", 10),
        weights("classes", 10, 7),
        numpy_helper.from_array(np.array([1]), "one"),
        numpy_helper.from_array(np.array([2, 3]), "axes"),
    ]
    outputs = [value("spectrogram", "n", 5, 6), value("embedding", "n", 10), value("label", "n", 7)]
    graph = helper.make_graph(nodes, "small", [value("inputs", "n", 5, 8)], outputs, constants)
    path = tmp_path / "small.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def test_operations_and_bytes_of_each_node_are_those_of_a_hand(small: Path) -> None:
    cells = 5 * 6
    assert count(small) == [
        Counted("front end", "product", 2 * 5 * 8 * 6, 4 * 48, 4 * (5 * 8 + cells)),
        Counted("backbone", "moves", 0, 4, 0),
        Counted("backbone", "convolution", 2 * 4 * cells * 9, 4 * 36, 4 * (cells + 4 * cells)),
        Counted("backbone", "depthwise convolution", 2 * 4 * cells * 9, 4 * 36, 4 * 8 * cells),
        Counted("backbone", "elementwise", 4 * cells, 0, 4 * 8 * cells),
        Counted("backbone", "convolution 1 x 1", 2 * 10 * cells * 4, 4 * (40 + 10), 4 * 14 * cells),
        Counted("backbone", "reduction", 10 * cells, 8, 4 * (10 * cells + 10)),
        Counted("head", "product", 2 * 10 * 7, 4 * 70, 4 * 17),
    ]


def test_a_transform_costs_what_the_convention_says(tmp_path: Path) -> None:
    nodes = [helper.make_node("DFT", ["inputs"], ["embedding"], axis=1, onesided=1)]
    graph = helper.make_graph(nodes, "dft", [value("inputs", "n", 1024, 1)], [value("embedding", "n", 513, 2)])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), tmp_path / "dft.onnx"
    )
    (one,) = count(tmp_path / "dft.onnx")
    assert (one.kind, one.operations) == ("Fourier transform", 25_600)  # 2.5 x 1024 x 10


def test_a_stage_is_the_sum_of_its_kinds(small: Path) -> None:
    rows = summed(count(small))
    for stage in CUTS:
        whole = next(row for row in rows if row["stage"] == stage and row["kind"] == "all")
        parts = [row for row in rows if row["stage"] == stage and row["kind"] != "all"]
        for key in ("nodes", "operations", "weight_bytes", "moved_bytes", "all_moved_bytes"):
            assert whole[key] == sum(part[key] for part in parts)
        assert whole["moved_bytes"] <= whole["all_moved_bytes"]


@pytest.fixture(scope="module")
def standin(tmp_path_factory: pytest.TempPathFactory) -> StandIn:
    return ensure(tmp_path_factory.mktemp("standin"), saved_model=False, arch=NARROW, seed=3)


def test_the_stand_in_has_the_same_backbone_in_all_its_files(standin: StandIn) -> None:
    found = [summed(count(path)) for path in (standin.onnx, standin.onnx_no_dft, standin.onnx_embedding)]
    trunks = [[row for row in rows if row["stage"] == "backbone"] for rows in found]
    assert trunks[0] == trunks[1] == trunks[2]
    fronts = [next(row for row in rows if row["stage"] == "front end" and row["kind"] == "all") for rows in found]
    assert fronts[0] == fronts[2]
    # 500 frames, cosines and sines of 1024 points in 513 bins each, against a fast transform of them
    assert fronts[1]["operations"] - fronts[0]["operations"] == pytest.approx(2 * 500 * 1024 * 1026, rel=0.02)
    assert {row["stage"] for row in found[2]} == {"front end", "backbone"}


def test_a_graph_whose_shapes_do_not_follow_is_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Sigmoid", ["inputs"], ["embedding"])]
    graph = helper.make_graph(nodes, "open", [value("inputs", "n", "t")], [value("embedding", "n", "t")])
    onnx.save(helper.make_model(graph), tmp_path / "open.onnx")
    with pytest.raises(ValueError, match="does not follow from the graph's input"):
        count(tmp_path / "open.onnx")


def test_the_product_that_peaks_are_measured_with_is_a_product() -> None:
    network = open_network("onnx", product_graph(32, 16), device="cpu")
    rows = np.random.default_rng(0).standard_normal((3, 32)).astype(np.float32)
    basis = network.run(np.eye(32, dtype=np.float32))[0].copy()
    np.testing.assert_allclose(network.run(rows)[0], rows @ basis, atol=1e-5)
    assert np.linalg.matrix_rank(basis) == 16


def test_two_processes_are_told_as_the_sum_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """The children are replaced by ones that print at once: what is tested is the protocol and the sums."""
    import sys

    line = '{"gflops": {"numpy": {"fp32": 2.5}}, "gb_s": {"read": 1.0}}'
    script = f"import sys; print('ready', flush=True); sys.stdin.readline(); print('{line}')"
    real = __import__("subprocess").Popen
    monkeypatch.setattr("subprocess.Popen", lambda command, **kept: real([sys.executable, "-c", script], **kept))
    assert measured(2, 0.1) == {"processes": 2, "gflops": {"numpy": {"fp32": 5.0}}, "gb_s": {"read": 2.0}}


@pytest.mark.parametrize(
    ("node", "kernel", "kind"),
    [
        ("Convolution", "brgconv_avx512_1x1_bf16", "convolution 1 x 1"),
        ("GroupConvolution", "brgconv_avx512_dw_f32", "depthwise convolution"),
        ("Convolution", "brgconv_avx512_f32", "convolution"),
        ("FullyConnected", "brgemm_avx512_f32", "product"),
        ("ReduceMean", "jit_avx512_f32", "reduction"),
        ("Reorder", "jit_uni_f32", "moves"),
        ("Multiply", "jit_avx512_f32", "elementwise"),
    ],
)
def test_openvino_s_names_are_understood(node: str, kernel: str, kind: str) -> None:
    assert kind_of(node, kernel) == kind


COUNTED = [
    {"stage": "front end", "kind": "all", "operations": 80_000_000, "weight_bytes": 0, "moved_bytes": 1_000_000},
    {"stage": "front end", "kind": "product", "operations": 70_000_000, "weight_bytes": 0, "moved_bytes": 1},
    {
        "stage": "backbone",
        "kind": "all",
        "operations": 2_000_000_000,
        "weight_bytes": 40_000_000,
        "moved_bytes": 100_000_000,
    },
    {
        "stage": "backbone",
        "kind": "convolution 1 x 1",
        "operations": 1_500_000_000,
        "weight_bytes": 1,
        "moved_bytes": 1,
    },
    {"stage": "backbone", "kind": "squeeze and excite", "operations": 100_000_000, "weight_bytes": 1, "moved_bytes": 1},
]
PEAK = {"gflops": {"openvino": {"bf16": 200.0}, "numpy": {"fp32": 100.0}}, "gb_s": {"copy": 25.0, "read": 30.0}}


def test_a_share_is_operations_by_time_by_peak() -> None:
    row = {"stage": "backbone", "engine": "openvino", "precision": "bf16", "batch": 4, "ms": 20.0}
    found = roofline.reached(row, COUNTED, COUNTED, PEAK)
    assert (found["gflop_s"], found["share_of_peak"], found["least_by_peak_ms"]) == (100.0, 0.5, 10.0)
    # two bytes a value: half of 100 MB, and half of 40 MB of weights shared by four windows, at 25 GB/s
    assert found["least_from_memory_ms"] == 2.2
    assert (found["share_of_roofline"], found["x_realtime"]) == (0.5, 250.0)
    kinds = [
        {"stage": "backbone", "engine": "openvino", "precision": "bf16", "kind": "convolution 1 x 1", "share": 0.5}
    ]
    (one,) = roofline.kinds_reached(kinds, [found], COUNTED, COUNTED, PEAK)
    assert (one["ms"], one["share_of_peak"]) == (10.0, 0.8)


def test_the_front_end_outside_is_counted_by_what_is_left_of_it() -> None:
    row = {"stage": "front end, outside the graph", "engine": "scipy", "precision": "fp32", "batch": 4, "ms": 1.0}
    found = roofline.reached(row, COUNTED, COUNTED, PEAK)
    assert found["gflop"] == pytest.approx((80 - 70 + 1.024) / 1e3, abs=1e-3)
    assert "share_of_peak" not in found


def test_every_stage_is_measured_in_every_engine_that_is_here(
    standin: StandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SONOTHEQUE_CACHE", str(tmp_path))
    told = measure_stages(standin.onnx_no_dft, 0.01, (2,))
    by = {(row["stage"], row["engine"]): row for row in told["stages"]}
    assert {stage for stage, _ in by} == {"front end, outside the graph", *CUTS}
    assert all("failed" not in row and row["ms"] > 0 for row in told["stages"])
    for stage in {row["stage"] for row in told["kinds"]}:
        mine = [row for row in told["kinds"] if (row["stage"], row["precision"]) == (stage, "fp32")]
        assert sum(row["share"] for row in mine) == pytest.approx(1, abs=0.01)
    counted = summed(count(standin.onnx))
    stages = [roofline.reached(row, counted, summed(count(standin.onnx_no_dft)), PEAK) for row in told["stages"]]
    words = roofline_text.text(
        {
            "machine": {"cpu": "A"},
            "cores": 2,
            "data": "noise",
            "stand_in": "random",
            "counted": counted,
            "counted_front_end_as_product": counted,
            "peaks": [{"processes": 1, **PEAK}],
            "stages": [*stages, {"stage": "head", "engine": "onnx", "precision": "fp32", "failed": "no\nroom"}],
            "kinds": told["kinds"] and roofline.kinds_reached(told["kinds"], told["stages"], counted, counted, PEAK),
        }
    )
    assert "| head | onnx fp32 | | not measured: no room |" in words
    assert "| **backbone** |" in words
    assert roofline.headline(counted, stages)[0].startswith("GFLOP a window: front end")


def test_a_peak_that_something_exceeds_is_raised_to_it() -> None:
    peak = {"processes": 1, "gflops": {"openvino": {"bf16": 200.0, "fp32": 100.0}}, "gb_s": {}}
    rows = [
        {"engine": "openvino", "precision": "bf16", "share_of_peak": 1.2},
        {"engine": "openvino", "precision": "bf16", "share_of_peak": 1.1},
        {"engine": "openvino", "precision": "fp32", "share_of_peak": 0.9},
        {"engine": "openvino", "precision": "fp32"},
    ]
    assert roofline.raised(peak, rows)["gflops"] == {"openvino": {"bf16": 240.0, "fp32": 100.0}}
    assert peak["gflops"]["openvino"]["bf16"] == 200.0
