"""The verb: what it finds, what it prints, its flags."""

from __future__ import annotations

import csv
import io
import itertools
import json
import zipfile

import numpy as np
import pytest

from store import open_archive
from tests.search import kit

WINDOW = "north/20240501_040000.wav@2"  # 700 Hz


def found(result):
    code, out, err = result
    assert code == 0, err
    return json.loads(out)


def places(document):
    return [(h["path"], h["start_s"]) for h in document["hits"]]


def tone_of(hit):
    return kit.TONES[hit["path"]][int(hit["start_s"] / kit.WINDOW_S)]


def test_a_clip_finds_what_sounds_like_it(search, call):
    document = found(search(call, "-k", 3, "--json"))
    assert {tone_of(h) for h in document["hits"]} == {700.0, 702.0, 705.0}
    assert list(document) == ["query", "hits", "plan", "plot", "export"]
    hit = document["hits"][0]
    assert list(hit) == [
        *("rank", "score", "path", "site", "deployment", "start_s", "end_s", "utc_start", "local_start"),
        *("exact", "query", "recording_id", "start_sample"),
    ]
    assert [h["rank"] for h in document["hits"]] == [1, 2, 3]
    assert hit["exact"] is True
    assert hit["utc_start"].endswith("Z")
    assert document["plan"]["eligible"] == document["plan"]["windows"] == 18
    assert document["query"]["windows"] == [{"start_s": 0.0, "end_s": 2.0, "valid_s": 2.0}]
    assert document["query"]["model"]["name"] == "placeholder"


def test_scores_are_the_cosines_of_the_stored_vectors(search, made):
    document = found(search("--window", WINDOW, "-k", 18, "--own-recording", "--json"))
    with open_archive(made.store) as archive:
        ids, vectors = archive.embeddings()
    own = {
        (int(i["recording_id"]), int(i["start_sample"])): v.astype(np.float64)
        for i, v in zip(ids, vectors, strict=True)
    }
    assert len(document["hits"]) == len(own) == 18
    query = own[document["hits"][0]["recording_id"], document["hits"][0]["start_sample"]]
    for hit in document["hits"]:
        v = own[hit["recording_id"], hit["start_sample"]]
        assert hit["score"] == pytest.approx(query @ v / np.linalg.norm(query) / np.linalg.norm(v), abs=1e-6)


def test_a_window_leaves_its_own_recording_out(search, made):
    document = found(search("--window", WINDOW, "-k", 2, "--json"))
    assert {tone_of(h) for h in document["hits"]} == {702.0, 705.0}
    own = found(search("--window", WINDOW, "-k", 1, "--own-recording", "--json"))
    assert places(own) == [("north/20240501_040000.wav", 2.0)]
    assert own["hits"][0]["score"] == pytest.approx(1.0, abs=1e-6)
    (row,) = made.rows(
        "SELECT recording_id, start_sample FROM windows WHERE path LIKE 'north/20240501_04%' AND start_s = 2"
    )
    by_id = found(search("--window", f"{row['recording_id']}:{row['start_sample']}", "-k", 2, "--json"))
    assert by_id["hits"] == document["hits"]


def test_a_table_a_plan_and_what_was_embedded(search, call):
    code, out, err = search(call, "-k", 2)
    lines = out.splitlines()
    assert code == 0
    assert lines[0] == "1 window of call.wav, placeholder"
    assert lines[1].split() == ["rank", "score", "site", "local", "time", "path", "start_s"]
    assert lines[3].split()[0] == "1"
    assert "~" not in out
    assert lines[-1].startswith("exact: 18 of 18 windows eligible, 18 compared, recall 1, ")
    assert lines[-1].endswith("no index")
    assert "note: there is no index" in err


