"""What is singing here: the model's classes and the probes in use, on uploads and on the archive's own windows."""

from __future__ import annotations

import io

import numpy as np
import pytest

from embedder.models import load_model
from search_api.clip_queries import clip_query
from search_api.uploads.identifying import summary
from search_api.uploads.probing import ProbeCache
from sonotheque.core.errors import Invalid, NotFound
from store import open_archive
from store.probes import ProbeStore
from tests.service import sound_kit
from tests.service.conftest import serve
from tests.service.hearing_kit import WAV, keep, probe

CLIP = sound_kit.clip(703.0, 5.0)


@pytest.fixture(scope="module")
def probed(made, tmp_path_factory):
    """A store with two probes in use and one that is not."""
    import shutil

    from tests.search import kit

    folder = tmp_path_factory.mktemp("probed")
    shutil.copytree(made.store, folder / "store")
    own = kit.Made(made.recordings, str(folder / "store"))
    keep(own.store, 1)
    keep(own.store, 2, name="other", classes=("one",))
    keep(own.store, 3, name="unused", promote=False)
    with serve(own, folder / "state") as found:
        yield found


def vectors(made, data, tmp_path, from_s=None, to_s=None):
    (tmp_path / "clip.wav").write_bytes(data)
    with open_archive(made.store) as archive:
        return clip_query(archive, str(tmp_path / "clip.wav"), from_s=from_s, to_s=to_s)


def test_model_and_probes_of_each_window(probed, tmp_path):
    found = probed.post("/v1/identify?top_k=2", content=CLIP, headers=WAV)
    query = vectors(probed.made, CLIP, tmp_path)
    windows = found["data"]["windows"]
    assert [(w["start_s"], w["end_s"], w["valid_s"]) for w in windows] == [(0, 2, 2), (2, 4, 2), (4, 6, 1)]
    for name, seed, classes in (("tones", 1, ("high", "low")), ("other", 2, ("one",))):
        own = probe(probed.made.store, seed, classes, name)
        twin = own.probabilities(own.logits(query.vectors))
        for row, scores in zip(windows, twin, strict=True):
            mine = [p for p in row["probes"] if p["probe"] == name]
            assert [p["label"] for p in mine] == list(classes)
            assert [np.float32(p["score"]) for p in mine] == list(scores)
            assert all(p["hit"] == (p["score"] >= p["threshold"]) and p["version"] == 1 for p in mine)
    model = load_model("placeholder")
    from embedder.audio import open_windows

    frames = [f for _, _, f in open_windows(str(tmp_path / "clip.wav"), _rule(probed.made))]
    logits = model.embed(np.stack(frames)).logits
    for row, own_logits in zip(windows, logits, strict=True):
        order = np.argsort(-own_logits)[:2]
        assert [(p["label"], p["rank"]) for p in row["predictions"]] == [
            (model.classes[c], n + 1) for n, c in enumerate(order)
        ]
        assert [np.float32(p["score"]) for p in row["predictions"]] == list(model.scores(own_logits[order]))
    assert {s["source"] for s in found["data"]["summary"]} <= {"model", "probe:tones", "probe:other"}
    best = found["data"]["summary"][0]
    assert best["windows"] == 3 and best["source"] in ("model", "probe:tones", "probe:other")


def _rule(made):
    from store import read_config

    return read_config(made.store).windows


def test_kept_clips_ranges_and_windows_of_the_archive(probed):
    clip_id = probed.post("/v1/clips", status=201, content=CLIP, headers=WAV)["data"]["clip_id"]
    raw = probed.post("/v1/identify?from_s=2&to_s=4", content=CLIP, headers=WAV)["data"]
    assert probed.post("/v1/identify", json={"clip": clip_id, "from_s": 2, "to_s": 4})["data"] == raw
    assert [w["start_s"] for w in raw["windows"]] == [2.0]
    row = probed.made.rows("SELECT * FROM windows WHERE path = 'north/20240501_220000.wav' AND start_s = 4")[0]
    window = f"{row['recording_id']}:{row['start_sample']}"
    stored = probed.post("/v1/identify?top_k=3", json={"window": window})["data"]["windows"][0]
    wanted = probed.made.rows(
        f"SELECT label, rank FROM predictions WHERE recording_id = {row['recording_id']} AND start_sample = {row['start_sample']} ORDER BY rank"
    )
    assert [(p["label"], p["rank"]) for p in stored["predictions"]] == [(w["label"], w["rank"]) for w in wanted[:3]]
    assert stored["start_s"] == 4.0 and {p["probe"] for p in stored["probes"]} == {"tones", "other"}
    sound = sound_kit.packed(_cut(probed.made, row))
    heard = probed.post("/v1/identify?top_k=3", content=sound, headers=WAV)["data"]["windows"][0]
    for mine, theirs in zip(heard["probes"], stored["probes"], strict=True):
        assert mine["score"] == pytest.approx(theirs["score"], abs=0.01)  # the store keeps halves


