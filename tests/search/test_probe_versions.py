"""Versions of probes: kept and read, compared on windows that neither has seen, taken into use and back, given away."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import typer
from safetensors.numpy import load_file

import store
from probes import Examples
from probes.macro import compare_scores
from search_api.probes import versions
from search_api.probes.held_out import examples_table, held_out, held_out_of, learnt_from, sides_table, table_bytes
from search_api.probes.versions import compare, import_probe, load_probe, promote, rollback, runs, save_trained
from sonotheque.cli import probe_versions
from sonotheque.core.errors import Conflict, Damaged, Invalid, NotFound, SonothequeError
from sonotheque.core.ids import recording_id
from store import create_config, open_archive
from store.probes import ProbeStore
from tests.search import probe_kit as kit
from tests.store.kit import model_spec, store_config, tree

TRAINED, TESTED = kit.PATHS[:6], kit.PATHS[6:]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture(scope="module")
def archive_folder(tmp_path_factory):
    root = kit.make_store(tmp_path_factory.mktemp("archive"))
    open_archive(root).close()  # makes the catalog
    return root


@pytest.fixture
def root(archive_folder, tmp_path):
    return str(shutil.copytree(archive_folder, tmp_path / "store", copy_function=os.link))


@pytest.fixture
def archive(root):
    with open_archive(root) as found:
        yield found


@pytest.fixture
def call(root, capsys):
    """Run a verb; returns exit code and what it printed, or its JSON."""
    app = typer.Typer()
    probe_versions.register(app)

    def go(*words):
        asked = [str(w) for w in words]
        try:
            code = app([*asked, "--store", root], standalone_mode=False)
        except SonothequeError as error:
            return error.exit_code, error.message
        out = capsys.readouterr().out
        return code, json.loads(out) if "--json" in asked else out

    return go


# --- kept and read ---


def test_a_probe_is_read_back_as_it_was_trained(root):
    made = kit.probe(root, 0.7)
    assert kit.train(root, 0.7) == 1
    found = load_probe(root, "owl")
    assert (found.name, found.version, found.digest, found.about) == ("owl", 1, made.digest, made.about)
    np.testing.assert_array_equal(found.weights, made.weights)
    assert versions.read_report(root, "owl", 1) == {**kit.report(made), "version": 1}


def test_the_first_version_is_in_use_at_once_and_a_later_one_is_not(root):
    assert [kit.train(root, q) for q in (0.5, 0.9)] == [1, 2]
    assert load_probe(root, "owl").version == 1 and load_probe(root, "owl", 2).version == 2
    (record,) = ProbeStore(root).promotions("owl")
    assert (record.version, record.why, record.forced) == (1, "the first version", False)


def test_a_training_that_died_before_it_was_in_use_is_told_and_the_next_one_is(root):
    shutil.rmtree(Path(root, "probes"), ignore_errors=True)
    kit.train(root, 0.5)
    shutil.rmtree(Path(root, "probes/owl/promoted"))
    with pytest.raises(NotFound, match="probe promote owl --version 1"):
        load_probe(root, "owl")
    assert "no version of probe owl is in use" in versions.list_probes(root)[0]["problem"]
    assert kit.train(root, 0.5) == 2 and load_probe(root, "owl").version == 2


def test_the_same_training_gives_the_same_bytes(root):
    for _ in range(2):
        kit.train(root, 0.5)
    one, other = (ProbeStore(root).read("owl", v) for v in (1, 2))
    assert one == other and set(one) == {
        "weights.safetensors",
        "experiment.yaml",
        "examples.parquet",
        "report.json",
        "probe.json",
    }


@pytest.mark.parametrize("name", ["probe.json", "weights.safetensors", "examples.parquet", "report.json"])
def test_a_flipped_bit_is_told_with_the_files_name(root, archive, name):
    kit.train(root, 0.5)
    path = Path(root, "probes/owl/1", name)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    asked = {
        "examples.parquet": lambda: held_out(archive, "owl", 1),
        "report.json": lambda: versions.read_report(root, "owl", 1),
    }.get(name, lambda: load_probe(root, "owl"))
    with pytest.raises(Damaged, match=rf"probes/owl/1/{name}"):
        asked()
    with pytest.raises(Damaged):
        versions.show(root, "owl")
    kit.train(root, 0.5)
    listed, run = versions.list_probes(root), runs(root)
    assert [r["problem"] is None for r in sorted(run, key=lambda r: r["version"])] == [name == "examples.parquet", True]
    assert (listed[0]["problem"] is None) == (name == "examples.parquet")


def test_what_is_not_there_is_told_with_near_names(root):
    kit.train(root, 0.5, name="tawny owl")
    with pytest.raises(NotFound, match="did you mean tawny owl"):
        load_probe(root, "tawny-owl")
    with pytest.raises(NotFound, match="no version 4; it has 1"):
        load_probe(root, "tawny owl", 4)
    with pytest.raises(Invalid):
        load_probe(root, "../../etc")
    for ask in (versions.list_probes, runs):
        with pytest.raises(NotFound, match="is not a store"):
            ask(f"{root}/nothing")


def test_a_store_of_another_model_refuses_a_probe_and_both_are_named(root, tmp_path):
    kit.train(root, 0.5)
    other = str(tmp_path / "other")
    config = store_config(dim=kit.DIM)
    create_config(other, replace(config, model=model_spec(dim=kit.DIM, name="perch_v2", weights_digest="cd" * 32)))
    versions.export_probe(root, "owl", str(tmp_path / "owl.safetensors"))
    with pytest.raises(Conflict, match=r"tiny 1 \(weights abababababab.*perch_v2 1 \(weights cdcdcdcdcdcd") as caught:
        import_probe(other, str(tmp_path / "owl.safetensors"))
    assert caught.value.kind == "model_conflict" and ProbeStore(other).names() == []
    shutil.copytree(f"{root}/probes", f"{other}/probes")
    for ask in (lambda: load_probe(other, "owl"), lambda: promote(other, "owl", 1, force=True)):
        with pytest.raises(Conflict) as caught:
            ask()
        assert caught.value.kind == "model_conflict"
    assert versions.show(other, "owl")["fits"] is False
    with pytest.raises(Conflict):
        save_trained(other, kit.probe(root, 1.0), {}, "", b"")


# --- which windows were held out ---


def same_examples(one: Examples, other: Examples) -> bool:
    key = [np.lexsort((e.start_samples, e.recording_ids)) for e in (one, other)]
    return one.take(key[0]).digest == other.take(key[1]).digest


def test_held_out_windows_are_read_again_from_the_archive(root, archive):
    kit.train(root, 0.5)
    found = held_out(archive, "owl", 1)
    assert same_examples(found, kit.examples(archive, TESTED)) and len(found) == len(TESTED) * kit.WINDOWS
    table = sides_table(root, "owl", 1)
    assert table is not None and table["embedding"].null_count == table.num_rows == 120
    assert np.isnan(found.snr_db).sum() == 30


def test_the_file_is_plain_parquet(root):
    kit.train(root, 0.5)
    table = pq.read_table(f"{root}/probes/owl/1/examples.parquet")
    assert table["side"].to_pylist().count("test") == 60 and json.loads(table.schema.metadata[b"sonotheque.probe"])[
        "classes"
    ] == ["fox", "owl"]
    assert table_bytes(table) == table_bytes(table)


def test_vectors_of_clips_are_kept_because_no_archive_has_them(root, archive):
    learnt, judged = kit.examples(archive, TRAINED), kit.examples(archive, TESTED)
    paths = np.array(["owl/1.wav", *judged.paths[1:]], object)
    ids = np.array([recording_id("clips/owl/1.wav"), *judged.recording_ids[1:]])
    mixed = replace(
        judged,
        paths=paths,
        recording_ids=ids,
        vectors=judged.vectors + np.float32(0.25) * (np.arange(60) == 0)[:, None],
    )
    made = kit.probe(root, 0.5)
    save_trained(root, made, kit.report(made), "", examples_table(learnt, mixed))
    assert same_examples(held_out(archive, "owl", 1), mixed)


def test_windows_that_the_archive_has_no_more_are_counted(root, archive):
    learnt, judged = kit.examples(archive, TRAINED), kit.examples(archive, TESTED)
    gone = judged.start_samples.copy()
    gone[:7] += 1
    made = kit.probe(root, 0.5)
    save_trained(root, made, kit.report(made), "", examples_table(learnt, replace(judged, start_samples=gone)))
    found = held_out_of(archive, "owl", 1)
    assert found.gone == 7 and len(found.examples) == 53
    assert compare(archive, "owl", 1, 1)["held_out"]["left_out"] == {"trained_on": 0, "gone": 7}
    save_trained(
        root,
        made,
        kit.report(made),
        "",
        examples_table(learnt, replace(judged, start_samples=judged.start_samples + 1)),
    )
    with pytest.raises(NotFound, match="none of the 60 held-out windows of version 2"):
        held_out(archive, "owl", 2)


def test_what_shares_sound_with_a_training_window_is_found_as_the_dumb_twin_finds_it(archive):
    rng = np.random.default_rng(0)
    base = kit.examples(archive, TRAINED[:3])

    def shaken(n: int) -> Examples:
        rows = base.take(rng.integers(0, len(base), n))
        start = rng.uniform(0, 40, n).round(1)
        return replace(rows, start_s=start, end_s=start + rng.choice([0.5, 3.0, 12.0], n))

    for _ in range(20):
        learnt, judged = shaken(9), shaken(12)
        weights = learnt.weights.copy()
        weights[rng.random(9) < 0.3] = 0  # nothing is known of them: nobody learnt from them
        learnt = replace(learnt, weights=weights)
        sound, recording = learnt_from(examples_table(learnt, judged), judged)
        used = [i for i in range(9) if weights[i].any()]
        for j in range(12):
            mine = [i for i in used if learnt.recording_ids[i] == judged.recording_ids[j]]
            assert recording[j] == bool(mine)
            assert sound[j] == any(
                learnt.start_s[i] < judged.end_s[j] and judged.start_s[j] < learnt.end_s[i] for i in mine
            )


# --- compared ---


def test_two_versions_are_compared_on_the_same_windows(root, archive):
    kit.train(root, 0.45)
    kit.train(root, 0.95)
    found = compare(archive, "owl", 1, 2, bootstrap=100)
    examples = held_out(archive, "owl", 1)
    scores = [p.probabilities(p.logits(examples.vectors)) for p in (load_probe(root, "owl", v) for v in (1, 2))]
    for metric in ("map", "cmap", "roc_auc"):
        said = compare_scores(examples, *scores, metric, bootstrap=100)
        assert found["a"]["macro"][metric] == pytest.approx(said["first"])
        assert found["b"]["macro"][metric] == pytest.approx(said["second"])
        assert found["difference"][metric]["value"] == pytest.approx(said["difference"])
        assert found["difference"][metric]["ci"] == pytest.approx(said["difference_ci"])
    low, high = found["difference"]["map"]["ci"]
    assert 0 < low < found["difference"]["map"]["value"] < high and found["better"] == "b"
    assert found["held_out"] == {
        "version": 2,
        "in_use": False,
        "windows": 60,
        "recordings": 6,
        "left_out": {"trained_on": 0, "gone": 0},
        "same_recordings": 0,
    }
    owl = found["classes"]["owl"]
    assert owl["n_positive"] + owl["n_negative"] == 60 and owl["chance"]["ap"] == pytest.approx(owl["n_positive"] / 60)
    other = compare(archive, "owl", 2, 1, bootstrap=100)
    assert other["better"] == "a" and other["difference"]["map"]["ci"] == pytest.approx([-high, -low])


def test_a_version_is_as_good_as_itself(root, archive):
    kit.train(root, 0.5)
    found = compare(archive, "owl", 1, 1)
    assert found["better"] == "same" and found["difference"]["map"] == {"value": 0.0, "ci": [0.0, 0.0]}


def test_where_both_rank_equally_well_the_log_loss_decides(root, archive):
    kit.train(root, 0.95)
    better = kit.probe(root, 0.95)
    table = examples_table(kit.examples(archive, TRAINED), kit.examples(archive, TESTED))
    vague = replace(better, offsets=better.offsets + 2)
    save_trained(root, vague, kit.report(vague), "", table)
    found = compare(archive, "owl", 1, 2)
    assert found["difference"]["map"]["value"] == 0 and found["better"] == "a"
    assert (
        found["a"]["log_loss"] < found["b"]["log_loss"]
        and "log loss of their probabilities decides" in found["notes"][0]
    )
    assert compare(archive, "owl", 2, 1)["better"] == "b"
    with pytest.raises(Conflict, match="not better than version 1"):
        promote(root, "owl", 2)


def test_windows_that_either_was_trained_on_are_left_out_and_told(root, archive):
    kit.train(root, 0.5)
    kit.train(root, 0.9, trained_on=TRAINED[1:], tested_on=(*TESTED, *TRAINED[:1]))
    found = compare(archive, "owl", 1, 2)
    assert found["held_out"]["version"] == 2 and found["held_out"]["windows"] == 60
    assert found["held_out"]["left_out"] == {"trained_on": 10, "gone": 0}


def test_recordings_of_which_other_windows_were_learnt_are_told(root, archive):
    made = kit.probe(root, 0.9)
    table = examples_table(kit.examples(archive, TESTED[:1], windows=(0, 1, 2)), kit.examples(archive, TESTED[1:]))
    save_trained(root, made, kit.report(made), "", table)
    kit.train(root, 0.5)
    held = compare(archive, "owl", 1, 2)["held_out"]
    assert held["left_out"]["trained_on"] == 3 and held["same_recordings"] == 7 and held["windows"] == 57


def test_what_is_known_now_decides_and_not_what_was_known_then(root, archive):
    """The first version's held-out calls were not found yet when it was trained: they stood among its weak negatives."""
    old, new = kit.probe(root, 0.5), kit.probe(root, 0.95, seed=4)
    learnt, test = kit.examples(archive, TRAINED), kit.examples(archive, TESTED)
    unaware = replace(test, targets=np.where(np.arange(len(test))[:, None] < 50, 0, test.targets).astype(np.float32))
    save_trained(root, old, kit.report(old), "", examples_table(learnt, unaware))
    save_trained(root, new, kit.report(new), "", examples_table(learnt, test))
    assert promote(root, "owl", 2)["comparison"]["held_out"]["version"] == 2