def test_csv_has_the_same_hits(search, call):
    document = found(search(call, "-k", 4, "--json"))
    code, out, err = search(call, "-k", 4, "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0
    assert "exact: 18 of 18" in err
    assert [(r["path"], float(r["start_s"])) for r in rows] == places(document)
    assert [float(r["score"]) for r in rows] == pytest.approx([h["score"] for h in document["hits"]], abs=1e-6)
    code, out, _ = search(call, "-k", 0, "--csv")
    assert (code, out.splitlines()) == (0, [",".join(rows[0])])


@pytest.mark.parametrize(
    ("flags", "allowed"),
    [
        (("--site", "south"), lambda p: p.startswith("south")),
        (("--hours", "21:00-23:00"), lambda p: "_22" in p),
        (("--from", "2024-05-02"), lambda p: "20240502" in p),
        (("--to", "2024-05-01"), lambda p: "20240501" in p),
        (("--recording", "*_040000.wav"), lambda p: "_04" in p),
        (("--without", "south/20240501_040000.wav"), lambda p: p != "south/20240501_040000.wav"),
    ],
    ids=lambda v: v[0] if isinstance(v, tuple) else "",
)
def test_filters_act_inside_the_search(search, call, flags, allowed):
    document = found(search(call, "-k", 18, *flags, "--json"))
    wanted = [(p, i * kit.WINDOW_S) for p, tones in kit.TONES.items() if allowed(p) for i in range(len(tones))]
    assert sorted(places(document)) == sorted(wanted)
    assert document["plan"]["eligible"] == len(wanted)


def test_one_query_for_each_window_of_a_clip(search, tmp_path):
    clip = kit.write(tmp_path / "two.wav", np.concatenate([kit.tone(5200.0, seed=5), kit.tone(120.0, seed=6)]))
    best = found(search(clip, "-k", 2, "--json"))
    assert [(tone_of(h), h["query"]) for h in sorted(best["hits"], key=tone_of)] == [(120.0, 1), (5200.0, 0)]
    assert best["query"]["vectors"] == 2
    out = search(clip, "-k", 2)[1]
    assert out.startswith("2 windows of two.wav, placeholder\n")
    assert out.splitlines()[1].endswith("query")
    mean = found(search(clip, "-k", 18, "--combine", "mean", "--json"))
    singles = [found(search(clip, "--from-s", a, "--to-s", a + 2, "-k", 18, "--json")) for a in (0, 2)]
    each = [{(h["path"], h["start_s"]): h["score"] for h in one["hits"]} for one in singles]
    for hit in mean["hits"]:
        place = hit["path"], hit["start_s"]
        assert hit["score"] == pytest.approx((each[0][place] + each[1][place]) / 2, abs=1e-5)


def test_a_range_of_a_clip(search, made, sonotheque):
    clip = made.recordings / "north" / "20240501_040000.wav"
    code, out, _ = search(clip, "--from-s", 4, "--to-s", 6, "-k", 1)
    assert (code, out.splitlines()[0]) == (0, "1 window of 20240501_040000.wav from 4 s on, placeholder")
    document = found(search(clip, "--from-s", 4, "-k", 3, "--json"))
    assert [w["start_s"] for w in document["query"]["windows"]] == [4.0, 6.0]
    short = found(search(clip, "--from-s", 4, "--to-s", 4.5, "-k", 1, "--json"))
    assert short["query"]["windows"] == [{"start_s": 4.0, "end_s": 6.0, "valid_s": 2.0}]
    assert any("the range is 0.5 s, a window 2 s" in note for note in short["plan"]["notes"])
    assert places(short) == [("north/20240501_040000.wav", 4.0)]
    assert short["hits"][0]["score"] >= 0.9999
    beyond = found(search(clip, "--from-s", 6.5, "--to-s", 20, "-k", 1, "--json"))
    assert beyond["query"]["windows"] == [{"start_s": 6.5, "end_s": 8.5, "valid_s": 1.5}]
    assert any("the sound already at 8 s" in note for note in beyond["plan"]["notes"])


def test_a_range_is_what_the_archive_heard_there(search, made):
    """Whatever the range begins with, its windows equal the archive's own there."""
    for path, tones in kit.TONES.items():
        for i in range(len(tones)):
            begin = i * kit.WINDOW_S
            document = found(search(made.recordings / path, "--from-s", begin, "--to-s", begin + 2, "-k", 1, "--json"))
            assert places(document) == [(path, begin)]
            assert document["hits"][0]["score"] >= 0.99999


def test_vector_files(search, made, tmp_path):
    with open_archive(made.store) as archive:
        vectors = archive.embeddings()[1]
    wanted = found(search("--window", WINDOW, "-k", 5, "--own-recording", "--json"))["hits"]
    (row,) = made.rows(
        "SELECT n FROM (SELECT row_number() OVER (ORDER BY site, local_start, path, start_sample) - 1 AS n, path, start_s FROM windows) "
        "WHERE path = 'north/20240501_040000.wav' AND start_s = 2"
    )
    vector = vectors[row["n"]]
    np.save(tmp_path / "one.npy", vector)
    np.save(tmp_path / "rows.npy", vector[None].astype(np.float64))
    (tmp_path / "one.csv").write_text(",".join(map(str, vector.tolist())) + "\n")
    (tmp_path / "lines.csv").write_text("\n".join(map(str, vector.tolist())) + "\n")
    (tmp_path / "one.json").write_text(json.dumps(vector.tolist()))
    (tmp_path / "rows.json").write_text(json.dumps([vector.tolist()]))
    for name in ("one.npy", "rows.npy", "one.csv", "lines.csv", "one.json", "rows.json"):
        document = found(search("--vector", tmp_path / name, "-k", 5, "--json"))
        assert document["hits"] == wanted, name
        assert document["query"]["model"] is None
    assert search("--vector", tmp_path / "one.npy")[1].startswith("1 vector of one.npy\n")


def test_diversity_and_near_duplicates(search, made, call):
    every = found(search(call, "-k", 18, "--json"))["hits"]
    for what, key in (("recording", lambda h: h["path"]), ("site", lambda h: h["site"])):
        hits = found(search(call, "-k", 18, "--best-per", what, "--json"))["hits"]
        first = {}
        for hit in every:
            first.setdefault(key(hit), (hit["path"], hit["start_s"]))
        assert [(h["path"], h["start_s"]) for h in hits] == list(first.values())
    days = found(search(call, "-k", 18, "--best-per", "day", "--json"))["hits"]
    assert len({(h["site"], h["local_start"][:10]) for h in days}) == len(days) == 4
    distinct = found(search(call, "-k", 18, "--distinct", "0.9", "--json"))["hits"]
    with open_archive(made.store) as archive:
        ids, vectors = archive.embeddings()
    unit = vectors.astype(np.float64) / np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    own = {tuple(map(int, i)): v for i, v in zip(ids.tolist(), unit, strict=True)}
    kept = []
    for hit in every:
        v = own[hit["recording_id"], hit["start_sample"]]
        if all(v @ own[one["recording_id"], one["start_sample"]] < 0.9 for one in kept):
            kept.append(hit)
    assert places({"hits": distinct}) == places({"hits": kept})
    assert 1 < len(kept) < 18


def test_scores_near_a_threshold_and_a_sample_of_bins(search, call):
    every = found(search(call, "-k", 18, "--json"))["hits"]
    near = found(search(call, "-k", 3, "--near-score", "0.5", "--json"))["hits"]
    wanted = sorted(every, key=lambda h: abs(h["score"] - 0.5))[:3]
    assert {(h["path"], h["start_s"]) for h in near} == {(h["path"], h["start_s"]) for h in wanted}
    flags = ("--per-bin", 2, "--bins=-1,0.2,0.6,1", "--seed", 7, "--json")
    sample = found(search(call, *flags))
    edges = [-1, 0.2, 0.6, 1]
    for low, high in itertools.pairwise(edges):
        inside = [h for h in every if low <= h["score"] < high or (high == 1 and h["score"] == 1)]
        drawn = [h for h in sample["hits"] if low <= h["score"] < high or (high == 1 and h["score"] == 1)]
        assert len(drawn) == min(2, len(inside))
    assert found(search(call, *flags))["hits"] == sample["hits"]


def test_clips_of_the_hits(search, call, tmp_path):
    code, _, err = search(call, "-k", 3, "--export", tmp_path / "clips.zip", "--clips-as", "flac", "--margin-s", "0.5")
    assert (code, "3 clips written to" in err) == (0, True)
    with zipfile.ZipFile(tmp_path / "clips.zip") as archive:
        names = archive.namelist()
        rows = list(csv.DictReader(io.TextIOWrapper(archive.open("clips.csv"), "utf-8")))
    assert sum(n.endswith(".flac") for n in names) == 3
    hits = found(search(call, "-k", 3, "--json"))["hits"]
    assert [(r["path"], float(r["score"])) for r in rows] == [
        (h["path"], pytest.approx(h["score"], abs=1e-6)) for h in hits
    ]
    document = found(search(call, "-k", 2, "--export", tmp_path / "folder", "--json"))
    assert document["export"] == {"out": str(tmp_path / "folder"), "clips": 2, "failures": []}
    assert len(list((tmp_path / "folder").glob("*.wav"))) == 2
    code, _, err = search(call, "-k", 2, "--export", tmp_path / "folder")
    assert (code, "--export" in err, "already there" in err) == (5, True, True)
    assert search(call, "-k", 2, "--export", tmp_path / "folder", "--overwrite")[0] == 0
    assert search(call, "-k", 0, "--export", tmp_path / "none.zip")[0] == 0
    assert not (tmp_path / "none.zip").exists()
