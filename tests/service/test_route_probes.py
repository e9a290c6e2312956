"""Probes over HTTP: a sitting from the first look to the promotion, and what is refused."""

from __future__ import annotations

import re
import shutil

import pytest

from probes.experiment_files import experiment_from
from search_api.probes.applying import apply_stored
from search_api.probes.stored import export_probe, import_probe
from search_api.probes.training import train_probe
from store import layout, open_archive
from tests.search import kit
from tests.service.board_kit import QUICK, judge
from tests.service.conftest import serve, tree

WRITES = (
    ("/v1/probes/low/promote", {"version": 2}),
    ("/v1/probes/low/rollback", {}),
)


def train(store: str, **more) -> None:
    train_probe(store, experiment_from({"name": "low", **QUICK, **more}))


@pytest.fixture(scope="module")
def probed(made, tmp_path_factory):
    """A judged store with two versions of a probe, the first of which is in use and applied; one probe from elsewhere."""
    folder = tmp_path_factory.mktemp("probed")
    shutil.copytree(made.store, folder / "store")
    store = kit.Made(made.recordings, str(folder / "store"))
    judge(store.store)
    train(store.store)
    train(store.store, seed=1)
    export_probe(store.store, "low", str(folder / "low.safetensors"))
    import_probe(store.store, str(folder / "low.safetensors"), "given")
    with open_archive(store.store) as archive:
        apply_stored(archive, ["low"])
    return store


@pytest.fixture(scope="module")
def asked(probed, tmp_path_factory):
    """Served, for questions alone."""
    with serve(probed, tmp_path_factory.mktemp("probed-state")) as found:
        yield found


@pytest.fixture
def changed(probed, tmp_path):
    """Served, a copy of the test's own."""
    shutil.copytree(probed.store, tmp_path / "store")
    with serve(kit.Made(probed.recordings, str(tmp_path / "store")), tmp_path / "state") as found:
        yield found


def test_the_list_and_one_of_it(asked) -> None:
    rows = {r["name"]: r for r in asked.get("/v1/probes")["data"]}
    assert set(rows) == {"low", "given"}
    low = rows["low"]
    assert (low["in_use"], low["versions"], low["kind"], low["problem"]) == (1, [1, 2], "multilabel", None)
    assert [c["label"] for c in low["classes"]] == ["low"] and 0 <= low["classes"][0]["threshold"] <= 1
    one = asked.get("/v1/probes/low")["data"]
    assert one["in_use"] == 1 and [r["version"] for r in one["runs"]] == [1, 2]
    assert [r["in_use"] for r in one["runs"]] == [True, False]
    assert one["classes"] == low["classes"] and one["fits"] is True and one["problem"] is None
    assert one["applied"]["windows"] == one["applied"]["scored"] == 18
    assert one["promotions"][0]["version"] == 1
    assert asked.get("/v1/probes/given")["data"]["applied"] is None


def test_versions_and_their_reports(asked) -> None:
    one = asked.get("/v1/probes/low/versions/2")["data"]
    assert one["version"] == 2 and one["report"]["probe"] == "low" and "name: low" in one["experiment_yaml"]
    assert asked.get("/v1/probes/given/versions/1")["data"]["report"] is None
    page = asked.client.get("/v1/probes/low/versions/2/report")
    assert page.status_code == 200 and page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "style-src 'unsafe-inline'" in policy and "script" not in policy
    assert page.text.startswith("<!") and "<script" not in page.text and "<style>" in page.text
    assert not re.search(r"""(?:src|href)=["'](?!#)""", page.text), "nothing is loaded from anywhere"
    answer = asked.get("/v1/probes/given/versions/1/report", status=404)
    assert "brought from elsewhere" in answer["error"]["message"]


def test_compared_and_taken_into_use(changed) -> None:
    found = changed.client.get("/v1/probes/low/compare?a=1&b=2")
    assert found.status_code in (200, 409), found.text
    if found.status_code == 200:
        assert found.json()["data"]["a"]["version"] == 1 and found.json()["data"]["better"] in ("a", "b", "same", None)
    refused = changed.client.post("/v1/probes/low/promote", json={"version": 2})
    if refused.status_code == 409:
        assert changed.get("/v1/probes/low")["data"]["in_use"] == 1
        taken = changed.post("/v1/probes/low/promote", {"version": 2, "force": True, "why": "to try it"})["data"]
        assert taken["forced"] and "to try it" in taken["why"]
    assert changed.get("/v1/probes/low")["data"]["in_use"] == 2
    back = changed.post("/v1/probes/low/rollback", {"why": "no better"})["data"]
    assert (back["version"], back["before"]) == (1, 2)
    promotions = changed.get("/v1/probes/low")["data"]["promotions"]
    assert [p["version"] for p in promotions] == [1, 2, 1] and promotions[-1]["by"] == "local"
    assert changed.post("/v1/probes/low/rollback", {}, status=409)["error"]["kind"] == "nothing_to_undo"


