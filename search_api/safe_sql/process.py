"""The service's end of a query's process: started, asked with a deadline, killed."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from search_api.safe_sql.frames import packed, read_frame
from search_api.safe_sql.limits import SqlLimits
from sonotheque.core import errors
from sonotheque.core.errors import Limit, SonothequeError, Unavailable

_ENVIRONMENT: Final = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # mimalloc takes a gigabyte of address space before anything is read
    "MALLOC_ARENA_MAX": "2",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
}
_REPLY_MAX: Final = 64 << 20
_GONE: Final = "the process for SQL is gone; ask again in a moment"


class QueryProcess:
    """One process; asked by one caller at a time. Its pipes are read in a thread, so that it serves any event loop.

    Attributes
    ----------
    held : dict
        Layer -> what held, as :func:`search_api.safe_sql.jail.enter` tells it.
    folders : tuple of str
        What it may read.
    retire : bool
        Whether it is not to be asked again.
    """

    def __init__(self, process: subprocess.Popen[bytes], folders: tuple[str, ...]) -> None:
        self._process = process
        self.folders = folders
        self.held: dict[str, str] = {}
        self.retire = False

    @classmethod
    async def begin(cls, limits: SqlLimits, folders: tuple[str, ...]) -> QueryProcess:
        """Start a process that may read some folders.

        Raises
        ------
        Unavailable
            If it is not ready in time.
        """
        start = {"limits": asdict(limits), "data": folders, "code": code_folders()}
        made = cls(await asyncio.to_thread(_started, json.dumps(start)), folders)
        try:
            ready, _ = await asyncio.wait_for(asyncio.to_thread(made._reply), limits.start_s)
        except BaseException as error:
            made.end()
            if not isinstance(error, TimeoutError | SonothequeError):
                raise
            raise Unavailable("a process for SQL could not be started; the service's log tells more") from error
        made.held = ready["held"]
        return made

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether it is there and fit to be asked."""
        return not self.retire and self._process.poll() is None

    async def ask(self, message: dict[str, Any], body: bytes = b"") -> tuple[dict[str, Any], bytes]:
        """Send a message and return the reply.

        Raises
        ------
        SonothequeError
            What the other end raised.
        Limit
            If the process died of it.
        """
        header, rows = await asyncio.to_thread(self._asked, packed(message, body))
        self.retire |= bool(header.get("retire"))
        if failed := header.get("failed"):
            self.retire |= failed == "Limit"
            raise getattr(errors, str(failed))(header["message"], kind=header["kind"])
        return header, rows

    def end(self) -> None:
        """Kill it. Whoever waits for its reply finds the pipe closed."""
        self.retire = True
        self._process.kill()
        self._process.wait()

    def _asked(self, message: bytes) -> tuple[dict[str, Any], bytes]:
        pipe = self._process.stdin
        if pipe is None:
            raise Unavailable(_GONE)
        try:
            pipe.write(message)
            pipe.flush()
        except (OSError, ValueError) as error:
            self.retire = True
            raise Unavailable(_GONE) from error
        return self._reply()

    def _reply(self) -> tuple[dict[str, Any], bytes]:
        pipe = self._process.stdout
        if pipe is None:
            raise Unavailable(_GONE)
        found = read_frame(pipe, _REPLY_MAX)
        if found is None:
            self.retire = True
            raise Limit(
                "the query was stopped: it needs more memory or time than a query may take; narrow it, or aggregate earlier"
            )
        return found


def _started(settings: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "search_api.safe_sql.worker", settings],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**_ENVIRONMENT, "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd="/",
        start_new_session=True,  # Ctrl-C is the service's to handle
    )


def code_folders() -> list[str]:
    """Return where Python, its libraries and this program lie; all that a process reads besides the archive."""
    here = Path(__file__).parents[2]
    places = [sys.prefix, sys.base_prefix, os.path.dirname(os.path.realpath(sys.executable))]
    places += [str(here / "search_api"), str(here / "sonotheque")]
    found = (find_spec(name) for name in ("duckdb", "pyarrow", "numpy"))  # wherever they are installed
    places += [str(Path(spec.origin).parents[1]) for spec in found if spec and spec.origin]
    places += ["/usr/lib", "/usr/lib64", "/usr/local/lib", "/lib", "/lib64", "/usr/share/zoneinfo", "/etc/ld.so.cache"]
    return list(dict.fromkeys(os.path.realpath(p) for p in places if os.path.exists(p)))


def all_folders(folders: Sequence[str]) -> tuple[str, ...]:
    """Return folders as the kernel knows them, each once."""
    return tuple(sorted({os.path.realpath(folder) for folder in folders if os.path.isdir(folder)}))
