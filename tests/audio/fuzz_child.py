"""Opens, describes and decodes damaged files in a process with limits: one JSON line a case on its output, ``begun`` before and ``done`` after.

``python -m tests.audio.fuzz_child FOLDER KIND FIRST STEP SEVERAL`` reads the whole files of FOLDER and tries the cases FIRST,
FIRST + STEP ...; SEVERAL is how many have more than one damage.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

from embedder.audio import open_windows
from embedder.recorders import Describer
from sonotheque.core.outcome import Outcome, Status
from sonotheque.core.recording import SourceFile
from sonotheque.core.windows import WindowRule
from tests.audio.fuzz import KINDS, cases

RULE = WindowRule(sample_rate_hz=8_000, window_samples=4_000, hop_samples=3_000, valid_samples_min=800)
CPU_S = 10
ADDRESS_BYTES = 2 << 30  # above what the process has when it begins; what it may really use is judged by the test
_MB = 1 << 20


def memory_bytes() -> tuple[int, int]:
    """Return the most address space and the most memory this process ever had."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    told = {key: value for key, _, value in (line.partition(":") for line in lines)}
    return int(told["VmPeak"].split()[0]) * 1024, int(told["VmHWM"].split()[0]) * 1024


def limit_cpu() -> None:
    """Give the next case its seconds."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used.ru_utime + used.ru_stime) + CPU_S, resource.RLIM_INFINITY))


def look(describer: Describer, path: Path) -> dict[str, Any]:
    """Describe and decode one file; return what came out, and in ``wrong`` what must not be."""
    wrong = []
    info = path.stat()
    recording = describer.describe(str(path.parent), SourceFile(path.name, info.st_size, info.st_mtime_ns))
    if not 0 <= recording.audio_s <= 60 + info.st_size:
        wrong.append(f"described as {recording.audio_s} s of sound in {info.st_size} bytes")
    stream = open_windows(str(path), RULE)
    windows = 0
    for start, valid, frame in stream:
        windows += 1
        if not (start >= 0 and 0 < valid <= RULE.window_samples and abs(float(frame.sum())) < math.inf):
            wrong.append(f"window {windows}: {start}, {valid}")
    summary = stream.summary
    if summary.status not in set(Status) or (summary.outcome is Outcome.DONE) != (windows > 0):
        wrong.append(f"{summary.status} with {windows} windows")
    if (summary.status is Status.OK) != (summary.reason == ""):
        wrong.append(f"{summary.status}: {summary.reason!r}")
    return {"status": str(summary.status), "windows": windows, "audio_s": recording.audio_s, "wrong": wrong}


def main(folder: Path, kind: str, first: int, step: int, several: int) -> None:
    """Try the cases."""
    whole = {name: (folder / name).read_bytes() for name in KINDS}
    describer = Describer(zone="Europe/Berlin")
    path = folder / f"case-{os.getpid()}.wav"
    path.write_bytes(whole[kind])
    look(describer, path)  # everything is imported by now
    base_space, base_memory = memory_bytes()
    resource.setrlimit(resource.RLIMIT_AS, (base_space + ADDRESS_BYTES, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXCPU, signal.SIG_DFL)
    for number, (name, make) in enumerate(itertools.islice(cases(kind, whole, several), first, None, step)):
        path.write_bytes(make())
        _tell({"begun": first + number * step, "case": name})
        limit_cpu()
        began = time.perf_counter()
        try:
            found = look(describer, path)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what the test looks for
            found = {"status": "raised", "windows": 0, "wrong": [f"{type(error).__name__}: {error}"]}
        space, memory = memory_bytes()
        found["s"] = round(time.perf_counter() - began, 3)
        found["space_mb"], found["memory_mb"] = (space - base_space) // _MB, (memory - base_memory) // _MB
        _tell({"done": first + number * step, **found})
    path.unlink()


def _tell(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:6]))
