"""The plan of a season, smaller: the listing is one, and a store that is made is settled."""

from __future__ import annotations

from pathlib import Path

from benchmarks import planning
from benchmarks.planning_listing import PER_DAY, SITES, instead_of_a_disk, listing
from benchmarks.planning_store import make_store
from cluster.run import prepare
from tests.cluster.support import options, run


def test_a_listing_is_a_season(tmp_path: Path) -> None:
    found = list(listing("/season", 2 * SITES * PER_DAY + 7))
    assert len({f.path for f in found}) == len(found) == 2 * SITES * PER_DAY + 7
    assert [f.path for f in found] == sorted(f.path for f in found)
    with instead_of_a_disk(6000):
        plan = prepare(options(tmp_path, tmp_path / "store")).plan
    assert (plan.files, plan.new, plan.without_time, plan.without_utc) == (6000, 6000, 0, 0)
    assert plan.sites == {f"S{site:02d}": 120 for site in range(SITES)}
    assert plan.audio_s == 6000 * 65.0


def test_a_store_that_was_made_has_it_all(tmp_path: Path) -> None:
    given = options(tmp_path / "recordings", tmp_path / "store")
    (tmp_path / "recordings").mkdir()
    with instead_of_a_disk(200):
        told = make_store(given)
        assert (told["files"], told["parts"]) == (200, SITES)
        report = run(given.sources[0], given.store)
    assert (report.files, report.skipped, report.parts, report.state) == (200, 200, 0, "finished")


def test_real_files_are_read(tmp_path: Path) -> None:
    planning.write_files(tmp_path / "real", 120)
    plan = prepare(options(tmp_path / "real", tmp_path / "store")).plan
    assert (plan.files, plan.new, len(plan.sites)) == (120, 120, SITES)
    assert 5.0 < plan.audio_s < 5.5


def test_the_result_in_words() -> None:
    step = {"wall_s": 1.0, "cpu_s": 2.0, "peak_rss_mb": 300.0}
    one = {"files": 10, "steps": {"planned": step, "first task": step}, "rss_mb_at_start": 100.0}
    result = {
        "data": "files",
        "asked": {"wall_s": 60.0, "peak_rss_mb": 1000.0},
        "machine": {"load_before": [0.5], "cores": 2},
        **dict.fromkeys(("fresh", "settled", "real"), one),
    }
    assert "| 10, all settled | first task | 1.0 | 2.0 | 300 |" in planning.text(result)
    assert planning.headline(result).startswith("a plan of 10 files: 2 s of CPU and 300 MB")
