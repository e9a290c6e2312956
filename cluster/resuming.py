"""Ask again for what an earlier job was asked for."""

from __future__ import annotations

from dataclasses import replace

from cluster.job import FINISHED, JobFolder, job_numbers
from cluster.options import EmbedOptions
from cluster.run import embed
from cluster.status import newest_of_each, require_job
from cluster.sums import RunReport
from cluster.watcher import Watcher
from sonotheque.core.errors import Conflict


def resume(
    store: str, watcher: Watcher | None = None, *, workers: int | None = None, job: int | None = None
) -> RunReport:
    """Ask again for what a job was asked for: the newest of those that did not finish, else the newest.

    Raises
    ------
    NotFound
        If there is no job of that number; the message names those there are.
    Conflict
        If the store has no job at all, or none that is asked for has readable settings.
    """
    numbers = job_numbers(store)
    if job is not None:
        require_job(store, job)
    open_ones = [j.number for j in newest_of_each(store) if j.state() != FINISHED]
    for number in [job] if job is not None else [*reversed(open_ones), *reversed(numbers)]:
        told = JobFolder(store, number).read_json("job.json")
        if "options" in told:
            options = replace(EmbedOptions.from_json(told["options"]), store=store)
            if workers is not None:
                options = replace(options, workers=workers, cluster=None)  # here, and not as a file says
            return embed(options, watcher)
    if not numbers:
        raise Conflict(f"{store} has no job to resume: `sonotheque embed RECORDINGS --store {store}` starts one")
    which = f"job {job}" if job is not None else f"any of its jobs ({', '.join(map(str, numbers))})"
    raise Conflict(
        f"{store}: the settings of {which} cannot be read, from job.json of its folder; nothing says what to resume. "
        f"`sonotheque embed RECORDINGS --store {store}` embeds what is missing"
    )
