"""What a task is given: small, plain JSON, so that it can be sent to a worker, a subprocess or a queue alike."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cluster.plan import PartPlan
from sonotheque.core.model_spec import FULL_PRECISION
from store import StoreConfig

STALL_S = 300.0
CANCEL = "CANCEL"  # file of the job folder


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """How a process comes by the model.

    Attributes
    ----------
    name : str
        Registry name.
    weights : str or None
        Where the weights are, if not at the usual place.
    threads : int
        Threads of the engine.
    engine : str or None
        None: the one the model was published for; ``auto``: each machine picks its own at this precision.
    precision : str
    stamped_as : str or None
        The store's precision, where it is another and somebody asked to mix.
    logits : bool
        Whether predictions are wanted: which engine is fastest may depend on it.
    """

    name: str
    weights: str | None = None
    threads: int = 1
    engine: str | None = None
    precision: str = FULL_PRECISION
    stamped_as: str | None = None
    logits: bool = True


@dataclass(frozen=True, slots=True)
class TaskPayload:
    """One part to embed.

    Attributes
    ----------
    store : str
        The store's folder, as this and every worker sees it.
    config : StoreConfig
    part : PartPlan
    root, prefix : str
        Where the recordings lie; see ``roots.absolute_path``.
    model : ModelChoice
    progress_folder : str
        Gets a small file while the task runs.
    decoders : int
        Decoder threads.
    stall_s : float
        Longest time a decoder may take for one window.
    """

    store: str
    config: StoreConfig
    part: PartPlan
    root: str
    prefix: str
    model: ModelChoice
    progress_folder: str
    decoders: int = 1
    stall_s: float = STALL_S

    @property
    def progress_file(self) -> Path:
        """Where the task leaves word of how far it is."""
        return Path(self.progress_folder) / f"{self.part.part_id}.json"

    @property
    def stop_file(self) -> Path:
        """There once somebody has asked the run to stop."""
        return Path(self.progress_folder).parent / CANCEL

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return {
            "store": self.store,
            "config": self.config.to_json(),
            "part": self.part.to_json(),
            "root": self.root,
            "prefix": self.prefix,
            "model": asdict(self.model),
            "progress_folder": self.progress_folder,
            "decoders": self.decoders,
            "stall_s": self.stall_s,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> TaskPayload:
        """Rebuild from :meth:`to_json`."""
        return cls(
            **{
                **value,
                "config": StoreConfig.from_json(value["config"]),
                "part": PartPlan.from_json(value["part"]),
                "model": ModelChoice(**value["model"]),
            }
        )
