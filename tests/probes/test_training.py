"""A training as a whole: what it learns, what it says of itself, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from probes.examples import Examples, join
from probes.experiment import Experiment, Split, ThresholdRule
from probes.fitting import features_of, fit, row_weights, unit_rows
from probes.parting import Sides, parted
from probes.selection import L2_DEFAULT, L2_TRIED, select
from probes.training import train
from sonotheque.core.errors import Invalid
from tests.probes.builders import examples, spec

QUICK = Experiment("toy", bootstrap=20, shots=(1, 4))


def changed(e: Examples, **values) -> Examples:
    return replace(e, **values)


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_a_probe_tells_classes_apart_on_recordings_it_has_not_seen(kind):
    trained = train(examples(400, apart=4.0), replace(QUICK, kind=kind), spec())
    report = trained.report
    assert report["test"]["macro"]["roc_auc"] > 0.95 and report["solver"]["converged"]
    assert set(trained.train.recording_ids).isdisjoint(trained.test.recording_ids)
    assert report["split"]["leaks"]["shared_groups"] == 0 and report["split"]["leaks"]["overlapping_windows"] == 0
    assert len(trained.train) + len(trained.test) == 400
    assert [row["shots"] for row in report["learning_curve"]] == [1, 4, "all"]
    json.dumps(report, allow_nan=False)


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_noise_is_not_mistaken_for_skill(kind):
    report = train(examples(300, apart=0.0), replace(QUICK, kind=kind), spec()).report
    low, high = report["test"]["macro"]["roc_auc_ci"]
    assert low < 0.5 < high


def test_the_same_examples_give_the_same_bytes():
    one, two = (train(examples(), QUICK, spec()).probe for _ in range(2))
    assert one.digest == two.digest and one.about == two.about


@pytest.mark.parametrize("kind", ["multilabel", "multiclass"])
def test_it_loses_nothing_to_scikit_learn_tuned_on_the_same_split(kind):
    trained = train(examples(500, apart=1.0, dim=24), replace(QUICK, kind=kind), spec(24))
    t, s = trained.train, trained.test
    best = 0.0
    for c in (0.1, 1.0, 10.0, 100.0):
        twin = LogisticRegression(C=c, max_iter=5000, class_weight="balanced")
        twin.fit(unit_rows(t.vectors), t.targets.argmax(axis=1))
        best = max(best, roc_auc_score(s.targets, twin.predict_proba(unit_rows(s.vectors)), average="macro"))
    assert trained.report["test"]["macro"]["roc_auc"] > best - 0.01


def test_probabilities_mean_what_they_say():
    trained = train(examples(3000, apart=1.0, recordings=200), replace(QUICK, shots=()), spec())
    p = trained.probe.probabilities(trained.probe.logits(trained.test.vectors))
    for low, high in ((0.0, 0.3), (0.3, 0.6), (0.6, 1.01)):
        chosen = (p >= low) & (p < high)
        if chosen.sum() > 50:
            assert abs(p[chosen].mean() - trained.test.targets[chosen].mean()) < 0.1


def test_thresholds_follow_the_rule():
    e = examples(600, apart=0.7)  # so hard that 0.95 costs something
    strict = train(e, replace(QUICK, threshold=ThresholdRule("precision", 0.9)), spec())
    assert all(row["precision"] >= 0.9 for row in strict.report["threshold_rule"]["chosen"])
    few = train(e, replace(QUICK, threshold=ThresholdRule("false_alarms", 1.0)), spec())
    assert all(row["false_alarms_per_hour"] <= 1.0 for row in few.report["threshold_rule"]["chosen"])


def test_a_precise_threshold_does_not_let_everything_through_because_weak_negatives_weigh_little():
    e = examples(400, n_classes=1, apart=1.5)
    weak = changed(e, targets=(np.arange(400) < 40).astype(np.float32)[:, None])
    vectors = np.where(weak.targets > 0, e.vectors + 0.4, e.vectors).astype(np.float32)
    weak = changed(weak, vectors=vectors, weights=np.where(weak.targets > 0, 1.0, 0.05).astype(np.float32))
    probe = train(weak, replace(QUICK, threshold=ThresholdRule("precision", 0.6)), spec()).probe
    found = probe.probabilities(probe.logits(weak.vectors))[:, 0] >= probe.thresholds[0]
    assert 0 < found.mean() < 0.3


def test_a_class_without_positives_or_without_anything_against_it_is_refused():
    e = examples()
    none = changed(e, targets=np.where(np.arange(3) == 1, 0, e.targets).astype(np.float32))
    with pytest.raises(Invalid, match="class 'class 1' has no positive example"):
        train(none, QUICK, spec())
    every = changed(e, targets=np.where(np.arange(3) == 1, 1, e.targets).astype(np.float32))
    with pytest.raises(Invalid, match="nothing is known not to be 'class 1'"):
        train(every, QUICK, spec())
    with pytest.raises(Invalid, match="there is no class"):
        train(examples(n_classes=1).of_classes(()), QUICK, spec())


def test_one_class_alone_is_no_multiclass():
    with pytest.raises(Invalid, match="only class"):
        train(examples(n_classes=1), replace(QUICK, kind="multiclass"), spec())


def test_one_example_of_a_class_is_learnt_and_told():
    e = examples(120, n_classes=2, apart=4.0)
    one = np.flatnonzero(e.targets[:, 1])[0]
    targets = np.zeros_like(e.targets)
    targets[one, 1] = 1
    targets[:60, 0] = e.targets[:60, 0]
    trained = train(changed(e, targets=targets), QUICK, spec())
    assert any("class 1 has one positive example" in note for note in trained.report["notes"])
    assert np.isfinite(trained.probe.weights).all()


def test_one_recording_alone_holds_nothing_out_and_says_so():
    e = examples(60, n_classes=2, recordings=1)
    trained = train(e, QUICK, spec())
    assert trained.report["test"] is None and trained.report["learning_curve"] == []
    assert len(trained.train) == 60 and len(trained.test) == 0
    assert any("nothing was held out" in note for note in trained.report["notes"])
    assert any("nothing can be left out" in note for note in trained.report["notes"])
    assert list(trained.probe.thresholds) == [0.5, 0.5] and trained.report["solver"]["l2"] == L2_DEFAULT


def test_a_test_share_of_nought_is_taken_at_its_word():
    trained = train(examples(), replace(QUICK, split=Split(test_share=0.0)), spec())
    assert len(trained.test) == 0 and any("as asked" in note for note in trained.report["notes"])


def test_split_by_day_and_by_site_keeps_them_whole():
    for by in ("day", "site"):
        trained = train(examples(400), replace(QUICK, split=Split(by=by)), spec())
        assert set(trained.train.groups(by)).isdisjoint(trained.test.groups(by))


def test_what_was_held_out_stays_held_out_when_more_is_known():
    e = examples(400, apart=3.0)
    first = train(e.take(np.flatnonzero(e.recording_ids < 50)), QUICK, spec())
    before = Sides(frozenset(first.train.recording_ids.tolist()), frozenset(first.test.recording_ids.tolist()))
    again = train(e, QUICK, spec(), before)
    learnt, held = set(again.train.recording_ids.tolist()), set(again.test.recording_ids.tolist())
    assert before.test <= held and before.train <= learnt and not learnt & held
    assert any(i >= 50 for i in held) and any(i >= 50 for i in learnt)
    assert any("stay held out" in note for note in again.report["notes"])
    by_day = parted(e, Split(by="day"), before)
    assert not set(e.recording_ids[by_day[1]].tolist()) & before.train
    twin = train(e.take(np.flatnonzero(e.recording_ids < 50)), QUICK, spec(), before)
    assert twin.probe.digest == first.probe.digest


def test_one_new_recording_alone_is_learnt_from():
    e = examples(300, apart=3.0)
    known = set(e.recording_ids.tolist()) - {7}
    before = Sides(frozenset(k for k in known if k % 3), frozenset(k for k in known if k % 3 == 0))
    rows, held, _ = parted(e, Split(), before)
    assert 7 in e.recording_ids[rows] and 7 not in e.recording_ids[held]
    rows, held, notes = parted(e, Split(), Sides(frozenset(known), frozenset({10**9})))
    assert len(rows) + len(held) == 300 and (len(held) > 0 or "nothing was held out" in notes[0])


def test_weak_negatives_and_the_unknown_count_as_they_should():
    e = examples(300, apart=3.0)
    unknown = changed(
        e,
        weights=np.where(np.arange(300)[:, None] % 10 == 0, 0.0, 1.0).astype(np.float32) * np.ones((1, 3), np.float32),
    )
    swapped = changed(unknown, targets=np.where(unknown.weights == 0, 1 - e.targets, e.targets).astype(np.float32))
    one, two = fit(unknown, l2=1e-2), fit(swapped, l2=1e-2)
    np.testing.assert_allclose(one[0], two[0], atol=1e-6)  # what nobody knows teaches nothing


def test_vectors_of_zeros_and_of_any_length():
    e = examples(100, n_classes=2, apart=3.0)
    scaled = changed(e, vectors=e.vectors * np.random.default_rng(0).uniform(0.1, 10, (100, 1)).astype(np.float32))
    one, two = fit(e, l2=1e-3), fit(scaled, l2=1e-3)
    np.testing.assert_allclose(one[0], two[0], rtol=2e-3, atol=1e-4)
    with_zeros = changed(e, vectors=np.where(np.arange(100)[:, None] < 3, 0, e.vectors).astype(np.float32))
    assert np.isfinite(fit(with_zeros, l2=1e-3)[0]).all()


def test_all_vectors_the_same():
    e = changed(examples(40, n_classes=2), vectors=np.ones((40, 16), np.float32))
    trained = train(e, replace(QUICK, shots=()), spec())
    assert np.isfinite(trained.probe.weights).all()


def test_nan_names_its_window():
    e = examples(30)
    wrong = e.vectors.copy()
    wrong[7, 3] = np.nan
    with pytest.raises(Invalid, match=f"{e.paths[7]} at 35 s"):
        changed(e, vectors=wrong)


def test_row_weights_balance_each_class():
    t = np.array([[1, 0], [0, 1], [0, 1], [0, 0]], np.float32)
    s = np.array([[1, 1], [1, 1], [0, 1], [0.1, 0.1]], np.float32)
    found = row_weights(t, s, "balanced", "multilabel")
    for k in range(2):
        assert found[t[:, k] > 0, k].sum() == pytest.approx(1) and found[t[:, k] == 0, k].sum() == pytest.approx(1)
    assert (row_weights(t, s, "none", "multilabel") == s).all()
    multi = row_weights(t, s, "balanced", "multiclass")
    assert multi[0, 0] == pytest.approx(1) and multi[1, 0] + multi[2, 0] == pytest.approx(1) and multi[3, 0] == 0


def test_features_are_of_unit_length_in_the_mean_and_heads_give_the_same_logits():
    e = examples(50)
    f = features_of(e.vectors)
    assert np.mean((f.values**2).sum(axis=1)) == pytest.approx(1, rel=1e-4)
    weights, bias, solution = fit(e, l2=1e-2)
    np.testing.assert_allclose(
        unit_rows(e.vectors) @ weights + bias, f.values @ solution.weights + solution.bias, atol=1e-4
    )


def test_selection_scores_each_row_by_a_fit_without_its_group():
    e = examples(300, apart=1.0)
    found = select(e, QUICK)
    assert found.l2 in L2_TRIED and len(found.tried) == len(L2_TRIED)
    assert np.isfinite(found.logits).all() and list(found.rows) == list(range(300))
    # Targets drawn by chance for each recording as a whole: a fit that had seen the recording would know them.
    rng = np.random.default_rng(5)
    by_recording = (rng.random((60, 3)) < 0.5).astype(np.float32)
    own = rng.normal(size=(60, 16)) * 3
    leaky = changed(
        e, targets=by_recording[e.recording_ids], vectors=(own[e.recording_ids] + e.vectors * 0.1).astype(np.float32)
    )
    scores = [row["score"] for row in select(leaky, replace(QUICK, metric="roc_auc")).tried]
    assert all(abs(score - 0.5) < 0.2 for score in scores)


def test_many_rows_are_chosen_on_some_of_them(monkeypatch):
    monkeypatch.setattr("probes.selection._ROWS_MAX", 90)
    e = examples(400, n_classes=1)
    rare = (np.arange(400) % 20 == 0).astype(np.float32)[:, None]
    found = select(changed(e, targets=rare), QUICK)
    assert len(found.rows) == 90 and set(np.flatnonzero(rare[:, 0])) <= set(found.rows)


def test_join_and_take():
    e = examples(20)
    again = join([e.take(np.arange(12)), e.take(np.arange(12, 20))])
    assert again.digest == e.digest
    assert e.take(np.arange(20)[::-1]).digest != e.digest
    with pytest.raises(Invalid, match="different classes"):
        join([e, examples(20, n_classes=2)])


def test_a_class_that_was_held_out_whole_is_learnt_from_after_all():
    """Its calls were found in recordings that an earlier version holds out: with nothing to learn from it would call everything a hit."""
    e = examples(400, n_classes=2, apart=3.0)
    held = e.recording_ids % 4 == 0
    targets = e.targets.copy()
    targets[~held, 1] = 0
    e = changed(e, targets=targets)
    ids = set(e.recording_ids.tolist())
    before = Sides(frozenset(i for i in ids if i % 4), frozenset(i for i in ids if i % 4 == 0))
    trained = train(e, QUICK, spec(), before)
    assert (trained.train.targets[:, 1] > 0).any() and (trained.test.targets[:, 1] > 0).any()
    assert any("all that is known of class 1 was held out" in note for note in trained.report["notes"])
    assert np.abs(trained.probe.weights[:, 1]).max() > 0.1
    assert not set(trained.train.recording_ids.tolist()) & set(trained.test.recording_ids.tolist())


def test_if_all_examples_are_of_recordings_held_out_before_some_are_learnt_from():
    e = examples(100, n_classes=2, apart=3.0)
    trained = train(e, QUICK, spec(), Sides(frozenset({10**9}), frozenset(e.recording_ids.tolist())))
    assert len(trained.train) and len(trained.test) and np.isfinite(trained.probe.weights).all()


def test_windows_of_two_classes_that_exclude_each_other_teach_nothing():
    e = examples(200, apart=3.0)
    both = e.targets.copy()
    both[:20] = 1
    kind = replace(QUICK, kind="multiclass", shots=())
    trained = train(changed(e, targets=both), kind, spec())
    assert trained.report["solver"]["converged"] and np.abs(trained.probe.bias).max() < 100
    assert any("20 windows hold several classes" in note for note in trained.report["notes"])


def test_rows_that_were_drawn_of_many_stand_for_them(monkeypatch):
    e = examples(6000, n_classes=1, apart=0.8, recordings=600)
    rare = (np.arange(6000) % 40 == 0).astype(np.float32)[:, None]
    vectors = np.where(rare > 0, e.vectors + 0.25, e.vectors).astype(np.float32)
    e = changed(e, targets=rare, vectors=vectors)
    monkeypatch.setattr("probes.selection._ROWS_MAX", 900)
    found = select(e, QUICK)
    assert found.stands_for.sum() == pytest.approx(6000) and len(found.rows) == 900
    probe = train(e, replace(QUICK, shots=()), spec()).probe
    mean = probe.probabilities(probe.logits(e.vectors)).mean()
    assert 0.5 < mean / rare.mean() < 2  # not the share among the rows that were drawn


def test_the_number_of_threads_is_as_it_was(monkeypatch):
    from threadpoolctl import threadpool_info

    def now():
        return [(i["internal_api"], i["num_threads"]) for i in threadpool_info() if i["user_api"] == "blas"]

    monkeypatch.setattr("probes.products._ONE_THREAD_MAX", 150 * 16)  # between a fold and the whole
    e, before = examples(200), now()
    digests = {train(e, replace(QUICK, shots=()), spec()).probe.digest for _ in range(4)}
    assert now() == before and len(digests) == 1


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"split": {"seed": -1}}])
def test_seeds_below_nought_are_refused(wrong):
    from probes.experiment_files import experiment_from

    with pytest.raises(Invalid, match="seed -1: expected 0 or more"):
        experiment_from({"name": "x", **wrong})
