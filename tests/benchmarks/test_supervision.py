"""What looking after costs: a real run is counted apart from its supervisor, and the sums are right."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import supervision


def test_a_supervisor_is_counted_apart_from_its_run(tmp_path: Path) -> None:
    found = supervision.one_run(supervision.write_files(tmp_path / "source", 2), tmp_path / "store")
    assert len(list((tmp_path / "store" / "embeddings").rglob("*.parquet"))) == 2, "a part for ten minutes"
    assert min(found["supervisor_cpu_s"], found["run_cpu_s"], found["wall_s"]) > 0
    assert (tmp_path / "store" / "jobs" / "supervisor.jsonl").exists()


def test_sums_are_medians_and_beats_count() -> None:
    runs = [
        {"wall_s": 10.0, "supervisor_cpu_s": 1.0, "run_cpu_s": 20.0},
        {"wall_s": 30.0, "supervisor_cpu_s": 3.0, "run_cpu_s": 300.0},
        {"wall_s": 20.0, "supervisor_cpu_s": 2.0, "run_cpu_s": 100.0},
    ]
    beat = {"cpu_s": 0.005, "wall_s": 0.01, "every_s": 5.0, "share": 0.001}
    found = supervision.summary(runs, beat)
    assert (found["supervisor_cpu_s"], found["run_cpu_s"], found["wall_s"]) == (2.0, 100.0, 20.0)
    assert found["share_of_run"] == pytest.approx(0.02 + 0.001)
    assert found["share_of_hour"] == pytest.approx(2.0 / 3600 + 0.001, abs=1e-6)
    assert found["least_run_s"] == pytest.approx(2.0 / 0.009, abs=0.1), "what is left of a hundredth beside the beats"
    result = {"runs": runs, "beat": beat, "asked": supervision.ASKED, **found}
    said = supervision.text({**result, "headline": supervision.headline(result)})
    assert "2.00 s of processor time once, to start: 2.10% of a run of 20 s" in said
    assert said.endswith("asked: less than 1%; met by every run of more than 222 s")
