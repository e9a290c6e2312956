"""The archive that is searched: generated vectors in a real store, committed as ``embed`` commits, and the same rows as one plain file.

Sites are made independently, one process each, so a store is the same however many processes made it.
"""

from __future__ import annotations

import multiprocessing
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from benchmarks.community import Community
from benchmarks.search_data import Clusters, queries, site_windows
from benchmarks.search_layout import HOURS, WINDOW_S, Layout
from benchmarks.store_maker import RATE_HZ, Shape, site_name, store_config
from sonotheque.core.ids import digest_of
from sonotheque.core.outcome import DecodeSummary, Status, TopLabel
from sonotheque.core.recording import Recording, RecordingTime, SourceFile
from store import PartWriter, StoreConfig, WindowRows, create_config, layout, ledger_entry, load_ledger, part_id
from store import write_snapshot as commit_snapshot

QUERIES = 500  # that are made; a run asks some of them
MADE = "made.txt"
_ZONE = "Europe/Berlin"
_VERSION = 1  # of what is made


def folder_name(shape: Layout, model: str | None = None) -> str:
    """Return a folder's name; two of one name hold the same."""
    named = [] if model is None else [model]
    return f"search-{shape.windows}-{digest_of([asdict(shape), HOURS, _VERSION, *named])[:10]}"


def words(shape: Layout) -> str:
    """What the data are, for a result."""
    return (
        f"{shape.windows:,} generated windows of {shape.dim} dimensions (search_data.py, seed {shape.seed}), float16, in a real store: {shape.sites} "
        f"sites x {shape.days} days x {len(HOURS)} recordings of {shape.each} windows; queries are windows left out of it"
    )


