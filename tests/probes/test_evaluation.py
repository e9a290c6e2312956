"""evaluate(): every number against the plain metric, what is not defined, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as twin

from probes import metrics
from probes.evaluation import evaluate
from sonotheque.core.errors import Invalid
from tests.probes.judging_worlds import WINDOW_S, examples, exclusive, noisy


def judged(world, probabilities, kind="multilabel", thresholds=None, **more):
    limits = np.full(len(world.classes), 0.5) if thresholds is None else np.asarray(thresholds)
    return evaluate(world, probabilities, kind=kind, thresholds=limits, window_s=WINDOW_S, **{"bootstrap": 60, **more})


def numbers_of(value):
    if isinstance(value, dict):
        return [n for inner in value.values() for n in numbers_of(inner)]
    if isinstance(value, list):
        return [n for inner in value for n in numbers_of(inner)]
    return [value] if isinstance(value, float) else []


@st.composite
def worlds(draw):
    random = np.random.default_rng(draw(st.integers(0, 2**31)))
    n, c = draw(st.integers(1, 40)), draw(st.integers(1, 3))
    targets = random.random((n, c)) < draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    weights = np.where(
        targets, random.choice([0.0, 1.0], p=[0.2, 0.8], size=(n, c)), random.choice([0.0, 0.1, 1.0], size=(n, c))
    )
    world = examples(
        targets,
        random.integers(draw(st.integers(1, 8)), size=n),
        weights=weights,
        sites=random.choice(["north", "south", ""], size=n),
        hours=random.integers(-1, 24, size=n),
        snr_db=np.where(random.random(n) < 0.3, np.nan, random.normal(8, 8, size=n)),
    )
    return world, np.round(random.random((n, c)), 1).astype(np.float32)


@given(worlds(), st.sampled_from(["multilabel", "multiclass"]))
@settings(max_examples=60)
def test_anything_is_judged_and_can_be_written_as_json(case, kind):
    world, probabilities = case
    found = judged(world, probabilities, kind, bootstrap=12)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert all(np.isfinite(numbers_of(found)))
    assert list(found["classes"]) == list(world.classes)
    assert found["rows"] == len(world)
    assert found["recordings"] == len(set(world.recording_ids))


@given(worlds())
@settings(max_examples=60)
def test_each_class_has_the_plain_metrics_numbers(case):
    world, probabilities = case
    found = judged(world, probabilities, bootstrap=0)
    truth, weights = world.targets > 0, world.weights.astype(np.float64)
    nan = float("nan")
    for c, name in enumerate(world.classes):
        told = {key: nan if value is None else value for key, value in found["classes"][name].items()}
        t, p, w = truth[:, c], probabilities[:, c], weights[:, c]
        assert told["ap"] == pytest.approx(metrics.average_precision(t, p, w), nan_ok=True)
        assert told["roc_auc"] == pytest.approx(metrics.roc_auc(t, p, w), nan_ok=True)
        assert told["ap_chance"] == pytest.approx(metrics.average_precision_chance(t, w), nan_ok=True)
        assert told["n"] == told["n_positive"] == (t & (w > 0)).sum()
        assert told["n_weak"] == (~t & (w > 0) & (w < 1)).sum()
        assert told["n_positive"] + told["n_negative"] + told["n_weak"] == (w > 0).sum()
        if (w > 0).any():
            hit = p >= 0.5
            assert told["precision"] == pytest.approx(
                twin.precision_score(t, hit, sample_weight=w, zero_division=np.nan), nan_ok=True
            )
            assert told["recall"] == pytest.approx(
                twin.recall_score(t, hit, sample_weight=w, zero_division=np.nan), nan_ok=True
            )
        assert found["classes"][name]["ap_ci"] == [None, None]
    macro = found["macro"]
    expected = metrics.padded_cmap(truth, probabilities, weights=weights)
    assert (nan if macro["cmap"] is None else macro["cmap"]) == pytest.approx(expected, nan_ok=True)


def test_macro_means_are_over_the_classes_where_they_are_defined():
    world, probabilities = noisy(classes=4)
    world.targets[:, 1] = 0  # never there
    world.targets[:, 2] = 1  # always there
    world.weights[:, 3] = 0.0  # nothing known
    found = judged(world, probabilities)
    one = found["classes"]["class a"]
    assert (found["macro"]["classes_counted"], found["macro"]["classes"]) == (1, 4)
    assert found["macro"]["map"] == one["ap"]
    assert found["macro"]["roc_auc"] == one["roc_auc"]
    assert found["macro"]["map_chance"] == one["ap_chance"]
    for name in ("class b", "class c", "class d"):
        assert (
            found["classes"][name]["ap"]
            is found["classes"][name]["roc_auc"]
            is found["classes"][name]["ap_chance"]
            is None
        )
        assert found["classes"][name]["ap_ci"] == [None, None]
        assert found["curves"][name] == {"recall": [], "precision": [], "threshold": []}
    assert found["classes"]["class b"]["recall"] is found["classes"]["class b"]["f1"] is None
    assert found["classes"]["class c"]["recall"] is not None
    assert any("class b: no positives in the test" in note for note in found["notes"])
    assert any("class c: no negatives in the test" in note for note in found["notes"])
    assert {n.split(":")[0] for n in found["notes"]} == {"class b", "class c", "class d"}


def test_nothing_known_of_anything():
    world = examples([[1], [0]], [1, 2], weights=[[0], [0]])
    found = judged(world, np.array([[0.2], [0.4]]))
    macro = found["macro"]
    assert macro["classes_counted"] == 0
    assert {
        macro[k]
        for k in ("map", "cmap", "roc_auc", "accuracy", "balanced_accuracy", "macro_f1", "map_chance", "cmap_chance")
    } == {None}
    assert macro["map_ci"] == [None, None]


def test_weak_negatives_count_with_their_weight():
    targets, p = [[1], [0], [0], [0]], np.array([[0.6], [0.9], [0.1], [0.7]])
    found = judged(examples(targets, range(4), weights=[[1], [0.25], [1], [0]]), p)["classes"]["class a"]
    assert (found["n_positive"], found["n_negative"], found["n_weak"]) == (1, 1, 1)
    assert found["precision"] == pytest.approx(1 / 1.25)
    assert found["false_alarms_per_hour"] == pytest.approx(0.25 / (1.25 * WINDOW_S / 3600))
    assert found["ap_chance"] == pytest.approx(1 / 2.25)
    histogram = judged(examples(targets, range(4), weights=[[1], [0.25], [1], [0]]), p)["histograms"]["class a"]
    assert (sum(histogram["positive"]), sum(histogram["negative"]), sum(histogram["weak"])) == (1, 1, 1)
    assert (len(histogram["edges"]), histogram["weak"][18]) == (21, 1)


def test_intervals_hold_the_value_and_narrow_with_more_recordings():
    few, many = (judged(*noisy(n=12 * r, recordings=r), bootstrap=200)["macro"] for r in (15, 150))
    for name in ("map", "cmap", "roc_auc"):
        for found in (few, many):
            low, high = found[f"{name}_ci"]
            assert low < found[name] < high
        assert many[f"{name}_ci"][1] - many[f"{name}_ci"][0] < 0.6 * (few[f"{name}_ci"][1] - few[f"{name}_ci"][0])


def test_the_interval_is_the_plain_bootstrap():
    """The short cut against drawing recordings and measuring anew each time."""
    from probes.intervals import bootstrap

    world, probabilities = noisy(n=90, classes=1, recordings=12)
    low, high = bootstrap(
        world.recording_ids,
        lambda times: metrics.average_precision(world.targets[:, 0], probabilities[:, 0], times),
        80,
        3,
    )
    assert judged(world, probabilities, bootstrap=80, seed=3)["classes"]["class a"]["ap_ci"] == pytest.approx(
        [low, high]
    )


def test_the_same_seed_gives_the_same_document():
    case = noisy(n=80)
    assert judged(*case, seed=1) == judged(*case, seed=1)
    assert judged(*case, seed=1)["macro"]["map_ci"] != judged(*case, seed=2)["macro"]["map_ci"]


def test_positives_of_one_recording_have_no_interval():
    world = examples([[1], [1], [0], [0], [0]], [0, 0, 1, 2, 3])
    found = judged(world, np.array([[0.9], [0.4], [0.5], [0.1], [0.2]]))
    assert found["classes"]["class a"]["ap"] is not None
    assert found["classes"]["class a"]["ap_ci"] == found["macro"]["map_ci"] == [None, None]
    assert found["notes"] == [
        "class a: the 2 positives in the test come from one recording, so no interval can be given"
    ]
    alone = judged(world.take(np.array([0, 1])), np.array([[0.9], [0.4]]))
    assert alone["recordings"] == 1


def test_chance_stands_beside_every_macro_number():
    for world, p, kind in ((*noisy(), "multilabel"), (*exclusive()[:2], "multiclass")):
        macro = judged(world, p, kind)["macro"]
        for name in ("map", "cmap", "roc_auc", "accuracy", "balanced_accuracy", "macro_f1"):
            assert 0 < macro[f"{name}_chance"] < macro[name] + 0.2
            assert 0 < macro[name] <= 1
        assert macro["roc_auc_chance"] == 0.5


def test_scores_that_know_nothing_are_at_chance():
    random = np.random.default_rng(4)
    world, _ = noisy(n=4000, recordings=400)
    macro = judged(world, random.random((4000, 3)).astype(np.float32), bootstrap=0)["macro"]
    for name in ("map", "cmap", "roc_auc", "balanced_accuracy"):
        assert macro[name] == pytest.approx(macro[f"{name}_chance"], abs=0.03)


def test_multiclass_decisions_are_scikit_learns():
    world, probabilities, truth = exclusive()
    found = judged(world, probabilities, "multiclass")
    said = probabilities.argmax(axis=1)
    assert found["confusion"] == {"labels": list(world.classes), "counts": twin.confusion_matrix(truth, said).tolist()}
    assert found["macro"]["accuracy"] == pytest.approx(twin.accuracy_score(truth, said))
    assert found["macro"]["balanced_accuracy"] == pytest.approx(twin.balanced_accuracy_score(truth, said))
    assert found["macro"]["macro_f1"] == pytest.approx(twin.f1_score(truth, said, average="macro"))
    assert found["macro"]["balanced_accuracy_chance"] == 0.25
    assert found["macro"]["accuracy_chance"] == np.bincount(truth).max() / len(truth)


def test_multiclass_rows_without_a_known_class_are_left_out_of_the_decisions():
    world = examples(np.eye(3)[[0, 1, 2, 0]], range(4), weights=[[1, 1, 1], [1, 0, 1], [1, 1, 1], [0.1, 0.1, 0.1]])
    world.targets[3] = 0  # a weak negative of all
    found = judged(world, np.full((4, 3), 1 / 3), "multiclass")
    assert np.sum(found["confusion"]["counts"]) == 2
    assert [found["classes"][n]["n"] for n in world.classes] == [1, 0, 1]


def test_multilabel_decisions_are_means_over_classes():
    world, probabilities = noisy()
    limits = [0.3, 0.5, 0.7]
    found = judged(world, probabilities, thresholds=limits)["macro"]
    hit, truth = probabilities >= np.array(limits), world.targets > 0
    pairs = list(zip(truth.T, hit.T, strict=True))
    assert found["accuracy"] == pytest.approx(np.mean([twin.accuracy_score(t, h) for t, h in pairs]))
    assert found["balanced_accuracy"] == pytest.approx(np.mean([twin.balanced_accuracy_score(t, h) for t, h in pairs]))
    assert found["macro_f1"] == pytest.approx(np.mean([twin.f1_score(t, h) for t, h in pairs]))
    assert found["macro_f1_chance"] == pytest.approx(np.mean([twin.f1_score(t, np.ones(len(t))) for t in truth.T]))
    assert found["accuracy_chance"] == pytest.approx(np.mean([max(t.mean(), 1 - t.mean()) for t in truth.T]))
    assert found["balanced_accuracy_chance"] == 0.5


def test_multilabel_confusion_by_hand():
    """Rows: what is there; columns: what was found there wrongly, rightly on the diagonal, or not at all."""
    world = examples(
        [[1, 0], [1, 1], [0, 1], [0, 0], [0, 0], [1, 0]],
        range(6),
        weights=[[1, 1], [1, 1], [1, 1], [1, 1], [1, 1], [1, 0]],
    )
    p = np.array([[0.9, 0.9], [0.9, 0.1], [0.1, 0.1], [0.1, 0.8], [0.1, 0.1], [0.9, 0.9]])
    confused = judged(world, p)["confusion"]
    assert confused["labels"] == ["class a", "class b", "none of them"]
    assert confused["counts"] == [[3, 1, 0], [0, 0, 1], [0, 1, 1]]


def test_curves_are_thin_and_keep_their_ends():
    world, probabilities = noisy(n=3000, classes=1)
    found = judged(world, probabilities, bootstrap=0)["curves"]["class a"]
    full = metrics.precision_recall(world.targets[:, 0], probabilities[:, 0])
    assert len(found["recall"]) == len(found["precision"]) == len(found["threshold"]) <= 200 < len(full.thresholds)
    assert (found["threshold"][0], found["threshold"][-1]) == (full.thresholds[0], full.thresholds[-1])
    assert found["recall"][-1] == 1
    assert (np.diff(found["threshold"]) < 0).all()
    assert np.diff(found["recall"]).max() < 0.01
    at = np.searchsorted(-full.thresholds, -np.array(found["threshold"]))
    np.testing.assert_allclose(found["precision"], full.precision[at])
    short = judged(*noisy(n=30, classes=1), bootstrap=0)["curves"]["class a"]
    assert len(short["recall"]) == 30


def test_histograms_count_every_row():
    world, probabilities = noisy()
    probabilities[0, 0], probabilities[1, 0] = 0.0, 1.0
    histogram = judged(world, probabilities)["histograms"]["class a"]
    assert sum(histogram["positive"]) == world.targets[:, 0].sum()
    assert sum(histogram["positive"]) + sum(histogram["negative"]) == len(world)


def test_slices_measure_each_part_by_itself():
    world, probabilities = noisy(n=300)
    sites = np.where(np.arange(300) < 100, "north", np.where(np.arange(300) < 250, "south", ""))
    world = examples(world.targets, world.recording_ids, sites=sites, hours=world.hours)
    found = judged(world, probabilities)["slices"]["site"]
    assert list(found) == ["north", "south", "unknown"]
    assert [found[s]["n"] for s in found] == [100, 150, 50]
    north = np.arange(100)
    alone = judged(world.take(north), probabilities[north])["macro"]
    assert found["north"]["map"] == pytest.approx(alone["map"])
    assert found["north"]["roc_auc"] == pytest.approx(alone["roc_auc"])
    assert found["north"]["map_chance"] == pytest.approx(alone["map_chance"])
    assert found["north"]["classes_counted"] == 3


def test_slices_by_hour_and_by_snr_have_stated_bands():
    hours = [0, 2, 3, 23, -1, 4]
    snr_db = [-5.0, 3.0, 5.9, 6.0, np.nan, 20.0]
    found = judged(examples([[1], [0]] * 3, range(6), hours=hours, snr_db=snr_db), np.full((6, 1), 0.5))["slices"]
    assert {k: v["n"] for k, v in found["hour"].items()} == {"00-03": 2, "03-06": 2, "21-24": 1, "unknown": 1}
    assert {k: v["n"] for k, v in found["snr"].items()} == {
        "< 3 dB": 1,
        "3-6 dB": 2,
        "6-10 dB": 1,
        ">= 20 dB": 1,
        "unknown": 1,
    }
    assert list(found["snr"]) == ["< 3 dB", "3-6 dB", "6-10 dB", ">= 20 dB", "unknown"]
    assert found["hour"]["21-24"] == {"n": 1, "map": None, "map_chance": None, "roc_auc": None, "classes_counted": 0}


def test_a_probability_that_is_no_number_is_refused_with_its_window():
    world, probabilities = noisy(n=20)
    probabilities[7, 1] = np.nan
    with pytest.raises(
        Invalid, match=rf"1 of 60 probabilities are not finite; the first is of class b in {world.paths[7]}"
    ):
        judged(world, probabilities)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "binary"}, "multilabel or multiclass"),
        ({"probabilities": np.full((20, 2), 0.5)}, r"expected \(20, 3\)"),
        ({"probabilities": np.full((20, 3), 3.2)}, "were logits given"),
        ({"probabilities": np.full((20, 3), -0.1)}, "expected 0 to 1"),
        ({"thresholds": np.full(2, 0.5)}, r"thresholds \(2,\)"),
        ({"thresholds": np.array([0.5, np.nan, 0.5])}, "a threshold is not finite"),
        ({"window_s": 0.0}, "longer than 0 s"),
        ({"window_s": float("nan")}, "longer than 0 s"),
        ({"bootstrap": -1}, "no negative repeats"),
    ],
)
def test_what_cannot_be_judged_is_refused(change, said):
    world, probabilities = noisy(n=20)
    given_ = {
        "probabilities": probabilities,
        "kind": "multilabel",
        "thresholds": np.full(3, 0.5),
        "window_s": 3.0,
        **change,
    }
    with pytest.raises(Invalid, match=said):
        evaluate(world, given_.pop("probabilities"), **given_)


def test_no_rows_and_no_classes():
    world, probabilities = noisy(n=20)
    with pytest.raises(Invalid, match="nothing to judge by"):
        judged(world.take(np.zeros(0, np.int64)), probabilities[:0])
    with pytest.raises(Invalid, match="0 classes"):
        judged(world.of_classes(()), probabilities[:, :0])


def test_a_rounded_softmax_is_accepted():
    world, probabilities = noisy(n=20)
    probabilities[0] = np.float32(1 + 2e-7)
    assert judged(world, probabilities)["rows"] == 20
