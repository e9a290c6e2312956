"""Every engine under the contract, and against each other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from embedder.engines import ENGINES, PRECISIONS, installed_engines, open_network, refusal
from embedder.engines.available import MODULES
from sonotheque.core.errors import Invalid, Unavailable
from tests.embedder.engines import graphs
from tests.embedder.engines.contract import EngineContract


class TestOnnx(EngineContract):
    engine, suffix, make = "onnx", ".onnx", staticmethod(graphs.dense_onnx)


class TestOpenVINO(EngineContract):
    engine, suffix, make = "openvino", ".onnx", staticmethod(graphs.dense_onnx)


class TestOpenVINOReadingLiteRT(EngineContract):
    engine, suffix, make = "openvino", ".tflite", staticmethod(graphs.dense_litert)


class TestLiteRT(EngineContract):
    engine, suffix, make = "litert", ".tflite", staticmethod(graphs.dense_litert)


def needs(*engines: str) -> None:
    for engine in engines:
        pytest.importorskip(MODULES[engine], reason=f"the library of {engine} is not installed")


@pytest.fixture
def conv(tmp_path: Path) -> Path:
    return graphs.conv_onnx(tmp_path / "conv.onnx")


def test_convolutions_agree_between_the_engines_and_with_numpy(conv: Path) -> None:
    needs("onnx", "openvino")
    x = graphs.rows(3, 1, graphs.BANDS, graphs.FRAMES)
    expected = graphs.conv_twin(x)
    for engine in ("onnx", "openvino"):
        (found,) = open_network(engine, conv).run(x)
        assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_close_and_read_back(conv: Path, precision: str) -> None:
    needs("openvino")
    if refusal("openvino", precision):
        with pytest.raises(Unavailable) as caught:
            open_network("openvino", conv, precision=precision)
        assert caught.value.kind == "engine_missing"
        assert refusal("openvino", precision) in caught.value.message
        return
    x = graphs.rows(3, 1, graphs.BANDS, graphs.FRAMES)
    network = open_network("openvino", conv, precision=precision)
    assert network.precision == precision
    error = np.abs(network.run(x)[0] - graphs.conv_twin(x)).max() / np.abs(graphs.conv_twin(x)).max()
    assert 1e-6 < error < 0.05, "rounded: neither exact nor far off"


def test_the_precision_is_what_openvino_does_and_not_what_it_was_asked_for(
    conv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for float16, a CPU that has bfloat16 alone takes that, and one without halves float32."""
    needs("openvino")
    if not refusal("openvino", "fp16"):
        pytest.skip("this CPU has float16 arithmetic")
    from embedder.engines import openvino_engine

    monkeypatch.setattr(openvino_engine, "precision_refused", lambda precision, device: "")
    expected = "fp32" if refusal("openvino", "bf16") else "bf16"
    assert open_network("openvino", conv, precision="fp16").precision == expected


def test_int8_wants_a_quantised_file(conv: Path) -> None:
    for engine in ("onnx", "openvino"):
        needs(engine)
        if refusal(engine, "int8"):
            continue
        with pytest.raises(Invalid, match="not quantised") as caught:
            open_network(engine, conv, precision="int8")
        assert caught.value.kind == "invalid_weights"


def test_two_threads_give_the_same(conv: Path) -> None:
    x = graphs.rows(3, 1, graphs.BANDS, graphs.FRAMES)
    for engine in ("onnx", "openvino"):
        needs(engine)
        network = open_network(engine, conv, threads=2)
        assert network.runtime.threads == 2
        assert np.allclose(network.run(x)[0], open_network(engine, conv).run(x)[0], atol=1e-6)


def test_a_graph_of_two_inputs_is_refused(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    info = onnx.helper.make_tensor_value_info
    values = [info(name, 1, ["batch", 2]) for name in ("left", "right", "sum")]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["left", "right"], ["sum"])], "g", values[:2], values[2:]
    )
    path = tmp_path / "two.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)
    for engine in ("onnx", "openvino"):
        needs(engine)
        with pytest.raises(Invalid, match=r"2 inputs \(left, right\), 1 expected"):
            open_network(engine, path)


