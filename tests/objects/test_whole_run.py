"""The whole chain in buckets by the command line: sound in one, the store in another, a worker process, connections cut in the middle.

``make objects`` writes what it saw to ``docs/objects.log``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.cluster.support import cli, make_archive, run, tell_log, windows
from tests.objects.kit import Fault, StoreServer

_COLUMNS = "path, start_s, embedding::VARCHAR"


def _tell(line: str) -> None:
    tell_log("OBJECTS_LOG", line)


@pytest.mark.slow
def test_a_season_in_buckets_with_connections_cut_in_the_middle(
    store_server: StoreServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SONOTHEQUE_STATE", str(tmp_path / "state"))
    recordings = make_archive(tmp_path / "recordings", sites=3, days=3, files=3, seconds=45.0)
    run(recordings, tmp_path / "folder")
    sound, kept = store_server.bucket("field"), store_server.bucket("kept")
    sound.put_folder(recordings, "season")
    faults = [
        store_server.faults.add(
            Fault("drop_body", "GET", ".wav", skip=3, times=12, after_bytes=300_000)
        ),  # sound breaks off in mid-body
        store_server.faults.add(Fault("reset", "GET", "/field/", skip=20, times=6)),
        store_server.faults.add(Fault("status", "GET", "/field/", skip=40, times=5)),
        store_server.faults.add(Fault("lose_answer", "PUT", "part-", skip=1, times=3)),
        store_server.faults.add(Fault("drop_request", "PUT", "part-", skip=6, times=2, after_bytes=1000)),
    ]
    store = f"{kept.url}/archive"
    asked = ["embed", f"{sound.url}/season", "--store", store, "--model", "placeholder", "--workers", 2, "-q", "--json"]
    done = cli(*asked, env=dict(os.environ), timeout_s=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["done"], found["failed"], found["pending"]) == (27, 0, 0)
    assert all(fault.hits for fault in faults), [(f.kind, f.method, f.hits) for f in faults]
    rows = windows(
        tmp_path / "folder", _COLUMNS
    )  # part ids hold the files' times, which a bucket sets: rows are compared
    assert windows(store, _COLUMNS) == rows and len(rows) == found["windows"]
    hits = ", ".join(f"{f.hits} x {f.kind} of {f.method}" for f in faults)
    store_server.faults.clear()
    again = json.loads(cli(*asked, env=dict(os.environ)).stdout)
    assert (again["files"], again["windows"]) == (27, 0), "nothing is done twice"
    checked = cli("verify", "--store", store, "--deep", "--json", env=dict(os.environ))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    proof = json.loads(checked.stdout)
    assert (proof["missing"], proof["duplicate_windows"], proof["damaged"]) == (0, 0, 0)
    _tell("$ sonotheque embed s3://field/season --store s3://kept/archive --model placeholder --workers 2")
    _tell(f"faults on the way: {hits}")
    _tell(
        f"{found['files']} files: {found['done']} done, {found['failed']} failed, {found['pending']} pending; {found['windows']} windows"
    )
    _tell("$ sonotheque verify --store s3://kept/archive --deep")
    _tell(
        f"ok: planned {proof['planned']}, committed {proof['committed']}, missing {proof['missing']}, duplicate windows "
        f"{proof['duplicate_windows']}, damaged {proof['damaged']}; rows and vectors as from a folder into a folder"
    )
