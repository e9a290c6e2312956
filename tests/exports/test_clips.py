"""Clips: which is what, in a folder or a ZIP; a bad recording costs its own clips only; nothing outside is read."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from search_api.clips import CLIPS_CSV, FAILURES_CSV, clip_name, encoded, write_clips
from search_api.cutting import Sound
from search_api.exports import ExportOptions
from search_api.locating import Locator
from sonotheque.core.errors import Conflict, Damaged, Invalid, NotFound
from sonotheque.core.filters import SearchFilter
from store.formats.whole import MARK
from tests.audio.damage import DAMAGE
from tests.cluster.support import write_wav
from tests.exports import kit
from tests.exports.kit import export

RATE_HZ = 16_000


def rows(found: list[tuple], **columns: list) -> pa.Table:
    """(path, start_s, end_s) and more columns."""
    path, start, end = (list(c) for c in zip(*found, strict=True)) if found else ([], [], [])
    return pa.table(
        {
            "path": pa.array(path, pa.string()),
            "start_s": pa.array(start, pa.float64()),
            "end_s": pa.array(end, pa.float64()),
            **columns,
        }
    )


@pytest.fixture
def sounds(tmp_path):
    folder = tmp_path / "recordings"
    for number, channels in enumerate((1, 2), 1):
        write_wav(folder / "A" / f"r{number}.wav", 5.0, seed=number, channels=channels, rate_hz=RATE_HZ)
    return folder


def locator(folder: Path, **options) -> Locator:
    return Locator(((str(folder), ""),), **options)


def content(path: Path) -> dict[str, bytes]:
    if path.is_dir():
        return {p.name: p.read_bytes() for p in path.iterdir()}
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def table(data: bytes, tmp_path: Path) -> list[dict[str, str]]:
    (tmp_path / "read.csv").write_bytes(data)
    return kit.read_csv(tmp_path / "read.csv")


@pytest.mark.parametrize("target", ["clips", "clips.zip"])
@pytest.mark.parametrize("form", ["wav", "flac"])
def test_clips_are_the_samples_of_their_windows(sounds, tmp_path, target, form):
    found = rows(
        [("A/r2.wav", 1.0, 3.0), ("A/r1.wav", 4.0, 6.0), ("A/r1.wav", 0.0, 2.0)], score=[0.9, 0.5, 0.25], site=["A"] * 3
    )
    report = write_clips(found, tmp_path / target, locator(sounds), form=form)
    files = content(tmp_path / target)
    names = [
        f"0001_0.900_A_r2_1s-3s.{form}",
        f"0002_0.500_A_r1_4s-5s.{form}",  # the sound ends at 5 s
        f"0003_0.250_A_r1_0s-2s.{form}",
    ]
    assert set(files) == {*names, "clips.csv", MARK}
    assert [c["clip"] for c in report.clips] == names
    assert not report.failures
    for name, (path, start, end) in zip(names, [("r2", 1, 3), ("r1", 4, 5), ("r1", 0, 2)], strict=True):
        whole, _ = sf.read(sounds / "A" / f"{path}.wav", dtype="int16", always_2d=True)
        samples, rate = sf.read(io.BytesIO(files[name]), dtype="int16", always_2d=True)
        assert rate == RATE_HZ
        assert np.array_equal(samples, whole[start * rate : end * rate])
    listed = table(files["clips.csv"], tmp_path)
    assert list(listed[0]) == list(CLIPS_CSV)
    assert [r["clip"] for r in listed] == names
    assert (listed[1]["clip_start_s"], listed[1]["clip_end_s"], listed[1]["window_end_s"]) == ("4.0", "5.0", "6.0")
    assert (listed[0]["channels"], listed[0]["sample_rate_hz"], listed[0]["score"]) == ("2", str(RATE_HZ), "0.9")


def test_margins_end_where_the_sound_does(sounds, tmp_path):
    report = write_clips(
        rows([("A/r1.wav", 0.5, 1.0), ("A/r1.wav", 4.0, 4.5)]), tmp_path / "c", locator(sounds), margin_s=1.0
    )
    assert [(c["clip_start_s"], c["clip_end_s"]) for c in report.clips] == [(0.0, 2.0), (3.0, 5.0)]
    assert [(c["window_start_s"], c["window_end_s"]) for c in report.clips] == [(0.5, 1.0), (4.0, 4.5)]
    assert report.clips[0]["clip"] == "0001_r1_0s-2s.wav"


def test_a_missing_and_a_damaged_recording_cost_their_own_clips_only(sounds, tmp_path):
    shutil.copy(DAMAGE["text"].make(tmp_path), sounds / "A" / "text.wav")
    (sounds / "A" / "link.wav").symlink_to("/etc/hostname")
    found = rows(
        [
            ("A/gone.wav", 0.0, 1.0),
            ("A/r1.wav", 0.0, 1.0),
            ("A/text.wav", 0.0, 1.0),
            ("A/r1.wav", 50.0, 51.0),
            ("../x.wav", 0.0, 1.0),
            ("A/link.wav", 0.0, 1.0),
            ("A/r2.wav", 0.0, 1.0),
        ],
        size_bytes=pa.array([None] * 6 + [17], pa.int64()),
    )
    report = write_clips(found, tmp_path / "c", locator(sounds))
    assert [c["rank"] for c in report.clips] == [2]
    reasons = {f["rank"]: f["reason"] for f in report.failures}
    assert list(reasons) == [1, 3, 4, 5, 6, 7]
    for rank, said in {
        1: "is not below",
        3: "unreadable",
        4: "sound ends at 5.000 s",
        5: "nothing outside",
        6: "--follow-links",
        7: "changed: has",
    }.items():
        assert said in reasons[rank]
    listed = table(content(tmp_path / "c")["failures.csv"], tmp_path)
    assert list(listed[0]) == list(FAILURES_CSV)
    assert [int(r["rank"]) for r in listed] == list(reasons)


def test_no_rows_make_a_table_without_clips(sounds, tmp_path):
    report = write_clips(rows([]), tmp_path / "c.zip", locator(sounds))
    assert not report.clips
    assert content(tmp_path / "c.zip")["clips.csv"].decode() == ",".join(CLIPS_CSV) + "\n"


def test_flac_is_stored_and_the_same_clips_are_the_same_bytes(sounds, tmp_path):
    found = rows([("A/r1.wav", 0.0, 2.0)])
    for name in ("a.zip", "b.zip"):
        write_clips(found, tmp_path / name, locator(sounds), form="flac", about={"filter": {}})
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        kinds = {i.filename: i.compress_type for i in archive.infolist()}
        assert kinds["0001_r1_0s-2s.flac"] == zipfile.ZIP_STORED
        assert kinds["clips.csv"] == zipfile.ZIP_DEFLATED
        assert json.loads(archive.read(MARK))["format"] == "flac"


def test_formulas_in_names_are_inert_in_the_table(sounds, tmp_path):
    shutil.copy(sounds / "A" / "r1.wav", sounds / "=1+1.wav")
    write_clips(rows([("=1+1.wav", 0.0, 1.0)], label=["@cmd"]), tmp_path / "c", locator(sounds))
    (row,) = table(content(tmp_path / "c")["clips.csv"], tmp_path)
    assert (row["path"], row["label"]) == ("'=1+1.wav", "'@cmd")


@pytest.mark.parametrize(
    ("source", "form", "subtype"),
    [
        ("PCM_16", "wav", "PCM_16"),
        ("PCM_24", "wav", "PCM_24"),
        ("PCM_24", "flac", "PCM_24"),
        ("PCM_32", "wav", "PCM_32"),
        ("FLOAT", "wav", "FLOAT"),
        ("DOUBLE", "flac", "PCM_24"),
        ("VORBIS", "wav", "PCM_16"),
        ("PCM_U8", "flac", "PCM_16"),
    ],
)
def test_a_clip_keeps_the_depth_of_its_source(source, form, subtype):
    samples = np.zeros((100, 1), np.int32 if source.startswith("PCM") else np.float32)
    info = sf.info(io.BytesIO(encoded(Sound(samples, RATE_HZ, source, 0.0, 1.0), form)))
    assert (info.subtype, info.samplerate, info.frames) == (subtype, RATE_HZ, 100)


def test_what_flac_cannot_hold_is_said():
    with pytest.raises(Damaged, match="9 channels"):
        encoded(Sound(np.zeros((10, 9), np.int32), RATE_HZ, "PCM_16", 0.0, 1.0), "flac")


ANY = st.text(st.characters(exclude_categories=("Cs",)), max_size=300)


@settings(deadline=None)
@given(
    path=ANY,
    site=st.none() | ANY,
    score=st.none() | st.floats(-50, 50),
    start=st.floats(0, 1e6),
    length=st.floats(0.001, 600),
)
def test_names_are_taken_by_any_file_system_and_begin_with_the_rank(path, site, score, start, length):
    name = clip_name(7, {"path": path, "site": site, "score": score}, start, start + length, "wav")
    assert name.startswith("0007_")
    assert name.endswith(".wav")
    assert len(name.encode()) <= 255
    assert not set(name) & set('<>:"/\\|?*\x00\n\t')


@pytest.mark.parametrize("given", [{"form": "mp3"}, {"margin_s": -1.0}, {"margin_s": 1e9}, {"margin_s": float("nan")}])
def test_what_cannot_be_is_refused(sounds, tmp_path, given):
    with pytest.raises(Invalid):
        write_clips(rows([("A/r1.wav", 0.0, 1.0)]), tmp_path / "c", locator(sounds), **given)
    assert not (tmp_path / "c").exists()


def test_recordings_that_are_all_elsewhere_are_an_error_before_the_work(tmp_path):
    with pytest.raises(NotFound, match="--recordings DIR"):
        write_clips(rows([("A/r1.wav", 0.0, 1.0)]), tmp_path / "c", locator(tmp_path / "gone"))
    assert not (tmp_path / "c").exists()


def test_an_error_half_way_leaves_nothing(sounds, tmp_path, monkeypatch):
    monkeypatch.setattr("search_api.clips.encoded", lambda *_: 1 / 0)
    for target in ("c", "c.zip"):
        with pytest.raises(ZeroDivisionError):
            write_clips(rows([("A/r1.wav", 0.0, 1.0)]), tmp_path / target, locator(sounds))
    assert [p.name for p in tmp_path.iterdir()] == ["recordings"]


# From a store


def clips_of(made, out, form="wav", **given):
    where = {k: given.pop(k) for k in list(given) if k in SearchFilter.__slots__}
    return export(made.store, "clips", form, out, ExportOptions(where=SearchFilter.from_texts(where), **given))


def test_clips_of_a_species_are_its_best_windows_best_first(made, tmp_path):
    (label,) = (
        r["label"]
        for r in made.rows("SELECT label FROM predictions GROUP BY label ORDER BY count(*) DESC, label LIMIT 1")
    )
    summary = clips_of(made, tmp_path / "c", label=label, max_clips=5)
    best = made.rows(
        f"SELECT path, start_s, score FROM predictions WHERE label = '{label}' ORDER BY score DESC LIMIT 5"
    )
    listed = kit.read_csv(tmp_path / "c" / "clips.csv")
    assert [(r["path"], float(r["window_start_s"])) for r in listed] == [(b["path"], b["start_s"]) for b in best]
    assert {r["label"] for r in listed} == {label}
    assert summary.rows == 5
    assert "the best 5 were cut" in summary.notes[0]
    first = listed[0]
    whole, rate = sf.read(made.recordings / first["path"], dtype="int16")
    begin, end = (round(float(first[c]) * rate) for c in ("clip_start_s", "clip_end_s"))
    assert np.array_equal(sf.read(tmp_path / "c" / first["clip"], dtype="int16")[0], whole[begin:end])


def test_a_window_with_several_matching_labels_gives_one_clip(made, tmp_path):
    summary = clips_of(made, tmp_path / "c.zip", score_min=0.0, sites="north")
    windows = made.rows("SELECT count(*) n FROM windows WHERE site = 'north'")[0]["n"]
    assert (summary.rows, summary.notes) == (windows, ())
    assert summary.files == windows + 1


def test_clips_without_a_prediction_asked_for_are_in_the_order_of_time(made, tmp_path):
    clips_of(made, tmp_path / "c", date_to="2024-05-01", sites="south", valid_min_s=0.5)
    listed = kit.read_csv(tmp_path / "c" / "clips.csv")
    assert [r["local_start"] for r in listed] == sorted(r["local_start"] for r in listed)
    assert listed[0]["clip"].startswith("0001_south_20240501_040000_0s-")
    assert listed[0]["local_start"] == "2024-05-01T04:00:00.000+02:00"


def test_recordings_that_were_moved_are_found_where_they_are_said_to_be(made, tmp_path):
    shutil.copytree(made.recordings / "north", tmp_path / "moved" / "north")
    summary = clips_of(made, tmp_path / "c", sites="north", recordings_dir=str(tmp_path / "moved"))
    assert not summary.failures
    (tmp_path / "moved" / "north" / "20240501_040000.wav").unlink()
    summary = clips_of(made, tmp_path / "d", sites="north", recordings_dir=str(tmp_path / "moved"))
    assert {f["path"] for f in summary.failures} == {"north/20240501_040000.wav"}
    assert summary.rows > 0


def test_a_recording_that_has_changed_since_is_not_cut(made, tmp_path):
    shutil.copytree(made.recordings, tmp_path / "moved")
    write_wav(tmp_path / "moved" / "north" / "20240501_040000.wav", 4.5, seed=7)
    summary = clips_of(
        made, tmp_path / "c", recordings="north/20240501_040000.wav", recordings_dir=str(tmp_path / "moved")
    )
    assert summary.rows == 0
    assert all(f["reason"].startswith("changed: has") for f in summary.failures)


def test_existing_clips_are_kept(made, tmp_path):
    (tmp_path / "c.zip").write_text("mine")
    with pytest.raises(Conflict):
        clips_of(made, tmp_path / "c.zip")
    assert (tmp_path / "c.zip").read_text() == "mine"
    clips_of(made, tmp_path / "c.zip", overwrite=True, max_clips=1)
    assert zipfile.is_zipfile(tmp_path / "c.zip")
