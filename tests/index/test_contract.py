"""Every kind of index keeps one contract: the answers of the dumb twin, which reads and sorts everything."""

from __future__ import annotations

import random
from datetime import date

import numpy as np
import pytest

from sonotheque.core.filters import HourSpan, SearchFilter
from store import Archive, exact_search
from store.index import SearchQuery, open_index
from tests.index import kit
from tests.store.kit import recording_id

FILTERS = {
    "all": None,
    "empty": SearchFilter(),
    "site": SearchFilter(sites=("Fen",)),
    "sites": SearchFilter(sites=("é/日", "Oak wood")),
    "hours": SearchFilter(hours=HourSpan(20 * 60, 6 * 60)),
    "dates": SearchFilter(date_from=date(2025, 5, 2), date_to=date(2025, 5, 3)),
    "recording": SearchFilter(recordings=("*/2-0.wav",)),
    "label": SearchFilter(label="rain"),
    "score": SearchFilter(label="Parus major", score_min=0.8),
    "annotated": SearchFilter(annotated=True),
    "not annotated": SearchFilter(annotated=False, sites=("Oak wood",)),
    "nothing": SearchFilter(date_from=date(1999, 1, 1), date_to=date(1999, 1, 2)),
}
CODED = [name for name in kit.KINDS if name != "none" and not name.startswith("exact")]
CASES = [(name, plan) for name in kit.KINDS for plan in ("as is", "codes", "lists") if plan == "as is" or name in CODED]
LEFT_OUT = ("Fen/0-1.wav", "Oak wood/1-2.wav")
_K = (0, 1, 7, "n", "n+5")


def _some(rng: random.Random) -> list[tuple[str, int | str]]:
    """Every filter with a few numbers of hits, other ones each time; every number with no filter."""
    of_filters = [(where, k) for where in FILTERS for k in rng.sample(_K, 2)]
    return of_filters + [("all", k) for k in _K]


def asked(seed: int, n: int) -> list[SearchQuery]:
    """Queries with all settings mixed."""
    rng = random.Random(seed)
    vectors = kit.queries(8, seed=seed)
    found = []
    for number, (where, k) in enumerate(_some(rng)):
        m = (1, 1, 3)[number % 3]
        at = rng.randrange(6)
        found.append(
            SearchQuery(
                vectors[at : at + m] * np.float32(rng.choice([1, 1e-3, 500])),
                k={"n": n, "n+5": n + 5}.get(k, k),
                where=FILTERS[where],
                combine=rng.choice(["best", "mean"]),
                best_per=rng.choice([None, None, None, "recording", "site", "day"]),
                distinct=rng.choice([None, None, None, 0.9, 1.0]) if k in (1, 7) else None,
                without=rng.choice([(), (), (recording_id(LEFT_OUT[0]),), tuple(map(recording_id, LEFT_OUT))]),
                exact=number % 10 == 9,
            )
        )
    return found


@pytest.mark.parametrize(("kind", "plan"), CASES)
def test_every_index_answers_as_the_twin_does(kinds, monkeypatch, kind, plan):
    """Filters, counts, several windows, groups, near-duplicates and left-out recordings, together."""
    kit.plans(monkeypatch, plan)
    with Archive(kinds(kind)) as archive:
        index, twin = open_index(archive), kit.Twin(archive)
        hows, recalls = set(), []
        for query in asked(CASES.index((kind, plan)), len(twin.ids)):
            answer = index.search(query)
            recall = kit.check(answer, query, twin)
            if not query.k or not answer.plan.eligible:
                assert answer.plan.how == "nothing"
            if query.exact:
                assert answer.plan.how in ("exact", "nothing")
            if query.distinct is None and query.k:
                recalls.append(recall)
            hows.add(answer.plan.how)
        assert "nothing" in hows
        has_codes = plan != "as is" and index.version is not None and kind != "compacted"
        assert (hows & {"codes", "lists"} != set()) is has_codes
        assert np.mean(recalls) >= (0.99 if has_codes else 1.0), recalls


@pytest.mark.parametrize("plan", ["codes", "lists"])
@pytest.mark.parametrize("kind", CODED)
def test_recall_is_what_was_promised(kinds, monkeypatch, kind, plan):
    """Of 50 hits for other queries than those it was measured with, plain and inside filters."""
    kit.plans(monkeypatch, plan)
    with Archive(kinds(kind)) as archive:
        index, twin = open_index(archive), kit.Twin(archive)
        assert index.version is not None and index.version.chosen is not None
        assert index.version.chosen.mean >= index.version.wanted_recall == 0.995
        for name in ("all", "site", "hours"):
            found = []
            for vector in kit.queries(25, seed=77):
                query = SearchQuery(vector, 50, FILTERS[name])
                answer = index.search(query)
                found.append(kit.check(answer, query, twin))
                assert answer.plan.recall >= 0.99
            assert np.mean(found) >= 0.99, (name, found)


