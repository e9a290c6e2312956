"""The poison-file rule: the file that kills, freezes or bloats a process is named, and the rest of its part is committed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

import cluster.guard
import cluster.run
from cluster.guard import GuardLimits, run_guarded
from cluster.payload import ModelChoice, TaskPayload
from cluster.plan import pack
from cluster.run import prepare
from cluster.task import PartTask
from embedder.models import load_model
from sonotheque.core.errors import Conflict, Unavailable
from sonotheque.core.outcome import TaskOutcome
from store import PartWriter, create_config
from tests.cluster.poison import write_poison
from tests.cluster.support import (
    living,
    make_archive,
    options,
    part_files,
    run,
    uninstalled_python,
    wait_for,
    write_wav,
)

MakePayload = Callable[[Path], TaskPayload]


@pytest.fixture
def make_payload(tmp_path: Path) -> MakePayload:
    def make(archive: Path) -> TaskPayload:
        prepared = prepare(options(archive, tmp_path / "store"))
        config = prepared.settled.config_for(load_model("placeholder").spec)
        store = str(tmp_path / "store")
        create_config(store, config)
        (tmp_path / "progress").mkdir(exist_ok=True)
        part, *others = pack(prepared.inventory.new, config.digest, 1e9)
        assert not others
        return TaskPayload(
            store, config, part, str(archive), "", ModelChoice("placeholder"), str(tmp_path / "progress")
        )

    return make


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return make_archive(tmp_path / "archive", sites=1, days=1, files=3)


def statuses(outcome: TaskOutcome) -> dict[str, tuple[str, int]]:
    return {e["path"].rpartition("/")[2]: (e["status"], e["windows"]) for e in outcome.files}


GOOD = {f"20240501_0{h}0000.wav": ("ok", 2) for h in (4, 5, 6)}


def test_without_poison_it_is_the_plain_run(archive: Path, make_payload: MakePayload, tmp_path: Path) -> None:
    outcome = run_guarded(make_payload(archive))
    assert outcome.committed
    assert statuses(outcome) == GOOD
    run(archive, tmp_path / "plain")
    assert part_files(tmp_path / "store") == part_files(tmp_path / "plain")


def test_it_starts_from_a_checkout_that_is_not_installed(
    archive: Path, make_payload: MakePayload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python, libraries = uninstalled_python(tmp_path)
    monkeypatch.setattr(sys, "executable", python)
    monkeypatch.setenv("PYTHONPATH", libraries)
    monkeypatch.chdir(tmp_path)
    assert statuses(run_guarded(make_payload(archive))) == GOOD


@pytest.mark.parametrize(
    ("action", "status", "words"),
    [
        ("kill", "decoder_crash", "SIGKILL"),
        ("type_error", "model_error", "a bug in the model"),
        ("exit", "model_error", "exit code 3"),
    ],
)
def test_poison_is_named_and_the_rest_committed(
    archive: Path, make_payload: MakePayload, poison: Path, action: str, status: str, words: str
) -> None:
    write_poison(archive / "site0" / "20240501_050001.wav", action)
    outcome = run_guarded(make_payload(archive))
    assert statuses(outcome) == {**GOOD, "20240501_050001.wav": (status, 0)}
    assert words in next(e["reason"] for e in outcome.files if e["status"] == status)


def test_several_poisons_in_one_part(archive: Path, make_payload: MakePayload, poison: Path) -> None:
    for number, action in enumerate(["kill", "exit"]):
        write_poison(archive / "site0" / f"20240501_05000{number + 1}.wav", action, seed=number)
    found = statuses(run_guarded(make_payload(archive)))
    assert found == {**GOOD, "20240501_050001.wav": ("decoder_crash", 0), "20240501_050002.wav": ("model_error", 0)}


@pytest.mark.parametrize("kind", ["model", "decoder"])
def test_a_frozen_file_runs_out_of_time(archive: Path, make_payload: MakePayload, poison: Path, kind: str) -> None:
    if kind == "model":
        write_poison(archive / "site0" / "20240501_050001.wav", "hang")
    else:
        write_wav(archive / "site0" / "stuck_20240501_050001.wav")
    found = statuses(run_guarded(make_payload(archive), GuardLimits(stall_s=4.0)))
    assert sorted(found.values()) == [("ok", 2), ("ok", 2), ("ok", 2), ("timeout", 0)]


def test_a_long_file_that_makes_progress_is_not_frozen(
    tmp_path: Path, make_payload: MakePayload, poison: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twelve slow batches: longer in all than the time without progress."""
    write_wav(tmp_path / "archive" / "20240501_040000.wav", 2.0 * 16 * 12)
    payload = make_payload(tmp_path / "archive")
    monkeypatch.setenv("SLOW_MODEL_S", "0.4")
    found = statuses(run_guarded(payload, GuardLimits(stall_s=3.5)))
    assert found == {"20240501_040000.wav": ("ok", 192)}


