"""Long files in little memory: measured from outside, in a process of its own."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from tests.audio.damage import RATE_HZ, sound, write

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import json, resource, sys, time
from embedder.audio import open_windows
from sonotheque.core.windows import WindowRule
rule = WindowRule(32_000, 160_000, 160_000, 32_000)
def run(path):
    stream = open_windows(path, rule)
    for _ in stream:
        pass
    return stream
run(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
began = time.perf_counter()
stream = run(sys.argv[2])
json.dump({
    "grown_mb": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
    "wall_s": time.perf_counter() - began,
    "windows": stream.n_windows,
    "status": stream.summary.status,
    "reason": stream.summary.reason,
    "duration_s": stream.summary.duration_s,
}, sys.stdout)
"""


def measure(short: str, long: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, short, long],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def sparse_rf64(path: Path, hours: int) -> str:
    """A recording of many hours with one second of sound at the start of each; the rest takes no room on disk."""
    frames = hours * 3_600 * RATE_HZ
    data_bytes = frames * 2
    fmt = struct.pack("<HHIIHH", 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)
    ds64 = struct.pack("<QQQI", data_bytes + 72, data_bytes, frames, 0)
    head = b"RF64\xff\xff\xff\xffWAVEds64" + struct.pack("<I", 28) + ds64
    head += b"fmt " + struct.pack("<I", 16) + fmt + b"data\xff\xff\xff\xff"
    second = (sound(1.0) * 32_767).astype("<i2").tobytes()
    with open(path, "wb") as file:
        file.write(head)
        for hour in range(hours):
            file.seek(len(head) + hour * 3_600 * RATE_HZ * 2)
            file.write(second)
        file.truncate(len(head) + data_bytes)
    return str(path)


def test_one_hour_of_flac(tmp_path):
    short = write(tmp_path / "short.flac", sound(20.0))
    second = (sound(1.0) * 2_000).astype(np.int16)
    with sf.SoundFile(tmp_path / "long.flac", "w", RATE_HZ, 1, compression_level=0.0) as file:
        for _ in range(3_600):
            file.write(second)
    found = measure(short, str(tmp_path / "long.flac"))
    assert (found["windows"], found["status"]) == (720, "ok")
    assert found["grown_mb"] < 30


def test_two_hours_of_sparse_rf64(tmp_path):
    found = measure(write(tmp_path / "short.wav", sound(20.0)), sparse_rf64(tmp_path / "long.wav", 2))
    assert found["status"] == "zero_tail"
    assert found["windows"] == 721
    assert found["duration_s"] == 7_200
    assert found["grown_mb"] < 30


def test_a_header_that_promises_much_reserves_nothing(tmp_path):
    """4 GiB of 64 channels at 1 MHz, in 100 bytes."""
    fmt = struct.pack("<HHIIHH", 1, 64, 1_000_000, 128_000_000, 128, 16)
    data = b"RIFF" + struct.pack("<I", 2**32 - 64) + b"WAVEfmt " + struct.pack("<I", 16) + fmt
    (tmp_path / "big.wav").write_bytes(data + b"data" + struct.pack("<I", 2**32 - 128) + bytes(56))
    found = measure(write(tmp_path / "short.wav", sound(2.0)), str(tmp_path / "big.wav"))
    assert found["status"] == "empty"
    assert found["grown_mb"] < 30


@pytest.mark.slow
def test_a_day_of_sparse_rf64(tmp_path):
    found = measure(write(tmp_path / "short.wav", sound(20.0)), sparse_rf64(tmp_path / "long.wav", 24))
    assert found["status"] == "zero_tail"
    assert found["windows"] == 23 * 720 + 1
    assert found["grown_mb"] < 30
