"""Snippets: the file's own samples, at any speed, loud enough."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search_api.listening import AudioWish, Gallery, HeldSound, RecordedSound, encoding
from search_api.listening.encoding import rates_of
from sonotheque.core.errors import Conflict, Damaged, Invalid, Limit, NotFound
from tests.service import listening_kit as kit

FILES = {
    "pcm16.wav": {"subtype": "PCM_16"},
    "pcm24.wav": {"subtype": "PCM_24"},
    "pcm32.wav": {"subtype": "PCM_32"},
    "u8.wav": {"subtype": "PCM_U8"},
    "float.wav": {"subtype": "FLOAT"},
    "deep.flac": {"subtype": "PCM_24"},
    "vorbis.ogg": {"subtype": "VORBIS"},
    "layer3.mp3": {"subtype": "MPEG_LAYER_III"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Seven seconds of noise in stereo, in each kind of file."""
    root = tmp_path_factory.mktemp("sounds")
    sound = np.stack([kit.noise(7, level=0.1, seed=1), kit.noise(7, level=0.1, seed=2)], axis=1)
    for name, more in FILES.items():
        with sf.SoundFile(root / name, "w", kit.RATE_HZ, 2, **more) as file:
            for at in range(0, len(sound), kit.RATE_HZ):
                file.write(sound[at : at + kit.RATE_HZ])
    return root


@pytest.fixture(scope="module")
def gallery(folder, tmp_path_factory):
    return Gallery(kit.locator(folder), tmp_path_factory.mktemp("pictures"))


def heard(gallery, piece, wish=None, **more):
    return kit.read(gallery.audio(piece, wish).data, **more)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("form", ["wav", "flac"])
def test_a_snippet_is_the_file_between_two_seconds(folder, gallery, name, form):
    piece = kit.recorded(folder / name, folder, 1.25, 5.5)
    sound, rate = heard(gallery, piece, AudioWish(form=form), dtype="int32")
    whole, _ = sf.read(folder / name, dtype="int32" if "PCM" in piece.codec else "float32", always_2d=True)
    wanted = whole[20_000:88_000]
    assert rate == kit.RATE_HZ and sound.shape == wanted.shape
    if wanted.dtype == np.int32:
        depth = 24 if piece.codec in ("PCM_24", "PCM_32") else 16
        assert np.array_equal(sound, (wanted >> (32 - depth)) << (32 - depth))
    else:
        assert np.abs(sound / 2**31 - np.clip(wanted, -1, 1)).max() <= 1.01 * 2**-15


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_stretch_with_any_margin_is_what_soundfile_reads(folder, gallery, data):
    name = data.draw(st.sampled_from(["pcm16.wav", "pcm24.wav", "deep.flac"]))
    start = data.draw(st.floats(0, 6.9))
    end = data.draw(st.floats(start + 0.001, 9))
    margin = data.draw(st.floats(0, 30))
    piece = kit.recorded(folder / name, folder, start, min(end, 7.0))
    snippet = gallery.audio(piece, AudioWish(margin_s=margin))
    whole, _ = sf.read(folder / name, dtype="int32", always_2d=True)
    first, last = round(max(0.0, start - margin) * kit.RATE_HZ), round(min(7.0, min(end, 7.0) + margin) * kit.RATE_HZ)
    assert np.array_equal(kit.read(snippet.data, dtype="int32")[0], whole[first:last])
    assert snippet.start_s == max(0.0, start - margin) and snippet.end_s == min(7.0, min(end, 7.0) + margin)


@pytest.mark.parametrize("form", ["wav", "flac"])
def test_the_same_wish_gives_the_same_bytes_and_tag(folder, form):
    made = [
        Gallery(kit.locator(folder), folder / "none").audio(
            kit.recorded(folder / "pcm24.wav", folder, 1, 3), AudioWish(form=form, gain_db=3)
        )
        for _ in range(2)
    ]
    assert made[0].data == made[1].data and made[0].etag == made[1].etag


def test_a_tag_changes_with_everything_that_changes_the_bytes(folder, gallery, tmp_path):
    piece = kit.recorded(folder / "pcm16.wav", folder, 1, 3)
    wishes = [
        AudioWish(),
        AudioWish(form="flac"),
        AudioWish(margin_s=1),
        AudioWish(speed=0.5),
        AudioWish(gain_db=1),
        AudioWish(normalise="peak"),
    ]
    tags = [gallery.audio(piece, wish).etag for wish in wishes]
    tags.append(gallery.audio(replace(piece, start_s=1.5)).etag)
    tags.append(gallery.audio(kit.recorded(folder / "pcm24.wav", folder, 1, 3)).etag)
    assert len(set(tags)) == len(tags)
    # A margin and the same seconds asked for outright are the same bytes.
    assert gallery.audio(replace(piece, start_s=0.0, end_s=4.0)).etag == tags[2]


