"""Experiments as YAML: what is wrong is told with its line, and what is right comes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.experiment import ExamplesFrom, Experiment, Negatives, Split, ThresholdRule
from probes.experiment_files import experiment_from, experiment_yaml, read_experiment
from sonotheque.core.errors import Invalid, NotFound
from sonotheque.core.filters import HourSpan, SearchFilter

LABELS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1).filter(lambda s: s.strip())


@given(
    name=LABELS,
    kind=st.sampled_from(["multilabel", "multiclass"]),
    classes=st.lists(LABELS, min_size=2, unique=True),
    weak=st.integers(0, 10**6),
    weight=st.floats(0, 1),
    by=st.sampled_from(["recording", "day", "site"]),
    l2=st.none() | st.floats(1e-9, 1e3),
    rule=st.sampled_from([("max_f1", None), ("precision", 0.9), ("false_alarms", 1.0)]),
    shots=st.lists(st.integers(1, 99)),
)
def test_what_is_written_is_read_again(tmp_path_factory, name, kind, classes, weak, weight, by, l2, rule, shots):
    made = Experiment(
        name,
        kind,
        tuple(classes),
        ExamplesFrom(where=SearchFilter(sites=("A=b",), hours=HourSpan(1320, 240)), annotators=("Ana",)),
        Negatives(weak, weight),
        Split(by, 0.3, 4),
        ThresholdRule(*rule),
        l2=l2,
        shots=tuple(shots),
    )
    file = tmp_path_factory.mktemp("e") / "x.yaml"
    file.write_text(experiment_yaml(made), "utf-8")
    again = read_experiment(file)
    assert again == made and again.digest == made.digest
    assert experiment_from(made.to_json()) == made


def test_the_digest_is_of_what_decides_the_result():
    one = Experiment("owl")
    assert one.digest == Experiment("owl", device="cpu").digest
    assert one.digest != Experiment("owl", seed=1).digest
    assert one.digest != Experiment("owl", split=Split(by="day")).digest


def test_an_empty_file_but_for_its_name(tmp_path):
    file = tmp_path / "tawny owl.yaml"
    file.write_text("{}\n")
    assert read_experiment(file) == Experiment("tawny owl")
    assert read_experiment(file, name="other").name == "other"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: x\nsplit:\n  bye: day\n", "line 3: unknown key 'split.bye'; did you mean by"),
        ("name: x\n\nclases: [a]\n", "line 3: unknown key 'clases'; did you mean classes"),
        ("name: x\nsplit:\n  by: hour\n", "line 2: split: by 'hour': expected recording, day or site"),
        ("name: x\nsplit: day\n", "line 2: split is 'day'; expected keys below it"),
        ("name: x\nclasses: [1, 2]\n", "line 2: classes is \\[1, 2\\]; expected a list of names"),
        ("name: x\nl2: little\n", "line 2: l2 is 'little'; expected a number or auto"),
        ("name: x\nl2: -1\n", "l2 -1: expected a number above 0"),
        ("name: x\nl2: .nan\n", "expected a number"),
        ("name: x\nseed: 1.5\n", "line 2: seed is 1.5; expected a whole number"),
        ("name: x\nseed: true\n", "expected a whole number"),
        ("name: x\nshots: [0]\n", "shots \\[0\\]: expected numbers of examples"),
        ("name: x\nshots: 3\n", "expected a list of whole numbers"),
        ("name: x\nthreshold: {rule: precision}\n", "needs a value"),
        ("name: x\nthreshold: {rule: max_f1, value: 1}\n", "takes no value"),
        ("name: x\nthreshold: {rule: precision, value: 2}\n", "precision 2: expected above 0, at most 1"),
        ("name: x\nthreshold: {rule: false_alarms, value: 0}\n", "expected more than 0"),
        ("name: x\nexamples: {source: clips}\n", "belong together"),
        ("name: x\nexamples: {clips: a}\n", "belong together"),
        (
            "name: x\nexamples:\n  where: {sitse: A}\n",
            "line 3: examples.where: filter 'sitse' is not known; did you mean sites",
        ),
        ("name: x\nexamples:\n  where: {hours: noon}\n", "time of day 'noon'"),
        ("name: x\nnegatives: {weight: 2}\n", "weight 2: expected 0 to 1"),
        ("name: x\nnegatives: {weak: -1}\n", "weak -1: expected 0 or more"),
        ("name: x\nkind: multiclass\nclasses: [a]\n", "needs two classes"),
        ("name: x\nclasses: [a, a]\n", "named twice"),
        ("name: 7\n", "name is 7; expected some text"),
        ("just text\n", "expected keys and values"),
        ("", "expected keys and values"),
        ("a: [1\n", "is no YAML"),
        ("a: !!python/object/apply:os.system ['true']\n", "is no YAML"),
        ("&a [*a]", "no YAML|keys and values"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path, text, told):
    file = tmp_path / "e.yaml"
    file.write_text(text)
    with pytest.raises(Invalid, match=told) as caught:
        read_experiment(file)
    assert caught.value.kind == "invalid_table" and str(file) in caught.value.message


def test_files_that_are_not_there_or_no_text(tmp_path):
    with pytest.raises(NotFound, match="there is no experiment"):
        read_experiment(tmp_path / "none.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Invalid, match="cannot be read"):
        read_experiment(tmp_path / "b.yaml")
    with pytest.raises(Invalid, match="cannot be read"):
        read_experiment(tmp_path)


def test_without_a_name_from_plain_values():
    with pytest.raises(Invalid, match="has no name"):
        experiment_from({})
