"""Exact search on GPUs: milliseconds, the share of the memory's bandwidth, and recall against the CPU.

One million windows are drawn (``search_data``); of more, each further million is the first with other signs of its dimensions, which
keeps all products within it and makes its rows new. Recall is of candidates as the device gives them, before they are scored exactly.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import search_data
from benchmarks.machine import machine
from benchmarks.telling import telling
from sonotheque.core.errors import Unavailable
from store.index.cuda import CudaDevice, gpu_devices
from store.index.device import Device, gpu_reason
from store.index.gpu import DeviceSet

RESULTS = Path(__file__).parent / "results"
SCRATCH = Path(".bench")
DIM, K, SEED = 1536, 50, 7
BATCH, SAMPLE = 64, 32
_DRAWN = 1_000_000
_COPIED_BYTES = 4 << 30


def run(
    *, windows: int = 10_000_000, repeats: int = 30, quick: bool = False, out: str | None = None, quiet: bool = False
) -> dict[str, Any]:
    """Measure on all visible GPUs and write the results.

    Parameters
    ----------
    windows : int
        The larger of two sizes; the other is a million. They are drawn in memory: 3 GB a million.
    repeats : int
        Of each search; medians are reported.
    quick : bool
        100,000 windows, few repeats.
    out : str, optional
        File for the results.
    quiet : bool
        No progress.

    Raises
    ------
    Unavailable
        If there is no GPU.
    """
    if (reason := gpu_reason()) is not None:
        raise Unavailable(f"the search on a GPU cannot be measured here: {reason}")
    sizes = [100_000] if quick else sorted({min(_DRAWN, windows), windows})
    repeats = min(repeats, 5) if quick else repeats
    told = telling(quiet)
    found = gpu_devices()
    rates = [CudaDevice(number).copy_gb_s(_COPIED_BYTES) for number, *_ in found]
    told(f"{len(found)} GPUs copy at {', '.join(f'{r:,.0f}' for r in rates)} GB/s")
    result: dict[str, Any] = {
        "what": "sonotheque bench gpu",
        "machine": machine(),
        "gpus": [
            {"name": name, "total_bytes": total, "copy_gb_s": round(r)}
            for (_, name, total, _), r in zip(found, rates, strict=True)
        ],
        "dim": DIM,
        "k": K,
        "repeats": repeats,
        "sizes": [],
    }
    for rows in sizes:
        devices = [CudaDevice(number) for number, *_ in found]
        result["sizes"].append(measure(devices, drawn(rows, DIM), queries(rows, DIM), sum(rates), repeats))
        told(f"{rows:,} windows: {result['sizes'][-1]['searches'][0]['ms']:g} ms")
    target = Path(out) if out else (SCRATCH if quick else RESULTS) / "gpu-search.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


def drawn(rows: int, dim: int) -> list[NDArray[np.float16]]:
    """Return so many windows, in blocks of at most a million."""
    first = min(rows, _DRAWN)
    clusters = search_data.Clusters.make(first, dim, SEED)
    base = np.concatenate(list(search_data.archive(clusters, first, SEED)))
    blocks = [base]
    while sum(len(b) for b in blocks) < rows:
        signs = np.random.default_rng([SEED, len(blocks)]).choice(np.array([-1, 1], np.float16), dim)
        blocks.append(base[: rows - sum(len(b) for b in blocks)] * signs)
    return blocks


def queries(rows: int, dim: int) -> NDArray[np.float32]:
    """Return a batch of windows that were not drawn."""
    clusters = search_data.Clusters.make(min(rows, _DRAWN), dim, SEED)
    return search_data.queries(clusters, BATCH, SEED)


def measure(
    devices: Sequence[Device],
    blocks: Sequence[NDArray[np.float16]],
    asked: NDArray[np.float32],
    copy_gb_s: float,
    repeats: int,
    margin_bytes: int = 2 << 30,
) -> dict[str, Any]:
    """Measure one size, on whatever devices."""
    rows, dim = sum(len(b) for b in blocks), blocks[0].shape[1]
    began = time.perf_counter()
    held = DeviceSet.load(blocks, devices, margin_bytes=margin_bytes)
    loaded_s = time.perf_counter() - began
    if held.note:
        raise Unavailable(held.note)
    mask = np.zeros(rows, np.bool_)
    mask[rows // 3 : rows // 3 + rows // 10] = True
    tenth = np.packbits(mask, bitorder="little")
    searches = []
    for name, some, bits in (
        ("one query", 1, None),
        (f"batch of {len(asked)}", len(asked), None),
        ("one query, a tenth of the rows", 1, tenth),
    ):
        scanned = 2 * dim * (rows if bits is None else int(mask.sum()))
        took_s = _median_s(lambda some=some, bits=bits: held.candidates(asked[:some], K, eligible=bits), repeats)  # type: ignore[misc]
        gb_s = scanned / took_s / 1e9
        searches.append(
            {
                "search": name,
                "ms": round(took_s * 1e3, 3),
                "gb_s": round(gb_s),
                "share_of_copy": round(gb_s / copy_gb_s, 3),
            }
        )
    answer = held.candidates(asked[:SAMPLE], K)
    sure = [held.certain(q[None], K, None, rows) is not None for q in asked[:SAMPLE]]
    note = held.note
    held.close()
    if answer is None:
        raise Unavailable(note or "the GPU gave no answer")
    true = truth(blocks, asked[:SAMPLE])
    recall = [len(set(a) & set(b)) / K for a, b in zip(answer[1], true, strict=True)]
    return {
        "windows": rows,
        "bytes": 2 * dim * rows,
        "load_s": round(loaded_s, 2),
        "searches": searches,
        "recall": {
            "mean": round(float(np.mean(recall)), 5),
            "p5": round(float(np.percentile(recall, 5)), 5),
            "queries": len(recall),
        },
        "certain": f"{sum(sure)} of {len(sure)}",
    }


def truth(blocks: Sequence[NDArray[np.float16]], asked: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the nearest rows by cosines in float32, on the CPU."""
    best, rows, first, step = np.empty((len(asked), 0), np.float32), np.empty((len(asked), 0), np.int64), 0, 1 << 16
    for block in blocks:
        for at in range(0, len(block), step):
            some = block[at : at + step].astype(np.float32)
            norms = np.linalg.norm(some, axis=1)
            scores = (asked @ some.T) / np.where(norms > 0, norms, 1)
            best = np.concatenate([best, scores], axis=1)
            rows = np.concatenate(
                [rows, np.broadcast_to(np.arange(first + at, first + at + len(some)), scores.shape)], axis=1
            )
            order = np.argsort(-best, axis=1, kind="stable")[:, :K]
            best, rows = np.take_along_axis(best, order, 1), np.take_along_axis(rows, order, 1)
        first += len(block)
    return rows


