"""What holds for both front ends."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from embedder.frontends import BirdnetSpectrograms, LogMel
from sonotheque.core.errors import Invalid
from tests.embedder.frontends.twins import birdnet_like_bands, sounds

FrontEnd = Callable[[NDArray[np.float32]], NDArray[np.float32]]
CASES = {"log_mel": (160_000, 32_000, (500, 128)), "birdnet": (144_000, 48_000, (96, 511, 2))}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[FrontEnd, int, int, tuple[int, ...]]:
    front_end = LogMel() if request.param == "log_mel" else BirdnetSpectrograms(birdnet_like_bands())
    return front_end, *CASES[request.param]


@pytest.fixture(scope="module")
def windows(case: tuple[FrontEnd, int, int, tuple[int, ...]]) -> NDArray[np.float32]:
    return np.stack(list(sounds(case[1], case[2]).values()))


def test_shape_and_kind(case: tuple[FrontEnd, int, int, tuple[int, ...]], windows: NDArray[np.float32]) -> None:
    front_end, samples, _, shape = case
    made = front_end(windows)
    assert made.shape == (len(windows), *shape)
    assert made.dtype == np.float32
    assert made.flags.c_contiguous
    assert front_end(np.empty((0, samples), np.float32)).shape == (0, *shape)


def test_every_sound_gives_finite_numbers(
    case: tuple[FrontEnd, int, int, tuple[int, ...]], windows: NDArray[np.float32]
) -> None:
    with np.errstate(all="raise", under="ignore"):
        made = case[0](windows)
    assert np.isfinite(made).all()


def test_a_window_depends_on_no_other(
    case: tuple[FrontEnd, int, int, tuple[int, ...]], windows: NDArray[np.float32]
) -> None:
    together = case[0](windows)
    assert np.array_equal(case[0](windows[::-1])[::-1], together)
    for row, alone in zip(windows, together, strict=True):
        assert np.array_equal(case[0](row[None])[0], alone)


def test_the_input_is_left_alone_and_the_output_is_fresh(
    case: tuple[FrontEnd, int, int, tuple[int, ...]], windows: NDArray[np.float32]
) -> None:
    frozen = windows.copy()
    frozen.flags.writeable = False
    first = case[0](frozen)
    kept = first.copy()
    second = case[0](frozen[:1])
    assert not np.shares_memory(first, second)
    assert np.array_equal(first, kept)
    assert np.array_equal(frozen, windows)


def test_windows_may_lie_anywhere_in_memory(
    case: tuple[FrontEnd, int, int, tuple[int, ...]], windows: NDArray[np.float32]
) -> None:
    columns = np.asfortranarray(windows[:3])
    assert np.array_equal(case[0](columns), case[0](windows[:3]))


def test_one_serves_many_threads(
    case: tuple[FrontEnd, int, int, tuple[int, ...]], windows: NDArray[np.float32]
) -> None:
    expected = case[0](windows)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda row: case[0](row[None])[0], [*windows, *windows]))
    assert np.array_equal(np.stack(found), np.concatenate([expected, expected]))


def test_one_survives_the_way_to_another_process(
    case: tuple[FrontEnd, int, int, tuple[int, ...]], windows: NDArray[np.float32]
) -> None:
    again = pickle.loads(pickle.dumps(case[0]))
    assert np.array_equal(again(windows[3:4]), case[0](windows[3:4]))


@pytest.mark.parametrize("shape", [(144_000 + 160_000,), (2, 1), (1, 150_000), (1, 1, 144_000)])
def test_other_shapes_are_refused_with_both(
    case: tuple[FrontEnd, int, int, tuple[int, ...]], shape: tuple[int, ...]
) -> None:
    with pytest.raises(Invalid) as caught:
        case[0](np.zeros(shape, np.float32))
    assert str(shape) in str(caught.value)
    assert str(case[1]) in str(caught.value)
