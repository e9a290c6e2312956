"""The sheet of a query and its hits."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest

from search_api.clip_queries import clip_query
from search_api.locating import Locator
from search_api.pictures import above_background_db
from search_api.search import SearchOptions
from search_api.search import search as use
from search_api.sheet import draw_sheet
from store import open_archive
from tests.search import kit

WINDOW = "north/20240501_040000.wav@2"


def texts(path):
    return re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text())


def test_a_sheet_names_rank_score_site_and_local_time(search, tmp_path):
    code, out, err = search("--window", WINDOW, "-k", 3, "--plot", tmp_path / "s.svg", "--json")
    assert code == 0, err
    document = json.loads(out)
    said = texts(tmp_path / "s.svg")
    assert any(t.startswith("query") and "20240501_040000.wav" in t for t in said)
    for hit in document["hits"]:
        local = hit["local_start"][:19].replace("T", " ")
        assert f"{hit['rank']}   {hit['score']:.3f}   {hit['site']}   {local}" in [re.sub("\xa0", " ", t) for t in said]
    assert {"kHz", "s"} <= set(said)
    assert document["plot"] == {
        "file": str(tmp_path / "s.svg"),
        "pictures": 4,
        "left_out": 0,
        "missing": [],
        "notes": [],
    }


@pytest.mark.parametrize("ending", ["png", "pdf"])
def test_other_endings(search, call, tmp_path, ending):
    code, _, err = search(call, "-k", 1, "--plot", tmp_path / f"s.{ending}")
    assert code == 0
    assert f"drawn: {tmp_path}/s.{ending} (2 pictures)" in err
    assert (tmp_path / f"s.{ending}").stat().st_size > 5000


def test_at_most_so_many_pictures(search, made, tmp_path):
    clip = kit.write(
        tmp_path / "six.wav",
        np.concatenate([kit.tone(hz, seed=i) for i, hz in enumerate((300, 700, 1500, 3100, 5200, 120))]),
    )
    code, out, _ = search(clip, "-k", 18, "--plot", tmp_path / "s.svg", "--json")
    plot = json.loads(out)["plot"]
    assert (code, plot["pictures"], plot["left_out"]) == (0, 22, 0)  # 4 of the query, 18 hits

    with open_archive(made.store) as archive:
        result = use(archive, clip_query(archive, str(clip)), SearchOptions(k=18))
        report = draw_sheet(archive, result, str(tmp_path / "few.svg"), Locator.of(archive.root), most=10)
    assert (report.pictures, report.left_out) == (10, 12)
    assert report.notes == ["12 of 18 hits are not drawn: a sheet has 10 pictures at most"]


def test_a_hit_without_its_audio_is_named_and_does_not_stop_the_others(search, made, tmp_path):
    shutil.copytree(made.recordings, tmp_path / "moved")
    (tmp_path / "moved" / "south" / "20240501_040000.wav").unlink()
    flags = ("-k", 2, "--recordings", tmp_path / "moved", "--plot", tmp_path / "s.svg")
    code, _, err = search("--window", WINDOW, *flags)
    assert code == 0
    assert re.search(r"note: hit \d is not drawn: south/20240501_040000.wav at 0 s: .*--recordings DIR", err)
    assert "(2 pictures)" in err
    shutil.rmtree(tmp_path / "moved" / "north")
    (tmp_path / "s.svg").unlink()
    code, out, err = search("--window", WINDOW, *flags)
    assert code == 0
    assert "no picture was drawn" in err
    assert out.count("\n") == 6
    assert not (tmp_path / "s.svg").exists()


def test_a_vector_has_no_picture_of_its_own(search, tmp_path):
    np.save(tmp_path / "v.npy", np.arange(64.0))
    code, out, _ = search("--vector", tmp_path / "v.npy", "-k", 2, "--plot", tmp_path / "s.svg", "--json")
    assert (code, json.loads(out)["plot"]["pictures"]) == (0, 2)
    assert not any(t.startswith("query") for t in texts(tmp_path / "s.svg"))


def test_a_call_stands_out_of_rumble_that_is_louder():
    rate, rng = 22_050, np.random.default_rng(1)
    rumble = np.cumsum(rng.normal(0, 1, 3 * rate))
    rumble = 0.5 * (rumble - rumble.mean()) / np.abs(rumble).max()
    sound = rumble + rng.normal(0, 1e-4, 3 * rate)
    t = np.arange(rate // 2) / rate
    sound[rate : rate + len(t)] += 0.003 * np.sin(2 * np.pi * 3000 * t)
    shown = above_background_db(sound.astype(np.float32), rate)
    at = round(3000 / (rate / 2) * (len(shown) - 1))
    frame = round(1.25 * shown.shape[1] / 3)
    assert shown[at, frame] > 20
    assert np.median(np.abs(shown)) < 6
    assert np.isfinite(above_background_db(np.zeros(rate, np.float32), rate)).all()
