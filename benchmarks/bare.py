"""The bare model: what the cores can do when nothing but the model runs. The pipeline is held against this.

``python -m benchmarks.bare REQUEST`` runs one process; it says when it is ready, waits for a line on stdin before it starts, so that
several start together, and prints one JSON line.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from typing import IO, Any

import numpy as np

from embedder.models import load_model
from sonotheque.core.model_spec import FULL_PRECISION

_SAID = 500  # characters of a failure that are told


def windows(n: int, window_samples: int, sample_rate_hz: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return windows of noise with a tone, float32, (n, window_samples)."""
    rng = np.random.default_rng(4)
    t = np.arange(window_samples) / sample_rate_hz
    sound = rng.standard_normal((n, window_samples)) * 0.02 + 0.2 * np.sin(2 * np.pi * 1400 * t)
    return sound.astype(np.float32)


def main(asked: dict[str, Any]) -> None:
    """Run the model on batches in memory for so long."""
    model = load_model(
        asked["model"], weights=asked["weights"], engine=asked["engine"], precision=asked["precision"], threads=1
    )
    frames = windows(8 * model.batch_size, model.spec.window_samples, model.spec.sample_rate_hz)
    batches = [frames[i : i + model.batch_size] for i in range(0, len(frames), model.batch_size)]
    model.embed(batches[0], logits=asked["logits"])
    print("ready", flush=True)
    sys.stdin.readline()
    done, began, used = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - began < asked["seconds"]:
        for batch in batches:
            model.embed(batch, logits=asked["logits"])
            done += len(batch)
    told = {
        "windows": done,
        "wall_s": time.perf_counter() - began,
        "cpu_s": time.process_time() - used,
        "window_s": model.spec.window_s,
        "precision": model.spec.precision,
    }
    print(json.dumps(told), flush=True)


def bare(
    model: str,
    processes: int,
    seconds: float,
    *,
    weights: str | None = None,
    engine: str | None = None,
    precision: str = FULL_PRECISION,
    logits: bool = True,
) -> list[dict[str, Any]]:
    """Run so many bare models side by side, one process each, and return what each told.

    Parameters
    ----------
    model, weights, engine, precision
        As for :func:`embedder.models.load_model`; one thread each.
    processes : int
    seconds : float
        From when all of them are loaded.
    logits : bool
        Whether the label head runs.

    Raises
    ------
    RuntimeError
        If one of them fails; with what it said.
    """
    asked = {"model": model, "weights": weights, "engine": engine, "precision": precision}
    command = [
        sys.executable,
        "-m",
        "benchmarks.bare",
        json.dumps({**asked, "logits": logits, "seconds": seconds}),
    ]
    running: list[tuple[subprocess.Popen[str], IO[bytes]]] = []
    try:
        for _ in range(processes):
            log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # closed below, when its process has ended
            child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
            running.append((child, log))
        for child, said in running:
            if child.stdout is None or child.stdout.readline().strip() != "ready":
                raise _failed(model, child, said)
        for child, _ in running:
            if child.stdin is not None:
                child.stdin.write("go\n")
                child.stdin.flush()
        told = []
        for child, said in running:
            out, _ = child.communicate()
            if child.returncode:
                raise _failed(model, child, said)
            told.append(json.loads(out))
        return told
    finally:
        for child, said in running:
            if child.poll() is None:
                child.kill()
            child.communicate()
            said.close()


def bare_x_realtime(model: str, processes: int, seconds: float, **how: Any) -> float:
    """Return true seconds of audio per second of so many bare models side by side; ``how`` as for :func:`bare`."""
    return sum(float(t["windows"] * t["window_s"] / t["wall_s"]) for t in bare(model, processes, seconds, **how))


def _failed(model: str, child: subprocess.Popen[str], log: IO[bytes]) -> RuntimeError:
    code = child.wait()
    log.seek(0)
    said = log.read().decode("utf-8", "replace").strip()
    return RuntimeError(f"the bare model {model}: exit {code}: {said[-_SAID:] or 'it said nothing'}")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
