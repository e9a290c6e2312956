"""Jobs over HTTP: who may ask for what, what is told, what is not."""

from __future__ import annotations

import io
import json
import threading
import zipfile

import httpx
import pytest

from search_api.boards.records import ENDED
from tests.search import kit
from tests.service.board_kit import QUICK, judge, until
from tests.service.conftest import serve


def done(served, job_id: str) -> dict:
    def look() -> dict | None:
        job = served.get(f"/v1/jobs/{job_id}")["data"]
        return job if job["state"] in ENDED else None

    return until(look, f"the end of {job_id}")


@pytest.fixture
def ingesting(own, tmp_path):
    """A served store that may embed from a folder with a good, a bad and a hostile file."""
    kit.write(tmp_path / "new" / "deep" / "20240601_040000.wav", kit.tone(900.0))
    kit.write(tmp_path / "new" / "deep" / "=1+1.wav", kit.tone(901.0))
    (tmp_path / "new" / "deep" / "broken.wav").write_bytes(b"RIFF\0\0\0\0WAVEnothing")
    (tmp_path / "secret").mkdir()
    (tmp_path / "new" / "out").symlink_to(tmp_path / "secret")
    judge(own.store)
    with serve(own, tmp_path / "state", ingest_roots={"new": str(tmp_path / "new")}) as found:
        yield found


def events_of(text: str) -> list[tuple[str, dict]]:
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append((lines["event"], json.loads(lines["data"]) | {"id": int(lines["id"])}))
    return found


