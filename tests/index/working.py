"""What the other processes of ``test_faults.py`` do."""

from __future__ import annotations

from typing import Any

from store import Archive, read_config
from store.index import IndexWishes, SearchQuery, build_index, open_index, update_index
from tests.index import kit


def build(root: str, begun: Any) -> None:
    """Build without end, until killed."""
    begun.set()
    seed = 0
    while True:
        seed += 1
        with Archive(root) as archive:
            build_index(archive, IndexWishes(kind="coded", seed=seed))


def build_at_once(root: str, seed: int, barrier: Any, results: Any) -> None:
    barrier.wait(60)
    with Archive(root) as archive:
        results.put(build_index(archive, IndexWishes(kind="coded", seed=seed)).number)


def maintain(root: str, stop: Any, results: Any) -> None:
    """Commit, update and build, again and again."""
    config = read_config(root)
    error = ""
    try:
        for number in range(4):
            items = {f"Fen/{30 + number}-0.wav": kit.clustered(kit.np.random.default_rng(number), 5, config.model.dim)}
            kit.commit(root, config, items)
            kit.snap(root, config)
            with Archive(root) as archive:
                update_index(archive) if number % 2 else build_index(archive, IndexWishes(kind="coded", seed=number))
    except BaseException as raised:
        error = repr(raised)
        raise
    finally:
        stop.set()
        results.put(("maintainer", 4, error))


def read(root: str, stop: Any, results: Any) -> None:
    """Open and search all the while; every answer is the twin's of its own snapshot."""
    kit.searching.EXACT_ROWS = 0  # type: ignore[misc]
    asked, error, versions = 0, "", set()
    try:
        while not stop.is_set() or asked == 0:
            with Archive(root) as archive:
                index, twin = open_index(archive), kit.Twin(archive)
                for vector in kit.queries(3, config_dim(archive)):
                    query = SearchQuery(vector, 20)
                    kit.check(index.search(query), query, twin)
                    asked += 1
                versions.add(index.version.number if index.version else 0)
    except BaseException as raised:
        error = repr(raised)
        raise
    finally:
        results.put(("reader", asked, error))


def config_dim(archive: Archive) -> int:
    return archive.config.model.dim
