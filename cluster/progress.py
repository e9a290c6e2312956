"""How far a part is: a small file that its task leaves in the job folder while it runs. For people to look at; no part depends on it."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any

from cluster.payload import TaskPayload
from store.fsops import LocalFileOps

_DISK = LocalFileOps()


def tell_progress(payload: TaskPayload, done: dict[str, Any]) -> None:
    """Replace a task's file at once, so that a reader sees whole words; a disk that refuses is left in peace."""
    target = str(payload.progress_file)
    temporary = f"{target}.{os.getpid()}"
    with contextlib.suppress(OSError):
        try:
            with _DISK.create(temporary) as file:
                file.write(json.dumps(done).encode("ascii"))
            _DISK.replace(temporary, target)
        finally:
            _DISK.unlink(temporary)


def forget_progress(payload: TaskPayload) -> None:
    """Remove a task's file: its part has ended. A part that is committed does not fail for that."""
    with contextlib.suppress(OSError):
        _DISK.unlink(str(payload.progress_file))
