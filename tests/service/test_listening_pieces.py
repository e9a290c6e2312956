"""Where samples come from: the same contract for a recording, samples in memory and an upload; and long pieces."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from search_api.listening import AudioWish, Gallery, HeldSound, PictureWish, encoding
from search_api.listening.encoding import cut_of
from search_api.listening.pieces import HeldSamples, RecordingFile, as_float, open_source
from search_api.uploads.decoding import DecodePool
from search_api.uploads.samples import clip_samples
from sonotheque.core.errors import Conflict, Damaged, Invalid, Limit, NotFound, Unavailable
from store import read_config
from tests.service import listening_kit as kit

RATE = 8_000
LONG_S = 65.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("long")
    sound = np.stack([kit.noise(LONG_S, RATE, 0.2, seed=3), kit.noise(LONG_S, RATE, 0.2, seed=4)], axis=1)
    whole = np.rint(sound * 30_000).astype(np.int16)
    for name in ("long.wav", "long.flac"):
        sf.write(root / name, whole, RATE, subtype="PCM_16")
    return root


@pytest.fixture(scope="module")
def whole(folder):
    return sf.read(folder / "long.wav", dtype="float32", always_2d=True)[0]


def sources(folder, whole):
    yield open_source(kit.locator(folder), kit.recorded(folder / "long.wav", folder))
    yield open_source(kit.locator(folder), kit.recorded(folder / "long.flac", folder))
    yield open_source(kit.locator(folder), kit.held(whole, RATE))


def test_both_kinds_of_sources(folder, whole):
    recorded, _, held = sources(folder, whole)
    assert isinstance(recorded, RecordingFile) and isinstance(held, HeldSamples)
    assert recorded.extent == held.extent == (0, len(whole))
    assert recorded.identity != held.identity


@settings(deadline=None, max_examples=30)
@given(st.data())
def test_spans_that_go_forwards_are_slices(folder, whole, data):
    starts = sorted(data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=6)))
    ends = sorted(data.draw(st.integers(1, 20_000)) + start for start in starts)
    spans = [(a, b) for a, b in zip(starts, ends, strict=True) if b > a]
    for source in sources(folder, whole):
        found = list(source.cut(spans))
        assert len(found) == len(spans)
        for (a, b), sound in zip(spans, found, strict=True):
            assert np.abs(as_float(sound) - whole[a:b]).max() < 1e-6
            assert sound.start_s == pytest.approx(a / RATE) and sound.sample_rate_hz == RATE


def test_after_the_end_there_is_nothing(folder, whole):
    end = len(whole)
    for source in sources(folder, whole):
        found = list(source.cut([(end - 10, end + 10), (end + 100, end + 200)]))
        assert len(found[0].samples) == 10 and found[1] is None


def test_nothing_at_all_is_damage(folder, whole):
    end = len(whole)
    for source in list(sources(folder, whole))[:2]:
        with pytest.raises(Damaged, match="long"):
            list(source.cut([(end + 100, end + 200)]))
    piece = kit.held(whole, RATE)
    for samples in (None, np.zeros(0, np.float32)):
        with pytest.raises(Damaged):
            list(HeldSamples(piece, HeldSound("0", samples)).cut([(0, 10)]))


def test_samples_that_begin_later(whole):
    piece = kit.held(whole, RATE)
    late = HeldSamples(piece, HeldSound("0", whole[RATE : 3 * RATE], first_s=1.0))
    assert late.extent == (RATE, 3 * RATE)
    (sound,) = late.cut([(RATE + 5, RATE + 15)])
    assert np.array_equal(sound.samples, whole[RATE + 5 : RATE + 15])
    (sound,) = late.cut([(RATE - 5, RATE + 5)])
    assert np.array_equal(sound.samples, whole[RATE : RATE + 5]) and sound.start_s == 1.0


def test_what_changes_the_content_changes_its_name(folder, tmp_path):
    piece = kit.recorded(folder / "long.wav", folder)
    first = open_source(kit.locator(folder), piece).identity
    assert open_source(kit.locator(folder), replace(piece, start_s=1.0)).identity == first
    (tmp_path / "long.wav").write_bytes((folder / "long.wav").read_bytes())
    assert open_source(kit.locator(tmp_path), piece).identity != first  # another time of change
    with pytest.raises(Conflict):
        open_source(kit.locator(folder), replace(piece, sound=replace(piece.sound, size_bytes=1)))
    with pytest.raises(NotFound):
        open_source(kit.locator(folder), replace(piece, sound=replace(piece.sound, path="other.wav")))


@settings(max_examples=100)
@given(st.floats(0, 64.9), st.floats(0.0001, 65), st.floats(0, 30))
def test_stretches_of_half_a_minute_are_the_piece(start, length, margin):
    piece = replace(kit.held(np.zeros(round(LONG_S * RATE)), RATE), start_s=start, end_s=min(LONG_S, start + length))
    spans = cut_of(piece, margin)
    assert spans[0][0] == round(max(0.0, start - margin) * RATE)
    assert all(a < b <= a + 30 * RATE for a, b in spans)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(spans))


@pytest.mark.parametrize("form", ["wav", "flac"])
def test_long_snippets_have_no_seams(folder, whole, form):
    gallery = Gallery(kit.locator(folder), folder / "none")
    for name in ("long.wav", "long.flac"):
        found, rate = kit.read(
            gallery.audio(kit.recorded(folder / name, folder), AudioWish(form)).data, dtype="float32"
        )
        assert rate == RATE and np.array_equal(found, whole)


def test_resampling_has_no_seams(folder, monkeypatch):
    gallery = Gallery(kit.locator(folder), folder / "none")
    piece, wish = kit.recorded(folder / "long.wav", folder, 3.0, 64.0), AudioWish(speed=30.0)
    at_once = kit.read(gallery.audio(piece, wish).data)[0]
    monkeypatch.setattr(encoding, "_CUT_S", 1.3)
    in_pieces = kit.read(Gallery(kit.locator(folder), folder / "none").audio(piece, wish).data)[0]
    assert len(at_once) == pytest.approx(61 / 30 * 96_000, abs=2)
    assert at_once.shape == in_pieces.shape and np.abs(at_once - in_pieces).max() <= 2**-14


def test_the_peak_is_that_of_the_whole_piece(tmp_path):
    sound = kit.tone(300, 62, RATE, 0.01)
    sound[61 * RATE] = 0.5
    sf.write(tmp_path / "a.wav", sound, RATE)
    gallery = Gallery(kit.locator(tmp_path), tmp_path / "p")
    found = kit.read(gallery.audio(kit.recorded(tmp_path / "a.wav", tmp_path), AudioWish(normalise="peak")).data)[0]
    assert np.abs(found).max() == pytest.approx(10 ** (-1 / 20), abs=1e-3)
    assert np.abs(found[: 60 * RATE]).max() == pytest.approx(0.01 / 0.5 * 10 ** (-1 / 20), abs=1e-3)


def test_long_drawings_take_turns(tmp_path):
    gallery = Gallery(kit.locator(tmp_path), tmp_path)
    inside, most = 0, 0

    async def one():
        nonlocal inside, most
        async with gallery.long_turn():
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.001)
            inside -= 1

    async def many():
        return await asyncio.gather(*(one() for _ in range(12)), return_exceptions=True)

    refused = [error for error in asyncio.run(many()) if error]
    assert most == 1 and len(refused) == 4
    assert all(isinstance(error, Unavailable) and error.kind == "overloaded" for error in refused)
    asyncio.run(one())  # there is room again


def test_what_takes_long(tmp_path):
    gallery = Gallery(kit.locator(tmp_path), tmp_path)
    piece = replace(kit.held(np.zeros(10)), duration_s=3_600.0, end_s=3_600.0)
    assert gallery.takes_long(piece, PictureWish())
    assert not gallery.takes_long(replace(piece, end_s=60.0), PictureWish(margin_s=30))


class TestUploads:
    """Samples of an upload, by the processes that may do nothing else."""

    @pytest.fixture(scope="class")
    @staticmethod
    def pool(made):
        found = DecodePool(read_config(made.store), processes=1, decoded_s=100.0, deadline_s=20.0)
        found.start()
        yield found
        found.close()

    def heard(self, pool, data, span, rate=RATE):
        return asyncio.run(clip_samples(pool, data, "clip", rate, span))

    @pytest.mark.parametrize(
        "span", [(0.0, 65.0), (0.0, 0.5), (12.3456, 12.4), (10.0, 43.21), (64.9, 65.0), (64.5, 99.0)]
    )
    def test_they_are_the_files(self, pool, folder, whole, span):
        wanted = whole[round(span[0] * RATE) : round(span[1] * RATE)].mean(axis=1)
        for name in ("long.wav", "long.flac"):
            found = self.heard(pool, (folder / name).read_bytes(), span)
            assert len(found) == len(wanted) and np.abs(found - wanted).max() < 1e-6

    def test_what_is_no_sound(self, pool, folder):
        for data in (b"RIFF", b"\x00" * 1_000, (folder / "long.flac").read_bytes()[:60]):
            with pytest.raises(Invalid):
                self.heard(pool, data, (0.0, 1.0))

    def test_what_is_asked_beyond_the_end_or_the_bounds(self, pool, folder):
        data = (folder / "long.wav").read_bytes()
        with pytest.raises(Invalid, match="ends at"):
            self.heard(pool, data, (70.0, 71.0))
        with pytest.raises(Limit):
            self.heard(pool, data, (0.0, 101.0))
