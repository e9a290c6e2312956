"""Small stores with vectors of one's own, every kind of index over them, and what any of them must answer, worked out the dumb way."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sonotheque.core.filters import SearchFilter
from sonotheque.core.recording import Recording
from sonotheque.core.search import SearchAnswer, SearchQuery
from store import Archive, PartWriter, StoreConfig, load_ledger, part_id, write_snapshot
from store.annotations import Annotation, AnnotationLog
from store.care import compact
from store.index import IndexWishes, build_index, open_index, searching, update_index, wishes
from store.index.manifest import IndexVersion
from store.scoring import cosines
from tests.ask.worlds import time_of
from tests.store import kit

DIM = 32
FIRST = datetime(2025, 5, 1, 4, 30)
SITES = {"Oak wood": "Europe/Berlin", "Fen": "America/New_York", "é/日": None}
Items = Mapping[str, np.ndarray]


def config_of(dim: int = DIM, dtype: str = "float16", top_k: int = 0) -> StoreConfig:
    return kit.store_config(dim=dim, dtype=dtype, top_k=top_k)


def recording(path: str, version: int = 1, replaces: Sequence[str] = ()) -> Recording:
    """A file ``site/day-n.wav``: the site is its folder, the day and the hour follow from its name."""
    site, _, name = path.rpartition("/")
    made = kit.recording(path, site=site or "A", version=version, replaces=replaces)
    day, _, n = name.removesuffix(".wav").partition("-")
    if not (day.isdigit() and n.isdigit()):
        return made
    local = FIRST + timedelta(days=int(day), hours=5 * int(n))
    return replace(made, time=time_of(local, SITES.get(site)))


def commit(
    root: str, config: StoreConfig, items: Items, *, version: int = 1, replaces: Mapping[str, str] | None = None
) -> str:
    """Commit one part of path -> vectors, without a snapshot; returns its id."""
    replaces = replaces or {}
    made = [(recording(p, version, [replaces[p]] if p in replaces else ()), len(v)) for p, v in sorted(items.items())]
    identity = part_id(config.digest, [rec for rec, _ in made])
    site = made[0][0].site
    classes = kit.CLASSES if config.top_k else ()
    with PartWriter(root, config, part_id=identity, site=site, date=None, classes=classes) as part:
        for rec, n in made:
            rows = kit.window_rows(rec, n, config)
            rows.embeddings[:] = items[rec.source.path]
            part.add(rows)
        part.commit(kit.entries(made))
    return identity


def snap(root: str, config: StoreConfig) -> None:
    write_snapshot(root, config, load_ledger(root))


def new_store(folder: Path, parts: Iterable[Items], config: StoreConfig | None = None) -> tuple[str, StoreConfig]:
    """A store of one part for each dict of path -> vectors, with a snapshot."""
    root, config = kit.new_store(folder, config or config_of())
    for items in parts:
        commit(root, config, items)
    snap(root, config)
    return root, config


def clustered(
    rng: np.random.Generator, n: int, dim: int = DIM, *, centres: int = 24, spread: float = 0.35
) -> np.ndarray:
    """Vectors around some centres, none of length 1; a few are doubled, a few are zero, a few are very long."""
    middle = np.random.default_rng(99).standard_normal((centres, dim))
    found = middle[rng.integers(0, centres, n)] + spread * rng.standard_normal((n, dim))
    found *= rng.uniform(0.1, 10, (n, 1))
    for _ in range(n // 20):
        found[rng.integers(n)] = found[rng.integers(n)]
    found[rng.integers(0, n, n // 40 + 1)] = 0
    found[rng.integers(0, n, n // 40 + 1)] *= 300
    return found.astype(np.float16).astype(np.float32)


def queries(count: int, dim: int = DIM, seed: int = 5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    found = clustered(rng, 40 * count + 40, dim)
    return found[np.linalg.norm(found, axis=1) > 0][:count] + rng.normal(0, 0.05, (count, dim)).astype(np.float32)


# --- a world of three sites, and every kind of index over it ---


def parts_of(seed: int, *, days: Sequence[int], each: int = 24, dim: int = DIM) -> list[dict[str, np.ndarray]]:
    """A part for each site and day, of four recordings of ``each`` windows."""
    rng = np.random.default_rng(seed)
    return [{f"{site}/{day}-{n}.wav": clustered(rng, each, dim) for n in range(4)} for site in SITES for day in days]


def make_world(folder: Path, dim: int = DIM) -> tuple[str, StoreConfig]:
    root, config = new_store(folder, parts_of(1, days=range(4), dim=dim), config_of(dim, top_k=2))
    spans = [("Oak wood/0-0.wav", 1.0, 40.0), ("Fen/2-1.wav", 0.0, 7.5), ("é/日/3-3.wav", 60.0, 61.0)]
    AnnotationLog(root).add(
        [Annotation(kit.recording_id(path), path, a, b, "Strix aluco") for path, a, b in spans],
        annotator="test",
        provenance="test",
    )
    return root, config


def add_fresh(root: str, config: StoreConfig) -> None:
    """New recordings, of a site that was there and of one that was not."""
    dim = config.model.dim
    rng = np.random.default_rng(2)
    commit(root, config, {f"Fen/9-{n}.wav": clustered(rng, 20, dim) for n in range(2)})
    commit(root, config, {f"New site/9-{n}.wav": clustered(rng, 20, dim) for n in range(2)})
    snap(root, config)


def supersede(root: str, config: StoreConfig) -> None:
    """Two recordings changed and were embedded again, with fewer windows and other vectors."""
    rng = np.random.default_rng(3)
    held = {e.path: name for name, e in load_ledger(root).live.values()}
    paths = ["Oak wood/1-2.wav", "Oak wood/2-0.wav"]
    items = {path: clustered(rng, 9, config.model.dim) for path in paths}
    commit(root, config, items, version=2, replaces={path: held[path] for path in paths})
    snap(root, config)


def late(root: str, config: StoreConfig) -> None:
    """One more recording after everything."""
    commit(root, config, {"Fen/12-0.wav": clustered(np.random.default_rng(12), 7, config.model.dim)})
    snap(root, config)


def tight(root: str) -> int:
    """Bytes that only the smallest codes fit in."""
    with Archive(root) as archive:
        n, dim = sum(p.rows for p in archive.snapshot.parts), archive.config.model.dim
    return wishes._hot_bytes(n, dim, wishes._lists(n), dim // 4)


def build(root: str, **options: Any) -> IndexVersion:
    with Archive(root) as archive:
        return build_index(archive, IndexWishes(**options))


def update(root: str) -> IndexVersion:
    with Archive(root) as archive:
        return update_index(archive)


def _segmented(root: str, config: StoreConfig) -> None:
    whole, wishes.SEGMENT_ROWS = wishes.SEGMENT_ROWS, 250  # type: ignore[misc]
    try:
        version = build(root, kind="coded")
    finally:
        wishes.SEGMENT_ROWS = whole  # type: ignore[misc]
    assert len(version.segments) > 3


def _then(*steps: Callable[[str, StoreConfig], Any]) -> Callable[[str, StoreConfig], None]:
    def made(root: str, config: StoreConfig) -> None:
        for step in steps:
            step(root, config)

    return made


def _coded(root: str, config: StoreConfig) -> None:
    build(root, kind="coded")


def _exact(root: str, config: StoreConfig) -> None:
    build(root, kind="exact")


def _update(root: str, config: StoreConfig) -> None:
    update(root)


def _compacted(root: str, config: StoreConfig) -> None:
    assert compact(root).merged > 3


KINDS: dict[str, Callable[[str, StoreConfig], None]] = {
    "none": _then(),
    "exact": _exact,
    "coded": _coded,
    "small codes": lambda root, config: assert_small(build(root, kind="coded", memory_bytes=tight(root))),
    "segments": _segmented,
    "exact, fresh": _then(_exact, add_fresh),
    "coded, fresh": _then(_coded, add_fresh),
    "updated": _then(_coded, add_fresh, supersede, _update),
    "segments, updated": _then(_segmented, add_fresh, supersede, _update),
    "superseded": _then(_coded, supersede),
    "exact, superseded": _then(_exact, supersede),
    "compacted": _then(_coded, supersede, _compacted),
    "all at once": _then(_segmented, supersede, add_fresh, _compacted, _update, late),
}


def assert_small(version: IndexVersion) -> None:
    assert version.recipe["code_dim"] == version.recipe["dim"] // 4


def copied(base: str, folder: Path) -> str:
    shutil.copytree(base, folder)
    return str(folder)


# --- the dumb twin ---


class Twin:
    """Every live window with its vector, read without any index, and the same answers by sorting all of them."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        tables, vectors = [], []
        for table, block in archive.vectors():
            tables.append(table.select(["recording_id", "start_sample", "path"]))
            vectors.append(block)
        self.vectors = np.concatenate(vectors) if vectors else np.zeros((0, archive.config.model.dim), np.float32)
        table = pa.concat_tables(tables).to_pylist() if tables else []
        self.ids = [(row["recording_id"], row["start_sample"]) for row in table]
        self.place = {i: n for n, i in enumerate(self.ids)}
        shown = archive.sql("SELECT recording_id, start_sample, path, site, date, start_s FROM windows").to_pylist()
        self.shown = {(row["recording_id"], row["start_sample"]): row for row in shown}
        assert self.shown.keys() == self.place.keys()
        self.recordings = np.array([r for r, _ in self.ids], np.int64)
        self.starts = np.array([start for _, start in self.ids], np.int64)
        self.meant: dict[SearchFilter | None, np.ndarray] = {}

    def eligible(self, query: SearchQuery) -> np.ndarray:
        """Places that the filter means, as the view ``windows`` has them."""
        if query.where not in self.meant:
            text, parameters = self.archive.select(query.where, columns="recording_id, start_sample")
            table = self.archive.sql(text, parameters)
            ids = zip(table["recording_id"].to_pylist(), table["start_sample"].to_pylist(), strict=True)
            self.meant[query.where] = np.array(sorted(self.place[i] for i in ids), np.int64)
        found = self.meant[query.where]
        return found[~np.isin(self.recordings[found], query.without)]

    def scores(self, query: SearchQuery) -> tuple[np.ndarray, np.ndarray]:
        each = np.stack([cosines(self.vectors, q) for q in query.vectors])
        if query.combine == "best":
            return each.max(axis=0), each.argmax(axis=0)
        mean = each[0] if len(each) == 1 else each.astype(np.float64).mean(axis=0).astype(np.float32)
        return mean, each.argmax(axis=0)

    def ordered(self, query: SearchQuery) -> list[int]:
        """All eligible places, the best first, without those that ``best_per`` and ``distinct`` leave out."""
        scores, _ = self.scores(query)
        at = self.eligible(query)
        places = at[np.lexsort((self.starts[at], self.recordings[at], -scores[at]))].tolist()
        if query.best_per is not None:
            names = {"recording": ("recording_id",), "site": ("site",), "day": ("site", "date")}[query.best_per]
            seen: set[tuple[Any, ...]] = set()
            kept = []
            for p in places:
                key = tuple(self.shown[self.ids[p]][name] for name in names)
                if key not in seen:
                    seen.add(key)
                    kept.append(p)
            places = kept
        if query.distinct is not None:
            kept = []
            for p in places:
                if not kept or self.nearness(kept, p) < query.distinct:
                    kept.append(p)
            places = kept
        return places

    def nearness(self, others: list[int], place: int) -> float:
        """The greatest cosine of a window with others; 0 for a zero vector."""
        vector = self.vectors[place]
        return float(cosines(self.vectors[others], vector).max()) if vector.any() else 0.0


