"""Spectrograms: against SciPy's, and what a person must be able to see in them."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import scipy.signal
import soundfile as sf
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from search_api.listening import Gallery, HeldSound, PictureWish, spectrum
from search_api.listening.colours import LEVELS, palette
from search_api.listening.drawing import draw, picture_levels, share_of
from search_api.listening.levels import above_background, mel_bands, quantised
from search_api.listening.spectrum import choose_fft, frames_per_column, plan_frames
from search_api.listening.wishes import COLORMAPS
from sonotheque.core.errors import Damaged, Invalid, Limit
from tests.service import listening_kit as kit


def levels(piece, **wish):
    return picture_levels(kit.source_of(piece), piece, PictureWish(**wish))


def drawn(piece, **wish):
    return kit.pixels(draw(kit.source_of(piece), piece, PictureWish(**wish)))


def power_at(sound: np.ndarray, n_fft: int, starts: list[int]) -> np.ndarray:
    """Power of stretches, (bins, stretches), by SciPy; a full-scale sine is 1."""
    frames = np.array([sound[start : start + n_fft] for start in starts], np.float64)
    options = {"window": "hann", "detrend": "constant", "boundary": None, "padded": False, "scaling": "spectrum"}
    _, _, found = scipy.signal.stft(frames, nperseg=n_fft, noverlap=0, **options)
    return (2 * np.abs(found[:, :, 0].T)) ** 2


def mean_of_row(power: np.ndarray, low: float, high: float) -> np.ndarray:
    """Mean power between two places on the axis of lines, each line as wide as one; at least one line's worth."""
    middle, reach = (low + high) / 2, max(high - low, 1.0) / 2
    total, weight = np.zeros(power.shape[1]), 0.0
    for line in range(len(power)):
        share = min(line + 0.5, middle + reach) - max(line - 0.5, middle - reach)
        if share > 0:
            total += share * power[line]
            weight += share
    return total / weight


def plain_levels(sound: np.ndarray, rate: int, wish: PictureWish, n_fft: int, per_column: int) -> np.ndarray:
    """The same picture without any haste."""
    step = len(sound) / wish.width
    columns = []
    for column in range(wish.width):
        middles = [(column + (i + 0.5) / per_column) * step for i in range(per_column)]
        assume(all(abs((m - n_fft / 2) % 1 - 0.5) > 1e-3 for m in middles))  # else either sample is right
        starts = [min(max(0, round(m - n_fft / 2)), len(sound) - n_fft) for m in middles]
        columns.append(power_at(sound, n_fft, starts).max(axis=1))
    low, high = wish.band(rate)
    edges = [(low + (high - low) * row / wish.height) * n_fft / rate for row in range(wish.height + 1)]
    rows = [mean_of_row(np.array(columns).T, a, b) for a, b in itertools.pairwise(edges)]
    return 10 * np.log10(np.maximum(rows, 1e-16))


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.filter_too_much])
@given(st.data())
def test_levels_are_scipys(data):
    rate = data.draw(st.sampled_from([8_000, 22_050, 48_000]))
    seconds = data.draw(st.floats(0.05, 0.6))
    width, height = data.draw(st.integers(50, 130)), data.draw(st.integers(50, 90))
    low = data.draw(st.floats(0, rate / 4))
    high = data.draw(st.floats(low + rate / 10, rate))
    sound = (
        kit.noise(seconds, rate, 0.1, seed=data.draw(st.integers(0, 99))) + kit.tone(rate / 7, seconds, rate, 0.3) + 0.2
    )
    wish = PictureWish(width=width, height=height, min_hz=low, max_hz=high)
    band = wish.band(rate)
    n_fft = choose_fft(rate, len(sound) / width, band[1] - band[0], height)
    if n_fft > len(sound):
        return
    per_column, _ = frames_per_column(len(sound) / width, width, n_fft)
    found = levels(kit.held(sound, rate), width=width, height=height, min_hz=low, max_hz=high)
    wanted = plain_levels(sound, rate, wish, n_fft, per_column)
    assert found.shape == (height, width)
    loud = wanted > -90  # float32 has its own floor below the loudest
    assert np.abs(found - wanted)[loud].max() < 0.1


