"""SqlPool: questions in SQL, answered by a few processes that can do nothing else."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from typing import TYPE_CHECKING, Any

from search_api.safe_sql.limits import SqlLimits
from search_api.safe_sql.process import QueryProcess, all_folders
from sonotheque.core.errors import Invalid, Limit, SonothequeError, Unavailable

if TYPE_CHECKING:
    from search_api.safe_sql.sources import Sources

_LOG = logging.getLogger("sonotheque.service")
Parameters = list[Any] | dict[str, Any] | None


class SqlPool:
    """SQL over the views ``windows, recordings, predictions, annotations, sites, scores``, for callers nobody trusts.

    A query is judged by its syntax tree, then run in a process without files, network and rights, with bounds on memory and time;
    that process is killed at the deadline and another takes its place. To be used from one event loop.

    Parameters
    ----------
    root : str
        The store. Every query is asked of its newest state.
    limits : SqlLimits, optional
    """

    def __init__(self, root: str, limits: SqlLimits | None = None) -> None:
        self.root = os.path.abspath(root)  # its processes stand in a folder of their own
        self.limits = limits or SqlLimits()
        self._sources: Sources | None = None
        self._idle: list[QueryProcess] = []
        self._all: set[QueryProcess] = set()
        self._inside = 0
        self._turn: asyncio.Semaphore | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self._told = False

    def start(self) -> None:
        """Begin to start the processes in the background, if there is an event loop; else the first query starts one."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        for _ in range(self.limits.workers):
            self._spare()

    @property
    def held(self) -> dict[str, str]:
        """What of the jail held in the processes that run; empty before the first one is ready."""
        return next((dict(process.held) for process in self._all), {})

    async def ask(self, query: str, parameters: Parameters = None) -> dict[str, Any]:
        """Run one SELECT.

        Parameters
        ----------
        query : str
            DuckDB SQL; ``?`` or ``$name`` mark parameters.
        parameters : list or dict, optional
            Plain JSON values.

        Returns
        -------
        dict
            ``columns`` (name, type), ``rows`` (lists), ``truncated``, ``took_ms``, ``snapshot``. Times are ISO 8601; ``recording_id`` and
            whole numbers beyond 2**53 are texts; bytes are base64.

        Raises
        ------
        Invalid
            If it is no SQL, or names what is not there.
        Refused
            If it asks for anything but a SELECT over the views.
        Limit
            If it is too long, or takes too much time or memory.
        Unavailable
            If too many queries wait (kind ``overloaded``), or the store cannot be read.
        """
        self._check(query, parameters)
        if self._closed:
            raise Unavailable("the service is ending")
        if self._inside >= self.limits.workers + self.limits.queue:
            raise Unavailable("too many queries wait; ask again in a moment", kind="overloaded")
        self._turn = self._turn or asyncio.Semaphore(self.limits.workers)
        self._inside += 1
        try:
            async with self._turn:
                return await self._asked(query, parameters)
        finally:
            self._inside -= 1

    def close(self) -> None:
        """Kill the processes and start no more."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        for process in list(self._all):
            process.end()
        self._idle.clear()
        self._all.clear()

    def _check(self, query: str, parameters: Parameters) -> None:
        if (size := len(query.encode("utf-8", "replace"))) > self.limits.query_bytes:
            raise Limit(
                f"the query has {size:,} bytes, of at most {self.limits.query_bytes:,}; hand values over as parameters",
                kind="too_large",
            )
        if "\0" in query:
            raise Invalid("the query holds a NUL character; take it out")
        try:
            size = len(json.dumps(parameters, allow_nan=False))
            query.encode("utf-8")
        except (TypeError, ValueError) as error:
            raise Invalid(f"the query or its parameters cannot be told as JSON: {error}") from error
        if size > self.limits.parameters_bytes:
            raise Limit(
                f"the parameters have {size:,} bytes, of at most {self.limits.parameters_bytes:,}", kind="too_large"
            )

    async def _asked(self, query: str, parameters: Parameters) -> dict[str, Any]:
        process = await self._take()
        try:
            judged = await self._within(process, {"op": "judge", "query": query})
            snapshot, header, rows = await self._run(process, query, parameters, judged[0])
        except SonothequeError:
            self._give_back(process)
            raise
        except BaseException:  # the caller has gone, say: what the process is doing is nobody's any more
            process.retire = True
            self._give_back(process)
            raise
        self._give_back(process)
        found = await asyncio.to_thread(json.loads, rows)
        return {
            "columns": header["columns"],
            "rows": found,
            "truncated": header["truncated"],
            "took_ms": header["took_ms"],
            "snapshot": snapshot,
        }

    async def _run(
        self, process: QueryProcess, query: str, parameters: Parameters, judged: dict[str, Any]
    ) -> tuple[int, dict[str, Any], bytes]:
        sources = await self._reading()
        snapshot, relations = await asyncio.to_thread(sources.relations, judged["views"])
        for one in relations:
            if judged["versions"].get(one.name) != one.version:
                await self._within(process, {"op": "bring", "relation": one.to_json()}, one.body)
        message = {"op": "run", "query": query, "parameters": parameters, "views": judged["views"]}
        header, rows = await self._within(process, message)
        return snapshot, header, rows

    async def _within(
        self, process: QueryProcess, message: dict[str, Any], body: bytes = b""
    ) -> tuple[dict[str, Any], bytes]:
        try:
            return await asyncio.wait_for(process.ask(message, body), self.limits.deadline_s)
        except TimeoutError:
            process.retire = True
            raise Limit(
                f"the query ran longer than {self.limits.deadline_s:g} s and was stopped; narrow it by site, date or label"
            ) from None

    async def _take(self) -> QueryProcess:
        sources = await self._reading()
        folders = all_folders(await asyncio.to_thread(sources.folders))
        while self._idle:
            process = self._idle.pop()
            if process.folders == folders and process.runs:
                return process
            self._end(process)
        return await self._begin(folders)

    def _give_back(self, process: QueryProcess) -> None:
        if process.retire or self._closed:
            self._end(process)
            self._spare()
        else:
            self._idle.append(process)

    def _end(self, process: QueryProcess) -> None:
        process.end()
        self._all.discard(process)

    async def _begin(self, folders: tuple[str, ...]) -> QueryProcess:
        process = await QueryProcess.begin(self.limits, folders)
        self._all.add(process)
        if self._closed:
            self._end(process)
            raise Unavailable("the service is ending")
        if not self._told:
            self._told = True
            _LOG.info("SQL over HTTP is on; its processes: %s", ", ".join(f"{k}: {v}" for k, v in process.held.items()))
        return process

    async def _reading(self) -> Sources:
        if self._sources is None:
            from search_api.safe_sql.sources import Sources  # the store: the processes import this package too

            self._sources = Sources(self.root)
        return self._sources

    def _spare(self) -> None:
        """Start a process ahead of the query that will need it."""
        if self._closed:
            return
        task = asyncio.get_running_loop().create_task(self._add_spare())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _add_spare(self) -> None:
        try:
            sources = await self._reading()
            folders = all_folders(await asyncio.to_thread(sources.folders))
            if len(self._all) < self.limits.workers:
                self._idle.append(await self._begin(folders))
        except (SonothequeError, OSError) as error:
            _LOG.warning("a process for SQL could not be started: %s", error)
