"""Activity, species and labels over HTTP."""

from __future__ import annotations

import pytest

HIGH = "placeholder:high"


def test_activity_of_two_species_as_grids(served) -> None:
    found = served.get("/v1/activity", params={"label": [HIGH, "placeholder:low"], "score_min": 0.1})
    data = found["data"]
    assert data["labels"] == [HIGH, "placeholder:low"] and data["score_min"] == 0.1
    assert [p["label"] for p in data["panels"]] == data["labels"]
    panel = data["panels"][0]
    assert panel["dates"] == ["2024-05-01", "2024-05-02"] and panel["hours"] == list(range(24))
    recorded = {(d, h) for d, row in enumerate(panel["audio_s"]) for h, s in enumerate(row) if s is not None}
    assert recorded == {(0, 4), (0, 22), (1, 4), (1, 5)}
    assert {(d, h) for d, row in enumerate(panel["found"]) for h, n in enumerate(row) if n is not None} == recorded
    total = sum(n for row in panel["found"] for n in row if n)
    plain = served.made.rows(f"SELECT count(*) AS n FROM predictions WHERE label = '{HIGH}' AND score >= 0.1")
    assert total == plain[0]["n"] == data["totals"][0]["detections"]


@pytest.mark.parametrize("by", ["hour", "date", "month"])
def test_activity_as_rows(served, by) -> None:
    rows = served.get("/v1/activity", params={"label": HIGH, "score_min": 0.1, "by": by, "per_site": "true"})["data"][
        "rows"
    ]
    assert {row["site"] for row in rows} == {"north", "south"}
    assert all(row[by] is not None for row in rows)
    assert sum(row["windows"] for row in rows) == 18


def test_a_species_that_was_not_found_says_how_near_it_came(served) -> None:
    found = served.get("/v1/activity", params={"label": HIGH, "score_min": 1.0})
    assert found["data"]["totals"][0]["detections"] == 0
    assert "its best score there is" in found["meta"]["notes"][0]


def test_the_filter_has_no_second_label_in_the_openapi_document(served) -> None:
    told = served.client.get("/openapi.json").json()["paths"]["/v1/activity"]["get"]["parameters"]
    label = [p for p in told if p["name"] == "label"]
    assert len(label) == 1 and label[0]["schema"]["type"] == "array"
    assert {"site", "date_from", "hours", "score_min", "by", "source"} <= {p["name"] for p in told}


def test_species_with_windows_that_can_be_asked_for(served) -> None:
    found = served.get("/v1/species", params={"score_min": 0.1, "best": 2})
    assert sum(row["windows"] for row in found["data"]) <= 18 and found["data"]
    for row in found["data"]:
        assert 1 <= len(row["best"]) <= 2
        window = served.get(f"/v1/windows/{row['best'][0]['window_id']}")["data"]
        assert window["predictions"][0]["score"] == row["best_score"] == row["best"][0]["score"]
    per_site = served.get("/v1/species", params={"score_min": 0.1, "per_site": "true", "site": "north"})["data"]
    assert {row["site"] for row in per_site} == {"north"}


def test_labels_by_part_of_their_names(served) -> None:
    assert {row["label"] for row in served.get("/v1/labels?q=HIGH")["data"]} == {HIGH}
    assert len(served.get("/v1/labels")["data"]) == 3
    assert served.get("/v1/labels", params={"q": "%'; --"})["data"] == []
    assert len(served.get("/v1/labels?limit=1")["data"]) == 1


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/activity", 422),
        ("/v1/activity?label=", 422),
        ("/v1/activity?label=placeholder%3Ahihg", 404),
        ("/v1/activity?label=placeholder:high&by=week", 422),
        ("/v1/activity?label=placeholder:high&source=guess", 422),
        ("/v1/activity?label=placeholder:high&source=probe", 422),
        ("/v1/activity?label=placeholder:high&source=probe&probe=owl", 404),
        ("/v1/activity?label=placeholder:high&source=probe&probe=..%2F..%2Fetc", 422),
        ("/v1/activity?label=placeholder:high&source=annotations", 404),
        ("/v1/activity?label=placeholder:high&source=annotations&score_min=0.5", 422),
        ("/v1/activity?label=placeholder:high&score_min=nan", 422),
        ("/v1/activity?label=placeholder:high&site=nort", 404),
        ("/v1/activity?" + "&".join(["label=placeholder:high"] * 51), 422),
        ("/v1/activity?label=" + "x" * 501, 422),
        ("/v1/species?best=0", 422),
        ("/v1/species?best=21", 422),
        ("/v1/species?limit=0", 422),
        ("/v1/species?site=nort", 404),
        ("/v1/labels?limit=0", 422),
        ("/v1/labels?limit=-1", 422),
        ("/v1/labels?limit=1000000000", 422),
        ("/v1/labels?q=" + "x" * 201, 422),
    ],
)
def test_wrong_values_are_refused_in_the_one_shape(served, path, status) -> None:
    error = served.get(path, status)["error"]
    assert error["kind"] and error["message"]
    assert served.made.store not in error["message"]
