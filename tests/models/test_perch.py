"""Perch's three call shapes, on small SavedModels built for the purpose: the real weights need a download."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedder.models import Embedder, check_model, load_model, perch, weights_status
from embedder.models.perch_calls import detect_call
from embedder.models.preprocess import peak_normalise
from sonotheque.core.errors import Invalid, NotFound, Unavailable

from .conftest import BANDS, WINDOW_SAMPLES, PerchMaker, write_classes
from .contract import ModelContract, noise


class PerchContract(ModelContract):
    """The contract, for one of the SavedModels of ``perch_folders``."""

    # TensorFlow's matrix product and reductions may round differently with the number of rows.
    tolerance = 1e-5
    name = ""
    shape = ""
    folder: Path

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls, perch_folders: dict[str, Path]) -> Embedder:
        cls.folder = perch_folders[cls.shape]
        return cls.load()

    @classmethod
    def load(cls) -> Embedder:
        return load_model(cls.name, weights=str(cls.folder))

    def test_the_network_gets_the_normalised_window(self, model: Embedder, frames: np.ndarray, tensorflow: Any) -> None:
        """The embedding and the logits are those of the saved arithmetic, and not swapped."""
        saved = tensorflow.saved_model.load(str(self.folder))
        spectrogram = np.abs(peak_normalise(frames)).reshape(len(frames), BANDS, -1).mean(axis=2)
        embedding = np.maximum(spectrogram @ saved.projection.numpy(), 0)
        found = model.embed(frames)
        assert found.embeddings == pytest.approx(embedding, abs=1e-4)
        assert found.logits == pytest.approx(embedding @ saved.head.numpy(), abs=1e-3)

    def test_gain_and_offset_do_not_matter(self, model: Embedder, frames: np.ndarray) -> None:
        one, two = (model.embed(each).embeddings[0] for each in (frames[:1], frames[:1] * np.float32(0.01) + 0.2))
        assert float(one @ two / np.linalg.norm(one) / np.linalg.norm(two)) > 0.99999

    def test_it_says_that_the_weights_are_local(self, model: Embedder) -> None:
        assert str(self.folder) in model.note
        assert weights_status(self.name, str(self.folder)).present


class TestPerch2(PerchContract):
    name, shape = "perch_v2", "v2"

    def test_spec(self, model: Embedder) -> None:
        spec = model.spec
        assert (spec.name, spec.version, spec.dim, spec.n_classes) == ("perch_v2", "2", 1536, 7)
        assert (spec.sample_rate_hz, spec.window_samples) == (32_000, WINDOW_SAMPLES)
        assert spec.score_rule == "sigmoid(0.97*logit - 10), perch-hoplite"
        assert model.batch_size > 1

    def test_scores_have_hoplites_slope_and_intercept(self, model: Embedder) -> None:
        logits = np.array([[0.0, 10.0, 10.0 / 0.97, 20.0]], dtype=np.float32)
        expected = 1 / (1 + np.exp(-(0.97 * logits.astype(np.float64) - 10)))
        assert model.scores(logits) == pytest.approx(expected, rel=1e-6)
        assert model.scores(logits)[0, 2] == pytest.approx(0.5)

    def test_the_class_list_is_the_one_of_names(self, model: Embedder) -> None:
        """The other list in the assets is eBird codes and repeats ``no_ebird_code``."""
        assert model.classes == tuple(f"Species {n}" for n in range(7))


class TestPerch1Release8(PerchContract):
    name, shape = "perch_v1", "v1_dict"

    def test_spec(self, model: Embedder) -> None:
        spec = model.spec
        assert (spec.version, spec.dim, spec.n_classes) == ("1 (release 8)", 1280, 5)
        assert spec.score_rule == "sigmoid(logit)"
        assert model.batch_size > 1

    def test_the_other_heads_do_not_count(self, model: Embedder) -> None:
        assert model.classes == tuple(f"code{n}" for n in range(5))


class TestPerch1OneWindowACall(PerchContract):
    name, shape = "perch_v1", "v1_single"

    def test_spec(self, model: Embedder) -> None:
        assert (model.spec.version, model.spec.dim) == ("1 (release 4 or earlier)", 1280)
        assert model.batch_size == 1


class TestPerch1Batchable(PerchContract):
    name, shape = "perch_v1", "v1_batch"

    def test_spec(self, model: Embedder) -> None:
        assert (model.spec.version, model.spec.dim) == ("1 (release 4 or earlier)", 1280)
        assert model.batch_size > 1


class TestLocalFolders:
    def test_a_smaller_model_is_taken_and_its_real_size_recorded(self, perch_maker: PerchMaker) -> None:
        model = load_model("perch_v2", weights=str(perch_maker.v2("small", dim=24, classes=3)))
        assert (model.spec.dim, model.spec.n_classes) == (24, 3)

    def test_a_fixed_batch_of_one_runs_window_by_window(self, perch_maker: PerchMaker) -> None:
        model = load_model("perch_v2", weights=str(perch_maker.v2("fixed", dim=24, classes=3, rows=1)))
        assert model.batch_size == 1
        assert model.embed(noise(3, model.spec)).embeddings.shape == (3, 24)

    def test_other_weights_have_another_digest_and_a_copy_has_not(
        self, perch_maker: PerchMaker, perch_folders: dict[str, Path], tmp_path: Path
    ) -> None:
        original = load_model("perch_v2", weights=str(perch_folders["v2"])).spec
        copy = tmp_path / "copy"
        shutil.copytree(perch_folders["v2"], copy)
        (copy / ".DS_Store").write_text("left by a file manager")
        assert load_model("perch_v2", weights=str(copy)).spec == original
        write_classes(copy, "labels.csv", [f"Other {n}" for n in range(7)])
        changed = load_model("perch_v2", weights=str(copy)).spec
        assert changed.weights_digest != original.weights_digest
        assert changed.classes_digest != original.classes_digest

    def test_no_such_folder(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match="no such folder") as caught:
            load_model("perch_v2", weights=str(tmp_path / "nowhere"))
        assert caught.value.kind == "no_weights"

    @pytest.mark.parametrize("part", ["saved_model.pb", "variables", "assets"])
    def test_a_missing_part_is_named(self, perch_folders: dict[str, Path], tmp_path: Path, part: str) -> None:
        copy = tmp_path / "copy"
        shutil.copytree(perch_folders["v2"], copy)
        shutil.rmtree(copy / part) if (copy / part).is_dir() else (copy / part).unlink()
        with pytest.raises(Invalid, match=f"lacks {part}") as caught:
            load_model("perch_v2", weights=str(copy))
        assert caught.value.kind == "invalid_weights"
        assert not weights_status("perch_v2", str(copy)).present

    @pytest.mark.parametrize("content", [b"", b"not a protocol buffer " * 20])
    def test_a_damaged_graph(self, perch_folders: dict[str, Path], tmp_path: Path, content: bytes) -> None:
        copy = tmp_path / "copy"
        shutil.copytree(perch_folders["v2"], copy)
        (copy / "saved_model.pb").write_bytes(content)
        self.refuse("perch_v2", copy, "cannot load|not a Perch model")

    def test_missing_values(self, perch_folders: dict[str, Path], tmp_path: Path) -> None:
        copy = tmp_path / "copy"
        shutil.copytree(perch_folders["v2"], copy)
        for file in (copy / "variables").glob("*.data*"):
            file.write_bytes(file.read_bytes()[:100])
        self.refuse("perch_v2", copy, "cannot load")

    def test_classes_that_do_not_fit_name_both_numbers(self, perch_folders: dict[str, Path], tmp_path: Path) -> None:
        copy = tmp_path / "copy"
        shutil.copytree(perch_folders["v1_dict"], copy)
        write_classes(copy, "label.csv", ["one", "two", "three"])
        self.refuse("perch_v1", copy, "3 classes.*5 logits")

    def test_a_class_list_that_is_not_text(self, perch_folders: dict[str, Path], tmp_path: Path) -> None:
        copy = tmp_path / "copy"
        shutil.copytree(perch_folders["v2"], copy)
        (copy / "assets" / "labels.csv").write_bytes(b"\xff\xfe" * 20)
        self.refuse("perch_v2", copy, "UTF-8")

    @pytest.mark.parametrize(("name", "shape"), [("perch_v1", "v2"), ("perch_v2", "v1_dict"), ("perch_v2", "v1_batch")])
    def test_the_other_perch_is_refused_by_name(self, perch_folders: dict[str, Path], name: str, shape: str) -> None:
        other = "perch_v2" if name == "perch_v1" else "perch_v1"
        self.refuse(name, perch_folders[shape], f"--model {other}")

    def test_a_published_model_must_have_its_published_size(
        self, perch_folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A cut-down model from the hub would be a mix-up; from a local folder it is the user's choice."""
        monkeypatch.setattr(perch, "cached_folder", lambda handle: perch_folders["v2"])
        monkeypatch.setattr(perch, "fetch", lambda name, handle: perch_folders["v2"])
        with pytest.raises(Invalid, match=r"7 classes.*14795"):
            load_model("perch_v2")

    def refuse(self, name: str, folder: Path, said: str) -> None:
        with pytest.raises(Invalid, match=said) as caught:
            load_model(name, weights=str(folder))
        assert caught.value.kind == "invalid_weights"
        assert str(folder) in caught.value.message