def test_a_histogram_with_the_judged(asked) -> None:
    found = asked.get("/v1/probes/low/histogram?label=low&bins=10")["data"]
    assert len(found["edges"]) == 11 and len(found["counts"]) == 10
    assert sum(found["counts"]) + found["below"] == found["scored"] == found["windows"] == 18
    assert sum(found["positive"]) + found["positive_below"] == 3
    assert sum(found["negative"]) + found["negative_below"] == 3
    assert found["source"] == "scores" and found["floor"] == pytest.approx(0.01)
    given = asked.get("/v1/probes/given/histogram")
    assert given["data"]["source"] == "vectors" and "not applied" in given["meta"]["notes"][0]
    north = asked.get("/v1/probes/low/histogram?site=north")["data"]
    assert north["windows"] == 10


def test_a_review_of_windows_that_nobody_judged(asked) -> None:
    found = asked.get("/v1/probes/low/review?how=top&k=4&label=low")["data"]
    assert found["review"].endswith("low version 1 top") and found["labels"] == ["low"]
    rows = found["to_judge"]
    assert [r["rank"] for r in rows] == [1, 2, 3, 4]
    assert [r["score"] for r in rows] == sorted((r["score"] for r in rows), reverse=True)
    assert all(
        re.fullmatch(r"\d+:\d+", r["window_id"]) and r["recording_id"] == r["window_id"].split(":")[0] for r in rows
    )
    assert all(not any(a["label"] == "low" for a in r["annotations"]) for r in rows), "the judged are left out"
    assert all(r["local_start"].endswith("+02:00") and r["utc_start"].endswith("Z") for r in rows)
    assert found["judged"] == {"low": 6}
    south = asked.get("/v1/probes/low/review?how=uncertain&k=3&site=south")["data"]["to_judge"]
    assert {r["site"] for r in south} == {"south"}


def test_judgements_of_a_review_go_back_with_its_tag(changed) -> None:
    found = changed.get("/v1/probes/low/review?how=bins&k=6&bins=2&label=low")["data"]
    assert found["number"] == 1 and len(found["bins"]) == 2 and {r["stratum"] for r in found["to_judge"]} == {1, 2}
    told = [{"window_id": r["window_id"], "label": "low", "judgement": "negative"} for r in found["to_judge"]]
    made = changed.client.post("/v1/annotations", json={"annotations": told, "provenance": found["review"]})
    if made.status_code == 404:
        pytest.skip("the annotations' routes are not there")
    assert made.status_code == 201, made.text
    again = changed.get("/v1/probes/low/review?how=top&k=50&label=low")["data"]
    assert again["judged"] == {"low": 6 + len(told)}
    assert not {r["window_id"] for r in again["to_judge"]} & {t["window_id"] for t in told}


