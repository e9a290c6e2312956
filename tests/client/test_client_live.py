"""The client against a real server: every group of routes, and a whole sitting."""

from __future__ import annotations

import io
import threading
import wave

import numpy as np
import pytest

from sonotheque.client import Client, Hit, SearchResult
from sonotheque.core.errors import Conflict, Invalid, Limit, NotFound, Refused
from store import open_archive
from tests.service.conftest import listening


def test_info(archive, server):
    found = archive.info()
    assert found["store"]["windows"] == 18 and found["features"]["sql"] is True
    assert found["store"]["model"]["name"] == "placeholder"


def test_search_by_a_file_a_clip_a_window_and_a_vector(archive, server, call):
    by_file = archive.search(call, k=3)
    assert isinstance(by_file, SearchResult) and all(isinstance(hit, Hit) for hit in by_file)
    assert [hit.rank for hit in by_file] == [1, 2, 3]
    near = {(hit.path, hit.start_s) for hit in by_file}
    assert near == {
        ("north/20240501_040000.wav", 2.0),
        ("north/20240502_040000.wav", 2.0),
        ("south/20240501_040000.wav", 0.0),
    }
    assert by_file[0].score > 0.9 and by_file[0].local_start.utcoffset().total_seconds() == 7200
    assert by_file.plan["how"] and by_file.query["kind"] == "clip"

    clip = archive.upload(call)
    assert archive.clip(clip["clip_id"])["name"] == "my call.wav"
    by_clip = archive.search(clip=clip["clip_id"], k=3)
    assert [h.window_id for h in by_clip] == [h.window_id for h in by_file]
    assert [h.score for h in archive.search(call.read_bytes(), k=3)] == pytest.approx([h.score for h in by_file])
    with call.open("rb") as file:
        assert [h.window_id for h in archive.search(file, k=3)] == [h.window_id for h in by_file]

    by_window = archive.search(window=by_file[0], k=2)
    assert by_window[0].path != by_file[0].path
    with open_archive(server.made.store) as own:
        windows = own.windows()
        vectors = own.vectors_of(windows)
    assert archive.search(vector=vectors[4], k=1, exact=True)[0].score == pytest.approx(1.0, abs=1e-3)
    assert len(archive.search(vector=vectors[:2], k=5)) == 5


def test_search_with_filters(archive, call):
    for hit in archive.search(call, k=10, sites="south", hours="05:00-06:00"):
        assert hit.site == "south" and hit.local_start.hour == 5
    best = archive.search(call, k=10, best_per="site")
    assert sorted(hit.site for hit in best) == ["north", "south"]
    table = best.to_polars()
    assert table.height == 2 and {"rank", "score", "path"} <= set(table.columns)


def test_identify_and_embed(archive, call):
    found = archive.identify(call, top_k=2)
    assert len(found.windows) == 2 and all(len(w["predictions"]) == 2 for w in found.windows)
    assert {"label", "best_score"} <= set(found.summary[0])
    vectors = archive.embed(call)
    assert vectors.dtype == np.float32 and vectors.shape[0] == 2
    window = archive.search(call, k=1)[0]
    assert archive.identify(window=window).windows[0]["start_s"] == window.start_s


def test_lists_follow_their_pages(archive, server):
    windows = archive.windows().all()
    assert len(windows) == len({w.window_id for w in windows}) == 18
    assert [w.window_id for w in archive.windows(limit=4)] == [w.window_id for w in windows[:4]]
    assert {w.site for w in archive.windows(sites="north")} == {"north"}
    recordings = archive.recordings().all()
    assert len(recordings) == 5
    one = archive.recording(recordings[0]["recording_id"])
    assert one["path"] == recordings[0]["path"]
    assert len(archive.timeline(one["recording_id"])["windows"]) == one["windows"]
    predictions = archive.predictions().all()
    assert len(predictions) == server.made.rows("SELECT count(*) AS n FROM predictions")[0]["n"]
    assert len(archive.sites()) == 2 and len(archive.snapshots()) == 1
    assert archive.effort(sites="north")["totals"]["windows"] == 10
    assert archive.window(windows[0].window_id)["recording"]["path"] == windows[0].path
    assert list(archive.scores()) == []
    label = predictions[0].label
    assert label in {row["label"] for row in archive.labels(limit=1000)}
    assert archive.species(score_min=0.0)[0]["windows"] > 0
    assert archive.activity(label, score_min=0.0)["labels"]
    assert "built" in archive.index()


def test_sound_and_pictures(archive):
    window = next(iter(archive.windows()))
    with wave.open(io.BytesIO(archive.audio(window))) as file:
        assert file.getnframes() / file.getframerate() == pytest.approx(2.0, abs=0.01)
    with wave.open(io.BytesIO(archive.audio(recording=window.recording_id, from_s=0, to_s=3))) as file:
        assert file.getnframes() / file.getframerate() == pytest.approx(3.0, abs=0.01)
    assert archive.audio(window.window_id, form="flac")[:4] == b"fLaC"
    assert archive.spectrogram(window, width=120, height=80)[:4] == b"\x89PNG"
    with pytest.raises(Invalid, match="give one of"):
        archive.audio(window, recording="1")


