"""Which provider is tried for what; and what happens when one is listed and cannot be loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from embedder.engines import onnx_engine
from embedder.engines.onnx_providers import CPU, CUDA, TENSORRT, attempts_for
from sonotheque.core.errors import Invalid, Unavailable
from tests.embedder.engines import graphs

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (extra: engines)")

CASES = [
    ([CPU], "fp32", "auto", [CPU]),
    ([CPU], "int8", "auto", [CPU]),
    ([CPU], "fp16", "auto", []),
    ([CPU], "bf16", "cpu", []),
    ([CPU], "fp32", "gpu", []),
    ([CUDA, CPU], "fp32", "auto", [CUDA, CPU]),
    ([CUDA, CPU], "fp32", "cpu", [CPU]),
    ([CUDA, CPU], "fp32", "gpu", [CUDA]),
    ([CUDA, CPU], "fp16", "auto", [CUDA]),
    ([CUDA, CPU], "bf16", "auto", []),
    ([TENSORRT, CUDA, CPU], "fp16", "gpu", [TENSORRT, CUDA]),
    ([TENSORRT, CUDA, CPU], "bf16", "auto", [TENSORRT]),
    ([TENSORRT, CUDA, CPU], "fp16", "cpu", []),
]


@pytest.mark.parametrize(("available", "precision", "device", "expected"), CASES)
def test_what_is_tried(available: list[str], precision: str, device: str, expected: list[str]) -> None:
    assert [attempt.provider for attempt in attempts_for(available, precision, device)] == expected


def test_fp32_on_a_card_is_not_tf32() -> None:
    (attempt,) = attempts_for([CUDA], "fp32", "gpu")
    assert attempt.settings["use_tf32"] == "0"
    assert attempt.providers == [(CUDA, {"use_tf32": "0"}), CPU]


def test_tensorrt_converts_itself_and_the_cuda_provider_gets_a_converted_graph() -> None:
    tensorrt, cuda = attempts_for([TENSORRT, CUDA], "fp16", "gpu")
    assert tensorrt.settings["trt_fp16_enable"] is True
    assert (tensorrt.convert, cuda.convert) == (False, True)


class _Session:
    """A real session on the CPU that may claim another provider."""

    def __init__(self, real: Any, provider: str) -> None:
        self.real, self.provider = real, provider

    def get_providers(self) -> list[str]:
        return [self.provider, CPU]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


def pretend(
    monkeypatch: pytest.MonkeyPatch, available: list[str], loadable: set[str], failing: set[str] | None = None
) -> list[str]:
    """Let ONNX Runtime list providers; those that cannot be loaded are left out of the session, as it really does."""
    import onnxruntime

    real, opened = onnxruntime.InferenceSession, []

    def session(source: Any, options: Any, providers: list[Any], enable_fallback: int = 1) -> _Session:
        first = providers[0] if isinstance(providers[0], str) else providers[0][0]
        opened.append(first)
        assert not enable_fallback, "ONNX Runtime would print, and go on with what nobody asked for"
        if first in (failing or set()):
            raise RuntimeError(f"{first} lacks libcudnn")
        return _Session(real(source, options, providers=[CPU]), first if first in loadable else CPU)

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    return opened


def test_a_provider_that_cannot_be_loaded_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = graphs.dense_onnx(tmp_path / "dense.onnx")
    opened = pretend(monkeypatch, [TENSORRT, CUDA, CPU], {CUDA, CPU})
    network = onnx_engine.open_onnx(path, precision="fp16", outputs=("embedding",))
    assert opened == [TENSORRT, CUDA]
    assert (network.precision, network.runtime.device) == ("fp16", "GPU:0")
    x = graphs.rows(3)
    error = abs(network.run(x)[0] - graphs.twin(x)[0]).max()
    assert 1e-6 < error < 0.02, "the graph was converted to halves"


def test_on_auto_fp32_falls_back_to_the_cpu_and_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = graphs.dense_onnx(tmp_path / "dense.onnx")
    pretend(monkeypatch, [CUDA, CPU], {CPU})
    network = onnx_engine.open_onnx(path)
    assert network.runtime.device == "CPU"
    assert "MLAS" in network.runtime.engine


def test_a_card_that_was_asked_for_is_not_replaced_by_the_cpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = graphs.dense_onnx(tmp_path / "dense.onnx")
    pretend(monkeypatch, [CUDA, CPU], {CPU})
    for precision, device in (("fp32", "gpu"), ("fp16", "auto")):
        with pytest.raises(Unavailable, match=CUDA) as caught:
            onnx_engine.open_onnx(path, precision=precision, device=device)
        assert caught.value.kind == "engine_missing"


def test_a_provider_that_fails_is_followed_by_the_next(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = graphs.dense_onnx(tmp_path / "dense.onnx")
    opened = pretend(monkeypatch, [CUDA, CPU], {CUDA, CPU}, failing={CUDA})
    network = onnx_engine.open_onnx(path)
    assert opened == [CUDA, CPU]
    assert network.runtime.device == "CPU"


def test_the_last_that_fails_raises(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = graphs.dense_onnx(tmp_path / "dense.onnx")
    pretend(monkeypatch, [CUDA, CPU], {CUDA, CPU}, failing={CUDA, CPU})
    with pytest.raises(Invalid, match=f"{CPU} lacks libcudnn") as caught:
        onnx_engine.open_onnx(path)
    assert caught.value.kind == "invalid_weights"


def test_why_an_earlier_one_failed_is_told_where_the_last_is_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = graphs.dense_onnx(tmp_path / "dense.onnx")
    pretend(monkeypatch, [TENSORRT, CUDA, CPU], {CPU}, failing={TENSORRT})
    with pytest.raises(Unavailable, match=f"{TENSORRT} lacks libcudnn") as caught:
        onnx_engine.open_onnx(path, precision="fp16")
    assert caught.value.kind == "engine_missing"


def test_the_real_library_prints_nothing_and_does_not_try_on_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import onnxruntime

    tried: list[object] = []

    def create(self: object, providers: object, *more: object) -> None:
        tried.append(providers)
        raise RuntimeError("no such device")

    monkeypatch.setattr(onnxruntime.InferenceSession, "_create_inference_session", create)
    with pytest.raises(Invalid, match="no such device"):
        onnx_engine.open_onnx(graphs.dense_onnx(tmp_path / "dense.onnx"), device="cpu")
    assert tried == [[CPU]]
    assert capsys.readouterr().out == ""