def _median_s(search: Callable[[], Any], repeats: int) -> float:
    search()
    took = []
    for _ in range(repeats):
        began = time.perf_counter()
        search()
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def text(result: dict[str, Any]) -> str:
    """Return the results as a Markdown table with a line above it."""
    gpus = "; ".join(
        f"{g['name']}, {g['total_bytes'] / 2**30:.0f} GiB, copies at {g['copy_gb_s']:,} GB/s" for g in result["gpus"]
    )
    lines = [
        f"{gpus}; exact search of float16 vectors, {result['dim']} dimensions, k = {result['k']}, medians of {result['repeats']}",
        "",
        "| windows | GB | loaded in | search | time | GB/s | of a copy | recall@50, 5th percentile | certain |",
        "|---:|---:|---:|---|---:|---:|---:|---|---|",
    ]
    for size in result["sizes"]:
        recall = size["recall"]
        for search in size["searches"]:
            lines.append(
                f"| {size['windows']:,} | {size['bytes'] / 1e9:.1f} | {size['load_s']:g} s | {search['search']} | {search['ms']:g} ms | "
                f"{search['gb_s']:,} | {100 * search['share_of_copy']:.0f} % | {recall['mean']:.4f}, {recall['p5']:.3f} | {size['certain']} |"
            )
    return "\n".join(lines)
