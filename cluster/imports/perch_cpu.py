"""perch-cpu-inference's output as a source: wide Parquet files, one a checkpoint, and prediction CSVs beside them.

A run that was killed and resumed has written some windows twice, and may have left a last file that is cut short.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cluster.imports.index import NAMES, ROWS, WindowIndex
from cluster.imports.names import common_root, is_absolute, tidy
from cluster.imports.options import PERCH_CPU, ImportOptions
from cluster.imports.perch_files import (
    PREDICTIONS,
    Faulty,
    SmallColumns,
    WideFile,
    find_outputs,
    open_wide,
    read_small,
    wide_files,
)
from cluster.imports.perch_guesses import read_guesses, score_rule, top_k
from cluster.imports.perch_rows import WideRows, place_of
from cluster.imports.source import UNKNOWN_DIGEST, Found, Guesses, Progress, Settings, SourceAnnotation
from embedder.audio import DECODE_BLOCK_S, QUALITY
from embedder.models import model_info
from sonotheque.core.errors import Invalid, NotFound
from sonotheque.core.ids import recording_id
from sonotheque.core.model_spec import ModelSpec, classes_digest

_STALE_NS = 1_000_000_000


class PerchCpuSource:
    """One output folder, or a folder of them (one a site); see :class:`cluster.imports.source.Source`.

    Raises
    ------
    NotFound
        If there is no such output, or no such model.
    Invalid
        If the class list cannot be read.
    """

    kind = PERCH_CPU

    def __init__(self, options: ImportOptions) -> None:
        self.path = options.path
        self.found = Found()
        self.ends_known = True
        self._model = model_info(options.model or "perch_v2")
        self._classes = _class_list(options.classes, self._model.n_classes) if options.classes else None
        self._with_predictions = options.predictions
        self._given_root = options.root
        self._outputs = find_outputs(options.path)
        self._files: list[WideFile] = []
        self._folders: set[str] = set()
        self._dims: dict[int, str] = {}
        self._k = 0
        self._rows: WideRows | None = None

    def fill(self, index: WindowIndex, progress: Progress) -> None:
        """Check every file and index its rows."""
        found = [wide_files(output, number) for number, output in enumerate(self._outputs)]
        total = sum(map(len, found))
        for files in found:
            self._note_stale(files)
            for file in files:
                self._take(file, index)
                progress("reading", len(self._files) + len(self.found.damaged), total)
        if not total:
            raise NotFound(
                f"{self.path}: embeddings_partitioned/ holds no Parquet file: the run has not written anything"
            )
        self._count_predictions()
        self._rows = WideRows(self._files, self._model.name, self._k, set(self.found.damaged))

    def _take(self, file: WideFile, index: WindowIndex) -> None:
        number = len(self._files)
        self.found.bytes["embeddings"] += file.size_bytes
        try:
            parquet, columns = open_wide(file.path)
            self._require_dim(len(columns), file)
            groups = [
                read_small(parquet, g, self._model.sample_rate_hz, self._model.window_samples)
                for g in range(parquet.num_row_groups)
            ]
        except Faulty as error:
            self.found.damaged[file.path] = str(error)
            return
        self._files.append(file)
        first = 0
        for group in groups:
            self._index_rows(group, file, number, first, index)
            first += len(group.code)
        self.found.rows += first

    def _require_dim(self, dim: int, file: WideFile) -> None:
        self._dims.setdefault(dim, file.path)
        if dim == self._model.dim:
            return
        if self._model.dim not in self._dims:
            other = next(
                (f" {name} has: say --model {name}" for name in ("perch_v1",) if model_info(name).dim == dim), ""
            )
            raise Invalid(
                f"{file.path} holds {dim:,}-d vectors; {self._model.name} has {self._model.dim:,}.{other} If another model made them, "
                "they cannot be imported: this layout does not say which"
            )
        raise Faulty(f"holds {dim:,}-d vectors, other files {self._model.dim:,}-d ones ({self._dims[self._model.dim]})")

    def _index_rows(self, small: SmallColumns, file: WideFile, number: int, first: int, index: WindowIndex) -> None:
        output = self._outputs[file.output]
        names = [self._name(name, output) for name in small.names]
        self._folders.update(name.rpartition("/")[0] for name in names)
        keys = np.array([recording_id(f"{file.output}\n{name}") for name in names], np.int64)
        n = len(small.code)
        groups = pa.array(np.full(len(names), file.output, np.int64))
        note = pa.array([f"{output}: "] * len(names), pa.string())
        index.add_names(pa.table([pa.array(keys), pa.array(names, pa.string()), groups, note], schema=NAMES))
        places = place_of(number, np.arange(first, first + n, dtype=np.int64))
        # A file that was written again is, but for chance, of another size.
        mark = np.full(n, recording_id(f"{file.checkpoint} {file.size_bytes}"), np.int64)
        index.add_rows(
            pa.table([pa.array(a) for a in (keys[small.code], small.start, small.valid, places, mark)], schema=ROWS)
        )

    def _name(self, name: str, output: str) -> str:
        """Return a recording's path; a bare file name is below the output's folder, which is the site's."""
        name = tidy(name)
        return name if "/" in name else f"{Path(output).resolve().name}/{name}"

    def _note_stale(self, files: list[WideFile]) -> None:
        newest = 0
        for file in files:
            if file.checkpoint >= 0 and file.mtime_ns + _STALE_NS < newest:
                self.found.notes.append(
                    f"{file.path} is older than a checkpoint with a smaller number: it may be left over from an earlier run. Where both "
                    "hold a window, the row of the larger number is taken"
                )
                return
            newest = max(newest, file.mtime_ns)

    def _count_predictions(self) -> None:
        """Check the prediction files, and see how many classes a row has."""
        for output in self._outputs:
            here = sorted((Path(output) / PREDICTIONS).glob("*.csv"))
            for path in here:
                self.found.bytes["predictions"] += path.stat().st_size
                if self._with_predictions:
                    self._check_predictions(str(path))
            unused = {str(p) for p in here} - {f.predictions for f in self._files}
            if unused and self._with_predictions:
                self.found.notes.append(f"{len(unused)} prediction files have no embeddings beside them: {min(unused)}")

    def _check_predictions(self, path: str) -> None:
        try:
            k = top_k(path)
            table = read_guesses(path, k)
            if self._classes:
                _require_known(path, table, k, self._classes)
        except Faulty as error:
            self.found.damaged[path] = str(error)
            return
        self._k = max(self._k, k)

    def settings(self) -> Settings:
        """Return what the vectors are; the weights are not known."""
        info = self._model
        spec = ModelSpec(
            name=info.name,
            version=f"imported from {PERCH_CPU}",
            weights_digest=UNKNOWN_DIGEST,
            sample_rate_hz=info.sample_rate_hz,
            window_samples=info.window_samples,
            dim=info.dim,
            n_classes=info.n_classes,
            classes_digest=classes_digest(self._classes) if self._classes else UNKNOWN_DIGEST,
            score_rule=score_rule(info.name),
        )
        # What the script does is what we do: the mean of the channels, soxr HQ. Blocks of samples do not matter to it.
        decode = {"channels": "mean", "block_s": DECODE_BLOCK_S, "resampler": f"soxr {QUALITY}"}
        return Settings(spec, None, decode, min(self._k, info.n_classes))

    def root(self) -> str:
        """Return ``--root``, or the folder above the recordings' own: theirs is the site's."""
        if self._given_root is not None:
            root = tidy(os.path.expanduser(self._given_root))
            return root if is_absolute(root) or root != "." else ""
        return common_root(self._folders, above=True)

    def vectors(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors at n places."""
        return self._reader().vectors(places, self._model.dim)

    def guesses(self, places: NDArray[np.int64]) -> Guesses | None:
        """Return the predictions at n places."""
        return self._reader().guesses(places) if self._k else None

    def _reader(self) -> WideRows:
        if self._rows is None:
            raise RuntimeError("a source is filled before it is asked")
        return self._rows

    def annotations(self) -> Iterator[SourceAnnotation]:
        """Yield nothing: the program keeps none."""
        return iter(())

    def close(self) -> None:
        """Let go of what was read."""
        self._rows = None


def _class_list(path: str, n_classes: int) -> tuple[str, ...]:
    try:
        names = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise NotFound(f"--classes {path}: {error.strerror}. It is the classes.json that the run was given") from error
    except ValueError as error:
        raise Invalid(f"--classes {path} is not a JSON file: {error}") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Invalid(f"--classes {path}: expected a JSON list of class names, in the order of the model's logits")
    if len(names) != n_classes:
        raise Invalid(f"--classes {path} holds {len(names):,} names; the model has {n_classes:,} classes")
    return tuple(names)


def _require_known(path: str, table: pa.Table, k: int, classes: tuple[str, ...]) -> None:
    known = set(classes)
    for i in range(1, k + 1):
        for chunk in table[f"top{i}"].chunks:
            unknown = sorted(set(chunk.dictionary.to_pylist()) - known)
            if unknown:
                raise Faulty(f"names a class that is not in the class list: {unknown[0]!r}")