class TestStrangeModels:
    """SavedModels that are none of the three shapes are refused, saying what they are."""

    def test_no_infer_tf_and_no_signature(self, tensorflow: Any) -> None:
        with pytest.raises(Invalid, match="neither infer_tf nor"):
            detect_call(tensorflow.Module(), tensorflow.zeros((1, 8)), "there")

    def test_windows_of_another_length_name_both(self, perch_maker: PerchMaker) -> None:
        folder = perch_maker.custom("short", lambda inputs: {"embedding": inputs, "label": inputs}, samples=96_000)
        self.refuse(folder, "96000 samples, Perch's are 160000")

    def test_an_answer_without_an_embedding(self, perch_maker: PerchMaker) -> None:
        self.refuse(perch_maker.custom("nothing", lambda inputs: {"label": inputs[:, :2]}), "without embedding")
        folder = perch_maker.custom("nothing_v1", lambda inputs: {"embedding": inputs[:, :2]}, infer=True)
        self.refuse(folder, "without label")

    def test_an_answer_of_another_type(self, perch_maker: PerchMaker) -> None:
        self.refuse(perch_maker.custom("bare", lambda inputs: inputs[:, :2], infer=True), "not|answered")

    def test_an_embedding_with_three_axes(self, perch_maker: PerchMaker) -> None:
        folder = perch_maker.custom("deep", lambda inputs: {"embedding": inputs[:, None, :4], "label": inputs[:, :2]})
        self.refuse(folder, "2 axes")

    def test_a_graph_that_cannot_run_here(self, perch_maker: PerchMaker) -> None:
        tf = perch_maker.tf

        def failing(inputs: Any) -> dict[str, Any]:
            with tf.control_dependencies(
                [tf.debugging.Assert(tf.reduce_max(inputs) > 1e9, ["made for another device"])]
            ):
                return {"embedding": tf.identity(inputs[:, :4]), "label": tf.identity(inputs[:, :2])}

        self.refuse(perch_maker.custom("failing", failing), "does not run here")

    def test_an_input_of_another_name(self, perch_maker: PerchMaker) -> None:
        tf = perch_maker.tf
        module = tf.Module()
        spec = tf.TensorSpec([None, WINDOW_SAMPLES], tf.float32, name="audio")
        module.serve = tf.function(lambda audio: {"embedding": audio, "label": audio}, input_signature=[spec])
        folder = perch_maker.root / "renamed"
        tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})
        write_classes(folder, "labels.csv", ["a"])
        self.refuse(folder, "takes audio, Perch 2's takes inputs")

    def refuse(self, folder: Path, said: str) -> None:
        with pytest.raises(Invalid, match=said) as caught:
            load_model("perch_v2", weights=str(folder))
        assert caught.value.kind == "invalid_weights"


