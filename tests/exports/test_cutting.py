"""A cut span is what the model heard: the same samples at the same place, in every format and of damaged files too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embedder.audio import BlockReader, open_windows
from search_api.cutting import Sound, cut_spans
from sonotheque.core.errors import Damaged, Invalid
from sonotheque.core.windows import WindowRule
from tests.audio.damage import DAMAGE, sound, write

RATE_HZ = 24_000
FORMATS = {
    "wav": {"format": "WAV", "subtype": "PCM_16"},
    "wav24": {"format": "WAV", "subtype": "PCM_24"},
    "wavf": {"format": "WAV", "subtype": "FLOAT"},
    "adpcm": {"format": "WAV", "subtype": "MS_ADPCM"},
    "ulaw": {"format": "WAV", "subtype": "ULAW"},
    "flac": {"format": "FLAC", "subtype": "PCM_16"},
    "aiff": {"format": "AIFF", "subtype": "PCM_24"},
    "ogg": {"format": "OGG", "subtype": "VORBIS"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
    "mp3": {"format": "MP3", "subtype": "MPEG_LAYER_III"},
}
CLICK_S = 7.3


def clicks(seconds: float = 10.0) -> np.ndarray:
    """Faint noise, and a click at 7.3 s."""
    samples = np.random.default_rng(3).normal(0, 1e-3, round(seconds * RATE_HZ)).astype(np.float32)
    at = round(CLICK_S * RATE_HZ)
    samples[at : at + 12] += 0.8 * np.hanning(14)[1:-1].astype(np.float32)
    return samples


def mono(piece: Sound) -> np.ndarray:
    samples = piece.samples.astype(np.float64)
    return (samples / 2**31 if piece.samples.dtype == np.int32 else samples).mean(axis=1)


def heard(path: str) -> tuple[np.ndarray, int]:
    """Return all that the model's input is made of, and its rate."""
    with BlockReader(path) as reader:
        blocks = [block.copy() for block in reader]
        return (np.concatenate(blocks) if blocks else np.zeros(0, np.float32)), reader.sample_rate_hz


def cut(path: str, spans: list[tuple[float, float]], **options) -> list[Sound | Damaged]:
    found = dict(cut_spans(path, spans, **options))
    assert sorted(found) == list(range(len(spans)))
    return [found[i] for i in range(len(spans))]


@pytest.mark.parametrize("name", FORMATS)
def test_a_click_is_where_the_model_heard_it(tmp_path, name):
    path = write(tmp_path / f"x.{name}", clicks(), RATE_HZ, **FORMATS[name])
    rule = WindowRule(RATE_HZ, 2 * RATE_HZ, RATE_HZ, RATE_HZ)
    windows = {start / RATE_HZ: frame for start, _, frame in open_windows(path, rule)}
    spans = [(start, start + 2) for start in (6.0, 7.0, 0.0)]
    pieces = cut(path, spans)
    for (start, _), piece in zip(spans, pieces, strict=True):
        assert isinstance(piece, Sound)
        assert piece.start_s == start
        assert np.allclose(mono(piece), windows[start][: len(piece.samples)], atol=2e-4)
    for (start, _), piece in zip(spans[:2], pieces[:2], strict=True):
        loudest = start + int(np.abs(mono(piece)).argmax()) / piece.sample_rate_hz
        assert loudest == pytest.approx(CLICK_S, abs=0.003), "within some milliseconds of the true time"


@pytest.mark.parametrize("name", [n for n, d in DAMAGE.items() if d.windows])
def test_spans_of_damaged_files_are_what_the_model_heard(tmp_path, name):
    path = DAMAGE[name].make(tmp_path)
    whole, rate = heard(path)
    length_s = len(whole) / rate
    spans = [(0.0, 3.0), (length_s - 0.7, length_s + 5), (0.4 * length_s, 0.4 * length_s + 0.3), (0.0, length_s + 1)]
    alone = [cut(path, [span])[0] for span in spans]  # each by a seek, where the format allows one
    for (start, end), piece in zip(spans * 2, [*cut(path, spans), *alone], strict=True):
        begin = max(0, round(start * rate))
        expected = whole[begin : round(end * rate)]
        assert isinstance(piece, Sound)
        assert len(piece.samples) == len(expected)
        assert np.allclose(mono(piece), expected, atol=1e-4)
        assert piece.end_s == pytest.approx((begin + len(expected)) / rate)


