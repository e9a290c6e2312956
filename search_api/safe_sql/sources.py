"""The relations of one store at its newest state, as the service sees them. Reads lists and small tables; runs no query."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from search_api.readers import State
from search_api.safe_sql.relations import Relation, relation
from store import views
from store.annotations import AnnotationLog
from store.catalog import Catalog, open_catalog
from store.config import read_config
from store.probes import in_use
from store.scores import scores_view
from store.snapshots import Snapshot, read_snapshot


@dataclass(frozen=True, slots=True)
class _Opened:
    state: tuple[int, int]
    snapshot: Snapshot
    catalog: Catalog
    relations: dict[str, Relation]


class Sources:
    """What queries read; safe to use from several threads.

    Parameters
    ----------
    root : str
        The store.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._config = read_config(root)
        self._lock = threading.Lock()
        self._opened: _Opened | None = None
        self._annotations: tuple[str, bytes] = ("", b"")

    def folders(self) -> list[str]:
        """Return the folders that the relations' files lie in.

        Raises
        ------
        NotFound, Damaged
            See :class:`store.Archive`.
        """
        base = self._open().catalog.base
        return [f"{base}/catalog", f"{self.root}/scores"]

    def relations(self, names: Iterable[str]) -> tuple[int, list[Relation]]:
        """Return some views, and what they need, at the newest state.

        Returns
        -------
        snapshot : int
        relations : list of Relation
            Those that others need come first.
        """
        opened = self._open()
        found: dict[str, Relation] = {}
        for name in sorted(set(names)):
            one = self._relation(opened, name)
            for needed in one.needs:
                found.setdefault(needed, self._relation(opened, needed))
            found[name] = one
        return opened.snapshot.number, list(found.values())

    def _open(self) -> _Opened:
        with self._lock:
            now = State.of(self.root)
            state = (now.snapshot, now.metadata)
            if self._opened is None or self._opened.state != state:
                snapshot = read_snapshot(self.root, now.snapshot or None)
                catalog = open_catalog(self.root, self._config, snapshot)
                self._opened = _Opened(state, snapshot, catalog, self._of_catalog(catalog))
            return self._opened

    def _of_catalog(self, catalog: Catalog) -> dict[str, Relation]:
        texts = {
            "windows": views.windows_view(catalog),
            "recordings": views.recordings_view(catalog),
            "predictions": views.predictions_view(catalog, self._config),
            "sites": views.sites_view(catalog),
        }
        return {name: relation(name, text) for name, text in texts.items()}

    def _relation(self, opened: _Opened, name: str) -> Relation:
        if name == "annotations":
            return self._judgements()
        if name == "scores":  # follows from what was applied and promoted until now
            return relation("scores", scores_view(self.root, opened.snapshot, in_use(self.root)), ("windows",))
        return opened.relations[name]

    def _judgements(self) -> Relation:
        log = AnnotationLog(self.root)
        with self._lock:
            stamp = _stamp(self.root)
            if stamp != self._annotations[0]:
                table = log.current()
                with pa.BufferOutputStream() as sink, pa.ipc.new_stream(sink, table.schema) as writer:
                    writer.write_table(table)
                self._annotations = (stamp, sink.getvalue().to_pybytes())
            # Both at once: somebody may judge, and another query read that, before the table is handed over.
            stamp, body = self._annotations
        return Relation("annotations", "", stamp=stamp, body=body)


def _stamp(root: str) -> str:
    """Return what changes with the annotations: sizes and times of their files, taken before they are read."""
    found = []
    for suffix in ("", "-wal"):
        try:
            told = os.stat(f"{root}/annotations.sqlite{suffix}")
            found.append(f"{told.st_ino}-{told.st_size}-{told.st_mtime_ns}")
        except OSError:
            found.append("none")
    return "annotations-" + "-".join(found)
