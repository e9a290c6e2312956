"""Random stores that grow and change after an index was built, against the twin."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sonotheque.core.filters import HourSpan, SearchFilter
from store import Archive, load_ledger
from store.care import compact
from store.index import IndexWishes, SearchQuery, build_index, open_index, searching, update_index, wishes
from tests.index import kit
from tests.store.kit import recording_id

PATHS = [f"{site}/{day}-{n}.wav" for site in kit.SITES for day in range(2) for n in range(2)]
STEPS = ("fresh", "changed", "update", "compact", "rebuild")
TYPES = {"float16": (1.0, 1e-4, 1e3), "float32": (1.0, 1e-25, 1e25)}  # scales that a type can hold


def vectors_of(rng: np.random.Generator, n: int, dim: int, style: str, scale: float) -> np.ndarray:
    """Whole numbers give ties and equal vectors; ``wild`` rows have lengths far apart."""
    if style == "whole":
        found = rng.integers(-1, 2, (n, dim)).astype(np.float64)
    elif style == "few":
        found = np.eye(dim)[rng.integers(0, 3, n)]
    else:
        found = rng.standard_normal((n, dim)) * 10.0 ** rng.integers(-2, 2, (n, 1))
    found[rng.random(n) < 0.1] = 0
    return (found * scale).astype(np.float32)


class Growing:
    """A store to which things happen."""

    def __init__(self, folder: Path, rng: np.random.Generator, draw: dict) -> None:
        self.rng, self.draw = rng, draw
        self.version = 1
        self.unused = list(PATHS)
        self.root, self.config = kit.kit.new_store(folder, kit.config_of(draw["dim"], draw["dtype"]))
        for _ in range(draw["parts"]):
            self.fresh()

    def _items(self, paths: list[str]) -> dict[str, np.ndarray]:
        sizes = self.rng.integers(1, self.draw["most"] + 1, len(paths))
        style = self.draw["style"], self.draw["scale"]
        return {p: vectors_of(self.rng, int(n), self.draw["dim"], *style) for p, n in zip(paths, sizes, strict=True)}

    def fresh(self) -> None:
        count = int(self.rng.integers(1, 3))
        paths, self.unused = self.unused[:count], self.unused[count:]
        if paths:
            kit.commit(self.root, self.config, self._items(paths))
        kit.snap(self.root, self.config)

    def changed(self) -> None:
        held = {e.path: name for name, e in load_ledger(self.root).live.values()}
        path = str(self.rng.choice(sorted(held)))
        self.version += 1
        kit.commit(self.root, self.config, self._items([path]), version=self.version, replaces={path: held[path]})
        kit.snap(self.root, self.config)

    def compact(self) -> None:
        compact(self.root)

    def update(self) -> None:
        with Archive(self.root) as archive:
            update_index(archive)

    def rebuild(self) -> None:
        with Archive(self.root) as archive:
            build_index(archive, IndexWishes(kind=self.draw["kind"]))


drawn = st.fixed_dictionaries(
    {
        "dim": st.sampled_from([16, 17]),
        "dtype": st.sampled_from(["float16", "float32"]),
        "parts": st.integers(1, 3),
        "most": st.sampled_from([1, 9, 40]),
        "style": st.sampled_from(["whole", "few", "wild"]),
        "kind": st.sampled_from(["coded", "coded", "exact"]),
        "segment_rows": st.sampled_from([20, 2_000_000]),
        "size": st.integers(0, 2),
    }
)


@settings(max_examples=20, deadline=None)
@given(
    draw=drawn, steps=st.lists(st.sampled_from(STEPS), max_size=4), seed=st.integers(0, 2**32 - 1), plan=st.booleans()
)
def test_whatever_happens_to_a_store(draw, steps, seed, plan):
    """After every step the answers are the twin's: nothing stale, nothing short, scores and order to the last bit."""
    rng = np.random.default_rng(seed)
    draw["scale"] = TYPES[draw["dtype"]][draw["size"]]
    folder = Path(tempfile.mkdtemp())
    try:
        with (
            mock.patch.object(searching, "EXACT_ROWS", 0),
            mock.patch.object(searching, "CODED_ROWS", 0 if plan else 1000),
            mock.patch.object(wishes, "SEGMENT_ROWS", draw["segment_rows"]),
        ):
            world = Growing(folder, rng, draw)
            world.rebuild()
            compare(world, rng)
            for step in steps:
                getattr(world, step)()
                compare(world, rng)
    finally:
        shutil.rmtree(folder)


def compare(world: Growing, rng: np.random.Generator) -> None:
    with Archive(world.root) as archive:
        index, twin = open_index(archive), kit.Twin(archive)
        n = len(twin.ids)
        some = vectors_of(rng, 4, world.draw["dim"], "wild", world.draw["scale"])
        able = [v for v in (*some, *twin.vectors[rng.integers(0, n, 2)]) if v.any()]
        for number, vector in enumerate(able):
            query = SearchQuery(
                np.stack([vector, able[0]]) if number == 1 else vector,
                k=int(rng.choice([1, 5, n, n + 5])),
                where=(None, SearchFilter(hours=HourSpan(0, 720)), SearchFilter(recordings=("*-0.wav",)))[number % 3],
                combine=("best", "mean")[number % 2],
                without=(recording_id(PATHS[0]),) if number == 3 else (),
                best_per=(None, None, "site", "recording")[number % 4],
            )
            kit.check(index.search(query), query, twin)
            whole = SearchQuery(
                query.vectors, query.k, query.where, query.combine, query.without, query.best_per, exact=True
            )
            kit.check(index.search(whole), whole, twin)