@pytest.mark.parametrize("name", [n for n, d in DAMAGE.items() if not d.windows])
def test_files_without_windows_are_an_error_or_their_few_samples(tmp_path, name):
    path = DAMAGE[name].make(tmp_path)
    try:
        (piece,) = cut(path, [(0.0, 3.0)])
    except Damaged as error:
        assert ":" in error.message
    else:
        assert isinstance(piece, Damaged) or len(piece.samples) < 3 * piece.sample_rate_hz


several = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
spans_strategy = st.lists(
    st.tuples(st.floats(-1, 12), st.floats(0.001, 6)).map(lambda s: (s[0], s[0] + s[1])), min_size=1, max_size=6
)


@pytest.fixture(scope="module", params=["wav", "flac", "ogg"])
def stereo(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("stereo") / f"x.{request.param}"
    write(path, sound(11.0, RATE_HZ, channels=2), RATE_HZ, **FORMATS[request.param])
    return str(path), sf.read(path, dtype="float32", always_2d=True)[0]


@several
@given(spans=spans_strategy)
def test_any_spans_against_reading_the_whole_file(stereo, spans):
    path, whole = stereo
    for (start, end), piece in zip(spans, cut(path, spans), strict=True):
        expected = whole[max(0, round(start * RATE_HZ)) : max(0, round(end * RATE_HZ))]
        if not len(expected):
            assert isinstance(piece, Damaged)
            continue
        assert isinstance(piece, Sound)
        got = piece.samples / 2**31 if piece.samples.dtype == np.int32 else piece.samples
        assert got.shape == expected.shape
        assert np.allclose(got, expected, atol=1e-6)


def test_whole_numbers_stay_whole_numbers(tmp_path):
    samples = np.random.default_rng(0).integers(-(2**15), 2**15, (RATE_HZ, 2)).astype(np.int16)
    for ending in ("wav", "flac"):
        sf.write(tmp_path / f"x.{ending}", samples, RATE_HZ, subtype="PCM_16")
        (piece,) = cut(str(tmp_path / f"x.{ending}"), [(0.25, 0.5)])
        assert np.array_equal(piece.samples >> 16, samples[RATE_HZ // 4 : RATE_HZ // 2])


def test_a_span_behind_the_end_says_where_the_sound_ends(tmp_path):
    path = write(tmp_path / "x.wav", sound(2.0, RATE_HZ), RATE_HZ)
    before, after = cut(path, [(1.5, 3.0), (5.0, 8.0)])
    assert before.end_s == pytest.approx(2.0)
    assert isinstance(after, Damaged)
    assert "2.000 s" in after.message


def test_a_file_of_another_size_is_not_the_one_that_was_embedded(tmp_path):
    path = write(tmp_path / "x.wav", sound(2.0, RATE_HZ), RATE_HZ)
    size = Path(path).stat().st_size
    assert isinstance(cut(path, [(0, 1)], size_bytes=size)[0], Sound)
    with pytest.raises(Damaged, match="changed: has"):
        cut(path, [(0, 1)], size_bytes=size - 1)


def test_a_file_that_is_not_there_is_damaged(tmp_path):
    with pytest.raises(Damaged, match="vanished"):
        cut(str(tmp_path / "x.wav"), [(0, 1)])


@pytest.mark.parametrize("span", [(1.0, 1.0), (2.0, 1.0), (0.0, 601.0), (0.0, float("nan"))])
def test_spans_without_a_length_or_too_long_are_refused(tmp_path, span):
    path = write(tmp_path / "x.wav", sound(1.0, RATE_HZ), RATE_HZ)
    with pytest.raises(Invalid, match="clip"):
        cut(path, [span])


def test_long_files_are_not_read_whole(tmp_path, monkeypatch):
    """The last second of a long WAV costs a seek and not its decoding; of an Ogg file, one pass without keeping it."""
    path = write(tmp_path / "x.wav", np.tile(clicks(10.0), 30), RATE_HZ)
    read = []
    original = sf.SoundFile.read

    def counted(self, *args, **options):
        found = original(self, *args, **options)
        read.append(len(found))
        return found

    monkeypatch.setattr(sf.SoundFile, "read", counted)
    (piece,) = cut(path, [(297.0, 298.0)])
    assert np.abs(mono(piece)).argmax() == pytest.approx(0.3 * RATE_HZ, abs=20)
    assert sum(read) <= 3 * RATE_HZ
