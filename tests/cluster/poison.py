"""Files that kill, freeze or bloat the process that embeds them, without a hook in the program.

A ``sitecustomize.py`` on PYTHONPATH, which every worker and every guard process imports at its start, wraps the
placeholder: a window that begins with two magic samples does what its third sample says.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import soundfile as sf

from tests.cluster.support import RATE_HZ

MAGIC = (12_345, -12_345)
ACTIONS = {"kill": 1, "hang": 2, "memory": 3, "type_error": 4, "exit": 5}

_SITECUSTOMIZE = """
import importlib.util
import os
import signal
import sys
import time


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def hang():
    time.sleep(3600)


def memory():
    held = []
    while True:  # 32 MB a step, touched
        held.append(b"x" * (32 << 20))
        time.sleep(0.02)


def type_error():
    raise TypeError("a bug in the model")


def leave():
    os._exit(3)


DEEDS = {1: kill, 2: hang, 3: memory, 4: type_error, 5: leave}


def patch_model(module):
    plain = module.PlaceholderEmbedder.embed

    def embed(self, frames, *, logits=True):
        time.sleep(float(os.environ.get("SLOW_MODEL_S", "0")))
        for frame in frames:
            first = [round(float(v) * 32768) for v in frame[:3]]
            if first[:2] == [12345, -12345]:
                DEEDS[first[2]]()
        return plain(self, frames, logits=logits)

    module.PlaceholderEmbedder.embed = embed


def patch_pipeline(module):
    plain = module.open_windows

    def open_windows(path, *args, **options):
        if "stuck" in os.path.basename(path):
            time.sleep(3600)
        return plain(path, *args, **options)

    module.open_windows = open_windows


PATCHES = {"embedder.models.placeholder": patch_model, "embedder.pipeline": patch_pipeline}


class Finder:
    def find_spec(self, name, path=None, target=None):
        if name not in PATCHES:
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        plain = spec.loader.exec_module

        def exec_module(module):
            plain(module)
            PATCHES[name](module)

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Finder())
"""


def poisoned_env(folder: Path, *, slow_model_s: float = 0.0) -> dict[str, str]:
    """Return what the environment needs for poison to work."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(_SITECUSTOMIZE, encoding="ascii")
    before = os.environ.get("PYTHONPATH", "")
    return {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(folder), before))),
        "SLOW_MODEL_S": str(slow_model_s),
    }


def write_poison(path: Path, action: str, *, at_window: int = 1, windows: int = 4, seed: int = 99) -> Path:
    """Write a file one of whose windows is poison; the windows before it are sound."""
    path.parent.mkdir(parents=True, exist_ok=True)
    each = 2 * RATE_HZ
    samples = np.random.default_rng(seed).integers(-3000, 3000, windows * each).astype(np.int16)
    samples[at_window * each : at_window * each + 3] = [*MAGIC, ACTIONS[action]]
    sf.write(path, samples, RATE_HZ, subtype="PCM_16")
    return path
