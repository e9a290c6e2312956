"""The books of a run: what was planned, what came back, what that adds up to."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from cluster.job import FAILED, JobFolder, now_text
from cluster.payload import TaskPayload
from cluster.plan import Outline
from cluster.reading_back import read_committed
from cluster.report import ReportWriter, Tally, row, settled_rows
from cluster.task import peak_rss_bytes
from sonotheque.core.errors import Damaged, SonothequeError
from sonotheque.core.outcome import MEANING, Outcome, Status, TaskOutcome
from sonotheque.core.recording import printable_path
from store import Ledger, Snapshot, StoreConfig, write_snapshot
from store.catalog import open_catalog
from store.layout import EMBEDDINGS, part_name, part_path
from store.ledger import Part
from store.live import resolve_superseded

if TYPE_CHECKING:
    from cluster.run import Prepared

_TRANSIENT_TASK = "task_error"
_CHUNK = 1000


@dataclass(slots=True)
class RunReport:
    """The closing sum of a run; ``files = done + skipped + failed + pending``.

    Attributes
    ----------
    state : str
        ``finished``, ``stopped`` or ``failed``.
    files, done, skipped, failed, pending : int
        ``skipped`` counts files the store had already and files without enough sound; ``pending`` is not 0 only if the run
        did not finish.
    time_issues : dict
        Doubts about start times (``ISSUES`` of the recorders package) and how many files have each.
    skipped_by_reason, failed_by_kind, noted_by_status : dict
        ``noted``: files that are done and had something about them (truncated, silent ...).
    audio_s : float
        True seconds of the files done in this run; failed files are not in it.
    windows, bytes, bytes_per_window
        Written by this run.
    wall_s, startup_s, work_s, x_realtime, windows_per_s : float
        ``wall_s`` is everything, ``startup_s`` the part of it before the first task, ``work_s`` from there to the last commit;
        speeds are over ``wall_s``.
    stages, stage_shares : dict
        Seconds in decode, resample, infer and write over all workers, and their shares.
    peak_rss_bytes : dict
        ``workers`` (the largest one), ``coordinator``.
    failures, problems : list
        ``{path, kind, reason}`` of failed files; folders and links that could not be looked at.
    """

    state: str
    job: int
    store: str
    model: str
    device: str
    workers: int
    files: int
    done: int
    skipped: int
    failed: int
    pending: int
    audio_s: float
    windows: int
    wall_s: float
    startup_s: float
    work_s: float
    x_realtime: float
    windows_per_s: float
    bytes: int
    bytes_per_window: float
    parts: int
    snapshot: int
    store_windows: int
    changed: int
    without_time: int
    without_utc: int
    without_zone: int
    outside_deployments: int = 0
    deployments_unused: list[str] = field(default_factory=list)
    skipped_by_reason: dict[str, int] = field(default_factory=dict)
    failed_by_kind: dict[str, int] = field(default_factory=dict)
    noted_by_status: dict[str, int] = field(default_factory=dict)
    time_issues: dict[str, int] = field(default_factory=dict)
    stages: dict[str, float] = field(default_factory=dict)
    stage_shares: dict[str, float] = field(default_factory=dict)
    peak_rss_bytes: dict[str, int] = field(default_factory=dict)
    failures: list[dict[str, str]] = field(default_factory=list)
    problems: list[dict[str, str]] = field(default_factory=list)
    ended_at: str = ""

    @property
    def clean(self) -> bool:
        """Whether every file found is accounted for without a failure."""
        return self.state == "finished" and not self.failed and not self.problems and not self.pending

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return asdict(self)


class Books:
    """Keeps the report, the tally and the ledger of one run.

    Parameters
    ----------
    prepared : Prepared
    job : JobFolder
    """

    def __init__(self, prepared: Prepared, job: JobFolder) -> None:
        self._prepared, self._job = prepared, job
        self._tally = Tally(prepared.inventory.files)
        self._report: ReportWriter | None = None
        self._config: StoreConfig | None = prepared.settled.config
        self._places: dict[str, tuple[str, str | None]] = {}  # of the parts to come: site and date
        self._committed: dict[str, Part] = dict(prepared.settled.ledger.parts)
        self._sha256: dict[str, str] = {}
        self._snapshot: Snapshot | None = None
        self._given_up: set[str] = set()
        self.work_s = 0.0  # set when all parts have ended

    def open(self) -> None:
        """Begin the report with what is settled already."""
        self._report = ReportWriter(self._job.path)
        rows = settled_rows(self._prepared.options.store, self._prepared.inventory.settled)
        while chunk := list(islice(rows, _CHUNK)):
            self._write(chunk, settled=True)

    def planned(self, config: StoreConfig, parts: Iterable[Outline]) -> None:
        """Take down the parts to come."""
        self._config = config
        self._places = {p.part_id: (p.site, p.date) for p in parts}

    @property
    def pending(self) -> int:
        """Files that no task has ended yet."""
        return self._tally.files - sum(self._tally.outcomes.values())

    def take(self, outcome: TaskOutcome) -> None:
        """Book one part's outcome."""
        relative = part_path(EMBEDDINGS, *self._places[outcome.part_id], part_name(outcome.part_id))
        part = read_committed(self._prepared.options.store, relative)
        # What is kept of a part is kept ten thousand times: what a snapshot asks for, and no name twice.
        small = tuple(replace(f, detail=None) for f in part.files)
        self._committed[part.part_id] = replace(part, files=small, predictions_sha256=None)
        self._sha256[part.part_id] = outcome.sha256
        # If another attempt won, its ledger counts and not what this task found.
        seconds = {e["path"]: e["seconds"] for e in outcome.files}
        entries = [{**(f.detail or {}), "seconds": seconds.get(f.path, 0.0)} for f in part.files]
        self._tally.add_task(outcome)
        self._write(row(e, part.site, MEANING[Status(e["status"])].outcome) for e in entries)

    def give_up(self, payload: TaskPayload, error: Exception) -> None:
        """Book a part that no attempt could commit: its files failed in this run and will be tried by the next."""
        self._given_up.add(payload.part.part_id)
        reason = f"its part could not be committed: {error}"
        self._write(
            {
                **dict.fromkeys(("top_label", "top_score", "start"), ""),
                "path": printable_path(r.source.path),
                "outcome": str(Outcome.FAILED),
                "status": _TRANSIENT_TASK,
                "reason": reason,
                "site": r.site,
                "time_source": r.time.source,
                "time_issues": "; ".join(r.time.issues),
                "duration_s": round(r.audio_s, 3),
                "windows": 0,
                "seconds": 0.0,
            }
            for r in payload.part.recordings
        )

    def _write(self, rows: Iterable[dict[str, Any]], *, settled: bool = False) -> None:
        rows = list(rows)
        for one in rows:
            self._tally.add_row(one, settled=settled)
        if self._report:
            self._report.add(rows)

    def so_far(self) -> tuple[float, int, int]:
        """Return (audio_s, windows, files) done, parts in flight included."""
        tally = self._tally
        audio_s, windows = tally.audio_s, tally.windows
        files = tally.outcomes.total() - len(self._prepared.inventory.settled)
        for file in self._job.file("progress").glob("*.json"):
            if file.stem in self._sha256 or file.stem in self._given_up:
                continue
            try:
                told = json.loads(file.read_text(encoding="ascii"))
            except (OSError, ValueError):
                continue
            audio_s += told["audio_s"]
            windows += told["windows"]
            files += told["files"]
        return audio_s, windows, files

    def snapshot(self) -> Snapshot | None:
        """Write a snapshot of what is committed, so that readers see it."""
        if self._config is None:
            return None
        ledger = self._prepared.settled.ledger
        if self._sha256:  # something was committed since; a snapshot asks only for what is superseded
            ledger = Ledger(self._committed, {}, resolve_superseded(self._committed.values()))
        self._snapshot = write_snapshot(
            self._prepared.options.store,
            self._config,
            ledger,
            known_sha256=self._sha256,
            note=lambda text: self._job.event("trouble", text=text),
        )
        return self._snapshot

    def close(self, state: str, began: float, startup_s: float) -> RunReport:
        """Write the last snapshot, its catalog and ``summary.json``; return the sum."""
        if self._report:
            self._report.close()
        snapshot = self.snapshot()
        if state != FAILED:  # what ends a run by force ends it at once
            self._build_catalog(snapshot)
        report = self._sum(state, time.monotonic() - began, startup_s, snapshot)
        self._job.write_json("summary.json", report.to_json())
        return report

    def _build_catalog(self, snapshot: Snapshot | None) -> None:
        """Make the first question quick. The catalog is derived: without it that question makes it."""
        if snapshot is None or self._config is None:
            return
        try:
            open_catalog(self._prepared.options.store, self._config, snapshot)
        except (SonothequeError, OSError) as error:
            self._job.event("trouble", text=f"the catalog was not built: {error}")

    def _sum(self, state: str, wall_s: float, startup_s: float, snapshot: Snapshot | None) -> RunReport:
        tally, plan, options = self._tally, self._prepared.plan, self._prepared.options
        count = tally.outcomes
        stages = tally.stages.to_json()
        spent = sum(stages.values())
        if sum(count.values()) + self.pending != tally.files:
            raise Damaged(
                f"the report does not add up: {dict(count)} and {self.pending} pending of {tally.files} files"
            )
        return RunReport(
            state=state,
            job=self._job.number,
            store=options.store,
            model=plan.model,
            device=", ".join(tally.devices) or "",
            workers=max(len(tally.peaks), 1),
            files=tally.files,
            done=count[Outcome.DONE],
            skipped=count[Outcome.SKIPPED],
            failed=count[Outcome.FAILED],
            pending=self.pending,
            audio_s=round(tally.audio_s, 3),
            windows=tally.windows,
            wall_s=round(wall_s, 3),
            startup_s=round(startup_s, 3),
            work_s=round(self.work_s, 3),
            x_realtime=round(tally.audio_s / wall_s, 2),
            windows_per_s=round(tally.windows / wall_s, 2),
            bytes=tally.bytes_written,
            bytes_per_window=round(tally.bytes_written / tally.windows, 1) if tally.windows else 0.0,
            parts=len(self._sha256) + len(self._given_up),
            snapshot=snapshot.number if snapshot else 0,
            store_windows=snapshot.live_rows if snapshot else 0,
            changed=plan.changed,
            without_time=plan.without_time,
            without_utc=plan.without_utc,
            without_zone=plan.without_zone,
            outside_deployments=plan.outside_deployments,
            deployments_unused=plan.deployments_unused,
            skipped_by_reason=dict(tally.skipped),
            failed_by_kind=dict(tally.failed_kinds),
            noted_by_status=dict(tally.noted),
            time_issues=dict(tally.time_issues),
            stages={k: round(v, 3) for k, v in stages.items()},
            stage_shares={k.removesuffix("_s"): round(v / spent, 4) if spent else 0.0 for k, v in stages.items()},
            peak_rss_bytes={"workers": max(tally.peaks.values(), default=0), "coordinator": peak_rss_bytes()},
            failures=tally.failures,
            problems=plan.problems,
            ended_at=now_text(),
        )
