"""Following a file that somebody writes to: whole lines, each once, also if it is not there yet or begins anew."""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path
from typing import Any

_CHUNK_BYTES = 1 << 20


class Tail:
    """The lines of a file, as they come.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rest = b""

    def new(self, *, last: int | None = None, to_the_end: bool = False) -> list[str]:
        """Return the whole lines that were written since the last call.

        Parameters
        ----------
        last : int, optional
            At most so many, the last ones.
        to_the_end : bool
            Take what stands at the end for a line although none ends it: nobody writes on.
        """
        found: deque[bytes] = deque(maxlen=last)
        try:
            with self._path.open("rb") as file:
                if file.seek(0, 2) < self._offset:  # it was cut or replaced
                    self._offset, self._rest = 0, b""
                file.seek(self._offset)
                while chunk := file.read(_CHUNK_BYTES):
                    self._offset += len(chunk)
                    *whole, self._rest = (self._rest + chunk).split(b"\n")
                    found.extend(whole)
        except OSError:  # not there yet, or not any more
            pass
        if to_the_end and self._rest:
            found.append(self._rest)
            self._rest = b""
        return [line.decode("utf-8", "replace").rstrip("\r") for line in found]


def event_of(line: str | bytes) -> dict[str, Any] | None:
    """Return the object of a line of JSON, as events and reports have them; None if a crash or a full disk left half of it."""
    try:
        told = json.loads(line)
    except ValueError:
        return None
    return told if isinstance(told, dict) else None