def test_a_sitting_of_jobs(ingesting, tmp_path) -> None:
    sources = ingesting.get("/v1/jobs/sources")["data"]
    assert sources == [{"source": "new", "folders": ["deep"]}]
    asked = ingesting.post("/v1/jobs", {"kind": "embed", "source": "new", "folder": "deep", "workers": 0}, status=202)[
        "data"
    ]
    assert asked["state"] in ("queued", "running") and asked["title"] == "Embed new/deep" and asked["by"] == "local"
    busy = ingesting.post("/v1/jobs", {"kind": "embed", "source": "new", "workers": 0}, status=409)["error"]
    assert busy["kind"] == "busy"
    trained = ingesting.post("/v1/jobs", {"kind": "train", "probe": "low", "experiment": QUICK}, status=202)["data"]

    with ingesting.client.stream("GET", f"/v1/jobs/{asked['job_id']}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["cache-control"] == "no-store"
        events = events_of("".join(stream.iter_text()))
    assert [e[1]["state"] for e in events if e[0] == "state"] == ["queued", "running", "finished"]
    middle = events[1][1]["id"]
    again = ingesting.client.get(f"/v1/jobs/{asked['job_id']}/events", headers={"Last-Event-ID": str(middle)})
    behind = [e for e in events if e[1]["id"] > middle]
    assert [e for e in events_of(again.text) if e[0] != "progress"] == [e for e in behind if e[0] != "progress"]
    assert [e for e in events_of(again.text) if e[0] == "progress"] == [e for e in behind if e[0] == "progress"][-1:]

    job = ingesting.get(f"/v1/jobs/{asked['job_id']}")["data"]
    assert job["state"] == "finished" and job["result"]["failed"] == 1 and job["has_report"]
    assert done(ingesting, trained["job_id"])["result"]["version"] == 1
    applied = ingesting.post("/v1/jobs", {"kind": "apply", "probes": "all"}, status=202)["data"]
    indexed = ingesting.post("/v1/jobs", {"kind": "index", "action": "build"}, status=202)["data"]
    assert done(ingesting, applied["job_id"])["result"]["windows"] == 20
    assert done(ingesting, indexed["job_id"])["result"]["windows"] == 20

    listed = ingesting.get("/v1/jobs")["data"]
    assert [j["job_id"] for j in listed] == [j["job_id"] for j in (indexed, applied, trained, asked)] + ["run-1"]
    first = ingesting.get("/v1/jobs?limit=2")
    second = ingesting.get(f"/v1/jobs?limit=3&cursor={first['meta']['next']}")
    assert [j["job_id"] for j in first["data"] + second["data"]] == [j["job_id"] for j in listed]
    assert second["meta"]["next"] is None
    reports(ingesting, asked["job_id"])
    nothing_leaks(ingesting, [j["job_id"] for j in listed], str(tmp_path), ingesting.made.store)


def reports(served, job_id: str) -> None:
    found = served.get(f"/v1/jobs/{job_id}/report")["data"]
    assert {r["path"] for r in found["rows"]} == {"deep/20240601_040000.wav", "deep/=1+1.wav", "deep/broken.wav"}
    assert found["summary"]["files"] == 3 and not found["truncated"]
    found = served.get(f"/v1/jobs/{job_id}/report?limit=1&failed=true")["data"]
    assert [r["path"] for r in found["rows"]] == ["deep/broken.wav"] and not found["truncated"]
    assert served.get(f"/v1/jobs/{job_id}/report?limit=1")["data"]["truncated"]

    table = served.client.get(f"/v1/jobs/{job_id}/report?form=csv")
    assert table.headers["content-type"].startswith("text/csv")
    assert f'filename="recordings-{job_id}.csv"' in table.headers["content-disposition"]
    lines = table.text.splitlines()
    assert lines[0].startswith("path,outcome,status") and len(lines) == 4
    assert not any(line.startswith(("=", "+", "@", "-")) for line in lines), "no cell is a formula"

    book = served.client.get(f"/v1/jobs/{job_id}/report?form=xlsx")
    with zipfile.ZipFile(io.BytesIO(book.content)) as parts:
        sheet = parts.read("xl/worksheets/sheet1.xml").decode()
        texts = parts.read("xl/sharedStrings.xml").decode() if "xl/sharedStrings.xml" in parts.namelist() else sheet
    assert "<f>" not in sheet and "=1+1.wav" in texts


def nothing_leaks(served, jobs: list[str], *folders: str) -> None:
    for job_id in jobs:
        for path in ("", "/events", "/report", "/report?form=csv"):
            text = served.client.get(f"/v1/jobs/{job_id}{path}").text
            for folder in folders:
                assert folder not in text, f"{job_id}{path} names a folder of the server"


def test_a_run_of_the_command_line(changing) -> None:
    (run,) = changing.get("/v1/jobs")["data"]
    assert (run["job_id"], run["state"], run["kind"]) == ("run-1", "finished", "embed")
    assert len(changing.get("/v1/jobs/run-1/report")["data"]["rows"]) == 5
    events = events_of(changing.client.get("/v1/jobs/run-1/events").text)
    assert [e[1]["state"] for e in events if e[0] == "state"] == ["finished"]
    assert changing.post("/v1/jobs/run-1/cancel", status=409)["error"]["kind"] == "conflict"
    assert changing.post("/v1/jobs/run-1/resume", status=409)["error"]["kind"] == "conflict"
    assert changing.get("/v1/jobs/sources")["data"] == []


@pytest.mark.parametrize(
    ("ask", "status"),
    [
        ({"kind": "embed", "source": "new", "folder": "../secret"}, 422),
        ({"kind": "embed", "source": "new", "folder": "out"}, 422),
        ({"kind": "embed", "source": "new", "folder": "/etc"}, 422),
        ({"kind": "embed", "source": "new", "folder": "deep\0"}, 422),
        ({"kind": "embed", "source": "new", "folder": "not there"}, 404),
        ({"kind": "embed", "source": "/etc"}, 404),
        ({"kind": "embed", "source": "new", "store": "/tmp/x"}, 422),
        ({"kind": "embed", "source": "new", "timezone": "../../etc/passwd"}, 422),
        ({"kind": "embed", "source": "new", "workers": 1000}, 422),
        ({"kind": "train", "probe": "../../x"}, 422),
        ({"kind": "train", "probe": "low", "experiment": {"examples": {"source": "clips", "clips": "/etc"}}}, 422),
        ({"kind": "train", "probe": "low", "experiment": {"bootstrap": 10**9}}, 422),
        ({"kind": "train", "probe": "low", "experiment": {"nonsense": 1}}, 422),
        ({"kind": "apply", "probes": []}, 422),
        ({"kind": "apply", "probes": ["owl"]}, 404),
        ({"kind": "apply", "probes": "all"}, 404),
        ({"kind": "index", "action": "delete"}, 422),
        ({"kind": "shell", "command": "ls"}, 422),
        ({}, 422),
        ([], 422),
    ],
)
def test_what_is_refused_and_begins_nothing(refusing, ask, status) -> None:
    answer = refusing.client.post("/v1/jobs", json=ask)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["kind"] in ("invalid", "invalid_table", "not_found")
    assert [j["job_id"] for j in refusing.get("/v1/jobs")["data"]] == ["run-1"]
    for folder in (refusing.made.store, str(refusing.state.parent)):
        assert folder not in answer.text


@pytest.fixture(scope="module")
def refusing(made, tmp_path_factory):
    """A served store whose jobs are all refused."""
    top = tmp_path_factory.mktemp("refusing")
    kit.write(top / "new" / "deep" / "20240601_040000.wav", kit.tone(900.0))
    (top / "secret").mkdir()
    (top / "new" / "out").symlink_to(top / "secret")
    with serve(made, top / "state", ingest_roots={"new": str(top / "new")}) as found:
        yield found


@pytest.mark.parametrize("job_id", ["nothing", "run-77", "20250101T000000000000-aaaaaa", "%2e%2e%2fstate", "x" * 61])
def test_no_such_job(refusing, job_id) -> None:
    for method, path in (("GET", ""), ("GET", "/events"), ("GET", "/report"), ("POST", "/cancel"), ("POST", "/resume")):
        answer = refusing.client.request(method, f"/v1/jobs/{job_id}{path}")
        assert answer.status_code in (404, 405, 422), answer.text
        assert "error" in answer.json()


def test_cursors_and_last_event_ids_that_are_none(refusing) -> None:
    assert refusing.get("/v1/jobs?cursor=nonsense", status=422)["error"]["kind"] == "invalid"
    for told in ("-1", "x", "9" * 40, "١٢"):
        answer = refusing.client.get("/v1/jobs/run-1/events", headers={"Last-Event-ID": told.encode()})
        assert answer.status_code == 200 and "finished" in answer.text


def test_each_kind_needs_its_scope(made, tmp_path) -> None:
    with serve(made, tmp_path / "state") as served:
        keys = served.service.keys

        def status(scopes: list[str], method: str, path: str, ask: dict | None = None) -> int:
            secret = keys.create(f"key {len(keys.list())}", scopes)
            secret = secret if isinstance(secret, str) else secret[-1]
            headers = {"Authorization": f"Bearer {secret}"}
            return served.client.request(method, path, json=ask, headers=headers).status_code

        embed = {"kind": "embed", "source": "none"}
        apply = {"kind": "apply", "probes": ["owl"]}
        assert status(["read"], "GET", "/v1/jobs") == 200
        assert served.client.get("/v1/jobs").status_code == 401
        assert served.client.get("/v1/jobs/run-1/events").status_code == 401
        for ask in (embed, apply):
            assert status(["read"], "POST", "/v1/jobs", ask) == 403
        assert status(["read", "annotate"], "POST", "/v1/jobs", embed) == 403
        assert status(["read", "embed"], "POST", "/v1/jobs", apply) == 403
        assert status(["read", "annotate"], "POST", "/v1/jobs", apply) == 404
        assert status(["read", "embed"], "POST", "/v1/jobs", embed) == 404
        assert status(["read", "annotate"], "POST", "/v1/jobs/run-1/cancel") == 403
        assert status(["admin"], "POST", "/v1/jobs/run-1/cancel") == 409
        assert status(["read"], "POST", "/v1/jobs/run-1/resume") == 403


def test_a_watcher_that_goes_away_frees_its_reader(live) -> None:
    """Over a real connection: a queued job is watched by three, who hang up."""
    board = live.app.state.service.board
    board._tender.close()  # what is asked for now waits
    job_id = board.train(probe="low", experiment=QUICK).job_id
    heard = []

    def watch() -> None:
        with httpx.Client(base_url=live.url) as client, client.stream("GET", f"/v1/jobs/{job_id}/events") as stream:
            for line in stream.iter_lines():
                if line.startswith("data"):
                    heard.append(line)
                    return

    threads = [threading.Thread(target=watch) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(timeout=20)
    assert len(heard) == 3 and all("queued" in line for line in heard)
    until(lambda: board.followers.watchers == 0 and board.followers.following == 0, "they are forgotten")


def test_a_service_that_ends_lets_its_watchers_go(live) -> None:
    service = live.app.state.service
    service.board._tender.close()
    job_id = service.board.train(probe="low", experiment=QUICK).job_id
    with (
        httpx.Client(base_url=live.url, timeout=30) as client,
        client.stream("GET", f"/v1/jobs/{job_id}/events") as stream,
    ):
        lines = stream.iter_lines()
        assert next(lines).startswith("id:")
        service.draining = True  # as it is set when the process is asked to end
        assert "state" in "".join(lines), "and the stream comes to its end"
