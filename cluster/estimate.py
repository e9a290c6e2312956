"""What a run will cost, before it starts: windows, disk, time."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from cluster.inventory import Inventory
from cluster.job import JobFolder, job_numbers
from cluster.plan import part_target_s
from embedder.recorders import DeploymentTable
from sonotheque.core.windows import WindowRule

# True seconds of audio a second, one worker on one core; first guesses, replaced by this store's own last run.
# birdnet_v2.4: benchmarks/results; perch: 135-165 ms for 5 s on two threads, stand-in graph.
FIRST_GUESS_X_REALTIME = {"birdnet_v2.4": 80.0, "perch_v2": 18.0, "perch_v1": 25.0, "placeholder": 2000.0}
_VECTOR_SHARE = 0.95  # zstd on float16 vectors, measured on random-like data
_ROW_BYTES = 50  # identity, times and the ledger's share
_PREDICTION_BYTES = 12


@dataclass(frozen=True, slots=True)
class PlanSummary:
    """What ``--dry-run`` shows.

    Attributes
    ----------
    files, new, settled, changed : int
        Found; to be embedded; already in the store; of the new, those that replace an older version.
    audio_s, new_audio_s : float
        Of all files, and of those to be embedded, as the headers say.
    parts, windows, bytes : int
        Estimates for the new files.
    wall_s : float
        Estimated time; ``speed_from`` says where the speed comes from.
    without_time, without_utc, without_zone : int
        New files whose start is unknown; whose offset from UTC is; whose local time is the recorder's clock for want of a zone.
    notes : list of str
        What else a person should know before it starts.
    sites : dict
        New files by site.
    outside_deployments, deployments_unused
        With a deployments table: new files that match no deployment, and deployments that no file matches.
    problems : list
        Folders and links that could not be looked at.
    """

    files: int
    new: int
    settled: int
    changed: int
    audio_s: float
    new_audio_s: float
    parts: int
    windows: int
    bytes: int
    wall_s: float
    speed_from: str
    without_time: int
    without_utc: int
    without_zone: int
    notes: list[str]
    sites: dict[str, int]
    outside_deployments: int
    deployments_unused: list[str]
    problems: list[dict[str, str]]
    root: str
    model: str

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return asdict(self)


def estimate(
    inventory: Inventory,
    *,
    store: str,
    model: str,
    rule: WindowRule,
    dim: int,
    top_k: int,
    dtype: str,
    workers: int | None,
    notes: list[str],
    deployments: DeploymentTable | None = None,
) -> PlanSummary:
    """Return the plan's summary."""
    rate = rule.sample_rate_hz * rule.rate_factor
    windows = sum(rule.count(round(audio_s * rate)) for audio_s in inventory.new.audio_s)
    each = dim * (2 if dtype == "float16" else 4) * _VECTOR_SHARE + _ROW_BYTES + top_k * _PREDICTION_BYTES
    speed, source = _speed(store, model, rule, workers)
    target_s = part_target_s(inventory.audio_s)
    new_s = sum(inventory.new.audio_s)
    return PlanSummary(
        files=inventory.files,
        new=len(inventory.new),
        settled=len(inventory.settled),
        changed=inventory.changed,
        audio_s=inventory.audio_s,
        new_audio_s=new_s,
        parts=_parts(inventory, target_s),
        windows=windows,
        bytes=round(windows * each),
        wall_s=new_s / speed,
        speed_from=source,
        without_time=inventory.new.without_time,
        without_utc=inventory.new.without_utc,
        without_zone=inventory.new.without_zone,
        notes=notes,
        sites=inventory.new.sites(),
        outside_deployments=inventory.new.without_deployment if deployments else 0,
        deployments_unused=[d.id for d in deployments.unused()] if deployments and not inventory.settled else [],
        problems=[{"path": p.path, "reason": p.reason} for p in inventory.problems],
        root=inventory.root,
        model=model,
    )


def _parts(inventory: Inventory, target_s: float) -> int:
    lengths = inventory.new.audio_s
    held = (sum(lengths[number] for number in numbers) for _, _, numbers in inventory.new.places())
    return sum(max(1, round(seconds / target_s)) for seconds in held)


def _speed(store: str, model: str, rule: WindowRule, workers: int | None) -> tuple[float, str]:
    """Return x-realtime (of true seconds) expected of so many workers, and where that comes from.

    ``workers`` None: those of a running cluster, of which nothing is known but what the last run had.
    """
    for number in reversed(job_numbers(store)):
        past = JobFolder(store, number).read_json("summary.json")
        # A store has one window rule, so a past speed has overlap and time expansion in it already.
        if past.get("model") == model and past.get("audio_s", 0) > 600 and past.get("workers"):
            now = workers or past["workers"]
            return past["x_realtime"] / past["workers"] * now, f"{_many(now)}, from this store's job {number}"
    now = workers or 1
    per_second = rule.window_samples / rule.hop_samples * rule.rate_factor
    return FIRST_GUESS_X_REALTIME.get(model, 20.0) * now / per_second, f"{_many(now)}, a first guess for this model"


def _many(workers: int) -> str:
    return f"{workers} worker{'s' if workers != 1 else ''}"
