"""GPUs: memory by the CUDA runtime, exact search by FAISS's brute-force function.

No GPU was at hand when this was written, and nothing in this module but ``gpu_devices`` without one was run. It is written against the
Python sources of faiss-gpu 1.15.1; the benchmark ``gpu_search`` is the first thing to run where there is one.
"""

from __future__ import annotations

import ctypes
import os
import time
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from sonotheque.core.errors import Unavailable
from store.index.codes import load
from store.index.device import gpu_reason

_RUNTIMES: Final = ("libcudart.so.12", "libcudart.so.13")
_TO_DEVICE: Final = 1  # cudaMemcpyHostToDevice
_ON_DEVICE: Final = 3  # cudaMemcpyDeviceToDevice
_PROPERTIES_BYTES: Final = 1 << 14  # more than any release's cudaDeviceProp, which begins with the name
_NAME_BYTES: Final = 256

Floats = NDArray[np.float32]
Halves = NDArray[np.float16]
Rows = NDArray[np.int64]


def gpu_devices() -> list[tuple[int, str, int, int]]:
    """Return number, name, total and free bytes of each GPU; empty if none is used (:func:`gpu_reason`).

    Raises
    ------
    Unavailable
        If the CUDA runtime does not answer.
    """
    return [CudaDevice(i).described() for i in range(0 if gpu_reason() else load().get_num_gpus())]


class CudaDevice:
    """One GPU. Rows lie in one piece of its memory, so that a run of them is searched where it lies.

    FAISS's own flat index cannot search a run, needs twice its size while it grows, and takes float32; its brute-force function takes
    any place in device memory. The memory itself comes from the CUDA runtime that FAISS has loaded.

    Parameters
    ----------
    index : int
        As CUDA numbers the visible ones.
    """

    def __init__(self, index: int) -> None:
        self.index, self.name = index, f"GPU {index}"
        self._cuda = _runtime()
        self._resources: Any = None  # not safe for several threads: each device has its own, and one thread uses it
        self._at, self._dim = ctypes.c_void_p(), 0

    def described(self) -> tuple[int, str, int, int]:
        """Return number, name, total and free bytes."""
        free, total = self._memory()
        properties = ctypes.create_string_buffer(_PROPERTIES_BYTES)
        self._call("cudaGetDeviceProperties", properties, ctypes.c_int(self.index))
        name = properties.raw[:_NAME_BYTES].split(b"\0", 1)[0].decode("ascii", "replace")
        return self.index, name, total, free

    @property
    def free_bytes(self) -> int:
        """Bytes that are free, for whatever process."""
        return self._memory()[0]

    def reserve(self, rows: int, dim: int) -> None:
        """Make room for all rows."""
        self._select()
        self._call("cudaMalloc", ctypes.byref(self._at), ctypes.c_size_t(rows * dim * 2))
        self._dim = dim
        self._resources = load().StandardGpuResources()

    def put(self, first: int, block: Halves) -> None:
        """Copy rows to their place."""
        block = np.ascontiguousarray(block, np.float16)
        self._select()
        target, source = ctypes.c_void_p(self._address(first)), ctypes.c_void_p(block.ctypes.data)
        self._call("cudaMemcpy", target, source, ctypes.c_size_t(block.nbytes), ctypes.c_int(_TO_DEVICE))

    def finish(self) -> None:
        """Wait until all rows are in their place: a copy may return before, and FAISS's streams do not wait for it."""
        self._select()
        self._call("cudaDeviceSynchronize")

    def nearest(self, first: int, end: int, queries: Halves, k: int) -> tuple[Floats, Rows]:
        """Return the nearest rows of a run."""
        queries = np.ascontiguousarray(queries, np.float16)  # of the rows' type: FAISS takes no other
        scores, rows = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
        faiss = load()
        asked = faiss.GpuDistanceParams()
        asked.metric, asked.k, asked.dims, asked.device = faiss.METRIC_INNER_PRODUCT, k, self._dim, self.index
        asked.vectors, asked.numVectors = faiss.cast_integer_to_void_ptr(self._address(first)), end - first
        asked.queries, asked.numQueries = faiss.swig_ptr(queries), len(queries)
        asked.vectorType = asked.queryType = faiss.DistanceDataType_F16
        asked.vectorsRowMajor = asked.queriesRowMajor = True
        asked.outDistances, asked.outIndices = faiss.swig_ptr(scores), faiss.swig_ptr(rows)
        asked.outIndicesType = faiss.IndicesDataType_I64
        faiss.bfKnn(self._resources, asked)  # results are in our memory, so it returns when they are there
        return scores, rows + first

    def copy_gb_s(self, size_bytes: int, times: int = 20) -> float:
        """Measure what its memory moves, read and written, when one half of so many bytes is copied to the other."""
        place, half = ctypes.c_void_p(), size_bytes // 2
        self._select()
        self._call("cudaMalloc", ctypes.byref(place), ctypes.c_size_t(2 * half))
        other = ctypes.c_void_p((place.value or 0) + half)
        began = 0.0
        for turn in range(times + 1):
            if turn == 1:  # the first one is to warm up
                self._call("cudaDeviceSynchronize")
                began = time.perf_counter()
            self._call("cudaMemcpy", other, place, ctypes.c_size_t(half), ctypes.c_int(_ON_DEVICE))
        self._call("cudaDeviceSynchronize")
        took_s = time.perf_counter() - began
        self._call("cudaFree", place)
        return 2 * half * times / took_s / 1e9

    def close(self) -> None:
        """Give the memory back."""
        if self._at.value:
            self._select()
            self._call("cudaFree", self._at)
            self._at, self._resources = ctypes.c_void_p(), None

    def _address(self, row: int) -> int:
        return (self._at.value or 0) + 2 * self._dim * row

    def _memory(self) -> tuple[int, int]:
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._select()
        self._call("cudaMemGetInfo", ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value

    def _select(self) -> None:
        self._call("cudaSetDevice", ctypes.c_int(self.index))  # a thread's own setting

    def _call(self, function: str, *arguments: Any) -> None:
        if code := getattr(self._cuda, function)(*arguments):
            self._cuda.cudaGetLastError()  # or FAISS, which asks for it, takes the error for its own and ends the process
            self._cuda.cudaGetErrorString.restype = ctypes.c_char_p
            raise Unavailable(
                f"{self.name}: {function}: {self._cuda.cudaGetErrorString(code).decode('ascii', 'replace')}"
            )


def _runtime() -> Any:
    """Return the CUDA runtime that FAISS has loaded, never a second one."""
    for name in _RUNTIMES:
        try:
            return ctypes.CDLL(name, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
        except OSError:
            continue
    raise Unavailable(f"FAISS has loaded none of {', '.join(_RUNTIMES)}: the CUDA runtime of its wheel is missing")
