"""Small archives, runs on them, and what a store holds afterwards; used by the suites of `cluster` and of the command line."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import soundfile as sf
import yaml

from cluster.options import EmbedOptions
from cluster.run import embed
from cluster.status import verify_store
from cluster.sums import RunReport
from store import open_archive

RATE_HZ = 16_000  # the placeholder's: nothing is resampled
SUM_KEYS = ("done", "skipped", "failed", "pending")


def write_wav(path: Path, seconds: float = 4.0, *, seed: int = 0, channels: int = 1, rate_hz: int = RATE_HZ) -> Path:
    """Write noise that no other seed gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (round(seconds * rate_hz), channels)
    samples = np.random.default_rng(seed).normal(0, 0.1, shape).astype(np.float32)
    sf.write(os.fsencode(path), samples, rate_hz, subtype="PCM_16", format="WAV")
    return path


def make_archive(folder: Path, *, sites: int = 2, days: int = 2, files: int = 3, seconds: float = 4.0) -> Path:
    """Write `files` files of each day of each site; file names carry their time."""
    seed = 0
    for site in range(sites):
        for day in range(days):
            for number in range(files):
                seed += 1
                name = f"2024050{day + 1}_{4 + number:02d}0000.wav"
                write_wav(folder / f"site{site}" / name, seconds, seed=seed)
    return folder


def options(source: Path | str | tuple[str, ...], store: Path | str, **more: Any) -> EmbedOptions:
    """Return options for the placeholder, in this process."""
    sources = source if isinstance(source, tuple) else (str(source),)
    return EmbedOptions(**{"sources": sources, "store": str(store), "model": "placeholder", "workers": 0, **more})


def run(source: Path | str | tuple[str, ...], store: Path | str, **more: Any) -> RunReport:
    """Embed, and check what must hold of every run: its report adds up, and the store verifies if the run finished."""
    report = embed(options(source, store, **more))
    assert report.files == sum(getattr(report, key) for key in SUM_KEYS)
    if report.state == "finished":
        assert report.pending == 0
        found = verify_store(str(store), deep=True)
        assert found.ok, found
    return report


def cluster_file(folder: Path, **keys: Any) -> str:
    """Write a cluster file with these keys, and return its path."""
    file = folder / "cluster.yaml"
    file.write_text(yaml.safe_dump(keys), encoding="utf-8")
    return str(file)


def write_tls(folder: Path) -> dict[str, str]:
    """Write the files of an authority that signed itself, and return them as a cluster file names them."""
    from distributed import Security  # most who use this module need no Dask

    made = Security.temporary()
    texts = {"ca": made.tls_ca_file, "cert": made.tls_client_cert, "key": made.tls_client_key}
    for name, text in texts.items():
        (folder / f"{name}.pem").write_text(text, encoding="ascii")
    return {name: str(folder / f"{name}.pem") for name in texts}


def part_files(store: Path | str) -> dict[str, str]:
    """Return the digest of every part file, by its path in the store."""
    root = Path(store)
    return {
        str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest()
        for dataset in ("embeddings", "predictions")
        for p in sorted(root.joinpath(dataset).rglob("*.parquet"))
    }


def windows(store: Path | str, columns: str = "path, start_s") -> list[tuple[Any, ...]]:
    """Return columns of every live window, by path and start."""
    with open_archive(str(store)) as archive:
        table = archive.sql(f"SELECT {columns} FROM embeddings ORDER BY path, start_sample")
    return [tuple(row.values()) for row in table.to_pylist()]


def predictions(store: Path | str, columns: str = "path, start_s, rank, label") -> list[tuple[Any, ...]]:
    """Return columns of every live prediction."""
    with open_archive(str(store)) as archive:
        table = archive.sql(f"SELECT {columns} FROM predictions ORDER BY path, start_sample, rank")
    return [tuple(row.values()) for row in table.to_pylist()]


def vectors(store: Path | str) -> np.ndarray:
    """Return all live vectors, in the order of the snapshot."""
    with open_archive(str(store)) as archive:
        return np.concatenate([v for _, v in archive.vectors()])


def report_rows(report: RunReport) -> dict[str, dict[str, Any]]:
    """Return the rows of a run's report by path."""
    lines = (Path(report.store) / "jobs" / str(report.job) / "report.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert len({r["path"] for r in rows}) == len(rows)
    return {r["path"]: r for r in rows}


COMMAND = [sys.executable, "-m", "sonotheque.cli.main"]


def cli_env(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment in which our packages are found from any folder."""
    found = {k: v for k, v in os.environ.items() if not k.startswith("COV")}
    here = str(Path(__file__).parents[2])
    given = dict(env or {})
    paths = [p for p in (given.pop("PYTHONPATH", ""), here, found.get("PYTHONPATH", "")) if p]
    return {**found, **given, "PYTHONPATH": os.pathsep.join(paths)}


def cli(
    *args: object, env: Mapping[str, str] | None = None, cwd: Path | None = None, timeout_s: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    command = [*COMMAND, *map(str, args)]
    return subprocess.run(command, env=cli_env(env), cwd=cwd, capture_output=True, text=True, timeout=timeout_s)


def start_cli(*args: object, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Start the command line in a process group of its own."""
    return subprocess.Popen(
        [*COMMAND, *map(str, args)],
        env=cli_env(env),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def uninstalled_python(folder: Path) -> tuple[str, str]:
    """Return a Python in which our packages are not installed though all else is, and the PYTHONPATH that it needs for that."""
    python = folder / "uninstalled-python"
    python.write_text(
        f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -S "$@"\n'
    )  # -S: heeds no .pth, which may lead here
    python.chmod(0o755)
    return str(python), sysconfig.get_path("purelib")


def living(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Return those that run: a killed one that nobody has asked how it ended does not."""
    found = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def tell_log(variable: str, line: str) -> None:
    """Keep a line for the log that a target of make writes, if an environment variable names one."""
    if log := os.environ.get(variable):
        with open(log, "a", encoding="utf-8") as handle:
            handle.write(f"{line}\n")


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = 60) -> Any:
    """Wait until a condition gives something true, and return that."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited {timeout_s:g} s in vain for {what}")
