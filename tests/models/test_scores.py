"""Scores against the rules as they are written down."""

from __future__ import annotations

import numpy as np
import pytest

from embedder.models import MODELS
from embedder.models.scores import SCORE_RULES, scores_of

LOGITS = np.linspace(-60, 60, 241, dtype=np.float32)


def test_every_published_model_has_a_rule() -> None:
    assert set(SCORE_RULES) == set(MODELS) - {"placeholder"}


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("perch_v2", lambda x: 1 / (1 + np.exp(-(0.97 * x - 10)))),
        ("perch_v1", lambda x: 1 / (1 + np.exp(-x))),
        ("birdnet_v2.4", lambda x: 1 / (1 + np.exp(-np.clip(x, -15, 15)))),
    ],
)
def test_rules(name: str, rule: object) -> None:
    found = scores_of(name, LOGITS)
    assert found.dtype == np.float32
    assert np.allclose(found, rule(LOGITS.astype(np.float64)), rtol=1e-6, atol=0)  # type: ignore[operator]
