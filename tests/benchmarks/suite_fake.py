"""A benchmark that does what a test tells it, as a part of the suite."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from sonotheque.core.errors import Unavailable

TIMES = 5


def run(*, how: str, out: str, quiet: bool, note: str | None = "its default") -> dict[str, Any]:
    if how == "refuse":
        raise Unavailable("no such device here")
    if how == "crash":
        os._exit(11)
    if how == "break":
        raise RuntimeError("embed: exit 6: the weights\nare not here")
    if how == "hang":
        left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        Path(out).with_suffix(".pid").write_text(str(left.pid))
        time.sleep(600)
    return {
        "what": "sonotheque bench fake",
        "data": "nothing",
        "machine": {"cpu": "x"},
        "work_s": 1.5,
        "times": TIMES,
        "quiet": quiet,
        "note": note,
    }
