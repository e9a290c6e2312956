"""One limited process that decodes, as its owner sees it: started, asked, ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from search_api.clip_rules import WINDOWS_MAX
from search_api.clip_worker import END, ERROR, FRAME, HEADER, READY, REQUEST, TEXT_MAX, WINDOW, error_of
from sonotheque.core.errors import KINDS, Invalid, Limit, Unavailable
from sonotheque.core.modules import our_module, with_home

_KEPT: Final = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR")
_START_S: Final = 60.0


class Gone(Exception):  # noqa: N818 - not an error of the tree: the pool turns it into one
    """The process ended by itself; ``asked`` tells whether it had been given the sound."""

    def __init__(self, why: str, *, asked: bool) -> None:
        super().__init__(why)
        self.asked = asked


class DecoderProcess:
    """A process that runs :mod:`search_api.clip_worker`. One caller at a time.

    Attributes
    ----------
    pid : int

    Raises
    ------
    OSError
        If no process can be made.
    """

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._connection = ours
        self._ready = False
        self._starting = threading.Lock()
        environment = with_home({name: os.environ[name] for name in _KEPT if name in os.environ})
        environment |= {
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "MALLOC_ARENA_MAX": "1",
        }
        try:
            with theirs:
                self._process = subprocess.Popen(
                    our_module("search_api.clip_worker", str(theirs.fileno())),
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env=environment,
                    start_new_session=True,  # Ctrl-C is the service's to answer
                )
        except BaseException:  # too many processes, say
            ours.close()
            raise
        self.pid = self._process.pid

    def wait_ready(self, seconds: float = _START_S) -> None:
        """Wait until it takes sounds; raises Gone if it ended, Unavailable if it takes too long, and is ended then."""
        with self._starting:
            if self._ready:
                return
            try:
                tag, _ = self._header(time.monotonic() + seconds)
            except Gone as gone:
                raise Gone(str(gone), asked=False) from gone
            except TimeoutError as late:
                self.kill()
                raise Unavailable(f"a process that decodes uploads did not start within {seconds:g} s") from late
            if tag != READY:
                self.kill()
                raise Gone("began with nonsense", asked=False)
            self._ready = True

    def decode(self, data: bytes, request: dict[str, Any], seconds: float) -> tuple[list[Window], dict[str, Any]]:
        """Return the windows of a sound, and what the decoder tells of it.

        Parameters
        ----------
        data : bytes
            The file.
        request : dict
            See :func:`search_api.clip_worker.main`.
        seconds : float
            Until the process is ended.

        Raises
        ------
        Gone
            If it crashed or was ended.
        Limit
            If it took too long; it was ended.
        Invalid, Limit
            What the decoder says of the sound.
        """
        self.wait_ready()
        until = time.monotonic() + seconds
        text = json.dumps({**request, "deadline_s": seconds}).encode("utf-8")
        with in_memory(data) as file:
            try:
                self._connection.settimeout(seconds)
                socket.send_fds(self._connection, [REQUEST.pack(len(text)) + text], [file])
            except OSError as error:
                raise Gone(self._how_it_ended(), asked=False) from error
            try:
                windows, failed, told = self._answer(int(request["rule"]["window_samples"]), until)
            except BaseException as error:
                # What is left of this answer would be taken for the beginning of the next one, which is another caller's.
                self.kill()
                if not isinstance(error, TimeoutError):
                    raise
                raise Limit(
                    f"{request['name']} was not decoded within {seconds:g} s: send a shorter piece of it"
                ) from error
        if failed:
            raise error_of(told, KINDS)
        return windows, told

    @property
    def alive(self) -> bool:
        """Whether it still runs and can be asked."""
        return self._process.poll() is None and self._connection.fileno() >= 0

    def kill(self) -> None:
        """End it, whatever it does."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        self._connection.close()

    def _answer(self, samples: int, until: float) -> tuple[list[Window], bool, dict[str, Any]]:
        """Read an answer to its end: windows, whether it is an error, and the words."""
        windows: list[Window] = []
        place = bytearray(WINDOW.size)
        while True:
            tag, size = self._header(until)
            if tag == FRAME and size == WINDOW.size + 4 * samples and len(windows) < WINDOWS_MAX:
                self._fill(memoryview(place), until)
                frame = np.empty(samples, np.float32)
                self._fill(frame.data.cast("B"), until)
                windows.append((*WINDOW.unpack(place), frame))
                continue
            if tag not in (END, ERROR) or size > TEXT_MAX:
                raise Gone("answered nonsense", asked=True)
            text = bytearray(size)
            self._fill(memoryview(text), until)
            try:
                told: dict[str, Any] = dict(json.loads(text))
            except (ValueError, TypeError) as error:
                raise Gone("answered nonsense", asked=True) from error
            return windows, tag == ERROR, told

    def _header(self, until: float) -> tuple[bytes, int]:
        head = bytearray(HEADER.size)
        self._fill(memoryview(head), until)
        tag, size = HEADER.unpack(head)
        return tag, size

    def _fill(self, buffer: memoryview, until: float) -> None:
        done = 0
        while done < len(buffer):
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._connection.settimeout(left)
            try:
                got = self._connection.recv_into(buffer[done:])
            except ConnectionError:
                got = 0
            if not got:
                raise Gone(self._how_it_ended(), asked=True)
            done += got

    def _how_it_ended(self) -> str:
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.kill()
            return "closed its connection"
        return f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"


Window = tuple[int, int, NDArray[np.float32]]


@contextlib.contextmanager
def in_memory(data: bytes) -> Iterator[int]:
    """Yield a file descriptor of bytes that has no name, so that nothing is left of it however a process ends."""
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("sonotheque-upload", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as opened:
            file = os.dup(opened.fileno())
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(file, view) :]
        yield file
    finally:
        os.close(file)


def crashed(name: str, why: str) -> Invalid:
    """Return the error of an upload whose decoder did not survive it."""
    return Invalid(
        f"{name} cannot be decoded: the decoder, which runs apart from the service, {why}", kind="unsupported_audio"
    )


__all__ = ["DecoderProcess", "Gone", "Window", "crashed", "in_memory"]
