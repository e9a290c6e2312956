"""The pieces both front ends are made of."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from threadpoolctl import threadpool_info, threadpool_limits

from embedder.frontends.banded import banded_product, blocks_of
from embedder.frontends.blas import one_blas_thread
from embedder.frontends.decimation import EDGE, FACTOR, LEAD, MARGIN, REACH, Decimator, fit, low_pass
from embedder.frontends.framing import Fold, Mirrored
from embedder.frontends.log_mel import EDGES, mel_filters
from embedder.frontends.mel_parts import RESIDUAL_MAX, mel_weights, parts_of
from tests.embedder.frontends.twins import birdnet_like_bands, mel_triangles, periodic_hann


@pytest.mark.parametrize("edges", [(), (1,), (64,), EDGES])
def test_blocks_give_the_whole_product(edges: tuple[int, ...]) -> None:
    matrix, values = mel_filters(), np.random.default_rng(0).random((7, 513), dtype=np.float32)
    out = np.full((7, 128), np.nan, np.float32)
    banded_product(values, blocks_of(matrix, edges), out)
    np.testing.assert_allclose(out, values.astype(np.float64) @ matrix, rtol=2e-6, atol=1e-6)


def test_a_block_of_zeros_gives_zeros() -> None:
    matrix = np.zeros((5, 4), np.float32)
    matrix[2, 3] = 2.0
    blocks = blocks_of(matrix, (2,))
    assert [block.weights.shape for block in blocks] == [(1, 2), (1, 2)]
    out = np.full((1, 4), np.nan, np.float32)
    banded_product(np.arange(5, dtype=np.float32)[None], blocks, out)
    assert out.tolist() == [[0, 0, 0, 4]]


@given(first=st.integers(0, 9), step=st.integers(1, 12), span=st.integers(0, 30), frames=st.integers(1, 5))
def test_a_fold_is_its_definition(first: int, step: int, span: int, frames: int) -> None:
    whole = Mirrored(first + step * (frames - 1) + span + 1)
    whole.signal[:] = np.arange(len(whole.signal)) ** 2
    whole.changed()
    fold = Fold(first, step, span, span // 2 + 1)
    ahead, back = whole.halves(fold, frames)
    x = whole.signal
    expected = [
        [x[first + i * step + j] + x[first + i * step + span - j] for j in range(fold.columns)] for i in range(frames)
    ]
    assert (ahead + back).tolist() == expected


@pytest.mark.parametrize("fold", [Fold(0, 4, 9, 3), Fold(2, 4, 8, 3), Fold(0, 5, 8, 3), Fold(-1, 4, 7, 3)])
def test_a_fold_beyond_the_signal_is_refused(fold: Fold) -> None:
    Mirrored(17).halves(Fold(0, 4, 8, 3), 3)
    with pytest.raises(ValueError):
        Mirrored(17).halves(fold, 3)


def test_what_would_fold_into_the_bands_is_kept_out() -> None:
    taps = low_pass()
    response = np.abs(np.fft.rfft(taps, 1 << 14))
    share = np.linspace(0, 0.5, len(response))  # of the sampling rate
    assert response[0] == pytest.approx(1)
    # A band at a sixteenth of the rate or below: it is hit by what lies as far from a quarter, and from a half.
    assert response[share >= 0.25 - 1 / 16].max() < 10 ** (-135 / 20)
    assert response[share <= 1 / 16].min() > 0.9


@pytest.mark.parametrize("samples", [200, 4_096, 4_097, 144_000])
def test_the_kept_samples_are_those_of_the_filtered_sound(samples: int) -> None:
    sound = np.random.default_rng(1).standard_normal(samples)
    decimator = Decimator(samples)
    padded, out = np.zeros(decimator.samples_in, np.float32), np.empty(decimator.samples_out, np.float32)
    padded[LEAD : LEAD + samples] = sound
    decimator.keep(padded, decimator.room(), out)
    filtered = np.convolve(sound, low_pass())[REACH::FACTOR][: -(-samples // FACTOR)]
    np.testing.assert_allclose(out[MARGIN : MARGIN + len(filtered)], filtered, rtol=0, atol=2e-6)
    assert decimator.samples_in >= samples + 2 * LEAD
    assert len(out) > MARGIN + samples // FACTOR + MARGIN  # what the last frame's margin needs


@pytest.mark.parametrize("phase", [0, 2])
def test_fitted_weights_weigh_any_sound_alike(phase: int) -> None:
    """Applied to a filtered sound one by one; and what is left over is what the fit says is left over."""
    length = 512
    weights = mel_weights(periodic_hann(length), mel_triangles(257, 48_000, 30, 0, 12_000).T.astype(np.float32))
    fitted = fit(weights, phase)
    sound = np.random.default_rng(2).standard_normal(length + 400)
    start = 200
    filtered = np.convolve(sound, low_pass(), mode="same")
    kept = start + fitted.first + FACTOR * np.arange(len(fitted.coarse))
    mirror = 2 * start + length - kept
    edge = start + np.arange(1, EDGE + 1)
    found = (filtered[kept] + filtered[mirror]) @ fitted.coarse
    found += (sound[edge] + sound[2 * start + length - edge]) @ fitted.edge
    whole = np.vstack([weights, weights[-2:0:-1]])
    error = np.abs(found - sound[start : start + length] @ whole)
    assert (error <= 6 * fitted.residual * np.linalg.norm(whole, axis=0)).all()
    assert fitted.residual[:8].max() < RESIDUAL_MAX  # up to 1.7 kHz
    assert fitted.residual[-1] > 0.1  # a band at a quarter of the rate cannot be had, and it says so


@pytest.mark.parametrize("which", [0, 1])
def test_parts_cover_every_band_of_every_frame_once(which: int) -> None:
    band = birdnet_like_bands()[which]
    seen = np.zeros((511, 96), int)
    parts = parts_of(band.window, band.filters, band.hop_samples, 511)
    for part in parts:
        seen[part.frames, part.bands] += 1
        columns = part.fine.columns + (part.coarse.columns if part.coarse else 0)
        assert part.weights.shape == (1 + columns, seen[part.frames, part.bands].shape[1])
    assert (seen == 1).all()
    # The bands up to 3 kHz are had from few samples throughout, those up to 15 kHz as far as 2.7 kHz: of the next eight
    # a fit would lose more than rounding does.
    few = [(part.bands, part.coarse is not None) for part in parts]
    whole, low, high = slice(0, 96), slice(0, 40), slice(40, 96)
    assert few == [[(whole, True), (whole, True)], [(low, True), (high, False)]][which]


def test_samples_are_left_out_only_where_they_can_be() -> None:
    band = birdnet_like_bands()[0]
    assert [part.coarse for part in parts_of(band.window, band.filters, 277, 500)] == [None]  # an odd hop
    high = mel_triangles(1025, 48_000, 8, 12_000, 24_000).T.astype(np.float32)
    assert [part.coarse for part in parts_of(band.window, high, 278, 500)] == [None]


def test_no_band_loses_more_than_rounding_does() -> None:
    """Narrow bands close together: the step from those that can be had to those that cannot is a few of them wide."""
    window, filters = periodic_hann(1024), mel_triangles(513, 48_000, 96, 2_000, 5_000).T.astype(np.float32)
    few, all_samples = parts_of(window, filters, 280, 300)
    residual = fit(mel_weights(window, filters), 0).residual
    assert few.coarse is not None
    assert residual[few.bands].max() < 6e-7
    assert residual[all_samples.bands][8:].min() > 4e-7


def blas_threads() -> set[int]:
    """Of NumPy's own BLAS: SciPy may have brought another, which takes no part in products of arrays."""
    found = [library for library in threadpool_info() if library["user_api"] == "blas"]
    own = [library for library in found if "numpy" in library["filepath"]]
    return {library["num_threads"] for library in own or found}


