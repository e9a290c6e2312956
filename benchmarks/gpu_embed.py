"""Embedding on a GPU by batch size and precision, each engine in a process of its own: `sonotheque bench gpu`.

Perch 2 is the stand-in, in the form without an operator for the Fourier transform, which no GPU library has. TensorFlow runs the whole
SavedModel, labels and all, as it is published; ONNX Runtime runs the embedding alone, and once the whole graph.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.envelope import SCRATCH, envelope, place, write
from benchmarks.gpu_embed_child import SAMPLE
from benchmarks.peers_run import ROOT, module
from benchmarks.standin import StandIn, ensure
from benchmarks.telling import telling
from sonotheque.core.errors import Unavailable

BATCHES, QUICK_BATCHES = (1, 8, 32, 128, 512), (8, 64)
SECONDS, QUICK_SECONDS = 3.0, 0.5
LIMIT_S = 900.0  # of one engine and precision; TensorRT builds for minutes
WINDOW_S = 5.0


@dataclass(frozen=True, slots=True)
class Setting:
    """One engine in one precision over one file.

    Attributes
    ----------
    engine, precision : str
        ``tf32`` is fp32 with factors rounded to 10 bits, as NVIDIA's matrix units take them.
    graph : str
        ``whole`` or ``embedding``.
    path : Path
    """

    engine: str
    precision: str
    graph: str
    path: Path

    @property
    def name(self) -> str:
        """Name for people."""
        return f"{self.engine} {self.precision}, {self.graph}"


def run(*, quick: bool = False, out: str | None = None, quiet: bool = False) -> dict[str, Any]:
    """Measure on the first GPU, and write the results.

    Parameters
    ----------
    quick : bool
        Two batch sizes, half a second each.
    out : str, optional
        File for the results.
    quiet : bool
        No progress.

    Raises
    ------
    Unavailable
        If there is no GPU, or no engine here can use it.
    """
    found = gpus()
    if not found:
        raise Unavailable(
            "embedding on a GPU cannot be measured here: nvidia-smi shows no GPU to this process; run this on a machine with one and with "
            "tensorflow[and-cuda] or onnxruntime-gpu installed"
        )
    head = envelope(
        "gpu", f"--only embed{' --quick' if quick else ''}", "windows of 5 s of noise with a tone, in the host's memory"
    )
    standin = _stand_in()
    batches, seconds = (QUICK_BATCHES, QUICK_SECONDS) if quick else (BATCHES, SECONDS)
    rows = measure(settings(standin, "gpu"), "gpu", batches, seconds, telling(quiet))
    if all("failed" in row for row in rows):
        raise Unavailable(
            f"no engine here can embed on {found[0]['name']}: " + "; ".join(f"{r['name']}: {r['failed']}" for r in rows)
        )
    best = max((r for r in rows if "failed" not in r), key=lambda r: r["windows_per_s"])
    result = head | {
        "stand_in": "Perch 2 is a stand-in with random weights: for speed and size only, never for quality.",
        "gpus": found,
        "headline": [
            f"{found[0]['name']}: {best['windows_per_s']:,.0f} windows/s = {best['x_realtime']:,.0f} x realtime, "
            f"{best['name']}, batch {best['batch']}"
        ],
        "rows": rows,
    }
    return write(result, place(out, "gpu-embed", quick=quick))


def gpus() -> list[dict[str, Any]]:
    """Return name and memory of the GPUs that this process may use; empty without any."""
    program = shutil.which("nvidia-smi")
    if program is None or os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return []
    asked = [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    if done.returncode:
        return []
    parts = [[part.strip() for part in line.split(",")] for line in done.stdout.splitlines() if line.strip()]
    return [{"name": name, "total_bytes": int(mib) << 20, "driver": driver} for name, mib, driver in parts]


def settings(standin: StandIn, device: str) -> list[Setting]:
    """Return what is measured on a device; what an engine cannot do, its own process says."""
    precise = ("fp32", "tf32") if device == "gpu" else ("fp32",)
    found = [Setting("tensorflow", p, "whole", standin.saved_model) for p in precise if standin.saved_model.exists()]
    found += [
        Setting("onnx", p, "embedding", standin.onnx_no_dft_embedding)
        for p in (*precise, *(("fp16", "bf16") if device == "gpu" else ()))
    ]
    return [*found, Setting("onnx", precise[-1], "whole", standin.onnx_no_dft)]


def measure(
    chosen: Sequence[Setting], device: str, batches: Sequence[int], seconds: float, tell: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Return a row for each setting and batch size, and one with the reason for each setting that fails.

    ``cosine_min`` and ``cosine_median`` compare the embeddings of the same windows with those of the first setting in fp32.
    """
    rows: list[dict[str, Any]] = []
    reference = None
    with tempfile.TemporaryDirectory() as folder:
        for one in chosen:
            kept = Path(folder) / f"{len(rows)}.npy"
            lines, why = _child(one, device, batches, seconds, kept)
            vectors = np.load(kept) if kept.exists() else None
            if reference is None and vectors is not None and one.precision == "fp32":
                reference = vectors
            same = fidelity(reference, vectors)
            own = {"name": one.name, "engine": one.engine, "precision": one.precision, "graph": one.graph}
            rows += [own | line | {"x_realtime": round(WINDOW_S * line["windows_per_s"], 1)} | same for line in lines]
            if why:
                rows.append(
                    own
                    | {"batch": next((b for b in batches if b not in {r["batch"] for r in lines}), 0), "failed": why}
                )
            told = f"{max(line['windows_per_s'] for line in lines):,.0f} windows/s" if lines else f"failed: {why}"
            tell(f"{one.name}: {told}")
    return rows


