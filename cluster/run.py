"""The main job: a folder of recordings becomes an embedding store."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from cluster.backends import Backend, InProcessBackend
from cluster.coordinator import Coordinator
from cluster.engine import require_engine, settle_engine
from cluster.estimate import PlanSummary, estimate
from cluster.heart import Heart
from cluster.inventory import Inventory, require_audio, take_inventory
from cluster.job import (
    FAILED,
    FINISHED,
    STOPPED,
    JobFolder,
    heartbeat,
    new_job,
    stop_on_signals,
    store_lock,
)
from cluster.options import EmbedOptions
from cluster.payload import ModelChoice, TaskPayload
from cluster.plan import PartPlan, pack, part_target_s
from cluster.roots import choose_root
from cluster.settle import (
    SettledStore,
    describer_of,
    known_roots,
    notes_of,
    require_store_name,
    settle_store,
    settle_window_rule,
)
from cluster.specs.kinds import Cluster
from cluster.specs.placing import model_on_nodes, on_nodes, paths_of, placed, require_runnable
from cluster.sums import Books, RunReport
from cluster.watcher import Progress, Silent, Speedometer, Watcher
from sonotheque.core.errors import SonothequeError
from sonotheque.core.outcome import TaskOutcome
from store import StoreConfig, create_config, sweep_leftovers

__all__ = ["Prepared", "Progress", "Run", "Silent", "Watcher", "embed", "prepare", "require_work"]

_SNAPSHOT_EVERY_S = 300.0


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is known before a job exists."""

    options: EmbedOptions
    settled: SettledStore
    inventory: Inventory
    plan: PlanSummary
    cluster: Cluster | None = None


def prepare(options: EmbedOptions, watcher: Watcher | None = None) -> Prepared:
    """Look at sources and store, and plan; nothing is written.

    Raises
    ------
    SonothequeError
        No audio, a store of another model or with other settings, a damaged part, a wrong option.
    """
    watcher = watcher or Silent()
    options, cluster = placed(options)
    settled = settle_store(options)
    require_engine(options, settled)
    roots = known_roots(options.store) if settled.ledger.live else []
    root = choose_root(options.sources, options.root, [r for r, prefix in roots if prefix == options.prefix])
    describer = describer_of(settled.options)
    inventory = take_inventory(
        settled.options,
        root,
        describer,
        settled.ledger,
        known=roots,
        progress=watcher.looking,
    )
    rule, dim = settle_window_rule(settled)
    plan = estimate(
        inventory,
        store=options.store,
        model=settled.model,
        rule=rule,
        dim=dim,
        top_k=settled.top_k,
        dtype=settled.dtype,
        workers=None if options.scheduler and not cluster else max(1, options.workers),
        notes=notes_of(settled.options, len(inventory.settled)),
        deployments=describer.deployments,
    )
    return Prepared(settled.options, settled, inventory, plan, cluster)


def embed(options: EmbedOptions, watcher: Watcher | None = None) -> RunReport:
    """Embed what is missing or changed, and account for every file.

    Parameters
    ----------
    options : EmbedOptions
    watcher : Watcher, optional

    Returns
    -------
    RunReport
        Its counts add up to the inventory.

    Raises
    ------
    SonothequeError
        See :func:`prepare`; also disk full, workers lost, and what else ends a run. What was committed stays.
    """
    watcher = watcher or Silent()
    began = time.monotonic()
    require_work(options)
    with store_lock(options.store):
        prepared = prepare(options, watcher)
        watcher.planned(prepared.plan)
        sweep_leftovers(options.store)
        job = new_job(options.store)
        run = Run(prepared, job, watcher, began)
        with stop_on_signals(job):
            return run.go()


def require_work(options: EmbedOptions) -> None:
    """Look at sources and options before a store folder is made for them: a mistyped path must leave nothing behind.

    Raises
    ------
    SonothequeError
        What :func:`prepare` would find on its way to the first recording.
    """
    require_runnable(*placed(options))
    choose_root(options.sources, options.root, ())
    require_store_name(options.absolute().store)
    if not os.path.isdir(options.store):
        require_engine(options, settle_store(options))
        describer_of(options)
        require_audio(options.sources)


