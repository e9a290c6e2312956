"""Peers that search a graph: usearch, hnswlib, and perch-hoplite, which keeps its vectors in usearch."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np

from benchmarks.search_layout import FIRST_DAY, HOURS, WINDOW_S, Choice
from benchmarks.search_measure import K, Rows
from benchmarks.search_peer_base import BATCH, Ask, Peer, Vector, best


class Usearch(Peer):
    """usearch, set as perch-hoplite sets it: float16, 16 neighbours, 256 looked at while adding."""

    name, packages = "usearch float16", ("usearch",)

    def _new(self) -> Any:
        made = importlib.import_module("usearch.index").Index
        return made(ndim=self.layout.dim, metric="ip", dtype="f16", connectivity=16, expansion_add=256)

    def build(self) -> None:
        index = self._new()
        for first in range(0, len(self.vectors), BATCH):
            some = self.vectors[first : first + BATCH]
            index.add(np.arange(first, first + len(some)), some, threads=self.threads)
        index.save(str(self.data / "index.usearch"))

    def open(self) -> None:
        self.index = self._new()
        self.index.view(str(self.data / "index.usearch"))

    def settings(self) -> dict[str, Ask]:
        return {f"expansion {many}": self._with(many) for many in (64, 128, 256, 512)}

    def _with(self, expansion: int) -> Ask:
        def ask(query: Vector) -> Any:
            self.index.expansion_search = expansion
            return self.index.search(query.astype(np.float16), K, threads=1).keys

        return ask


class Hnswlib(Peer):
    """hnswlib in its README's settings: float32, M 16, ef_construction 200."""

    name, packages = "hnswlib", ("hnswlib",)

    def _new(self) -> Any:
        return importlib.import_module("hnswlib").Index(space="cosine", dim=self.layout.dim)

    def build(self) -> None:
        index = self._new()
        index.init_index(max_elements=len(self.vectors), M=16, ef_construction=200)
        for first in range(0, len(self.vectors), BATCH):
            some = self.vectors[first : first + BATCH].astype(np.float32)
            index.add_items(some, np.arange(first, first + len(some)))
        index.save_index(str(self.data / "index.hnsw"))

    def open(self) -> None:
        self.index = self._new()
        self.index.load_index(str(self.data / "index.hnsw"))
        self.index.set_num_threads(1)

    def settings(self) -> dict[str, Ask]:
        return {f"ef {ef}": self._with(ef, None) for ef in (64, 128, 256, 512)}

    def filtered(self, choice: Choice) -> dict[str, Ask]:
        mask = choice.mask(self.layout)
        return {f"filter function, ef {ef}": self._with(ef, lambda row: bool(mask[row])) for ef in (512,)}

    def _with(self, ef: int, wanted: Callable[[int], bool] | None) -> Ask:
        def ask(query: Vector) -> Any:
            self.index.set_ef(ef)
            try:
                return self.index.knn_query(query, k=K, num_threads=1, filter=wanted)[0][0]
            except RuntimeError:  # it cannot give k; its own way to say so
                return []

        return ask


class Hoplite(Peer):
    """perch-hoplite: SQLite and usearch, through its own calls. No search of it takes a filter."""

    name, packages = "perch-hoplite", ("perch-hoplite", "usearch")

    def build(self) -> None:
        db = importlib.import_module("perch_hoplite.db.db_loader").create_new_usearch_db(
            db_path=str(self.data / "db"), embedding_dim=self.layout.dim
        )
        shape, first = self.layout, 0
        offsets = [[float(w * WINDOW_S), float((w + 1) * WINDOW_S)] for w in range(shape.each)]
        for site in range(shape.sites):
            deployment = db.insert_deployment(f"site-{site + 1:02d}", "bench")
            waiting: list[dict[str, Any]] = []
            for day in range(shape.days):
                for hour in HOURS:
                    begins = datetime.combine(shape.day(day), datetime.min.time()).replace(hour=hour)
                    name = f"site-{site + 1:02d}/{begins:%Y%m%d_%H%M%S}.WAV"
                    recording = db.insert_recording(name, begins, deployment)
                    waiting += [{"recording_id": recording, "offsets": o} for o in offsets]
            db.insert_windows_batch(waiting, self.vectors[first : first + len(waiting)], handle_duplicates="allow")
            first += len(waiting)
        db.commit()

    def open(self) -> None:
        made = importlib.import_module("perch_hoplite.db.sqlite_usearch_impl").SQLiteUSearchDB
        self.brute = importlib.import_module("perch_hoplite.db.brutalism")
        self.db = made.create(str(self.data / "db"))
        self.first = int(min(self.db.match_window_ids()))

    def settings(self) -> dict[str, Ask]:
        def threaded(query: Vector) -> Any:
            return self.brute.threaded_brute_search(self.db, query, K, np.dot, max_workers=2)

        return {
            "approximate (its default)": lambda query: self.db.search(query, K),
            "exact through usearch": lambda query: self.db.search(query, K, approximate=False),
            "brute_search": lambda query: self.brute.brute_search(self.db, query, K, np.dot),
            "threaded_brute_search, 2 workers": threaded,
        }

    def filtered(self, choice: Choice) -> dict[str, Ask]:
        """What its users do instead: filter afterwards, or read the vectors of the windows that match."""
        settings = importlib.import_module("ml_collections.config_dict")
        names = [f"site-{s + 1:02d}" for s in choice.sites]
        # Its filters know no month and no hour of the day: windows before the first of May are April's here.
        before = FIRST_DAY.replace(month=5).isoformat()
        of_site = settings.create(isin={"name": names})
        of_time = settings.create(lt={"datetime": f"{before}T00:00:00"})

        def match() -> Any:
            return self.db.match_window_ids(deployments_filter=of_site, recordings_filter=of_time)

        def afterwards(query: Vector) -> Any:
            wanted = set(match())
            many = self.db.search(query, 500)
            near = sorted(many, key=lambda result: -result.sort_score)
            return [result.window_id for result in near if result.window_id in wanted][:K]

        def vectors(query: Vector) -> Any:
            wanted = np.array(match())
            scores = self.db.get_embeddings_batch(wanted).astype(np.float32) @ query
            return wanted[best(scores)]

        return {"500 found, then filtered": afterwards, "vectors of matching windows, NumPy": vectors}

    def rows(self, answer: Any) -> Rows:
        if not isinstance(answer, list | np.ndarray):
            answer = [result.window_id for result in answer]
        return np.asarray(answer, np.int64) - self.first
