"""What may be asked for: folders below configured ones alone, experiments that read nothing of the server."""

from __future__ import annotations

import json
import os
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.options import EmbedOptions
from probes.experiment import Experiment
from probes.experiment_files import experiment_from
from search_api.boards.requests import (
    apply_request,
    embed_request,
    index_request,
    place_below,
    train_request,
)
from sonotheque.core.errors import Invalid, NotFound, SonothequeError


@pytest.fixture(scope="module")
def land(tmp_path_factory):
    """A folder that may be embedded from, and what lies around it."""
    top = tmp_path_factory.mktemp("land")
    (top / "recordings" / "2025" / "forest").mkdir(parents=True)
    (top / "recordings" / "a b-é").mkdir()
    (top / "recordings" / "one.wav").write_bytes(b"")
    (top / "recordings2").mkdir()
    (top / "secret").mkdir()
    os.symlink(top / "secret", top / "recordings" / "out")
    os.symlink("../..", top / "recordings" / "2025" / "up")
    os.symlink("forest", top / "recordings" / "2025" / "wood")
    os.symlink("loop", top / "recordings" / "loop")
    return top


@pytest.mark.parametrize(
    ("folder", "found"),
    [
        ("", ""),
        ("2025", "2025"),
        ("2025/forest", "2025/forest"),
        ("2025/forest/", "2025/forest"),
        ("2025//forest", "2025/forest"),
        ("./2025/.", "2025"),
        ("a b-é", "a b-é"),
        ("2025/wood", "2025/forest"),
    ],
)
def test_folders_below_are_taken(land, folder, found) -> None:
    place = place_below({"rec": str(land / "recordings")}, "rec", folder)
    assert place == os.path.realpath(land / "recordings" / found)


@pytest.mark.parametrize(
    ("folder", "error"),
    [
        ("..", Invalid),
        ("../secret", Invalid),
        ("2025/../../secret", Invalid),
        ("2025/..", Invalid),
        ("/etc", Invalid),
        ("//etc", Invalid),
        ("/", Invalid),
        ("out", Invalid),
        ("2025/up", Invalid),
        ("2025/up/secret", Invalid),
        ("2025\0", Invalid),
        ("2025\n", Invalid),
        ("..\\secret", Invalid),
        ("2025/\u202eforest", Invalid),
        ("2025/lake", NotFound),
        ("one.wav", NotFound),
        ("loop", NotFound),
        ("x" * 5000, NotFound),
    ],
)
def test_whatever_leads_elsewhere_is_refused(land, folder, error) -> None:
    with pytest.raises(error) as told:
        place_below({"rec": str(land / "recordings")}, "rec", folder)
    assert str(land) not in told.value.message, "no folder of the server is named"


def test_a_root_that_is_a_link_itself_is_its_operators_choice(land, tmp_path) -> None:
    os.symlink(land / "recordings", tmp_path / "link")
    assert place_below({"rec": str(tmp_path / "link")}, "rec", "2025").endswith("/recordings/2025")


def test_sources_are_named(land) -> None:
    with pytest.raises(NotFound, match="did you mean rec"):
        place_below({"rec": str(land / "recordings"), "other": str(land)}, "recs", "")
    with pytest.raises(NotFound, match="--ingest"):
        place_below({}, "rec", "")


@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                ["..", ".", "", "2025", "forest", "up", "out", "wood", "secret", "recordings", "recordings2"]
            ),
            st.text(string.printable, max_size=4),
        ),
        max_size=6,
    ).map("/".join)
)
def test_nothing_that_is_taken_lies_outside(land, folder) -> None:
    """Against the twin that only asks the file system where it came out."""
    top = os.path.realpath(land / "recordings")
    try:
        found = place_below({"rec": top}, "rec", folder)
    except (Invalid, NotFound):
        return
    assert os.path.commonpath([os.path.realpath(found), top]) == top
    assert os.path.isdir(found)


# Embedding.


def test_an_embedding_has_the_options_of_the_store(made) -> None:
    asked = embed_request(made.store, {"rec": str(made.recordings)}, source="rec", folder="north", workers=0)
    options = EmbedOptions.from_json(json.loads(json.dumps(asked.values["options"])))
    assert options.sources == (os.path.realpath(made.recordings / "north"),)
    assert options.store == made.store
    assert options.workers == 0
    assert options.root is None, "the store knows a folder around it, whose names go on"
    assert asked.title == "Embed rec/north"


