"""What kind of index suits an archive: chosen from its size, the memory there is and the recall wanted, and explained."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from sonotheque.core.errors import Invalid

KINDS: Final = ("exact", "coded")
EXACT_ROWS: Final = 100_000  # up to here an exact scan takes some 20 ms on one core, and there is nothing to tune
SEGMENT_ROWS: Final = 2_000_000
_TRAIN_EACH, _TRAIN_LEAST = 40, 64
# CPU seconds a row of 1,536 dimensions (and of a cluster), measured: "stages_s" in benchmarks/results/search.json.
_READ_S, _ENCODE_S, _ASSIGN_S, _TRUTH_S = 17e-6, 40e-6, 35e-9, 18e-6


@dataclass(frozen=True, slots=True)
class IndexWishes:
    """What is wanted of an index.

    Attributes
    ----------
    recall : float
        Share of the true 50 nearest windows that a search finds, in the mean.
    memory_bytes : int or None
        What may be held in memory while searching; 1/4 of what the codes of the whole archive take is the least.
    kind : str or None
        ``exact`` or ``coded``; chosen if None.
    threads : int
        For building; 0 = all cores.
    seed : int

    Raises
    ------
    Invalid
        If a value cannot be right.
    """

    recall: float = 0.995
    memory_bytes: int | None = None
    kind: str | None = None
    threads: int = 0
    seed: int = 1

    def __post_init__(self) -> None:
        if not 0.5 <= self.recall <= 1.0:
            raise Invalid(f"recall {self.recall:g}: expected 0.5 to 1, such as 0.995")
        if self.kind is not None and self.kind not in KINDS:
            raise Invalid(f"kind {self.kind!r}: expected {' or '.join(KINDS)}")
        if self.memory_bytes is not None and self.memory_bytes <= 0:
            raise Invalid(f"memory {self.memory_bytes:,} bytes: expected more than none")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an index is made.

    Attributes
    ----------
    kind : str
        ``exact``: every eligible vector is compared. ``coded``: one bit a dimension in clusters, and the likeliest compared in full.
    n, dim : int
        Windows, and length of their vectors.
    lists : int
        Clusters; 0 for ``exact``.
    code_dim : int
        Dimensions that are coded; fewer than ``dim`` if memory is scarce.
    segment_rows : int
        Windows in one segment at most.
    train_rows : int
        Windows that clusters are learnt from.
    code_bytes : int
        Codes of one window.
    ram_bytes : int
        Held in memory (or in the system's page cache) while searching.
    build_ram_bytes, disk_bytes : int
    build_s : float
        Expected CPU seconds.
    recall : float
        Wanted; the build measures what it is.
    why : list of str
        The reasons, in sentences.
    """

    kind: str
    n: int
    dim: int
    lists: int
    code_dim: int
    segment_rows: int
    train_rows: int
    code_bytes: int
    ram_bytes: int
    build_ram_bytes: int
    disk_bytes: int
    build_s: float
    recall: float
    why: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return asdict(self)


def plan_index(n: int, dim: int, wishes: IndexWishes, *, itemsize: int = 2) -> Recipe:
    """Choose how ``n`` vectors are indexed.

    Parameters
    ----------
    n, dim : int
    wishes : IndexWishes
    itemsize : int
        Bytes of a stored number: 2 for float16.

    Raises
    ------
    Invalid
        If the memory cannot hold even the smallest codes.
    """
    kind = wishes.kind or ("exact" if n <= EXACT_ROWS or wishes.recall == 1.0 else "coded")
    vectors = n * dim * itemsize
    sidecar = n * 90
    read_s = n * _READ_S * dim / 1536
    if kind == "exact":
        why = [_why_exact(n, wishes)]
        return Recipe(
            kind, n, dim, 0, 0, SEGMENT_ROWS, 0, 0, vectors, 64 << 20, vectors + sidecar, read_s, wishes.recall, why
        )
    lists = _lists(n)
    code_dim, why = _code_dim(n, dim, lists, wishes.memory_bytes)
    code = code_bytes(code_dim)
    ram = _hot_bytes(n, dim, lists, code_dim)
    train = min(n, max(_TRAIN_LEAST, _TRAIN_EACH * lists))
    scale = dim / 1536
    build_s = read_s + n * scale * (_ENCODE_S + _ASSIGN_S * lists + _TRUTH_S) + train * lists * 10 * scale * 4e-8
    build_ram = min(n, SEGMENT_ROWS) * code + train * dim * 4 * 2 + (200 << 20)
    why.insert(
        0,
        f"{n:,} windows: codes of {code} bytes in {lists:,} clusters choose what is compared in full; "
        f"{ram / (n * dim * 4):.3f} of the float32 bytes stay in memory",
    )
    disk = vectors + n * code + sidecar
    return Recipe(
        kind, n, dim, lists, code_dim, SEGMENT_ROWS, train, code, ram, build_ram, disk, build_s, wishes.recall, why
    )


def code_bytes(code_dim: int) -> int:
    """Return the bytes that one window takes among the codes: a bit a dimension, two factors and a row number (FAISS RaBitQ)."""
    return -(-code_dim // 8) + 8 + 8


def _lists(n: int) -> int:
    """Return half the power of two nearest to the square root of ``n``: what is looked through falls, and choosing grows, with it."""
    return int(2 ** max(2, min(14, round(math.log2(max(n, 1)) / 2) - 1)))


def _hot_bytes(n: int, dim: int, lists: int, code_dim: int) -> int:
    return n * code_bytes(code_dim) + lists * dim * 4


def _code_dim(n: int, dim: int, lists: int, memory_bytes: int | None) -> tuple[int, list[str]]:
    if memory_bytes is None:
        return dim, []
    for parts in (1, 2, 4):
        if dim % parts == 0 and _hot_bytes(n, dim, lists, dim // parts) <= memory_bytes:
            why = [f"within {_size(memory_bytes)} of memory"]
            if parts > 1:
                why.append(
                    f"only the {dim // parts:,} dimensions with most variance are coded, 1/{parts} of them: more windows are compared in full"
                )
            return dim // parts, why
    least = _hot_bytes(n, dim, lists, max(1, dim // 4))
    raise Invalid(
        f"{_size(memory_bytes)} of memory cannot hold codes of {n:,} windows: the smallest take {_size(least)}. "
        "Give more, or build with kind exact, which reads the vectors from disk"
    )


def _size(value: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if value < 1024:
            return f"{value:,.0f} {unit}"
        value /= 1024
    return f"{value:,.1f} GiB"


def _why_exact(n: int, wishes: IndexWishes) -> str:
    if wishes.kind == "exact":
        return "asked for: every eligible window is compared, from a memory map that needs no memory of its own"
    if n <= EXACT_ROWS:
        return f"{n:,} windows are few: comparing them all takes milliseconds, and finds everything"
    return "recall 1 was asked for: only comparing every window gives it"