def found_ids(answer: SearchAnswer) -> list[tuple[int, int]]:
    return [(hit.recording_id, hit.start_sample) for hit in answer.hits]


def check(answer: SearchAnswer, query: SearchQuery, twin: Twin, *, is_exact: bool | None = None) -> float:
    """Check an answer against the twin; returns its recall. An answer that claims to be exact must equal the twin's."""
    wanted = twin.ordered(query)
    eligible = set(twin.eligible(query).tolist())
    scores, nearest = twin.scores(query)
    ids = found_ids(answer)
    places = [twin.place[i] for i in ids]
    is_exact = answer.plan.how in ("exact", "nothing") if is_exact is None else is_exact
    # Never stale, never outside the filter, never twice; every number is the one number there is.
    assert len(set(places)) == len(places)
    assert set(places) <= eligible
    assert [hit.rank for hit in answer.hits] == list(range(1, len(ids) + 1))
    for hit, p in zip(answer.hits, places, strict=True):
        assert np.float32(hit.score).tobytes() == scores[p].tobytes(), (hit, scores[p])
        assert hit.query == nearest[p]
        row = twin.shown[twin.ids[p]]
        assert (hit.path, hit.site, hit.start_s) == (row["path"], row["site"], row["start_s"])
    keys = [(-scores[p], *twin.ids[p]) for p in places]
    assert keys == sorted(keys), "out of order"
    # Never short. Of codes, near-duplicates of what they missed may take more places than those of the twin.
    if query.distinct is None or is_exact:
        assert len(ids) == min(query.k, len(wanted)), (len(ids), query.k, len(wanted), answer.plan)
    assert answer.plan.eligible == len(eligible)
    assert answer.plan.windows == len(twin.ids)
    top = wanted[: query.k]
    if is_exact:
        assert places == top
        assert all(hit.exact for hit in answer.hits)
        assert answer.plan.recall == 1.0
    else:
        assert {hit.exact for hit in answer.hits} <= {True, False}
    return len(set(places) & set(top)) / len(top) if top else 1.0


def plans(monkeypatch: Any, plan: str) -> None:
    """Make small stores be searched as large ones are: ``as is``, by ``codes`` or by ``lists``."""
    if plan != "as is":
        monkeypatch.setattr(searching, "EXACT_ROWS", 0)
    if plan == "lists":
        monkeypatch.setattr(searching, "CODED_ROWS", 0)


def answered(root: str, query: SearchQuery, **options: Any) -> SearchAnswer:
    with Archive(root) as archive:
        return open_index(archive, **options).search(query)