def test_a_file_written_again_has_another_tag(tmp_path):
    sf.write(tmp_path / "a.wav", kit.tone(400, 1), kit.RATE_HZ)
    piece, gallery = kit.recorded(tmp_path / "a.wav", tmp_path), Gallery(kit.locator(tmp_path), tmp_path / "p")
    before = gallery.audio(piece)
    sf.write(tmp_path / "a.wav", kit.tone(900, 1), kit.RATE_HZ)
    os.utime(tmp_path / "a.wav", ns=(0, 5))
    after = gallery.audio(piece)
    assert before.etag != after.etag and before.data != after.data


def test_what_the_caller_has_is_not_read(folder, gallery, monkeypatch):
    piece = kit.recorded(folder / "pcm16.wav", folder, 2, 3)
    etag = gallery.audio(piece, AudioWish(gain_db=-7)).etag
    fresh = Gallery(kit.locator(folder), folder / "none")
    monkeypatch.setattr(encoding, "encode", lambda *a: pytest.fail("it was read"))
    assert fresh.audio(piece, AudioWish(gain_db=-7), known={etag}).data is None
    assert fresh.audio(piece, AudioWish(gain_db=-7), known={"*"}).data is None
    assert fresh.kept_audio(piece, AudioWish(gain_db=-7)) is None
    assert gallery.audio(piece, AudioWish(gain_db=-7)).data  # kept


@pytest.mark.parametrize(
    ("rate", "speed", "written"),
    [
        (384_000, 0.1, 38_400),
        (256_000, 0.1, 25_600),
        (384_000, 1, 384_000),
        (1_000, 1, 1_000),
        (48_000, 0.5, 24_000),
        (48_000, 4, 192_000),
        (48_000, 0.01, 8_000),
        (48_000, 20, 96_000),
        (22_050, 0.3, 6_615),
    ],
)
def test_speed_is_the_rate_of_the_header_where_that_can_be_played(rate, speed, written):
    rates = rates_of(rate, speed)
    assert rates.written_hz == written
    assert rates.resampled == (written in (8_000, 96_000))


@pytest.mark.parametrize("form", ["wav", "flac"])
def test_a_bat_at_a_tenth(tmp_path, form):
    sf.write(tmp_path / "bat.wav", kit.tone(45_000, 0.5, 384_000), 384_000, subtype="PCM_16")
    piece = kit.recorded(tmp_path / "bat.wav", tmp_path)
    gallery = Gallery(kit.locator(tmp_path), tmp_path / "p")
    sound, rate = heard(gallery, piece, AudioWish(form=form, speed=0.1), dtype="int16")
    assert rate == 38_400 and loudest_hz(sound[:, 0], rate) == pytest.approx(4_500, abs=5)
    assert np.array_equal(sound, sf.read(tmp_path / "bat.wav", dtype="int16", always_2d=True)[0])


@pytest.mark.parametrize(("hz", "speed", "seconds"), [(12.0, 20.0, 40.0), (3_000.0, 0.02, 1.0)])
def test_a_speed_beyond_what_plays_is_resampled(hz, speed, seconds):
    piece = kit.held(kit.tone(hz, seconds, 48_000), 48_000)
    sound, rate = heard(Gallery(kit.locator("/nowhere"), "/nowhere"), piece, AudioWish(speed=speed))
    assert len(sound) / rate == pytest.approx(seconds / speed, rel=1e-3)
    assert loudest_hz(sound[:, 0], rate) == pytest.approx(hz * speed, rel=0.02)
    assert 0.45 < np.abs(sound).max() < 0.55


def loudest_hz(sound: np.ndarray, rate: int) -> float:
    return float(np.abs(np.fft.rfft(sound * np.hanning(len(sound)))).argmax() * rate / len(sound))


def test_gain_and_normalising():
    gallery = Gallery(kit.locator("/nowhere"), "/nowhere")
    piece = kit.held(kit.tone(400, 1, level=0.1))

    def peak(**more):
        return np.abs(heard(gallery, piece, AudioWish(**more))[0]).max()

    assert peak() == pytest.approx(0.1, abs=1e-3)
    assert peak(gain_db=6) == pytest.approx(0.1995, abs=1e-3)
    assert peak(gain_db=-20) == pytest.approx(0.01, abs=1e-3)
    assert peak(gain_db=60) == pytest.approx(1.0, abs=1e-4)  # cut off, not wrapped around
    assert peak(normalise="peak") == pytest.approx(10 ** (-1 / 20), abs=1e-3)
    assert peak(normalise="peak", gain_db=-6) == pytest.approx(10 ** (-7 / 20), abs=1e-3)


@pytest.mark.parametrize(
    "sound",
    [np.zeros(100), np.ones(1), np.full(50, np.nan), np.full(50, np.inf), np.full(50, 1e30), np.full(50, -3.0)],
    ids=["silent", "one sample", "nan", "inf", "huge", "beyond full scale"],
)
@pytest.mark.parametrize("normalise", ["none", "peak"])
def test_odd_samples_give_a_sound(sound, normalise):
    found, _ = heard(Gallery(kit.locator("/nowhere"), "/nowhere"), kit.held(sound), AudioWish(normalise=normalise))
    assert len(found) == len(sound) and np.isfinite(found).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"speed": 0},
        {"speed": -1},
        {"speed": float("nan")},
        {"speed": float("inf")},
        {"margin_s": -0.1},
        {"margin_s": 30.1},
        {"margin_s": float("nan")},
        {"gain_db": 61},
        {"form": "ogg"},
        {"form": "../etc"},
        {"normalise": "rms"},
    ],
)
def test_wishes_that_cannot_be(wrong):
    with pytest.raises(Invalid, match=next(iter(wrong))):
        AudioWish(**wrong)


