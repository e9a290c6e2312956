"""Jobs of SLURM and PBS, submitted and cancelled by dask-jobqueue with the script that a dry run shows."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, cast

from dask_jobqueue.pbs import PBSJob
from dask_jobqueue.slurm import SLURMJob

from cluster.launching.keeping import Phase, Place, State
from cluster.specs.kinds import Batch, Pbs, Slurm
from cluster.specs.script import pbs_script, slurm_script

_ASK_S: Final = 60
_KILL_S: Final = 5
_PENDING: Final = {
    "PENDING",
    "CONFIGURING",
    "REQUEUED",
    "REQUEUE_HOLD",
    "SPECIAL_EXIT",
    "SUSPENDED",
    "Q",
    "H",
    "W",
    "T",
    "S",
}
_OVER: Final = {
    "F",
    "C",
    "X",
    "COMPLETED",
    "CANCELLED",
    "FAILED",
    "TIMEOUT",
    "NODE_FAIL",
    "PREEMPTED",
    "OUT_OF_MEMORY",
    "DEADLINE",
}


class _Ours:
    """What both kinds of job have: our script in place of dask-jobqueue's."""

    job_id: str | None

    def __init__(self, script: str, *args: Any, **more: Any) -> None:
        self._script_text = script  # before the rest: PBS's asks for it at once
        super().__init__(*args, **more)

    def job_script(self) -> str:
        """Return the script that is submitted."""
        return self._script_text

    @property
    def title(self) -> str:
        """See :class:`~cluster.launching.keeping.Place`."""
        return f"job {self.job_id or '(not submitted)'}"

    async def open(self) -> None:
        """Submit it."""
        await cast(Any, self).start()

    async def shut(self) -> None:
        """Cancel it; a batch system that does not answer ends it at its walltime."""
        try:
            await asyncio.wait_for(cast(Any, self).close(), _ASK_S)
        except (OSError, TimeoutError):  # gone already, or the command is
            return


class SlurmJob(_Ours, SLURMJob):
    """A job of SLURM."""


class PbsJob(_Ours, PBSJob):
    """A job of PBS."""


def makers_of(cluster: Batch) -> list[Callable[[], Place]]:
    """Return what makes each job of a cluster file."""
    job, script = (
        (SlurmJob, slurm_script(cluster)) if isinstance(cluster, Slurm) else (PbsJob, pbs_script(cast(Pbs, cluster)))
    )

    def make() -> Place:
        # Numbers that dask-jobqueue wants for a script of its own; ours has them already.
        made = job(
            script,
            cluster.scheduler,
            name="sonotheque",
            cores=cluster.workers * cluster.threads,
            memory=str(cluster.memory or 1 << 30),
            processes=cluster.workers,
        )
        return cast(Place, made)

    return [make] * cluster.jobs


def watcher_of(cluster: Batch) -> Callable[[Sequence[Place]], Any]:
    """Return what asks the batch system for the states of jobs, all in one question."""
    command = _asks(cluster)
    read = read_squeue if isinstance(cluster, Slurm) else read_qstat
    known: dict[str, State] = {}

    async def watch(places: Sequence[Place]) -> list[State]:
        ids = [str(cast(Any, place).job_id) for place in places]
        if not ids:
            return []
        told = await _ask([*command, *ids] if isinstance(cluster, Pbs) else command)
        if told is None:  # the batch system does not answer: nothing has changed as far as anybody knows
            return [known.get(i, State(Phase.WAITING, "the queue does not answer")) for i in ids]
        found = read(told)
        known.clear()
        known.update({i: found.get(i, State(Phase.ENDED)) for i in ids})
        return [known[i] for i in ids]

    return watch


def read_squeue(text: str) -> dict[str, State]:
    """Return job -> state, of lines ``id|STATE|reason``."""
    found = {}
    for line in text.splitlines():
        job, _, rest = line.strip().partition("|")
        word, _, reason = rest.partition("|")
        if word:
            found[job] = State(_phase(word), f"{word} ({reason})" if reason and reason != "None" else word)
    return found


def read_qstat(text: str) -> dict[str, State]:
    """Return job -> state, of the table that ``qstat`` prints: the state is the last but one column."""
    found = {}
    for line in text.splitlines():
        columns = line.split()
        if len(columns) >= 3 and (number := re.match(r"\d+", columns[0])):
            found[number.group()] = State(_phase(columns[-2]), f"{columns[-2]} in {columns[-1]}")
    return found


def _phase(word: str) -> Phase:
    if word in _OVER:
        return Phase.ENDED
    return Phase.WAITING if word in _PENDING else Phase.RUNNING


def _asks(cluster: Batch) -> list[str]:
    if isinstance(cluster, Slurm):
        return ["squeue", "--me", "--noheader", "--format=%i|%T|%r"]
    return ["qstat"]


async def _ask(command: list[str]) -> str | None:
    """Return what a command prints; None if it fails to answer."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=os.environ | {"LC_ALL": "C"}
        )
    except OSError:
        return None
    try:
        out, err = await asyncio.wait_for(process.communicate(), _ASK_S)
    except (OSError, TimeoutError):
        return None
    finally:
        await _kill(process)
    # qstat also fails when one of the jobs is known no more; that is an answer.
    gone = b"Unknown Job" in err or b"has finished" in err
    return out.decode(errors="replace") if process.returncode == 0 or gone else None


async def _kill(process: asyncio.subprocess.Process) -> None:
    """End a question that nobody waits for any more: one that hangs would stay, and each later one beside it."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.kill()
    with suppress(TimeoutError):  # one that hangs in a file system takes no signal; the jobs are looked at all the same
        await asyncio.wait_for(process.wait(), _KILL_S)
