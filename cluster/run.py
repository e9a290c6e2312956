"""The main job: a folder of recordings becomes an embedding store."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from cluster.engine import require_engine
from cluster.estimate import PlanSummary, estimate
from cluster.inventory import Inventory, require_audio, take_inventory
from cluster.job import new_job, stop_on_signals, store_lock
from cluster.options import EmbedOptions
from cluster.roots import choose_root
from cluster.running import Run
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
from cluster.specs.placing import placed, require_runnable
from cluster.sums import RunReport
from cluster.watcher import Progress, Silent, Watcher
from sonotheque.core.places import is_object
from store import sweep_leftovers
from store.probing_fs import FileSystemFacts, probe_file_system
from store.state import state_root

__all__ = ["Prepared", "Progress", "Run", "Silent", "Watcher", "embed", "prepare", "require_work"]


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
        file_system = _probed(options.store, watcher)
        prepared = prepare(options, watcher)
        watcher.planned(prepared.plan)
        sweep_leftovers(options.store)
        job = new_job(options.store)
        run = Run(prepared, job, watcher, began, file_system)
        with stop_on_signals(job):
            return run.go()


def _probed(store: str, watcher: Watcher) -> FileSystemFacts | None:
    """Try out the store's file system before a long look at the recordings: one that cannot be written to is told at once.

    Parts of a store in an object store are put there by conditional requests, which need none of it.
    """
    if is_object(store):
        from store.objects import ObjectFileOps  # fsspec: for addresses alone

        ObjectFileOps(store).require_put_if_absent()
        watcher.note(
            f"jobs, catalog, index and annotations of {store} are kept on this machine, in {state_root(store)}"
        )
        return None
    found = probe_file_system(store)
    for note in found.notes(store):
        watcher.note(note)
    return found


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
    if not is_object(options.store) and not os.path.isdir(options.store):
        require_engine(options, settle_store(options))
        describer_of(options)
        require_audio(options.sources)
