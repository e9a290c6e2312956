"""The placeholder: the whole contract, and that it does the little it says."""

from __future__ import annotations

import numpy as np
import pytest

from embedder.models import Embedder, load_model, model_info
from embedder.models.placeholder import CLASSES
from sonotheque.core.errors import Invalid

from .contract import ModelContract


def tone(hz: float, model: Embedder) -> np.ndarray:
    time_s = np.arange(model.spec.window_samples) / model.spec.sample_rate_hz
    return (0.5 * np.sin(2 * np.pi * hz * time_s)).astype(np.float32)[None, :]


class TestPlaceholder(ModelContract):
    @classmethod
    def load(cls) -> Embedder:
        return load_model("placeholder")

    @pytest.mark.parametrize(("hz", "label"), [(200, CLASSES[0]), (1000, CLASSES[1]), (5000, CLASSES[2])])
    def test_a_tone_falls_into_its_third(self, model: Embedder, hz: float, label: str) -> None:
        logits = model.embed(tone(hz, model)).logits
        assert logits is not None
        scores = model.scores(logits)[0]
        assert model.classes[int(scores.argmax())] == label
        assert scores.max() > 0.999

    def test_a_score_is_a_share_of_energy(self, model: Embedder) -> None:
        logits = model.embed(tone(200, model) + tone(5000, model)).logits
        assert logits is not None
        assert model.scores(logits)[0] == pytest.approx([0.5, 0.0, 0.5], abs=1e-3)

    def test_level_does_not_matter(self, model: Embedder, frames: np.ndarray) -> None:
        loud, quiet = model.embed(frames[:1]).embeddings[0], model.embed(frames[:1] * np.float32(0.1)).embeddings[0]
        cosine = float(loud @ quiet / np.linalg.norm(loud) / np.linalg.norm(quiet))
        assert cosine > 0.9999

    def test_silence_has_a_direction(self, model: Embedder) -> None:
        """A zero vector has no cosine to anything."""
        vector = model.embed(np.zeros((1, model.spec.window_samples), dtype=np.float32)).embeddings[0]
        assert np.linalg.norm(vector) > 0.1

    def test_like_sounds_are_nearer_than_unlike(self, model: Embedder) -> None:
        near, same, far = (model.embed(tone(hz, model)).embeddings[0] for hz in (960, 1000, 6000))
        assert near @ same > near @ far

    def test_many_batches_are_identical_to_the_bit(self, model: Embedder) -> None:
        frames = np.random.default_rng(3).standard_normal((37, model.spec.window_samples)).astype(np.float32)
        whole = model.embed(frames)
        assert whole.logits is not None
        for size in (1, 5, 16, 36):
            for at in range(0, 37, size):
                part = model.embed(frames[at : at + size])
                assert np.array_equal(part.embeddings, whole.embeddings[at : at + size])
                assert part.logits is not None
                assert np.array_equal(part.logits, whole.logits[at : at + size])

    def test_it_says_what_it_is(self, model: Embedder) -> None:
        assert "not a sound model" in model.note
        assert all(name.startswith("placeholder:") for name in model.classes)
        assert "not a sound model" in model_info("placeholder").title

    def test_it_fits_its_registry_entry(self, model: Embedder) -> None:
        info, spec = model_info("placeholder"), model.spec
        assert (spec.sample_rate_hz, spec.window_s, spec.dim, spec.n_classes) == (
            info.sample_rate_hz,
            info.window_s,
            info.dim,
            info.n_classes,
        )

    def test_weights_are_refused(self) -> None:
        with pytest.raises(Invalid, match="no weights"):
            load_model("placeholder", weights="/somewhere")
