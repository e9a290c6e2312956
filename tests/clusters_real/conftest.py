"""What the suites of real clusters share: an archive, the parts of a run without Dask, certificates, and a log that is kept."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.cluster.conftest import no_personal_settings, poison  # noqa: F401
from tests.cluster.poison import poisoned_env
from tests.cluster.support import make_archive, part_files, run, write_tls

_QUOTE = r"(?:'\"'\"'|')?"
_SETTINGS = re.compile(rf"(?:export )?{_QUOTE}(?:DASK|MALLOC)_[A-Z_]+=(?:\d+ minutes|'[^'\n]*'|[^\s'\"]+){_QUOTE}[ \n]")
LOGS = Path(__file__).parents[2] / "docs" / "clusters"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds archive and stores."""
    return tmp_path_factory.mktemp("real") / "here"


@pytest.fixture(scope="module")
def archive(home: Path) -> Path:
    """12 parts of 5 files."""
    return make_archive(home / "archive", sites=4, days=3, files=5, seconds=10.0)


@pytest.fixture(scope="module")
def clean(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The part files of a run without Dask."""
    store = tmp_path_factory.mktemp("clean") / "store"
    run(archive, store)
    return part_files(store)


@pytest.fixture(scope="module")
def tls(home: Path, archive: Path) -> dict[str, str]:
    """Files of an authority that signed itself, as a cluster file names them."""
    return write_tls(home)


@pytest.fixture
def there(home: Path, tmp_path: Path) -> Path:
    """The same folder under the name that the nodes have for it."""
    link = tmp_path / "there"
    link.symlink_to(home)
    return link


@pytest.fixture
def cluster_file(home: Path, there: Path, tmp_path: Path) -> Callable[..., Path]:
    """Write a cluster file whose workers have this environment's Python, and a model as slow as is asked for."""

    def write(slow_model_s: float = 0.0, **keys: Any) -> Path:
        env = poisoned_env(tmp_path / "slowed", slow_model_s=slow_model_s)
        env["PYTHONPATH"] += os.pathsep + str(Path(__file__).parents[2])
        file = tmp_path / "cluster.yaml"
        common = {"python": sys.executable, "paths": {str(home): str(there)}, "environment": env}
        file.write_text(yaml.safe_dump(common | keys), encoding="utf-8")
        return file

    return write


def workers_here(address: str) -> list[psutil.Process]:
    """Return the worker commands on this machine that look for a scheduler."""
    found = []
    for process in psutil.process_iter():
        try:
            if {"worker", address} <= set(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def events(store: Path, job: int = 1) -> list[dict[str, Any]]:
    """Return the events of a job."""
    lines = (store / "jobs" / str(job) / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def told_of(store: Path, job: int = 1) -> list[str]:
    """Return what a job told people of its cluster."""
    return [e["text"] for e in events(store, job) if e["event"] == "cluster"]


def outline(store: Path) -> str:
    """Return the events of the first job, a line each."""
    return "\n".join(f"{e['event']}: {e.get('text') or e.get('part') or ''}".rstrip(": ") for e in events(store))


def keep_log(name: str, title: str, parts: list[tuple[str, str]], folders: list[Path]) -> None:
    """Write docs/clusters/NAME.log, without names of this machine; only when asked for by SONOTHEQUE_KEEP_LOGS."""
    if not os.environ.get("SONOTHEQUE_KEEP_LOGS"):
        return
    text = (
        f"# {title}\n# Left out: the variables with Dask's settings, which are the same everywhere.\n\n"
        + "\n\n".join(f"$ {command}\n{said.rstrip()}" for command, said in parts)
        + "\n"
    )
    repository = str(Path(__file__).parents[2])
    for folder in sorted({*map(str, folders), *(str(f.resolve()) for f in folders)}, key=len, reverse=True):
        text = text.replace(folder, "/scratch")
    text = text.replace(sys.executable, "python").replace(repository, "/opt/sonotheque")
    text = _SETTINGS.sub("", text)
    text = re.sub(rf"\b{re.escape(socket.gethostname())}\b", "node1", text)
    LOGS.mkdir(exist_ok=True)
    (LOGS / f"{name}.log").write_text(text, encoding="utf-8")
