"""Three hundred parts through a real scheduler, two workers and a coordinator: nothing is left of them in any process.

The whole soak, of ten thousand, is ``make soak``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import soak
from benchmarks.soak_processes import Sample

PARTS = 300


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    return soak.soak(tmp_path_factory.mktemp("soak") / "it", PARTS)


def test_every_part_is_done(seen: dict[str, object]) -> None:
    assert seen["state"] == "finished"
    assert seen["files"] == {"files": PARTS, "done": PARTS, "skipped": 0, "failed": 0, "pending": 0}


def test_nothing_is_left_behind(seen: dict[str, object]) -> None:
    assert seen["temporary_files"] == 0
    assert seen["tasks_left"] == 0


def test_descriptors_do_not_grow(seen: dict[str, dict[str, dict[str, int]]]) -> None:
    first, after = seen["descriptors"]["first"], seen["descriptors"]["after"]
    assert set(after) == {"scheduler", "worker 1", "worker 2"}
    for name, count in after.items():  # a file of a commit or a connection may be open at the moment of the first look
        assert count <= first[name] + 3, name


def test_memory_does_not_grow(seen: dict[str, dict[str, float]]) -> None:
    """150 parts may cost a few pools of memory; a leak of a payload a part would be more than this."""
    assert set(seen["growth_mb"]) == {"coordinator", "scheduler"}
    assert max(seen["growth_mb"].values()) < soak.GROWTH_MB_ASKED


def test_growth_is_counted_from_the_first_parts_to_the_last_but_one() -> None:
    sizes = [(1, 100.0), (600, 110.0), (800, 125.0), (900, 118.0), (1000, 200.0)]
    samples = [Sample(parts, {"coordinator": mb}, {}) for parts, mb in sizes]
    assert soak.growth(samples) == {"coordinator": 15.0}
    assert soak.growth(samples[-1:]) == {"coordinator": 0.0}
    assert [s.parts for s in soak.thinned(samples, 3)] == [1, 800, 1000]


def test_the_result_in_words(seen: dict[str, object]) -> None:
    result = {**seen, "machine": {}, "what": "sonotheque bench soak"}
    words = soak.text(result)
    assert f"{PARTS} parts in" in words
    assert "0 temporary files left" in words
    assert "0 temporary files" in soak.headline(result)


def test_a_hard_link_that_cannot_be_made_is_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(source: object, target: object) -> None:
        raise OSError(31, "Too many links")

    monkeypatch.setattr("os.link", link)
    soak.make_recordings(tmp_path / "recordings", 3)
    assert len(list((tmp_path / "recordings").rglob("*.wav"))) == 3
