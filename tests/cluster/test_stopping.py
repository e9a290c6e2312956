"""Stopping is prompt and loses nothing: what was queued is left for the next run, in the same parts."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile as sf

from cluster.backends import StopAsked, run_part
from cluster.inventory import take_inventory
from cluster.job import latest_job
from cluster.run import Run, embed
from cluster.settle import describer_of, settle_store
from cluster.watcher import Speedometer
from sonotheque.core.errors import NotFound
from sonotheque.core.outcome import TaskOutcome
from tests.cluster.support import make_archive, options, part_files, run


def test_a_queued_task_does_not_begin_once_a_stop_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, store = make_archive(tmp_path / "in", sites=3, days=3, files=1), tmp_path / "store"
    took: list[str] = []
    real = Run._done

    def stop_after_the_second(self: Run, outcome: TaskOutcome) -> None:
        real(self, outcome)
        took.append(outcome.part_id)
        if len(took) == 2:
            latest_job(str(store)).ask_cancel()

    with monkeypatch.context() as patch:
        patch.setattr(Run, "_done", stop_after_the_second)
        report = embed(options(archive, store))
    # Nine parts were planned and six of them were queued at once: two are done, and none of the queued ones began.
    assert (report.state, report.done, report.pending, len(took)) == ("stopped", 2, 7, 2)
    assert report.failed == 0
    again = run(archive, store)
    assert (again.done, again.skipped) == (7, 2)
    clean = tmp_path / "clean"
    run(archive, clean)
    assert part_files(store) == part_files(clean)


def test_run_part_looks_for_the_stop_before_the_model(tmp_path: Path) -> None:
    from tests.cluster.test_coordinator import payload

    job = tmp_path / "7"
    (job / "progress").mkdir(parents=True)
    one = payload("p")
    one = type(one)(
        **{**{name: getattr(one, name) for name in one.__slots__}, "progress_folder": str(job / "progress")}
    )
    with pytest.raises(NotFound):  # no such model: it was asked for
        run_part(one, guarded=False)
    (job / "CANCEL").touch()
    with pytest.raises(StopAsked):
        run_part(one, guarded=False)


def test_the_size_of_parts_does_not_depend_on_what_is_done_already(tmp_path: Path) -> None:
    """A header may promise more than is there: the inventory adds up headers, before a run and after it."""
    archive, store = make_archive(tmp_path / "in"), str(tmp_path / "store")
    cut = archive / "site0" / "20240501_200000.wav"
    sf.write(cut, [0.1] * 160_000, 16_000, subtype="PCM_16")
    cut.write_bytes(cut.read_bytes()[:100_000])

    def inventory_s() -> float:
        asked = options(archive, store)
        settled = settle_store(asked)
        return take_inventory(asked, str(archive), describer_of(asked), settled.ledger).audio_s

    before = inventory_s()
    run(archive, store)
    assert inventory_s() == before


def test_speed_over_the_last_minute() -> None:
    meter = Speedometer(window_s=60.0)
    assert meter.read(0.0, 0.0) is None
    assert meter.read(10.0, 1000.0) == 100.0
    for second in range(20, 80, 10):
        meter.read(float(second), 1000.0 + (second - 10) * 10.0)
    # A minute later the fast start is forgotten.
    assert meter.read(80.0, 1700.0) == pytest.approx(10.0, abs=0.5)


def test_speed_never_runs_backwards() -> None:
    meter = Speedometer()
    meter.read(0.0, 100.0)
    assert meter.read(5.0, 90.0) == 0.0  # a part in flight was begun again
