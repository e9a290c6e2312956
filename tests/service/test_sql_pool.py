"""The pool: newest state, two at once and a queue, deadlines, processes that die, what a query cannot leave behind, and the jail itself."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from cluster.scoring import score_snapshot
from search_api.safe_sql import SqlLimits, SqlPool
from search_api.safe_sql.frames import packed, read_frame
from search_api.safe_sql.process import code_folders
from search_api.safe_sql.sources import Sources
from sonotheque.core.errors import Damaged, Invalid, Limit, NotFound, Refused, Unavailable
from store import Archive, create_config, read_snapshot
from store.annotations import Annotation, AnnotationLog
from tests.scores import kit as scores_kit
from tests.service.sql_kit import Desk, digest, make_store
from tests.store import kit as store_kit

QUICK = SqlLimits(deadline_s=1.0, workers=2, queue=3)
ENDLESS = "SELECT levenshtein(repeat('a', 400000), repeat('b', 400000))"


@pytest.fixture
def root(tmp_path):
    return scores_kit.small(tmp_path)


@pytest.fixture
def desk(root):
    made = Desk(root, QUICK)
    yield made
    made.close()


def count(desk, view="windows"):
    return desk.rows(f"SELECT count(*) FROM {view}")[0][0]


def test_the_newest_state_is_asked(desk, root):
    first = count(desk)
    scores_kit.commit(root, store_kit.store_config(), ("C/1.wav", 1, 6), site="C")
    assert count(desk) == first, "committed, and in no snapshot yet"
    scores_kit.snap(root)
    assert count(desk) == first + 6
    assert desk.ask("SELECT 1")["snapshot"] == read_snapshot(root).number
    assert desk.rows("SELECT windows FROM sites WHERE site = 'C'") == [[6]]


def test_judgements_of_this_moment(desk, root):
    assert count(desk, "annotations") == 0
    log = AnnotationLog(root)
    for n in range(1, 4):
        log.add([Annotation(n, "A/1.wav", 0.0, 1.0, "owl")], annotator="Ann", provenance="test")
        assert desk.rows("SELECT count(*), max(recording_id) FROM annotations") == [[n, n]]
    log.undo(last=True, annotator="Ann")
    assert desk.rows("SELECT count(*), max(recording_id) FROM annotations") == [[2, 2]]


def test_what_was_read_for_a_query_goes_with_it_though_somebody_judges_meanwhile(desk, root, monkeypatch):
    """Another query reads the new judgements before the first one's are handed over."""
    log = AnnotationLog(root)
    log.add([Annotation(1, "A/1.wav", 0.0, 1.0, "owl")], annotator="Ann", provenance="test")
    real = Sources.relations

    def then_somebody_judges(self, names):
        found = real(self, names)
        n = len(log.current())
        log.add([Annotation(n + 1, "A/1.wav", 0.0, 1.0, "owl")], annotator="Ann", provenance="test")
        real(self, names)
        return found

    monkeypatch.setattr(Sources, "relations", then_somebody_judges)
    assert [count(desk, "annotations") for _ in range(3)] == [1, 2, 3]


def test_scores_of_this_moment(desk, root):
    assert count(desk, "scores") == 0, "there is no folder of scores yet"
    probe = scores_kit.keep(root, scores_kit.probe())
    score_snapshot(root, read_snapshot(root), [probe], floor=0.0)
    assert count(desk, "scores") == 3 * count(desk)
    assert desk.rows("SELECT DISTINCT version FROM scores") == [[1]]


def test_nothing_of_a_query_is_left_for_the_next(desk):
    desk.ask("SELECT 1")
    (process,) = {p.pid for p in desk.pool._idle[-1:]}
    for statement in ("CREATE TABLE t AS SELECT 1", "CREATE TEMP VIEW windows AS SELECT 1", "SET VARIABLE x = 1"):
        message = {"op": "run", "query": statement, "parameters": None, "views": []}
        asked = desk.pool._idle[-1]
        desk.run(tolerant(asked, message))
        for query in ("FROM t", "SELECT getvariable('x')"):
            found = desk.run(tolerant(asked, {"op": "run", "query": query, "parameters": None, "views": []}))
            assert found in ("failed", b"[[null]]")
    assert count(desk) > 0
    assert process in {p.pid for p in desk.pool._all}


async def tolerant(process, message):
    try:
        return (await process.ask(message))[1]
    except Invalid:
        return "failed"


def test_two_at_once_three_wait_and_one_more_is_told_to_come_again(desk):
    async def crowd(n):
        pool = desk.pool
        asked = [asyncio.ensure_future(pool.ask("SELECT count(*) FROM range(300000000)")) for _ in range(n)]
        return await asyncio.gather(*asked, return_exceptions=True)

    found = desk.run(crowd(8))
    refused = [e for e in found if isinstance(e, Unavailable)]
    assert len(refused) == 3 and all(e.kind == "overloaded" for e in refused)
    assert len([r for r in found if isinstance(r, dict | Limit)]) == 5
    assert desk.pool._inside == 0
    assert len(desk.pool._all) <= 2
    assert count(desk) > 0


