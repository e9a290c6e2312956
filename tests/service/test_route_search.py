"""Search by sound over HTTP: what the command line finds, from whatever the sound came in."""

from __future__ import annotations

import json
import sqlite3
import threading

import httpx
import numpy as np
import pytest

from search_api.clip_queries import clip_query
from search_api.search import SearchOptions, search
from sonotheque.core.filters import SearchFilter
from store import open_archive
from tests.search import kit
from tests.service import sound_kit
from tests.service.conftest import serve
from tests.service.hearing_kit import WAV

CLIP = sound_kit.clip(703.0)


def hits(document):
    return [(hit["path"], hit["start_s"], hit["score"]) for hit in document["data"]["hits"]]


def expected(made, tmp_path, data=CLIP, span=(None, None), **options):
    (tmp_path / "clip.wav").write_bytes(data)
    with open_archive(made.store) as archive:
        query = clip_query(archive, str(tmp_path / "clip.wav"), from_s=span[0], to_s=span[1])
        found = search(archive, query, SearchOptions(**options)).answer.hits
    return [(hit.path, hit.start_s, float(str(np.float32(hit.score)))) for hit in found]


def keep(served, data=CLIP, name="clip.wav"):
    return served.post(f"/v1/clips?name={name}", status=201, content=data, headers=WAV)["data"]["clip_id"]


def test_raw_forms_and_kept_clips_find_the_same_as_the_command_line(served, tmp_path):
    wanted = expected(served.made, tmp_path, k=5)
    assert wanted[0][0] == "south/20240501_040000.wav"
    clip_id = keep(served)
    for kind in ("audio/wav", "audio/x-wav", "application/octet-stream", "video/ogg", "audio/ogg; codecs=opus"):
        assert hits(served.post("/v1/search?k=5", content=CLIP, headers={"content-type": kind})) == wanted
    assert hits(served.post("/v1/search?k=5", files={"file": ("a.wav", CLIP)})) == wanted
    assert hits(served.post("/v1/search", json={"clip": clip_id, "k": 5})) == wanted


@pytest.mark.parametrize("form", ["flac", "ogg", "mp3", "float"])
def test_other_formats(served, form):
    found = served.post("/v1/search?k=2", content=sound_kit.clip(form=form), headers={"content-type": "audio/any"})
    assert {hit[0] for hit in hits(found)} < {
        path for path, tones in kit.TONES.items() if any(700 <= t <= 705 for t in tones)
    }


def test_an_answer_says_all_it_should(served):
    answer = served.post("/v1/search?k=2&name=a%20call.wav", content=sound_kit.clip(seconds=5.0, seed=1), headers=WAV)
    data, meta = answer["data"], answer["meta"]
    assert data["query"]["kind"] == "clip" and data["query"]["name"] == "a call.wav"
    assert data["query"]["about"] == "3 windows of a call.wav, placeholder"
    assert [w["start_s"] for w in data["query"]["windows"]] == [0.0, 2.0, 4.0]
    assert [w["valid_s"] for w in data["query"]["windows"]] == [2.0, 2.0, 1.0]
    assert data["query"]["options"]["k"] == 2 and data["logged"] is None
    assert data["plan"]["windows"] == 18 and data["plan"]["how"] == "exact"
    assert meta["snapshot"] == 1 and meta["took_ms"] > 0
    assert set(meta["times_ms"]) == {"decode", "embed", "search", "show"} and meta["times_ms"]["decode"] > 0
    assert served.made.store not in json.dumps(answer) and "/tmp" not in json.dumps(answer)
    hit = data["hits"][0]
    assert hit["window_id"] == f"{hit['recording_id']}:{round(hit['start_s'] * 16_000)}"
    assert isinstance(hit["recording_id"], str)
    assert (hit["rank"], hit["exact"], hit["annotations"], hit["site"]) == (1, True, [], hit["path"].split("/")[0])
    assert hit["utc_start"].endswith("Z") and hit["local_start"].endswith("+02:00") and hit["valid_s"] == 2.0


