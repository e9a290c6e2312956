"""Histograms of scores against a twin that scores every window by itself; pages of hits against the whole list."""

from __future__ import annotations

import numpy as np
import pytest

from search_api.annotations import add_annotation
from search_api.probes import score_histogram as module
from search_api.probes.applying import ApplyOptions, apply_stored
from search_api.probes.hit_pages import hit_page
from search_api.probes.hits import HitOptions, find_hits
from search_api.probes.score_histogram import score_histogram
from search_api.probes.stored import load_probe
from sonotheque.core.errors import Invalid, NotFound
from sonotheque.core.filters import SearchFilter
from store import open_archive
from tests.search import probe_kit

SITE = SearchFilter(sites=("Fen",))


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> str:
    """120 windows, a probe of two classes that is rather good, and judgements that know the truth of 20 of them."""
    root = probe_kit.make_store(tmp_path_factory.mktemp("spread") / "store")
    probe_kit.train(root, 0.9)
    with open_archive(root) as archive:
        rows = archive.sql("SELECT path, start_s, end_s FROM windows ORDER BY path, start_sample").to_pylist()
    number = dict.fromkeys(probe_kit.PATHS, 0)
    for n, row in enumerate(rows):
        i = number[row["path"]]
        number[row["path"]] += 1
        if n % 6 == 0:
            heard = probe_kit.truth(row["path"])[i, probe_kit.CLASSES.index("owl")]
            judgement = "positive" if heard else "negative"
            add_annotation(root, row["path"], row["start_s"], row["end_s"], "owl", judgement=judgement, annotator="Ana")
    return root


@pytest.fixture(scope="module")
def applied(root, tmp_path_factory) -> str:
    import shutil

    copy = str(tmp_path_factory.mktemp("applied") / "store")
    shutil.copytree(root, copy)
    with open_archive(copy) as archive:
        apply_stored(archive, ["owl"], ApplyOptions(floor=0.2))
    return copy


def twin(root: str, bins: int, where: SearchFilter, floor: float) -> dict:
    """Every window by itself, in plain Python."""
    with open_archive(root) as archive:
        probe = load_probe(root, "owl")
        query, parameters = archive.select(where)
        rows = archive.sql(f"{query} ORDER BY w.path, w.start_sample", parameters)
        vectors = archive.vectors_of(rows)
        judged = archive.sql("SELECT recording_id, start_s, judgement FROM annotations").to_pylist()
    scores = probe.probabilities(probe.logits(vectors))[:, probe.classes.index("owl")]
    said = {(j["recording_id"], j["start_s"]): j["judgement"] for j in judged}
    found = {name: [0] * bins for name in ("counts", "positive", "negative")} | dict.fromkeys(
        ("below", "positive_below", "negative_below"), 0
    )
    for row, score in zip(rows.to_pylist(), scores.tolist(), strict=True):
        judgement = said.get((row["recording_id"], row["start_s"]))
        if score < floor:
            found["below"] += 1
            if judgement:
                found[f"{judgement}_below"] += 1
            continue
        place = min(int(score * bins), bins - 1)
        found["counts"][place] += 1
        if judgement:
            found[judgement][place] += 1
    return found


@pytest.mark.parametrize("bins", [1, 50])
@pytest.mark.parametrize("where", [SearchFilter(), SITE], ids=["all", "site"])
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "computed"])
def test_as_the_twin_counts(root, applied, bins, where, kept) -> None:
    store = applied if kept else root
    with open_archive(store) as archive:
        found = score_histogram(archive, load_probe(store, "owl"), "owl", where, bins=bins)
    floor = float(np.float32(0.2)) if kept else 0.0
    told = found.to_json()
    assert {k: told[k] for k in twin(store, bins, where, floor)} == twin(store, bins, where, floor)
    assert found.floor == pytest.approx(floor) and found.source == ("scores" if kept else "vectors")
    assert sum(found.counts) + found.below == found.scored == found.windows == (120 if where.is_empty else 60)
    assert len(found.edges) == bins + 1 and found.edges[0] == 0.0 and found.edges[-1] == 1.0
    assert sum(found.positive) + sum(found.negative) > 0
    assert found.threshold == pytest.approx(0.5)
    assert bool(found.notes) is not kept