def test_a_process_that_is_killed_is_replaced(desk):
    desk.ask("SELECT 1")
    before = {p.pid for p in desk.pool._all}
    with pytest.raises(Limit, match="longer than 1 s"):
        desk.ask(ENDLESS)
    assert count(desk) > 0
    assert not {p.pid for p in desk.pool._all} & before
    for pid in before:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_process_that_somebody_else_killed(desk):
    desk.ask("SELECT 1")
    for process in list(desk.pool._all):
        os.kill(process.pid, signal.SIGKILL)
    for _ in range(3):  # one answer at most is lost
        try:
            assert desk.rows("SELECT 1") == [[1]]
        except (Limit, Unavailable):
            continue
    assert desk.rows("SELECT 1") == [[1]]


def test_a_caller_who_goes_away_stops_the_query(desk):
    async def leave():
        asked = asyncio.ensure_future(desk.pool.ask(ENDLESS))
        await asyncio.sleep(0.5)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)

    desk.ask("SELECT 1")
    before = {p.pid for p in desk.pool._all}
    desk.run(leave())
    assert count(desk) > 0
    assert not {p.pid for p in desk.pool._all} & before, "what it was doing is nobody's any more"


def test_memory_that_was_taken_is_given_back_with_the_process(desk):
    desk.ask("SELECT 1")
    with pytest.raises(Limit, match="memory"):
        desk.ask("SELECT list_sum(range(2000000000))")
    with pytest.raises(Limit):
        desk.ask("SELECT length(string_agg(repeat('x', 10000000), '')) FROM range(1000)")
    assert len(desk.rows("SELECT * FROM range(10000)")) == 10_000


def test_queries_in_turn_use_one_process(desk):
    desk.ask("SELECT 1")
    pids = set()
    for _ in range(5):
        desk.ask("SELECT count(*) FROM predictions")
        pids.add(desk.pool._idle[-1].pid)
    assert len(pids) == 1


def test_refused_and_wrong_queries_keep_the_process(desk):
    desk.ask("SELECT 1")
    pid = desk.pool._idle[-1].pid
    for query in ("COPY (SELECT 1) TO 'x'", "SELECT nothing FROM windows", "SELEC", "SELECT 1/0 + 'a'::INT"):
        with pytest.raises((Invalid, Refused)):
            desk.ask(query)
    assert desk.pool._idle[-1].pid == pid


def test_errors_name_what_is_wrong(desk):
    said = {
        "SELECT pth FROM windows": "pth",
        "SELECT * FROM window_s": "did you mean windows",
        "SELECT 'a'::INT": "Could not convert string 'a' to INT32",
        "SELECT sum(path) FROM windows": "sum(VARCHAR)",
    }
    for query, words in said.items():
        with pytest.raises(Invalid) as error:
            desk.ask(query)
        assert words in error.value.message
        assert "\n" not in error.value.message


def test_before_anything_is_committed(tmp_path):
    create_config(str(tmp_path / "store"), store_kit.store_config())
    desk = Desk(str(tmp_path / "store"), QUICK)
    try:
        with pytest.raises(NotFound):
            desk.ask("SELECT 1")
    finally:
        desk.close()


def test_after_the_end(root):
    desk = Desk(root, QUICK)
    desk.ask("SELECT 1")
    pids = [p.pid for p in desk.pool._all]
    desk.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with pytest.raises(Unavailable, match="ending"):
        asyncio.run(desk.pool.ask("SELECT 1"))


def test_started_ahead(root):
    async def sitting():
        pool = SqlPool(root, QUICK)
        pool.start()
        await asyncio.gather(*pool._tasks)
        assert len(pool._idle) == 2 and pool.held["memory"].startswith("2048 MB")
        found = await pool.ask("SELECT 1")
        pool.close()
        return found

    assert asyncio.run(sitting())["rows"] == [[1]]
    SqlPool(root).start()  # outside of a loop: nothing yet


def test_a_file_that_went_away_is_no_path_in_a_message(tmp_path, desk, root):
    desk.ask("SELECT count(*) FROM windows")
    for path in Path(root, "catalog").rglob("windows/**/*.parquet"):
        path.unlink()
    with pytest.raises(Damaged, match="cannot be read") as error:
        desk.ask("SELECT max(path) FROM windows")
    assert root not in str(error.value) and ".parquet" not in str(error.value)


# ---- the jail itself, without DuckDB: Python code in it stands for whatever might break out of an engine

