"""The two products with the matrix of features that a solve consists of: in NumPy, or on a GPU through TensorFlow."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from sonotheque.core.errors import Unavailable

# All in numbers. More than the first are kept in float32: half the time, and a gradient of about 1e-6 remains.
_DOUBLE_MAX: Final = 8_000_000
_ONE_THREAD_MAX: Final = 20_000_000  # for fewer, threads cost more than they bring, above all on a busy machine
_ON_GPU_MIN: Final = 20_000_000  # fewer are solved before they would be on the device


class Products(Protocol):
    """What a solver needs of its features."""

    exact: bool
    width: int

    def times(self, right: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return features @ right: (n, d) @ (d, C)."""

    def transposed_times(self, right: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return features.T @ right: (d, n) @ (n, C)."""


class NumpyProducts:
    """Features in memory: float64 if they are few, float32 otherwise.

    Parameters
    ----------
    features : float, (n, d)
    rough : bool
        float32 also if they are few.
    """

    def __init__(self, features: NDArray[Any], *, rough: bool = False) -> None:
        self.exact = features.size <= _DOUBLE_MAX and not rough
        self.width = features.shape[1]
        self._a = np.ascontiguousarray(features, np.float64 if self.exact else np.float32)

    def times(self, right: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return features @ right."""
        return np.asarray(self._a @ right.astype(self._a.dtype, copy=False), np.float64)

    def transposed_times(self, right: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return features.T @ right."""
        # The transpose of the product of transposes: the rows of the features are read in their order, in half the time.
        return np.asarray((right.T.astype(self._a.dtype, copy=False) @ self._a).T, np.float64)


class TensorFlowProducts:
    """Features on a device that TensorFlow sees, float32.

    Parameters
    ----------
    features : float, (n, d)
    device : str
        Such as ``/GPU:0``; ``/CPU:0`` serves tests.
    """

    exact = False

    def __init__(self, features: NDArray[Any], device: str) -> None:
        import tensorflow as tf

        self._tf = tf
        self._device = device
        self.width = features.shape[1]
        with tf.device(device):
            self._a = tf.constant(np.ascontiguousarray(features, np.float32))

    def times(self, right: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return features @ right."""
        return self._product(right, transpose_a=False)

    def transposed_times(self, right: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return features.T @ right."""
        return self._product(right, transpose_a=True)

    def _product(self, right: NDArray[np.float64], *, transpose_a: bool) -> NDArray[np.float64]:
        with self._tf.device(self._device):
            found = self._tf.linalg.matmul(self._a, right.astype(np.float32), transpose_a=transpose_a)
        return np.asarray(found.numpy(), np.float64)


def products_of(features: NDArray[Any], device: str = "auto", *, rough: bool = False) -> Products:
    """Return where products with these features are best worked out.

    Parameters
    ----------
    features : float, (n, d)
    device : str
        ``cpu``; ``gpu``: an error if TensorFlow sees none; ``auto``: the GPU if there is one and the features are many.
    rough : bool
        float32 is enough.

    Raises
    ------
    Unavailable
        (``engine_missing``) If a GPU was asked for and TensorFlow sees none.
    """
    if device == "cpu" or (device == "auto" and features.size < _ON_GPU_MIN):
        return NumpyProducts(features, rough=rough)
    if gpu := _gpu():
        return TensorFlowProducts(features, gpu)
    if device == "gpu":
        raise Unavailable(
            "no GPU: TensorFlow is not installed, or sees none. Train on the CPU: --device cpu", kind="engine_missing"
        )
    return NumpyProducts(features, rough=rough)


@contextlib.contextmanager
def few_threads(features: NDArray[Any]) -> Iterator[None]:
    """Work out small products on one thread, so that the result does not depend on how many cores there are."""
    if features.size > _ONE_THREAD_MAX:
        yield
        return
    with threadpool_limits(1, "blas"):
        yield


def usable_cores() -> int:
    """Return how many cores this process may use; fewer if NumPy was told so by ``OMP_NUM_THREADS``."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(there, int(told)) if told.isdigit() and int(told) else there


def _gpu() -> str | None:
    if importlib.util.find_spec("tensorflow") is None or not (
        os.path.exists("/dev/nvidiactl") or os.environ.get("CUDA_VISIBLE_DEVICES")
    ):
        return None  # importing TensorFlow takes seconds: not where there is no driver
    import tensorflow as tf

    return "/GPU:0" if tf.config.list_physical_devices("GPU") else None