def test_the_same_sound_again_needs_no_model(served):
    data = sound_kit.clip(950.0, seed=77)
    first = served.post("/v1/search?k=1", content=data, headers=WAV)
    second = served.post("/v1/search?k=3&site=south", content=data, headers=WAV)
    third = served.post("/v1/search", json={"clip": keep(served, data, "z.wav"), "k": 1})
    assert (
        first["meta"]["times_ms"]["embed"]
        > 0
        == second["meta"]["times_ms"]["embed"]
        == third["meta"]["times_ms"]["embed"]
    )
    assert hits(first) == hits(third) and third["data"]["query"]["name"] == "z.wav"


def test_ranges(served, tmp_path):
    sound = np.concatenate([kit.tone(5200.0, seed=5), kit.tone(120.0, seed=6), kit.tone(705.0, seed=7)])
    data = sound_kit.packed(sound)
    for span in ((2.0, 4.0), (4.0, None), (None, 2.0), (3.1, 5.7)):
        wanted = expected(served.made, tmp_path, data, span, k=4)
        given = {name: value for name, value in zip(("from_s", "to_s"), span, strict=True) if value is not None}
        raw = served.post("/v1/search?k=4", params={**given, "k": 4}, content=data, headers=WAV)
        assert hits(raw) == wanted
        assert hits(served.post("/v1/search", json={"clip": keep(served, data), "k": 4, **given})) == wanted
        assert raw["data"]["query"]["windows"][0]["start_s"] == (span[0] or 0.0)


def test_filters_and_options_as_parameters_and_as_json(served, tmp_path):
    clip_id = keep(served)
    cases = [
        ({"site": "north"}, {"filter": {"sites": ["north"]}}, {"where": SearchFilter(sites=("north",))}),
        ({"site": ["north", "south"], "date_from": "2024-05-02"},
         {"filter": {"sites": ["north", "south"], "date_from": "2024-05-02"}},
         {"where": SearchFilter.from_texts({"sites": ["north", "south"], "date_from": "2024-05-02"})}),
        ({"hours": "03:00-05:00"}, {"filter": {"hours": "03:00-05:00"}}, {"where": SearchFilter.from_texts({"hours": "03:00-05:00"})}),
        ({"best_per": "recording"}, {"best_per": "recording"}, {"best_per": "recording"}),
        ({"combine": "mean", "exact": "true"}, {"combine": "mean", "exact": True}, {"combine": "mean", "exact": True}),
        ({"without": "south/20240501_040000.wav"}, {"without": ["south/20240501_040000.wav"]}, {"without": ("south/20240501_040000.wav",)}),
        ({"distinct": "0.9"}, {"distinct": 0.9}, {"distinct": 0.9}),
        ({"near_score": "0.5"}, {"near_score": 0.5}, {"near_score": 0.5}),
    ]  # fmt: skip
    for parameters, document, options in cases:
        wanted = expected(served.made, tmp_path, k=6, **options)
        assert wanted
        raw = served.client.post("/v1/search", params={"k": 6, **parameters}, content=CLIP, headers=WAV)
        assert raw.status_code == 200, raw.text
        assert hits(raw.json()) == wanted, parameters
        assert hits(served.post("/v1/search", json={"clip": clip_id, "k": 6, **document})) == wanted, document
    mixed = served.post("/v1/search?k=3&site=south", json={"clip": clip_id, "exact": True})
    assert {hit["site"] for hit in mixed["data"]["hits"]} == {"south"} and len(mixed["data"]["hits"]) == 3
    sample = served.post("/v1/search", json={"clip": clip_id, "per_bin": 2, "bins": [0.0, 0.5, 1.0], "seed": 4})
    assert 1 <= len(sample["data"]["hits"]) <= 4