@dataclass(slots=True)
class Run:
    """One run of the main job, from plan to closing sum."""

    prepared: Prepared
    job: JobFolder
    watcher: Watcher
    began: float
    _snapshot_at: float = 0.0
    _work_began: float = 0.0
    _speed: Speedometer = field(default_factory=Speedometer)
    _books: Books = field(init=False)
    _heart: Heart = field(init=False)

    def go(self) -> RunReport:
        """Run it."""
        options, inventory = self.prepared.options, self.prepared.inventory
        self.job.file("progress").mkdir()
        self.job.write_json(
            "job.json", {"options": options.absolute().to_json(), "root": inventory.root, "prefix": options.prefix}
        )
        self.job.event("started", files=inventory.files, new=len(inventory.new))
        self._books = Books(self.prepared, self.job)
        try:
            with Heart(self.job) as self._heart:
                self._books.open()
                if inventory.new:
                    self._work()
                else:
                    self.job.write_plan(self._plan_lines([]))
            stopped = self.job.cancel_asked() and self._books.pending
        except BaseException as error:
            told = error.message if isinstance(error, SonothequeError) else repr(error)
            with contextlib.suppress(SonothequeError):  # what ended the run (a full disk ...) may well end this too
                self.job.event("ended by an error", error=told)
                self._close(FAILED)
            raise
        return self._close(STOPPED if stopped else FINISHED)

    def _close(self, state: str) -> RunReport:
        startup_s = self._work_began and self._work_began - self.began
        report = self._books.close(state, self.began, startup_s)
        heartbeat(self.job, state)
        self.job.event(state)
        return report

    def _work(self) -> None:
        options = self.prepared.options.absolute()
        choice = settle_engine(options, self.prepared.settled, self.watcher.note)
        self.job.event("engine", engine=choice.engine, precision=choice.precision)
        choice = model_on_nodes(choice, paths_of(self.prepared.cluster))
        backend = self._backend(choice)
        clean = False
        try:
            config = self._config(backend)
            self.watcher.started(backend.title)
            payloads = self._payloads(config, choice)
            self._work_began = time.monotonic()
            Coordinator(
                backend,
                self._done,
                self._books.give_up,
                self._note,
                self._tick,
                self.job.cancel_asked,
            ).run(payloads)
            self._books.work_s = time.monotonic() - self._work_began
            clean = True
        finally:
            backend.close(now=not clean)

    def _backend(self, choice: ModelChoice) -> Backend:
        options = self.prepared.options
        if options.workers == 0 and not options.scheduler:
            return InProcessBackend(choice)
        from cluster.dask_backend import DaskBackend

        return DaskBackend(
            choice,
            job=self.job.number,
            workers=options.workers,
            scheduler=options.scheduler,
            cluster=self.prepared.cluster,
        )

    def _config(self, backend: Backend) -> StoreConfig:
        spec = backend.start()
        config = self.prepared.settled.config_for(spec)
        return create_config(self.prepared.options.store, config)

    def _payloads(self, config: StoreConfig, choice: ModelChoice) -> list[TaskPayload]:
        inventory = self.prepared.inventory
        parts = list(pack(inventory.new, config.digest, part_target_s(inventory.audio_s)))
        self.job.write_plan(self._plan_lines(parts))
        self._books.planned(config, parts)
        store = self.prepared.options.absolute().store
        progress = str(JobFolder(store, self.job.number).file("progress"))
        decoders = self.prepared.options.decoders
        store, root, progress = (
            on_nodes(p, paths_of(self.prepared.cluster)) for p in (store, inventory.root, progress)
        )
        return [TaskPayload(store, config, part, root, inventory.prefix, choice, progress, decoders) for part in parts]

    def _plan_lines(self, parts: list[PartPlan]) -> Iterator[dict[str, Any]]:
        for part in parts:
            for recording in part.recordings:
                yield {**recording.to_json(), "part_id": part.part_id}
        for settled in self.prepared.inventory.settled:
            e = settled.entry
            yield {"path": e.path, "size_bytes": e.size_bytes, "mtime_ns": e.mtime_ns, "settled_in": settled.part_id}

    def _done(self, outcome: TaskOutcome) -> None:
        self._books.take(outcome)
        self.job.event("part", part=outcome.part_id, rows=outcome.rows, won=outcome.committed, wall_s=outcome.wall_s)
        now = time.monotonic()
        self._snapshot_at = self._snapshot_at or now
        if now - self._snapshot_at > _SNAPSHOT_EVERY_S:
            self._snapshot_at = now
            self._books.snapshot()

    def _note(self, text: str) -> None:
        self.job.event("trouble", text=text)
        self.watcher.note(text)

    def _tick(self) -> None:
        now = time.monotonic()
        audio_s, windows, files = self._books.so_far()
        plan = self.prepared.plan
        current = self._speed.read(now, audio_s)
        progress = Progress(files, plan.new, windows, audio_s, plan.new_audio_s, now - self._work_began, current)
        self.watcher.progress(progress)
        self._heart.tell(
            phase="embedding",
            files=files,
            files_total=plan.new,
            audio_s=round(audio_s, 1),
            audio_total_s=round(plan.new_audio_s, 1),
            windows=windows,
            x_realtime=round(current or progress.x_realtime, 1),
            eta_s=None if progress.eta_s is None else round(progress.eta_s),
        )
