"""What a measurement depends on: another processor, library, weights file or way of asking makes it void."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from embedder.choosing.windows import N_WINDOWS
from embedder.models.registry import weights_status
from sonotheque.core.ids import digest_of
from sonotheque.core.version import VERSION

_CPU = Path("/proc/cpuinfo")
_NVIDIA = Path("/proc/driver/nvidia/gpus")
_PACKAGES = (
    "ai-edge-litert",
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "scipy",
    "tensorflow",
    "tensorflow-cpu",
)


def key_of(name: str, weights: str | None, *, logits: bool, threads: int) -> dict[str, Any]:
    """Return what identifies a measurement, as a JSON object.

    Parameters
    ----------
    name, weights, threads
        As for :func:`embedder.models.load_model`.
    logits : bool
        Whether predictions were asked for.
    """
    return {
        "program": VERSION,
        "model": name,
        "weights": weights_identity(name, weights),
        "windows": N_WINDOWS,
        "logits": logits,
        "threads": threads,
        "machine": processor(),
        "libraries": libraries(),
    }


def weights_identity(name: str, weights: str | None) -> list[Any]:
    """Return path, bytes and time of change of the weights; nothing is read, they may have hundreds of megabytes."""
    given = weights if weights is not None and Path(weights).exists() else None
    where = given or weights_status(name, weights).where
    path = Path(where)
    if path.is_file():
        stat = path.stat()
        return [str(path.resolve()), stat.st_size, stat.st_mtime_ns]
    if path.is_dir():
        stats = [file.stat() for file in sorted(path.rglob("*")) if file.is_file()]
        return [str(path.resolve()), sum(s.st_size for s in stats), max((s.st_mtime_ns for s in stats), default=0)]
    return [weights or where, 0, 0]


def libraries() -> dict[str, str]:
    """Return the versions of the engines that are installed."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def processor() -> dict[str, str]:
    """Return the processor's name, a digest of its instruction sets, and the accelerators in sight."""
    try:
        lines = _CPU.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        lines = []
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in reversed(lines))}
    flags = sorted((facts.get("flags") or facts.get("Features") or "").split())
    gpus = sorted(p.name for p in _NVIDIA.iterdir()) if _NVIDIA.is_dir() else []
    return {
        "cpu": facts.get("model name") or platform.processor() or platform.machine(),
        "flags": digest_of(flags)[:16],
        "accelerators": " ".join([*gpus, os.environ.get("CUDA_VISIBLE_DEVICES", "")]).strip(),
    }