def test_sql(archive):
    found = archive.sql("SELECT site, count(*) AS n FROM windows WHERE hour < ? GROUP BY site ORDER BY site", [5])
    assert found.to_dicts() == [{"site": "north", "n": 7}, {"site": "south", "n": 4}]
    assert found.columns[1] == {"name": "n", "type": "BIGINT"} and not found.truncated
    assert archive.sql("SELECT $a + 1", {"a": 1}).lists == [[2]]
    assert found.to_polars()["n"].sum() == 11
    with pytest.raises(Refused):
        archive.sql("COPY (SELECT 1) TO 'x'")


def test_errors_are_those_of_the_service(archive, call):
    for ask, expected in (
        (lambda: archive.window("1:1"), NotFound),
        (lambda: archive.search(call, sites="nowhere"), NotFound),
        (lambda: archive.search(call, k=10**5), Limit),
        (lambda: archive.search(b"no sound at all"), Invalid),
        (lambda: archive.search(call, hours="25:99"), Invalid),
        (lambda: archive.jobs.get("nothing"), NotFound),
        (lambda: archive.probes.get("nothing"), NotFound),
        (lambda: archive.annotate([]), Invalid),
        (lambda: archive.windows(limit=1, label="no such species").all(), NotFound),
    ):
        with pytest.raises(expected) as error:
            ask()
        assert any(note.startswith("request ") for note in error.value.__notes__)
    with pytest.raises(Invalid) as error:
        archive.search(b"no sound at all")
    assert error.value.kind == "unsupported_audio"


def test_several_threads_share_a_client(archive, call):
    found, window = [], next(iter(archive.windows()))

    def ask():
        found.append((len(archive.search(window=window, k=5)), len(archive.identify(call).windows)))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [(5, 2)] * 6


def test_a_whole_sitting(own, tmp_path):
    """Search, judge, feedback, undo, export, train, report, promote, apply, hits, review."""
    with listening(own, tmp_path / "state") as server, Client(server.url) as archive:
        windows = archive.windows().all()
        for n, window in enumerate(windows):
            kept = archive.judge(
                window, "owl", "positive" if n % 3 == 0 else "negative", annotator="Ann", provenance="test"
            )
        assert kept["added"] == 1
        again = archive.judge(windows[0], "owl", annotator="Ann")
        assert (again["added"], again["already"]) == (0, 1)
        said = archive.feedback(windows[1], "fox", "right", kind="search", score=0.9, listener="Ann")
        assert archive.undo(batch=said["batch"], annotator="Ann")["undone"] == 1
        judged = archive.annotations(label="owl").all()
        assert len(judged) == len(windows)
        assert archive.annotation_labels()[0]["label"] == "owl"
        assert archive.export(tmp_path / "judged.csv", label="owl") > 100
        assert (tmp_path / "judged.csv").read_text().count("owl") == len(windows)

        events = []
        job = archive.probes.train("owl", experiment={"split": {"by": "recording"}}, progress=events.append)
        assert job.state == "finished" and job.over
        assert {"state"} <= {event.name for event in events}
        (probe,) = archive.probes.list()
        version = max(probe["versions"])
        assert archive.probes.report("owl")["version"] == version
        assert archive.probes.report_page("owl", version).lstrip().lower().startswith("<!doctype html")
        if probe["in_use"] != version:
            assert archive.probes.promote("owl", version, "first", force=True)["version"] == version
        assert archive.probes.apply(["owl"], floor=0.0).state == "finished"
        hits = archive.probes.hits("owl", threshold=0.0).all()
        assert len(hits) == len(windows) and hits[0].score >= hits[-1].score and hits[0].label == "owl"
        assert sum(archive.probes.histogram("owl", bins=10)["counts"]) == len(windows)
        queue = archive.probes.review("owl", "top", k=3)
        assert queue.review and len(queue) <= 3
        assert archive.classify("owl", windows=windows[:2])["windows"][0]["scores"]["owl"] >= 0
        assert {s.probe for s in archive.scores("owl")} == {"owl"}
        listed = archive.jobs.list().all()
        assert {j.kind for j in listed} >= {"train", "apply"}
        with pytest.raises((Conflict, Invalid, NotFound)):
            archive.probes.rollback("owl")


def test_a_job_that_cannot_work(own, tmp_path):
    with listening(own, tmp_path / "state") as server, Client(server.url) as archive:
        with pytest.raises((Invalid, NotFound, Conflict)):
            archive.probes.train("owl")  # nothing was judged
        with pytest.raises((Invalid, NotFound, Refused)):
            archive.jobs.embed("nowhere")


def test_keys(own, tmp_path):
    with listening(own, tmp_path / "state") as server:
        _, secret = server.app.state.service.keys.create("reader", ["read"])
        with Client(server.url) as archive, pytest.raises(Refused) as error:
            archive.info()
        assert error.value.kind == "unauthorized"
        with Client(server.url, "wrong") as archive, pytest.raises(Refused):
            archive.info()
        with Client(server.url, secret) as archive:
            assert archive.info()["you"]["name"] == "reader"
            with pytest.raises(Refused) as error:
                archive.judge("1:0", "owl")
            assert error.value.kind == "forbidden"