def _cut(made, row):
    import soundfile as sf

    sound, rate = sf.read(made.recordings / row["path"])
    return sound[round(row["start_s"] * rate) : round(row["end_s"] * rate)]


def test_which_probes(probed):
    def named(query):
        found = probed.post(f"/v1/identify{query}", content=CLIP, headers=WAV)
        return {p["probe"] for w in found["data"]["windows"] for p in w["probes"]}

    assert named("") == named("?probes=all") == {"tones", "other"}
    assert named("?probes=none") == set()
    assert named("?probes=other") == {"other"}
    assert named("?probes=other&probes=tones") == {"tones", "other"}
    assert probed.post("/v1/identify?top_k=0&probes=none", content=CLIP, headers=WAV)["data"]["summary"] == []
    probed.post("/v1/identify?probes=nobody", content=CLIP, headers=WAV, status=404)
    probed.post("/v1/identify?probes=unused", content=CLIP, headers=WAV, status=404)
    probed.post("/v1/identify?probes=all&probes=other", content=CLIP, headers=WAV, status=422)
    probed.post("/v1/identify?probes=../../x", content=CLIP, headers=WAV, status=422)


def test_a_new_version_counts_from_when_it_is_promoted(changing):
    root = changing.made.store
    keep(root, 1)

    def scores():
        found = changing.post("/v1/identify?top_k=0", content=CLIP, headers=WAV)["data"]["windows"][0]
        return [(p["version"], p["score"]) for p in found["probes"]]

    first = scores()
    keep(root, 2, promote=False)
    assert scores() == first
    ProbeStore(root).promote("tones", 2, "better")
    second = scores()
    assert [v for v, _ in second] == [2, 2] and second != first


def test_a_probe_that_is_damaged_is_a_note_and_no_failure(changing):
    from pathlib import Path

    keep(changing.made.store, 1)
    keep(changing.made.store, 2, name="other", classes=("one",))
    for file in Path(changing.made.store).glob("probes/other/**/*.safetensors"):
        file.write_bytes(file.read_bytes()[:-4] + b"oops")
    found = changing.post("/v1/identify", content=CLIP, headers=WAV)
    assert {p["probe"] for w in found["data"]["windows"] for p in w["probes"]} == {"tones"}
    assert any("other was not asked" in note for note in found["meta"]["notes"])
    assert changing.made.store not in str(found["meta"]["notes"])
    changing.post("/v1/identify?probes=other", content=CLIP, headers=WAV, status=500)


def test_classify(probed, tmp_path):
    found = probed.post("/v1/probes/tones/classify", content=CLIP, headers=WAV)["data"]
    assert (found["probe"], found["version"], found["classes"]) == ("tones", 1, ["high", "low"])
    assert found["thresholds"] == {"high": 0.5, "low": 0.5}
    own = probe(probed.made.store, 1)
    twin = own.probabilities(own.logits(vectors(probed.made, CLIP, tmp_path).vectors))
    for row, scores in zip(found["windows"], twin, strict=True):
        assert [np.float32(row["scores"][label]) for label in ("high", "low")] == list(scores)
        assert row["hits"] == [label for label, score in zip(("high", "low"), scores, strict=True) if score >= 0.5]
        assert row["window_id"] is None
    ids = [
        f"{r['recording_id']}:{r['start_sample']}"
        for r in probed.made.rows(
            "SELECT recording_id, start_sample FROM windows ORDER BY path DESC, start_s DESC LIMIT 7"
        )
    ]
    stored = probed.post("/v1/probes/tones/classify", json={"windows": [*ids, ids[0]]})["data"]["windows"]
    assert [row["window_id"] for row in stored] == [*ids, ids[0]] and stored[0] == stored[-1]
    old = probed.post("/v1/probes/unused/classify?version=1", json={"windows": ids[:1]})["data"]
    assert old["version"] == 1
    clip_id = probed.post("/v1/clips", status=201, content=CLIP, headers=WAV)["data"]["clip_id"]
    assert probed.post("/v1/probes/tones/classify", json={"clip": clip_id})["data"] == found


