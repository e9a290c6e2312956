"""The measurements of the search: the truth is the truth, the store holds the rows it should, and every side is really asked."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import search, search_peers
from benchmarks.search_children import child
from benchmarks.search_data import Clusters, archive, queries
from benchmarks.search_layout import Choice, Layout, choices, scans
from benchmarks.search_measure import cosines, kth_cosines, open_rows, recall_of, timed
from benchmarks.search_peers import FILTER, at_equal_recall, beside, compare
from benchmarks.search_store import make_search_store
from store import open_archive

SHAPE = Layout(1_000, dim=64)
ASKED = 12


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def made(scratch: Path) -> Path:
    return make_search_store(scratch, SHAPE, processes=1, quiet=True)


@pytest.fixture(scope="module")
def result(made: Path, scratch: Path) -> dict[str, Any]:
    """One short run over the store that is there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "SPEED_S", 1)
        patch.setattr(search, "SCRATCH", scratch)
        patch.setattr(search, "QUICK_WINDOWS", SHAPE.wanted)
        patch.setattr(search, "QUICK_QUERIES", ASKED)
        patch.setattr(search, "FRESH_TIMES", 1)
        patch.setattr(search, "COLD_TIMES", 1)
        asked = {
            "windows": 9,
            "queries": 9,
            "peers": True,
            "peer_windows": 9,
            "usearch": True,
            "real": None,
            "hop_s": 1.0,
        }
        kept = {"quick": True, "rebuild": False, "keep": True, "out": None, "quiet": True}
        return search.run(**asked, **kept, dim=SHAPE.dim)


@pytest.mark.parametrize("wanted", [1, 999, 1_000, 20_000, 100_000, 1_000_000, 10_000_000])
def test_an_archive_has_at_least_as_many_windows_as_wanted(wanted: int) -> None:
    shape = Layout(wanted)
    assert wanted <= shape.windows <= max(1_000, 1.05 * wanted)
    assert len({shape.day(d) for d in range(shape.days)}) == shape.days


@pytest.mark.parametrize("windows", [100_000, 1_000_000])
def test_filters_mean_the_share_they_are_named_by(windows: int) -> None:
    shape = Layout(windows)
    for choice in choices(shape):
        share = float(re.match(r"[\d.]+", choice.name)[0]) / 100  # type: ignore[index]
        assert choice.mask(shape).mean() == pytest.approx(share, rel=0.05)
    for scan in scans(shape):
        assert scan.mask(shape).sum() == pytest.approx(20_000, rel=0.05)


def test_the_store_holds_the_rows_of_the_file_and_filters_mean_the_same_there(made: Path) -> None:
    vectors, seen = open_rows(made, SHAPE.windows, SHAPE.dim), 0
    with open_archive(made / "store") as opened:
        for choice in [Choice("all", ""), *choices(SHAPE), *scans(SHAPE, 200)]:
            windows = opened.windows(choice.where())
            paths, starts = windows["path"].to_pylist(), windows["start_s"].to_pylist()
            rows = np.array([SHAPE.row(path, start) for path, start in zip(paths, starts, strict=True)])
            assert np.array_equal(np.sort(rows), np.flatnonzero(choice.mask(SHAPE))), choice
            _, stored = opened.embeddings(choice.where())
            assert np.array_equal(stored, vectors[rows])
            seen += len(rows)
    assert seen > SHAPE.windows


def test_the_store_is_the_same_however_many_processes_made_it(made: Path, tmp_path: Path) -> None:
    again = make_search_store(tmp_path, SHAPE, processes=2, quiet=True)
    assert (again / "vectors.f16").read_bytes() == (made / "vectors.f16").read_bytes()
    assert (again / "queries.npy").read_bytes() == (made / "queries.npy").read_bytes()
    name = "snapshots/1.json"
    mine, other = (json.loads((f / "store" / name).read_text()) for f in (made, again))
    assert [p["part_id"] for p in mine["parts"]] == [p["part_id"] for p in other["parts"]]


def test_generated_vectors_are_clustered_unit_vectors_and_queries_are_not_among_them() -> None:
    clusters = Clusters.make(2_000, 64, 7)
    rows = np.concatenate(list(archive(clusters, 2_000, 7))).astype(np.float32)
    asked = queries(clusters, 50, 7)
    assert rows.shape == (2_000, 64)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1, abs=1e-3)
    scores = asked @ rows.T
    assert scores.max() < 0.999
    assert (scores.max(axis=1) - np.median(scores, axis=1)).min() > 0.1