def test_the_windows_of_the_version_in_use_are_taken_where_the_newer_one_has_none(root, archive):
    kit.train(root, 0.9)
    kit.train(root, 0.5, trained_on=TRAINED[:2], tested_on=())
    found = compare(archive, "owl", 1, 2)
    assert found["held_out"]["version"] == 1 and found["held_out"]["in_use"]
    assert any("all its examples were trained on" in note for note in found["notes"])


def test_versions_that_nothing_can_tell_apart_are_told(root, archive):
    kit.train(root, 0.5)
    kit.train(root, 0.9, trained_on=kit.PATHS, tested_on=())
    with pytest.raises(
        Conflict, match=r"cannot be compared: .*of the 60 held-out windows of version 1, 60 were trained on"
    ):
        compare(archive, "owl", 1, 2)
    with pytest.raises(Conflict, match="--force"):
        promote(root, "owl", 2)
    told = promote(root, "owl", 2, force=True)
    assert told["forced"] and told["comparison"] is None and "cannot be compared" in told["notes"][0]
    assert load_probe(root, "owl").version == 2


def test_versions_with_other_classes_are_compared_by_those_they_share(root, archive):
    kit.train(root, 0.5, classes=("fox", "owl"))
    kit.train(root, 0.9, classes=("bat", "owl"))
    found = compare(archive, "owl", 1, 2)
    assert list(found["classes"]) == ["owl"]
    assert any("version 1 that could not be compared: fox" in n for n in found["notes"])
    assert any("version 2 that could not be compared: bat" in n for n in found["notes"])
    kit.train(root, 0.9, classes=("bat",))
    with pytest.raises(Conflict, match="no class of both"):
        compare(archive, "owl", 1, 3)


