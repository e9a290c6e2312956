"""``status --watch`` and ``logs``: what they say, when they end, and with which code."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from cluster.job import JobFolder, heartbeat, latest_job, new_job
from cluster.keeper import new_keeper
from cluster.processes import named
from cluster.tailing import Tail
from sonotheque.cli.logs import event_line, logs
from sonotheque.cli.main import app
from sonotheque.cli.watching import watch_run
from sonotheque.core.errors import Invalid, NotFound
from tests.batch.kit import make_sites
from tests.cluster.support import run, wait_for


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("watched")
    run(make_sites(base / "in"), base / "store")
    return base / "store"


@pytest.fixture
def job(tmp_path: Path) -> JobFolder:
    return new_job(str(tmp_path / "store"))


def print_logs(store: object, job: int | None = None, *, follow: bool = False, lines: int = 100, as_json: bool = False):
    return logs(str(store), job=job, follow=follow, lines=lines, as_json=as_json)


@pytest.mark.parametrize(
    ("state", "summary", "code"),
    [
        ("finished", {"failed": 0}, 0),
        ("finished", {"failed": 2}, 3),
        ("finished", {"failed": 0, "problems": [{"path": "x"}]}, 3),
        ("stopped", {}, 9),
        ("failed", {}, 1),
        ("dead", {}, 6),
    ],
)
def test_it_ends_with_the_runs_code(job: JobFolder, capsys, state: str, summary: dict, code: int) -> None:
    heartbeat(job, state)
    if summary:
        job.write_json("summary.json", summary)
    assert watch_run(job.store) == code
    out = capsys.readouterr().out
    assert out.startswith(f"job 1 is {state}: 0 of 0 parts committed\n")
    assert ("sonotheque resume" in out) == (state in ("stopped", "failed", "dead"))


def test_it_tells_of_each_change_and_ends_with_the_job(job: JobFolder, capsys) -> None:
    heartbeat(job, "running", phase="starting")
    codes: list[int] = []
    watching = threading.Thread(target=lambda: codes.append(watch_run(job.store, every_s=0.1)), daemon=True)
    watching.start()
    said = ""

    def saw(text: str) -> bool:
        nonlocal said
        said += capsys.readouterr().out
        return text in said

    wait_for(lambda: saw("loading the model and planning"), "a first line")
    facts = {"files": 3, "files_total": 4, "audio_s": 60, "audio_total_s": 120, "x_realtime": 10.0, "eta_s": 6}
    heartbeat(job, "running", **facts)
    wait_for(lambda: saw("3 of 4 files, 1.0 min of 2.0 min, 10 x realtime, 6.0 s left"), "a line with the time left")
    job.write_json("summary.json", {"failed": 1})
    heartbeat(job, "finished")
    watching.join(timeout=60)
    assert codes == [3]
    assert saw("job 1 is finished")


def test_it_goes_on_while_a_batch_verifies(job: JobFolder, tmp_path: Path, capsys) -> None:
    heartbeat(job, "finished")
    keeper = new_keeper(tmp_path, store=tmp_path / "store", log=None).say(**named(), stage="verify")
    codes: list[int] = []
    watching = threading.Thread(target=lambda: codes.append(watch_run(job.store, every_s=0.1)), daemon=True)
    watching.start()
    wait_for(lambda: "verifying the store" in capsys.readouterr().out, "the watch")
    assert not codes
    keeper.say(stage="done", exit_code=7)
    watching.join(timeout=60)
    assert codes == [7]  # the batch's own, which the job's state does not tell


def test_as_one_document_at_the_end(store: Path, capsys) -> None:
    code = app(["status", "--store", str(store), "--watch", "--json"], standalone_mode=False)
    found = json.loads(capsys.readouterr().out)
    assert (code, found["state"], found["parts_committed"]) == (0, "finished", found["parts_planned"])
    assert found["keeper"] is None


@pytest.mark.parametrize("more", [["--every", "2"], ["--watch", "--every", "0"], ["--watch", "--every", "nan"]])
def test_seconds_between_looks_are_looked_at(store: Path, more: list[str]) -> None:
    with pytest.raises(Invalid, match="--every"):
        app(["status", "--store", str(store), *more], standalone_mode=False)


def test_nothing_to_watch(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="has no job yet"):
        watch_run(str(tmp_path))
    with pytest.raises(NotFound, match="has no job yet"):
        print_logs(tmp_path)


def test_a_finished_runs_events(store: Path, capsys) -> None:
    assert print_logs(store) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "-- events of job 1"
    parts = [line for line in lines if "  part " in line]
    assert len(parts) == 4
    assert all("windows in" in line for line in parts)
    assert lines[-1].endswith("  finished")
    assert print_logs(store, follow=True) == 0  # ends by itself: nobody writes on
    assert capsys.readouterr().out.splitlines() == lines
    assert print_logs(store, lines=2) == 0
    assert capsys.readouterr().out.splitlines() == [lines[0], *lines[-2:]]


def test_as_json(store: Path, capsys) -> None:
    print_logs(store, as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["events"][-1]["event"] == "finished"
    assert (found["job"], found["log"], found["output"]) == (1, None, [])
    with pytest.raises(Invalid, match="--follow"):
        print_logs(store, as_json=True, follow=True)
    with pytest.raises(NotFound, match="no job 9; it has 1"):
        print_logs(store, 9)


def test_following_takes_a_new_job_and_the_output(job: JobFolder, tmp_path: Path, capsys) -> None:
    """A supervisor begins the run anew while somebody looks on."""
    heartbeat(job, "running")
    job.event("started", files=2)
    log = tmp_path / "run.log"
    log.write_text("first words\nhalf a l")
    keeper = new_keeper(tmp_path, store=tmp_path / "store", log=log)
    following = threading.Thread(target=lambda: print_logs(job.store, follow=True), daemon=True)
    following.start()
    said = ""

    def saw(text: str) -> bool:
        nonlocal said
        said += capsys.readouterr().out
        return text in said

    wait_for(lambda: saw("first words"), "the output")
    assert "half" not in said
    heartbeat(job, "dead")
    second = new_job(job.store)
    heartbeat(second, "running")
    second.event("started", files=1)
    wait_for(lambda: saw("-- events of job 2"), "the next job")
    with log.open("a") as file:
        file.write("ine\nno end")
    heartbeat(second, "finished")
    keeper.say(stage="done", exit_code=0)
    following.join(timeout=60)
    assert saw("no end")
    assert "half a line\n" in said
    assert said.count("first words") == 1


def test_what_a_crash_or_a_name_left_in_the_events(job: JobFolder, capsys) -> None:
    heartbeat(job, "dead")
    job.event("trouble", text="file \x1b[31mred\x07.wav")
    with job.file("events.jsonl").open("a") as file:
        file.write('{"at": "2026", "ev\n[1]\n\udcff'.encode("utf-8", "surrogatepass").decode("latin-1"))
    assert print_logs(job.store) == 0
    out = capsys.readouterr().out
    assert "trouble: file �[31mred�.wav" in out
    assert "\x1b" not in out
    assert out.count("half a line") == 3


def test_an_events_line_for_people() -> None:
    part = {"at": "T", "event": "part", "part": "ab", "rows": 12, "won": True, "wall_s": 3.21}
    assert event_line(part) == "T  part ab: 12 windows in 3.2 s"
    assert event_line({**part, "won": False}).endswith("; another process had committed it")
    assert event_line({**part, "wall_s": None}) == "T  part ab: 12 windows in None"
    assert event_line({"event": "x", "a": 1, "b": {"c": 2}}) == "?  x  a=1  b=c 2"
    assert (
        event_line({"at": "T", "event": "ended by an error", "error": "disk full"}) == "T  ended by an error: disk full"
    )


def test_a_tail_takes_each_line_once(tmp_path: Path) -> None:
    path = tmp_path / "log"
    tail = Tail(path)
    assert tail.new() == []
    path.write_bytes(b"a\nb\r\nc")
    assert tail.new() == ["a", "b"]
    assert tail.new() == []
    path.write_bytes(b"a\nb\r\ncd\n\xff\n")
    assert tail.new() == ["cd", "�"]
    path.write_bytes(b"new\nx")  # begun anew
    assert tail.new(to_the_end=True) == ["new", "x"]
    assert Tail(path).new(last=1) == ["new"]


def test_the_newest_job_is_the_one(store: Path) -> None:
    assert latest_job(str(store)).number == 1
