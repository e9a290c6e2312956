"""A task that was given to another worker while its own was frozen runs twice; at whatever call it froze, one of them commits."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path

import psutil
import pytest

from store import load_ledger, verify, write_snapshot
from tests.cluster.support import wait_for
from tests.store import freezing, kit
from tests.store.faults import FaultyOps


def calls_of_a_commit(folder: Path) -> list[str]:
    root, config = kit.new_store(folder)
    ops = FaultyOps()
    kit.write_part(root, config, [(kit.recording("a.wav"), 3)], ops=ops)
    return ops.calls


@pytest.mark.parametrize("perturb", [0.0, 0.3], ids=["same_bytes", "other_cpu"])
def test_frozen_at_every_call_and_thawed(tmp_path: Path, perturb: float) -> None:
    calls = calls_of_a_commit(tmp_path / "clean")
    assert {"create", "sync_file", "link_new", "sync_dir"} <= set(calls)
    # After one call is before the next; of writes into a temporary file one stands for all.
    moments = [n for n, name in enumerate(calls) if name != "write" or n == calls.index("write")]
    roots = [kit.new_store(tmp_path / str(n))[0] for n in range(len(moments))]
    context = multiprocessing.get_context("spawn")
    turn, results = context.Queue(), context.Queue()
    child = context.Process(target=freezing.run, args=(roots, moments, turn, results))
    child.start()
    won = 0
    try:
        process = psutil.Process(child.pid)
        for root, moment in zip(roots, moments, strict=True):
            turn.put(None)
            wait_for(
                lambda: process.status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE), f"the freeze at {moment}"
            )
            assert process.status() == psutil.STATUS_STOPPED, moment
            ours = kit.write_part(root, kit.store_config(), [(kit.recording("a.wav"), 3)], perturb=perturb)
            process.send_signal(signal.SIGCONT)
            theirs = results.get(timeout=60)
            assert (theirs == "won") is not ours.won, (moment, calls[moment], theirs)
            won += theirs == "won"
            ledger = load_ledger(root)
            assert (len(ledger.parts), ledger.damaged) == (1, {}), moment
            write_snapshot(root, kit.store_config(), ledger)
            found = verify(root, [], deep=True)
            assert (found.ok, found.windows, found.duplicate_windows) == (True, 3, 0), (moment, found)
            assert kit.temporary_files(root) == []
        child.join(60)
    finally:
        if child.is_alive():
            os.kill(child.pid or 0, signal.SIGKILL)
            child.join()
    assert 0 < won < len(moments)  # frozen after its link it had committed, before it it had not