def test_windows_of_one_recording_give_no_interval(root, archive):
    kit.train(root, 0.5, tested_on=TESTED[:1])
    kit.train(root, 0.9, tested_on=TESTED[:1])
    found = compare(archive, "owl", 1, 2)
    assert found["difference"]["map"]["ci"] == [None, None] and any("one recording" in n for n in found["notes"])


# --- taken into use, and back ---


def test_a_better_version_is_taken_into_use_and_the_record_says_why(root):
    kit.train(root, 0.45)
    kit.train(root, 0.95)
    told = promote(root, "owl", 2, why="for the report", by="Ana")
    assert told["changed"] and told["before"] == 1 and told["comparison"]["better"] == "b" and not told["forced"]
    record = ProbeStore(root).promotions("owl")[-1]
    assert record.version == 2 and record.by == "Ana" and not record.forced
    assert record.why.startswith("map ") and "60 held-out windows of version 2; for the report" in record.why
    again = promote(root, "owl", 2)
    assert not again["changed"] and len(ProbeStore(root).promotions("owl")) == 2


@pytest.mark.parametrize("quality", [0.45, 0.95])
def test_a_version_that_is_no_better_is_refused_and_the_store_stays_as_it_was(root, quality):
    kit.train(root, 0.95)
    kit.train(root, quality)
    before = tree(f"{root}/probes")
    with pytest.raises(
        Conflict, match=r"not better than version 1, which stays in use: map .* 95 % interval .*--force"
    ) as caught:
        promote(root, "owl", 2)
    assert caught.value.exit_code == 5 and tree(f"{root}/probes") == before
    told = promote(root, "owl", 2, force=True)
    assert told["forced"] and ProbeStore(root).promotions("owl")[-1].why.startswith("forced: map ")
    assert load_probe(root, "owl").version == 2


