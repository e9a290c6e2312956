"""Clusters' centres and assignments made on a GPU where there is one: the same arrays as on the CPU, so that either may build what the other began.

On a GPU this was not run: none was at hand. Without one, both functions are FAISS's on the CPU, and are tested.
"""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from store.index.codes import ITERATIONS, load, train
from store.index.device import FAULTS, gpu_reason, last_line, turn_off

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
_own = threading.local()


def train_centres(sample: Floats, lists: int, seed: int) -> Floats:
    """Return what :func:`store.index.codes.train` does, by k-means on all GPUs if there are any.

    The centres of a GPU are not those of a CPU to the last bit: sums are made in another order.
    """
    if gpu_reason() is not None:
        return train(sample, lists, seed)
    lists = min(lists, len(sample))
    try:
        kmeans = load().Kmeans(
            sample.shape[1],
            lists,
            niter=ITERATIONS,
            seed=seed,
            min_points_per_centroid=1,
            max_points_per_centroid=max(1, len(sample) // lists + 1),
            gpu=True,
        )
        kmeans.train(np.ascontiguousarray(sample, np.float32))
        return np.array(kmeans.centroids, np.float32, order="C")
    except FAULTS as error:
        turn_off(f"training on the GPU failed ({last_line(error)}): the CPU does it from here on")
        return train(sample, lists, seed)


def assign(block: Floats, centres: Floats) -> Rows:
    """Return the number of the centre with the largest inner product for each vector, int64 (n,).

    Parameters
    ----------
    block : float32, (n, dim)
        Projected unit vectors; some 100,000 at a time keep a GPU busy.
    centres : float32, (lists, dim)
    """
    block, centres = np.ascontiguousarray(block, np.float32), np.ascontiguousarray(centres, np.float32)
    faiss = load()
    metric = faiss.METRIC_INNER_PRODUCT
    if gpu_reason() is None:
        try:
            if not hasattr(_own, "resources"):  # not safe for several threads
                _own.resources = faiss.StandardGpuResources()
            _, chosen = faiss.knn_gpu(_own.resources, block, centres, 1, metric=metric, device=0)
            return np.asarray(chosen[:, 0], np.int64)
        except FAULTS as error:
            turn_off(f"assignment on the GPU failed ({last_line(error)}): the CPU does it from here on")
    _, chosen = faiss.knn(block, centres, 1, metric=metric)
    return np.asarray(chosen[:, 0], np.int64)
