"""Recordings, sites, effort, index and snapshots over HTTP."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def recordings(served):
    return served.get("/v1/recordings")["data"]


def test_recordings_by_site_and_time_in_pages(served, recordings) -> None:
    assert [row["path"] for row in recordings] == sorted(row["path"] for row in recordings)
    found, cursor = [], None
    while True:
        page = served.get("/v1/recordings", params={"limit": 2, **({"cursor": cursor} if cursor else {})})
        found += page["data"]
        if (cursor := page["meta"]["next"]) is None:
            break
    assert found == recordings
    assert all(isinstance(row["recording_id"], str) and isinstance(row["device"], dict) for row in recordings)


def test_one_recording_with_its_neighbours_and_its_best(served, recordings) -> None:
    ids = [row["recording_id"] for row in recordings if row["site"] == "north"]
    found = [served.get(f"/v1/recordings/{one}")["data"] for one in ids]
    assert [one["previous"] for one in found] == [None, *ids[:-1]]
    assert [one["next"] for one in found] == [*ids[1:], None]
    best = found[0]["predictions_top"][0]
    window = served.get(f"/v1/windows/{best['best_window_id']}")["data"]
    assert (window["recording_id"], window["start_s"]) == (ids[0], best["best_start_s"])
    assert best["best_score"] in [p["score"] for p in window["predictions"] if p["label"] == best["label"]]


def test_a_timeline_has_every_window(served, recordings) -> None:
    one = recordings[0]
    found = served.get(f"/v1/recordings/{one['recording_id']}/timeline?top=2")["data"]
    assert [w["start_s"] for w in found["windows"]] == [0.0, 2.0, 4.0, 6.0]
    assert (found["hop_s"], found["duration_s"], len(found["windows"][0]["top"])) == (2.0, 8.0, 2)
    part = served.get(f"/v1/recordings/{one['recording_id']}/timeline?from_s=3&to_s=4&top=0")["data"]["windows"]
    assert [(w["start_s"], w["top"]) for w in part] == [(2.0, [])]


def test_sites_and_effort_agree(served) -> None:
    sites = served.get("/v1/sites")["data"]
    assert [(s["site"], s["recordings"], s["windows"], s["zone"]) for s in sites] == [
        ("north", 3, 10, "Europe/Paris"),
        ("south", 2, 8, "Europe/Paris"),
    ]
    effort = served.get("/v1/effort")["data"]
    assert (
        sum(cell["audio_s"] for cell in effort["cells"])
        == sum(s["audio_s"] for s in sites)
        == effort["totals"]["audio_s"]
    )
    assert effort["hours"] == list(range(24))
    assert {cell["site"] for cell in served.get("/v1/effort?per_site=false")["data"]["cells"]} == {None}
    assert {cell["hour"] for cell in served.get("/v1/effort?hours=22:00-23:00")["data"]["cells"]} == {22}


def test_the_index_and_the_snapshots_name_no_folder(served) -> None:
    state = served.client.get("/v1/index")
    assert state.json()["data"]["built"] is False and state.json()["data"]["notes"]
    snapshots = served.client.get("/v1/snapshots")
    assert [s["snapshot"] for s in snapshots.json()["data"]] == [1]
    for answer in (state, snapshots):
        assert served.made.store not in answer.text


def test_a_built_index_is_told_with_its_numbers(own, tmp_path) -> None:
    from store import open_archive
    from store.index.build import build_index
    from tests.service.conftest import serve

    with open_archive(own.store) as archive:
        build_index(archive)
    with serve(own, tmp_path / "state") as served:
        found = served.get("/v1/index")["data"]
    assert (found["built"], found["kind"], found["windows"], found["fresh_windows"]) == (True, "exact", 18, 0)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/recordings/x", 422),
        ("/v1/recordings/-1", 422),
        ("/v1/recordings/12", 404),
        ("/v1/recordings/9999999999999999999", 422),
        ("/v1/recordings/12/timeline", 404),
        ("/v1/recordings/12/timeline?from_s=-1", 422),
        ("/v1/recordings/12/timeline?from_s=nan", 422),
        ("/v1/recordings/12/timeline?from_s=5&to_s=5", 422),
        ("/v1/recordings/12/timeline?top=11", 422),
        ("/v1/recordings/12?score_min=nan", 422),
        ("/v1/recordings/12?score_min=1.5", 422),
        ("/v1/recordings?limit=501", 422),
        ("/v1/recordings?limit=0", 422),
        ("/v1/recordings?label=rain", 422),
        ("/v1/recordings?sun=sunset..sunrise", 422),
        ("/v1/recordings?annotated=true", 422),
        ("/v1/recordings?site=nort", 404),
        ("/v1/effort?site=nort", 404),
        ("/v1/effort?per_site=perhaps", 422),
        ("/v1/effort?score_min=inf", 422),
    ],
)
def test_wrong_values_are_refused_in_the_one_shape(served, path, status) -> None:
    error = served.get(path, status)["error"]
    assert error["kind"] and error["message"]
    assert served.made.store not in error["message"]


def test_what_only_reads_changes_nothing(served, recordings) -> None:
    from tests.service.conftest import tree

    before = tree(served.made.store)
    one = recordings[0]["recording_id"]
    for path in (
        "/v1/recordings",
        f"/v1/recordings/{one}",
        f"/v1/recordings/{one}/timeline",
        "/v1/sites",
        "/v1/effort",
        "/v1/annotations",
    ):
        served.get(path)
    assert tree(served.made.store) == before


def test_a_scope_is_needed_and_told_where_there_are_keys(own, tmp_path) -> None:
    from tests.service.conftest import serve

    with serve(own, tmp_path / "state") as served:
        _, secret = served.service.keys.create("Cleo", ("embed",))
        assert served.get("/v1/recordings", 401)["error"]["kind"] == "unauthorized"
        told = served.get("/v1/recordings", 403, headers={"Authorization": f"Bearer {secret}"})["error"]
        assert told["kind"] == "forbidden"
