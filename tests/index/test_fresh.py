"""Never stale: what happens to a store after an index was built is seen by the next search, without any update."""

from __future__ import annotations

import threading
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from sonotheque.core.errors import NotFound
from sonotheque.core.filters import SearchFilter
from sonotheque.core.search import SearchAnswer
from store import Archive, load_ledger, read_config
from store.annotations import Annotation, AnnotationLog
from store.care import collect_garbage, compact
from store.fsops import LocalFileOps
from store.index import IndexWishes, SearchQuery, build_index, open_index, read_info, tune_index, update_index
from store.metadata import ClockChange, Scope, SiteChange, write_change
from tests.care.support import later
from tests.index import kit
from tests.store.kit import recording_id, tree

HIT = np.eye(kit.DIM, dtype=np.float32)[3] * 7


def index_files(root: str) -> dict[str, bytes]:
    """Files of the index, without the tables of windows, which searches make."""
    return {n: b for n, b in tree(root).items() if n.startswith("index/") and "/windows" not in n}


def agrees(root: str, monkeypatch: pytest.MonkeyPatch | None = None, **more) -> SearchAnswer:
    """The answers of the store as it is now, checked against the twin; returns the last."""
    with Archive(root) as archive:
        index, twin = open_index(archive), kit.Twin(archive)
        for vector in (*kit.queries(3, seed=31), HIT):
            query = SearchQuery(vector, 25, **more)
            answer = index.search(query)
            kit.check(answer, query, twin)
        return answer


@pytest.mark.parametrize("plan", ["as is", "codes", "lists"])
def test_new_recordings_are_found_at_once(coded, monkeypatch, plan):
    kit.plans(monkeypatch, plan)
    config, before = read_config(coded), index_files(coded)
    kit.commit(coded, config, {"Fen/20-0.wav": np.tile(HIT, (3, 1))})
    kit.snap(coded, config)
    answer = agrees(coded)
    assert [h.path for h in answer.hits[:3]] == ["Fen/20-0.wav"] * 3
    assert all(h.exact and h.score == 1.0 for h in answer.hits[:3])
    assert answer.plan.fresh == 3 and answer.plan.index == 1
    assert any(
        "3 of the eligible windows were committed after index 1" in n and "index update" in n for n in answer.plan.notes
    )
    assert index_files(coded) == before
    if plan != "as is":
        assert not answer.hits[-1].exact


@pytest.mark.parametrize("plan", ["as is", "codes", "lists"])
def test_superseded_rows_vanish_at_once(coded, monkeypatch, plan):
    """A file changed and was embedded again: its old windows, which the index holds, are never returned."""
    kit.plans(monkeypatch, plan)
    config = read_config(coded)
    with Archive(coded) as archive:
        twin = kit.Twin(archive)
        old = twin.vectors[twin.place[recording_id("Oak wood/2-0.wav"), 0]]
        assert open_index(archive).search(SearchQuery(old, 1)).hits[0].path == "Oak wood/2-0.wav"
    kit.supersede(coded, config)
    answer = agrees(coded)
    with Archive(coded) as archive:
        whole = open_index(archive).search(SearchQuery(old, answer.plan.windows))
    mine = [h.start_sample for h in whole.hits if h.path == "Oak wood/2-0.wav"]
    assert len(mine) == 9 and whole.hits[0].score < 1.0
    with Archive(coded) as archive:
        info = read_info(archive)
    assert (info.superseded_rows, info.fresh_windows, info.windows) == (48, 18, 1152 - 48)


def test_an_update_takes_in_what_is_new_and_drops_what_is_old(coded, monkeypatch):
    kit.plans(monkeypatch, "codes")
    config = read_config(coded)
    kit.add_fresh(coded, config)
    kit.supersede(coded, config)
    version = kit.update(coded)
    assert version.number == 2
    answer = agrees(coded)
    assert (answer.plan.fresh, answer.plan.index, answer.plan.how) == (0, 2, "lists")
    assert not any("committed after" in n for n in answer.plan.notes)
    with Archive(coded) as archive:
        info = read_info(archive, deep=True)
    assert info.damaged == [] and info.fresh_windows == 0 and info.windows == answer.plan.windows


@pytest.mark.parametrize("kind", ["exact", "coded", "segments, updated"])
def test_an_update_of_nothing_new_is_the_same_index(kinds, tmp_path, kind):
    root = kit.copied(kinds(kind), tmp_path / "s")
    before = index_files(root)
    with Archive(root) as archive:
        held = read_info(archive).version
        assert update_index(archive).number == held
    assert index_files(root) == before


