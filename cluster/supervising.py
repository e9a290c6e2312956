"""A run in a process of its own, started again when it dies or loses its cluster: everything is rebuilt from the store.

The parent loads no model and looks at nothing while the child runs. It starts the child again where another try may get further,
and leaves alone what it was told on purpose: a stop, a wrong option, a full disk. Restarts are counted only while no new part is
committed, so that a run of a week may die often and a run that cannot work ends soon.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.job import JobFolder, job_numbers
from cluster.orphans import SUPERVISED, end_processes
from cluster.supervisor_log import SupervisorLog, signal_name
from cluster.tailing import event_of
from sonotheque.core.errors import SonothequeError, Unavailable
from sonotheque.core.modules import our_module, with_home
from sonotheque.core.passing import is_passing

RESTARTS = 5
DELAY_S, DELAY_S_MAX = 1.0, 30.0
# Of what is not possible now, that which may be in a moment; a full disk or a missing engine waits for people.
PASSING_KINDS = frozenset({"workers_lost", "store_unreachable", "unavailable", "download_failed"})
_ENDS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
INTERRUPTIONS = tuple(getattr(signal, name) for name in _ENDS if hasattr(signal, name))
_TOLD, _OUTPUT = "ended.json", "output"
_SLICE_S = 0.1


@dataclass(frozen=True, slots=True)
class Supervised:
    """How the last child ended: its exit code (128 + N for signal N), and what it wrote to stdout."""

    code: int
    output: bytes


def is_supervised() -> bool:
    """Tell whether this process was started by a supervisor, so that it must not start one itself."""
    return os.path.isdir(os.environ.get(SUPERVISED, ""))


@contextmanager
def telling_supervisor() -> Iterator[None]:
    """Leave word for the supervisor, if there is one, of what ended the run: exit codes stand for several kinds of errors."""
    try:
        yield
    except (SonothequeError, OSError) as error:
        passing = error.kind in PASSING_KINDS if isinstance(error, Unavailable) else False
        passing = is_passing(error) if isinstance(error, OSError) and error.errno is not None else passing
        kind = error.kind if isinstance(error, SonothequeError) else type(error).__name__
        if is_supervised():
            with suppress(OSError):
                told = {"kind": kind, "passing": passing, "error": str(error)}
                Path(os.environ[SUPERVISED], _TOLD).write_text(json.dumps(told), encoding="ascii")
        raise


def own_command(arguments: Sequence[str]) -> list[str]:
    """Return what runs this program's command line in another process."""
    return our_module("sonotheque.cli.main", *arguments)