@pytest.mark.parametrize("kind", kit.KINDS)
def test_an_exact_search_equals_the_first_one_there_was(kinds, kind):
    """``store.exact_search``, bit for bit: the score is one number, whatever found it."""
    with Archive(kinds(kind)) as archive:
        index = open_index(archive)
        for vector, left_out in zip(kit.queries(6, seed=3), (None, *LEFT_OUT, None, None, None), strict=True):
            without = () if left_out is None else (recording_id(left_out),)
            expected = exact_search(archive, vector, 40, without_recording=without[0] if without else None)
            hits = index.search(SearchQuery(vector, 40, without=without)).hits
            assert [(h.path, h.start_s) for h in hits] == [(h.path, h.start_s) for h in expected]
            assert [h.score for h in hits] == [h.score for h in expected]


@pytest.mark.parametrize("plan", ["as is", "codes", "lists"])
@pytest.mark.parametrize("kind", ["none", "segments, updated", "all at once"])
def test_a_window_finds_itself_and_its_equals_first(kinds, monkeypatch, kind, plan):
    """Equal vectors have equal scores and stand in the order of recording and start, in whatever segment they lie."""
    kit.plans(monkeypatch, plan)
    with Archive(kinds(kind)) as archive:
        index, twin = open_index(archive), kit.Twin(archive)
        lengths = np.linalg.norm(twin.vectors, axis=1)
        _, equal, counts = np.unique(twin.vectors, axis=0, return_inverse=True, return_counts=True)
        doubled = [p for p in range(len(lengths)) if counts[equal[p]] > 1 and lengths[p] > 0][:8]
        for place in [*range(0, len(lengths), 151), *doubled]:
            if lengths[place] > 0:
                query = SearchQuery(twin.vectors[place], 5)
                answer = index.search(query)
                same = [twin.ids[p] for p in np.flatnonzero(equal == equal[place])]
                assert kit.found_ids(answer)[: len(same)] == sorted(same)[:5]
                assert answer.hits[0].score == 1.0
        assert len(doubled) > 4


def test_a_hit_says_where_its_vector_is(kinds):
    """Part and row lead to the vector that was compared, also of what came after the build."""
    with Archive(kinds("all at once")) as archive:
        answer = open_index(archive).search(SearchQuery(kit.queries(1)[0], 300))
        table = kit.pa.table(
            {
                "part_id": [h.part_id for h in answer.hits],
                "part_row": kit.pa.array([h.part_row for h in answer.hits], kit.pa.int32()),
            }
        )
        vectors = archive.vectors_of(table)
        twin = kit.Twin(archive)
        assert len({h.part_id for h in answer.hits}) > 3
        for hit, vector in zip(answer.hits, vectors, strict=True):
            assert (vector == twin.vectors[twin.place[hit.recording_id, hit.start_sample]]).all()


def test_the_same_again_and_by_two_ways_of_opening(kinds):
    with Archive(kinds("segments, updated")) as archive:
        query = SearchQuery(kit.queries(3), 30, SearchFilter(sites=("Fen",)))
        first = open_index(archive).search(query)
        assert open_index(archive).search(query).hits == first.hits
        assert archive.search(query.vectors, 30, query.where).hits == first.hits
        assert open_index(archive, ignore=True).search(query).hits == first.hits


@pytest.mark.parametrize("dim", [16, 17, 64, 1536])
@pytest.mark.parametrize("distinct", [1.0, 0.5, 1e-6])
def test_equal_vectors_are_near_duplicates_whatever_is_asked_for(tmp_path, dim, distinct):
    """Of ten vectors three times each, once at another length, ten are left; rounding does not decide."""
    vectors = np.random.default_rng(dim).standard_normal((10, dim)).astype(np.float16).astype(np.float32)
    items = {f"A/{n}-0.wav": np.concatenate([vectors, vectors * 2]) if n else vectors for n in range(2)}
    items["A/3-0.wav"] = np.zeros((3, dim), np.float32)
    root, _ = kit.new_store(tmp_path, [items], kit.config_of(dim))
    with Archive(root) as archive:
        query = SearchQuery(vectors[0], 40, distinct=distinct)
        answer = open_index(archive).search(query)
        kit.check(answer, query, kit.Twin(archive))
        silent = sum(h.path == "A/3-0.wav" for h in answer.hits)
        assert silent == 3, "silent windows are like nothing"
        assert len(answer.hits) - silent == 10 if distinct == 1.0 else len(answer.hits) - silent <= 10