def test_the_metric_of_the_experiment_decides(root, archive):
    kit.train(root, 0.5)
    kit.train(root, 0.9, experiment={"metric": "roc_auc"})
    assert compare(archive, "owl", 1, 2)["metric"] == "roc_auc" and promote(root, "owl", 2)["why"].startswith(
        "roc_auc "
    )
    kit.train(root, 0.9, experiment={"metric": "of a later release"})
    assert compare(archive, "owl", 1, 3)["metric"] == "map"


def test_rollback_goes_back_one_by_one_and_says_when_there_is_nothing_left(root):
    for _ in range(3):
        kit.train(root, 0.5)
    for version in (2, 3):
        promote(root, "owl", version, force=True)
    assert [rollback(root, "owl")["version"] for _ in range(2)] == [2, 1]
    with pytest.raises(Conflict, match="version 1 is the first") as caught:
        rollback(root, "owl")
    assert caught.value.kind == "nothing_to_undo" and load_probe(root, "owl").version == 1
    promote(root, "owl", 3, force=True)
    assert rollback(root, "owl", why="too many frogs")["why"] == "back from version 3; too many frogs"
    assert len(ProbeStore(root).promotions("owl")) == 7
    with pytest.raises(NotFound):
        rollback(root, "nightjar")


def test_a_rollback_to_a_damaged_version_is_refused(root):
    kit.train(root, 0.5)
    kit.train(root, 0.5)
    promote(root, "owl", 2, force=True)
    Path(root, "probes/owl/1/weights.safetensors").unlink()
    with pytest.raises(Damaged):
        rollback(root, "owl")
    assert load_probe(root, "owl").version == 2