ESCAPE = """
import json, os, socket, subprocess, sys
from search_api.safe_sql import jail
data, code, out = json.loads(sys.argv[1])
held = jail.enter(data, code)
held["user"] = jail.leave_root(data)
found = {}
def attempt(name, act):
    try:
        act()
    except OSError as error:
        found[name] = type(error).__name__
    else:
        found[name] = "done"
part = next(os.path.join(p, f) for p, _, fs in os.walk(data[0]) for f in fs)
attempt("read data", lambda: open(part, "rb").read(10))
attempt("read passwd", lambda: open("/etc/passwd").read())
attempt("read environment", lambda: open("/proc/1/environ", "rb").read())
attempt("read store", lambda: open(os.path.dirname(data[0]) + "/sonotheque.json").read())
attempt("write data", lambda: open(part, "ab").write(b"x"))
attempt("empty data", lambda: open(part, "wb").close())
attempt("truncate data", lambda: os.truncate(part, 0))
attempt("remove data", lambda: os.unlink(part))
attempt("rename data", lambda: os.rename(part, part + "2"))
attempt("link data", lambda: os.link(part, out + "/x"))
attempt("make a file", lambda: open(out + "/new", "w").write("x"))
attempt("make a folder", lambda: os.mkdir(out + "/folder"))
attempt("make a file in the data", lambda: open(data[0] + "/new", "w").close())
attempt("list root", lambda: os.listdir("/"))
attempt("connect", lambda: socket.socket().connect(("127.0.0.1", int(os.environ["PORT"]))))
attempt("listen", lambda: socket.socket().bind(("127.0.0.1", 0)))
attempt("become root", lambda: os.seteuid(0))
attempt("run a program", lambda: subprocess.run(["/bin/sh", "-c", "echo"], check=True))
print(json.dumps([held, found, os.geteuid()]))
"""


@pytest.fixture
def open_folder():
    """Where everybody may read: pytest's own folders are closed to all but their user."""
    folder = Path(tempfile.mkdtemp(prefix="sonotheque-jail-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the jail is Linux's")
def test_the_jail(open_folder):
    root = make_store(open_folder)
    with Archive(root):
        pass  # makes the catalog
    (open_folder / "out").mkdir()
    (open_folder / "out").chmod(0o777)
    before = digest(open_folder)
    with socket.create_server(("127.0.0.1", 0)) as server:
        given = json.dumps([[f"{root}/catalog"], code_folders(), str(open_folder / "out")])
        env = {**os.environ, "PORT": str(server.getsockname()[1]), "PYTHONPATH": str(Path(__file__).parents[2])}
        done = subprocess.run(
            [sys.executable, "-c", ESCAPE, given], capture_output=True, text=True, env=env, timeout=60
        )
    assert done.returncode == 0, done.stderr
    held, found, user = json.loads(done.stdout)
    assert found.pop("read data") == "done"
    if held["files"].startswith("Landlock"):
        assert {k for k, v in found.items() if v == "done"} <= {"connect", "listen", "become root"}
    closes_tcp = held["files"].startswith("Landlock") and int(held["files"].split()[1]) >= 4
    if held["network"].startswith("own") or closes_tcp:
        assert found["connect"] != "done"
    if held["user"] == "65534":
        assert user == 65534 and found["become root"] == "PermissionError"
    assert found["make a file"] != "done", "a file's size limit is 0 everywhere"
    assert digest(open_folder) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to give up")
def test_root_is_left_where_others_can_read_the_store(open_folder, root):
    for place, user in ((make_store(open_folder), "65534"), (root, "root: the store cannot be read by anybody else")):
        if place == root:
            Path(root).parent.chmod(0o700)
        desk = Desk(place, QUICK)
        try:
            assert count(desk) > 0
            assert desk.pool.held["user"] == user
            ids = Path(f"/proc/{desk.pool._idle[-1].pid}/status").read_text().split("Uid:")[1].split()[:4]
            assert set(ids) == ({"65534"} if user == "65534" else {"0"})
            for view in ("recordings", "predictions", "annotations", "sites", "scores"):
                desk.ask(f"SELECT * FROM {view}")
        finally:
            desk.close()


def test_frames_over_a_pipe(tmp_path):
    path = tmp_path / "frames"
    messages = [({"a": 1}, b""), ({}, b"\0" * 100), ({"é": "\u2028"}, b"x")]
    path.write_bytes(b"".join(packed(*m) for m in messages))
    with path.open("rb") as pipe:
        assert [read_frame(pipe) for _ in messages] == messages
        assert read_frame(pipe) is None
    for cut in range(1, len(packed(*messages[2]))):
        path.write_bytes(packed(*messages[2])[:-cut])
        with path.open("rb") as pipe:
            assert read_frame(pipe) is None
