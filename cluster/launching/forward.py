"""A way to a pod's port from this machine: ``kubectl port-forward``, watched, and started again when it ends."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from sonotheque.core.errors import Unavailable

_GRACE_S: Final = 5
_PAUSES_S: Final = (0.2, 1.0, 2.0, 5.0, 10.0)
_FIRST_S: Final = 60
_FORWARD: Final = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")


class Forward:
    """One local port that leads to a service, for as long as it is wanted.

    Parameters
    ----------
    command : callable
        Takes the local port (None: any that is free) and returns the command.
    """

    def __init__(self, command: Callable[[int | None], list[str]]) -> None:
        self._command = command
        self._port: int | None = None
        self._said = ""
        self._process: subprocess.Popen[str] | None = None
        self._known, self._closing, self._lock = threading.Event(), threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._run, name="port-forward", daemon=True)

    def open(self) -> int:
        """Start it, and return the local port.

        Raises
        ------
        Unavailable
            If it ends, or says nothing, before it has one.
        """
        self._thread.start()
        self._known.wait(_FIRST_S)
        if self._port is None:
            self.close()
            raise Unavailable(f"kubectl port-forward says {self._said!r}: no way to the scheduler")
        return self._port

    def close(self) -> None:
        """End it."""
        self._closing.set()
        with self._lock:
            process = self._process
        if process is not None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE_S)
            process.kill()
            process.wait()
        if self._thread.is_alive():
            self._thread.join(_GRACE_S)

    def _run(self) -> None:
        ends = 0
        while self._start():
            ends = 0 if self._read() else ends + 1
            if self._port is None:  # it did not come up at all: whoever waits is told
                break
            if self._closing.wait(_PAUSES_S[min(ends, len(_PAUSES_S) - 1)]):
                break
        self._known.set()

    def _start(self) -> bool:
        """Start the command, on the port of the first time; False if that is over."""
        with self._lock:
            if self._closing.is_set():
                return False
            try:
                self._process = subprocess.Popen(
                    self._command(self._port),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors="replace",
                )
            except OSError as error:
                self._said = str(error)
                return False
        return True

    def _read(self) -> bool:
        """Read what it prints until it ends, or it would wait for a reader; returns whether it had come up."""
        process, up = self._process, False
        if process is None or process.stdout is None:
            return False
        with process.stdout as lines:
            for line in lines:
                self._said = line.strip()[:400] or self._said
                if found := _FORWARD.search(line):
                    self._port, up = int(found.group(1)), True
                    self._known.set()
        process.wait()
        return up
