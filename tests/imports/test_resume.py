"""Killed at any moment and run again, an import is the one that nobody disturbed: byte for byte."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.perch_folder import run as run_script
from cluster.status import verify_store
from store.annotations import AnnotationLog
from tests.imports.support import DIM, TOP, WINDOW_S, data_tree, do

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden" / "hoplite"


def start(kind: str, source: Path, store: Path, model: str, nth: int, when: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.imports.dying", kind, str(source), str(store), model, str(nth), when]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=120)
    assert process.returncode in (0, -signal.SIGKILL), err
    return out


@pytest.fixture(scope="module")
def many_parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sites on three days: six parts of two recordings, some rows twice."""
    folder = tmp_path_factory.mktemp("many") / "output"
    for site in ("A4", "B1"):
        files = {f"/data/2025/{site}/202505{10 + i // 2}_0{i % 2}0000.WAV": 10.0 for i in range(6)}
        settings = {"interval": 2, "dim": DIM, "window_s": WINDOW_S, "top": TOP}
        run_script(folder / site, files, kill_after=1, **settings)
        run_script(folder / site, files, **settings)
    return folder


@pytest.fixture(scope="module")
def undisturbed(many_parts: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    store = tmp_path_factory.mktemp("undisturbed") / "store"
    report = do(many_parts, store)
    assert (report.parts, report.windows) == (6, 60)
    return data_tree(store)


def test_killed_at_one_operation_after_another(many_parts: Path, undisturbed: dict[str, str], tmp_path: Path) -> None:
    """One store, a new process each time; each gets a little further than the one before."""
    store = tmp_path / "store"
    kills = 0
    for nth, when in (
        (9, "after"),
        (21, "before"),
        (34, "after"),
        (28, "before"),
        (47, "after"),
        (60, "before"),
        (83, "after"),
    ):
        process = start("perch-cpu-inference", many_parts, store, "placeholder", nth, when)
        ended(process)
        kills += process.returncode == -signal.SIGKILL
        committed = data_tree(store)
        assert committed.items() <= undisturbed.items()
    assert kills >= 4, "it was killed on its way, not after its end"
    report = do(many_parts, store)
    assert data_tree(store) == undisturbed
    assert report.new + report.settled == 12
    assert (report.windows, report.duplicates) == (60, {"identical": 6, "differing": 0})
    found = verify_store(str(store), deep=True)
    assert (found.ok, found.windows, found.duplicate_windows, found.unused_files) == (True, 60, 0, [])
    assert not list((store / "_tmp").iterdir()), "what the dead left is swept away"


def test_killed_at_any_time(many_parts: Path, undisturbed: dict[str, str], tmp_path: Path) -> None:
    store = tmp_path / "store"
    rng = random.Random(7)
    for _ in range(2):
        process = start("perch-cpu-inference", many_parts, store, "placeholder", 0, "-")
        time.sleep(rng.uniform(0.8, 1.6))
        process.kill()
        process.communicate()
    do(many_parts, store)
    assert data_tree(store) == undisturbed
    assert verify_store(str(store), deep=True).ok


def test_annotations_are_neither_lost_nor_doubled(tmp_path: Path) -> None:
    store = tmp_path / "store"
    do(GOLDEN, tmp_path / "clean", kind="hoplite")
    killed = 0
    for nth in (90, 60):
        process = start("hoplite", GOLDEN, store, "-", nth, "after")
        ended(process)
        killed += process.returncode == -signal.SIGKILL
    assert killed
    report = do(GOLDEN, store, kind="hoplite")
    assert sum(report.annotations.values()) == 4
    assert AnnotationLog(str(store)).current().num_rows == 4
    assert data_tree(store) == data_tree(tmp_path / "clean")
