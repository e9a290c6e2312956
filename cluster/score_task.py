"""The scores of one part: read, multiply, keep, commit. The same in this process and on a Dask worker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from cluster.score_stack import ProbeStack
from sonotheque.core.errors import Damaged, Unavailable
from store.catalog import UnitFault
from store.fsops import FileOps
from store.scores import ScoreSet, ScoreWriter, block_rows, score_blocks
from store.snapshots import SnapshotPart


class ScoringStopped(Exception):  # noqa: N818 - an answer: the part was given up, because the run is to end
    """A part that was under way when somebody asked the run to stop."""


@dataclass(frozen=True, slots=True)
class ScoredPart:
    """What became of one part.

    Attributes
    ----------
    part_id : str
    windows : int
        Looked at.
    rows, bytes : int
        Scores kept, and the size of their file; as somebody else wrote it, if ``won`` is false.
    won : bool
    not_scored : list of dict
        Windows whose vector is not finite: ``path``, ``start_s``, ``recording_id``, ``start_sample``.
    failure : str
        Why the part has no scores; empty if it has.
    """

    part_id: str
    windows: int = 0
    rows: int = 0
    bytes: int = 0
    won: bool = False
    not_scored: list[dict[str, Any]] = field(default_factory=list)
    failure: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return asdict(self)


def score_part(
    root: str,
    dim: int,
    part: SnapshotPart,
    stack: ProbeStack,
    wanted: ScoreSet,
    *,
    ops: FileOps | None = None,
    told: Callable[[int], None] | None = None,
) -> ScoredPart:
    """Score a part and commit what was found.

    Parameters
    ----------
    root : str
    dim : int
        Length of a vector.
    part : SnapshotPart
    stack : ProbeStack
        Of the probes of ``wanted``, in their order.
    wanted : ScoreSet
    ops : FileOps, optional
    told : callable, optional
        Called with the windows of each block, when it is done; may raise ScoringStopped.

    Returns
    -------
    ScoredPart
        A part that cannot be read is a failure of this part alone.

    Raises
    ------
    Unavailable
        If scores cannot be written.
    """
    windows, not_scored = 0, list[dict[str, Any]]()
    try:
        with ScoreWriter(root, wanted, part.part_id, ops) as writer:
            for block in score_blocks(root, part, dim):
                found, wrong = stack.scores(block.vectors)
                writer.add(
                    found.columns,
                    block.recording_ids[found.rows],
                    block.start_samples[found.rows],
                    found.logits,
                    found.scores,
                )
                if len(wrong):
                    not_scored += block_rows(root, part, wrong + block.first_row)
                windows += len(block.vectors)
                if told:
                    told(len(block.vectors))
            written = writer.commit(windows, not_scored)
    except UnitFault as error:
        return ScoredPart(part.part_id, failure=f"{error.relative} cannot be read: {error.why}")
    except Damaged as error:
        return ScoredPart(part.part_id, failure=error.message)
    except OSError as error:
        raise Unavailable(
            f"the scores of part {part.part_id} could not be written in {root}: {error}. Nothing that was committed is harmed; "
            "run the same command again: it goes on where it stopped"
        ) from error
    return ScoredPart(part.part_id, windows, written.rows, written.bytes, written.won, not_scored)