def fidelity(reference: Any, vectors: Any) -> dict[str, float]:
    """Return the least and the median cosine of embeddings to the reference's; nothing if either is missing."""
    if reference is None or vectors is None:
        return {}
    norms = np.linalg.norm(reference, axis=1) * np.linalg.norm(vectors, axis=1)
    cosines = np.einsum("nd,nd->n", reference.astype(np.float64), vectors.astype(np.float64)) / norms
    return {"cosine_min": float(cosines.min()), "cosine_median": float(np.median(cosines))}


def _child(
    one: Setting, device: str, batches: Sequence[int], seconds: float, kept: Path
) -> tuple[list[dict[str, Any]], str]:
    """Return the lines of a process that measures one setting, and why it ended early, if it did.

    A batch too large ends the process, and what it printed before stands.
    """
    command = module("gpu_embed_child", one.engine, one.precision, one.path.resolve(), device, seconds, kept, *batches)
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    if one.engine == "tensorflow" and device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment, timeout=LIMIT_S
        )
        said, why = done.stdout, _last_line(done.stderr) if done.returncode else ""
    except subprocess.TimeoutExpired as error:
        said, why = _words(error.stdout), f"not done after {LIMIT_S:.0f} s"
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{") and line.endswith("}")]
    return lines, why


def _words(said: bytes | str | None) -> str:
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else said or ""


def _last_line(complained: str) -> str:
    return (complained.strip().splitlines() or ["it ended without a word"])[-1][:400]


def _stand_in() -> StandIn:
    try:
        return ensure(SCRATCH / "standin")
    except ImportError:
        return ensure(SCRATCH / "standin", saved_model=False)


def text(result: dict[str, Any]) -> str:
    """Return the results as a Markdown table."""
    cards = "; ".join(f"{g['name']}, {g['total_bytes'] / 2**30:.0f} GiB, driver {g['driver']}" for g in result["gpus"])
    lines = [
        f"{cards}; {result['data']}: copying to the card and back is in the times",
        f"{result['stand_in']} Cosines: of {SAMPLE} windows, to the first setting in fp32.",
        "",
        "| engine, precision, graph | runs on | batch | ms a batch | windows/s | x realtime | cosine, least / median |",
        "|---|---|---:|---:|---:|---:|---|",
    ]
    for row in result["rows"]:
        if "failed" in row:
            lines.append(f"| {row['name']} | not measured: {row['failed'][:160]} | {row['batch'] or ''} | | | | |")
            continue
        same = f"{row['cosine_min']:.6f} / {row['cosine_median']:.6f}" if "cosine_min" in row else ""
        speed = f"{row['ms']:.2f} | {row['windows_per_s']:,.0f} | {row['x_realtime']:,.0f}"
        lines.append(f"| {row['name']} | {row['runs_on']} | {row['batch']} | {speed} | {same} |")
    return "\n".join(lines)