class Supervisor:
    """Runs a command until it ends for good.

    Parameters
    ----------
    command : sequence of str
        An ``embed`` or ``resume`` of this program (:func:`own_command`), or a verb that calls them and :func:`telling_supervisor`.
    store : str
        The store; its ``jobs/supervisor.jsonl`` tells of every start and end.
    restarts : int
        How many restarts without a newly committed part before it is given up.
    note : callable, optional
        Called with a sentence for people at each restart.
    """

    def __init__(
        self,
        command: Sequence[str],
        store: str,
        *,
        restarts: int = RESTARTS,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._command, self._store, self._restarts, self._note = list(command), store, restarts, note
        self._log = SupervisorLog(store)
        self._asked: int | None = None
        self._child: subprocess.Popen[bytes] | None = None

    def run(self) -> Supervised:
        """Run it; returns when a child ended for good, or restarts are used up."""
        with tempfile.TemporaryDirectory(prefix="sonotheque-supervise-") as name, self._signals_passed_on():
            folder = Path(name)
            self._log.started(self._restarts)
            without = 0
            while True:
                jobs = job_numbers(self._store)
                code = self._once(folder)
                ended = end_processes(name, self._child_pid)
                new_parts = self._new_parts(jobs)
                why = self._why_again(code, folder, jobs)
                self._log.child_ended(code, why, new_parts, ended)
                without = 0 if new_parts else without + 1
                if why is None or without > self._restarts:
                    if why is not None:
                        self._note(
                            f"{why}; given up after {self._restarts} restarts without a newly committed part. What is committed stays"
                        )
                    break
                self._tell_job(jobs, why)
                if not self._wait(why, without):
                    break
            output = (folder / _OUTPUT).read_bytes()
        exit_code = code if code >= 0 else 128 - code
        self._log.closed(exit_code)
        return Supervised(exit_code, output)

    @property
    def _child_pid(self) -> int:
        return self._child.pid if self._child else 0

    def _once(self, folder: Path) -> int:
        (folder / _TOLD).unlink(missing_ok=True)
        # A session of its own: a Ctrl-C in the terminal comes to the child once, through here.
        with (folder / _OUTPUT).open("wb") as output:
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                start_new_session=True,
                env={**with_home(os.environ), SUPERVISED: str(folder)},
            )
            if self._asked is not None:  # it came while the child was being started
                self._child.send_signal(self._asked)
            self._log.child_started(self._child.pid)
            return self._child.wait()

    def _why_again(self, code: int, folder: Path, jobs_before: list[int]) -> str | None:
        """Return why another try may get further; None if the end is to stay."""
        if self._asked is not None or code == 0 or self._stop_asked(jobs_before):
            return None
        if code < 0:
            return None if -code in INTERRUPTIONS else f"the run was killed ({signal_name(-code)})"
        try:
            told = json.loads((folder / _TOLD).read_text(encoding="ascii"))
        except (OSError, ValueError):  # it had nothing to say: a wrong option, files that failed, a stop, a bug
            return None
        return f"the run ended: {told['error']}" if told["passing"] else None

    def _stop_asked(self, jobs_before: list[int]) -> bool:
        """Tell whether somebody asked this child's job to stop, before it was killed."""
        new = set(job_numbers(self._store)) - set(jobs_before)
        return any(JobFolder(self._store, number).cancel_asked() for number in new)

    def _tell_job(self, jobs_before: list[int], why: str) -> None:
        new = set(job_numbers(self._store)) - set(jobs_before)
        if new:
            with suppress(SonothequeError, OSError):
                JobFolder(self._store, max(new)).event("started again", text=why)

    def _wait(self, why: str, without: int) -> bool:
        """Wait before the next start; False if a signal came meanwhile."""
        delay_s = min(DELAY_S * 2.0 ** max(0, without - 1), DELAY_S_MAX)
        left = (
            f"restart {without} of {self._restarts} without a new part" if without else "parts were committed meanwhile"
        )
        self._note(f"{why}; starting it again in {delay_s:g} s ({left})")
        self._log.waiting(delay_s, without, self._restarts)
        until = time.monotonic() + delay_s
        while self._asked is None and (left_s := until - time.monotonic()) > 0:
            time.sleep(min(_SLICE_S, left_s))
        return self._asked is None

    def _new_parts(self, jobs_before: list[int]) -> int:
        """Return how many parts this child's own job has booked: what others commit to the store is no progress of this one."""
        new = set(job_numbers(self._store)) - set(jobs_before)
        return sum(_parts_booked(JobFolder(self._store, number)) for number in new)

    @contextmanager
    def _signals_passed_on(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def pass_on(number: int, frame: Any) -> None:
            self._asked = number
            if self._child is not None and self._child.returncode is None:
                self._child.send_signal(number)

        heeded = [
            number for number in INTERRUPTIONS if signal.getsignal(number) is not signal.SIG_IGN
        ]  # nohup ignores one
        before = {number: signal.signal(number, pass_on) for number in heeded}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _parts_booked(job: JobFolder) -> int:
    count = 0
    with suppress(OSError), job.file("events.jsonl").open("rb") as lines:
        for line in lines:
            count += (event_of(line) or {}).get("event") == "part"  # the death may have torn one
    return count
