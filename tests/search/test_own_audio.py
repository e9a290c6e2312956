"""With a real model: a window's own audio finds the window, also after lossy coding."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr

from embedder.audio.synthesis import CALLS, SAMPLE_RATE_HZ, compose
from embedder.models import load_model, weights_status
from search_api.clip_queries import clip_query
from search_api.search import SearchOptions, search
from store import open_archive
from tests.cluster.support import run
from tests.search import kit

RECORDINGS = Path(os.environ.get("SONOTHEQUE_RECORDINGS", Path(__file__).parents[3] / "shared" / "recordings"))

pytestmark = pytest.mark.skipif(
    not weights_status("birdnet_v2.4").present, reason="BirdNET's weights are not installed"
)


@pytest.fixture(scope="session")
def birdnet():
    return load_model("birdnet_v2.4", threads=2)


@pytest.fixture(scope="session")
def calls(tmp_path_factory):
    """Five recordings of known calls; those of the forest at the model's rate, the others at half of it."""
    folder = tmp_path_factory.mktemp("calls")
    rng = np.random.default_rng(3)
    names = list(CALLS)
    for number in range(5):
        sound, _ = compose([names[number % len(names)], names[(number + 1) % len(names)]], 12.0, rng)
        if number < 3:
            sound = soxr.resample(sound, SAMPLE_RATE_HZ, 48_000)
        rate, site = (48_000, "forest") if number < 3 else (SAMPLE_RATE_HZ, "marsh")
        kit.write(folder / "recordings" / site / f"20250510_0{number}0000.wav", np.clip(sound, -1, 1), rate)
    run(folder / "recordings", folder / "store", model="birdnet_v2.4", timezone="Europe/Paris")
    return kit.Made(folder / "recordings", str(folder / "store"))


def encoded(folder, sound, rate, form):
    """Write a sound as a file of its own."""
    path = folder / f"clip.{form}"
    form_of = {"wav": {"subtype": "PCM_24"}, "ogg": {"format": "OGG", "subtype": "VORBIS"}, "mp3": {"format": "MP3"}}
    sf.write(path, sound, rate, **form_of[form])
    return path


def rank_of(archive, query, row, k=3):
    """Where a window comes among the first k, and its score."""
    hits = search(archive, query, SearchOptions(k=k)).answer.hits
    return next(((h.rank, h.score) for h in hits if (h.path, h.start_s) == (row["path"], row["start_s"])), (None, 0.0))


def test_its_own_audio_is_found_first_and_its_lossy_copies_in_the_top_3(calls, birdnet, tmp_path):
    rows = calls.rows("SELECT path, start_s, end_s FROM windows WHERE site = 'forest' ORDER BY path, start_s")
    assert len(rows) == 12
    with open_archive(calls.store) as archive:
        for row in rows[::2]:
            rate = sf.info(calls.recordings / row["path"]).samplerate
            begin, end = (round(row[c] * rate) for c in ("start_s", "end_s"))
            sound, _ = sf.read(calls.recordings / row["path"], start=begin, stop=end)
            found = {
                form: rank_of(
                    archive, clip_query(archive, str(encoded(tmp_path, sound, rate, form)), model=birdnet), row
                )
                for form in ("wav", "ogg", "mp3")
            }
            assert found["wav"][0] == 1
            assert found["wav"][1] >= 0.999
            assert found["ogg"][0] is not None, row
            assert found["mp3"][0] is not None, row


def test_a_range_of_a_recording_at_another_rate_is_what_the_archive_heard(calls, birdnet):
    """Cut out before it is resampled, a window would begin and end with a click."""
    rows = calls.rows(
        "SELECT path, start_s, end_s FROM windows WHERE site = 'marsh' AND start_s > 0 ORDER BY path, start_s"
    )
    with open_archive(calls.store) as archive:
        for row in rows[::2]:
            clip = str(calls.recordings / row["path"])
            query = clip_query(archive, clip, from_s=row["start_s"], to_s=row["end_s"], model=birdnet)
            rank, score = rank_of(archive, query, row)
            assert (rank, len(query.vectors)) == (1, 1)
            assert score >= 0.999


def test_from_window_to_clip_and_back_on_the_command_line(calls, sonotheque, tmp_path):
    window = ("--window", "forest/20250510_000000.wav@3", "--own-recording", "-k", 1, "--store", calls.store)
    code, _, err = sonotheque("search", *window, "--export", tmp_path / "own", "-q")
    assert code == 0, err
    (clip,) = (tmp_path / "own").glob("*.wav")
    code, out, err = sonotheque("search", clip, "--store", calls.store, "-k", 1, "--json")
    assert code == 0, err
    assert "CC BY-NC-SA" in err
    (hit,) = json.loads(out)["hits"]
    assert (hit["path"], hit["start_s"]) == ("forest/20250510_000000.wav", 3.0)
    assert hit["score"] >= 0.999


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="no field recordings here (SONOTHEQUE_RECORDINGS)")
def test_field_recordings_find_their_own_windows(birdnet, tmp_path):
    """Of every folder that is at hand, by range and as lossy copies of the whole recording."""
    source = tmp_path / "recordings"
    source.mkdir()
    for name in ("cuckoo_stereo", "audiomoth_urban"):
        (source / name).symlink_to(RECORDINGS / name)
    sources = tuple(str(RECORDINGS / name) for name in ("cuckoo_stereo", "audiomoth_urban"))
    run(RECORDINGS, tmp_path / "store", sources=sources, model="birdnet_v2.4", timezone="Europe/Paris")
    made = kit.Made(RECORDINGS, str(tmp_path / "store"))
    rows = made.rows(
        "SELECT path, start_s, end_s FROM windows WHERE valid_s = end_s - start_s ORDER BY hash(path || start_s) LIMIT 12"
    )
    assert len(rows) == 12
    first = dict.fromkeys(("ogg", "mp3"), 0)
    with open_archive(made.store) as archive:
        for row in rows:
            sound = str(RECORDINGS / row["path"])
            query = clip_query(archive, sound, from_s=row["start_s"], to_s=row["end_s"], model=birdnet)
            rank, score = rank_of(archive, query, row)
            assert rank == 1
            assert score >= 0.999
            rate = sf.info(sound).samplerate
            samples, _ = sf.read(sound, start=round(row["start_s"] * rate), stop=round(row["end_s"] * rate))
            for form in first:
                lossy = clip_query(archive, str(encoded(tmp_path, samples, rate, form)), model=birdnet)
                first[form] += rank_of(archive, lossy, row)[0] is not None
    assert first["ogg"] == first["mp3"] == len(rows)