@pytest.mark.parametrize(
    ("address", "document", "words"),
    [
        ("site=north", {"filter": {"sites": ["south"]}}, "site in the address"),
        ("site=north", {"filter": {}}, "site in the address"),
        ("hours=04:00-05:00&month=5", {"filter": {"sites": ["north"]}}, "hours, month in the address"),
        ("k=3", {"k": 5}, "k: given in the address and in the JSON"),
        ("exact=true&k=3", {"exact": False, "seed": 1}, "exact: given"),
        ("from_s=1", {}, "from_s in the address"),
    ],
)
def test_what_is_asked_twice_is_refused(served, address, document, words):
    """Whichever of the two won, the answer would be right for the other only."""
    vector = {"vector": [1.0] * 64}
    assert served.post("/v1/search", json={**vector, **document})["data"]
    error = served.post(f"/v1/search?{address}", json={**vector, **document}, status=422)["error"]
    assert words in error["message"]


def test_windows_and_vectors(served):
    row = served.made.rows("SELECT * FROM windows WHERE path = 'north/20240501_040000.wav' AND start_s = 2")[0]
    window = f"{row['recording_id']}:{row['start_sample']}"
    found = served.post("/v1/search", json={"window": window, "k": 3})
    assert found["data"]["query"]["kind"] == "window" and found["data"]["query"]["window"] == window
    assert found["data"]["query"]["recording_id"] == str(row["recording_id"])
    assert row["path"] not in {hit["path"] for hit in found["data"]["hits"]}
    own = served.post("/v1/search", json={"window": window, "k": 3, "own_recording": True})
    assert own["data"]["hits"][0]["window_id"] == window and own["data"]["hits"][0]["score"] == pytest.approx(1)
    with open_archive(served.made.store) as archive:
        from search_api.queries import window_query

        vector = window_query(archive, window).vectors[0].tolist()
    one = served.post("/v1/search", json={"vector": vector, "k": 3})
    two = served.post("/v1/search", json={"vector": [vector, vector], "k": 3})
    assert hits(one) == hits(two) and one["data"]["hits"][0]["window_id"] == window
    assert one["data"]["query"]["vectors"] == 1 and two["data"]["query"]["vectors"] == 2


def test_hits_come_with_the_judgements_of_this_moment(changing):
    from search_api.annotations import add_annotation

    before = changing.post("/v1/search?k=1", content=CLIP, headers=WAV)["data"]["hits"][0]
    assert before["annotations"] == []

    add_annotation(changing.made.store, before["path"], before["start_s"], before["end_s"], "Owl", annotator="me")
    (judged,) = changing.post("/v1/search?k=1", content=CLIP, headers=WAV)["data"]["hits"][0]["annotations"]
    assert (judged["label"], judged["judgement"], judged["annotator"]) == ("Owl", "positive", "me")


