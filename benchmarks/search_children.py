"""Starts the processes that measure: each prints one JSON document, and one that fails says why."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.search_measure import THREADS


def child(module: str, *arguments: object, one_thread: bool = False, python: str = sys.executable) -> Any:
    """Run ``python -m benchmarks.MODULE`` and return the JSON document it prints last.

    Raises
    ------
    RuntimeError
        If it fails; with the end of what it said.
    """
    environment = {**os.environ, "RUST_LOG": "error", **(dict.fromkeys(THREADS, "1") if one_thread else {})}
    command = [python, "-m", f"benchmarks.{module}", *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1], env=environment
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:])}: exit {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])
