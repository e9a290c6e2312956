"""The bare model: what the cores can do when nothing but the model runs. The pipeline is held against this.

``python -m benchmarks.bare MODEL SECONDS`` runs one process; it waits for a line on stdin before it starts, so that several
start together, and prints one JSON line.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import numpy as np

from embedder.models import load_model


def windows(n: int, window_samples: int, sample_rate_hz: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return windows of noise with a tone, float32, (n, window_samples)."""
    rng = np.random.default_rng(4)
    t = np.arange(window_samples) / sample_rate_hz
    sound = rng.standard_normal((n, window_samples)) * 0.02 + 0.2 * np.sin(2 * np.pi * 1400 * t)
    return sound.astype(np.float32)


def main(model_name: str, seconds: float) -> None:
    """Run the model on batches in memory for so long."""
    model = load_model(model_name)
    frames = windows(8 * model.batch_size, model.spec.window_samples, model.spec.sample_rate_hz)
    batches = [frames[i : i + model.batch_size] for i in range(0, len(frames), model.batch_size)]
    model.embed(batches[0])
    print("ready", flush=True)
    sys.stdin.readline()
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        for batch in batches:
            model.embed(batch)
            done += len(batch)
    wall_s = time.perf_counter() - began
    print(json.dumps({"windows": done, "wall_s": wall_s, "window_s": model.spec.window_s}), flush=True)


def bare_x_realtime(model: str, processes: int, seconds: float) -> float:
    """Return true seconds of audio per second of so many bare models side by side, one process each."""
    command = [sys.executable, "-m", "benchmarks.bare", model, str(seconds)]
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for _ in range(processes)
    ]
    for child in running:
        child.stdout.readline()  # type: ignore[union-attr]
    for child in running:
        child.stdin.write("go\n")  # type: ignore[union-attr]
        child.stdin.flush()  # type: ignore[union-attr]
    total = 0.0
    for child in running:
        out, _ = child.communicate()
        told = json.loads(out)
        total += told["windows"] * told["window_s"] / told["wall_s"]
    return total


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
