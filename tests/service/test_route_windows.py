"""Windows, predictions and scores over HTTP."""

from __future__ import annotations

import json

import pytest

from store import load_ledger, open_archive, read_config, write_snapshot
from tests.service.conftest import serve
from tests.store import kit as store_kit


@pytest.fixture(scope="module")
def window(served):
    return served.get("/v1/windows?limit=1")["data"][0]


def pages(served, path, limit, **more):
    rows, cursor = [], None
    for _ in range(200):
        found = served.get(path, params={"limit": limit, **({"cursor": cursor} if cursor else {}), **more})
        rows += found["data"]
        cursor = found["meta"]["next"]
        if cursor is None:
            return rows
    raise AssertionError("the pages do not end")


@pytest.mark.parametrize("limit", [1, 5, 500])
def test_all_windows_in_pages(served, limit) -> None:
    plain = served.made.rows(
        "SELECT recording_id, start_sample FROM windows ORDER BY site, local_start, path, start_sample"
    )
    found = pages(served, "/v1/windows", limit)
    assert [row["window_id"] for row in found] == [f"{p['recording_id']}:{p['start_sample']}" for p in plain]


def test_a_window_is_as_it_was_agreed(served, window) -> None:
    assert window == {
        "window_id": window["window_id"],
        "recording_id": window["window_id"].split(":")[0],
        "path": "north/20240501_040000.wav",
        "site": "north",
        "deployment": None,
        "start_s": 0.0,
        "end_s": 2.0,
        "valid_s": 2.0,
        "utc_start": "2024-05-01T02:00:00Z",
        "local_start": "2024-05-01T04:00:00+02:00",
        "date": "2024-05-01",
        "annotations": [],
    }


def test_one_window_has_what_is_known_of_it(served, window) -> None:
    found = served.get(f"/v1/windows/{window['window_id']}")
    data = found["data"]
    assert {name: data[name] for name in window} == window
    assert [p["rank"] for p in data["predictions"]] == [1, 2, 3]
    assert (data["previous"], data["recording"]["sample_rate_hz"], data["scores"]) == (None, 16_000, [])
    after = served.get(f"/v1/windows/{data['next']}")["data"]
    assert (after["start_s"], after["previous"]) == (2.0, window["window_id"])
    assert found["meta"]["snapshot"] == 1 and found["meta"]["took_ms"] > 0


@pytest.mark.parametrize(
    "asked",
    [
        {"site": ["north", "south"]},
        {"site": "south", "hours": "04:00-05:00"},
        {"recording": "*_2200*"},
        {"date_from": "2024-05-02", "month": [4, 5]},
        {"label": "placeholder:high", "score_min": 0.5},
        {"annotated": "false", "valid_min_s": 1.5},
        {"rank_max": 1, "score_max": 0.9},
    ],
)
def test_filters_mean_what_they_mean_in_python(served, asked) -> None:
    from sonotheque.core.filters import SearchFilter

    names = {"site": "sites", "recording": "recordings", "month": "months"}
    with open_archive(served.made.store) as archive:
        plain = archive.windows(SearchFilter.from_texts({names.get(k, k): v for k, v in asked.items()})).to_pylist()
    found = pages(served, "/v1/windows", 7, **asked)
    assert [row["window_id"] for row in found] == [f"{p['recording_id']}:{p['start_sample']}" for p in plain]


def test_predictions_in_pages_are_all_of_them(served) -> None:
    found = pages(served, "/v1/predictions", 10, label="placeholder:low")
    assert len(found) == 18 and {row["label"] for row in found} == {"placeholder:low"}
    assert {"window_id", "score", "logit", "rank"} <= set(found[0])


def test_scores_are_empty_before_a_probe_was_applied(served) -> None:
    assert served.get("/v1/scores?site=north&min=0.5")["data"] == []
    assert served.get("/v1/scores?probe=owl", 404)["error"]["kind"] == "not_found"


