"""What is done to a run, and when: pure, and the same for a seed on any machine."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from typing import Any

NODES = 2


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to disturb a run.

    Attributes
    ----------
    what : str
        ``kill`` (SIGKILL), ``freeze`` (SIGSTOP, and SIGCONT a moment later), ``freeze_long`` (SIGCONT only after the scheduler has
        given the worker up), ``segfault`` (a null pointer is read in the worker, by Dask's own ``KillWorker``).
    whom : str
        ``worker``, ``nanny``, ``node`` (nanny and worker at once: a machine that is lost), ``workers`` (all of them at once),
        ``bare`` (a worker without a nanny), ``scheduler``, ``coordinator``.
    """

    what: str
    whom: str

    def __str__(self) -> str:
        return f"{self.what} {self.whom}"


# The first deed of seed n is number n modulo their count: 13 seeds in a row have them all. The two that have to wait for the
# scheduler to give a worker up (5 s; Dask allows no less) stand alone.
KINDS = (
    Kind("kill", "worker"),
    Kind("kill", "coordinator"),
    Kind("kill", "nanny"),
    Kind("freeze", "worker"),
    Kind("segfault", "worker"),
    Kind("freeze", "coordinator"),
    Kind("kill", "node"),
    Kind("kill", "workers"),
    Kind("freeze", "nanny"),
    Kind("kill", "scheduler"),
    Kind("freeze", "scheduler"),
    Kind("freeze_long", "worker"),
    Kind("freeze_long", "bare"),
)
_FURTHER = tuple(k for k in KINDS if k.what != "freeze_long")


@dataclass(frozen=True, slots=True)
class Deed:
    """One disturbance of a plan.

    Attributes
    ----------
    kind : Kind
    node : int
        Which of the nodes, where it is one.
    committed : int
        Done as soon as so many parts are in the store and another is being written.
    after_s : float
        And so long after that: less than a part takes, so that it hits any stage of one.
    hold_s : float
        How long a short freeze lasts.
    late : bool
        A long freeze ends when the run has ended, not when the scheduler has given the worker up.
    """

    kind: Kind
    node: int
    committed: int
    after_s: float
    hold_s: float
    late: bool

    def to_json(self) -> dict[str, Any]:
        """Return what a result tells of it."""
        return {**asdict(self), "kind": str(self.kind)}


def deeds_of(seed: int, parts: int) -> list[Deed]:
    """Return what seed ``seed`` does to a run of ``parts`` parts, in order.

    Parameters
    ----------
    seed : int
        Not below 0.
    parts : int
        Parts of a clean run.
    """
    chance = random.Random(f"chaos {seed}")
    first = KINDS[seed % len(KINDS)]
    more = chance.choice((0, 0, 1, 1, 2)) if first.what != "freeze_long" else 0  # which takes up the rest of the run
    kinds = [first, *chance.choices(_FURTHER, k=more)]
    found: list[Deed] = []
    committed = chance.randrange(parts // 2)
    for kind in kinds:
        closing = str(kind) == "kill coordinator" and chance.random() < 0.25  # while it writes the snapshot and its sum
        found.append(
            Deed(
                kind,
                chance.randrange(NODES),
                parts if closing else min(committed, parts - 3),
                round(chance.uniform(0.0, 0.08), 3),
                round(chance.uniform(0.1, 0.8), 3),
                chance.random() < 0.5,
            )
        )
        if closing:
            break  # nothing comes after it
        committed += 1 + chance.randrange(parts // 5)
    return found
