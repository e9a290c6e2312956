"""The poison-file rule: a part that killed or froze its worker is embedded again in a throw-away process, file by file;
the file that kills that too is quarantined, and the part is committed without it.

Run as ``python -m cluster.guard FOLDER`` (by this module itself): FOLDER holds ``payload.json`` and ``quarantine.json``; the
process writes ``current`` before each file and ``result.json`` at the end.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from cluster.models_here import model_here
from cluster.payload import TaskPayload
from cluster.task import PartTask
from sonotheque.core import errors
from sonotheque.core.errors import SonothequeError, Unavailable
from sonotheque.core.modules import our_module, with_home
from sonotheque.core.outcome import StageSeconds, Status, TaskOutcome

MEMORY_BYTES_MAX = 6 << 30
_POLL_S = 0.2
_ORPHAN_EXIT = 71
_INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # somebody ended it; no file is to blame
_ERROR_EXIT = 70  # an error of our own tree: it stands in result.json, and no file is to blame


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """Bounds of the throw-away process.

    Attributes
    ----------
    stall_s : float
        Longest time without a sign of progress: another file, or more windows of the same one.
    memory_bytes : int
        Largest resident memory, model included.
    """

    stall_s: float
    memory_bytes: int = MEMORY_BYTES_MAX


def run_guarded(payload: TaskPayload, limits: GuardLimits | None = None) -> TaskOutcome:
    """Embed a part in throw-away processes until one of them gets through.

    Raises
    ------
    Unavailable
        If the process dies before it opens a file: then the model or the machine is at fault, not a file.
    SonothequeError
        Whatever the process itself reported (disk full ...).
    """
    limits = limits or GuardLimits(payload.stall_s)
    quarantine: dict[str, tuple[str, str]] = {}
    with tempfile.TemporaryDirectory(prefix="sonotheque-guard-") as name:
        folder = Path(name)
        (folder / "payload.json").write_text(json.dumps(payload.to_json()), encoding="ascii")
        while True:
            (folder / "quarantine.json").write_text(json.dumps(quarantine), encoding="ascii")
            (folder / "current").unlink(missing_ok=True)
            fault = _watch(folder, limits, payload.progress_file)
            if fault is None:
                return _outcome(json.loads((folder / "result.json").read_text(encoding="ascii")))
            current = _read(folder / "current")
            if not current or current in quarantine:
                raise Unavailable(
                    f"part {payload.part.part_id} of {payload.part.site}: a process of its own died as well ({fault[1]}) "
                    "without any of its files being at fault. Look at the worker's log, memory and model weights"
                )
            quarantine[current] = fault


def _watch(folder: Path, limits: GuardLimits, progress: Path) -> tuple[str, str] | None:
    """Run the process once. Returns None if it got through, else the status and reason for its current file."""
    log = folder / "stderr"
    command = our_module("cluster.guard", str(folder))
    with (
        log.open("wb") as stderr,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stderr=stderr,
            stdout=stderr,
            env=with_home(os.environ),
            start_new_session=True,
        ) as child,
    ):
        fault = _fault_while_it_runs(child, folder, limits, progress)
    code = child.returncode
    if fault or code == 0:
        return fault
    if code == _ERROR_EXIT:
        told = json.loads((folder / "result.json").read_text(encoding="ascii"))
        raise getattr(errors, told["class"])(told["message"], kind=told["kind"])
    if -code in _INTERRUPTIONS:
        raise Unavailable(f"the process that embeds a part file by file was interrupted ({signal.Signals(-code).name})")
    if code < 0:
        return str(Status.DECODER_CRASH), f"kills the process that decodes it ({signal.Signals(-code).name})"
    said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or [f"exit code {code}"]
    return str(Status.MODEL_ERROR), f"the process that embeds it fails: {said[-1][:300]}"


def _fault_while_it_runs(
    child: subprocess.Popen[bytes], folder: Path, limits: GuardLimits, progress: Path
) -> tuple[str, str] | None:
    last, since = ("", 0), time.monotonic()
    while child.poll() is None:
        time.sleep(_POLL_S)
        now = _read(folder / "current"), _modified_ns(progress)
        if now != last:
            last, since = now, time.monotonic()
        if time.monotonic() - since > limits.stall_s:
            child.kill()
            return str(Status.TIMEOUT), f"no progress within {limits.stall_s:g} s"
        used = _rss_bytes(child.pid)
        if used > limits.memory_bytes:
            child.kill()
            return str(Status.DECODER_CRASH), f"used {used >> 20} MB of memory, more than {limits.memory_bytes >> 20}"
    return None


def _read(path: Path) -> str:
    try:
        return str(json.loads(path.read_text(encoding="ascii")))
    except (OSError, ValueError):  # not written yet, or half written
        return ""


def _modified_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:  # nothing was told yet
        return 0


def _end_with_parent() -> None:
    """End this process when the one that watches it does, however that ends: a file may hold it up for ever."""

    def wait() -> None:
        os.read(0, 1)  # ends when the other end is closed; not sys.stdin, whose lock would abort a normal exit
        os._exit(_ORPHAN_EXIT)

    threading.Thread(target=wait, name="parent", daemon=True).start()


def _rss_bytes(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _outcome(value: dict[str, Any]) -> TaskOutcome:
    return TaskOutcome(**{**value, "stages": StageSeconds(**value["stages"])})


def main(folder: Path) -> int:
    """Embed one part, file by file; the body of the throw-away process."""
    payload = TaskPayload.from_json(json.loads((folder / "payload.json").read_text(encoding="ascii")))
    quarantine = {k: tuple(v) for k, v in json.loads((folder / "quarantine.json").read_text(encoding="ascii")).items()}

    def on_file(path: str) -> None:
        # Written aside and moved: the watcher must never read half a name.
        (folder / "current.new").write_text(json.dumps(path), encoding="ascii")
        (folder / "current.new").replace(folder / "current")

    try:
        model = model_here(payload.model)
        outcome = PartTask(payload, model, quarantine=quarantine, one_by_one=True, on_file=on_file).run()
    except SonothequeError as error:
        told = {"class": type(error).__name__, "message": error.message, "kind": error.kind}
        (folder / "result.json").write_text(json.dumps(told), encoding="ascii")
        return _ERROR_EXIT
    (folder / "result.json").write_text(json.dumps(asdict(outcome)), encoding="ascii")
    return 0


if __name__ == "__main__":
    _end_with_parent()
    status = main(Path(sys.argv[1]))
    sys.stdout.flush()
    os._exit(status)  # a stuck decoder thread must not keep the process alive
