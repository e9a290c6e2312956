"""Worker processes that may die: each has one task at a time, so that it is known whose death it was."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from typing import Any, Final

from sonotheque.core.errors import SonothequeError

_THREADS: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
_GONE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a task.

    Attributes
    ----------
    value : object
        What the work returned.
    problem : str or None
        Why there is no value.
    last : bool
        The process ends after this one.
    """

    value: Any = None
    problem: str | None = None
    last: bool = False


class Lane:
    """A place where one task at a time is done, by a process that is started when it is needed, and again if it died.

    Parameters
    ----------
    work : callable
        Takes a task; both, and what it returns, must go through pickle.
    """

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self._work = work
        self._process: Any = None
        self._near: Any = None

    def give(self, task: Any) -> None:
        """Begin a task; the one before has been taken."""
        if self._near is None:
            self._start()
        try:
            self._near.send(task)
        except (BrokenPipeError, ConnectionResetError):  # it died while it had nothing to do
            self._end()
            self._start()
            self._near.send(task)

    def take(self) -> Answer:
        """Return the answer of a task that is done, or why there is none."""
        if self._near is None:
            return Answer(problem="the worker process is not there")
        try:
            answer: Answer = self._near.recv()
        except (EOFError, ConnectionResetError):
            code = self._end()
            return Answer(problem=_death(code))
        if answer.last:
            self._end()
        return Answer(answer.value, answer.problem)

    def close(self) -> None:
        """End the process, whatever it does."""
        if self._process is not None:
            self._process.terminate()
        self._end()

    @property
    def connection(self) -> Any:
        """Readable when the task is done, or the process is dead."""
        return self._near

    def _start(self) -> None:
        context = get_context("spawn")  # a fork would copy the locks of other threads: DuckDB's, BLAS's
        self._near, far = context.Pipe()
        self._process = context.Process(target=_serve, args=(far, self._work), daemon=True)
        with _interrupts_held():
            self._process.start()
        far.close()

    def _end(self) -> int | None:
        code = None
        if self._near is not None:
            self._near.close()
        if self._process is not None:
            self._process.join(_GONE_S)
            if self._process.is_alive():
                self._process.kill()
                self._process.join()
            code = self._process.exitcode
        self._near = self._process = None
        return code


def ready(lanes: list[Lane], timeout_s: float) -> list[Lane]:
    """Return the lanes with an answer to be taken, after ``timeout_s`` at the latest."""
    of: dict[Any, Lane] = {lane.connection: lane for lane in lanes if lane.connection is not None}
    return [of[c] for c in wait(list(of), timeout_s)]


@contextlib.contextmanager
def one_thread_each() -> Iterator[None]:
    """Processes that are started in this block compute with one thread: there are as many of them as cores already."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class Interrupts:
    """Counts Ctrl-C in its block, in place of an error at any moment; in other threads than the main one it counts none."""

    def __init__(self) -> None:
        self.count = 0
        self._before: Any = None

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._counted)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _counted(self, *_: object) -> None:
        self.count += 1


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """A process started in this block never sees Ctrl-C, also not before it could say that it does not want to."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        hint = "; out of memory, perhaps: try fewer --workers" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{hint}"
    return f"its process ended with code {code} before it had an answer"


def _serve(far: Connection, work: Callable[[Any], Any]) -> None:
    """Do tasks until nobody is there to give more; the life of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the first one decides
    while True:
        try:
            task = far.recv()
        except (EOFError, ConnectionResetError):
            return
        far.send(_answered(far, work, task))


def _answered(far: Connection, work: Callable[[Any], Any], task: Any) -> Answer:
    try:
        return Answer(work(task))
    except SonothequeError as error:
        return Answer(problem=error.message)
    except Exception as error:
        # Not foreseen: the task gets its reason, and the process, whose state nobody knows, its end.
        far.send(Answer(problem=f"{type(error).__name__}: {error}", last=True))
        raise SystemExit(1) from error