def test_mel_levels_are_librosas():
    librosa = pytest.importorskip("librosa")
    rate, sound, step = 16_000, kit.noise(1.6, 16_000, 0.1), 256
    n_fft = choose_fft(rate, step, 7_000, 100)
    count, _ = frames_per_column(step, 100, n_fft)
    assert count == 1 and mel_bands(n_fft, rate, (1_000.0, 8_000.0), 50) == 50
    starts = [min(max(0, round((c + 0.5) * step - n_fft / 2)), len(sound) - n_fft) for c in range(100)]
    wanted = librosa.feature.melspectrogram(S=power_at(sound, n_fft, starts), sr=rate, n_mels=50, fmin=1_000)
    found = levels(kit.held(sound), width=100, height=50, scale="mel", min_hz=1_000)
    assert np.abs(found - 10 * np.log10(wanted)).max() < 0.1


def test_where_the_transform_is_too_coarse_rows_lie_between_filters():
    assert 20 < mel_bands(512, 16_000, (0.0, 8_000.0), 600) < 300
    found = levels(kit.held(kit.noise(0.2, level=0.1)), width=400, height=600, scale="mel")
    assert found.shape == (600, 400) and np.abs(np.diff(found, axis=0)).max() < 25


@pytest.mark.parametrize("scale", ["linear", "mel"])
@pytest.mark.parametrize(("hz", "begin"), [(400.0, 0.3), (1_500.0, 1.0), (6_000.0, 1.7)])
def test_a_call_is_where_the_axes_say(scale, hz, begin):
    librosa = pytest.importorskip("librosa")
    sound = kit.noise(2.5, level=1e-4)
    at = round(begin * kit.RATE_HZ)
    sound[at : at + 4_000] += kit.tone(hz, 0.25)
    found = drawn(kit.held(sound), scale=scale, width=300, height=200)
    rows, columns = np.nonzero(found > LEVELS * 0.9)
    assert columns.min() == pytest.approx(begin / 2.5 * 300, abs=4)
    assert columns.max() == pytest.approx((begin + 0.25) / 2.5 * 300, abs=4)
    share = hz / 8_000 if scale == "linear" else librosa.hz_to_mel(hz) / librosa.hz_to_mel(8_000)
    assert np.median(rows) == pytest.approx(200 * (1 - share), abs=2)


@settings(deadline=None, max_examples=40)
@given(st.floats(0.01, 0.99), st.integers(50, 200))
def test_nothing_is_left_out_however_narrow_the_picture(place, width):
    sound = np.zeros(16_000 * 8, np.float32)
    at = round(place * len(sound))
    sound[at] = 1.0
    found = levels(kit.held(sound), width=width, height=50)
    loudest = found.max(axis=0)
    assert abs(int(loudest.argmax()) - int(at / len(sound) * width)) <= 1
    assert loudest.max() > -60 and np.sort(loudest)[-4] < -150


def test_blocks_do_not_show(monkeypatch):
    piece = kit.held(kit.noise(30) + kit.tone(500, 30))
    whole = levels(piece, width=200, height=60)
    monkeypatch.setattr(spectrum, "_CHUNK_SAMPLES", 5_000)
    assert np.array_equal(levels(piece, width=200, height=60), whole)
    monkeypatch.setattr(spectrum, "_CHUNK_S", 0.01)
    assert np.array_equal(levels(piece, width=200, height=60), whole)


