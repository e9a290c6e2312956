"""Runs that die at a call of the file system: a process that forks one child for each of the calls it is given.

``python -m tests.cluster.dying_run SOURCE FOLDER FAULT N...`` embeds SOURCE into FOLDER/N, with the end of the process at call N:
``exit`` before the call had its effect (a write may have left half of its bytes), ``exit_after`` behind it. It prints, for each N, the
child's exit code and the call's name and file.
"""

from __future__ import annotations

import json
import math
import os
import sys
import traceback
from typing import Any

import cluster.heart
import cluster.run
import cluster.task
import store.catalog
import store.snapshots
from tests.cluster.support import options
from tests.store.faults import FaultyOps, everywhere

DEAD, THROUGH = 77, 0

__all__ = ["CLOCKED", "DEAD", "THROUGH", "DyingOps", "cluster", "store"]

# What a run writes by the clock, and an interval in which none of it is due: calls are addressed by number, and a slow run must not make
# more of them than a fast one. The first and the last beat and the word before a part's commit are written anyway.
CLOCKED = ((cluster.heart, "EVERY_S", 3600.0), (cluster.task, "_PROGRESS_EVERY_S", math.inf))


class DyingOps(FaultyOps):
    """FaultyOps that ends the process: no handler, no clean-up, as a kill would."""

    def __init__(self, fail_at: int, *, after: bool, answer: int) -> None:
        super().__init__(fail_at)
        self._after, self._answer = after, answer

    def step(self, name: str, effect: Any, torn: Any = None, path: str = "") -> Any:
        due = not self._nested and len(self.calls) == self.fail_at
        if not due:
            return super().step(name, effect, torn, path)
        self._nested = True
        if self._after:
            effect()
        elif torn is not None:
            torn()
        os.write(self._answer, json.dumps([name, path]).encode())
        os._exit(DEAD)


def one(source: str, folder: str, fault: str, number: int) -> tuple[int, list[str]]:
    """Run one child; returns its exit code, and the call it died at."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reading)
            with everywhere(DyingOps(number, after=fault == "exit_after", answer=writing)):
                cluster.run.embed(options(source, os.path.join(folder, str(number))))
            code = THROUGH
        except BaseException:  # noqa: BLE001 - a child of fork must end here, whatever happens
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), json.loads(told) if told else []


def main(source: str, folder: str, fault: str, numbers: list[int]) -> None:
    """Run them one after the other."""
    for module, name, never_s in CLOCKED:
        setattr(module, name, never_s)
    for number in numbers:
        code, call = one(source, folder, fault, number)
        sys.stdout.write(json.dumps({"n": number, "code": code, "call": call}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], [int(n) for n in sys.argv[4:]])