def test_a_file_that_takes_all_memory(archive: Path, make_payload: MakePayload, poison: Path) -> None:
    write_poison(archive / "site0" / "20240501_050001.wav", "memory")
    outcome = run_guarded(make_payload(archive), GuardLimits(stall_s=60.0, memory_bytes=700 << 20))
    assert statuses(outcome)["20240501_050001.wav"] == ("decoder_crash", 0)
    assert "MB of memory" in next(e["reason"] for e in outcome.files if e["status"] == "decoder_crash")


def test_an_error_of_the_tree_comes_through_as_itself(archive: Path, make_payload: MakePayload) -> None:
    payload = make_payload(archive)
    spec = replace(payload.config.model, weights_digest="other")
    with pytest.raises(Conflict) as caught:
        run_guarded(replace(payload, config=replace(payload.config, model=spec)))
    assert caught.value.kind == "model_conflict"


def test_a_process_that_dies_before_any_file_blames_none(
    archive: Path, make_payload: MakePayload, poison: Path
) -> None:
    (poison / "sitecustomize.py").write_text("import os, sys\nif 'cluster.guard' in sys.orig_argv: os._exit(9)\n")
    with pytest.raises(Unavailable, match="without any of its files being at fault"):
        run_guarded(make_payload(archive))
    assert not list((Path(make_payload(archive).store) / "embeddings").rglob("*.parquet"))


def test_the_process_does_not_outlive_its_watcher(
    archive: Path, make_payload: MakePayload, poison: Path, tmp_path: Path
) -> None:
    """The watcher is killed while the process hangs in a file."""
    write_poison(archive / "site0" / "20240501_050001.wav", "hang")
    (tmp_path / "payload.json").write_text(json.dumps(make_payload(archive).to_json()))
    code = (
        "import json, sys\nfrom cluster.guard import run_guarded\nfrom cluster.payload import TaskPayload\n"
        "run_guarded(TaskPayload.from_json(json.load(open(sys.argv[1]))))\n"
    )
    watcher = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "payload.json")], cwd=Path(__file__).parents[2]
    )
    try:
        child: psutil.Process = wait_for(
            lambda: next(iter(psutil.Process(watcher.pid).children()), None), "the process"
        )
        time.sleep(2)  # it is in the file that hangs, or on its way there: it has to end either way
        assert living([child])
    finally:
        os.kill(watcher.pid, signal.SIGKILL)
        watcher.wait()
    wait_for(lambda: not living([child]), "its end")


def test_while_a_part_is_written_no_file_is_to_blame(
    archive: Path, make_payload: MakePayload, monkeypatch: pytest.MonkeyPatch
) -> None:
    payload = make_payload(archive)
    opened: list[str] = []
    before: list[tuple[list[str], bool]] = []
    commit = PartWriter.commit

    def noting(writer: PartWriter, entries: Any) -> Any:
        before.append((list(opened), payload.progress_file.exists()))
        return commit(writer, entries)

    monkeypatch.setattr(PartWriter, "commit", noting)
    PartTask(payload, load_model("placeholder"), one_by_one=True, on_file=opened.append).run()
    names = [recording.source.path for recording in payload.part.recordings]
    assert before == [([*names, ""], True)]


def test_the_default_limits_are_the_payloads(
    archive: Path, make_payload: MakePayload, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[GuardLimits] = []

    def watch(folder: Path, limits: GuardLimits, progress: Path) -> tuple[str, str]:
        seen.append(limits)
        return "timeout", "x"

    monkeypatch.setattr(cluster.guard, "_watch", watch)
    with pytest.raises(Unavailable):
        run_guarded(replace(make_payload(archive), stall_s=12.5))
    assert seen == [GuardLimits(12.5)]
