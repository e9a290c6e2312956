"""What the service tells of itself; alive, ready, measured."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from search_api.keys import KeyRing
from search_api.overview import archive_name, archive_overview, model_facts
from sonotheque.core.version import VERSION
from store import open_archive
from tests.search import kit
from tests.service.conftest import serve


class TestOverview:
    def test_it_is_what_the_windows_say(self, made):
        """The dumb twin counts windows."""
        with open_archive(made.store) as archive:
            found = archive_overview(archive)
            windows = archive.sql("SELECT recording_id, site, date::VARCHAR AS date FROM windows").to_pylist()
            audio_s = archive.sql("SELECT sum(duration_s) AS s FROM recordings").to_pylist()[0]["s"]
        assert found.windows == len(windows)
        assert found.recordings == len({w["recording_id"] for w in windows}) == len(kit.TONES)
        assert found.sites == len({w["site"] for w in windows}) == 2
        assert found.audio_s == pytest.approx(audio_s)
        assert (found.first, found.last) == (min(w["date"] for w in windows), max(w["date"] for w in windows))

    def test_the_model(self, made):
        with open_archive(made.store) as archive:
            assert model_facts(archive) == {
                "name": "placeholder",
                "version": archive.config.model.version,
                "dim": 64,
                "window_s": 2.0,
                "sample_rate_hz": 16_000,
                "licence_note": "",
            }

    def test_weights_that_are_not_free_are_named(self):
        from types import SimpleNamespace

        model = SimpleNamespace(name="birdnet_v2.4", version="2.4", dim=1024, window_s=3.0, sample_rate_hz=48_000)
        facts = model_facts(SimpleNamespace(config=SimpleNamespace(model=model)))  # type: ignore[arg-type]
        assert "CC BY-NC-SA" in facts["licence_note"]
        model.name = "a_model_of_tomorrow"
        assert model_facts(SimpleNamespace(config=SimpleNamespace(model=model)))["licence_note"] == ""  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("root", "name"), [("/data/archive", "archive"), ("/data/archive/", "archive"), ("/", "archive")]
    )
    def test_its_name(self, root, name):
        assert archive_name(root) == name


class TestInfo:
    def test_what_it_holds_and_offers(self, served):
        found = served.get("/v1")
        data = found["data"]
        assert data["name"] == "sonotheque"
        assert data["version"] == VERSION
        assert data["store"]["name"] == "store"
        assert data["store"]["windows"] == sum(len(tones) for tones in kit.TONES.values())
        assert data["store"]["first"] == "2024-05-01"
        assert data["you"]["name"] == "local"
        assert data["you"]["scopes"] == ["admin", "annotate", "embed", "read"]
        assert data["you"]["annotator"]
        assert data["features"]["sql"] is False
        assert data["features"]["recordings_here"] is True
        assert data["limits"]["k_max"] == 1000
        assert found["meta"]["snapshot"] == 1
        assert str(served.made.recordings) not in str(found)

    def test_health(self, served):
        assert served.get("/healthz")["data"] == {"status": "alive"}
        assert served.get("/readyz")["data"] == {"ready": True, "reasons": []}

    def test_not_ready_says_why_and_names_no_folder(self, served, monkeypatch):
        monkeypatch.setattr(served.service, "not_ready", lambda: [f"{served.made.store}/index is damaged"])
        answer = served.client.get("/readyz")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        (reason,) = answer.json()["data"]["reasons"]
        assert "damaged" in reason
        assert served.made.store not in reason

    def test_ending_is_not_ready(self, served, monkeypatch):
        monkeypatch.setattr(served.service, "draining", True)
        assert served.get("/readyz", 503)["data"]["reasons"] == ["the service is ending"]
        assert served.get("/healthz")
        assert served.get("/v1"), "what is asked meanwhile is answered"

    def test_measures(self, served):
        served.get("/v1")
        answer = served.client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        families = {f.name: f for f in text_string_to_metric_families(answer.text)}
        lanes = {s.labels["lane"] for s in families["sonotheque_lane_calls"].samples}
        assert {"read", "search", "draw", "write"} <= lanes
        assert any(s.labels["route"] == "/v1" for s in families["sonotheque_requests"].samples)
        assert served.made.store not in answer.text

    def test_with_keys(self, made, tmp_path):
        ring = KeyRing(tmp_path / "keys.json")
        _, reader = ring.create("anna", ["read"])
        _, admin = ring.create("root", ["admin"])
        with serve(made, tmp_path) as served:
            assert served.get("/v1", 401)["error"]["kind"] == "unauthorized"
            assert served.get("/metrics", 401)["error"]["kind"] == "unauthorized"
            mine = served.get("/v1", headers={"X-API-Key": reader})["data"]["you"]
            assert mine == {"name": "anna", "scopes": ["read"], "annotator": "anna"}
            assert served.get("/metrics", 403, headers={"X-API-Key": reader})["error"]["kind"] == "forbidden"
            assert served.client.get("/metrics", headers={"X-API-Key": admin}).status_code == 200
            assert served.client.get("/healthz").status_code == 200
            served.post("/v1/session", {"key": reader})
            assert served.get("/v1")["data"]["you"]["name"] == "anna"


def test_every_route_of_the_api_demands_a_scope(made, tmp_path):
    """With a key that has none of a route's scopes, and without any: no route forgets to look."""
    ring = KeyRing(tmp_path / "keys.json")
    _, sql = ring.create("only-sql", ["sql"])
    with serve(made, tmp_path, sql=True) as served:
        paths = served.get("/openapi.json")["paths"]
        assert len(paths) > 5
        for path, methods in paths.items():
            for method in methods:
                if path in ("/healthz", "/readyz", "/v1/session"):
                    continue
                asked = path.replace("{", "").replace("}", "")
                answer = served.client.request(method.upper(), asked)
                assert answer.status_code == 401, (method, path)
                if path != "/v1/sql":
                    # A body that is wrong is told first where the framework reads it first: never an answer.
                    answer = served.client.request(method.upper(), asked, headers={"X-API-Key": sql}, json={})
                    assert answer.status_code in (403, 422, 415), (method, path, answer.text[:200])