def test_after_compaction_and_gc(coded, monkeypatch):
    """The parts that the index was made of are gone; nothing is found twice or not at all, before and after an update."""
    kit.plans(monkeypatch, "codes")
    rows = agrees(coded).plan.windows
    kit.supersede(coded, read_config(coded))
    assert compact(coded).merged > 3
    agrees(coded)
    assert collect_garbage(coded, keep_snapshots=1, now=later(50)).parts > 3
    answer = agrees(coded)
    assert answer.plan.windows == rows - 48 + 18
    kit.update(coded)
    answer = agrees(coded)
    assert answer.plan.fresh == 0
    kit.build(coded, kind="coded")
    agrees(coded)


def test_garbage_collection_leaves_an_index_whole(coded, monkeypatch):
    kit.plans(monkeypatch, "codes")
    kit.add_fresh(coded, read_config(coded))
    kit.update(coded)
    agrees(coded)
    before = [n for n in tree(coded) if n.startswith("index/")]
    report = collect_garbage(coded, keep_snapshots=1, now=later(50))
    left = [n for n in tree(coded) if n.startswith("index/")]
    assert report.index_files == len(before) - len(left) > 0
    assert len([n for n in left if "/windows" not in n]) == 4, "a version, its vectors, codes and clusters"
    with Archive(coded) as archive:
        assert read_info(archive, deep=True).damaged == []
    agrees(coded)


def test_corrected_metadata_changes_what_a_filter_finds_without_a_build(coded, monkeypatch):
    """Site names and clocks are not in the index's own files: a correction counts at once."""
    kit.plans(monkeypatch, "codes")
    before = index_files(coded)
    oak, new = SearchFilter(sites=("Oak wood",)), SearchFilter(sites=("Old oak",))
    assert agrees(coded, where=oak).plan.eligible == 384
    write_change(coded, SiteChange("Oak wood", rename="Old oak"), by="test")
    answer = agrees(coded, where=new)
    assert answer.plan.eligible == 384 and {h.site for h in answer.hits} == {"Old oak"}
    with Archive(coded) as archive, pytest.raises(NotFound, match="Oak wood"):
        open_index(archive).search(SearchQuery(HIT, where=oak))
    day = SearchFilter(date_from=date(2025, 6, 1), date_to=date(2025, 6, 30))
    assert agrees(coded, where=day).plan.eligible == 0
    write_change(coded, ClockChange(Scope(site="Fen"), add_s=31 * 86_400), by="test")
    answer = agrees(coded, where=day)
    assert answer.plan.eligible == 384 and {h.site for h in answer.hits} == {"Fen"}
    assert {h.local_start.month for h in answer.hits} == {6}
    agrees(coded, best_per="day")
    assert index_files(coded) == before


def test_annotations_made_under_an_open_index_count(coded):
    """They are not versioned with a snapshot: the next search sees them."""
    with Archive(coded) as archive:
        index = open_index(archive)
        query = SearchQuery(HIT, 2000, SearchFilter(annotated=True))
        before = len(index.search(query).hits)
        path = "Fen/3-3.wav"
        AnnotationLog(coded).add([Annotation(recording_id(path), path, 0.5, 2.0, "x")], annotator="t", provenance="t")
        hits = index.search(query).hits
        assert len(hits) == before + 1 and (path, 0.0) in {(h.path, h.start_s) for h in hits}
        kit.check(index.search(query), query, kit.Twin(archive))


def test_an_open_index_stays_at_its_snapshot(coded):
    """Whatever is committed, updated, merged and removed meanwhile, until its parts are gone: then it says to open again."""
    config = read_config(coded)
    kit.add_fresh(coded, config)
    with Archive(coded) as archive:
        index, twin = open_index(archive), kit.Twin(archive)
        query = SearchQuery(kit.queries(1)[0], 60)
        first = index.search(query)
        kit.late(coded, config)
        kit.supersede(coded, config)
        kit.build(coded, kind="coded")
        again = index.search(query)
        assert again.hits == first.hits and again.plan.index == 1
        kit.check(again, query, twin)


def test_an_older_snapshot_is_searched_as_it_was(coded, monkeypatch):
    """With an index that was updated since."""
    kit.plans(monkeypatch, "codes")
    config = read_config(coded)
    with Archive(coded) as archive:
        number, windows = archive.snapshot.number, len(kit.Twin(archive).ids)
    kit.add_fresh(coded, config)
    kit.supersede(coded, config)
    kit.update(coded)
    with Archive(coded, number) as archive:
        index, twin = open_index(archive), kit.Twin(archive)
        assert len(twin.ids) == windows
        for vector in kit.queries(4):
            query = SearchQuery(vector, 40)
            answer = index.search(query)
            kit.check(answer, query, twin)
            assert answer.plan.snapshot == number
    agrees(coded)


