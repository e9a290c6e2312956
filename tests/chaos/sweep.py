"""One seed: a run, what is done to it, what is started again, until it is through; and then the verdict."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections import deque
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from cluster.job import job_numbers
from cluster.status import job_report
from sonotheque.core.errors import EXIT_FILES_FAILED, EXIT_OK
from tests.chaos.deeds import Deed, deeds_of
from tests.chaos.judging import Verdict, judge
from tests.chaos.processes import Node, Stuck, end, until
from tests.chaos.stage import Stage
from tests.cluster.support import COMMAND, cli_env, living

_TICK_S = 0.008
_SEED_S = 240.0  # far above what any seed takes: beyond it something hangs
_STARTS_MAX = 12


@dataclass(slots=True)
class Trial:
    """One seed on its way.

    Attributes
    ----------
    told : list of dict
        Each deed that was done, with when it was.
    exits : list of int
        Exit codes of the coordinators, in order; negative: the signal that ended it.
    """

    stage: Stage
    seed: int
    told: list[dict[str, Any]] = field(default_factory=list)
    exits: list[int] = field(default_factory=list)
    _coordinator: subprocess.Popen[bytes] | None = None
    _jobs_before: int = 0
    _due_at: float | None = None
    _frozen: list[tuple[Deed, list[psutil.Process], float, str | None]] = field(default_factory=list)
    _doomed: list[psutil.Process] = field(default_factory=list)

    @property
    def store(self) -> Path:
        """The seed's store."""
        return self.stage.folder / f"seed{self.seed}"

    def go(self) -> dict[str, Any]:
        """Run it; what comes back is a row of the results."""
        began, cluster = time.monotonic(), self.stage.cluster
        deeds = deque(deeds_of(self.seed, self.stage.clean.parts))
        planned = len(deeds)
        # A node without a nanny is no part of the usual cluster: it is there for the seed that freezes one.
        bare = next((d.node for d in deeds if d.kind.whom == "bare"), None)
        before = dict(cluster.restarts)
        try:
            if bare is not None:
                cluster.exchange(bare, nanny=False)
            faults = self._until_through(deeds, began + _SEED_S)
        except Stuck as stuck:
            faults = [str(stuck)]
        finally:
            self._thaw(everything=True)
            if self._coordinator:
                end(self._coordinator)
        through_s = time.monotonic() - began
        faults += self._settle(bare)
        verdict = judge(self.store, self.stage.clean) if not faults else Verdict(faults)
        if not verdict.faults:
            shutil.rmtree(self.store)
        restarts = {name: number - before[name] for name, number in cluster.restarts.items()}
        return {
            "seed": self.seed,
            "deeds": self.told,
            "missed": planned - len(self.told),
            "restarts": {"coordinator": len(self.exits) - 1, **restarts},
            "exits": self.exits,
            **asdict(verdict),
            "through_s": round(through_s, 1),
            "took_s": round(time.monotonic() - began, 1),
            "verdict": "the same" if not verdict.faults else "not the same",
        }

    # ---- the loop -----------------------------------------------------------------------------------------------------

    def _until_through(self, deeds: deque[Deed], deadline: float) -> list[str]:
        chance = random.Random(f"starts {self.seed}")
        self._start(resume=False)
        while time.monotonic() < deadline:
            self.stage.cluster.mend()
            self._thaw()
            code = self._coordinator.poll() if self._coordinator else None
            if code is not None:
                self.exits.append(code)
                self._thaw(everything=True)  # what waits for a frozen node would wait for ever
                if self._through(code):
                    return []
                if len(self.exits) == _STARTS_MAX:
                    return [f"not through after {_STARTS_MAX} starts: exit codes {self.exits}"]
                self.stage.cluster.wait_whole()
                self._start(resume=chance.random() < 0.5)
            elif deeds and self._is_due(deeds[0]) and self._do(deeds[0]):
                deeds.popleft()
            time.sleep(_TICK_S)
        return [f"hangs: exit codes {self.exits}, frozen {self._frozen}, log in {self.store}.log"]

    def _start(self, *, resume: bool) -> None:
        words = ["embed", self.stage.recordings, "--model", "placeholder", "--scheduler", self.stage.cluster.address]
        if resume and self._jobs():
            words = ["resume"]
        words += ["--store", self.store]
        self._jobs_before, self._due_at = self._jobs(), None
        with Path(f"{self.store}.log").open("ab") as log:
            self._coordinator = subprocess.Popen(
                [*COMMAND, *map(str, words), "-q"], env=cli_env(), stdout=log, stderr=log, start_new_session=True
            )

    def _through(self, code: int) -> bool:
        """Tell whether nothing is left to do: the files that fail in a clean run, and no others, have failed."""
        if code not in (EXIT_OK, EXIT_FILES_FAILED):
            return False
        failed = sum(failed for failed, _ in self.stage.clean.statuses.values())
        told = job_report(str(self.store))
        return bool(told["failed"] == failed and told["pending"] == 0)

    def _jobs(self) -> int:
        return len(job_numbers(str(self.store)))

    # ---- moments ------------------------------------------------------------------------------------------------------

    def _is_due(self, deed: Deed) -> bool:
        """Tell whether a deed's moment is there: the run is at work, as far as planned, and what is to be hit has a part in hand."""
        if self._due_at is None:
            if self._jobs() > self._jobs_before and self._committed() >= deed.committed and self._at_work(deed):
                self._due_at = time.monotonic() + deed.after_s
            return False
        return time.monotonic() >= self._due_at

    def _committed(self) -> int:
        return sum(name.endswith(".parquet") for _, _, names in os.walk(self.store / "embeddings") for name in names)

    def _at_work(self, deed: Deed) -> bool:
        if deed.committed == self.stage.clean.parts:
            return True  # to be hit while it closes
        writers = self._writers()
        alive = {n.worker().pid for n in self.stage.cluster.nodes if n.worker()}  # type: ignore[union-attr]
        if deed.kind.whom in ("worker", "node", "nanny", "bare"):
            victim = self._node(deed).worker()
            return victim is not None and victim.pid in writers
        return bool(writers & alive)

    def _writers(self) -> set[int]:
        """Return the process ids of those who write, or wrote and died; a part's files are <part>.<host>.<pid>.<random>.<letter>."""
        try:
            names = [name.split(".") for name in os.listdir(self.store / "_tmp")]
        except FileNotFoundError:
            return set()
        return {int(words[-3]) for words in names if len(words) >= 5 and len(words[-1]) == 1}

    # ---- deeds --------------------------------------------------------------------------------------------------------

    def _node(self, deed: Deed) -> Node:
        return self.stage.cluster.nodes[deed.node]

    def _victims(self, deed: Deed) -> list[psutil.Process]:
        cluster, whom = self.stage.cluster, deed.kind.whom
        node = self._node(deed)
        workers = [w for n in cluster.nodes if (w := n.worker())]
        pids: dict[str, list[int]] = {
            "worker": [w.pid for w in [node.worker()] if w],
            "bare": [node.process.pid],
            "nanny": [node.process.pid],
            "node": [node.process.pid, *(w.pid for w in [node.worker()] if w)],
            "workers": [w.pid for w in workers],
            "scheduler": [cluster.scheduler.pid] if cluster.scheduler else [],
            "coordinator": [self._coordinator.pid] if self._coordinator else [],
        }
        found = []
        for pid in pids[whom]:
            with suppress(psutil.NoSuchProcess):
                found.append(psutil.Process(pid))
        return found

    def _do(self, deed: Deed) -> bool:
        """Do a deed; False if there is nothing to do it to, and nothing was touched: its next moment is waited for."""
        self._due_at = None
        by_address = deed.kind.what in ("segfault", "freeze_long")
        # Without its address a long freeze would pass for over at once: the scheduler knows no such worker.
        address = self.stage.cluster.address_of(self._node(deed)) if by_address else None
        victims = self._victims(deed)
        if not victims or (by_address and address is None):
            return False
        told = {**deed.to_json(), "at_committed": self._committed(), "job": self._jobs()}
        if deed.kind.what == "segfault":
            self.stage.cluster.segfault(str(address))
        else:
            number = signal.SIGKILL if deed.kind.what == "kill" else signal.SIGSTOP
            if number == signal.SIGKILL:
                self._doomed += [c for v in victims for c in [v, *v.children(recursive=True)]]
            for victim in victims:
                with suppress(psutil.NoSuchProcess):
                    victim.send_signal(number)
            if number == signal.SIGSTOP:
                self._frozen.append((deed, victims, time.monotonic() + deed.hold_s, address))
        self.told.append(told)
        return True

    def _thaw(self, *, everything: bool = False) -> None:
        for one in list(self._frozen):
            deed, victims, until, address = one
            if everything or self._thawed(deed, until, address):
                self._frozen.remove(one)
                for victim in victims:
                    with suppress(psutil.NoSuchProcess):
                        victim.send_signal(signal.SIGCONT)

    def _thawed(self, deed: Deed, until: float, address: str | None) -> bool:
        if deed.kind.what == "freeze":
            return time.monotonic() >= until
        if deed.late or time.monotonic() < until:
            return False  # it is thawed when the run has ended, however that is
        known = self.stage.cluster.known()
        return bool(known) and address not in known

    # ---- afterwards ---------------------------------------------------------------------------------------------------

    def _settle(self, bare: int | None) -> list[str]:
        """Wait until nothing writes any more: the cluster is whole and idle, and what was killed has left no child."""
        try:
            until(lambda: not living(self._doomed), "the end of what was killed, and of its children")
            if bare is not None:  # thawed, it has to get to the end of the part it was frozen in
                until(lambda: not self._writing(), "the end of the last parts")
                self.stage.cluster.exchange(bare, nanny=True)
            self.stage.cluster.wait_whole()
            until(lambda: not self._writing(), "the end of the last parts")
        except Stuck as stuck:
            return [str(stuck)]
        return []

    def _writing(self) -> bool:
        found = []
        for pid in self._writers():
            with suppress(psutil.NoSuchProcess):
                found.append(psutil.Process(pid))
        return bool(living(found))


def run_seed(stage: Stage, seed: int) -> dict[str, Any]:
    """Run one seed on a stage; a row of the results.

    Parameters
    ----------
    stage : Stage
    seed : int
    """
    return Trial(stage, seed).go()
