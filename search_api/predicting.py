"""The model's classes for windows that were embedded without them, or with fewer: heard again in their recordings, on request.

In Perch 2 the classes are more than four fifths of a window's arithmetic, so an archive is often embedded without them
(``--no-predictions``). What the label head reads would be 64 times as large as the vectors if it were kept; reading the sound
again costs the part of the model before the head once more, a third of what the head costs. So it is the recordings that
are asked, for the windows that matter. Nothing is written to the store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedder.audio import open_windows
from embedder.models import Embedder
from embedder.topk import top_classes
from search_api.locating import Locator
from sonotheque.core.errors import Conflict, Damaged, Invalid, SonothequeError
from sonotheque.core.filters import SearchFilter
from store import Archive, StoreConfig

TOP_K_MAX: Final = 1000
# Between the stored vector and the one made now. The same sound through another engine or precision stays above 0.99
# (embedder/choosing/fidelity.py); another recording's does not.
COSINE_MIN: Final = 0.99
_CHUNK: Final = 2048  # windows whose stored vectors are in memory at a time
_COLUMNS: Final = (
    "recording_id, start_sample, path, site, deployment, start_s, end_s, local_start, utc_start, part_id, part_row"
)
_SHOWN: Final = ("path", "site", "deployment", "start_s", "end_s", "local_start", "utc_start")

_Best = tuple[NDArray[np.int32], NDArray[np.float32]]  # classes of each window and their logits, best first
Progress = Callable[[int, int], None]  # windows done, windows in all


@dataclass(slots=True)
class Predictions:
    """What the model says of the chosen windows.

    Attributes
    ----------
    table : pyarrow.Table
        A row a window and class: ``path``, ``site``, ``deployment``, ``start_s``, ``end_s``, ``local_start``, ``utc_start``, ``rank``
        (1 = best), ``label``, ``logit``, ``score``; by path and start.
    windows : int
        How many were heard.
    failures : list of dict
        ``{path, windows, reason}`` of recordings whose windows could not be heard.
    """

    table: pa.Table
    windows: int = 0
    failures: list[dict[str, Any]] = field(default_factory=list)


def predict(
    archive: Archive,
    model: Embedder,
    locator: Locator,
    where: SearchFilter | None = None,
    *,
    top_k: int = 10,
    limit: int | None = None,
    progress: Progress | None = None,
) -> Predictions:
    """Return the model's best classes for the windows that a filter means.

    Parameters
    ----------
    archive : Archive
    model : Embedder
        Of the archive's name and dimensions. Its file need not be the archive's: an archive made with an embedding-only file
        is asked with the full one. That it is the same network shows in the vectors, which are compared.
    locator : Locator
    where : SearchFilter, optional
        All windows by default.
    top_k : int
        Classes a window.
    limit : int, optional
        At most so many windows, in the order of paths.
    progress : callable, optional

    Raises
    ------
    Conflict
        Kind ``model_conflict``: another model than the archive's.
    Invalid
        If the weights have no classes, or ``top_k`` cannot be.
    NotFound
        If the filter names what is not there, or there is none of the folders of recordings.
    """
    _require(archive.config, model, top_k)
    where = where or SearchFilter()
    if archive.config.top_k == 0 and (where.score_min, where.score_max, where.rank_max) != (None, None, None):
        raise Invalid("scores and ranks choose among stored predictions, and this archive has none: leave them out")
    locator.require_there()
    query, parameters = archive.select(where, columns=_COLUMNS)
    most = "" if limit is None else f" LIMIT {int(limit)}"
    chosen = archive.sql(f"{query} ORDER BY path, start_sample{most}", parameters)
    found = Predictions(_rows(chosen.slice(0, 0), model, _best(np.empty((0, len(model.classes)), np.float32), top_k)))
    tables, done = [found.table], 0
    for first, last in _chunks(chosen["path"].to_numpy(zero_copy_only=False)):
        rows = chosen.slice(first, last - first)
        hearing = _Hearing(archive, model, locator, rows, top_k)
        for at, best in hearing.run():
            tables.append(_rows(rows.take(at), model, best))
            found.windows += len(at)
        found.failures += hearing.failures
        done += rows.num_rows
        if progress:
            progress(done, chosen.num_rows)
    found.table = pa.concat_tables(tables)
    return found


def _require(config: StoreConfig, model: Embedder, top_k: int) -> None:
    if not 1 <= top_k <= TOP_K_MAX:
        raise Invalid(f"top {top_k} classes: expected 1 to {TOP_K_MAX}")
    if (model.spec.name, model.spec.dim) != (config.model.name, config.model.dim):
        raise Conflict(
            f"the archive holds vectors of {config.model.name} ({config.model.dim}-d), these weights are "
            f"{model.spec.name} ({model.spec.dim}-d)",
            kind="model_conflict",
        )
    if not model.classes:
        raise Invalid(f"these weights of {config.model.name} end at the embedding; give the full file with --weights")


def _chunks(paths: NDArray[Any]) -> Iterator[tuple[int, int]]:
    """Yield half-open row ranges of about ``_CHUNK`` rows; a recording is never in two, so none is read twice."""
    first = 0
    while first < len(paths):
        last = min(first + _CHUNK, len(paths))
        while last < len(paths) and paths[last] == paths[last - 1]:
            last += 1
        yield first, last
        first = last


class _Hearing:
    """Hears some rows, whole recordings each, batch by batch."""

    def __init__(self, archive: Archive, model: Embedder, locator: Locator, rows: pa.Table, top_k: int) -> None:
        self._config, self._model, self._locator, self._top_k = archive.config, model, locator, top_k
        self._paths = rows["path"].to_pylist()
        self._starts = rows["start_sample"].to_numpy()
        self._stored = archive.vectors_of(rows)
        self.failures: list[dict[str, Any]] = []

    def run(self) -> Iterator[tuple[list[int], _Best]]:
        """Yield places in the rows, and the best classes of each; recording by recording."""
        first = 0
        while first < len(self._paths):
            path = self._paths[first]
            last = first + 1
            while last < len(self._paths) and self._paths[last] == path:
                last += 1
            try:
                # A recording whose vectors turn out to be others gives no row at all.
                yield from list(self._recording(path, range(first, last)))
            except (SonothequeError, OSError) as error:
                reason = error.message if isinstance(error, SonothequeError) else str(error)
                self.failures.append({"path": path, "windows": last - first, "reason": reason})
            first = last

    def _recording(self, path: str, rows: range) -> Iterator[tuple[list[int], _Best]]:
        file = self._locator.find(path)
        batch: list[tuple[int, NDArray[np.float32]]] = []
        for found in self._windows(file, rows):
            batch.append(found)
            if len(batch) == self._model.batch_size:
                yield self._heard(file, batch)
                batch = []
        if batch:
            yield self._heard(file, batch)

    def _windows(self, file: str, rows: range) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield (row, samples) of the wanted windows of a file; it is read no further than the last of them."""
        left = {int(self._starts[row]): row for row in rows}
        for start, _, samples in open_windows(file, self._config.windows, channels=self._config.decode["channels"]):
            row = left.pop(start, None)
            if row is not None:
                yield row, samples
            if not left:
                return
        at_s = self._config.windows.seconds(min(left))
        raise Damaged(
            f"{file} has no window at {at_s:g} s any more: it was cut short, or replaced, since it was embedded"
        )

    def _heard(self, file: str, batch: list[tuple[int, NDArray[np.float32]]]) -> tuple[list[int], _Best]:
        at = [row for row, _ in batch]
        found = self._model.embed(np.stack([samples for _, samples in batch]), logits=True)
        cosine = _cosines(found.embeddings, self._stored[at])
        if not cosine.min() >= COSINE_MIN:  # so that NaN is caught too
            worst = int(cosine.argmin())
            raise Damaged(
                f"{file} gives another vector at {self._config.windows.seconds(int(self._starts[at[worst]])):g} s than the archive holds "
                f"(cosine {cosine[worst]:.3f}, at least {COSINE_MIN} is the same sound): it was changed, or the weights are others"
            )
        if found.logits is None:  # the weights have classes: `_require`
            raise Invalid(f"{self._model.spec.name} gave no logits")
        return at, _best(found.logits, self._top_k)  # all logits of a day's recording would be a gigabyte