def test_products_stay_on_one_thread_and_the_setting_comes_back() -> None:
    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        with one_blas_thread():
            assert blas_threads() == {1}
            with one_blas_thread():
                assert blas_threads() == {1}
            assert blas_threads() == {1}
        assert blas_threads() == before
        with pytest.raises(ZeroDivisionError), one_blas_thread():
            _ = 1 / 0
        assert blas_threads() == before


def test_a_thread_waits_for_its_turn() -> None:
    """Else it would lose its limit when the other leaves."""
    inside, seen = threading.Event(), list[set[int]]()

    def second() -> None:
        with one_blas_thread():
            inside.set()
            seen.append(blas_threads())

    other = threading.Thread(target=second)
    with one_blas_thread():
        other.start()
        assert not inside.wait(0.3)
    other.join()
    assert seen == [{1}]


def test_threads_that_come_and_go_leave_the_setting_as_it_was() -> None:
    def work(seed: int) -> NDArray[np.float32]:
        values = np.random.default_rng(seed).random((8, 8), dtype=np.float32)
        for _ in range(20):
            with one_blas_thread():
                assert blas_threads() == {1}
                values = np.matmul(values, values) * np.float32(0.125)
        return values

    before = blas_threads()
    with ThreadPoolExecutor(4) as pool:
        assert all(np.isfinite(values).all() for values in pool.map(work, range(8)))
    assert blas_threads() == before