@pytest.mark.parametrize(
    ("path", "document", "status"),
    [
        ("/v1/probes/nobody/classify", {"windows": ["1:2"]}, 404),
        ("/v1/probes/unused/classify", {"windows": ["1:2"]}, 404),
        ("/v1/probes/tones/classify?version=9", {"windows": ["1:2"]}, 404),
        ("/v1/probes/tones/classify", {"windows": ["1:2"]}, 404),
        ("/v1/probes/tones/classify", {"windows": []}, 422),
        ("/v1/probes/tones/classify", {"windows": ["x"]}, 422),
        ("/v1/probes/tones/classify", {"windows": ["9999999999999999999:1"]}, 422),
        ("/v1/probes/tones/classify", {"windows": ["1:2"], "clip": "0" * 32}, 422),
        ("/v1/probes/tones/classify", {"clip": "0" * 32}, 404),
        ("/v1/probes/tones/classify", {}, 422),
        ("/v1/probes/%2e%2e/classify", {"windows": ["1:2"]}, 422),
        ("/v1/identify", {}, 422),
        ("/v1/identify", {"clip": "0" * 32, "window": "1:2"}, 422),
        ("/v1/identify", {"window": "1:2"}, 404),
        ("/v1/identify", {"window": "1:2", "from_s": 3}, 422),
        ("/v1/identify?top_k=-1", {"window": "1:2"}, 422),
        ("/v1/identify?top_k=101", {"window": "1:2"}, 422),
    ],
)
def test_what_cannot_be(probed, path, document, status):
    error = probed.post(path, json=document, status=status)["error"]
    assert error["message"] and "/tmp" not in error["message"]


def test_embeddings_are_those_of_the_archive(probed, tmp_path):
    query = vectors(probed.made, CLIP, tmp_path)
    found = probed.post("/v1/embed", content=CLIP, headers=WAV)["data"]
    assert np.array(found["embeddings"], np.float32).tobytes() == query.vectors.tobytes()
    assert found["model"]["name"] == "placeholder" and len(found["windows"]) == 3
    file = probed.client.post("/v1/embed?form=npy&from_s=2", content=CLIP, headers=WAV)
    assert file.headers["content-type"] == "application/octet-stream"
    ranged = vectors(probed.made, CLIP, tmp_path, from_s=2.0)
    assert np.load(io.BytesIO(file.content), allow_pickle=False).tobytes() == ranged.vectors.tobytes()
    probed.post("/v1/embed", json={"clip": "0" * 32}, status=415)
    probed.post("/v1/embed?form=csv", content=CLIP, headers=WAV, status=422)


def test_the_summary_counts_windows():
    def window(start, *said):
        return {
            "start_s": start,
            "predictions": [p for p in said if "rank" in p],
            "probes": [p for p in said if "probe" in p],
        }

    rows = [
        window(0.0, {"label": "a", "score": 0.9, "rank": 1}, {"label": "b", "score": 0.2, "rank": 2}),
        window(3.0, {"label": "b", "score": 0.05, "rank": 1}, {"label": "a", "score": 0.04, "rank": 2}),
        window(6.0, {"probe": "p", "label": "a", "score": 0.7, "hit": True}, {"probe": "p", "label": "c", "score": 0.1, "hit": False}),
    ]  # fmt: skip
    assert summary(rows) == [
        {"label": "b", "source": "model", "windows": 2, "best_score": 0.2, "best_start_s": 0.0},
        {"label": "a", "source": "model", "windows": 1, "best_score": 0.9, "best_start_s": 0.0},
        {"label": "a", "source": "probe:p", "windows": 1, "best_score": 0.7, "best_start_s": 6.0},
    ]
    assert summary([]) == []


def test_the_cache_reads_a_version_once(own, monkeypatch):
    from search_api.uploads import probing

    keep(own.store, 1)
    reads: list[object] = []
    load = probing.load_probe
    monkeypatch.setattr(probing, "load_probe", lambda *a: reads.append(a) or load(*a))
    cache = ProbeCache(own.store)
    first = cache.get("tones")
    assert cache.get("tones") is first is cache.in_use()[0][0] is cache.get("tones", 1)
    assert len(reads) == 1
    keep(own.store, 2)
    assert cache.get("tones").version == 2 and cache.get("tones", 1) is first
    with pytest.raises(NotFound):
        cache.get("nobody")
    with pytest.raises(Invalid):
        cache.in_use(["none", "all"])


@pytest.mark.parametrize("path", ["/v1/identify", "/v1/probes/any/classify"])
def test_a_range_in_the_address_is_refused_beside_json(served, path):
    body = {"window": "1:0"} if path.endswith("identify") else {"windows": ["1:0"]}
    answer = served.post(f"{path}?from_s=1", body, 422)
    assert "from_s in the address" in answer["error"]["message"]
