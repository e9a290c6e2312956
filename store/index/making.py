"""The files of one segment: vectors side by side, and their codes. Each is made by itself, here or wherever ``Spread`` has it made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from sonotheque.core.ids import digest_of
from store.config import StoreConfig
from store.fsops import FileOps
from store.index.codes import Clusters, threads, write_codes
from store.index.files import put_file
from store.index.manifest import IndexFile, Segment
from store.index.stored import open_vectors, parts_in_order
from store.index.training import assign
from store.scoring import unit
from store.snapshots import SnapshotPart
from store.state import state_root

Told = Callable[[int], None]  # rows that are done
_BLOCK: Final = 16_384


@dataclass(frozen=True, slots=True)
class VectorsJob:
    """The vectors of some parts, to be copied into one file.

    Attributes
    ----------
    root : str
    config : StoreConfig
    parts : tuple of SnapshotPart
        In the order in which their rows are numbered.
    """

    root: str
    config: StoreConfig
    parts: tuple[SnapshotPart, ...]

    @property
    def rows(self) -> int:
        """Rows, superseded ones too."""
        return sum(part.rows for part in self.parts)

    @property
    def title(self) -> str:
        """What it is, for people."""
        return f"the vectors of {len(self.parts):,} parts from {self.parts[0].part_id} on"

    def make(self, ops: FileOps, told: Told, task_threads: int = 0) -> IndexFile:
        """Write the file, unless a whole one is there.

        Raises
        ------
        Damaged
            If a part cannot be read.
        Unavailable
            Disk full or read-only.
        """

        def write(handle: Any) -> None:
            for part, vectors in parts_in_order(self.root, self.parts, self.config):
                handle.write(vectors)
                told(part.rows)

        name = digest_of([self.config.digest, [[p.part_id, p.sha256] for p in self.parts]])
        suffix = "f16" if self.config.dtype == "float16" else "f32"
        return put_file(self.root, "vectors", name, suffix, write, ops)


@dataclass(frozen=True, slots=True)
class CodesJob:
    """The codes of one segment's vectors.

    Attributes
    ----------
    root : str
    config : StoreConfig
    segment : Segment
    clusters : IndexFile
        What was learnt.
    """

    root: str
    config: StoreConfig
    segment: Segment
    clusters: IndexFile

    @property
    def rows(self) -> int:
        """Rows, superseded ones too."""
        return self.segment.rows

    @property
    def title(self) -> str:
        """What it is, for people."""
        return f"the codes of {len(self.segment.parts):,} parts from {self.segment.parts[0][0]} on"

    def make(self, ops: FileOps, told: Told, task_threads: int = 0) -> IndexFile:
        """Write the file, unless a whole one is there; ``task_threads`` are FAISS's, 0 = as many as it likes.

        Raises
        ------
        Damaged
            If the vectors or clusters are not what they were when they were written.
        Unavailable
            Disk full or read-only.
        """
        clusters = Clusters.load(f"{state_root(self.root)}/{self.clusters.path}", self.config.model.dim)

        def blocks() -> Iterator[NDArray[np.float32]]:
            vectors = open_vectors(self.root, self.segment, self.config)
            for first in range(0, self.rows, _BLOCK):
                block = unit(vectors[first : first + _BLOCK])
                yield clusters.projection(block)
                told(len(block))

        def write(handle: Any) -> None:
            with threads(task_threads):
                handle.write(write_codes(blocks(), clusters.centres, assign))

        name = digest_of([self.segment.vectors.sha256, self.clusters.sha256])
        return put_file(self.root, "codes", name, "faiss", write, ops)


SegmentJob = VectorsJob | CodesJob


class Spread(Protocol):
    """Has files of segments made, several at once or one after another."""

    def run(self, jobs: Sequence[SegmentJob], told: Told) -> list[IndexFile]:
        """Make all of them; return them in the order of the jobs. ``told`` takes rows, as they are done."""

    def release(self) -> None:
        """Nothing more is to be made in this build."""


@dataclass(frozen=True, slots=True)
class Here:
    """One after another, in this process.

    Attributes
    ----------
    ops : FileOps
    threads : int
        0 = all cores.
    """

    ops: FileOps
    threads: int = 0

    def run(self, jobs: Sequence[SegmentJob], told: Told) -> list[IndexFile]:
        """See :class:`Spread`."""
        return [job.make(self.ops, told, self.threads) for job in jobs]

    def release(self) -> None:
        """See :class:`Spread`."""
