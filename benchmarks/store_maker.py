"""A store of any size, made fast and the same everywhere: what the questions are measured on.

Sites, days, times, ledgers, predictions and the commit are those of a real store. Only the vectors are cheap: rows of a small pool, so
that the store is a sixth of the size it would have (``Shape.per_part``). Which classes a window gets follows from a long-tailed
community, the hour (chiffchaffs by day, tawny owls at night) and the site.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from benchmarks.community import CLASSES, KNOWN, QUIET, TOP_K, Community
from sonotheque.core.ids import digest_of
from sonotheque.core.model_spec import ModelSpec, classes_digest
from sonotheque.core.outcome import DecodeSummary, Status, TopLabel
from sonotheque.core.recording import Recording, RecordingTime, SourceFile
from sonotheque.core.windows import WindowRule
from store import (
    PartWriter,
    StoreConfig,
    WindowRows,
    create_config,
    layout,
    ledger_entry,
    load_ledger,
    part_id,
    write_snapshot,
)

MADE = "made.txt"  # how long it took
FIRST_DAY = date(2025, 4, 1)
WINDOW_S, RATE_HZ = 5, 32_000
STARTS = (  # of each day
    *("00:00", "02:00", "03:00", "04:00", "04:30", "05:00", "05:30"),
    *("06:00", "07:00", "09:00", "12:00", "18:00", "20:30", "22:00"),
)
WINDOWS_EACH = 120  # ten minutes
# Zone, latitude, longitude: sites lie around these in turn.
_PLACES = (
    ("Europe/Berlin", 50.8, 13.6),
    ("Europe/London", 52.2, -1.3),
    ("Europe/Helsinki", 61.5, 23.8),
    ("Europe/Lisbon", 39.6, -8.0),
    ("Europe/Athens", 39.1, 22.4),
)


@dataclass(frozen=True, slots=True)
class Shape:
    """How much there is.

    Attributes
    ----------
    sites, days : int
    dim : int
    pool, per_part : int
        Vectors that there are in all, and that any one part draws its rows from. A part with one for each row has each once.
    seed : int
    """

    sites: int
    days: int
    dim: int = 1536
    pool: int = 4096
    per_part: int = 64
    seed: int = 1

    @classmethod
    def of(cls, windows: int) -> Shape:
        """Return the shape that has at least so many windows: 50 sites and 60 days give five million."""
        each = len(STARTS) * WINDOWS_EACH
        sites = min(50, max(1, round(50 * math.sqrt(windows / (50 * 60 * each)))))
        return cls(sites, math.ceil(windows / (sites * each)))

    @property
    def windows(self) -> int:
        """Windows in all."""
        return self.sites * self.days * len(STARTS) * WINDOWS_EACH

    @property
    def name(self) -> str:
        """A folder's name; two stores of one name are the same."""
        text = digest_of([asdict(self), _PLACES, STARTS, WINDOWS_EACH, TOP_K, KNOWN, QUIET, CLASSES, 1])
        return f"store-{self.windows}-{text[:10]}"

    def words(self) -> str:
        """What the data set is, for a result."""
        return (
            f"synthetic store: {self.windows:,} windows of {WINDOW_S} s, {self.dim}-d float16, {self.sites} sites x {self.days} days "
            f"x {len(STARTS)} recordings of {WINDOWS_EACH * WINDOW_S // 60} min, top {TOP_K} of {CLASSES} classes a window, one part a site "
            f"and day; vectors drawn from a pool of {self.pool} ({self.per_part} in any one part): file sizes are not those of real embeddings"
        )


def store_config(shape: Shape, labels: tuple[str, ...]) -> StoreConfig:
    """Return the settings of the store; its model is named for what it is."""
    spec = ModelSpec(
        "synthetic",
        "1",
        digest_of(asdict(shape)),
        RATE_HZ,
        WINDOW_S * RATE_HZ,
        shape.dim,
        len(labels),
        classes_digest(labels),
        "score = 1 / (1 + exp(-logit))",
    )
    return StoreConfig(spec, WindowRule.for_model(spec), {"channels": "mean"}, "float16", TOP_K)


def site_name(number: int) -> str:
    """Return a site's name."""
    return f"site-{number + 1:02d}"