def test_another_version_can_be_forced_where_the_one_in_use_is_damaged(root):
    kit.train(root, 0.5)
    kit.train(root, 0.5)
    Path(root, "probes/owl/1/weights.safetensors").unlink()
    with pytest.raises(Damaged):
        promote(root, "owl", 2)
    assert promote(root, "owl", 2, force=True)["forced"] and load_probe(root, "owl").version == 2


# --- given away ---


def test_one_file_carries_a_probe_to_another_store(root, tmp_path, archive_folder):
    kit.train(root, 0.5)
    told = versions.export_probe(root, "owl", str(tmp_path))
    assert told["file"] == str(tmp_path / "owl.safetensors") and told["version"] == 1
    data = Path(told["file"]).read_bytes()
    assert len(data) == told["bytes"] and b"Oak wood" not in data, "where things were recorded is nobody's business"
    other = str(shutil.copytree(archive_folder, tmp_path / "other"))
    found = import_probe(other, told["file"])
    assert found["version"] == found["in_use"] == 1 and found["digest"] == told["digest"]
    again = import_probe(other, told["file"], name="Ana's owl")
    assert again["name"] == "Ana's owl" and again["version"] == 1
    kit.train(root, 0.9)
    with open_archive(root) as archive:
        assert import_probe(root, told["file"]) == {**found, "version": 3, "in_use": 1}
        notes = compare(archive, "owl", 2, 3)["notes"]
    assert any("version 3 was brought from elsewhere" in n for n in notes)
    assert [r["imported"] for r in runs(root)] == [True, False, False] and versions.show(root, "owl", 3)[
        "report"
    ] is None
    with open_archive(other) as archive, pytest.raises(NotFound, match="brought from elsewhere"):
        held_out(archive, "owl", 1)


