"""The note that a process leaves beside a store while it looks after its runs from outside: who it is, how far, and its output."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from cluster.processes import found, named
from store.fsops import LocalFileOps, put_over, store_errors

RECORD = "run-sites.json"  # beside the store, in a folder that is the keeper's own


@dataclass(frozen=True, slots=True)
class Keeper:
    """A process that embeds, verifies and reports, one after the other.

    Attributes
    ----------
    file : Path
        Its note.
    told : dict
        What the note says: ``host``, ``pid``, ``process_started``; ``stage``; ``log``, the file that its output goes to, or
        None; ``exit_code``, None until it has ended.
    """

    file: Path
    told: dict[str, Any]

    @property
    def process(self) -> psutil.Process | None:
        """The process, while it lives on this machine."""
        return found(self.told) if self.exit_code is None else None

    @property
    def stage(self) -> str:
        """What it does: ``embed``, ``verify``, ``report`` or ``done``."""
        return str(self.told.get("stage", ""))

    @property
    def exit_code(self) -> int | None:
        """What it ended with; None before, and if it was killed."""
        code = self.told.get("exit_code")
        return code if isinstance(code, int) else None

    @property
    def log(self) -> Path | None:
        """The file that its output goes to, if it was detached."""
        name = self.told.get("log")
        return self.file.parent / name if isinstance(name, str) else None

    @property
    def name(self) -> tuple[Any, Any]:
        """Tells one process from the next that writes the same note."""
        return self.told.get("pid"), self.told.get("process_started")

    def say(self, **facts: Any) -> Keeper:
        """Write the note anew, at once as a whole, and return it as it is now."""
        now = Keeper(self.file, {**self.told, **facts})
        here = str(self.file.parent)
        told = json.dumps(now.told, indent=1).encode()
        with store_errors(here):
            put_over(LocalFileOps(), here, f".{self.file.name}.{os.getpid()}", str(self.file), told, forced=False)
        return now


def new_keeper(folder: Path, *, store: Path, log: Path | None) -> Keeper:
    """Write this process's note into a folder.

    Parameters
    ----------
    folder : Path
    store : Path
        The store it looks after, in that folder.
    log : Path, optional
        Where its output goes, in that folder.
    """
    return Keeper(folder / RECORD, {}).say(
        **named(), store=store.name, log=log.name if log else None, stage="embed", exit_code=None
    )


def keeper_of(store: str) -> Keeper | None:
    """Return the note on a store, whether its writer lives or not; None if nobody left one."""
    here = Path(store).absolute()
    file = here.parent / RECORD
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return Keeper(file, told) if isinstance(told, dict) and told.get("store") == here.name else None
