"""Several processes at once, and processes that are killed: no annotation is lost, and none is there in part."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from store.annotations import AnnotationLog
from tests.annotations.support import judged, log_in
from tests.cluster.support import cli_env

WRITER = """
import sys
from store.annotations import Annotation, AnnotationLog
root, name, batches, rows = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
log = AnnotationLog(root)
print("ready", flush=True)
sys.stdin.readline()
for batch in range(batches):
    made = [Annotation(7, "a.wav", batch * 10 + i * 1e-3, batch * 10 + i * 1e-3 + 5, name) for i in range(rows)]
    assert log.add(made, annotator=name, provenance="x").added == rows
    print(batch, flush=True)
"""


def start(root: str, name: str, batches: int, rows: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, root, name, str(batches), str(rows)],
        env=cli_env(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def let_go(*writers: subprocess.Popen[str]) -> None:
    for writer in writers:
        assert writer.stdout and writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin
        writer.stdin.write("go\n")
        writer.stdin.flush()


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    """They also race for making the database: it is not there when they begin."""
    log = log_in(tmp_path)
    names = ("Ana", "Ben", "Cem")
    writers = [start(log.root, name, 15, 4) for name in names]
    let_go(*writers)
    seen = 0
    while any(writer.poll() is None for writer in writers):
        count = log.current().num_rows
        assert count % 4 == 0, "a batch is there whole or not at all"
        assert count >= seen
        seen = count
    for writer in writers:
        assert writer.wait() == 0, writer.communicate()[1]
    table = log.current()
    assert table.num_rows == 3 * 15 * 4
    assert {n: table["annotator"].to_pylist().count(n) for n in names} == dict.fromkeys(names, 60)
    events = log.events()
    assert sorted(set(events["batch_id"].to_pylist())) == list(range(1, 46))
    assert all(len({e["by"] for e in events.to_pylist() if e["batch_id"] == b}) == 1 for b in range(1, 46))
    for writer in writers:
        writer.communicate()


@pytest.mark.parametrize("delay_s", [0.0, 0.02, 0.05, 0.1, 0.2, 0.4])
def test_a_killed_import_is_there_whole_or_not_at_all(tmp_path: Path, delay_s: float) -> None:
    log = log_in(tmp_path)
    log.add([judged()], annotator="Ana", provenance="x")
    writer = start(log.root, "Ben", 50, 4_000)
    let_go(writer)
    time.sleep(delay_s)
    os.kill(writer.pid, signal.SIGKILL)
    done, _ = writer.communicate()
    told = len(done.split())
    table = log.current()
    rows = table.num_rows - 1
    assert rows % 4_000 == 0
    assert told <= rows // 4_000 <= told + 1, (
        "what was acknowledged is there; at most one batch more was committed and not yet told"
    )
    assert log.add([judged(30, 31)], annotator="Ana", provenance="x").batch == rows // 4_000 + 2
    assert [p.name for p in Path(log.root).glob("annotations*")] == ["annotations.sqlite"]


def test_a_process_that_dies_within_its_transaction_leaves_nothing(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.add([judged()], annotator="Ana", provenance="x")
    before = log.events()
    code = (
        "import os, sys\nfrom store.annotations.database import writing\n"
        "with writing(sys.argv[1]) as db:\n"
        "    db.executemany(\"INSERT INTO batches VALUES (?, 'add', 'x', NULL, 0)\", [(i,) for i in range(2, 90_000)])\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, log.root], env=cli_env(), timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert AnnotationLog(log.root).events().equals(before)
    assert log.add([judged(5, 6)], annotator="Ana", provenance="x").batch == 2


def test_an_import_that_is_killed_can_be_run_again(store: str, tmp_path: Path) -> None:
    """The command itself, killed at any moment: the second run adds what is missing, which is all or nothing."""
    import json

    from tests.cluster.support import cli, start_cli

    header = "recording,start_offset_s,end_offset_s,label,label_type\n"
    path = "site0/20240501_040000.wav"
    table = tmp_path / "x.csv"
    table.write_text(
        header + "".join(f"{path},{i * 1e-4:.4f},{i * 1e-4 + 1:.4f},owl,positive\n" for i in range(20_000))
    )
    outcomes = set()
    for delay_s in (0.3, 1.2):
        running = start_cli("annotate", "import", table, "--store", store, "--annotator", "Ana")
        time.sleep(delay_s)
        running.kill()
        running.communicate()
        outcomes.add(AnnotationLog(store).current().num_rows)
    assert outcomes <= {0, 20_000}
    done = cli("annotate", "import", table, "--store", store, "--annotator", "Ana", "--json")
    found = json.loads(done.stdout)
    assert found["added"] + found["already_there"] == 20_000
    assert AnnotationLog(store).current().num_rows == 20_000
