"""A process that decodes uploads for another one and may do nothing else: ``python -m search_api.clip_worker FD``.

It gets a sound as an open file descriptor over a Unix socket, answers with windows, and keeps no state between two sounds. Memory, files
and processes are limited before the first one; a sound that crashes a decoder, or takes too long, ends this process alone. It imports
NumPy, libsndfile and the resampler, and neither a database nor a model.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import sys
import tempfile
from collections.abc import Container, Mapping
from typing import Any, Final

from search_api.clip_rules import WINDOWS_MAX, ClipBounds, too_many
from search_api.clip_sound import ClipWindows, open_clip
from sonotheque.core.errors import Damaged, Invalid, Limit, NotFound, SonothequeError, Unavailable
from sonotheque.core.windows import WindowRule

HEADER: Final = struct.Struct("<cI")  # tag, bytes that follow
WINDOW: Final = struct.Struct("<qq")  # start and valid samples; the frame follows as float32
REQUEST: Final = struct.Struct("<I")
READY, FRAME, END, ERROR = b"R", b"W", b"E", b"X"
TEXT_MAX: Final = 65_536
MEMORY_BYTES: Final = 1 << 30  # of addresses; 230 MB are there before the first sound
_FILES: Final = 32
_NOBODY: Final = 65_534
_ERRORS: Final = {kind.__name__: kind for kind in (Invalid, Limit, NotFound, Unavailable, Damaged)}


def main() -> None:
    """Serve until the other end goes away."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    with connection, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        _rehearse()
        confine()
        connection.sendall(HEADER.pack(READY, 0))
        while (asked := _receive(connection)) is not None:
            request, file = asked
            try:
                _answer(connection, request, file)
            finally:
                os.close(file)


def confine() -> None:
    """Give up what decoding does not need: other users' rights, memory, files, processes."""
    import resource

    if hasattr(os, "geteuid") and os.geteuid() == 0:  # nothing on the disk is needed any more
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
    for what, value in (
        ("RLIMIT_AS", MEMORY_BYTES),
        ("RLIMIT_FSIZE", 0),
        ("RLIMIT_CORE", 0),
        ("RLIMIT_NOFILE", _FILES),
        ("RLIMIT_NPROC", 0),
    ):
        if hasattr(resource, what):
            resource.setrlimit(getattr(resource, what), (value, value))


def error_of(told: Mapping[str, Any], kinds: Container[str]) -> SonothequeError:
    """Return the error that a worker told of; a kind that is none of ``kinds`` is left out."""
    kind = str(told.get("kind"))
    return _ERRORS.get(str(told.get("class")), Invalid)(str(told.get("message")), kind=kind if kind in kinds else None)


def _rehearse() -> None:
    """Decode a little silence: what is imported or allocated late is, before the limits."""
    data = bytes(2 * 12_000)
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF",
        36 + len(data),
        b"WAVE",
        b"fmt ",
        16,
        1,
        1,
        8_000,
        16_000,
        2,
        16,
        b"data",
        len(data),
    )
    with tempfile.TemporaryFile() as file:
        file.write(head + data)
        file.flush()
        rule = WindowRule(16_000, 32_000, 32_000, 16_000)
        for span in ((None, None), (0.1, 1.2)):
            for _ in open_clip(_path(file.fileno()), rule, name="silence", from_s=span[0], to_s=span[1]):
                pass


def _path(file: int) -> str:
    return f"/proc/self/fd/{file}" if os.path.isdir("/proc/self/fd") else f"/dev/fd/{file}"


def _receive(connection: socket.socket) -> tuple[dict[str, Any], int] | None:
    head, files, _, _ = socket.recv_fds(connection, REQUEST.size, 1)
    if not head or not files:
        return None
    head += _exactly(connection, REQUEST.size - len(head))
    request: dict[str, Any] = json.loads(_exactly(connection, REQUEST.unpack(head)[0]))
    return request, files[0]


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise BrokenPipeError
        data += piece
    return data


def _answer(connection: socket.socket, request: dict[str, Any], file: int) -> None:
    # Should the other end not end this process at its deadline, because it was ended itself, the alarm does.
    signal.setitimer(signal.ITIMER_REAL, float(request["deadline_s"]) + 2.0)
    try:
        _send_windows(connection, request, file)
    except SonothequeError as error:
        _tell(connection, ERROR, {"class": type(error).__name__, "kind": error.kind, "message": error.message})
    except MemoryError:
        message = f"{request['name']} needs more memory than an upload may: send a shorter piece of it"
        _tell(connection, ERROR, {"class": "Limit", "kind": "limit", "message": message})
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)


def _send_windows(connection: socket.socket, request: dict[str, Any], file: int) -> None:
    rule = WindowRule.from_json(request["rule"])
    bounds = ClipBounds(**{**request["bounds"], "flags": tuple(request["bounds"]["flags"])})
    windows = open_clip(
        _path(file),
        rule,
        name=request["name"],
        channels=request["channels"],
        from_s=request["from_s"],
        to_s=request["to_s"],
        bounds=bounds,
    )
    size = WINDOW.size + 4 * rule.window_samples
    for number, (start, valid, frame) in enumerate(windows, 1):
        if number > WINDOWS_MAX:
            raise too_many(request["name"], rule.window_s, bounds.flags)
        connection.sendall(HEADER.pack(FRAME, size) + WINDOW.pack(start, valid))
        connection.sendall(frame.data)
    _tell(connection, END, _end(windows))


def _end(windows: ClipWindows) -> dict[str, Any]:
    summary = windows.summary
    return {
        "status": summary.status.value,
        "reason": summary.reason[:2000],
        "sample_rate_hz": windows.sample_rate_hz,
        "channels": windows.channels,
        "declared_frames": summary.declared_frames,
        "decoded_frames": summary.decoded_frames,
        "duration_s": summary.duration_s,
        "container": summary.container,
        "codec": summary.codec,
        "first_s": windows.first_s,
        "left_s": windows.left_s,
        "notes": windows.notes,
    }


def _tell(connection: socket.socket, tag: bytes, value: dict[str, Any]) -> None:
    text = json.dumps(value).encode("utf-8")[:TEXT_MAX]
    connection.sendall(HEADER.pack(tag, len(text)) + text)


if __name__ == "__main__":
    main()
