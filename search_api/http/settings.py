"""What a service is started with."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Final

from sonotheque.core.errors import Invalid, NotFound
from store.state import require_folder

PORT: Final = 8770
_MB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that protect the service; each has a reason.

    Attributes
    ----------
    body_bytes : int
        Of an upload; one minute of 48 kHz stereo WAV is 11.5 MB.
    json_bytes : int
        Of any other body.
    decoded_s : float
        Seconds of sound that one upload may hold once it is decoded: 10 MB of Vorbis can be 28 hours.
    decode_s : float
        Seconds that decoding one upload may take before its process is ended.
    upload_s : float
        Seconds that a body may take to arrive.
    clip_s : float
        Longest snippet.
    k_max : int
        Hits of one search.
    concurrency : int
        Requests at once.
    queue : int
        Calls that may wait for each kind of work.
    inference_windows : int
        Windows that may wait for the model.
    rate_per_min, upload_rate_per_min : int
        Requests of one caller in a minute; 0: no limit.
    drain_s : float
        Seconds that running requests have when the service is asked to end.
    """

    body_bytes: int = 25 * _MB
    json_bytes: int = 2 * _MB
    decoded_s: float = 600.0
    decode_s: float = 20.0
    upload_s: float = 30.0
    clip_s: float = 600.0
    k_max: int = 1000
    concurrency: int = 64
    queue: int = 48
    inference_windows: int = 512
    rate_per_min: int = 3000
    upload_rate_per_min: int = 600
    drain_s: float = 10.0


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """What a service is started with.

    Attributes
    ----------
    store : str
        The store's folder.
    state : str or None
        Folder of what the service itself keeps (keys, clips, jobs, pictures); ``<store>/service`` by default.
    host, port
        Where it listens.
    allow_hosts : tuple of str
        Names it may be called by, besides loopback's and ``host``.
    recordings : str or None
        Folder of the recordings, if they are not where they were.
    ingest_roots : dict
        Name -> folder, below which jobs may embed recordings.
    sql : bool
        Whether ``POST /v1/sql`` answers.
    log_share : float
        Share of the searches that are kept for review; 0: none.
    weights : str or None
        Local copy of the model's weights.
    threads : int
        Of inference; 0: one a core, at most 4.
    decoders : int
        Processes that decode uploads.
    job_slots : int
        Trainings and applications at once.
    limits : Limits

    Raises
    ------
    Invalid
        If a value cannot be right.
    """

    store: str
    state: str | None = None
    host: str = "127.0.0.1"
    port: int = PORT
    allow_hosts: tuple[str, ...] = ()
    recordings: str | None = None
    ingest_roots: dict[str, str] = field(default_factory=dict)
    sql: bool = False
    log_share: float = 0.0
    weights: str | None = None
    threads: int = 0
    decoders: int = 2
    job_slots: int = 1
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        require_folder(self.store, "serve")
        if not 0 <= self.port <= 65535:
            raise Invalid(f"--port {self.port}: expected 0 (any free one) to 65535")
        if not 0 <= self.log_share <= 1:
            raise Invalid(f"--log-share {self.log_share:g}: expected a share from 0 to 1, as 0.05 for 5 %")
        for name, folder in self.ingest_roots.items():
            if not name or "/" in name or name.startswith("."):
                raise Invalid(f"--ingest {name!r}: a name has no slash and does not begin with a dot")
            if not os.path.isdir(folder):
                raise NotFound(f"--ingest {name}={folder}: there is no such folder")

    @property
    def state_folder(self) -> str:
        """Where the service keeps what is its own."""
        return self.state or f"{self.store}/service"

    @property
    def inference_threads(self) -> int:
        """Threads that run the model."""
        from cluster.options import cores

        return self.threads or min(4, cores())
