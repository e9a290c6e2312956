"""The attack list: each is refused or stopped, nothing of the store changes, nothing leaks, and the next honest query works.

``pytest tests/service/test_sql_attacks.py -o log_cli=true --log-cli-level=INFO`` shows how many which layer stopped.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from pathlib import Path

import pytest

from sonotheque.core.errors import Invalid, Limit, Refused, SonothequeError
from tests.service import sql_attacks as attacks
from tests.service.sql_kit import FAST, Desk, digest, make_store

HONEST = "SELECT count(*) FROM windows"
TALLY: Counter[tuple[str, str]] = Counter()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("attacked"))


@pytest.fixture(scope="module")
def desk(root):
    made = Desk(root)
    made.ask(HONEST)
    yield made
    made.close()


@pytest.fixture(scope="module")
def behind(desk):
    """A process that is asked without the judge."""
    process = desk.run(desk.process())
    yield process
    process.end()


@pytest.fixture(scope="module", autouse=True)
def unchanged(root, desk):
    """Of the whole suite: the store is byte for byte what it was, and nothing was written beside it."""
    before, beside = digest(root), sorted(os.listdir(Path(root).parent))
    yield
    assert digest(root) == before
    assert sorted(os.listdir(Path(root).parent)) == beside
    lines = [f"{n:4d}  {group:24s} {layer}" for (group, layer), n in sorted(TALLY.items())]
    logging.getLogger(__name__).info("attacks, and who stopped them:\n%s", "\n".join(lines))


def spelled(query: str, root: str) -> str:
    part = next(str(p) for p in Path(root, "embeddings").rglob("*.parquet"))
    return query.replace("@", part).replace("#", f"{Path(root).parent}/stolen")


def no_path(message: str, root: str) -> None:
    assert root not in message
    assert str(Path(root).parent) not in message


@pytest.mark.parametrize("group", attacks.REFUSED)
def test_refused_before_anything_runs(desk, root, group):
    for query in attacks.REFUSED[group]:
        text = spelled(query, root)
        with pytest.raises((Refused, Invalid)) as error:
            pytest.fail(f"let through: {query} {desk.run(judged(desk, text))}")
        TALLY[group, "judge: " + type(error.value).__name__] += 1
        assert len(error.value.message) < 1500
        if text == query:
            no_path(error.value.message, root)
    assert desk.rows(HONEST)[0][0] > 50


async def judged(desk, query):
    """What the judge says; a query that passes it is not run."""
    process = await desk.pool._take()
    try:
        return await process.ask({"op": "judge", "query": query})
    finally:
        desk.pool._give_back(process)


@pytest.mark.parametrize("group", ["files read", "writes", "the engine", "SQL as a text", "this program"])
def test_without_the_judge_the_engine_stops_what_touches_files(desk, behind, root, group):
    """The second layer alone. What is left of these is about the query's own memory, gone with its DuckDB."""
    before = digest(root)
    touched = (
        "'@'",
        "'#",
        '"@"',
        "/etc/passwd",
        "/proc",
        "glob",
        "http",
        "s3:",
        "LOAD",
        "INSTALL",
        "SET e",
        "RESET",
        "/tmp",
    )
    for query in attacks.REFUSED[group]:
        if not any(word in query for word in touched) or "0, 9" in query:
            continue
        message = {"op": "run", "query": spelled(query, root), "parameters": None, "views": ["windows"]}
        try:
            header, rows = desk.run(behind.ask(message))
        except SonothequeError as error:
            TALLY[group, "engine: " + type(error).__name__] += 1
            assert root not in error.message.replace(spelled(query, root), "")
        else:
            assert header["n"] == 0 and rows == b"[]", query  # a glob that finds nothing
            TALLY[group, "engine: nothing found"] += 1
        assert not os.path.exists(f"{Path(root).parent}/stolen"), query
    assert digest(root) == before


@pytest.mark.parametrize("query", attacks.MEMORY)
def test_memory(desk, root, query):
    stopped(desk, root, query, "memory")


@pytest.mark.parametrize("query", attacks.TIME)
def test_time(desk, root, query):
    stopped(desk, root, query, "time")


@pytest.mark.slow
@pytest.mark.parametrize("query", attacks.SLOW)
def test_more_time(desk, root, query):
    stopped(desk, root, query, "time, more")


@pytest.mark.parametrize("kind", attacks.DEEP)
def test_depth(desk, root, kind):
    """As deep as the length allows: answered or refused, and the process is there for the next one."""
    query = attacks.deep(kind)
    assert len(query) <= FAST.query_bytes
    stopped(desk, root, query, "depth", may_answer=True)


def stopped(desk, root, query, group, *, may_answer=False):
    began = time.monotonic()
    try:
        desk.ask(query)
    except (Limit, Invalid, Refused) as error:
        no_path(error.message, root)
        if isinstance(error, Limit):
            said = {
                "ran longer than 1.5 s": "killed at the deadline",
                "query was stopped": "its process ended",
                "memory": "memory",
            }
            how = next(
                (layer for words, layer in said.items() if words in error.message), "the engine's own time limit"
            )
        else:
            assert may_answer, error.message
            how = type(error).__name__
        TALLY[group, how] += 1
    else:
        assert may_answer, "it ran"
        TALLY[group, "answered"] += 1
    assert time.monotonic() - began < 20 * FAST.deadline_s, "far beyond any deadline"
    assert desk.rows(HONEST)[0][0] > 50


def test_too_long(desk):
    with pytest.raises(Limit, match="16,384") as error:
        desk.ask("SELECT " + " " * FAST.query_bytes + "1")
    assert error.value.kind == "too_large"
    with pytest.raises(Limit, match="65,536"):
        desk.ask("SELECT ?", ["x" * 70_000])
    with pytest.raises(Invalid, match="NUL"):
        desk.ask("SELECT 1\0; COPY (SELECT 1) TO 'x'")
    with pytest.raises(Invalid):
        desk.ask("SELECT '\ud800'")
    with pytest.raises(Invalid):
        desk.ask("SELECT ?", [float("nan")])


def test_there_are_enough_of_them():
    n = (
        sum(map(len, attacks.REFUSED.values()))
        + len(attacks.MEMORY)
        + len(attacks.TIME)
        + len(attacks.SLOW)
        + len(attacks.DEEP)
    )
    assert n >= 150
    everything = [q for group in attacks.REFUSED.values() for q in group]
    assert len(everything) == len(set(everything))