def test_bounds_protect(folder, monkeypatch):
    gallery = Gallery(kit.locator(folder), folder / "none", clip_s=3.0)
    piece = kit.recorded(folder / "pcm16.wav", folder, 1, 3)
    assert gallery.audio(piece).data
    with pytest.raises(Limit, match="from_s and to_s"):
        gallery.audio(piece, AudioWish(margin_s=1))
    monkeypatch.setattr(encoding, "BYTES_MAX", 100_000)
    gallery = Gallery(kit.locator(folder), folder / "none", clip_s=3.0)  # that kept nothing yet
    with pytest.raises(Limit, match=r"at most \d s"):
        gallery.audio(piece)
    # What resampling adds counts, before anything is made.
    with pytest.raises(Limit):
        gallery.audio(replace(piece, end_s=1.2), AudioWish(speed=0.01))


def test_flac_does_not_hold_everything():
    piece = kit.held(np.zeros((100, 9)))
    gallery = Gallery(kit.locator("/nowhere"), "/nowhere")
    with pytest.raises(Invalid, match="form=wav"):
        gallery.audio(piece, AudioWish(form="flac"))
    assert heard(gallery, piece)[0].shape == (100, 9)


def test_names_of_files_say_site_and_local_time():
    gallery = Gallery(kit.locator("/nowhere"), "/nowhere")
    piece = kit.held(
        kit.tone(400, 3), start_s=1.0, site='Wald/Bühl "7"\r\nX: y', local_start=datetime(2025, 5, 10, 4, 12)
    )
    name = gallery.audio(piece).filename
    assert name.endswith("_2025-05-10_04-12-01.wav") and name.startswith("Wald_B")
    assert not set(name) & set('/\\"\r\n:;% ')
    assert gallery.audio(replace(piece, local_start=None), AudioWish("flac")).filename.endswith("_clip_1.00s.flac")
    assert gallery.audio(replace(piece, site=None, name="../../etc/passwd")).filename == ".._.._etc_passwd_1.00s.wav"


def test_a_recording_that_went_away(folder, tmp_path):
    gallery = Gallery(kit.locator(tmp_path), tmp_path / "p")
    piece = kit.recorded(folder / "pcm16.wav", folder, 1, 2)
    with pytest.raises(NotFound, match="--recordings") as told:
        gallery.audio(piece)
    assert str(tmp_path) not in told.value.message


def test_a_recording_that_was_cut_short(folder, tmp_path):
    data = (folder / "pcm16.wav").read_bytes()
    (tmp_path / "pcm16.wav").write_bytes(data[: len(data) // 2])
    piece = kit.recorded(folder / "pcm16.wav", folder, 1, 2)
    with pytest.raises(Conflict, match="embed it again"):
        Gallery(kit.locator(tmp_path), tmp_path / "p").audio(piece)
    # Of the same size, but nothing in it:
    (tmp_path / "pcm16.wav").write_bytes(bytes(len(data)))
    with pytest.raises(Damaged) as told:
        Gallery(kit.locator(tmp_path), tmp_path / "p").audio(piece)
    assert str(tmp_path) not in told.value.message and "pcm16.wav" in told.value.message
    # Of the same size, but at another rate:
    sf.write(tmp_path / "pcm16.wav", np.zeros((7 * kit.RATE_HZ, 2)), 8_000, subtype="PCM_16")
    with pytest.raises(Conflict, match=r"8,000.*16,000"):
        Gallery(kit.locator(tmp_path), tmp_path / "p").audio(piece)


def test_nothing_outside_the_folders_is_read(folder, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link.wav").symlink_to(folder / "pcm16.wav")
    gallery = Gallery(kit.locator(tmp_path / "in"), tmp_path / "p")
    piece = kit.recorded(folder / "pcm16.wav", folder, 1, 2)
    for path in ("link.wav", "../pcm16.wav", str(folder / "pcm16.wav"), "a\x00b", ""):
        with pytest.raises(NotFound) as told:
            gallery.audio(replace(piece, sound=RecordedSound(path, None)))
        assert str(tmp_path) not in told.value.message
    with pytest.raises(NotFound):
        gallery.audio(replace(piece, sound=RecordedSound("in", None)))  # a folder


def test_a_clip_whose_samples_end_early():
    piece = kit.held(kit.tone(400, 1))
    short = replace(piece, sound=HeldSound("1" * 32, np.zeros(4_000, np.float32)))
    gallery = Gallery(kit.locator("/nowhere"), "/nowhere")
    assert len(heard(gallery, short)[0]) == 4_000
    with pytest.raises(Damaged):
        gallery.audio(replace(piece, sound=HeldSound("2" * 32)))