def test_of_a_large_archive_a_sample_of_whole_parts(root, monkeypatch) -> None:
    monkeypatch.setattr(module, "SAMPLE", 30)
    with open_archive(root) as archive:
        probe = load_probe(root, "owl")
        found = score_histogram(archive, probe, "owl")
        again = score_histogram(archive, probe, "owl")
    assert found == again, "the same sample each time"
    assert 30 <= found.scored <= 60 < found.windows == 120
    assert sum(found.counts) == found.scored
    assert sum(found.positive) + sum(found.negative) == 20, "judged windows are all shown"
    assert "drawn at random" in found.notes[0]


def test_what_is_no_class_or_no_number(root) -> None:
    with open_archive(root) as archive:
        probe = load_probe(root, "owl")
        with pytest.raises(Invalid, match="did you mean owl"):
            score_histogram(archive, probe, "owls")
        with pytest.raises(Invalid, match="fox, owl"):
            score_histogram(archive, probe)
        for bins in (0, -1, 501):
            with pytest.raises(Invalid, match="bins"):
                score_histogram(archive, probe, "owl", bins=bins)


def pages(archive, probe, options: HitOptions, limit: int) -> list[dict]:
    rows, cursor = [], None
    while True:
        page = hit_page(archive, probe, options, limit=limit, cursor=cursor)
        assert len(page.rows) <= limit
        rows += page.rows
        cursor = page.next
        if cursor is None:
            return rows


@pytest.mark.parametrize("limit", [4, 500])
@pytest.mark.parametrize(
    "options",
    [
        HitOptions(),
        HitOptions(label="owl", threshold=0.3),
        HitOptions(threshold=0.2, where=SITE),
        HitOptions(threshold=0.2, best_per="recording"),
        HitOptions(threshold=0.2, best_per="site"),
        HitOptions(threshold=1.0),
    ],
    ids=["own", "label", "site", "best recording", "best site", "none"],
)
def test_pages_of_hits_are_the_whole_list(applied, options, limit) -> None:
    with open_archive(applied) as archive:
        probe = load_probe(applied, "owl")
        whole = find_hits(archive, probe, options).table.to_pylist()
        found = pages(archive, probe, options, limit)
    assert [(r["path"], r["start_s"], r["label"], np.float32(r["score"])) for r in found] == [
        (r["path"], r["start_s"], r["label"], np.float32(r["score"])) for r in whole
    ]
    assert all(r["window_id"] == f"{w['recording_id']}:{w['start_sample']}" for r, w in zip(found, whole, strict=True))
    judged = {r["window_id"] for r in found if r["annotations"]}
    assert not found or len(found) < 5 or judged, "the judgements on them are told"


def test_cursors_of_another_question_are_refused(applied, root) -> None:
    with open_archive(applied) as archive:
        probe = load_probe(applied, "owl")
        cursor = hit_page(archive, probe, HitOptions(threshold=0.2), limit=2).next
        assert cursor
        for other in (
            HitOptions(threshold=0.3),
            HitOptions(threshold=0.2, label="owl"),
            HitOptions(threshold=0.2, where=SITE),
        ):
            with pytest.raises(Invalid, match="cursor"):
                hit_page(archive, probe, other, limit=2, cursor=cursor)
        with pytest.raises(Invalid, match="--floor"):
            hit_page(archive, probe, HitOptions(threshold=0.1), limit=2)
    with open_archive(root) as archive, pytest.raises(NotFound, match="not applied"):
        hit_page(archive, load_probe(root, "owl"), HitOptions(), limit=2)