def _cosines(ours: NDArray[np.float32], stored: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return float64 (n,); two vectors of nothing are alike, one of nothing is like no other."""
    a, b = ours.astype(np.float64), stored.astype(np.float64)
    one, other = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    alike = np.where((one == 0) & (other == 0), 1.0, 0.0)
    cosines: NDArray[np.float64] = np.divide((a * b).sum(axis=1), one * other, out=alike, where=one * other != 0)
    return cosines


def _best(logits: NDArray[np.float32], top_k: int) -> _Best:
    return top_classes(logits, top_k)


def _rows(windows: pa.Table, model: Embedder, best: _Best) -> pa.Table:
    """Return a row for each window and class, best first; what is repeated for each class is kept once."""
    index, values = best
    n, k = index.shape
    repeated = windows.select(_SHOWN).take(np.repeat(np.arange(n), k))
    for name in ("path", "site", "deployment"):
        at = repeated.schema.get_field_index(name)
        repeated = repeated.set_column(at, name, repeated[name].cast(pa.string()).dictionary_encode())
    labels = [model.classes[i] for i in index.ravel().tolist()]
    columns = {
        "rank": pa.array(np.tile(np.arange(1, k + 1, dtype=np.int32), n)),
        "label": pa.array(labels, pa.string()).dictionary_encode(),
        "logit": pa.array(values.ravel()),
        "score": pa.array(model.scores(values).ravel()),
    }
    for name, column in columns.items():
        repeated = repeated.append_column(name, column)
    return repeated
