"""Verbs as processes of their own: one that is waited for, and one that outlives the terminal."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import typer

from sonotheque.core.modules import our_module, with_home
from store.fsops import store_errors

DETACHED = "SONOTHEQUE_DETACHED"  # tells a process that its output goes to this file of its output folder
_PROGRAM = "sonotheque.cli.main"


def arguments(context: typer.Context, names: Collection[str]) -> list[str]:
    """Return options of the running verb as they would be typed again.

    Parameters
    ----------
    context : typer.Context
    names : collection of str
        Of parameters; those that were not given, and have no default, are left out.
    """
    found: list[str] = []
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if parameter.name not in names or value is None or value is False:
            continue
        flag = max(parameter.opts, key=len)
        found.append(flag if value is True else f"{flag}={value}")
    return found


def _environment(more: dict[str, str] | None = None) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k != DETACHED}
    return {**with_home(kept), **(more or {})}


class Child:
    """Runs verbs one after the other, and hands signals on to whichever runs; with none they are a Ctrl-C to this process."""

    def __init__(self) -> None:
        self._running: subprocess.Popen[str] | None = None
        self._starting = False
        self.told = False  # whether somebody asked for the end

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Hand signals on while this lasts. A terminal that goes away is one: the run is stopped in good order."""
        wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._hand_on) for number in wanted}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hand_on(self, number: int, frame: FrameType | None) -> None:
        self.told = True
        if self._starting:  # it is handed on as soon as there is a process
            return
        if self._running is None:
            raise KeyboardInterrupt
        with contextlib.suppress(ProcessLookupError):
            self._running.send_signal(signal.SIGTERM if number == signal.SIGHUP else number)

    def run(self, words: Sequence[str], *, capture: bool) -> tuple[int, str]:
        """Run a verb to its end.

        In a session of its own: Ctrl-C would reach it from the terminal and from here, and the second one means at once.

        Returns
        -------
        int, str
            Its exit code, 128 and more if a signal ended it, as a shell has it; and with ``capture`` what it wrote to stdout.
        """
        out = subprocess.PIPE if capture else None
        sys.stdout.flush()
        self._starting = True
        with subprocess.Popen(
            our_module(_PROGRAM, *words), stdout=out, env=_environment(), text=True, start_new_session=True
        ) as child:
            self._running, self._starting = child, False
            if self.told:
                child.terminate()
            said, _ = child.communicate()
            self._running = None
        return child.returncode if child.returncode >= 0 else 128 - child.returncode, said or ""


def detach(words: Sequence[str], log: Path) -> subprocess.Popen[Any]:
    """Start a verb that does not end with this terminal; its output is added to a file."""
    environment = _environment({DETACHED: log.name, "PYTHONUNBUFFERED": "1"})
    with store_errors(str(log.parent)), log.open("ab") as told:
        return subprocess.Popen(
            our_module(_PROGRAM, *words),
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=told,
            env=environment,
            start_new_session=True,
        )