@pytest.mark.parametrize(
    "text", ["x", "1", "1:", "-1:0", "1:0:0", "%00", "..%2F..", "1%3A", "9" * 30 + ":0", "%27%3B--:0"]
)
def test_what_is_no_id_is_refused(served, text) -> None:
    answer = served.client.get(f"/v1/windows/{text}")
    assert answer.status_code in (404, 422)
    assert served.made.store not in answer.text


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/windows/9999999999999999999:0", 422),  # more than 63 bits
        ("/v1/windows/12:0", 404),
        ("/v1/windows?limit=0", 422),
        ("/v1/windows?limit=-1", 422),
        ("/v1/windows?limit=1000000000", 422),
        ("/v1/windows?limit=1e3", 422),
        ("/v1/windows?cursor=nonsense", 422),
        ("/v1/windows?cursor=" + "A" * 1_990, 422),
        ("/v1/windows?cursor=" + "A" * 3_000, 422),
        ("/v1/windows?score_min=nan", 422),
        ("/v1/windows?score_min=inf", 422),
        ("/v1/windows?score_min=1&score_max=0", 422),
        ("/v1/windows?valid_min_s=-inf", 422),
        ("/v1/windows?date_from=2024-13-01", 422),
        ("/v1/windows?date_from=0000-00-00", 422),
        ("/v1/windows?date_from=99999-01-01", 422),
        ("/v1/windows?date_from=2024-05-02&date_to=2024-05-01", 422),
        ("/v1/windows?month=13", 422),
        ("/v1/windows?hours=25:00-26:00", 422),
        ("/v1/windows?sun=noon", 422),
        ("/v1/windows?rank_max=0", 422),
        ("/v1/windows?judgement=perhaps", 422),
        ("/v1/windows?annotated=maybe", 422),
        ("/v1/windows?overlap_min_s=-1", 422),
        ("/v1/windows?label=", 422),
        ("/v1/windows?label=placeholder%3Ahihg", 404),
        ("/v1/windows?site=nort", 404),
        ("/v1/windows?site=%27%3B%20DROP%20TABLE%20windows%3B--", 404),
        ("/v1/windows?recording=no.wav", 404),
        ("/v1/predictions?limit=1001", 422),
        ("/v1/scores?min=2", 422),
        ("/v1/scores?min=nan", 422),
    ],
)
def test_wrong_values_are_refused_in_the_one_shape(served, path, status) -> None:
    error = served.get(path, status)["error"]
    assert error["kind"] and error["message"] and "request_id" in error
    assert "/tmp" not in error["message"] and served.made.store not in error["message"]


def test_near_names_are_told(served) -> None:
    assert "north" in served.get("/v1/windows?site=nort", 404)["error"]["message"]
    assert "placeholder:high" in served.get("/v1/windows?label=placeholder%3Ahihg", 404)["error"]["message"]


@pytest.mark.parametrize("text", ["1970-01-01", "9999-12-31"])
def test_dates_far_away_are_just_empty(served, text) -> None:
    assert served.get(f"/v1/windows?date_from={text}&date_to={text}")["data"] == []


def test_more_names_than_a_filter_takes_are_refused(served) -> None:
    assert served.get("/v1/windows", 422, params=[("site", f"s{n}") for n in range(5_000)])["error"]["fields"]
    assert (
        served.get("/v1/windows", 404, params=[("site", f"s{n}") for n in range(1_000)])["error"]["kind"] == "not_found"
    )
    assert served.get("/v1/windows?limit=1")["data"]


def test_an_address_of_ten_thousand_sites_is_refused_by_the_server_itself(live) -> None:
    import socket

    host, port = live.url.removeprefix("http://").split(":")
    query = "&".join(f"site=s{n}" for n in range(10_000))
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(f"GET /v1/windows?{query} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        status = connection.recv(200).split()[1]
    assert status in (b"400", b"413", b"414", b"422", b"431")


def test_wild_names_in_recordings_match_as_they_are_written(served) -> None:
    for text in ("%*", "n_rth*", "*\\*", "[n]orth*", "*'*"):
        assert served.get("/v1/windows", params={"recording": text})["data"] == []
    assert served.get("/v1/windows", params={"recording": "n?rth/*"})["data"]


def test_a_cursor_is_of_its_own_list(served) -> None:
    cursor = served.get("/v1/windows?limit=1")["meta"]["next"]
    for path in ("/v1/predictions?", "/v1/recordings?", "/v1/windows?site=north&", "/v1/annotations?"):
        assert served.get(f"{path}cursor={cursor}", 422)["error"]["kind"] == "invalid"


def test_a_newer_snapshot_between_two_pages_is_a_conflict(own, tmp_path) -> None:
    with serve(own, tmp_path / "state") as served:
        cursor = served.get("/v1/windows?limit=1")["meta"]["next"]
        config = read_config(own.store)
        rec = store_kit.recording("new/1.wav", site="new")
        store_kit.write_part(own.store, config, [(rec, 0)], site="new", classes=())
        write_snapshot(own.store, config, load_ledger(own.store))
        served.service.readers.refresh()
        told = served.get(f"/v1/windows?limit=1&cursor={cursor}", 409)["error"]
        assert (told["kind"], "newer snapshot" in told["message"]) == ("conflict", True)
        assert served.get("/v1/windows?limit=1")["meta"]["snapshot"] == 2


def test_every_answer_fits_the_openapi_document(served, window) -> None:
    document = served.client.get("/openapi.json").json()
    for path in ("/v1/windows", "/v1/windows/{window_id}", "/v1/predictions", "/v1/scores"):
        told = document["paths"][path]["get"]
        assert {"200", "401", "403", "404", "422", "429", "500", "503"} <= set(told["responses"])
        assert all(
            p.get("description") for p in told["parameters"] if p["name"] in ("limit", "cursor", "window_id", "min")
        )
    label = [p for p in document["paths"]["/v1/scores"]["get"]["parameters"] if p["name"] == "label"]
    assert [p["description"] for p in label] == ["Only this class of the probes"]
    json.dumps(document)
