"""Parameters of an address: what a route does not take is refused, since an answer that passes it over looks right and is not."""

from __future__ import annotations

import itertools
import re

import pytest
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search_api.http.filters import FILTER_PARAMETERS
from search_api.http.routes import routers
from search_api.http.routing import declared_parameters
from sonotheque.core.filters import SearchFilter
from tests.service import sound_kit
from tests.service.hearing_kit import WAV

VECTOR = {"vector": [1.0] * 64}
BODIES = {
    "/v1/annotations": {"annotations": []},
    "/v1/annotations/undo": {"last": True},
    "/v1/feedback": {"window_id": "1:0", "label": "owl", "verdict": "right", "source": {"kind": "search"}},
    "/v1/jobs": {"kind": "index", "action": "update"},
    "/v1/sql": {"query": "SELECT 1"},
    "/v1/queries/{token}/review": {"verdict": "good"},
    "/v1/probes/{name}/promote": {"version": 1},
    "/v1/probes/{name}/rollback": {"why": "x"},
    "/v1/search": VECTOR,
}


def documented(served):
    """Every operation of the API with its parameters as the document has them: the other way to know them."""
    for path, methods in served.get("/openapi.json")["paths"].items():
        for method, operation in methods.items():
            if path.startswith("/v1") and path != "/v1/session":
                yield (
                    path,
                    method,
                    {
                        p["name"]: p["schema"].get("type") == "array"
                        or any(one.get("type") == "array" for one in p["schema"].get("anyOf", ()))
                        for p in operation.get("parameters", ())
                        if p["in"] == "query"
                    },
                )


def address(path):
    """An address of the right form; whether there is anything at it does not matter."""
    for name, value in {
        "window_id": "1:0", "recording_id": "1", "clip_id": "0" * 32, "job_id": "20260101T000000000000-abcdef", "version": "1",
        "token": "a" * 22, "name": "owl",
    }.items():  # fmt: skip
        path = path.replace(f"{{{name}}}", value)
    return path


def test_what_is_declared_is_what_is_documented(served):
    told = {(path, method.upper()): names for path, method, names in documented(served)}
    found = {}
    for router in routers(served.service.settings):
        for route in router.routes:
            for method in getattr(route, "methods", None) or ():
                if isinstance(route, APIRoute) and (route.path, method) in told:
                    found[route.path, method] = declared_parameters(route)
    assert len(found) > 40
    assert found == {key: told[key] for key in found}
    assert set(told) - set(found) <= {("/v1", "GET")}


def test_every_operation_refuses_a_parameter_that_it_does_not_have(served):
    asked = 0
    for path, method, _ in documented(served):
        answer = served.client.request(method, f"{address(path)}?colour=red", json=BODIES.get(path, {}))
        if path == "/v1/sql" and answer.status_code == 403:
            continue
        assert answer.status_code == 422, (method, path, answer.text[:300])
        error = answer.json()["error"]
        assert {"where": "query.colour"}.items() <= error["fields"][0].items(), (method, path, error)
        assert "no such parameter" in error["message"]
        asked += 1
    assert asked > 45


@pytest.mark.parametrize(
    ("asked", "near"),
    [
        ("/v1/windows?sites=north", "did you mean site"),
        ("/v1/windows?site=north&Site=south", "did you mean site"),
        ("/v1/windows?date_form=2024-05-01", "date_from"),
        ("/v1/annotations/export?fmt=raven", "form"),
        ("/v1/annotations?site=north", "label"),
        ("/v1/annotations/labels?label=x", "this address takes none"),
        ("/v1/sites?limit=3", "this address takes none"),
        ("/v1/windows?limit=1&=", "query.: "),
        ("/v1/scores?minimum=0.5", "min"),
        ("/v1/windows/1:0/audio?speeed=2", "speed"),
        ("/v1/windows/1:0/spectrogram?colourmap=gray", "colormap"),
        ("/v1/windows/1:0/audio?from_s=1", "no such parameter"),
        ("/v1?x=1", "this address takes none"),
    ],
)
def test_near_names(served, asked, near):
    error = served.get(asked, 422)["error"]
    assert error["kind"] == "invalid" and near in error["message"]