@pytest.mark.parametrize("kind", ["coded", "exact"])
def test_everything_that_was_indexed_is_gone(tmp_path, monkeypatch, kind):
    """Every file was replaced by one without a window: nothing is found, updates go through, and later recordings are found."""
    kit.plans(monkeypatch, "codes")
    rng = np.random.default_rng(1)
    root, config = kit.new_store(tmp_path, [{"A/0-0.wav": kit.clustered(rng, 30), "A/0-1.wav": kit.clustered(rng, 30)}])
    kit.build(root, kind=kind)
    held = {e.path: name for name, e in load_ledger(root).live.values()}
    nothing = np.zeros((0, kit.DIM), np.float32)
    kit.commit(root, config, dict.fromkeys(held, nothing), version=2, replaces=held)
    kit.snap(root, config)
    for _ in range(2):
        with Archive(root) as archive:
            answer = open_index(archive).search(SearchQuery(HIT, 5))
            assert answer.hits == [] and answer.plan.how == "nothing" and answer.plan.windows == 0
            read_info(archive, deep=True)
            update_index(archive)
    kit.commit(root, config, {"A/5-0.wav": kit.clustered(rng, 30)})
    kit.snap(root, config)
    agrees(root)
    kit.update(root)
    assert agrees(root).plan.fresh == 0


def test_tuning_measures_again_and_keeps_the_files(coded, monkeypatch):
    kit.plans(monkeypatch, "codes")
    with Archive(coded) as archive:
        before = read_info(archive)
        low = tune_index(archive, 0.6)
        assert low.number == 2 and low.chosen.lists <= before.recall["lists"] and low.wanted_recall == 0.6
        high = tune_index(archive, 0.999)
        assert high.chosen.mean >= 0.999
        assert {f.path for f in low.files} == {f.path for f in high.files}
    agrees(coded)


def test_one_search_may_ask_for_more_recall_than_the_index_was_made_for(coded, monkeypatch):
    kit.plans(monkeypatch, "lists")
    with Archive(coded) as archive:
        tune_index(archive, 0.5)
        index = open_index(archive)
        low, high = (index.search(SearchQuery(kit.queries(1)[0], 50, recall=r)).plan for r in (None, 0.999))
        assert high.coded > low.coded and high.recall >= 0.999 > low.recall
        assert index.search(SearchQuery(kit.queries(1)[0], 50, recall=1.0)).plan.how == "exact"


@pytest.mark.parametrize("kind", ["none", "all at once"])
def test_threads_get_the_answers_that_one_gets(kinds, monkeypatch, kind):
    kit.plans(monkeypatch, "codes")
    filters = [None, SearchFilter(sites=("Fen",)), SearchFilter(label="rain"), SearchFilter(annotated=False)]
    asked = [
        SearchQuery(v, 20, filters[n % 4], best_per=("recording", None, "day")[n % 3])
        for n, v in enumerate(kit.queries(12, seed=6))
    ]
    with Archive(kinds(kind)) as archive:
        expected = [open_index(archive).search(q).hits for q in asked]
        index = open_index(archive)
        found: dict[tuple[int, int], object] = {}
        gate = threading.Barrier(3)

        def work(number: int) -> None:
            gate.wait(30)
            for n in np.random.default_rng(number).permutation(len(asked)):
                try:
                    found[number, int(n)] = index.search(asked[n]).hits
                except Exception as error:  # noqa: BLE001 - shown by the comparison below
                    found[number, int(n)] = error

        threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
    assert len(found) == 3 * len(asked)
    for (_, n), hits in found.items():
        assert hits == expected[n]


def test_a_store_that_may_not_be_written_is_searched(coded, monkeypatch):
    """The tables of windows cannot be kept beside the index then; they are made in memory."""
    for path in Path(coded, "index", "v1").rglob("windows*/*.json"):
        path.unlink()
    for path in Path(coded, "index", "v1").glob("*.arrow"):
        path.unlink()
    asked: list[str] = []

    def refused(self, path):
        asked.append(path)
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(LocalFileOps, "create", refused)
    agrees(coded)
    assert any("/_tmp/index" in path for path in asked), asked


def test_builds_say_how_far_they_are(store):
    told: list[tuple[str, int, int]] = []
    with Archive(store) as archive:
        build_index(archive, IndexWishes(kind="coded"), lambda *a: told.append(a))
    stages = list(dict.fromkeys(stage for stage, _, _ in told))
    assert stages == ["vectors", "clusters", "codes", "truth", "recall"]
    for stage in stages:
        done = [(d, t) for s, d, t in told if s == stage]
        assert done[-1][0] == done[-1][1] > 0 and all(0 <= d <= t for d, t in done)
        assert [d for d, _ in done] == sorted(d for d, _ in done)
