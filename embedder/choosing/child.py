"""The process that holds one engine while it is measured, from the side of the one that asks."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import threading
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, cast

from sonotheque.core.errors import CLASS_OF_KIND, Unavailable
from sonotheque.core.modules import our_module, with_home

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

COMMAND = tuple(our_module("embedder.choosing.measure"))
_END_S = 5.0  # for a process to end once its stdin is closed
_SAID_MAX = 300


class Child:
    """One process of :mod:`embedder.choosing.measure`; a context manager that leaves none behind.

    Parameters
    ----------
    what : str
        What it holds, for messages: ``openvino bf16``.
    log : Path
        Where its stderr goes; the last line is quoted if it dies.
    """

    def __init__(self, what: str, log: Path) -> None:
        self._what, self._log = what, log
        self._lines: queue.Queue[str] = queue.Queue()
        with log.open("wb") as stderr:
            # A session of its own: Ctrl-C is for the one that asks, which then closes the pipe.
            self._process = subprocess.Popen(
                COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                encoding="utf-8",
                env=with_home(os.environ),
                start_new_session=True,
            )
        self._stdin = cast("IO[str]", self._process.stdin)
        threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True).start()

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ask(self, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Send one line and return the answer.

        Raises
        ------
        SonothequeError
            What the process raised; of its class and kind.
        Unavailable
            It crashed, or did not answer in time and was ended.
        """
        with suppress(BrokenPipeError):  # it is dead: the empty answer tells why
            self._stdin.write(json.dumps(request) + "\n")
            self._stdin.flush()
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty as error:
            self._process.kill()
            raise Unavailable(f"{self._what} did not answer within {timeout_s:g} s") from error
        if not line:
            raise Unavailable(f"{self._what} {self._end()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            told = answer["error"]
            raise CLASS_OF_KIND[told["kind"]](told["message"], kind=told["kind"])
        return answer

    def close(self) -> None:
        """End the process, by asking first."""
        with suppress(BrokenPipeError):
            self._stdin.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read(self, answers: IO[str]) -> None:
        with answers:
            for line in answers:
                self._lines.put(line)
        self._lines.put("")

    def _end(self) -> str:
        """Return how it ended, with its last words."""
        try:
            code = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:  # its pipe is closed and it lives on
            self._process.kill()
            code = self._process.wait()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        said = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"{how}: {said[-1].strip()[:_SAID_MAX]}" if said else how