class TestEngine:
    def test_tensorflow_missing(self, perch_folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "tensorflow", None)
        with pytest.raises(Unavailable, match="perch\\.txt") as caught:
            load_model("perch_v2", weights=str(perch_folders["v2"]))
        assert caught.value.kind == "engine_missing"
        assert "perch.txt" in weights_status("perch_v2", str(perch_folders["v2"])).detail

    def test_a_running_tensorflow_keeps_its_threads(self, perch_folders: dict[str, Path], tensorflow: Any) -> None:
        before = load_model("perch_v2", weights=str(perch_folders["v2"])).runtime.threads
        after = load_model("perch_v2", weights=str(perch_folders["v2"]), threads=before + 3).runtime.threads
        assert after == before == tensorflow.config.threading.get_intra_op_parallelism_threads()

    def test_fp32_is_not_tf32(self, perch_folders: dict[str, Path], tensorflow: Any) -> None:
        """On a card it is on by default, and rounds the factors to 10 bits."""
        switch = tensorflow.config.experimental
        switch.enable_tensor_float_32_execution(True)
        assert switch.tensor_float_32_execution_enabled()
        load_model("perch_v2", weights=str(perch_folders["v2"]))
        assert not switch.tensor_float_32_execution_enabled()

    def test_runtime_is_what_was_seen(self, perch_folders: dict[str, Path], tensorflow: Any) -> None:
        runtime = load_model("perch_v2", weights=str(perch_folders["v2"])).runtime
        assert runtime.engine == f"TensorFlow {tensorflow.__version__}"
        gpus = tensorflow.config.list_physical_devices("GPU")
        assert runtime.device.startswith("GPU:0") if gpus else runtime.device == "CPU"

    def test_a_gpu_is_named(self) -> None:
        class Config:
            @staticmethod
            def list_physical_devices(kind: str) -> list[str]:
                return ["first", "second"]

            class experimental:  # noqa: N801 - TensorFlow's name
                @staticmethod
                def get_device_details(gpu: str) -> dict[str, str]:
                    return {"device_name": f"NVIDIA {gpu}"}

        class Fake:
            config = Config

        place = "/job:localhost/replica:0/task:0/device:"
        assert perch._device_name(Fake, f"{place}GPU:1") == "GPU:1 NVIDIA second"
        assert perch._device_name(Fake, f"{place}CPU:0") == "CPU"
        assert perch._device_name(Fake, "") == "CPU"

    def test_short_batches_are_rounded_up_to_few_sizes(self, perch_folders: dict[str, Path]) -> None:
        """Every new batch size makes XLA compile again."""
        model = load_model("perch_v2", weights=str(perch_folders["v2"]))
        assert isinstance(model, perch.PerchEmbedder)
        seen: list[int] = []
        run = model.call.run

        def watched(x: Any) -> tuple[Any, Any]:
            seen.append(int(x.shape[0]))
            return run(x)

        model.call = type(model.call)(model.call.family, model.call.version, model.call.batchable, watched)
        model.batch_size = 8
        for n in range(18):
            assert len(model.embed(noise(n, model.spec)).embeddings) == n
        assert set(seen) == {1, 2, 4, 8}

    def test_check(self, perch_folders: dict[str, Path]) -> None:
        found = check_model("perch_v2", weights=str(perch_folders["v2"]))
        assert found.ok
        assert found.engine.startswith("TensorFlow")
        assert (found.dim, found.n_classes) == (1536, 7)
        assert found.top_class.startswith("Species")
