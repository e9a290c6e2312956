"""From annotations and from folders of clips to examples: what counts, what does not, and what is told."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from embedder.models import load_model
from probes.experiment import ExamplesFrom, Experiment, Negatives, Split
from search_api.annotations import add_annotation
from search_api.probes.clip_folders import clip_examples
from search_api.probes.labels import annotated_examples
from search_api.probes.training import train_probe
from sonotheque.core.errors import Invalid, NotFound
from sonotheque.core.filters import SearchFilter
from store import open_archive
from store.annotations import Annotation, AnnotationLog
from tests.search import kit

NORTH = "north/20240501_040000.wav"  # 300, 700, 1500, 3100 Hz
NIGHT = "north/20240501_220000.wav"  # 310, 5200, 1900 Hz
SOUTH = "south/20240501_040000.wav"  # 702, 4100, 305, 950 Hz
PLAIN = Experiment("low", negatives=Negatives(weak=0), bootstrap=0, shots=())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return kit.make(tmp_path_factory.mktemp("labels"))


@pytest.fixture
def store(made, tmp_path):
    shutil.copytree(made.store, tmp_path / "store")
    return str(tmp_path / "store")


def say(store, path, window, label="low", judgement="positive", annotator="Ana"):
    start = window * kit.WINDOW_S
    add_annotation(store, path, start + 0.1, start + 1.9, label, annotator=annotator, judgement=judgement)


def gathered(store, experiment=PLAIN):
    with open_archive(store) as archive:
        found = annotated_examples(archive, experiment)
    e = found.examples
    told = {
        (e.paths[i], round(e.start_s[i] / kit.WINDOW_S)): (
            tuple(e.targets[i]),
            tuple(round(float(w), 3) for w in e.weights[i]),
        )
        for i in range(len(e))
    }
    return told, found


def test_judgements_become_targets_and_weights(store):
    say(store, NORTH, 0)
    say(store, NORTH, 1, judgement="negative")
    say(store, NORTH, 2, judgement="uncertain")
    told, found = gathered(store)
    assert told == {(NORTH, 0): ((1,), (1,)), (NORTH, 1): ((0,), (1,)), (NORTH, 2): ((0,), (0,))}
    e = found.examples
    assert e.sites[0] == "north" and e.days[0] == "2024-05-01" and e.hours[0] == 4
    with open_archive(store) as archive:
        twin = archive.embeddings(SearchFilter(recordings=(NORTH,)))[1]
    np.testing.assert_array_equal(e.vectors, twin[:3])


def test_what_nobody_spoke_of_is_a_weak_negative(store):
    say(store, NORTH, 0, "low")
    say(store, NORTH, 3, "high")
    told, found = gathered(store, replace(PLAIN, negatives=Negatives(weak=0, weight=0.1)))
    assert found.examples.classes == ("high", "low")
    assert told == {(NORTH, 0): ((0, 1), (0.1, 1)), (NORTH, 3): ((1, 0), (1, 0.1))}


def test_where_classes_exclude_each_other_one_is_not_another(store):
    say(store, NORTH, 0, "low")
    say(store, NORTH, 3, "high")
    say(store, NIGHT, 0, "low")
    say(store, NIGHT, 0, "high")
    told, found = gathered(store, replace(PLAIN, kind="multiclass"))
    assert told[(NORTH, 0)] == ((0, 1), (1, 1)) and told[(NIGHT, 0)][1] == (0, 0)
    assert any("several classes that should exclude" in note for note in found.notes)


def test_contradictions_count_for_neither_side_and_are_told(store):
    say(store, NORTH, 0)
    say(store, NORTH, 0, judgement="negative", annotator="Ben")
    say(store, NORTH, 1)
    told, found = gathered(store)
    assert told[(NORTH, 0)] == ((0,), (0,)) and told[(NORTH, 1)] == ((1,), (1,))
    assert any("1 windows are judged positive and negative" in note for note in found.notes)
    one, _ = gathered(store, replace(PLAIN, examples=ExamplesFrom(annotators=("Ben",)), classes=("low",)))
    assert one == {(NORTH, 0): ((0,), (1,))}


def test_weak_negatives_are_drawn_from_windows_that_no_annotation_touches(store):
    say(store, NORTH, 0)
    add_annotation(store, SOUTH, 1.8, 4.5, "other", annotator="Ana")  # touches windows 0, 1 and 2
    experiment = replace(PLAIN, classes=("low",), negatives=Negatives(weak=100, weight=0.2))
    told, found = gathered(store, experiment)
    windows = {(path, i) for path, tones in kit.TONES.items() for i in range(len(tones))}
    assert set(told) == windows - {(SOUTH, 0), (SOUTH, 1), (SOUTH, 2)}
    assert all(v == ((0,), (0.2,)) for k, v in told.items() if k != (NORTH, 0))
    few = [gathered(store, replace(experiment, negatives=Negatives(weak=5, weight=0.2), seed=s)) for s in (0, 0, 1)]
    assert few[0][0] == few[1][0] and len(few[0][0]) == 6 and set(few[0][0]) != set(few[2][0])
    assert any("stand as weak negatives" in note for note in found.notes)


def test_the_filter_chooses_both_sides(store):
    say(store, NORTH, 0)
    say(store, SOUTH, 2)
    where = ExamplesFrom(where=SearchFilter(sites=("south",)))
    told, _ = gathered(store, replace(PLAIN, examples=where, negatives=Negatives(weak=50)))
    assert {path.split("/")[0] for path, _ in told} == {"south"}


def test_annotations_of_recordings_that_are_not_there_are_told(store):
    say(store, NORTH, 0)
    AnnotationLog(store).add([Annotation(77, "gone/x.wav", 0, 2, "low")], annotator="Ana", provenance="test")
    told, found = gathered(store)
    assert list(told) == [(NORTH, 0)]
    assert any("1 annotated recordings are not in the store: gone/x.wav" in note for note in found.notes)


def test_names_that_are_not_there_get_near_ones(store):
    with pytest.raises(Invalid, match="holds no annotations"):
        gathered(store)
    say(store, NORTH, 0)
    with pytest.raises(NotFound, match=r"says 'lwo'; did you mean low\?"):
        gathered(store, replace(PLAIN, classes=("lwo",)))
    with pytest.raises(NotFound, match=r"'An' annotated .*; did you mean Ana\?"):
        gathered(store, replace(PLAIN, examples=ExamplesFrom(annotators=("An",))))
    with pytest.raises(Invalid, match=r"none is on a window of .* that the filter means"):
        gathered(store, replace(PLAIN, examples=ExamplesFrom(where=SearchFilter(sites=("south",)))))
    with pytest.raises(Invalid, match="all are negative or uncertain"):
        _only_negative(store)


def _only_negative(store):
    say(store, SOUTH, 0, "low", judgement="negative", annotator="Cat")
    gathered(store, replace(PLAIN, examples=ExamplesFrom(annotators=("Cat",))))


def test_a_training_from_annotations_gives_the_same_bytes_again(store):
    for path, tones in kit.TONES.items():
        for window, hz in enumerate(tones):
            say(store, path, window, judgement="positive" if hz < 800 else "negative")
    experiment = replace(PLAIN, split=Split(test_share=0.3))
    one, two = train_probe(store, experiment), train_probe(store, experiment)
    assert (one["version"], two["version"], two["in_use"]) == (1, 2, 1)
    keep = ("weights.safetensors", "experiment.yaml", "examples.parquet")
    from store.probes import ProbeStore

    first, second = (ProbeStore(store).read("low", v) for v in (1, 2))
    assert all(first[name] == second[name] for name in keep)
    assert one["report"]["data_digest"] == two["report"]["data_digest"]


@pytest.fixture
def clips(tmp_path):
    def put(path, hz, seed):
        kit.write(tmp_path / "clips" / path, np.concatenate([kit.tone(hz, seed=seed), kit.tone(hz, seed=seed + 1)]))

    for i in range(3):
        put(f"low/{i}.wav", 300 + i, 10 * i)
        put(f"high/sub/{i}.flac", 5000 + i, 10 * i)
        put(f"low, high/{i}.wav", 2500, 10 * i)
        put(f"-low/{i}.wav", 1200, 10 * i)
        put(f"Noise/{i}.wav", 7000, 10 * i)
    (tmp_path / "clips" / "low" / "broken.wav").write_bytes(b"RIFF")
    (tmp_path / "clips" / "low" / "notes.txt").write_text("no sound")
    (tmp_path / "clips" / "low" / ".hidden.wav").write_bytes(b"")
    return str(tmp_path / "clips")


def test_folders_of_clips(store, clips):
    experiment = replace(PLAIN, examples=ExamplesFrom("clips", clips=clips), negatives=Negatives(weak=4, weight=0.1))
    with open_archive(store) as archive:
        found = clip_examples(archive, experiment, load_model("placeholder"))
    e = found.examples
    assert e.classes == ("high", "low") and len(e) == 3 * 5 * 2 + 4
    seen = {}
    for path, target, weight in zip(e.paths, e.targets, e.weights, strict=True):
        seen[path.rpartition("/")[0]] = (tuple(target), tuple(round(float(w), 2) for w in weight))
    assert seen["low"] == ((0, 1), (0.1, 1)) and seen["high/sub"] == ((1, 0), (1, 0.1))
    assert (
        seen["low, high"] == ((1, 1), (1, 1))
        and seen["-low"] == ((0, 0), (0.1, 1))
        and seen["Noise"] == ((0, 0), (1, 1))
    )
    assert any("1 of 16 clips could not be read" in note and "broken.wav" in note for note in found.notes)
    assert len({r for r, p in zip(e.recording_ids, e.paths, strict=True) if p.startswith("low/")}) == 3
    made = train_probe(store, replace(experiment, name="clips"))
    assert made["version"] == 1 and made["report"]["test"] is not None


def test_clips_that_are_none(store, tmp_path, clips):
    model = load_model("placeholder")

    def from_folder(folder, **more):
        experiment = replace(PLAIN, examples=ExamplesFrom("clips", clips=str(folder)), **more)
        with open_archive(store) as archive:
            return clip_examples(archive, experiment, model)

    with pytest.raises(NotFound, match="there is no folder"):
        from_folder(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(Invalid, match="holds no sound files in folders"):
        from_folder(tmp_path / "empty")
    with pytest.raises(NotFound, match="no folder 'lo'; did you mean low"):
        from_folder(clips, classes=("lo", "high"))
    bad = tmp_path / "bad" / "low"
    bad.mkdir(parents=True)
    (bad / "x.wav").write_bytes(b"nothing")
    with pytest.raises(Invalid, match=r"none of the 1 clips .* could be read; the first: low/x.wav"):
        from_folder(tmp_path / "bad")
    kit.write(tmp_path / "noise" / "Noise" / "x.wav", kit.tone(100))
    with pytest.raises(Invalid, match="has no folder of a class"):
        from_folder(tmp_path / "noise")


def test_a_window_that_holds_no_number_is_left_out_and_told(store, monkeypatch):
    from store import Archive

    plain = Archive.vectors_of

    def poisoned(self, windows):
        found = plain(self, windows).copy()
        found[[w == 0 for w in windows["start_sample"].to_pylist()], 3] = np.nan
        return found

    for path, tones in kit.TONES.items():
        for window, hz in enumerate(tones):
            say(store, path, window, judgement="positive" if hz < 800 else "negative")
    monkeypatch.setattr(Archive, "vectors_of", poisoned)
    _, found = gathered(store)
    assert len(found.examples) == 18 - 5 and not (found.examples.start_samples == 0).any()
    assert any("5 windows hold a value that is not finite" in note and NORTH in note for note in found.notes)
    assert train_probe(store, PLAIN)["version"] == 1