def test_of_many_hours_a_share_is_looked_at(monkeypatch, tmp_path):
    sound = kit.noise(60, level=1e-3)
    sound[20 * kit.RATE_HZ : 30 * kit.RATE_HZ] += kit.tone(2_000, 10)
    sf.write(tmp_path / "long.wav", sound, kit.RATE_HZ)
    piece = kit.recorded(tmp_path / "long.wav", tmp_path)
    wish = PictureWish(width=60, height=80)
    assert share_of(piece, wish) == 1
    gallery = Gallery(kit.locator(tmp_path), tmp_path / "a")
    everything = kit.pixels(gallery.picture(piece, wish).data).astype(int)
    monkeypatch.setattr(spectrum, "WORK_SAMPLES", 60 * 16_000 // 4)
    sparse = Gallery(kit.locator(tmp_path), tmp_path / "b").picture(piece, wish)
    assert 0.1 < sparse.share < 0.5
    assert np.abs(kit.pixels(sparse.data).astype(int) - everything)[:, 21:29].mean() < 12
    tones = np.flatnonzero(kit.pixels(sparse.data)[58:62].max(axis=0) > 110)
    assert tones.min() == 20 and tones.max() == 29


def test_memory_does_not_grow_with_the_recording(tmp_path):
    with sf.SoundFile(tmp_path / "long.wav", "w", 8_000, 1, "PCM_16") as file:
        for _ in range(900):
            file.write(np.zeros(8_000))
    piece = kit.recorded(tmp_path / "long.wav", tmp_path)
    gallery = Gallery(kit.locator(tmp_path), tmp_path / "p")
    tracemalloc.start()
    try:
        gallery.picture(piece, PictureWish(width=200, height=100))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.75 * 900 * 8_000 * 4  # what the samples alone would take


def test_drawing_that_takes_too_long_is_given_up(tmp_path):
    with pytest.raises(Limit, match="from_s and to_s"):
        Gallery(kit.locator(tmp_path), tmp_path, work_s=-1.0).picture(kit.held(kit.noise(3)))


@pytest.mark.parametrize("length", [1, 2, 63, 64, 1_000, 16_000])
@pytest.mark.parametrize("value", [0.0, 1.0, 1e-12, 1e30, math.nan, math.inf, -math.inf], ids=lambda v: f"{v:g}")
@pytest.mark.parametrize("reference", ["peak", "background"])
def test_odd_samples_give_a_picture(length, value, reference):
    found = drawn(kit.held(np.full(length, value)), reference=reference, width=50, height=50)
    assert found.shape == (50, 50)
    if value in (0.0, math.inf, -math.inf) or math.isnan(value):
        assert not found.any()  # silence is dark


def test_clipped_sound_is_drawn():
    found = drawn(kit.held(np.clip(kit.tone(1_000, 1, level=50), -1, 1)), height=100)
    assert np.median(found[86:89].max(axis=0)) == LEVELS - 1  # 1 of 8 kHz


def test_a_constant_offset_does_not_outshine_the_sound():
    sound = kit.tone(3_000, 1, level=1e-3)
    assert np.array_equal(drawn(kit.held(sound + 0.5))[:200] > 100, drawn(kit.held(sound))[:200] > 100)


def test_stereo_is_drawn_as_the_mean_of_its_channels():
    left, right = kit.noise(1, seed=1), kit.noise(1, seed=2)
    both = levels(kit.held(np.stack([left, right], axis=1)), height=60)
    assert np.allclose(both, levels(kit.held((left + right) / 2), height=60), atol=1e-3)


def test_rumble_vanishes_above_the_background_and_a_call_stays():
    rumble = scipy.signal.sosfilt(scipy.signal.butter(4, 1_500, output="sos", fs=kit.RATE_HZ), kit.noise(3, level=0.3))
    sound = kit.noise(3, level=1e-3) + rumble.astype(np.float32)
    sound[24_000:26_000] += kit.tone(5_000, 0.125, level=0.05)
    peak, above = drawn(kit.held(sound), height=160), drawn(kit.held(sound), height=160, reference="background")
    low, call = slice(140, 160), slice(58, 63)
    assert np.median(peak[low]) > 80 and np.median(above[low]) < 20
    assert above[call, 202:214].max() > 110 and np.median(above) < 15


def test_above_background_of_a_few_rows():
    found = above_background(np.arange(12, dtype=np.float32).reshape(3, 4), 1_000.0)
    assert found.shape == (3, 4) and np.isfinite(found).all()


@pytest.mark.parametrize("name", COLORMAPS)
def test_colours_are_matplotlibs(name):
    matplotlib = pytest.importorskip("matplotlib")
    wanted = matplotlib.colormaps[name](np.linspace(0, 1, LEVELS), bytes=True)[:, :3].astype(int)
    found = np.frombuffer(palette(name), np.uint8).reshape(LEVELS, 3).astype(int)
    assert np.abs(found - wanted).max() <= (1 if name.startswith("gray") else 0)


@pytest.mark.parametrize("colormap", COLORMAPS)
def test_a_picture_has_the_size_and_colours_asked_for(colormap):
    from io import BytesIO

    from PIL import Image

    piece = kit.held(kit.noise(0.3))
    image = Image.open(BytesIO(draw(kit.source_of(piece), piece, PictureWish(width=77, height=51, colormap=colormap))))
    assert image.size == (77, 51) and image.mode == "P"
    assert bytes(image.getpalette()[: 3 * LEVELS]) == palette(colormap)


def test_decibels_become_colours():
    level = np.array([[-200.0, -80.0, -40.0, 0.0]], np.float32)
    assert quantised(level, 80, background=False).tolist() == [[0, 0, 64, 127]]
    assert quantised(level - 10, 80, background=False).tolist() == [[0, 0, 64, 127]]
    assert quantised(level + 50, 80, background=True).tolist() == [[0, 0, 25, 127]]
    assert quantised(level + 5, 80, background=True).tolist() == [[0, 0, 0, 32]]  # 5 of 20 dB: hardly more than noise
    assert not quantised(np.full((2, 2), -160.0, np.float32), 80, background=False).any()


@settings(max_examples=200)
@given(
    st.floats(1_000, 500_000),
    st.floats(0.5, 1e8),
    st.floats(0.001, 1.0),
    st.integers(50, 1_200),
)
def test_the_transform_is_bounded(rate, step, share, height):
    n_fft = choose_fft(rate, step, share * rate / 2, height)
    assert 64 <= n_fft <= 8_192 and n_fft & (n_fft - 1) == 0


@settings(max_examples=200)
@given(
    st.floats(0, 1e9),
    st.floats(1, 1e10),
    st.integers(50, 300),
    st.sampled_from([64, 1_024, 8_192]),
)
def test_the_work_is_bounded_and_frames_go_forwards(first, length, width, n_fft):
    count, needed = frames_per_column(length / width, width, n_fft)
    assert 1 <= count <= needed and width * count * n_fft <= max(spectrum.WORK_SAMPLES, width * n_fft)
    if width * count > 200_000:
        return
    frames = plan_frames(first, first + length, width, n_fft, (0, math.ceil(first + length)))
    assert len(frames.starts) == width * count and (np.diff(frames.starts) >= 0).all()
    assert frames.starts[0] >= 0


def test_pictures_span_what_their_numbers_say(tmp_path):
    gallery = Gallery(kit.locator(tmp_path), tmp_path / "p")
    piece = kit.held(kit.noise(5), start_s=1.0, end_s=3.0)
    found = gallery.picture(piece, PictureWish(margin_s=1.5, min_hz=500))
    assert (found.start_s, found.end_s, found.min_hz, found.max_hz, found.share) == (0.0, 4.5, 500.0, 8_000.0, 1.0)
    assert gallery.picture(piece, PictureWish(margin_s=30, max_hz=499_999)).end_s == 5.0


def test_no_frequency_that_high():
    with pytest.raises(Invalid, match="up to 8000 Hz"):
        levels(kit.held(kit.noise(1)), min_hz=9_000)


@pytest.mark.parametrize(
    "wrong",
    [
        {"width": 49},
        {"width": 4_001},
        {"width": 10**9},
        {"height": 1_201},
        {"height": 0},
        {"margin_s": -1},
        {"margin_s": math.nan},
        {"range_db": 29},
        {"range_db": math.inf},
        {"min_hz": -1},
        {"max_hz": math.nan},
        {"scale": "log"},
        {"colormap": "jet"},
        {"reference": ""},
        {"min_hz": 2_000, "max_hz": 1_000},
        {"min_hz": 0, "max_hz": 0},
    ],
)
def test_wishes_that_cannot_be(wrong):
    with pytest.raises(Invalid, match=next(iter(wrong))):
        PictureWish(**wrong)


def test_a_recording_that_ends_sooner_than_it_says(tmp_path):
    sf.write(tmp_path / "a.wav", kit.tone(1_000, 2), kit.RATE_HZ)
    piece = replace(kit.recorded(tmp_path / "a.wav", tmp_path), duration_s=4.0, end_s=4.0)
    gallery = Gallery(kit.locator(tmp_path), tmp_path / "p")
    found = kit.pixels(gallery.picture(piece).data)
    assert found[:, :190].max() == LEVELS - 1 and not found[:, 210:].any()
    with pytest.raises(Damaged):
        gallery.picture(replace(piece, start_s=3.0))


def test_a_clip_drawn_before_needs_no_samples(tmp_path):
    piece = kit.held(kit.noise(1))
    bare = replace(piece, sound=HeldSound(piece.sound.identity))
    gallery = Gallery(kit.locator(tmp_path), tmp_path / "p")
    assert gallery.kept_picture(bare) is None
    made = gallery.picture(piece)
    assert gallery.kept_picture(bare) == made
    assert Gallery(kit.locator(tmp_path), tmp_path / "p").kept_picture(bare) == made  # from the disk
    assert gallery.picture(bare, known={made.etag}).data is None