def recordings_of(site: int, day: int) -> list[Recording]:
    """Return the recordings of one site and day, in path order."""
    zone, latitude, longitude = _PLACES[site % len(_PLACES)]
    name, local_date = site_name(site), FIRST_DAY + timedelta(days=day)
    step = site // len(_PLACES) * 0.05
    device: dict[str, str | float] = {
        "recorder": "synthetic",
        "latitude": round(latitude + step, 4),
        "longitude": round(longitude - step, 4),
    }
    found = []
    for i, clock in enumerate(STARTS):
        local = datetime.fromisoformat(f"{local_date}T{clock}")
        aware = local.replace(tzinfo=ZoneInfo(zone))
        offset_min = int((aware.utcoffset() or timedelta()).total_seconds() // 60)
        moment = RecordingTime(local, aware.astimezone(ZoneInfo("UTC")), offset_min, zone, "name")
        path = f"{name}/{local:%Y%m%d_%H%M%S}.WAV"
        size_bytes = 2 * RATE_HZ * WINDOWS_EACH * WINDOW_S + 44
        source = SourceFile(path, size_bytes, 1_743_500_000_000_000_000 + (day * len(STARTS) + i) * 10**9)
        found.append(Recording(source, name, moment, f"{name}-spring", float(WINDOWS_EACH * WINDOW_S), device))
    return found


def pool_vectors(shape: Shape) -> NDArray[np.float32]:
    """Return the pool: vectors of length about 1, already rounded to float16; float32, (pool, dim)."""
    drawn = np.random.default_rng([shape.seed, 1]).standard_normal((shape.pool, shape.dim), np.float32)
    return (drawn / np.float32(math.sqrt(shape.dim))).astype(np.float16).astype(np.float32)


@dataclass(slots=True)
class Maker:
    """Makes parts; one in each process."""

    root: str
    shape: Shape
    community: Community
    config: StoreConfig
    pool: NDArray[np.float32]

    @classmethod
    def of(cls, root: str, shape: Shape) -> Maker:
        """Return a maker with its pool and classes."""
        community = Community.of(shape.seed)
        return cls(root, shape, community, store_config(shape, community.labels), pool_vectors(shape))

    def part(self, site: int, day: int) -> None:
        """Write and commit the part of one site and day, unless it is there."""
        recordings = recordings_of(site, day)
        identity, local_date = part_id(self.config.digest, recordings), str(FIRST_DAY + timedelta(days=day))
        name = layout.part_name(identity)
        if os.path.exists(f"{self.root}/{layout.part_path(layout.EMBEDDINGS, site_name(site), local_date, name)}"):
            return
        rng = np.random.default_rng([self.shape.seed, 2, site, day])
        liking = self.community.likings(self.shape.seed, site)
        own = self.pool[rng.choice(self.shape.pool, self.shape.per_part, replace=False)]
        with PartWriter(
            self.root,
            self.config,
            part_id=identity,
            site=site_name(site),
            date=local_date,
            classes=self.community.labels,
        ) as writer:
            writer.commit([self._recording(writer, r, own, liking, rng) for r in recordings])

    def _recording(
        self,
        writer: PartWriter,
        recording: Recording,
        own: NDArray[np.float32],
        liking: NDArray[np.float32],
        rng: np.random.Generator,
    ) -> dict[str, Any]:
        n, samples = WINDOWS_EACH, self.config.windows.window_samples
        starts = np.arange(n, dtype=np.int64) * samples
        begins = recording.time.local_start or datetime.min
        hours = (begins.hour + (begins.minute * 60 + starts // RATE_HZ) // 3600) % 24
        top = self.community.top(hours, liking, rng)
        first = writer.rows
        is_enough = len(own) >= len(STARTS) * n  # then no vector of a part comes twice
        vectors = own[first : first + n] if is_enough else own[rng.integers(0, len(own), n)]
        writer.add(WindowRows(recording, starts, np.full(n, samples, np.int64), vectors, top))
        frames = n * WINDOW_S * RATE_HZ
        done = DecodeSummary(Status.OK, "", RATE_HZ, 1, frames, frames, float(n * WINDOW_S), "WAV", "PCM_16")
        best = int(top.score[:, 0].argmax())
        label = TopLabel(
            self.community.labels[top.index[best, 0]], round(float(top.score[best, 0]), 6), float(best * WINDOW_S)
        )
        return ledger_entry(recording, done, windows=n, first_row=first, top=label)


_maker: Maker | None = None


def _start(root: str, shape: Shape) -> None:
    global _maker
    _maker = Maker.of(root, shape)


def _site(number: int) -> int:
    if _maker is None:
        raise RuntimeError("no maker in this process")
    for day in range(_maker.shape.days):
        _maker.part(number, day)
    return number


def _made(root: str, shape: Shape, processes: int) -> Iterator[int]:
    if processes < 2 or shape.sites < 2:
        _start(root, shape)
        yield from map(_site, range(shape.sites))
        return
    with multiprocessing.get_context("spawn").Pool(processes, _start, (root, shape)) as pool:
        yield from pool.imap_unordered(_site, range(shape.sites))


def make_store(folder: Path, shape: Shape, *, processes: int = 2, rebuild: bool = False, quiet: bool = False) -> Path:
    """Return the store of a shape, made now unless it is there; a making that was broken off goes on where it was.

    Parameters
    ----------
    folder : Path
        Where stores are kept.
    shape : Shape
    processes : int
    rebuild : bool
        Remove the one that is there first.
    quiet : bool
        No progress on stderr.
    """
    root = folder / shape.name
    if rebuild and root.exists():
        shutil.rmtree(root)
    if (root / layout.snapshot_path(1)).exists():
        return root
    began = time.perf_counter()
    config = store_config(shape, Community.of(shape.seed).labels)
    create_config(str(root), config)
    for done, _ in enumerate(_made(str(root), shape, processes), 1):
        if not quiet:
            _tell(f"{root.name}: {done} of {shape.sites} sites, {time.perf_counter() - began:.0f} s")
    write_snapshot(str(root), config, load_ledger(str(root)))
    (root / MADE).write_text(f"{time.perf_counter() - began:.1f} s with {processes} processes\n", "ascii")
    return root


def _tell(text: str) -> None:
    from sonotheque.cli.output import tell

    tell(text)
