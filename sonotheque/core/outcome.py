"""What became of each file: a status, and the one table that says what a status means."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """The three ends of a file in a run."""

    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"


class Status(StrEnum):
    """What was found in a file; kept in its part's footer. Words are only ever added."""

    OK = "ok"
    SILENT = "silent"
    TRUNCATED = "truncated"
    HEADER_REPAIRED = "header_repaired"
    ZERO_TAIL = "zero_tail"
    SHORT = "short"
    CORRUPT = "corrupt"
    NONFINITE = "nonfinite"
    TOO_SHORT = "too_short"
    EMPTY = "empty"
    UNREADABLE = "unreadable"
    DECODER_CRASH = "decoder_crash"
    TIMEOUT = "timeout"
    VANISHED = "vanished"
    CHANGED = "changed"
    IO_ERROR = "io_error"
    MODEL_ERROR = "model_error"


@dataclass(frozen=True, slots=True)
class StatusMeaning:
    """How a status counts, whether a later run tries the file again, and a sentence for people."""

    outcome: Outcome
    transient: bool
    text: str


MEANING: dict[Status, StatusMeaning] = {
    Status.OK: StatusMeaning(Outcome.DONE, False, "decoded whole"),
    Status.SILENT: StatusMeaning(Outcome.DONE, False, "every sample is zero; its windows are kept"),
    Status.TRUNCATED: StatusMeaning(Outcome.DONE, False, "ends before its header says; what is there was used"),
    Status.HEADER_REPAIRED: StatusMeaning(Outcome.DONE, False, "data size in the header is wrong; taken from the file"),
    Status.ZERO_TAIL: StatusMeaning(
        Outcome.DONE, False, "ends in exact zeros (pre-allocated file); that tail was left out"
    ),
    Status.SHORT: StatusMeaning(Outcome.DONE, False, "fewer samples than declared; times after a fault may be early"),
    Status.CORRUPT: StatusMeaning(Outcome.DONE, False, "decoder error part-way; what came before it was used"),
    Status.NONFINITE: StatusMeaning(Outcome.DONE, False, "NaN or infinite samples were set to zero"),
    Status.TOO_SHORT: StatusMeaning(Outcome.SKIPPED, False, "less sound than a window must hold"),
    Status.EMPTY: StatusMeaning(Outcome.FAILED, False, "holds no audio"),
    Status.UNREADABLE: StatusMeaning(Outcome.FAILED, False, "no decoder can read it"),
    Status.DECODER_CRASH: StatusMeaning(Outcome.FAILED, False, "kills the process that decodes it"),
    Status.TIMEOUT: StatusMeaning(Outcome.FAILED, True, "made no progress within the time allowed"),
    Status.VANISHED: StatusMeaning(Outcome.FAILED, True, "was there when the run was planned, and is not now"),
    Status.CHANGED: StatusMeaning(Outcome.FAILED, True, "changed after the run was planned; run again"),
    Status.IO_ERROR: StatusMeaning(Outcome.FAILED, True, "could not be read from its disk"),
    Status.MODEL_ERROR: StatusMeaning(
        Outcome.FAILED, True, "the model failed on it, or gave values that are not finite"
    ),
}


@dataclass(frozen=True, slots=True)
class DecodeSummary:
    """What decoding one file found.

    Attributes
    ----------
    status : Status
    reason : str
        A sentence with the values (declared against found ...); empty for ``ok``.
    sample_rate_hz, channels : int
        As the file has them; 0 if it could not be opened.
    declared_frames : int or None
        Frames the header promises; None where the format does not say.
    decoded_frames : int
        Frames that came out.
    duration_s : float
        ``decoded_frames / sample_rate_hz``: true seconds, whatever the rate factor.
    container, codec : str
        ``WAV``, ``FLAC`` ... and ``PCM_16``, ``VORBIS`` ... as libsndfile names them; empty if not opened.
    passing : bool
        Whether a disk or a network was at fault in a way that may be over in a moment; not kept in the store.
    """

    status: Status
    reason: str = ""
    sample_rate_hz: int = 0
    channels: int = 0
    declared_frames: int | None = None
    decoded_frames: int = 0
    duration_s: float = 0.0
    container: str = ""
    codec: str = ""
    passing: bool = False

    @property
    def outcome(self) -> Outcome:
        """Done, skipped or failed."""
        return MEANING[self.status].outcome


@dataclass(frozen=True, slots=True)
class TopLabel:
    """The best-scored class of a whole recording."""

    label: str
    score: float
    start_s: float


@dataclass(frozen=True, slots=True)
class StageSeconds:
    """Seconds spent by stage. Stages overlap, so their sum may exceed the wall time."""

    decode_s: float = 0.0
    resample_s: float = 0.0
    infer_s: float = 0.0
    write_s: float = 0.0

    def __add__(self, other: StageSeconds) -> StageSeconds:
        return StageSeconds(
            self.decode_s + other.decode_s,
            self.resample_s + other.resample_s,
            self.infer_s + other.infer_s,
            self.write_s + other.write_s,
        )

    def to_json(self) -> dict[str, float]:
        """Return the fields as a JSON object."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class TaskOutcome:
    """What one task (one part) reports back; small, so that vectors never cross the scheduler.

    Attributes
    ----------
    part_id : str
    committed : bool
        True if this task's file is the one in the store, False if another attempt had already put it there.
    rows, bytes_written : int
        Windows, and bytes of both files of the part.
    sha256 : str
        Of the embeddings file.
    files : list of dict
        One ledger entry per file (see ``store/FORMAT.md``) plus ``seconds``.
    stages : StageSeconds
    wall_s : float
    peak_rss_bytes : int
        Of the worker process, so far.
    device : str
        Engine and device really used.
    worker : str
        ``host:pid`` of the process.
    """

    part_id: str
    committed: bool
    rows: int
    bytes_written: int
    sha256: str
    files: list[dict[str, Any]] = field(default_factory=list)
    stages: StageSeconds = field(default_factory=StageSeconds)
    wall_s: float = 0.0
    peak_rss_bytes: int = 0
    device: str = ""
    worker: str = ""
