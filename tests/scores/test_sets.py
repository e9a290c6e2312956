"""Names of sets, which file holds what, what is still to be done: against a loop over everything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonotheque.core.errors import Damaged, Invalid
from store import layout
from store.fsops import LocalFileOps
from store.scores import HeldScores, ScoredProbe, ScoreSet, read_sets

OPS = LocalFileOps()


def scored(name: str = "owl", version: int = 1, digest: str = "d") -> ScoredProbe:
    return ScoredProbe(name, version, digest, ("a", "b"), "multilabel")


def put(root: Path, probes: tuple[ScoredProbe, ...], floor: float = 0.01, parts: tuple[str, ...] = ()) -> str:
    made = ScoreSet.of(probes, floor)
    made.put(str(root), OPS)
    for part in parts:
        (root / layout.score_part(made.name, part)).write_bytes(b"")
    return made.name


def test_a_name_follows_from_the_content_alone():
    one, two = scored("a"), scored("b", 2)
    assert ScoreSet.of((one, two), 0.01).name == ScoreSet.of((two, one), 0.01).name
    names = {
        ScoreSet.of(probes, floor).name
        for probes in ((one,), (one, two), (scored("a", 2),), (scored("a", 1, "e"),))
        for floor in (0.0, 0.01)
    }
    assert len(names) == 8 and all(len(n) == 16 for n in names)


def test_a_set_reads_back(tmp_path):
    name = put(tmp_path, (scored("é/日"), scored("b")))
    (found,) = read_sets(str(tmp_path)).values()
    assert found.name == name and [p.name for p in found.probes] == ["b", "é/日"]
    before = Path(tmp_path, layout.score_set(name)).stat().st_ino
    found.put(str(tmp_path), OPS)
    assert Path(tmp_path, layout.score_set(name)).stat().st_ino == before
    assert list(Path(tmp_path, "_tmp").iterdir()) == []


@pytest.mark.parametrize(
    ("probes", "floor", "said"),
    [
        ((), 0.01, "no probe is given"),
        ((scored(), scored()), 0.01, "owl version 1 is given twice"),
        ((scored(version=0),), 0.01, "owl has no version yet"),
        ((scored(),), 1.0, r"--floor 1: .* expected 0"),
        ((scored(),), -0.1, "--floor -0.1"),
        ((scored(),), float("nan"), "--floor nan"),
    ],
)
def test_what_cannot_be_a_set(probes, floor, said):
    with pytest.raises(Invalid, match=said):
        ScoreSet.of(probes, floor)


def test_folders_that_are_no_sets_are_left_alone(tmp_path):
    put(tmp_path, (scored(),))
    Path(tmp_path, "scores", "0123456789abcdef").mkdir()
    Path(tmp_path, "scores", "notes.txt").write_text("somebody's own")
    assert len(read_sets(str(tmp_path))) == 1
    assert read_sets(str(tmp_path / "nowhere")) == {}


@pytest.mark.parametrize("text", ["{", "[]", '{"probes": [{}], "floor": 0}', '{"probes": 3, "floor": 0}', "null"])
def test_a_damaged_description_says_what_to_remove(tmp_path, text):
    name = put(tmp_path, (scored(),))
    Path(tmp_path, layout.score_set(name)).write_text(text)
    with pytest.raises(Damaged, match=f"remove the folder .*/scores/{name} and run `sonotheque probe apply` again"):
        read_sets(str(tmp_path))


def test_a_description_in_another_folder_is_refused(tmp_path):
    name = put(tmp_path, (scored(),))
    path = Path(tmp_path, layout.score_set(name))
    path.write_text(json.dumps({**json.loads(path.read_text()), "floor": 0.5}))
    with pytest.raises(Damaged, match="describes another set"):
        read_sets(str(tmp_path))


def test_the_lowest_floor_holds_then_the_first_name(tmp_path):
    high = put(tmp_path, (scored(),), 0.5, ("p", "q"))
    low = put(tmp_path, (scored(),), 0.1, ("p",))
    together = put(tmp_path, (scored(), scored("b")), 0.1, ("p",))
    held = HeldScores(str(tmp_path))
    assert held.holding("p", ("owl", 1)).set_name == min(low, together)
    assert held.holding("q", ("owl", 1)).set_name == high
    assert held.holding("q", ("b", 1)) is None and held.holding("r", ("owl", 1)) is None
    assert held.holding("p", ("owl", 2)) is None and held.holding("p", ("owl", 1), "other") is None


def test_scores_of_another_probe_of_the_same_name_do_not_count(tmp_path):
    put(tmp_path, (scored(digest="old"),), 0.01, ("p",))
    new = scored(digest="new")
    held = HeldScores(str(tmp_path))
    assert held.missing("p", [new], 0.01) == (new,)
    assert held.probe(("owl", 1), "new") is None and held.probe(("owl", 1)).digest == "old"
    name = put(tmp_path, (new,), 0.01, ("p",))
    assert HeldScores(str(tmp_path)).chosen(["p"], [("owl", 1)], {("owl", 1): "new"}) == {
        (name, frozenset([("owl", 1)])): ["p"]
    }


KEYS = [("a", 1), ("a", 2), ("b", 1)]
PARTS = ["p0", "p1", "p2", "p3"]
worlds = st.lists(
    st.tuples(
        st.sets(st.sampled_from(KEYS), min_size=1), st.sampled_from([0.0, 0.01, 0.5]), st.sets(st.sampled_from(PARTS))
    ),
    max_size=5,
)


@settings(max_examples=25)
@given(worlds, st.sets(st.sampled_from(KEYS), min_size=1), st.sampled_from([0.0, 0.01, 0.5]))
def test_against_a_loop(tmp_path_factory, world, keys, floor):
    root = tmp_path_factory.mktemp("held")
    files = []
    for probes, own, parts in world:
        name = put(root, tuple(scored(*k) for k in probes), own, tuple(parts))
        files += [(own, name, part, key) for part in parts for key in probes]
    held = HeldScores(str(root))
    wanted = [scored(*k) for k in sorted(keys)]
    expected = {}
    for part in PARTS:
        for key in keys:
            if fitting := sorted(f for f in files if f[2:] == (part, key)):
                expected[part, key] = fitting[0][:2]
    chosen = {
        (part, key): name
        for (name, taken), parts in held.chosen(PARTS, keys).items()
        for part in parts
        for key in taken
    }
    assert chosen == {k: name for k, (_, name) in expected.items()}
    todo = {(part, p.key) for one, parts in held.plan(PARTS, wanted, floor) for part in parts for p in one.probes}
    assert todo == {(p, k) for p in PARTS for k in keys if expected.get((p, k), (9.0,))[0] > floor}
    assert all(one.floor == floor for one, _ in held.plan(PARTS, wanted, floor))