def test_searches_and_uploads(served):
    for name, body in itertools.product(
        ("sites", "scoremin", "window"), ({"json": VECTOR}, {"content": b"x", "headers": WAV})
    ):
        error = served.post(f"/v1/search?{name}=x", status=422, **body)["error"]
        assert error["fields"][0]["where"] == f"query.{name}"
    served.post("/v1/clips?title=x", status=422, content=sound_kit.clip(), headers=WAV)
    served.post("/v1/identify?probe=owl", status=422, content=sound_kit.clip(), headers=WAV)
    # A path's parameter is none of the address's query, though it has the name that an upload's has.
    served.post("/v1/probes/owl/classify?name=a.wav", status=422, content=sound_kit.clip(), headers=WAV)


def test_one_value_given_twice(served):
    for asked in ("limit=1&limit=2", "hours=04:00-05:00&hours=04:00-05:00", "annotated=true&annotated=false"):
        error = served.get(f"/v1/windows?{asked}", 422)["error"]
        assert "is given 2 times" in error["message"] and error["fields"][0]["where"] == f"query.{asked.split('=')[0]}"
    assert served.get("/v1/windows?site=north&site=south&month=5&month=6")["data"]
    assert served.get("/v1/activity?label=a&label=b", 404)["error"]["kind"] == "not_found"
    served.get("/v1/species?label=a&label=b", 422)
    window = served.get("/v1/windows?limit=1")["data"][0]["window_id"]
    assert served.client.get(f"/v1/windows/{window}/audio?speed=1&speed=2").status_code == 422
    assert served.client.get(f"/v1/windows/{window}/audio?speed=2&margin_s=0").status_code == 200
    assert served.client.head(f"/v1/windows/{window}/audio?speed=2").status_code == 200
    assert served.client.head(f"/v1/windows/{window}/audio?sped=2").status_code == 422


def test_a_thousand_wrong_names_are_not_each_looked_up(served):
    text = "&".join(f"n{n}=1" for n in range(3000)) + "&" + "x" * 5000 + "=1"
    error = served.get(f"/v1/windows?{text}", 422)["error"]
    assert len(error["fields"]) == 10
    (one,) = served.get(f"/v1/windows?{'x' * 5000}=1", 422)["error"]["fields"]
    assert len(one["where"]) < 80


def test_who_may_not_ask_is_told_that_first(made, tmp_path):
    from tests.service.conftest import serve

    with serve(made, tmp_path) as own:
        own.service.keys.create("reader", ["read"])
        assert own.get("/v1/windows?sites=x", 401)["error"]["kind"] == "unauthorized"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([*sorted(FILTER_PARAMETERS), "limit", "sites", "Limit", "a b", "é"]), max_size=4))
def test_a_dumb_check_of_the_names_says_the_same(served, names):
    """Wrong values are refused too; but no other name is, and no repeated list."""
    known = FILTER_PARAMETERS | {"limit", "cursor"}
    lists = {"site", "deployment", "recording", "month"}
    wrong = {n for n in names if n not in known or (names.count(n) > 1 and n not in lists)}
    answer = served.client.get("/v1/windows", params=[(name, "1") for name in names])
    told = answer.json().get("error", {})
    words = ("no such parameter", "is given ")
    found = {f["where"].removeprefix("query.") for f in told.get("fields", ()) if any(w in f["message"] for w in words)}
    assert found == wrong, told


def test_the_filters_parameters_are_the_filters_fields():
    assert len(FILTER_PARAMETERS) == len(SearchFilter.__dataclass_fields__)


def test_the_page_sends_what_is_declared(served):
    """Names that the page gives to the pictures, the sound and the filter; those of its other calls, the page's own tests ask."""
    from search_api.http.routes.pages import FOLDER

    told = {path: names for path, method, names in documented(served) if method == "get"}
    values = (FOLDER / "js/components/filter_values.js").read_text(encoding="utf-8")
    sent = set(re.findall(r"^  (\w+): \"", values.split("FILTER_FIELDS = {", 1)[1].split("}", 1)[0], re.MULTILINE))
    assert sent == FILTER_PARAMETERS
    listen = (FOLDER / "js/components/listen.js").read_text(encoding="utf-8")
    sound = set(re.findall(r"\b(margin_s|from_s|to_s|form|speed|gain_db):", listen)) | {"gain_db"}
    assert sound <= set(told["/v1/recordings/{recording_id}/audio"])
    store = (FOLDER / "js/core/store.js").read_text(encoding="utf-8")
    drawn = re.search(r"return \{ (scale[^}]*) \}", store)
    assert drawn and set(drawn[1].split(", ")) <= set(told["/v1/windows/{window_id}/spectrogram"])
