"""The season on paper: its arithmetic, where its figures come from, and what it says when there are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import season
from sonotheque.core.errors import Invalid, NotFound

PEERS = {
    "what": "sonotheque bench peers",
    "machine": {"cpu": "A", "cores": 2},
    "contestants": [
        {"title": "ours", "model": "m", "output": "vectors", "x_realtime_per_core": 224.25, "startup_s": 3.6},
        {"title": "broken", "model": "m", "output": "vectors", "failed": "no"},
        {"title": "theirs", "model": "m", "output": "vectors", "x_realtime_per_core": 22.425, "startup_s": 36.0},
    ],
}
EMBED: dict[str, Any] = {
    "what": "sonotheque bench embed",
    "model": "b",
    "median": {"steady_2": 100.0, "startup_s_2": 0.0},
}
EMBED["other_output"] = {"output": "vectors", "median": {"steady_2": 160.0, "startup_s_2": 1.0}}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    (tmp_path / "peers.json").write_text(json.dumps(PEERS))
    (tmp_path / "embed-b.json").write_text(json.dumps(EMBED))
    (tmp_path / "embed-other.json").write_text(json.dumps({"what": "sonotheque bench embed", "rows": []}))
    (tmp_path / "embed-cut.json").write_text("{")
    return tmp_path


def worked_out(results: Path, **settings: Any) -> dict[str, Any]:
    return season.run(results=results, out=str(results / "out" / "season.json"), **settings)


def test_hours_and_euros_follow_from_speed_cores_and_price(results: Path) -> None:
    rows = worked_out(results, price_eur_per_core_hour=0.1, cores_a_node=8)["rows"]
    ours = [row for row in rows if row["program"] == "ours"]
    assert [(row["nodes"], row["cores"]) for row in ours] == [(1, 8), (10, 80), (100, 800)]
    # 17,940 h / (224.25 x 8) = 10 h, and a start of 3.6 s is 0.001 h wherever it is paid
    assert [row["wall_h"] for row in ours] == [10.001, 1.001, 0.101]
    assert [row["cost_eur"] for row in ours] == [8.0, 8.01, 8.08]


def test_every_measured_program_is_in_it_and_a_failed_one_is_not(results: Path) -> None:
    result = worked_out(results)
    assert list(dict.fromkeys(row["program"] for row in result["rows"])) == ["ours", "theirs", "sonotheque"]
    embed = {row["output"]: row["x_realtime_per_core"] for row in result["rows"] if row["model"] == "b"}
    assert embed == {"vectors + labels": 50.0, "vectors": 80.0}
    assert "A, 2 cores" in result["rows"][0]["measured"]


def test_the_price_is_told_with_the_result_as_what_it_is(results: Path) -> None:
    result = worked_out(results, price_eur_per_core_hour=None)
    assert result["assumptions"]["price_eur_per_core_hour"] == season.PRICE_EUR
    words = season.text(result)
    assert "0.04 EUR (an assumption" in words
    assert "40.85 h on 96 hardware threads" in words
    assert "| ours | m, vectors | 224.2 |" in words
    assert json.loads((results / "out" / "season.json").read_text())["rows"] == result["rows"]


@pytest.mark.parametrize(
    "settings", [{"price_eur_per_core_hour": 0.0}, {"price_eur_per_core_hour": float("nan")}, {"cores_a_node": 0}]
)
def test_a_price_or_a_node_that_makes_no_sense_is_refused(results: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="makes no season"):
        worked_out(results, **settings)


def test_without_measurements_it_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="sonotheque bench peers"):
        worked_out(tmp_path)
