"""What each kind of job does, in its own process, by the same use cases as the command line."""

from __future__ import annotations

from typing import Any, Final

from cluster.estimate import PlanSummary
from cluster.sums import RunReport
from cluster.watcher import Progress
from search_api.boards.records import CANCELLED, FAILED, FINISHED
from search_api.boards.requests import APPLY, EMBED, INDEX, TRAIN
from search_api.boards.telling import Teller
from sonotheque.core.errors import Damaged

Done = tuple[str, dict[str, Any]]  # a state, and what came of it
_LISTED: Final = 50  # failures told in a job's result; the report lists all
_SUMS: Final = (
    *(
        "job",
        "files",
        "done",
        "skipped",
        "failed",
        "pending",
        "changed",
        "windows",
        "audio_s",
        "wall_s",
        "x_realtime",
        "bytes",
    ),
    *("snapshot", "workers", "device", "without_time", "failed_by_kind", "skipped_by_reason", "noted_by_status"),
)
_SCORED: Final = (
    *(
        "snapshot",
        "floor",
        "parts",
        "parts_held",
        "parts_scored",
        "parts_failed",
        "windows",
        "scores",
        "bytes",
        "wall_s",
    ),
    "windows_per_s",
)


def work(kind: str, root: str, request: dict[str, Any], teller: Teller) -> Done:
    """Do a job.

    Parameters
    ----------
    kind : str
    root : str
        The store.
    request : dict
        As :mod:`search_api.boards.requests` made it.
    teller : Teller
        Told of the progress.

    Returns
    -------
    state : str
        ``finished``, ``cancelled`` (an embedding that was asked to stop) or ``failed``.
    result : dict

    Raises
    ------
    SonothequeError
        What the use case raises.
    Damaged
        If there is no such kind.
    """
    kinds = {EMBED: _embed, TRAIN: _train, APPLY: _apply, INDEX: _index}
    if kind not in kinds:
        raise Damaged(f"the job's record says {kind!r}, which is no kind of job: it was changed after it was written")
    return kinds[kind](root, request, teller)


class _Looking:
    """Tells of an embedding as it goes."""

    def __init__(self, teller: Teller) -> None:
        self._teller = teller

    def looking(self, files: int) -> None:
        self._teller.tell("looking", files, None, None)  # how many there are is what is being found out

    def planned(self, plan: PlanSummary) -> None:
        self._teller.tell("starting", 0, plan.new, None, audio_s=0.0, audio_total_s=round(plan.new_audio_s, 1))

    def started(self, where: str) -> None:
        self._teller.note(f"running on {where}")

    def progress(self, progress: Progress) -> None:
        self._teller.tell(
            "embedding",
            progress.files,
            progress.files_total,
            progress.eta_s,
            windows=progress.windows,
            audio_s=round(progress.audio_s, 1),
            audio_total_s=round(progress.audio_total_s, 1),
            x_realtime=round(progress.current_x_realtime or progress.x_realtime, 1),
        )

    def note(self, text: str) -> None:
        self._teller.note(text)


def _embed(root: str, request: dict[str, Any], teller: Teller) -> Done:
    from cluster.options import EmbedOptions
    from cluster.resuming import resume
    from cluster.run import embed

    watcher = _Looking(teller)
    if (run := request.get("run")) is not None:
        return _ended(resume(root, watcher, job=int(run)))
    return _ended(embed(EmbedOptions.from_json(request["options"]), watcher))


def _ended(report: RunReport) -> Done:
    state = {"finished": FINISHED, "stopped": CANCELLED}.get(report.state, FAILED)
    return state, embed_result(report.to_json())


def embed_result(summary: dict[str, Any]) -> dict[str, Any]:
    """Return what a job tells of an embedding: counts, and the first failures."""
    found = {key: summary.get(key) for key in _SUMS}
    failures = list(summary.get("failures") or [])
    return found | {"failures": failures[:_LISTED], "problems": list(summary.get("problems") or [])[:_LISTED]}


def _train(root: str, request: dict[str, Any], teller: Teller) -> Done:
    from probes.experiment_files import experiment_from
    from search_api.probes.training import train_probe

    made = train_probe(root, experiment_from(request["experiment"]), progress=teller.stage)
    teller.stage("training", 1, 1)
    report = made["report"]
    macro = (report.get("test") or {}).get("macro") or {}
    told = {key: made[key] for key in ("name", "version", "in_use", "seconds")}
    return FINISHED, told | {"macro": macro, "notes": list(report.get("notes") or [])}


def _apply(root: str, request: dict[str, Any], teller: Teller) -> Done:
    from search_api.probes.applying import ApplyOptions, apply_stored
    from store import open_archive
    from store.scores import SCORE_FLOOR

    floor = request.get("floor")
    options = ApplyOptions(floor=SCORE_FLOOR if floor is None else float(floor))
    with open_archive(root) as archive:
        done = apply_stored(
            archive, request["probes"], options, progress=lambda done, total: teller.stage("scoring", done, total)
        )
    told = done.scoring.to_json()
    found = {key: told[key] for key in _SCORED}
    found["probes"] = [{"name": p["name"], "version": p["version"]} for p in told["probes"]]
    found["failures"] = [one["reason"] for one in told["failures"][:_LISTED]]
    found["not_scored"] = len(told["not_scored"])
    return FINISHED, found | {"notes": list(done.notes)}


def _index(root: str, request: dict[str, Any], teller: Teller) -> Done:
    from store import open_archive
    from store.index import build_index, describe, update_index

    with open_archive(root) as archive:
        build = request["action"] == "build"
        version = build_index(archive, None, teller.stage) if build else update_index(archive, teller.stage)
        return FINISHED, describe(archive, version).to_json()