def test_the_truth_is_that_of_a_plain_sort() -> None:
    rng = np.random.default_rng(5)
    vectors = rng.standard_normal((40_000, 8)).astype(np.float16)
    vectors[100:200] = vectors[100]  # equal scores
    asked = rng.standard_normal((3, 8)).astype(np.float32)
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    few = np.zeros(len(vectors), np.bool_)
    few[[5, 17_000, 39_999]] = True
    some = rng.random(len(vectors)) < 0.3
    none = np.zeros(len(vectors), np.bool_)
    found = kth_cosines(vectors, asked, [None, few, some, none], k=10)
    for number, query in enumerate(asked):
        right = cosines(vectors, query)
        for mask, kth in zip((None, some), (found[0], found[2]), strict=True):
            own = right if mask is None else right[mask]
            assert kth[number] == np.sort(own)[-10]
        assert found[1][number] == right[few].min()
        assert found[3][number] == -np.inf


def test_rows_that_are_wrong_or_twice_or_not_meant_count_as_not_found() -> None:
    angles = np.linspace(0, 1.5, 100)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float16)
    asked = np.array([[1, 0]], np.float32)
    mask = np.arange(100) % 2 == 0

    def recall(rows: list[int], own: Any = None) -> float:
        kth = kth_cosines(vectors, asked, [own], k=4)[0]
        return float(recall_of(vectors, asked, [np.array(rows, np.int64)], kth, own, k=4)["recall"])

    assert recall([0, 1, 2, 3]) == 1
    assert recall([3, 0, 2, 50]) == 0.75
    assert recall([0, 0, 0, 0]) == 0.25
    assert recall([]) == 0
    assert recall([0, 2, 4, 6], mask) == 1
    assert recall([0, 1, 2, 3], mask) == 0.5


def test_queries_are_asked_one_by_one_after_some_to_warm_up() -> None:
    asked: list[float] = []
    given = np.arange(20, dtype=np.float32)[:, None]

    def ask(query: Any) -> float:
        asked.append(float(query[0]))
        return asked[-1]

    answers, times = timed(ask, given)
    assert asked == [*map(float, range(10)), *map(float, range(20))]
    assert answers == [*map(float, range(20))]
    assert times["queries"] == 20
    answers, times = timed(lambda q: float(q[0]), given, most_s=0, least=3)
    assert (len(answers), times["queries"]) == (3, 3)


def test_a_short_run_measures_everything_and_says_it(result: dict[str, Any], scratch: Path) -> None:
    kept = json.loads((scratch / search.RESULT).read_text("utf-8"))
    assert kept == json.loads(json.dumps(result))
    assert result["windows"] == SHAPE.windows
    assert "beside" not in result
    asked = result["ours"]["ask"]
    assert [row["name"] for row in asked["unfiltered"]] == [
        "default",
        "recall 0.99",
        "recall 0.999",
        "recall 0.9999",
        "exact",
    ]
    assert [row["how"] for row in asked["unfiltered"]] == ["lists"] * 4 + ["exact"]
    assert [row["name"] for row in asked["filtered"]] == [c.name for c in choices(SHAPE)]
    for row in (*asked["unfiltered"], *asked["filtered"], *asked["scans"]):
        assert row["queries"] == ASKED
        assert row["recall"] >= (1 if row["how"] == "exact" else 0.9), row
        assert row["fewest_hits"] == min(50, row["eligible"])
    built = result["ours"]["build"]
    assert built["hot_bytes"] < built["disk_bytes"]
    assert set(result["ours"]["fresh"]) == {"warm", "cold"}
    told = search.text(result)
    for row in asked["filtered"]:
        assert f"filter {row['name']}: {row['words']}" in told
    assert result["machine"]["commit"] in told
    assert "| asked of a million windows | met |" not in told
    slow = json.loads(json.dumps({**result, "windows": 1_000_000}))
    slow["ours"]["ask"]["filtered"][1]["recall"] = 0.9
    assert "| filtered recall 0.999 at no more than 40 ms, at 0.1 %, 1 % and 10 % | no |" in search.text(slow)