@pytest.mark.parametrize(
    ("document", "status", "words"),
    [
        ({}, 422, "one of clip, window and vector"),
        ({"clip": "0" * 32, "vector": [1.0]}, 422, "not for clip and vector"),
        ({"clip": "0" * 32}, 404, "there is no clip"),
        ({"clip": "../../x"}, 422, "body.clip"),
        ({"window": "1:2"}, 404, "no recording with the id 1"),
        ({"window": "9999999999999999999:0"}, 422, "window id"),
        ({"window": "north/a.wav@0"}, 422, "body.window"),
        ({"vector": [1.0] * 63}, 422, "63 numbers"),
        ({"vector": [0.0] * 64}, 422, "zero"),
        ({"vector": [1e300] * 64}, 422, "NaN or infinite"),
        ({"vector": [[1.0] * 64, [1.0]]}, 422, "different lengths"),
        ({"vector": ["a"] * 64}, 422, "body.vector"),
        ({"vector": [[1.0] * 64] * 1001}, 413, "1,001 vectors"),
        ({"vector": [1.0] * 64, "from_s": 1.0}, 422, "a vector has no range"),
        ({"vector": [1.0] * 64, "k": 1001}, 413, "at most 1,000"),
        ({"vector": [1.0] * 64, "k": 0}, 422, "body.k"),
        ({"vector": [1.0] * 64, "per_bin": 3}, 422, "belong together"),
        ({"vector": [1.0] * 64, "per_bin": 900, "bins": [0, 0.5, 1]}, 413, "1,800 hits"),
        ({"vector": [1.0] * 64, "filter": {"sites": ["nort"]}}, 404, "north"),
        ({"vector": [1.0] * 64, "filter": {"site": ["north"]}}, 422, "body.filter.site"),
        ({"vector": [1.0] * 64, "filter": {"hours": "25:00"}}, 422, "time of day"),
        ({"vector": [1.0] * 64, "without": ["nort"]}, 404, "no recording nort"),
        ({"vector": [1.0] * 64, "colour": "red"}, 422, "body.colour"),
    ],
)  # fmt: skip
def test_json_that_cannot_be(served, document, status, words):
    error = served.post("/v1/search", json=document, status=status)["error"]
    assert words in error["message"], error
    assert "/tmp" not in error["message"]


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "audio/wav", 422),
        (b"hello", "audio/wav", 415),
        (CLIP, "text/plain", 415),
        (CLIP, "audio/", 415),
        (CLIP, "image/png", 415),
        (b"{", "application/json", 422),
        (b"[]", "application/json", 422),
        (b'{"vector": [NaN]}', "application/json", 422),
        (b"[" * 100_000, "application/json", 422),
        (b"\xff\xfe", "application/json", 422),
        (b"zz", "multipart/form-data; boundary=x", 400),
        (b"zz", "multipart/form-data", 400),
        (b"--x\r\nContent-Disposition: form-data; name=\"k\"\r\n\r\n3\r\n--x--\r\n", "multipart/form-data; boundary=x", 422),
        (sound_kit.clip(seconds=0.2), "audio/wav", 422),
        (sound_kit.wav_head(12, data_bytes=480_000) + bytes(480_000), "audio/wav", 415),
        (sound_kit.silence(1200), "audio/flac", 413),
        (b" " * (3 << 20), "application/json", 413),
    ],
)  # fmt: skip
def test_bodies_that_cannot_be(served, body, kind, status):
    answer = served.client.post("/v1/search", content=body, headers={"content-type": kind})
    assert answer.status_code == status, answer.text[:300]
    assert answer.json()["error"]["kind"] and "/tmp" not in answer.text and "/proc" not in answer.text
    assert served.post("/v1/search?k=1", content=CLIP, headers=WAV)["data"]["hits"]


def test_names_of_uploads_say_nothing_of_paths(served):
    found = served.post("/v1/search?k=1", files={"file": ("../../etc/secret\n.wav", CLIP)})
    assert found["data"]["query"]["name"] in ("secret .wav", "secret%0A.wav")


def test_names_in_a_filter_are_looked_at_before_the_sound_is(served):
    fresh = sound_kit.clip(1234.0, seed=5)
    known = len(served.service.sounds._known)
    served.post("/v1/search?site=nowhere", content=fresh, headers=WAV, status=404)
    assert len(served.service.sounds._known) == known


def test_a_body_that_is_too_large_is_refused_before_it_is_read(made, tmp_path):
    from search_api.http.settings import Limits

    with serve(made, tmp_path, limits=Limits(body_bytes=100_000)) as served:
        large = sound_kit.clip(seconds=10.0)
        for headers in (WAV, {**WAV, "transfer-encoding": "chunked"}):
            content = large if headers is WAV else iter([large[:60_000], large[60_000:]])
            answer = served.client.post("/v1/search", content=content, headers=headers)
            assert answer.status_code == 413 and answer.json()["error"]["kind"] == "too_large"
        assert served.client.post("/v1/search", files={"file": ("a.wav", large)}).status_code == 413
        assert served.post("/v1/search?k=1", content=CLIP, headers=WAV)["data"]["hits"]


