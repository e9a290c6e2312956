"""A perch-hoplite database as a source: SQLite for what is where, a usearch index for the vectors.

Its known faults are counted, and survived: windows of recordings that are gone, windows without a vector, windows twice,
recordings without a deployment that are there twice.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cluster.imports.describing import note_text
from cluster.imports.hoplite_db import HopliteDb, HopliteRecording
from cluster.imports.hoplite_model import ANALYZER_KEY, HopliteModel, model_of
from cluster.imports.index import NAMES, ROWS, WindowIndex
from cluster.imports.names import common_root, is_absolute, tidy
from cluster.imports.options import HOPLITE, ImportOptions
from cluster.imports.source import Found, Guesses, Note, Progress, Settings, SourceAnnotation
from sonotheque.core.errors import Damaged, Invalid
from sonotheque.core.windows import HOP_S_MIN
from store.annotations import Annotation

JUDGEMENT_OF_TYPE = {0: "negative", 1: "positive", 2: "uncertain"}
_PAGE = 2000
_DAMAGED_SHOWN = 1000


class HopliteSource:
    """A database; see :class:`cluster.imports.source.Source`.

    Raises
    ------
    NotFound, Invalid, Damaged
        If it is not there, not of perch-hoplite 1.x, cannot be read, or its model is not told.
    """

    kind = HOPLITE

    def __init__(self, options: ImportOptions) -> None:
        self.path = options.path
        self.found = Found()
        self._given_root = options.root
        self._db = HopliteDb(options.path, options.project)
        metadata = self._db.metadata()
        self._analyzer = ANALYZER_KEY in metadata
        # BirdNET-Analyzer cuts the last window's end at the recording's; perch-hoplite writes the model's full length.
        self.ends_known = self._analyzer
        self._vectors = _open_vectors(str(self._db.usearch))
        self._model: HopliteModel = model_of(metadata, int(self._vectors.ndim), options.model)
        if not self._model.ours:
            self.found.notes.append(
                f"{self._model.spec.name} is no model of this program: its vectors can be searched, and nothing can be embedded with it"
            )
        self._with_annotations = options.annotations
        self._folders: set[str] = set()
        self._hop: int | None = None

    def fill(self, index: WindowIndex, progress: Progress) -> None:
        """Read recordings, windows and annotations, and index the windows that have a vector."""
        self.found.bytes["metadata"] = self._db.sqlite.stat().st_size
        self.found.bytes["embeddings"] = self._db.usearch.stat().st_size
        self._fill_names(index)
        total, done = self._db.count("windows"), 0
        for page in self._db.windows():
            done += len(page)
            self._fill_rows(index, page)
            progress("reading", done, total)
        self.found.rows = total
        self.found.counts["orphan_windows"] = self._db.orphans()
        spare = len(self._vectors) - (total - self.found.counts["without_vector"])
        self.found.counts["vectors_without_window"] = max(0, spare)
        self._hop = index.hop_samples()
        if self._with_annotations:
            for row in self._db.annotations():
                with contextlib.suppress(_Unfit):
                    self._annotation(row, count=True)

    def _fill_names(self, index: WindowIndex) -> None:
        page: list[dict[str, Any]] = []
        for recording in self._db.recordings():
            name, note = self._name(recording), self._note(recording)
            self._folders.add(name.rpartition("/")[0])
            page.append({"key": recording.id, "name": name, "grp": recording.deployment_id, "note": note_text(note)})
            if len(page) == _PAGE:
                index.add_names(pa.Table.from_pylist(page, NAMES))
                page = []
        index.add_names(pa.Table.from_pylist(page, NAMES))

    def _name(self, recording: HopliteRecording) -> str:
        """Return a recording's path; a bare file name is below its deployment, unless that is called like the project."""
        name = tidy(recording.filename)
        named = recording.deployment not in ("", recording.project) and not self._analyzer
        return f"{recording.deployment}/{name}" if named and "/" not in name else name

    def _note(self, recording: HopliteRecording) -> Note:
        # BirdNET-Analyzer has one deployment for all recordings: it names no place.
        deployment = "" if self._analyzer else recording.deployment
        return Note(deployment, deployment or None, recording.start, recording.latitude, recording.longitude)

    def _fill_rows(self, index: WindowIndex, page: list[tuple[int, int, bytes]]) -> None:
        fit = [row for row in page if isinstance(row[2], bytes) and len(row[2]) == 16]
        for row in page:
            if len(fit) < len(page) and row not in fit:
                self._damaged(f"window {row[0]}", f"its offsets are {row[2]!r}, not two float64")
        ids = np.array([row[0] for row in fit], np.int64)
        keys = np.array([row[1] for row in fit], np.int64)
        offsets = np.frombuffer(b"".join(row[2] for row in fit), "<f8").reshape(-1, 2)
        spec = self._model.spec
        with np.errstate(invalid="ignore"):
            length = offsets[:, 1] - offsets[:, 0]
            good = np.isfinite(offsets).all(axis=1) & (offsets[:, 0] >= 0) & (length > 0)
            good &= length <= spec.window_s * (1 + 1e-6)
        for i in np.flatnonzero(~good)[:_DAMAGED_SHOWN].tolist():
            span = f"{offsets[i, 0]:g} to {offsets[i, 1]:g} s"
            self._damaged(
                f"window {ids[i]}", f"its span is {span}; windows of {spec.name} have {spec.window_s:g} s at most"
            )
        there = np.zeros(len(ids), bool)
        if len(ids):
            there = np.asarray(self._vectors.contains(ids.astype(np.uint64)), bool)
        self.found.counts["without_vector"] += int((good & ~there).sum())
        good &= there
        start = np.rint(offsets[good, 0] * spec.sample_rate_hz).astype(np.int64)
        valid = np.minimum(np.rint(length[good] * spec.sample_rate_hz).astype(np.int64), spec.window_samples)
        arrays = (keys[good], start, valid, ids[good], ids[good])
        index.add_rows(pa.table([pa.array(a) for a in arrays], schema=ROWS))

    def _damaged(self, what: str, why: str) -> None:
        self.found.counts["unusable"] += 1
        if len(self.found.damaged) < _DAMAGED_SHOWN:
            self.found.damaged[f"{self._db.sqlite}: {what}"] = why

    def settings(self) -> Settings:
        """Return what the vectors are; the hop is the most common one."""
        spec = self._model.spec
        least = math.ceil(HOP_S_MIN * spec.sample_rate_hz)
        hop = spec.window_samples if self._hop is None else min(max(self._hop, least), spec.window_samples)
        decode = {"channels": "first", "block_s": 0, "resampler": "polyphase"}
        if self._analyzer:
            decode = {"channels": "mean", "block_s": 0, "resampler": "unknown"}
        return Settings(spec, hop / spec.sample_rate_hz, decode, 0)

    def root(self) -> str:
        """Return ``--root``, or what absolute paths have in common; others are relative to their data set's folder already."""
        if self._given_root is not None:
            return tidy(os.path.expanduser(self._given_root))
        absolute = {folder for folder in self._folders if is_absolute(folder)}
        return common_root(self._folders, above=True) if absolute else ""

    def vectors(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors at n places; a place is a window's id."""
        found = self._vectors.get(places.astype(np.uint64))
        out = np.empty((len(places), self._model.spec.dim), np.float32)
        for i, vector in enumerate(found):
            if vector is None or vector.shape != (self._model.spec.dim,):
                raise Damaged(
                    f"{self._db.usearch}: the vector of window {places[i]} is gone, or there is more than one"
                )
            out[i] = vector
        return out

    def guesses(self, places: NDArray[np.int64]) -> Guesses | None:
        """Return None: a database holds no predictions."""
        return None

    def annotations(self) -> Iterator[SourceAnnotation]:
        """Yield the annotations that can be taken over."""
        if self._with_annotations:
            for row in self._db.annotations():
                with contextlib.suppress(_Unfit):
                    yield self._annotation(row)

    def _annotation(self, row: tuple[Any, ...], *, count: bool = False) -> SourceAnnotation:
        number, recording, offsets, label, kind, provenance = row
        try:
            start_s, end_s = _span(offsets)
            judgement = _judgement(kind)
            Annotation(0, "checked", start_s, end_s, str(label), judgement)
        except Invalid as error:
            if count:
                self._damaged(f"annotation {number}", error.message)
            raise _Unfit from error
        return SourceAnnotation(recording, start_s, end_s, str(label), judgement, str(provenance or ""))

    def close(self) -> None:
        """Close both files."""
        self._db.close()
        self._vectors.reset()


class _Unfit(Exception):  # noqa: N818 - control flow within this module
    """An annotation that cannot be taken over."""


def _span(offsets: Any) -> tuple[float, float]:
    if not isinstance(offsets, bytes) or len(offsets) != 16:
        raise Invalid(f"its offsets are {offsets!r}, not two float64")
    start_s, end_s = np.frombuffer(offsets, "<f8").tolist()
    return start_s, end_s


def _judgement(kind: Any) -> str:
    if kind not in JUDGEMENT_OF_TYPE:
        raise Invalid(f"its label_type is {kind!r}; known are 0 negative, 1 positive, 2 uncertain")
    return JUDGEMENT_OF_TYPE[kind]


def _open_vectors(path: str) -> Any:
    from usearch.index import Index

    try:
        found = Index.restore(path, view=True)  # memory-mapped: vectors stay on disk
    except (ValueError, RuntimeError, OSError) as error:
        raise Damaged(f"{path} cannot be read as a usearch index: {error}. Copy the database again") from error
    if found is None:
        raise Damaged(f"{path} is not a usearch index. Copy the database again")
    return found