def recordings_of(shape: Layout, site: int, day: int) -> list[Recording]:
    """Return the recordings of one site and day, in path order."""
    name, zone = site_name(site), ZoneInfo(_ZONE)
    length_s = float(shape.each * WINDOW_S)
    found = []
    for number, hour in enumerate(HOURS):
        local = datetime.combine(shape.day(day), datetime.min.time()).replace(hour=hour)
        aware = local.replace(tzinfo=zone)
        offset_min = int(aware.utcoffset().total_seconds() // 60)  # type: ignore[union-attr]
        moment = RecordingTime(local, aware.astimezone(UTC), offset_min, _ZONE, "name")
        size_bytes = int(2 * RATE_HZ * length_s) + 44
        at_ns = 1_743_500_000_000_000_000 + (day * len(HOURS) + number) * 10**9
        source = SourceFile(f"{name}/{local:%Y%m%d_%H%M%S}.WAV", size_bytes, at_ns)
        device: dict[str, str | float] = {"recorder": "synthetic", "latitude": 50.8 + site * 0.05, "longitude": 13.6}
        found.append(Recording(source, name, moment, f"{name}-spring", length_s, device))
    return found


def settings(shape: Layout, labels: tuple[str, ...]) -> StoreConfig:
    """Return the settings of the store."""
    return store_config(Shape(shape.sites, shape.days, shape.dim, seed=shape.seed), labels)


def settings_of(model: str, shape: Layout) -> tuple[StoreConfig, tuple[str, ...]]:
    """Return the settings of a store that real clips can be searched in, and the model's classes: its vectors are still generated."""
    from embedder.models import load_model
    from sonotheque.core.windows import WindowRule

    loaded = load_model(model)
    if loaded.spec.dim != shape.dim:
        raise ValueError(f"{model} has vectors of {loaded.spec.dim} dimensions, not {shape.dim}")
    rule = WindowRule.for_model(loaded.spec)
    return replace(settings(shape, loaded.classes), model=loaded.spec, windows=rule), loaded.classes


@dataclass(slots=True)
class _Maker:
    """Makes sites; one in each process."""

    folder: Path
    shape: Layout
    clusters: Clusters
    community: Community
    config: StoreConfig
    classes: tuple[str, ...]

    @classmethod
    def of(cls, folder: Path, shape: Layout, model: str | None = None) -> _Maker:
        community = Community.of(shape.seed)
        clusters = Clusters.make(shape.windows, shape.dim, shape.seed)
        config, classes = settings_of(model, shape) if model else (settings(shape, community.labels), community.labels)
        return cls(folder, shape, clusters, community, config, classes)

    def site(self, number: int) -> None:
        shape, first = self.shape, number * self.shape.per_site
        everything = np.memmap(self.folder / "vectors.f16", np.float16, "r+", shape=(shape.windows, shape.dim))
        at = first
        for block in site_windows(self.clusters, shape.windows, shape.seed, number, shape.sites):
            everything[at : at + len(block)] = block
            at += len(block)
        liking = self.community.likings(shape.seed, number)
        a_day = len(HOURS) * shape.each
        for day in range(shape.days):
            rows = everything[first + day * a_day : first + (day + 1) * a_day]
            self.write_day(number, day, rows, liking, np.random.default_rng([shape.seed, 2, number, day]))

    def write_day(
        self, site: int, day: int, rows: NDArray[np.float16], liking: NDArray[np.float32], rng: np.random.Generator
    ) -> None:
        """Commit one day of a site."""
        recordings = recordings_of(self.shape, site, day)
        identity, local_date = part_id(self.config.digest, recordings), str(self.shape.day(day))
        root = self.folder / "store"
        if (
            root / layout.part_path(layout.EMBEDDINGS, site_name(site), local_date, layout.part_name(identity))
        ).exists():
            return
        with PartWriter(
            str(root),
            self.config,
            part_id=identity,
            site=site_name(site),
            date=local_date,
            classes=self.classes,
        ) as writer:
            n = self.shape.each
            entries = [
                self._recording(writer, r, rows[i * n : (i + 1) * n], liking, rng) for i, r in enumerate(recordings)
            ]
            writer.commit(entries)

    def _recording(
        self,
        writer: PartWriter,
        recording: Recording,
        vectors: NDArray[np.float16],
        liking: NDArray[np.float32],
        rng: np.random.Generator,
    ) -> dict[str, Any]:
        n, samples = len(vectors), self.config.windows.window_samples
        starts = np.arange(n, dtype=np.int64) * samples
        begins = recording.time.local_start or datetime.min
        top = self.community.top(np.full(n, begins.hour), liking, rng)
        first = writer.rows
        writer.add(WindowRows(recording, starts, np.full(n, samples, np.int64), vectors.astype(np.float32), top))
        frames = n * samples
        done = DecodeSummary(Status.OK, "", RATE_HZ, 1, frames, frames, float(n * WINDOW_S), "WAV", "PCM_16")
        best = int(top.score[:, 0].argmax())
        name, score = self.classes[top.index[best, 0]], round(float(top.score[best, 0]), 6)
        label = TopLabel(name, score, float(best * WINDOW_S))
        return ledger_entry(recording, done, windows=n, first_row=first, top=label)


_maker: _Maker | None = None


def _start(folder: Path, shape: Layout, model: str | None = None) -> None:
    global _maker
    _maker = _Maker.of(folder, shape, model)


def _site(number: int) -> int:
    if _maker is None:
        raise RuntimeError("no maker in this process")
    _maker.site(number)
    return number


def _made(folder: Path, shape: Layout, processes: int, model: str | None) -> Iterator[int]:
    if processes < 2:
        _start(folder, shape, model)
        yield from map(_site, range(shape.sites))
        return
    with multiprocessing.get_context("spawn").Pool(processes, _start, (folder, shape, model)) as pool:
        yield from pool.imap_unordered(_site, range(shape.sites))


def make_search_store(
    scratch: Path,
    shape: Layout,
    *,
    model: str | None = None,
    processes: int = 2,
    rebuild: bool = False,
    quiet: bool = False,
) -> Path:
    """Return a folder with ``store``, ``vectors.f16`` (the same rows), ``queries.npy`` and the layout; made now unless it is there.

    Parameters
    ----------
    scratch : Path
        Where such folders are kept.
    shape : Layout
    model : str, optional
        A real model whose store it is to be, so that clips can be searched with; a made-up one by default.
    processes : int
    rebuild : bool
        Remove the one that is there first.
    quiet : bool
        No progress on stderr.
    """
    folder = scratch / folder_name(shape, model)
    if rebuild and folder.exists():
        shutil.rmtree(folder)
    if (folder / MADE).exists():
        return folder
    began = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    shape.save(folder)
    np.memmap(folder / "vectors.f16", np.float16, "w+", shape=(shape.windows, shape.dim)).flush()
    drawn = queries(Clusters.make(shape.windows, shape.dim, shape.seed), QUERIES, shape.seed)
    np.save(folder / "queries.npy", drawn)
    root = str(folder / "store")
    config = settings_of(model, shape)[0] if model else settings(shape, Community.of(shape.seed).labels)
    create_config(root, config)
    for done, _ in enumerate(_made(folder, shape, processes, model), 1):
        if not quiet and done % 10 == 0:
            _tell(f"{folder.name}: {done} of {shape.sites} sites, {time.perf_counter() - began:.0f} s")
    commit_snapshot(root, config, load_ledger(root))
    (folder / MADE).write_text(f"{time.perf_counter() - began:.1f} s with {processes} processes\n", "ascii")
    return folder


def write_store(folder: Path, shape: Layout, vectors: NDArray[np.float16]) -> str:
    """Write a store of one site's vectors, (``shape.windows``, dim), and return it; for other benchmarks than the search."""
    community = Community.of(shape.seed)
    config = settings(shape, community.labels)
    nothing = Clusters(*(np.empty((0, 0), np.float32),) * 2, np.empty((0, 0), np.int64), np.empty(0))
    maker = _Maker(folder, shape, nothing, community, config, community.labels)
    root = str(folder / "store")
    folder.mkdir(parents=True, exist_ok=True)
    create_config(root, config)
    liking, a_day = community.likings(shape.seed, 0), len(HOURS) * shape.each
    for day in range(shape.days):
        rng = np.random.default_rng([shape.seed, 2, 0, day])
        maker.write_day(0, day, vectors[day * a_day : (day + 1) * a_day], liking, rng)
    commit_snapshot(root, config, load_ledger(root))
    return root


def _tell(text: str) -> None:
    from sonotheque.cli.output import tell

    tell(text)
