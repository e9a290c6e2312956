"""Windows that overlap each other: what a judgement of one says of the others, and how much sound each stands for."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from probes.experiment import Experiment, Negatives, Split, ThresholdRule
from search_api.annotations import add_annotation
from search_api.probes.judged_windows import NO, YES, states
from search_api.probes.labels import annotated_examples
from search_api.probes.speaking import covers, speaks_of
from search_api.probes.training import sound_s, train_probe
from store import open_archive
from store.annotations import windows_of
from tests.cluster.support import run
from tests.search import kit

PATH = "north/20240501_040000.wav"


@pytest.fixture(scope="module")
def overlapping(tmp_path_factory):
    """Windows of two seconds, one each second."""
    folder = tmp_path_factory.mktemp("overlapping")
    for number, (path, tones) in enumerate(kit.TONES.items()):
        sound = np.concatenate([kit.tone(hz, seed=10 * number + i) for i, hz in enumerate(tones)])
        kit.write(folder / "recordings" / path, sound)
    run(folder / "recordings", folder / "store", timezone="Europe/Paris", hop_s=1.0)
    return str(folder / "store")


@pytest.fixture
def store(overlapping, tmp_path):
    shutil.copytree(overlapping, tmp_path / "store")
    return str(tmp_path / "store")


def tables(spans, windows):
    def made(rows):
        return pa.table(
            {
                "recording_id": pa.array([1] * len(rows), pa.int64()),
                "start_s": [float(r[0]) for r in rows],
                "end_s": [float(r[1]) for r in rows],
            }
        )

    a, w = made(spans), made(windows)
    return a, w, *windows_of(a, w)


def test_a_span_that_is_a_window_speaks_of_that_window_alone():
    a, w, rows_a, rows_w = tables([(3, 6)], [(0, 3), (1.5, 4.5), (3, 6), (4.5, 7.5)])
    assert rows_w[speaks_of(a, w, rows_a, rows_w)].tolist() == [2]
    a, w, rows_a, rows_w = tables([(3.2, 5)], [(1.5, 4.5), (3, 6), (4.5, 7.5)])
    assert rows_w[speaks_of(a, w, rows_a, rows_w)].tolist() == [0, 1, 2]


def test_a_negative_covers_nine_tenths():
    a, w, rows_a, rows_w = tables([(0, 2.7)], [(0, 3), (1.5, 4.5)])
    assert covers(a, w, rows_a, rows_w).tolist() == [True, False]
    padded = w.append_column("valid_s", pa.array([3.0, 1.2]))
    assert covers(a, padded, rows_a, rows_w).tolist() == [True, True]


def test_judgements_of_neighbours_do_not_cancel_each_other(store):
    for start, judgement in ((2, "positive"), (3, "negative"), (4, "negative")):
        add_annotation(store, PATH, start, start + 2, "low", annotator="Ana", judgement=judgement)
    with open_archive(store) as archive:
        found = annotated_examples(archive, Experiment("low", negatives=Negatives(0)))
        windows = archive.sql(
            "SELECT recording_id, start_s, end_s, path FROM windows WHERE path = ? ORDER BY start_s", [PATH]
        )
    e = found.examples
    told = {float(s): (float(t), float(w)) for s, t, w in zip(e.start_s, e.targets[:, 0], e.weights[:, 0], strict=True)}
    assert (told[2.0], told[3.0], told[4.0]) == ((1, 1), (0, 1), (0, 1))
    assert told[1.0][1] == 0 and told[5.0][1] == 0  # touched by a judgement of another window: nothing is known
    assert not any("positive and negative" in note for note in found.notes)
    said = pa.table(
        {
            "recording_id": windows["recording_id"].slice(0, 2),
            "start_s": [2.0, 3.0],
            "end_s": [4.0, 5.0],
            "judgement": ["positive", "negative"],
        }
    )
    assert states(said, windows).tolist()[:6] == [0, 0, YES, NO, 0, 0]


def test_a_window_stands_for_its_hop(store):
    with open_archive(store) as archive:
        assert sound_s(archive) == 1.0
    for path, tones in kit.TONES.items():
        for i, hz in enumerate(tones):
            judgement = "positive" if hz < 800 else "negative"
            add_annotation(store, path, 2 * i, 2 * i + 2, "low", annotator="Ana", judgement=judgement)
    experiment = Experiment("low", negatives=Negatives(0), bootstrap=0, shots=(), split=Split(test_share=0.4))
    report = train_probe(store, replace(experiment, threshold=ThresholdRule("false_alarms", 3600.0)))["report"]
    test = report["test"]["classes"]["low"]
    negatives_h = test["n_negative"] * 1.0 / 3600
    false = (report["test"]["confusion"]["counts"])[1][0]
    assert test["false_alarms_per_hour"] == pytest.approx(false / negatives_h)
