"""A season that is on no disk: names, sizes, times and headers of 10^6 recordings, made as they are asked for.

50 sites with an AudioMoth each, 108 recordings of 65 s a day, as many days as it takes. What a walk and a header would tell is given by two
functions that stand in for those of the program; everything behind them is the program's own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import cluster.inventory
from embedder.audio import FoundFile
from embedder.recorders import Describer
from embedder.recorders.chunks import RiffFacts
from sonotheque.core.recording import SourceFile

SITES, PER_DAY, FILE_S, RATE_HZ = 50, 108, 65.0, 48_000
_EVERY = timedelta(seconds=800)
_FIRST = datetime(2025, 4, 1)
_BYTES = int(FILE_S * RATE_HZ * 2)


def starts(count: int) -> Iterator[datetime]:
    """Yield the starts of a site's recordings."""
    for number in range(count):
        day, place = divmod(number, PER_DAY)
        yield _FIRST + timedelta(days=day) + place * _EVERY


def per_site(files: int) -> list[int]:
    """Return how many of so many files each site has."""
    return [files // SITES + (site < files % SITES) for site in range(SITES)]


def listing(root: str, files: int) -> Iterator[FoundFile]:
    """Yield what a walk would find, in its order."""
    for site, count in enumerate(per_site(files)):
        for number, start in enumerate(starts(count)):
            mtime_ns = 1_743_500_000_000_000_000 + (site * 100_000 + number) * 1_000_000_007
            yield FoundFile(f"{root}/S{site:02d}/{start:%Y%m%d_%H%M%S}.WAV", 488 + _BYTES + 2 * (number % 7), mtime_ns)


def header(_describer: Describer, _root: str, source: SourceFile) -> tuple[RiffFacts, float]:
    """Return what the header of a listed file would say."""
    site, _, name = source.path.rpartition("/")
    clock = f"{name[9:11]}:{name[11:13]}:{name[13:15]} {name[6:8]}/{name[4:6]}/{name[:4]}"
    comment = (
        f"Recorded at {clock} (UTC) by AudioMoth 24F319055FDF{site[1:]}95 at medium gain while battery was 4.{name[7]}V "
        f"and temperature was 1{name[10]}.{name[11]}C."
    )
    riff = RiffFacts(
        "WAV",
        format_tag=1,
        channels=1,
        sample_rate_hz=RATE_HZ,
        bits_per_sample=16,
        block_align=2,
        byte_rate=2 * RATE_HZ,
        data_offset=488,
        declared_data_bytes=_BYTES,
        available_data_bytes=_BYTES,
        comment=comment,
        artist=f"AudioMoth 24F319055FDF{site[1:]}95",
    )
    return riff, riff.duration_s


@contextmanager
def instead_of_a_disk(files: int) -> Iterator[None]:
    """Let walks find the listing, and headers be those of the listing."""
    places: list[tuple[Any, str, Any]] = [
        (cluster.inventory, "find_audio", lambda source, problems=None: listing(source, files)),
        (Describer, "_read_header", header),
    ]
    before = [getattr(module, name) for module, name, _ in places]
    for module, name, put in places:
        setattr(module, name, put)
    try:
        yield
    finally:
        for (module, name, _), was in zip(places, before, strict=True):
            setattr(module, name, was)