@pytest.mark.parametrize(("engine", "make"), [("onnx", graphs.dense_litert), ("litert", graphs.dense_onnx)])
def test_a_file_for_another_engine_is_refused(engine: str, make: object, tmp_path: Path) -> None:
    needs(engine)
    path = make(tmp_path / "network")  # type: ignore[operator]
    with pytest.raises(Invalid, match="choose another engine"):
        open_network(engine, path)


@pytest.mark.parametrize(("engine", "precision", "device"), [("litert", "bf16", "auto"), ("litert", "fp32", "gpu")])
def test_litert_has_one_precision_and_one_device(engine: str, precision: str, device: str, tmp_path: Path) -> None:
    path = graphs.dense_litert(tmp_path / "dense.tflite")
    with pytest.raises(Invalid, match=r"fp32 on the CPU"):
        open_network(engine, path, precision=precision, device=device)


def test_a_card_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    path = graphs.dense_onnx(tmp_path / "dense.onnx")
    for engine in ("onnx", "openvino"):
        needs(engine)
        try:
            network = open_network(engine, path, device="gpu")
        except Unavailable as error:
            assert error.kind == "engine_missing"
        else:
            assert network.runtime.device.startswith("GPU"), "asked for a card, it must not run elsewhere"


# --- what there is ------------------------------------------------------------------------------------------------


def test_names_that_do_not_exist_are_refused() -> None:
    for engine, precision in (("torch", "fp32"), ("onnx", "fp8")):
        with pytest.raises(Invalid, match="choose one of"):
            refusal(engine, precision)
        with pytest.raises(Invalid, match="choose one of"):
            open_network(engine, b"", precision=precision)


def test_tensorflow_opens_no_single_file() -> None:
    with pytest.raises(Invalid, match="SavedModel"):
        open_network("tensorflow", b"\x08\x01")


def test_a_library_that_is_missing_is_a_refusal_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    from embedder.engines import available

    monkeypatch.setattr(available.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(available, "refusal", available.refusal.__wrapped__)
    assert installed_engines() == ()
    for engine in ENGINES:
        assert "is not installed" in available.refusal(engine, "fp32")
        assert "pip install" in available.refusal(engine, "fp32")


def test_an_engine_that_does_not_import_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = graphs.dense_onnx(tmp_path / "dense.onnx")
    tflite = graphs.dense_litert(tmp_path / "dense.tflite")
    for engine, content in (("onnx", path), ("openvino", path), ("litert", tflite)):
        monkeypatch.setitem(sys.modules, MODULES[engine], None)
        if engine == "openvino":
            from embedder.engines import openvino_engine

            monkeypatch.setattr(openvino_engine, "_core", openvino_engine._core.__wrapped__)
        with pytest.raises(Unavailable, match="pip install") as caught:
            open_network(engine, content)
        assert caught.value.kind == "engine_missing"


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_not_refused_opens(engine: str, tmp_path: Path) -> None:
    """The other way round is tested above: what is refused does not open."""
    if engine not in installed_engines() or engine == "tensorflow":
        pytest.skip(f"{engine} opens no network here")
    path = (graphs.dense_litert if engine == "litert" else graphs.dense_onnx)(tmp_path / "dense")
    for precision in PRECISIONS:
        if precision != "int8" and not refusal(engine, precision):
            assert open_network(engine, path, precision=precision).precision == precision
    assert refusal(engine, "fp32") == ""


def test_listing_imports_no_engine() -> None:
    code = (
        "import sys; from embedder.engines import installed_engines; installed_engines();"
        "print([m for m in ('numpy', 'onnx', 'onnxruntime', 'openvino', 'ai_edge_litert', 'tensorflow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
