"""``sonotheque probe train`` and ``evaluate`` as a user types them."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.search import kit


@pytest.fixture
def store(made, tmp_path):
    shutil.copytree(made.store, tmp_path / "store")
    return str(tmp_path / "store")


@pytest.fixture
def annotated(store, tmp_path, sonotheque):
    rows = ["recording,start_s,end_s,label,judgement"]
    for path, tones in kit.TONES.items():
        rows += [
            f"{path},{2 * i},{2 * i + 2},low,{'positive' if hz < 800 else 'negative'}" for i, hz in enumerate(tones)
        ]
    (tmp_path / "said.csv").write_text("\n".join(rows) + "\n")
    assert sonotheque("annotate", "import", tmp_path / "said.csv", "--store", store)[0] == 0
    return store


def test_train_evaluate_and_what_is_in_use(annotated, sonotheque, tmp_path):
    page = tmp_path / "r.html"
    code, out, err = sonotheque("probe", "train", "low", "--store", annotated, "--weak-negatives", 0, "--report", page)
    assert code == 0 and "probe low version 1" in out and "it is in use" in out and str(page) in err
    assert page.read_text().startswith("<!doctype html>")
    code, out, _ = sonotheque(
        "probe", "train", "low", "--store", annotated, "--weak-negatives", 0, "--json", "--snr", "--quiet"
    )
    told = json.loads(out)
    assert code == 0 and told["version"] == 2 and told["in_use"] == 1 and told["report"]["classes"] == ["low"]
    assert set(told["report"]["test"]["slices"]["snr"]) - {"unknown"}
    code, out, _ = sonotheque("probe", "evaluate", "low", "--store", annotated, "--json")
    found = json.loads(out)
    assert code == 0 and found["version"] == 1
    assert {"ap", "roc_auc", "n"} <= set(found["classes"]["low"]) and {"map", "roc_auc", "accuracy"} <= set(
        found["macro"]
    )
    assert found["macro"] == told["report"]["test"]["macro"]
    code, out, _ = sonotheque("probe", "evaluate", "low", "--store", annotated, "--version", 2)
    assert code == 0 and "ROC-AUC" in out


def test_settings_as_a_file(annotated, sonotheque, tmp_path):
    file = tmp_path / "low.yaml"
    words = ("--weak-negatives", 3, "--split", "day", "--threshold", "precision=0.8", "--seed", 4, "--class", "low")
    code, out, _ = sonotheque("probe", "train", "low", "--store", annotated, *words, "--write-experiment", file)
    assert code == 0 and str(file) in out and "precision" in file.read_text()
    code, out, _ = sonotheque("probe", "train", "low", "--store", annotated, "--experiment", file, "--json", "-q")
    settings = json.loads(out)["report"]["experiment"]
    assert (
        code == 0 and settings["split"]["by"] == "day" and settings["threshold"] == {"rule": "precision", "value": 0.8}
    )
    assert settings["negatives"]["weak"] == 3 and settings["seed"] == 4
    file.write_text(file.read_text().replace("split:", "splitt:"))
    code, out, err = sonotheque("probe", "train", "low", "--store", annotated, "--experiment", file)
    assert code == 2 and "unknown key 'splitt'; did you mean split?" in err


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--class", "lo"), 4, "did you mean low?"),
        (("--annotator", "nobody"), 4, "nobody called 'nobody'"),
        (("--threshold", "precision=many"), 2, "'many' is no number"),
        (("--threshold", "best"), 2, "expected max_f1, precision or false_alarms"),
        (("--split", "window"), 2, "expected recording, day or site"),
        (("--clips", "/nowhere"), 4, "there is no folder /nowhere"),
        (("--report", "x.pdf"), 2, "ends in .html or .json"),
        (("--experiment", "none.yaml"), 4, "there is no experiment none.yaml"),
        (("--device", "tpu"), 2, "expected auto, cpu or gpu"),
        (("--kind", "multiclass"), 2, "only class"),
    ],
)
def test_what_cannot_be_is_told(annotated, sonotheque, words, code, told):
    found, _, err = sonotheque("probe", "train", "low", "--store", annotated, "--quiet", *words)
    assert found == code and told in err
    assert json.loads(sonotheque("probe", "list", "--store", annotated, "--json")[1])["probes"] == []


def test_without_annotations_or_without_the_probe(store, sonotheque):
    code, _, err = sonotheque("probe", "train", "low", "--store", store)
    assert code == 2 and "holds no annotations" in err and "annotate import" in err
    code, _, err = sonotheque("probe", "evaluate", "low", "--store", store)
    assert code == 4 and "has no probe low" in err
    code, out, _ = sonotheque("probe", "evaluate", "low", "--store", store, "--json")
    assert json.loads(out)["error"]["kind"] == "not_found"
    code, _, err = sonotheque("probe", "train", "../x", "--store", store)
    assert code == 2 and "looks like a path" in err