def test_files_are_not_replaced_and_not_put_where_they_do_not_belong(root, tmp_path):
    kit.train(root, 0.5)
    out = tmp_path / "o.safetensors"
    out.write_bytes(b"mine")
    with pytest.raises(Conflict, match="--overwrite"):
        versions.export_probe(root, "owl", str(out))
    assert out.read_bytes() == b"mine"
    versions.export_probe(root, "owl", str(out), overwrite=True)
    assert import_probe(root, str(out))["version"] == 2
    with pytest.raises(Invalid, match="lies in the store"):
        versions.export_probe(root, "owl", f"{root}/owl.safetensors")
    with pytest.raises(NotFound, match="no folder"):
        versions.export_probe(root, "owl", str(tmp_path / "nowhere" / "owl.safetensors"))


def test_what_is_no_probe_is_not_imported(root, tmp_path):
    file = tmp_path / "x.safetensors"
    with pytest.raises(NotFound):
        import_probe(root, str(file))
    with pytest.raises(Invalid):
        import_probe(root, str(tmp_path))
    file.write_bytes(b"PK\x03\x04 a zip")
    with pytest.raises(Invalid, match="holds no probe"):
        import_probe(root, str(file))
    kit.train(root, 0.5)
    data = bytearray(Path(versions.export_probe(root, "owl", str(tmp_path))["file"]).read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)
    with pytest.raises(Damaged, match=r"x\.safetensors"):
        import_probe(root, str(file))
    with pytest.raises(Invalid, match="looks like a path"):
        import_probe(root, str(tmp_path / "owl.safetensors"), name="../x")
    assert ProbeStore(root).versions("owl") == [1]


# --- on the command line ---


def test_lists_of_a_store_without_probes(call):
    assert call("list") == (0, call("runs")[1]) and "no probes yet" in call("list")[1]
    assert call("list", "--json") == (0, {"probes": []}) and call("runs", "--json") == (0, {"runs": []})


def test_the_verbs_as_text(call, root, tmp_path):
    kit.train(root, 0.45)
    kit.train(root, 0.95)
    kit.train(root, 0.1)
    code, out = call("list")
    assert code == 0 and "owl" in out and "fox, owl" in out and "0.800" in out
    code, out = call("compare", "owl", 1, 2)
    assert code == 0 and "macro mAP (decides)" in out and "ROC-AUC owl" in out and "chance" in out
    assert "judged by 60 held-out windows of 6 recordings: the test side of version 2" in out
    assert "left out: 0 that either was trained on" in out
    code, message = call("promote", "owl")
    assert code == 5 and "version 3 of probe owl is not better than version 1" in message
    code, out = call("promote", "owl", "--version", 2)
    assert code == 0 and "version 2 of probe owl is in use now: map " in out
    assert "in use already" in call("promote", "owl", "--version", 2)[1]
    assert "version 1 of probe owl is in use again, in place of version 2" in call("rollback", "owl")[1]
    assert call("rollback", "owl")[0] == 5
    code, out = call("promote", "owl", "--version", 3, "--force")
    assert code == 0 and "forced: map" in out
    code, out = call("show", "owl")
    assert code == 0 and "probe owl version 3, multilabel; in use; versions 1, 2, 3" in out
    assert "held out when it was trained: mAP 0.800" in out and out.count("taken into use") == 4 and "(forced)" in out
    code, out = call("runs", "owl")
    assert code == 0 and len(out.splitlines()) == 5 and "2025-06-01T12:00:00" in out
    code, out = call("export", "owl", "-o", tmp_path / "given.safetensors", "--version", 2)
    assert code == 0 and "version 2 written to" in out
    code, out = call("import", tmp_path / "given.safetensors", "--name", "Lechuza")
    assert code == 0 and "probe Lechuza version 1 (fox, owl); in use" in out
    assert call("show", "Lechuzaa")[0] == 4 and "trained elsewhere" in call("show", "Lechuza")[1]
    assert "imported" in call("runs")[1]


