"""The synthetic store is a real one: it verifies, it is the same every time, and its owls call at night."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.community import CHIFFCHAFF, CLASSES, OWL, TOP_K, Community
from benchmarks.store_maker import (
    FIRST_DAY,
    STARTS,
    WINDOWS_EACH,
    Shape,
    make_store,
    recordings_of,
    site_name,
    store_config,
)
from store import layout, open_archive, read_config, read_snapshot, verify
from tests.store.kit import tree

SMALL = Shape(sites=3, days=2, dim=12, pool=40, per_part=5)
A_DAY = len(STARTS) * WINDOWS_EACH


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_store(tmp_path_factory.mktemp("made"), SMALL, processes=1, quiet=True))


def planned(shape: Shape) -> list[tuple[str, int, int]]:
    return [
        (r.source.path, r.source.size_bytes, r.source.mtime_ns)
        for site in range(shape.sites)
        for day in range(shape.days)
        for r in recordings_of(site, day)
    ]


def bytes_of(root: str) -> dict[str, bytes]:
    """What a store holds, without what may differ between two makings and what follows from the rest."""
    return {name: data for name, data in tree(root).items() if name != "made.txt" and not name.startswith("catalog/")}


def test_it_verifies_against_what_it_should_hold(small: str) -> None:
    report = verify(small, planned(SMALL), deep=True)
    assert report.ok, report
    assert (report.planned, report.committed, report.missing, report.foreign) == (84, 84, 0, 0)
    assert (report.parts, report.windows, report.duplicate_windows) == (6, SMALL.windows, 0)
    assert not report.unused_files


def test_its_snapshot_lists_one_part_a_site_and_day(small: str) -> None:
    snapshot = read_snapshot(small)
    assert snapshot.number == 1
    assert snapshot.live_rows == SMALL.windows == 3 * 2 * A_DAY
    places = {(p.site, p.date) for p in snapshot.parts}
    assert places == {(site_name(s), str(FIRST_DAY + timedelta(days=d))) for s in range(3) for d in range(2)}


def test_its_model_says_that_it_is_synthetic(small: str) -> None:
    config = read_config(small)
    assert config.model.name == "synthetic"
    assert (config.model.dim, config.model.n_classes, config.dtype, config.top_k) == (12, CLASSES, "float16", TOP_K)


def test_two_makings_are_the_same_byte_for_byte(small: str, tmp_path: Path) -> None:
    again = make_store(tmp_path, SMALL, processes=2, quiet=True)
    assert again.name == Path(small).name
    assert bytes_of(str(again)) == bytes_of(small)


def test_a_making_that_was_broken_off_goes_on(small: str, tmp_path: Path) -> None:
    root = tmp_path / SMALL.name
    shutil.copytree(small, root)
    lost = read_snapshot(small).parts[3]
    for name in (lost.embeddings, lost.predictions, layout.snapshot_path(1)):
        (root / str(name)).unlink()
    kept = {name: (root / name).stat().st_mtime_ns for name in tree(str(root)) if name.endswith(".parquet")}
    make_store(tmp_path, SMALL, processes=1, quiet=True)
    assert bytes_of(str(root)) == bytes_of(small)
    assert all((root / name).stat().st_mtime_ns == at for name, at in kept.items()), "what was there is not made again"


def test_one_that_is_there_is_left_alone_unless_asked(small: str, tmp_path: Path) -> None:
    root = tmp_path / SMALL.name
    shutil.copytree(small, root)
    (root / "a mark").write_text("kept")
    make_store(tmp_path, SMALL, processes=1, quiet=True)
    assert (root / "a mark").exists()
    make_store(tmp_path, SMALL, processes=1, quiet=True, rebuild=True)
    assert not (root / "a mark").exists()
    assert bytes_of(str(root)) == bytes_of(small)


def test_another_seed_is_another_store(small: str, tmp_path: Path) -> None:
    other = Shape(sites=1, days=1, dim=12, pool=40, per_part=5, seed=2)
    root = make_store(tmp_path, other, processes=1, quiet=True)
    own, there = (read_snapshot(r).parts[0].sha256 for r in (str(root), small))
    assert own != there


def test_progress_goes_to_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_store(tmp_path, Shape(1, 1, dim=4, pool=4, per_part=2), processes=1)
    told = capsys.readouterr()
    assert told.out == ""
    assert "1 of 1 sites" in told.err


def test_windows_and_predictions_are_complete_and_in_order(small: str) -> None:
    part = read_snapshot(small).parts[0]
    windows = pq.read_table(f"{small}/{part.embeddings}", partitioning=None).to_pandas()
    found = pq.read_table(f"{small}/{part.predictions}", partitioning=None).to_pandas()
    assert len(windows) == A_DAY
    assert len(found) == A_DAY * TOP_K
    assert (windows["valid_s"] == 5.0).all()
    assert windows["path"].is_monotonic_increasing
    assert windows["local_start"].is_monotonic_increasing
    assert (windows.groupby("path").size() == WINDOWS_EACH).all()
    assert found["rank"].tolist() == list(range(1, TOP_K + 1)) * A_DAY
    logit = found["logit"].to_numpy().reshape(-1, TOP_K)
    assert (np.diff(logit, axis=1) <= 0).all()
    np.testing.assert_allclose(found["score"], 1 / (1 + np.exp(-found["logit"].to_numpy("float64"))), rtol=1e-5)
    assert (found.groupby(["recording_id", "start_sample"])["label"].nunique() == TOP_K).all(), "no class twice"


def test_times_are_the_sites_own(small: str) -> None:
    for site in range(SMALL.sites):
        for recording in recordings_of(site, 1):
            time = recording.time
            assert time.local_start is not None
            assert time.utc_start is not None
            assert time.utc_start.astimezone(ZoneInfo(str(time.zone))).replace(tzinfo=None) == time.local_start
            assert recording.source.path.endswith(f"{time.local_start:%Y%m%d_%H%M%S}.WAV")
    assert len({recordings_of(site, 0)[0].time.zone for site in range(10)}) == 5
    with open_archive(small) as archive:
        offsets = archive.sql("SELECT DISTINCT site, utc_offset_min FROM recordings ORDER BY site").to_pylist()
    assert [row["utc_offset_min"] for row in offsets] == [120, 60, 180]


def test_the_archive_opens_and_finds_owls_at_night_and_chiffchaffs_by_day(small: str) -> None:
    with open_archive(small) as archive:
        count = "SELECT hour, count(*)::INTEGER AS n FROM predictions WHERE label = ? GROUP BY hour"
        hours = {x: dict(zip(*archive.sql(count, [x]).to_pydict().values(), strict=True)) for x in (OWL, CHIFFCHAFF)}
        windows = archive.sql("SELECT count(*) AS n FROM windows")["n"][0].as_py()
        suns = archive.sql("SELECT count(*) AS n FROM windows WHERE minutes_since_sunrise IS NULL")["n"][0].as_py()
        coordinates = archive.sql("SELECT count(DISTINCT (latitude, longitude)) AS n FROM sites")["n"][0].as_py()
    assert windows == SMALL.windows
    assert suns == 0
    assert coordinates == SMALL.sites
    by_day, by_night = (6, 7, 9, 12), (0, 2, 22)
    for label, active, quiet in ((OWL, by_night, by_day), (CHIFFCHAFF, by_day, by_night)):
        assert sum(hours[label].get(h, 0) for h in active) > 10 * sum(hours[label].get(h, 0) for h in quiet)


def test_the_community_has_a_long_tail(small: str) -> None:
    with open_archive(small) as archive:
        rows = archive.sql("SELECT label, count(*) AS n FROM predictions GROUP BY label ORDER BY n DESC")[
            "n"
        ].to_pylist()
    assert len(rows) > 0.95 * CLASSES
    assert sum(rows[:60]) > 0.3 * sum(rows)
    assert rows[0] > 30 * rows[-1]


@pytest.mark.parametrize(("per_part", "distinct"), [(5, 5), (A_DAY, A_DAY)])
def test_a_part_draws_its_vectors_from_the_pool(tmp_path: Path, per_part: int, distinct: int) -> None:
    shape = Shape(1, 1, dim=12, pool=2 * A_DAY, per_part=per_part)
    with open_archive(str(make_store(tmp_path, shape, processes=1, quiet=True))) as archive:
        _, vectors = archive.embeddings()
    assert vectors.shape == (A_DAY, 12)
    assert len(np.unique(vectors, axis=0)) == distinct
    assert 0.2 < float(np.linalg.norm(vectors, axis=1).mean()) < 2


def test_five_million_windows_are_fifty_sites_and_sixty_days() -> None:
    shape = Shape.of(5_000_000)
    assert (shape.sites, shape.days, shape.dim) == (50, 60, 1536)
    assert shape.windows == 5_040_000
    assert "5,040,000 windows" in shape.words()
    assert "not those of real embeddings" in shape.words()


@given(st.integers(1, 40_000_000))
def test_a_shape_has_what_was_asked_and_not_much_more(windows: int) -> None:
    shape = Shape.of(windows)
    assert windows <= shape.windows < windows + shape.sites * A_DAY
    assert 1 <= shape.sites <= 50


def test_stores_of_other_shapes_have_other_names() -> None:
    shapes = [
        Shape(2, 3),
        Shape(3, 2),
        Shape(2, 3, dim=8),
        Shape(2, 3, pool=99),
        Shape(2, 3, per_part=9),
        Shape(2, 3, seed=9),
    ]
    assert len({shape.name for shape in shapes}) == len(shapes)
    community = Community.of(1)
    digests = {store_config(shape, community.labels).digest for shape in shapes}
    assert len(digests) == len(shapes), "and their parts cannot be mistaken for each other's"


@given(st.integers(0, 1000), st.integers(1, 6), st.integers(0, 23))
def test_top_classes_are_drawn_without_replacement(seed: int, n: int, hour: int) -> None:
    community = Community.of(1)
    hours, liking = np.full(n, hour), community.likings(1, seed)
    top = community.top(hours, liking, np.random.default_rng(seed))
    assert top.index.shape == top.logit.shape == top.score.shape == (n, TOP_K)
    assert top.index.dtype == np.int32
    assert top.score.dtype == np.float32
    assert all(len(set(row)) == TOP_K for row in top.index.tolist())
    assert (np.diff(top.logit, axis=1) <= 0).all()
    assert np.isfinite(top.logit).all()
    again = community.top(hours, liking, np.random.default_rng(seed))
    assert np.array_equal(top.index, again.index)
