"""One run of the main job: from a plan to its closing sum."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cluster.backends import Backend, InProcessBackend, StopAsked
from cluster.coordinator import Coordinator
from cluster.engine import settle_engine
from cluster.heart import Heart
from cluster.job import FAILED, FINISHED, STOPPED, JobFolder, heartbeat
from cluster.machine import machine_facts
from cluster.payload import ModelChoice, TaskPayload
from cluster.plan import Outline, Packed, part_target_s
from cluster.specs.placing import model_on_nodes, on_nodes, paths_of
from cluster.sums import Books, RunReport
from cluster.watcher import Progress, Speedometer, Watcher
from sonotheque.core.errors import SonothequeError
from sonotheque.core.outcome import TaskOutcome
from store import StoreConfig, create_config
from store.probing_fs import FileSystemFacts

if TYPE_CHECKING:
    from cluster.run import Prepared

_SNAPSHOT_EVERY_S = 300.0


@dataclass(slots=True)
class Run:
    """One run of the main job, from plan to closing sum."""

    prepared: Prepared
    job: JobFolder
    watcher: Watcher
    began: float
    file_system: FileSystemFacts | None = None
    _snapshot_at: float = 0.0
    _work_began: float = 0.0
    _speed: Speedometer = field(default_factory=Speedometer)
    _books: Books = field(init=False)
    _heart: Heart = field(init=False)

    def go(self) -> RunReport:
        """Run it."""
        options, inventory = self.prepared.options, self.prepared.inventory
        self.job.make_progress()
        machine, file_system = machine_facts(), self.file_system and self.file_system.to_json()
        self.job.write_json(
            "job.json",
            {
                "options": options.absolute().to_json(),
                "root": inventory.root,
                "prefix": options.prefix,
                "machine": machine,
                "file_system": file_system,
            },
        )
        self.job.event("machine", **machine)
        if file_system:
            self.job.event("file system", **file_system)
        self.job.event("started", files=inventory.files, new=len(inventory.new))
        self._books = Books(self.prepared, self.job)
        with contextlib.ExitStack() as beating:
            try:
                self._heart = beating.enter_context(Heart(self.job))
                self._books.open()
                if inventory.new:
                    with contextlib.suppress(StopAsked):  # while a cluster's jobs still waited in their queue
                        self._work()
                else:
                    self.job.write_plan(self._plan_lines([]))
                stopped = self.job.cancel_asked() and self._books.pending
                report = self._close(STOPPED if stopped else FINISHED, beating)
            except BaseException as error:
                told = error.message if isinstance(error, SonothequeError) else repr(error)
                # What ended the run (a full disk) may end this too.
                passing = contextlib.suppress(SonothequeError, OSError)
                with passing:
                    self.job.event("ended by an error", error=told)
                    self._close(FAILED, beating)
                beating.close()
                with passing:
                    # Also if there is no closing sum: nobody must take it for a run at work.
                    heartbeat(self.job, FAILED)
                raise
        return report

    def _close(self, state: str, beating: contextlib.ExitStack) -> RunReport:
        startup_s = self._work_began and self._work_began - self.began
        # The heart beats meanwhile: the snapshot and the catalog of a large store take minutes.
        report = self._books.close(state, self.began, startup_s)
        beating.close()  # the last beat is the one below
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
            note=self._of_cluster,
            stop_asked=self.job.cancel_asked,
        )

    def _config(self, backend: Backend) -> StoreConfig:
        spec = backend.start()
        config = self.prepared.settled.config_for(spec)
        return create_config(self.prepared.options.store, config)

    def _payloads(self, config: StoreConfig, choice: ModelChoice) -> Iterator[TaskPayload]:
        inventory = self.prepared.inventory
        parts = Packed(inventory.new)
        self.job.write_plan(self._plan_lines(parts.outline(config.digest, part_target_s(inventory.audio_s))))
        self._books.planned(config, parts.outlines)
        store = self.prepared.options.absolute().store
        progress = str(JobFolder(store, self.job.number).file("progress"))
        decoders = self.prepared.options.decoders
        store, root, progress = (
            on_nodes(p, paths_of(self.prepared.cluster)) for p in (store, inventory.root, progress)
        )
        return (TaskPayload(store, config, part, root, inventory.prefix, choice, progress, decoders) for part in parts)

    def _plan_lines(self, parts: Iterable[Outline]) -> Iterator[dict[str, Any] | str]:
        inventory = self.prepared.inventory
        for part in parts:
            for number in part.numbers:
                yield inventory.new.line(number, part.part_id)
        for settled in inventory.settled:
            e = settled.entry
            yield {"path": e.path, "size_bytes": e.size_bytes, "mtime_ns": e.mtime_ns, "settled_in": settled.part_id}

    def _done(self, outcome: TaskOutcome) -> None:
        self._books.take(outcome)
        self.job.event(
            "part",
            part=outcome.part_id,
            rows=outcome.rows,
            bytes=outcome.bytes_written,
            won=outcome.committed,
            wall_s=outcome.wall_s,
        )
        now = time.monotonic()
        self._snapshot_at = self._snapshot_at or now
        if now - self._snapshot_at > _SNAPSHOT_EVERY_S:
            self._snapshot_at = now
            self._publish()

    def _publish(self) -> None:
        """Let readers see what is committed so far. The run does not end if that is not possible now: the next snapshot holds all."""
        try:
            self._books.snapshot()
        except (SonothequeError, OSError) as error:
            self._note(f"the snapshot was not written, the next is tried in {_SNAPSHOT_EVERY_S:g} s: {error}")

    def _of_cluster(self, text: str) -> None:
        self.job.event("cluster", text=text)
        self.watcher.note(text)

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