def test_a_share_of_the_searches_is_kept_for_review_without_the_sound(made, tmp_path):
    with serve(made, tmp_path, log_share=1.0) as served:
        found = served.post("/v1/search?k=3&site=south", content=CLIP, headers=WAV)["data"]
        assert found["logged"]
    with sqlite3.connect(next((tmp_path / "queries").glob("*.sqlite"))) as db:
        ((token, query, options, kept),) = db.execute("SELECT token, query, options, hits FROM queries").fetchall()
    assert token == found["logged"]
    assert [hit["window_id"] for hit in json.loads(kept)] == [hit["window_id"] for hit in found["hits"]]
    assert json.loads(options)["filter"] == {"sites": ["south"]}
    assert json.loads(query)["kind"] == "clip" and len(query) < 1000


def test_eight_at_once_get_what_each_would_alone(live, tmp_path):
    clips = [sound_kit.clip(300.0 + 400 * n, 2.0 + n % 3, seed=n) for n in range(8)]
    wanted = [expected(live.made, tmp_path, data, k=3) for data in clips]
    found: dict[int, list] = {}

    def user(number: int) -> None:
        with httpx.Client(base_url=live.url, timeout=60) as client:
            for turn in range(4):
                which = (number + turn) % 8
                data = clips[which] + bytes(
                    2 * turn * number
                )  # other bytes after the sound: nobody has heard it before
                answer = client.post("/v1/search?k=3", content=data, headers=WAV)
                found.setdefault(which, []).append(hits(answer.json()) if answer.status_code == 200 else answer.text)

    users = [threading.Thread(target=user, args=(n,)) for n in range(8)]
    for one in users:
        one.start()
    for one in users:
        one.join()
    for which, answers in found.items():
        assert len(answers) == 4
        for answer in answers:
            assert answer == wanted[which]


def test_openapi_tells_every_way_to_send_a_sound(served):
    document = served.get("/openapi.json")
    for path in ("/v1/search", "/v1/identify", "/v1/embed", "/v1/clips", "/v1/probes/{name}/classify"):
        operation = document["paths"][path]["post"]
        content = operation["requestBody"]["content"]
        assert {"audio/*", "application/octet-stream", "multipart/form-data"} <= set(content)
        assert {"401", "403", "408", "413", "415", "422", "429", "503"} <= set(operation["responses"])
        assert "$ref" not in json.dumps(content)
        assert all(parameter.get("description") or parameter["schema"] for parameter in operation["parameters"])
    assert (
        "clip"
        in document["paths"]["/v1/search"]["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"]
    )


def test_a_window_has_the_same_vector_from_the_index_as_from_its_part(own):
    from search_api.queries import window_query
    from store.index import IndexWishes, build_index
    from store.index.stored_rows import indexed_vector, indexed_window

    with open_archive(own.store) as archive:
        build_index(archive, IndexWishes())
    rows = own.rows("SELECT recording_id, start_sample, part_id, part_row FROM windows")
    with open_archive(own.store) as closed, open_archive(own.store) as archive:
        assert archive.index.version is not None
        for row in rows:
            name = f"{row['recording_id']}:{row['start_sample']}"
            found = indexed_vector(archive.index, row["part_id"], row["part_row"])
            assert found is not None and found.shape == (1, 64)
            assert found.tobytes() == window_query(archive, name).vectors.tobytes()
            assert found.tobytes() == window_query(closed, name).vectors.tobytes()
            shown, vector = indexed_window(archive.index, row["recording_id"], row["start_sample"])
            assert vector.tobytes() == found.tobytes()
            other, same = window_query(closed, name), window_query(archive, name)
            assert (same.name, same.about, same.windows) == (other.name, other.about, other.windows)
            assert shown["start_sample"] == row["start_sample"]
        assert "index" not in vars(closed)
        assert indexed_vector(archive.index, "nobody", 0) is None
        assert indexed_window(archive.index, rows[0]["recording_id"], 1) is None
        assert indexed_window(archive.index, 1, 0) is None


def test_without_an_index_vectors_come_from_the_parts(made):
    from store.index.stored_rows import indexed_vector

    (row,) = made.rows("SELECT part_id, part_row FROM windows LIMIT 1")
    with open_archive(made.store) as archive:
        assert indexed_vector(archive.index, row["part_id"], row["part_row"]) is None
