"""What every model must do, whatever runs it. A model's test class inherits this and says how to load the model."""

from __future__ import annotations

import math
import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest

from embedder.models import Embedded, Embedder
from sonotheque.core.errors import Invalid
from sonotheque.core.model_spec import ModelSpec, classes_digest

if TYPE_CHECKING:
    from numpy.typing import NDArray


def noise(n: int, spec: ModelSpec, *, seed: int = 7) -> NDArray[np.float32]:
    """float32 (n, window_samples): different noises with a tone each, peak about 0.5."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(spec.window_samples) / spec.sample_rate_hz
    tones = np.stack([np.sin(2 * np.pi * (400 + 700 * row) * time_s) for row in range(n)]) if n else np.empty((0, 1))
    frames = 0.1 * rng.standard_normal((n, spec.window_samples)) + 0.2 * tones
    return frames.astype(np.float32)


class ModelContract:
    """Subclasses define :meth:`load` and, where the engine rounds differently by batch, ``tolerance``."""

    #: Largest difference between two batchings, as a share of the largest magnitude; 0 means to the bit.
    tolerance = 0.0

    @classmethod
    def load(cls) -> Embedder:
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls) -> Embedder:
        return cls.load()

    @pytest.fixture(scope="class")
    @classmethod
    def frames(cls, model: Embedder) -> NDArray[np.float32]:
        return noise(min(model.batch_size, 8) + 1, model.spec)

    @pytest.fixture(scope="class")
    @classmethod
    def whole(cls, model: Embedder, frames: NDArray[np.float32]) -> Embedded:
        return model.embed(frames)

    def same(self, left: Embedded, right: Embedded) -> None:
        assert left.logits is not None
        assert right.logits is not None
        for one, two in ((left.embeddings, right.embeddings), (left.logits, right.logits)):
            assert one.shape == two.shape
            if self.tolerance == 0.0:
                assert np.array_equal(one, two)
            elif one.size:
                assert np.abs(one - two).max() <= self.tolerance * np.abs(one).max()

    # --- shapes and types ---------------------------------------------------------------------------------------

    def test_shapes_and_dtypes(self, model: Embedder, frames: NDArray[np.float32], whole: Embedded) -> None:
        assert whole.embeddings.shape == (len(frames), model.spec.dim)
        assert whole.embeddings.dtype == np.float32
        assert whole.logits is not None
        assert whole.logits.shape == (len(frames), model.spec.n_classes)
        assert whole.logits.dtype == np.float32

    def test_logits_can_be_left_out(self, model: Embedder, frames: NDArray[np.float32], whole: Embedded) -> None:
        without = model.embed(frames, logits=False)
        assert without.logits is None
        self.same(Embedded(without.embeddings, whole.logits), whole)

    def test_no_windows(self, model: Embedder) -> None:
        found = model.embed(np.empty((0, model.spec.window_samples), dtype=np.float32))
        assert found.embeddings.shape == (0, model.spec.dim)
        assert found.logits is not None
        assert found.logits.shape == (0, model.spec.n_classes)
        assert found.embeddings.dtype == found.logits.dtype == np.float32
        assert model.scores(found.logits).shape == found.logits.shape

    def test_different_windows_differ(self, whole: Embedded) -> None:
        assert not np.array_equal(whole.embeddings[0], whole.embeddings[1])

    # --- nothing but the window counts ----------------------------------------------------------------------------

    @pytest.mark.parametrize("cut", [1, 2, 3])
    def test_batching_does_not_matter(
        self, model: Embedder, frames: NDArray[np.float32], whole: Embedded, cut: int
    ) -> None:
        parts = [model.embed(frames[at : at + cut]) for at in range(0, len(frames), cut)]
        logits = [part.logits for part in parts if part.logits is not None]
        self.same(Embedded(np.concatenate([part.embeddings for part in parts]), np.concatenate(logits)), whole)

    def test_order_does_not_matter(self, model: Embedder, frames: NDArray[np.float32], whole: Embedded) -> None:
        turned = model.embed(frames[::-1])
        assert turned.logits is not None
        self.same(Embedded(turned.embeddings[::-1], turned.logits[::-1]), whole)

    def test_running_again_gives_the_same(self, model: Embedder, frames: NDArray[np.float32], whole: Embedded) -> None:
        self.same(model.embed(frames), whole)

    def test_other_memory_layouts_give_the_same(
        self, model: Embedder, frames: NDArray[np.float32], whole: Embedded
    ) -> None:
        self.same(model.embed(np.asfortranarray(frames)), whole)
        wide = np.zeros((len(frames), 2 * frames.shape[1]), dtype=np.float32)
        wide[:, ::2] = frames
        self.same(model.embed(wide[:, ::2]), whole)

    # --- buffers --------------------------------------------------------------------------------------------------

    def test_results_are_fresh(self, model: Embedder, frames: NDArray[np.float32]) -> None:
        """An engine that hands out its own buffer overwrites the first answer with the second."""
        first = model.embed(frames[:1])
        assert first.logits is not None
        kept = first.embeddings.copy(), first.logits.copy()
        second = model.embed(frames[1:2])
        assert np.array_equal(first.embeddings, kept[0])
        assert np.array_equal(first.logits, kept[1])
        assert second.logits is not None
        for one in (first.embeddings, first.logits):
            assert one.flags.owndata
            assert one.flags.writeable
            assert not np.shares_memory(one, second.embeddings)
            assert not np.shares_memory(one, second.logits)
        first.embeddings[:] = np.nan
        assert np.isfinite(model.embed(frames[:1]).embeddings).all()

    def test_input_is_not_changed(self, model: Embedder, frames: NDArray[np.float32]) -> None:
        mine = frames[:2].copy()
        mine.setflags(write=False)
        model.embed(mine)
        assert np.array_equal(mine, frames[:2])

    # --- awkward sound --------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("level", [0.0, 1e-38, 1e-20, 1e-6, 1.0, 1e4, 1e9])
    def test_levels_stay_finite(self, model: Embedder, frames: NDArray[np.float32], level: float) -> None:
        found = model.embed(frames[:1] * np.float32(level))
        assert found.logits is not None
        assert np.isfinite(found.embeddings).all()
        assert np.isfinite(found.logits).all()
        assert np.isfinite(model.scores(found.logits)).all()

    @pytest.mark.parametrize("value", [0.1, -1.0, 1.0])
    def test_constant_windows_stay_finite(self, model: Embedder, value: float) -> None:
        found = model.embed(np.full((1, model.spec.window_samples), value, dtype=np.float32))
        assert found.logits is not None
        assert np.isfinite(found.embeddings).all()
        assert np.isfinite(found.logits).all()

    def test_one_click_in_silence_stays_finite(self, model: Embedder) -> None:
        frames = np.zeros((1, model.spec.window_samples), dtype=np.float32)
        frames[0, 17] = 1.0
        assert np.isfinite(model.embed(frames).embeddings).all()

    def test_silence_among_sound_changes_nothing(
        self, model: Embedder, frames: NDArray[np.float32], whole: Embedded
    ) -> None:
        mixed = np.insert(frames[:2], 1, 0.0, axis=0)
        found = model.embed(mixed)
        assert found.logits is not None
        assert whole.logits is not None
        assert np.isfinite(found.embeddings).all()
        self.same(
            Embedded(found.embeddings[[0, 2]], found.logits[[0, 2]]), Embedded(whole.embeddings[:2], whole.logits[:2])
        )

    # --- refusals -------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("more", [-1, 1])
    def test_wrong_width_names_both(self, model: Embedder, more: int) -> None:
        width = model.spec.window_samples + more
        with pytest.raises(Invalid) as caught:
            model.embed(np.zeros((1, width), dtype=np.float32))
        assert str(width) in caught.value.message
        assert str(model.spec.window_samples) in caught.value.message

    @pytest.mark.parametrize("dtype", [np.float64, np.int16, np.float16])
    def test_wrong_dtype_names_both(self, model: Embedder, dtype: type) -> None:
        with pytest.raises(Invalid) as caught:
            model.embed(np.zeros((1, model.spec.window_samples), dtype=dtype))
        assert np.dtype(dtype).name in caught.value.message
        assert "float32" in caught.value.message

    def test_one_axis_is_refused(self, model: Embedder) -> None:
        with pytest.raises(Invalid, match="2 axes"):
            model.embed(np.zeros(model.spec.window_samples, dtype=np.float32))

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_non_finite_samples_are_refused_with_the_row(
        self, model: Embedder, frames: NDArray[np.float32], value: float
    ) -> None:
        broken = frames[:2].copy()
        broken[1, 5] = value
        with pytest.raises(Invalid, match="window 1 of 2"):
            model.embed(broken)

    # --- classes, scores, spec ------------------------------------------------------------------------------------

    def test_classes_fit_the_logits(self, model: Embedder, whole: Embedded) -> None:
        assert whole.logits is not None
        assert len(model.classes) == model.spec.n_classes == whole.logits.shape[1]
        assert len(set(model.classes)) == len(model.classes)
        assert all(name == name.strip() and name for name in model.classes)
        assert model.spec.classes_digest == classes_digest(model.classes)

    def test_scores_are_monotone_and_within_0_and_1(self, model: Embedder, whole: Embedded) -> None:
        logits = np.linspace(-40, 40, 1601, dtype=np.float32)[None, :]
        scores = model.scores(logits)
        assert scores.dtype == np.float32
        assert scores.shape == logits.shape
        assert (np.diff(scores) >= 0).all()
        assert scores.min() >= 0.0
        assert scores.max() <= 1.0
        middle = np.abs(logits[0]) < 12
        assert (np.diff(scores[0, middle].astype(np.float64)) > 0).all()  # strictly, where it can matter
        assert whole.logits is not None
        real = model.scores(whole.logits)
        assert ((real >= 0) & (real <= 1)).all()

    def test_scores_do_not_overflow(self, model: Embedder) -> None:
        with np.errstate(all="raise", under="ignore"):
            scores = model.scores(np.array([[-3e38, -1e4, 0.0, 1e4, 3e38]], dtype=np.float32))
        assert np.isfinite(scores).all()

    def test_the_spec_names_its_score_rule(self, model: Embedder) -> None:
        assert "sigmoid" in model.spec.score_rule

    def test_the_spec_survives_pickle_and_json(self, model: Embedder) -> None:
        assert pickle.loads(pickle.dumps(model.spec)) == model.spec
        assert ModelSpec.from_json(model.spec.to_json()) == model.spec

    def test_two_loads_have_one_spec_and_one_answer(
        self, model: Embedder, frames: NDArray[np.float32], whole: Embedded
    ) -> None:
        again = self.load()
        assert again.spec == model.spec
        assert again.spec.digest == model.spec.digest
        assert again.classes == model.classes
        self.same(again.embed(frames), whole)

    def test_spec_is_in_plain_types(self, model: Embedder) -> None:
        """A NumPy integer in the spec would break its digest on one machine and not on another."""
        assert {type(value) for value in model.spec.to_json().values()} == {str, int}
        assert len(model.spec.weights_digest) == 64
        assert math.isclose(model.spec.window_s * model.spec.sample_rate_hz, model.spec.window_samples)

    def test_runtime_says_what_it_runs_on(self, model: Embedder) -> None:
        assert model.batch_size >= 1
        assert model.runtime.engine.split()[0] in {"NumPy", "LiteRT", "TensorFlow", "OpenVINO", "ONNX"}
        assert any(character.isdigit() for character in model.runtime.engine)
        assert model.runtime.device == "CPU" or model.runtime.device.startswith("GPU:")
        assert model.runtime.threads >= 0
        assert isinstance(model.note, str)
