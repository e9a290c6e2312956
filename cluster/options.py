"""EmbedOptions: everything a run was asked for, kept in its job folder so that `resume` can ask again."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from embedder.engines.base import AUTO, ENGINES, PRECISIONS
from embedder.models.hub import is_hub_address
from sonotheque.core.errors import Invalid
from sonotheque.core.places import is_url, normal

DTYPES = ("float16", "float32")
CHANNELS = ("mean", "first")
REFERENCE = "reference"  # the engine that the weights were published for; nothing is measured


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# What a worker needs: measured for BirdNET (benchmarks/results); for Perch TensorFlow's 0.8 GB and the 364 MB label head, with room.
_WORKER_BYTES = {"birdnet_v2.4": 1 << 30, "placeholder": 1 << 29}
_WORKER_BYTES_ONNX = 3 << 29  # Perch 2's graph on ONNX Runtime or OpenVINO: 1.4 GB with the label head, 1.0 without
_WORKER_BYTES_ELSE = 3 << 30


def default_workers(model: str, weights: str | None = None) -> int:
    """Return how many workers this machine holds: one a core, as far as memory goes; one for TensorFlow on a GPU."""
    import psutil

    onnx = weights is not None and weights.lower().endswith(".onnx")
    if model.startswith("perch") and not onnx and os.path.exists("/dev/nvidia0"):
        return 1
    need = _WORKER_BYTES.get(model, _WORKER_BYTES_ONNX if onnx else _WORKER_BYTES_ELSE)
    return max(1, min(cores(), int(psutil.virtual_memory().total * 0.8) // need))


@dataclass(frozen=True, slots=True)
class EmbedOptions:
    """The options of ``sonotheque embed``.

    None for ``model``, ``hop_s``, ``rate_factor``, ``channels``, ``dtype`` or ``top_k`` means: the store's, and for a new
    store the default.

    Attributes
    ----------
    sources : tuple of str
        Folders (searched recursively) and files.
    store : str
    root : str or None
        Folder that stored paths are relative to; None: see ``cluster/roots.py``.
    prefix : str
        Put in front of every stored path.
    model, weights : str or None
    hop_s, rate_factor : float or None
    channels, dtype : str or None
    top_k : int or None
        0 for no predictions.
    site, site_from : str or None
        A fixed site, or ``auto``, ``folder``, ``prefix``.
    timezone, clock_timezone : str or None
        IANA zones of the sites and of the recorders' clocks.
    time_pattern, deployments, times : str or None
        A user's regular expression for file names; paths of the two tables.
    replace, retry_failed : bool
        Let a changed file under a new root replace the old one; try files again that failed before.
    workers : int
        Worker processes on this machine; 0: embed in this process, without Dask.
    scheduler : str or None
        Address of a running Dask scheduler; ``workers`` is then ignored.
    cluster : str or None
        A cluster file (``cluster/specs``); its workers and threads take the place of these.
    threads : int
        Threads of the model's engine in each worker.
    decoders : int
        Decoder threads in each worker: one keeps a CPU busy, a GPU wants several.
    engine, precision : str
        ``auto``, or one of ``ENGINES`` and of ``PRECISIONS``; for the engine also ``reference``. The environment's
        ``SONOTHEQUE_ENGINE`` and ``SONOTHEQUE_PRECISION`` stand for what is not given.
    mix_precision : bool
        Whether vectors of another precision than the store's may be added to it.
    """

    sources: tuple[str, ...]
    store: str
    root: str | None = None
    prefix: str = ""
    model: str | None = None
    weights: str | None = None
    hop_s: float | None = None
    rate_factor: float | None = None
    channels: str | None = None
    dtype: str | None = None
    top_k: int | None = None
    site: str | None = None
    site_from: str = "auto"
    timezone: str | None = None
    clock_timezone: str | None = None
    time_pattern: str | None = None
    deployments: str | None = None
    times: str | None = None
    replace: bool = False
    retry_failed: bool = False
    workers: int = 1
    scheduler: str | None = None
    cluster: str | None = None
    threads: int = 1
    decoders: int = 1
    engine: str = field(default_factory=lambda: os.environ.get("SONOTHEQUE_ENGINE", AUTO))
    precision: str = field(default_factory=lambda: os.environ.get("SONOTHEQUE_PRECISION", AUTO))
    mix_precision: bool = False

    def __post_init__(self) -> None:
        if is_url(self.store):  # one spelling: names of objects are joined to it
            object.__setattr__(self, "store", normal(self.store))
        for name, value, allowed in (
            ("--dtype", self.dtype, DTYPES),
            ("--channels", self.channels, CHANNELS),
            ("--engine", self.engine, (AUTO, REFERENCE, *ENGINES)),
            ("--precision", self.precision, (AUTO, *PRECISIONS)),
        ):
            if value is not None and value not in allowed:
                raise Invalid(f"{name} {value}: must be one of {', '.join(allowed)}")
        if self.top_k is not None and not 0 <= self.top_k <= 1000:
            raise Invalid(f"--top-k {self.top_k}: must lie between 0 (none) and 1000")
        if self.workers < 0 or self.threads < 1 or self.decoders < 1:
            raise Invalid(
                f"--workers {self.workers}, --threads {self.threads}, --decoders {self.decoders}: at least 0, 1 and 1"
            )

    def metadata_settings(self) -> dict[str, Any]:
        """Return what decides sites and times: a change of it does not touch rows that are already stored."""
        names = ("site", "site_from", "timezone", "clock_timezone", "time_pattern", "deployments", "times")
        return {name: getattr(self, name) for name in names}

    def absolute(self) -> EmbedOptions:
        """Return the options with every path absolute: a worker and a later ``resume`` stand in other folders."""
        here = os.getcwd()  # not abspath: what ".." means behind a link is for the file system to say

        def whole(path: str | None) -> str | None:
            return path if not path or is_hub_address(path) else place(path)

        def place(path: str) -> str:
            return normal(path) if is_url(path) else os.path.join(here, os.path.expanduser(path))

        return replace(
            self,
            sources=tuple(place(s) for s in self.sources),
            store=normal(self.store) if is_url(self.store) else os.path.join(here, self.store),
            root=whole(self.root),
            weights=whole(self.weights),
            deployments=whole(self.deployments),
            times=whole(self.times),
            cluster=whole(self.cluster),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> EmbedOptions:
        """Rebuild from :meth:`to_json`."""
        known: dict[str, Any] = {f.name: value[f.name] for f in fields(cls) if f.name in value}
        return cls(**{**known, "sources": tuple(value["sources"])})