def test_the_verbs_as_json(call, root, tmp_path):
    kit.train(root, 0.45)
    kit.train(root, 0.95)
    (row,) = call("list", "--json")[1]["probes"]
    assert row["in_use"] == 1 and row["versions"] == [1, 2] and row["macro"]["map"] == 0.8
    found = call("compare", "owl", "--json")[1]
    assert (found["a"]["version"], found["b"]["version"], found["better"]) == (1, 2, "b")
    assert set(found) >= {"a", "b", "difference", "classes", "held_out", "metric", "notes", "chance"}
    told = call("promote", "owl", "--json")[1]
    assert told["version"] == 2 and told["comparison"]["held_out"]["windows"] == 60
    assert call("rollback", "owl", "--json")[1] == {
        "name": "owl",
        "version": 1,
        "before": 2,
        "why": "back from version 2",
    }
    shown = call("show", "owl", "--version", 2, "--json")[1]
    assert shown["in_use"] == 1 and shown["experiment_yaml"] == "name: owl\n" and shown["report"]["version"] == 2
    assert len(call("runs", "--json")[1]["runs"]) == 2
    assert call("export", "owl", "-o", tmp_path, "--json")[1]["bytes"] > 0
    assert call("import", tmp_path / "owl.safetensors", "--json")[1]["version"] == 3


def test_a_label_cannot_steer_the_terminal(call, root):
    kit.train(root, 0.5, classes=("owl", "bad\x1b[2Jlabel"))
    for words in (("list",), ("show", "owl"), ("compare", "owl", 1, 1)):
        assert "\x1b" not in call(*words)[1]


# --- FORMAT.md ---


def of_json(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.blake2b(text.encode("ascii"), digest_size=16).hexdigest()


def test_a_program_that_knows_only_the_page_reads_a_version(root):
    """The dumb twin: nothing but JSON, hashlib, NumPy and safetensors, as section 13 says."""
    kit.train(root, 0.6)
    folder = Path(root, "probes/owl/1")
    said = json.loads((folder / "probe.json").read_text())
    assert said.pop("digest") == of_json(said)
    for name, sha256 in said["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == sha256
    assert set(said["files"]) == {p.name for p in folder.iterdir()} - {"probe.json", "report.json"}
    report = json.loads((folder / "report.json").read_text())
    assert report.pop("digest") == of_json(report)
    tensors = load_file(folder / "weights.safetensors")
    digest = hashlib.sha256(of_json([said["kind"], said["classes"], said["model"]]).encode())
    for array in (tensors["weights"].astype("<f4"), tensors["bias"].astype("<f4")):
        digest.update(array.tobytes())
    for key in ("slopes", "offsets", "thresholds"):
        digest.update(np.array(said[key], "<f8").tobytes())
    assert digest.hexdigest() == said["probe_digest"]
    vector = np.random.default_rng(0).normal(size=kit.DIM)
    logit = vector / np.linalg.norm(vector) @ tensors["weights"] + tensors["bias"]
    score = 1 / (1 + np.exp(-(np.array(said["slopes"]) * logit + said["offsets"])))
    probe = load_probe(root, "owl")
    np.testing.assert_allclose(probe.probabilities(probe.logits(vector))[0], score, rtol=1e-5)
    record = json.loads(Path(root, "probes/owl/promoted/1.json").read_text())
    assert record.pop("digest") == of_json(record) and record["version"] == 1


def test_the_page_names_every_key_and_column(root):
    page = Path(store.__file__).with_name("FORMAT.md").read_text().partition("## 13. Probes")[2]
    kit.train(root, 0.6)
    folder = Path(root, "probes/owl")
    keys = {*json.loads((folder / "1/probe.json").read_text()), *json.loads((folder / "promoted/1.json").read_text())}
    for name in {
        *keys,
        *pq.read_schema(folder / "1/examples.parquet").names,
        *(p.name for p in (folder / "1").iterdir()),
    }:
        assert re.search(rf"\b{re.escape(name)}\b", page), name
