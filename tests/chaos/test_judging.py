"""The judge of the kill sweep sees every fault it is there for; its plans are the same everywhere and leave nothing out."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks.envelope import read
from cluster.job import JobFolder
from tests.chaos.deeds import KINDS, deeds_of
from tests.chaos.judging import Clean, judge
from tests.chaos.results import PAGE, RESULT, put, result_of, table, told
from tests.chaos.stage import make_recordings
from tests.cluster.support import run

PARTS = 24


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Clean]:
    folder = tmp_path_factory.mktemp("judging")
    run(make_recordings(folder / "recordings"), folder / "store")
    return folder / "store", Clean.of(folder / "store")


@pytest.fixture
def store(made: tuple[Path, Clean], tmp_path: Path) -> Path:
    return Path(shutil.copytree(made[0], tmp_path / "store"))


def first_part(store: Path) -> Path:
    return min(store.joinpath("embeddings").rglob("*.parquet"))


def test_a_store_is_as_itself(made: tuple[Path, Clean], store: Path) -> None:
    clean = made[1]
    assert clean.parts == PARTS
    assert sorted(Counter(status for _, status in clean.statuses.values()).items()) == [
        ("empty", 1),
        ("ok", 48),
        ("too_short", 1),
        ("truncated", 1),
    ]
    found = judge(store, clean)
    assert found.faults == []
    assert (found.rows, found.lost, found.doubled, found.files) == (
        clean.windows.total() + clean.predictions.total(),
        0,
        0,
        2 * PARTS,
    )


def test_a_part_that_is_lost_is_seen(made: tuple[Path, Clean], store: Path) -> None:
    part = first_part(store)
    part.unlink()
    found = judge(store, made[1])
    assert found.lost > 0
    assert found.different == 1
    assert any(str(part.relative_to(store)) in fault and "missing" in fault for fault in found.faults)
    assert any(fault.startswith("verify") for fault in found.faults)


def test_other_bytes_are_seen(made: tuple[Path, Clean], store: Path) -> None:
    part = first_part(store)
    content = bytearray(part.read_bytes())
    content[len(content) // 3] ^= 1
    part.write_bytes(content)
    found = judge(store, made[1])
    assert found.different == 1
    assert any("of other bytes" in fault for fault in found.faults)


def test_a_part_too_many_is_seen(made: tuple[Path, Clean], store: Path) -> None:
    part = first_part(store)
    shutil.copy(part, part.with_name(f"part-{'0' * 32}.parquet"))
    found = judge(store, made[1])
    assert any("too many" in fault for fault in found.faults)


@pytest.mark.parametrize("how", ["a line twice", "a line less", "another status"])
def test_a_report_that_does_not_add_up_is_seen(made: tuple[Path, Clean], store: Path, how: str) -> None:
    report = JobFolder(str(store), 1).file("report.jsonl")
    lines = report.read_text(encoding="utf-8").splitlines(keepends=True)
    changed = {
        "a line twice": [*lines, lines[0]],
        "a line less": lines[1:],
        "another status": [*lines[:-1], json.dumps({**json.loads(lines[-1]), "status": "silent"}) + "\n"],
    }[how]
    report.write_text("".join(changed), encoding="utf-8")
    assert any(fault.startswith("job 1") for fault in judge(store, made[1]).faults)


def test_a_run_that_is_not_through_is_seen(made: tuple[Path, Clean], store: Path) -> None:
    job = JobFolder(str(store), 1)
    job.write_json("heartbeat.json", {**job.read_json("heartbeat.json"), "state": "stopped"})
    assert any("is the last and stopped" in fault for fault in judge(store, made[1]).faults)


def test_plans_are_the_same_for_a_seed_and_leave_no_kind_out() -> None:
    assert [deeds_of(seed, PARTS) for seed in range(50)] == [deeds_of(seed, PARTS) for seed in range(50)]
    assert {deeds_of(seed, PARTS)[0].kind for seed in range(len(KINDS))} == set(KINDS)
    plans = [deeds_of(seed, PARTS) for seed in range(500)]
    assert len({tuple(plan) for plan in plans}) > 490
    for plan in plans:
        moments = [deed.committed for deed in plan]
        assert moments == sorted(moments)
        assert all(m <= PARTS - 3 for m in moments[:-1])
        assert all(deed.kind.what != "freeze_long" for deed in plan[1:])
    assert any(plan[-1].committed == PARTS for plan in plans), "none hits a run that closes"


def some_rows(verdict: str = "the same") -> list[dict[str, Any]]:
    zero = dict.fromkeys(("rows", "lost", "doubled", "files", "different", "twice", "missed"), 1)
    again = {"coordinator": 1, "scheduler": 0, "nodes": 2}
    return [
        {"seed": seed, "verdict": verdict, "restarts": again, **zero}
        | {"deeds": [{**deed.to_json(), "at_committed": 3, "job": 1} for deed in deeds_of(seed, PARTS)]}
        for seed in range(len(KINDS))
    ]


def test_results_count_what_was_done() -> None:
    good, bad = result_of(some_rows(), 0), result_of(some_rows("not the same"), 0)
    assert (good["same"], bad["same"], good["sums"]["rows"]) == (len(KINDS), 0, len(KINDS))
    assert good["restarts"] == {"coordinator": len(KINDS), "scheduler": 0, "nodes": 2 * len(KINDS)}
    assert all(found["times"] >= found["seeds"] == found["same"] >= 1 for found in good["by_kind"].values())
    assert all(found["same"] == 0 for found in bad["by_kind"].values())
    text = table(good)
    assert all(f"| {kind} |" in text for kind in KINDS)


def test_the_table_replaces_the_one_before_and_nothing_else() -> None:
    page = "# Before\n\n<!-- kill sweep: begin -->\nold\n<!-- kill sweep: end -->\n\n## After\n"
    again = put(page, "new")
    assert again == page.replace("old", "new")
    assert told(again) == "new"


def test_the_page_tells_what_the_results_say() -> None:
    page = PAGE.read_text(encoding="utf-8")
    if RESULT.exists():
        assert told(page) == table(read(RESULT)), "run `make chaos`"
    else:
        assert told(page) == ""
