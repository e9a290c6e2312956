"""A store with everything the views can show, a pool asked from ordinary code, and digests of what must not change."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

from cluster.scoring import score_snapshot
from search_api.safe_sql import SqlLimits, SqlPool
from search_api.safe_sql.process import QueryProcess, all_folders
from search_api.safe_sql.sources import Sources
from store import read_snapshot
from store.annotations import Annotation, AnnotationLog
from tests.ask import worlds
from tests.scores import kit as scores_kit

FAST = SqlLimits(deadline_s=1.5, workers=1)


def make_store(folder: Path) -> str:
    """Sites with odd names, midnights and changes of the clocks, no times, judgements, two probes that were applied."""
    root, _, items = worlds.new_world(folder, months=(3, 10))
    probes = [scores_kit.keep(root, p) for p in (scores_kit.probe(), scores_kit.probe("hoot", classes=("hoot",)))]
    score_snapshot(root, read_snapshot(root), probes)
    spans = [
        Annotation(
            items[0][0].recording_id, items[0][0].source.path, 0.25, 1.5, "Strix aluco", "positive", 300.0, 900.0
        ),
        Annotation(items[1][0].recording_id, items[1][0].source.path, 1.0, 2.0, "é'日", "negative", note="line\nbreak"),
    ]
    log = AnnotationLog(root)
    log.add(spans, annotator="Ann", provenance="test")
    return root


class Desk:
    """A pool, asked from ordinary code.

    Parameters
    ----------
    root : str
    limits : SqlLimits, optional
    """

    def __init__(self, root: str, limits: SqlLimits = FAST) -> None:
        self.root, self.limits = root, limits
        self.runner = asyncio.Runner()
        self.pool = SqlPool(root, limits)

    def ask(self, query: str, parameters: Any = None) -> dict[str, Any]:
        return self.runner.run(self.pool.ask(query, parameters))

    def rows(self, query: str, parameters: Any = None) -> list[list[Any]]:
        found: list[list[Any]] = self.ask(query, parameters)["rows"]
        return found

    def run(self, coroutine: Any) -> Any:
        return self.runner.run(coroutine)

    async def process(self) -> QueryProcess:
        """A process of its own, with every view at hand: what a query meets once the judge has let it through."""
        sources = Sources(self.root)
        process = await QueryProcess.begin(self.limits, all_folders(sources.folders()))
        _, relations = sources.relations(["windows", "recordings", "predictions", "annotations", "sites", "scores"])
        for one in relations:
            await process.ask({"op": "bring", "relation": one.to_json()}, one.body)
        return process

    def close(self) -> None:
        self.pool.close()
        self.runner.close()


def digest(root: str | Path) -> str:
    """Of every name and byte below a folder."""
    found = hashlib.sha256()
    for path in sorted(Path(root).rglob("*")):
        found.update(str(path.relative_to(root)).encode() + b"\0")
        if path.is_file():
            found.update(path.read_bytes())
    return found.hexdigest()