def test_hits_page_by_page(asked) -> None:
    whole = asked.get("/v1/probes/low/hits?threshold=0.01&limit=100")
    assert whole["meta"]["next"] is None and len(whole["data"]) > 4
    rows, path = [], "/v1/probes/low/hits?threshold=0.01&limit=3"
    cursor = ""
    while True:
        page = asked.get(path + cursor)
        rows += page["data"]
        if page["meta"]["next"] is None:
            break
        cursor = f"&cursor={page['meta']['next']}"
    assert rows == whole["data"]
    assert [r["score"] for r in rows] == sorted((r["score"] for r in rows), reverse=True)
    assert any(r["annotations"] for r in rows)
    best = asked.get("/v1/probes/low/hits?threshold=0.01&best_per=site")["data"]
    assert sorted(r["site"] for r in best) == ["north", "south"]
    assert "not applied" in asked.get("/v1/probes/given/hits", status=404)["error"]["message"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/probes/owl", 404),
        ("/v1/probes/%2e%2e%2fx", 404),
        ("/v1/probes/a%00b", 422),
        ("/v1/probes/low/versions/9", 404),
        ("/v1/probes/low/versions/0", 422),
        ("/v1/probes/low/versions/9/report", 404),
        ("/v1/probes/low/compare?a=1", 422),
        ("/v1/probes/low/compare?a=1&b=7", 404),
        ("/v1/probes/low/histogram?label=high", 422),
        ("/v1/probes/low/histogram?bins=0", 422),
        ("/v1/probes/low/histogram?version=8", 404),
        ("/v1/probes/low/histogram?site=east", 404),
        ("/v1/probes/low/review?how=guess", 422),
        ("/v1/probes/low/review?k=0", 422),
        ("/v1/probes/low/review?label=high", 422),
        ("/v1/probes/low/review?seed=-1", 422),
        ("/v1/probes/low/hits?threshold=2", 422),
        ("/v1/probes/low/hits?threshold=0.001", 422),
        ("/v1/probes/low/hits?limit=0", 422),
        ("/v1/probes/low/hits?cursor=nonsense", 422),
        ("/v1/probes/low/hits?best_per=hour", 422),
    ],
)
def test_what_cannot_be(asked, path, status) -> None:
    answer = asked.client.get(path)
    assert answer.status_code == status, answer.text
    assert asked.made.store not in answer.text and answer.json()["error"]["message"]


def test_scopes(probed, tmp_path) -> None:
    before = tree(probed.store)
    with serve(probed, tmp_path / "state") as served:
        keys = served.service.keys
        secrets = {}
        for scope in ("read", "annotate", "admin"):
            made = keys.create(scope, [scope] if scope == "admin" else ["read", scope])
            secrets[scope] = {"Authorization": f"Bearer {made if isinstance(made, str) else made[-1]}"}

        def status(scope: str, method: str, path: str, json: object = None) -> int:
            return served.client.request(method, path, json=json, headers=secrets[scope]).status_code

        assert served.client.get("/v1/probes").status_code == 401
        assert status("read", "GET", "/v1/probes") == 200
        assert status("read", "GET", "/v1/probes/low/hits") == 200
        assert status("read", "GET", "/v1/probes/low/review") == 403
        assert status("annotate", "GET", "/v1/probes/low/review?how=top") == 200
        for path, body in WRITES:
            assert status("read", "POST", path, body) == 403
            assert status("annotate", "POST", path, body) == 403
    assert tree(probed.store) == before, "nothing was changed"


def test_a_damaged_probe_does_not_hide_the_others(changed) -> None:
    folder = f"{changed.made.store}/{layout.probe_version('low', 1)}"
    with open(f"{folder}/{layout.PROBE_WEIGHTS}", "r+b") as handle:
        handle.write(b"broken!!")
    rows = {r["name"]: r for r in changed.get("/v1/probes")["data"]}
    assert rows["given"]["problem"] is None
    assert rows["low"]["problem"] and changed.made.store not in rows["low"]["problem"]
    one = changed.get("/v1/probes/low")["data"]
    assert one["problem"] and one["applied"] is None and [r["version"] for r in one["runs"]] == [1, 2]
    failed = changed.client.get("/v1/probes/low/histogram")
    assert failed.status_code == 500 and failed.json()["error"]["kind"] == "damaged"
    assert changed.made.store not in failed.text


def test_the_document_tells_each_parameter_once(asked) -> None:
    paths = asked.get("/openapi.json")["paths"]
    shared = {p["name"] for p in paths["/v1/windows"]["get"]["parameters"]} - {"limit", "cursor"}
    mine = {p: v for p, v in paths.items() if p.startswith(("/v1/probes", "/v1/jobs"))}
    assert len(mine) >= 12
    for path, methods in mine.items():
        for method, operation in methods.items():
            names = [(p["in"], p["name"]) for p in operation.get("parameters", [])]
            assert len(names) == len(set(names)), f"{method} {path}"
            for parameter in operation.get("parameters", []):
                told = parameter.get("description") or parameter["schema"].get("description")
                assert told or parameter["name"] in shared, f"{method} {path}: {parameter['name']} is not described"
            assert {"401", "403", "422"} <= set(operation["responses"]), f"{method} {path}"
            success = next(r for s, r in operation["responses"].items() if s.startswith("2"))
            assert success["content"], f"{method} {path}"