def test_a_truth_that_is_wrong_would_be_seen(made: Path, result: dict[str, Any]) -> None:
    """Recall is worked out from what the index answers, not from what it promises: ask for impossible rows, and none is right."""
    vectors = open_rows(made, SHAPE.windows, SHAPE.dim)
    asked, truth = np.load(made / "queries.npy")[:ASKED], np.load(made / "truth.npz")
    assert set(truth) == {"all", *(c.name for c in (*choices(SHAPE), *scans(SHAPE)))}
    worst = [np.argsort(cosines(vectors, query))[:50] for query in asked]
    assert recall_of(vectors, asked, worst, truth["all"]) == {"recall": 0, "recall_p5": 0}


def test_peers_are_asked_the_same_and_one_that_fails_does_not_stop_the_others(
    made: Path, scratch: Path, result: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_peers, "OWN", ("numpy", "nobody", "duckdb"))
    said: list[str] = []
    names = ("numpy", "nobody", "duckdb")
    found = beside(scratch, made, SHAPE, names, ASKED, result["ours"], said.append)
    numpy, nobody, duckdb = found["peers"]
    assert "KeyError: 'nobody'" in nobody["failed"]
    for peer in (numpy, duckdb):
        for row in (*peer["unfiltered"], *peer["filtered"]):
            assert (row["recall"], row["recall_p5"], row["queries"]) == (1, 1, ASKED)
    assert [(row["peer"], row["filter"]) for row in found["at_equal_recall"]] == [
        ("NumPy float32", "none"),
        ("DuckDB scan", "none"),
        ("NumPy float32", FILTER),
        ("DuckDB scan", FILTER),
    ]
    assert any("nobody failed" in line for line in said)
    told = search.text({**result, "beside": found})
    assert "| nobody | failed: KeyError: 'nobody' |" in told
    assert told.count("| DuckDB scan | exact |") == 2
    assert not (made / "peer").exists()


def test_a_peer_stands_beside_the_cheapest_of_ours_with_its_recall() -> None:
    def row(name: str, recall: float, cpu_ms: float) -> dict[str, Any]:
        return {"name": name, "recall": recall, "recall_p5": recall, "cpu_ms": cpu_ms}

    ours = {
        "unfiltered": [row("default", 0.995, 2), row("better", 0.999, 4), row("exact", 1.0, 20)],
        "filtered": [row("0.1 %", 1.0, 1), row(FILTER, 0.998, 2)],
    }
    peers = [
        {
            "name": "graph",
            "build": {"cpu_s": 30, "wall_s": 20},
            "unfiltered": [row("a", 0.9, 1), row("b", 0.991, 3), row("c", 0.997, 8)],
            "filtered": [],
        },
        {
            "name": "poor",
            "build": {"cpu_s": 3, "wall_s": 2},
            "unfiltered": [row("a", 0.5, 1), row("b", 0.6, 3)],
            "filtered": [],
        },
        {
            "name": "scan",
            "build": {"cpu_s": 1, "wall_s": 1},
            "unfiltered": [row("all", 1.0, 100)],
            "filtered": [row("where", 1.0, 10)],
        },
        {"name": "broken", "failed": "why"},
    ]
    rows = compare(ours, {"cpu_s": 3, "wall_s": 4}, peers)
    picked = [
        (r["peer"], r["setting"], r["ours"], r["times"], r["times_default"]) for r in at_equal_recall(rows, "none")
    ]
    assert picked == [
        ("graph", "b", "default", 1.5, 1.5),
        ("poor", "b", "default", 1.5, 1.5),
        ("scan", "all", "exact", 5, 50),
    ]
    assert [(r["build_times"], r["build_wall_times"]) for r in rows[:1]] == [(10, 5)]
    assert next(r for r in rows if r["setting"] == "c")["ours"] == "better"
    [filtered] = at_equal_recall(rows, FILTER)
    assert (filtered["ours"], filtered["ours_recall"], filtered["times"]) == (FILTER, 0.998, 5)


def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match=r"search_ours build nowhere: exit 1: .*layout|nowhere"):
        child("search_ours", "fresh", "nowhere", 3)


def test_peers_are_pinned_by_digest_and_no_address_is_among_them() -> None:
    pins = search_peers.REQUIREMENTS.read_text("utf-8")
    assert "://" not in pins
    assert "index-url" not in pins
    named = re.findall(r"^([a-z0-9._-]+)==\S+(.*)\\$", pins, re.M)
    assert {"hnswlib", "lancedb", "perch-hoplite", "usearch"} <= {name for name, _ in named}
    assert len(re.findall(r"^[a-z]", pins, re.M)) == len(named)
