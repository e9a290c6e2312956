"""The way of perch-cpu-inference, in a loop written here: ``python -m benchmarks.peers_onnx MODEL SOURCE SCRATCH BATCH WORKERS``.

What its script does, from a description of it and without its code: read every file of a group into memory with a pool of threads;
start a pool of processes, each with a session of ONNX Runtime over the whole graph; send batches of sound to them, get embeddings and
all logits back; sort the logits of each window in the parent; write a Parquet file with one column an element, and a CSV file, every
200 batches. Reading and inference do not overlap. Where it is known to lose time for reasons of Python alone (sorting through pandas),
this loop does the same in NumPy, and its processes load their models before the clock starts: it is a little faster than the original.
"""

from __future__ import annotations

import csv
import json
import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile as sf
import soxr
from numpy.typing import NDArray

from embedder.engines.onnx_engine import import_onnxruntime

RATE_HZ, WINDOW = 32_000, 160_000
PEAK = 0.25
LOADERS, CHECKPOINT_BATCHES, TOP = 8, 200, 10  # its defaults

Sound = NDArray[np.float32]
Answer = tuple[Sound, Sound]
_session: list[Any] = []


def load_windows(path: Path) -> Sound:
    """Return a recording's windows: the mean of the channels, at 32 kHz, the last one padded, each brought to a peak of 0.25."""
    sound, rate_hz = sf.read(path, dtype="float32", always_2d=True)
    mono = sound.mean(axis=1)
    if rate_hz != RATE_HZ:
        mono = soxr.resample(mono, rate_hz, RATE_HZ)
    count = -(-len(mono) // WINDOW)
    windows = np.zeros((count, WINDOW), np.float32)
    windows.reshape(-1)[: len(mono)] = mono
    peaks = np.abs(windows).max(axis=1, keepdims=True, initial=0)
    np.divide(windows, peaks, out=windows, where=peaks > 1e-10)
    windows *= np.where(peaks > 1e-10, PEAK, 1).astype(np.float32)
    return windows


def open_session(model: str, threads: int) -> Any:
    """Return a session over a whole graph, with the options of the script."""
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.inter_op_num_threads, options.intra_op_num_threads = 1, threads
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def infer(batch: Sound) -> Answer:
    """Run one batch in a worker process."""
    session = _session[0]
    embedding, label = session.run(["embedding", "label"], {session.get_inputs()[0].name: batch})
    return embedding, label


def main(model: Path, source: Path, scratch: Path, batch: int, workers: int) -> dict[str, Any]:
    """Embed every recording below ``source`` into files in ``scratch``."""
    began = time.perf_counter()
    cores = multiprocessing.cpu_count()
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(workers + 1)
    names = _class_names(model)
    with context.Pool(workers, _start, (str(model), max(1, cores // workers), ready)) as pool:
        ready.wait()
        worked = time.perf_counter()
        files = sorted(path for path in source.rglob("*") if path.is_file())
        with ThreadPoolExecutor(LOADERS) as loaders:
            loaded = list(loaders.map(load_windows, files))
        rows = [(path, i) for path, windows in zip(files, loaded, strict=True) for i in range(len(windows))]
        answers = pool.imap(infer, _batches(np.concatenate(loaded), batch))
        _write(answers, rows, names, scratch)
        ended = time.perf_counter()
    return {
        "audio_s": sum(sf.info(path).duration for path in files),
        "windows": len(rows),
        "startup_s": round(worked - began, 3),
        "work_s": round(ended - worked, 3),
        "bytes": sum(file.stat().st_size for file in scratch.rglob("*") if file.is_file()),
        "settings": {"batch": batch, "workers": workers, "threads": max(1, cores // workers), "loaders": LOADERS},
    }


def _start(model: str, threads: int, ready: Any) -> None:
    _session.append(open_session(model, threads))
    ready.wait()


def _class_names(model: Path) -> NDArray[np.str_]:
    return np.array((model.parent / "labels.csv").read_text("utf-8").split("\n")[1:-1])


def _batches(windows: Sound, size: int) -> Iterator[Sound]:
    return (windows[i : i + size] for i in range(0, len(windows), size))


def _write(answers: Iterator[Answer], rows: Sequence[tuple[Path, int]], names: NDArray[np.str_], scratch: Path) -> None:
    """Write a checkpoint of two files every so many batches."""
    first = checkpoint = 0
    while some := list(islice(answers, CHECKPOINT_BATCHES)):
        embeddings, logits = (np.concatenate(part) for part in zip(*some, strict=True))
        block = rows[first : first + len(embeddings)]
        columns: dict[str, Any] = {
            "file": [f"{path.stem}_{i}" for path, i in block],
            "file_path": [str(path) for path, _ in block],
            "chunk_idx": [i for _, i in block],
        }
        columns |= {f"emb_{d}": embeddings[:, d] for d in range(embeddings.shape[1])}
        pq.write_table(pa.table(columns), scratch / f"part-{checkpoint}.parquet", compression="snappy")
        with (scratch / f"checkpoint_{checkpoint:04d}.csv").open("w", newline="", encoding="utf-8") as file:
            out = csv.writer(file)
            for (path, i), scores in zip(block, logits, strict=True):
                best = np.argsort(scores)[::-1][:TOP]  # all of them are sorted, one window after another
                out.writerow([path.stem, path, i, *names[best], *scores[best]])
        first, checkpoint = first + len(block), checkpoint + 1


if __name__ == "__main__":
    *paths, batch_size, processes = sys.argv[1:6]
    model_path, audio, target = map(Path, paths)
    print(json.dumps(main(model_path, audio, target, int(batch_size), int(processes))))
