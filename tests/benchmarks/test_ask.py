"""The measurements: both sides are really asked, in turn, and an answer that differs is no result."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import ask
from benchmarks.ask_catalog import build_catalog, correction
from benchmarks.ask_plain import Plain, sunrises
from benchmarks.ask_question import Question
from benchmarks.ask_questions import (
    activity_questions,
    distinct_question,
    table_questions,
    vector_questions,
    window_questions,
)
from benchmarks.store_maker import FIRST_DAY, Shape, make_store, site_name
from store import open_archive
from store.metadata import latest_metadata
from tests.store.kit import tree

SHAPE = Shape(sites=2, days=3, dim=8, pool=300, per_part=200)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_store(tmp_path_factory.mktemp("made"), SHAPE, processes=1, quiet=True))


def question(ours: Any, plain: Any, **more: Any) -> Question:
    return Question("q", "which?", ours, plain, lambda a, b: (a, b, 1), **more)


def test_both_sides_are_asked_in_turn_and_first_by_turns() -> None:
    asked: list[str] = []

    def side(name: str) -> Any:
        return lambda: asked.append(name) or 7

    told = question(side("ours"), side("plain")).measure(3)
    assert asked == ["ours", "plain", "ours", "plain", "plain", "ours", "ours", "plain"]
    assert told["pairs"] == 3
    assert [len(t) for t in told["all"].values()] == [3, 3]
    assert told["met"] is None


def test_a_question_with_pairs_of_its_own_is_not_asked_beforehand() -> None:
    asked: list[int] = []
    told = question(lambda: asked.append(1), lambda: None, pairs=1).measure(7)
    assert (len(asked), told["pairs"]) == (1, 1)


@pytest.mark.parametrize(
    ("ours", "plain"),
    [
        (1, 2),
        ((1, {2}), (1, {3})),
        (np.zeros(3), np.zeros(4)),
        (np.zeros(2), np.zeros(2, np.float32)),
        ((np.zeros(1),), (np.zeros(1), np.zeros(1))),
        ({"a": [1]}, {"a": [2]}),
    ],
)
def test_answers_that_differ_are_an_error(ours: Any, plain: Any) -> None:
    with pytest.raises(RuntimeError, match="the answers differ"):
        question(lambda: ours, lambda: plain).measure(1)
    assert question(lambda: ours, lambda: ours).measure(1)["rows"] == 1


def test_a_target_is_met_or_not_by_the_medians() -> None:
    slow = question(lambda: 1, lambda: 1, target="< 0 s", is_met=lambda ours_s, plain_s: ours_s < 0)
    assert slow.measure(1)["met"] is False
    fast = question(lambda: 1, lambda: 1, target="< 1 h", is_met=lambda ours_s, plain_s: ours_s < 3600)
    assert fast.measure(1)["met"] is True


def test_the_archive_answers_as_plain_duckdb_does(made: str) -> None:
    """Every question of the benchmark, on a store small enough for it; `measure` compares the answers."""
    plain = Plain(made, SHAPE.dim)
    rows = {}
    with open_archive(made) as archive:
        for asked in (
            activity_questions(archive, plain),
            window_questions(archive, plain, SHAPE, site_name(1)),
            vector_questions(archive, plain, SHAPE, site_name(1)),
            table_questions(archive, plain),
            [distinct_question(archive, plain, SHAPE)],
        ):
            for own in asked:
                rows[own.name] = own.measure(1)["rows"]
    plain.close()
    assert rows["activity"] == 3 * 12
    assert rows["dawn_hour"] == rows["vectors_of_an_hour"] == rows["vectors_distinct"] == 3 * 240
    assert rows["dawn_hour_of_a_day"] == 240
    assert rows["vectors_of_a_morning"] == 2 * 240
    assert rows["summary"] == 2
    assert rows["species"] == rows["species_sql"] > 100
    assert rows["dawn_by_the_sun"] > 0
    assert rows["vectors_of_a_species"] > 0


def test_the_suns_of_the_twin_are_in_order_and_a_day_apart() -> None:
    suns = sunrises(50.8, 13.6, FIRST_DAY, 3)
    moments = suns["sunrise"].to_pylist()
    assert len(moments) == 5
    assert all(23 < (b - a).total_seconds() / 3600 < 25 for a, b in pairwise(moments))


def test_the_catalog_is_built_anew_and_weighed(made: str) -> None:
    told = build_catalog(made)
    assert told["units"] == SHAPE.sites
    assert told["bytes"]["catalog"] == sum(
        len(data) for name, data in tree(made).items() if name.startswith("catalog/")
    )
    weight = told["bytes"]
    assert told["share_of_parts"] == round(weight["catalog"] / (weight["embeddings"] + weight["predictions"]), 4)
    assert told["share_of_raw_float16_vectors"] == round(weight["catalog"] / (SHAPE.windows * SHAPE.dim * 2), 4)
    assert told["bytes_per_window"] == round(weight["catalog"] / SHAPE.windows, 1)


def test_a_correction_is_measured_on_a_copy(made: str) -> None:
    build_catalog(made)
    before = tree(made)
    told = correction(made, site_name(0), 2)
    assert told["windows"] == [SHAPE.windows // 2]
    assert len(told["all"]) == 2
    assert tree(made) == before, "the store itself is as it was"
    assert latest_metadata(made) == 0
    assert [p.name for p in Path(made).parent.iterdir()] == [Path(made).name], "and the copy is gone"


def test_a_whole_run_writes_its_results_and_prints_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask, "SCRATCH", tmp_path)
    monkeypatch.setattr(ask, "DISTINCT", Shape(1, 1, pool=100, per_part=50))
    out = tmp_path / "out.json"
    result = ask.run(windows=1, pairs=1, quick=False, rebuild=False, keep=False, out=str(out), quiet=True)
    assert json.loads(out.read_text()) == json.loads(json.dumps(result))
    assert {
        "what",
        "command",
        "data",
        "machine",
        "cache",
        "catalog",
        "fresh_process",
        "questions",
        "correction",
    } <= set(result)
    assert result["command"] == "sonotheque bench store --windows 1 --pairs 1"
    assert result["fresh_process"]["warm"]["sonotheque"]["open_s"] > 0
    assert result["fresh_process"]["cold"]["plain"]["vectors_s"] > 0
    assert result["fresh_process"]["command"]["s"] > 0
    assert len(result["machine"]["load_after"]) == 3
    shown = ask.text(result)
    assert "< 300 ms" in shown
    assert "1,680 windows" in shown
    table = [line for line in shown.splitlines() if line.startswith("| ")]
    assert len(table) == 2 + len(result["questions"]) + 5
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.json"], "stores are not kept"
