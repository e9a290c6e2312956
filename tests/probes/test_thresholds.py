"""Threshold rules against trying every threshold, and what each says when it cannot be kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.thresholds import RULES, choose
from sonotheque.core.errors import Invalid

HOURS = 0.5


@st.composite
def scored(draw):
    n = draw(st.integers(4, 40))
    random = np.random.default_rng(draw(st.integers(0, 2**31)))
    truth = (random.random(n) < 0.4).astype(int)
    truth[:2] = 0, 1
    probabilities = np.round(
        np.clip(random.random(n) * 0.7 + 0.3 * truth, 0, 1), 1 if draw(st.booleans()) else 4
    ).astype(np.float32)
    return truth, probabilities, random.choice([0.1, 1.0], size=n)


def told(truth, probabilities, weights, threshold):
    """The dumb twin: count the rows at or above a threshold."""
    hit = probabilities >= threshold
    found, false, missed = (
        float(weights[rows].sum()) for rows in (hit & (truth == 1), hit & (truth == 0), ~hit & (truth == 1))
    )
    precision = found / (found + false) if found + false else float("nan")
    return {
        "precision": precision,
        "recall": found / (found + missed),
        "f1": 2 * found / (2 * found + false + missed),
        "false_alarms_per_hour": false / HOURS,
    }


@given(scored(), st.sampled_from([("max_f1", None), ("precision", 0.8), ("false_alarms", 2.0), ("false_alarms", 0.0)]))
def test_what_is_said_of_the_threshold_is_what_it_does(case, rule):
    chosen = choose(*rule, *case, HOURS)
    for name, value in told(*case, chosen.threshold).items():
        assert getattr(chosen, name) == pytest.approx(value, nan_ok=True), name


@given(scored())
def test_no_threshold_has_a_higher_f1(case):
    chosen = choose("max_f1", None, *case, HOURS)
    every = {float(t): told(*case, t)["f1"] for t in case[1]}
    assert chosen.f1 == pytest.approx(max(every.values()))
    assert chosen.threshold >= max(t for t, f1 in every.items() if f1 == pytest.approx(chosen.f1, rel=1e-12)) - 1e-9
    assert chosen.note == ""


@given(scored(), st.sampled_from([0.3, 0.6, 0.9, 1.0]))
def test_the_lowest_threshold_that_is_precise_enough(case, wanted):
    chosen = choose("precision", wanted, *case, HOURS)
    reach = [
        float(t) for t in case[1] if told(*case, t)["precision"] >= wanted - 1e-12 and told(*case, t)["recall"] > 0
    ]
    if reach:
        assert chosen.threshold == min(reach)
        assert chosen.note == ""
    else:
        assert "no threshold reaches a precision of" in chosen.note
        assert chosen.precision == pytest.approx(max(told(*case, t)["precision"] for t in case[1]))


@given(scored(), st.sampled_from([0.0, 1.0, 4.0, 1000.0]))
def test_the_best_recall_with_few_enough_false_alarms(case, wanted):
    chosen = choose("false_alarms", wanted, *case, HOURS)
    kept = [told(*case, t)["recall"] for t in case[1] if told(*case, t)["false_alarms_per_hour"] <= wanted + 1e-12]
    assert chosen.false_alarms_per_hour <= wanted + 1e-12
    assert chosen.recall == pytest.approx(max(kept, default=0.0))
    if max(kept, default=0.0) == 0:
        assert chosen.threshold > case[1].max()
        assert "nothing is found" in chosen.note


def test_a_false_alarm_above_every_positive():
    truth, probabilities = np.array([0, 1, 0, 1]), np.array([0.9, 0.8, 0.2, 0.1], np.float32)
    chosen = choose("false_alarms", 1.0, truth, probabilities, None, HOURS)
    assert chosen.threshold == np.nextafter(np.float32(0.9), np.float32(2))
    assert (chosen.recall, chosen.f1, chosen.false_alarms_per_hour) == (0, 0, 0)
    assert np.isnan(chosen.precision)
    assert "the best positive comes with 2" in chosen.note
    assert choose("false_alarms", 2.0, truth, probabilities, None, HOURS).recall == 0.5


def test_of_equal_recalls_the_one_with_fewer_false_alarms():
    truth, probabilities = np.array([1, 0, 0]), np.array([0.9, 0.5, 0.4])
    assert choose("false_alarms", 100.0, truth, probabilities, None, 1.0).threshold == 0.9


@pytest.mark.parametrize("rule", [("max_f1", None), ("precision", 0.9), ("false_alarms", 1.0)])
@pytest.mark.parametrize(("side", "truth"), [("positives", [0, 0, 0]), ("negatives", [1, 1, 1])])
def test_without_one_side_the_threshold_is_a_half(rule, side, truth):
    chosen = choose(*rule, np.array(truth), np.array([0.2, 0.6, 0.9]), None, HOURS)
    assert chosen.threshold == 0.5
    assert f"there are no {side}" in chosen.note
    assert np.isnan(chosen.recall) == (side == "positives")


def test_nothing_at_all():
    chosen = choose("max_f1", None, np.zeros(0, int), np.zeros(0))
    assert chosen.threshold == 0.5
    assert np.isnan([chosen.precision, chosen.recall, chosen.f1, chosen.false_alarms_per_hour]).all()


@pytest.mark.parametrize("hours", [0.0, float("nan")])
def test_false_alarms_without_hours_fall_back(hours):
    truth, probabilities = np.array([0, 1, 0, 1]), np.array([0.1, 0.8, 0.2, 0.7])
    chosen = choose("false_alarms", 1.0, truth, probabilities, None, hours)
    assert chosen.threshold == choose("max_f1", None, truth, probabilities).threshold == 0.7
    assert "max_f1 instead" in chosen.note
    assert np.isnan(chosen.false_alarms_per_hour)


def test_rows_of_weight_zero_are_not_seen():
    truth, probabilities = np.array([0, 1, 0]), np.array([0.1, 0.8, 0.95])
    assert choose("precision", 1.0, truth, probabilities, np.array([1, 1, 0])).precision == 1
    assert "no threshold reaches" in choose("precision", 1.0, truth, probabilities).note


def test_a_threshold_holds_for_the_float32_it_was_chosen_on():
    truth, probabilities = np.array([0, 1]), np.array([0.1, 0.7], np.float32)
    chosen = choose("max_f1", None, truth, probabilities)
    assert (probabilities >= chosen.threshold).tolist() == [False, True]


@pytest.mark.parametrize(
    ("rule", "value", "said"),
    [
        ("best", None, "max_f1, precision, false_alarms"),
        ("precision", None, "such as 0.9"),
        ("precision", 0.0, "above 0 and up to 1"),
        ("precision", 90.0, "cannot have the value 90"),
        ("precision", float("nan"), "needs a value"),
        ("false_alarms", -1.0, "0 or more"),
        ("false_alarms", float("inf"), "needs a value"),
    ],
)
def test_rules_that_cannot_be(rule, value, said):
    with pytest.raises(Invalid, match=said):
        choose(rule, value, np.array([0, 1]), np.array([0.1, 0.9]))


def test_probabilities_that_are_no_numbers():
    for rule in RULES:
        with pytest.raises(Invalid, match="not finite"):
            choose(rule, 0.5, np.array([0, 1]), np.array([0.1, np.nan]))