def test_two_folders_of_a_source_are_named_apart(made, tmp_path) -> None:
    """Stored paths are relative to the source, so that a/1.wav and b/1.wav do not both become 1.wav."""
    from tests.search.kit import tone, write

    for folder in ("a", "b"):
        write(tmp_path / "new" / folder / "1.wav", tone(300.0))
    asked = embed_request(made.store, {"new": str(tmp_path / "new")}, source="new", folder="b", workers=0)
    assert asked.values["options"]["root"] == os.path.realpath(tmp_path / "new")


@pytest.mark.parametrize(
    "wrong",
    [
        {"timezone": "Mars/Olympus"},
        {"timezone": "../../etc/passwd"},
        {"timezone": ""},
        {"timezone": "/etc/localtime"},
        {"workers": -1},
        {"workers": 10_000},
        {"site": "   "},
        {"site": "a\0b"},
    ],
)
def test_values_that_cannot_be_are_refused_before_anything_begins(made, wrong) -> None:
    with pytest.raises(Invalid):
        embed_request(made.store, {"rec": str(made.recordings)}, source="rec", **{"workers": 0, **wrong})


# Training.


def test_a_training_is_as_the_command_line_has_it() -> None:
    asked = train_request(probe="owl")
    assert experiment_from(json.loads(json.dumps(asked.values["experiment"]))) == Experiment("owl")


def test_an_experiment_comes_back_as_it_was_given() -> None:
    given_ = {
        "classes": ["Strix aluco", "Tyto alba"],
        "examples": {
            "annotators": ["Ana"],
            "where": {"sites": ["north"], "hours": "22:00-04:00", "date_from": "2025-05-01"},
        },
        "negatives": {"weak": 50},
        "split": {"by": "day"},
        "threshold": {"rule": "precision", "value": 0.9},
        "l2": 0.5,
        "shots": [1, 2],
    }
    asked = train_request(probe="owl", experiment=given_)
    assert experiment_from(json.loads(json.dumps(asked.values["experiment"]))) == experiment_from(
        {**given_, "name": "owl"}
    )


@pytest.mark.parametrize(
    "experiment",
    [
        {"examples": {"source": "clips", "clips": "/etc"}},
        {"examples": {"clips": "/etc"}},
        {"bootstrap": 10**9},
        {"negatives": {"weak": 10**9}},
        {"shots": list(range(1, 100))},
        {"folds": 10**6},
        {"seed": 2**40},
        {"split": {"seed": 2**70}},
        {"l2": 10**400},
        {"l2": "much"},
        {"name": "another"},
        {"clasess": ["a"]},
        {"classes": [1]},
        {"examples": 7},
        {"examples": {"where": 7}},
        {"examples": {"where": {"sites": {"a": 1}, "x": 2}}},
    ],
)
def test_experiments_that_may_not_be(experiment) -> None:
    with pytest.raises(Invalid):
        train_request(probe="owl", experiment=experiment)


@pytest.mark.parametrize("name", ["", "../owl", "a/b", ".hidden", "a\0", " owl", "x" * 101])
def test_names_that_are_none(name) -> None:
    with pytest.raises(Invalid):
        train_request(probe=name)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = [*Experiment.__dataclass_fields__, "where", "rule", "value", "by", "sites"]


@given(
    st.dictionaries(st.sampled_from(KEYS), JSON | st.dictionaries(st.sampled_from(KEYS), JSON, max_size=3), max_size=4)
)
def test_whatever_is_sent_as_an_experiment_is_taken_or_refused(experiment) -> None:
    try:
        train_request(probe="owl", experiment=experiment)
    except SonothequeError as error:
        assert isinstance(error, Invalid)


def test_probes_to_apply_must_be_there(made) -> None:
    with pytest.raises(NotFound, match="train one first"):
        apply_request(made.store, probes="all")
    with pytest.raises(NotFound):
        apply_request(made.store, probes=["owl"])
    with pytest.raises(Invalid):
        apply_request(made.store, probes=[])


def test_index_actions() -> None:
    assert index_request(action="build").values == {"action": "build"}
    with pytest.raises(Invalid, match="update"):
        index_request(action="updaet")
