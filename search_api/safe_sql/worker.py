"""The process that runs queries: it gives up its rights, says that it is ready, and answers one message after another.

Started by :mod:`search_api.safe_sql.process` as ``python -m search_api.safe_sql.worker``; speaks frames over its standard input and output.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import fields
from typing import Any, BinaryIO, Final

from search_api.safe_sql import jail
from search_api.safe_sql.frames import packed, read_frame
from search_api.safe_sql.limits import SqlLimits

_RETIRE_SHARE: Final = 0.7  # of the address space taken when nothing runs: a new process is better


def main() -> None:
    """Serve until the other end closes."""
    start = json.loads(sys.argv[1])
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a library prints is no reply
    limits = SqlLimits(**{f.name: start["limits"][f.name] for f in fields(SqlLimits)})
    held = jail.enter(start["data"], start["code"])
    serve(requests, replies, limits, start["data"], held)


def serve(requests: BinaryIO, replies: BinaryIO, limits: SqlLimits, data: list[str], held: dict[str, str]) -> None:
    """Answer messages until they end."""
    from search_api.safe_sql.engine import Engine  # DuckDB and pyarrow: in the jail already

    engine = Engine(limits)
    _warm(engine)
    held["user"] = jail.leave_root(data)
    jail.limit_memory(limits.memory_bytes)
    held["memory"] = f"{limits.memory_bytes >> 20} MB, {jail.address_space() >> 20} taken at the start"
    _send(replies, {"ready": True, "held": held})
    while frame := read_frame(requests):
        jail.limit_cpu(limits.threads * limits.deadline_s + 5)
        header, body = _answered(engine, *frame)
        header["retire"] = jail.address_space() > _RETIRE_SHARE * limits.memory_bytes
        _send(replies, header, body)


def _answered(engine: Any, message: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
    from sonotheque.core.errors import SonothequeError

    try:
        if message["op"] == "judge":
            return {"views": engine.judge(message["query"]), "versions": engine.versions()}, b""
        if message["op"] == "bring":
            engine.bring(message["relation"], body)
            return {"done": True}, b""
        return engine.run(message["query"], message["parameters"], message["views"])  # type: ignore[no-any-return]
    except SonothequeError as error:
        return {"failed": type(error).__name__, "kind": error.kind, "message": error.message}, b""
    except MemoryError:
        return {"failed": "Limit", "kind": "limit", "message": "the query needs more memory than a query may take"}, b""


def _warm(engine: Any) -> None:
    """Load what is loaded on first use, while files can still be found."""
    import pyarrow as pa

    pa.set_cpu_count(engine.limits.threads)
    pa.set_io_thread_count(2)
    table = pa.table({"t": pa.array([0], pa.timestamp("us", "UTC")), "v": [1.5]})
    with pa.BufferOutputStream() as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    engine.bring({"name": "warm", "version": "", "sql": "", "needs": []}, sink.getvalue().to_pybytes())
    engine.run("SELECT *, hour(t), sum(v) OVER (), CAST(v AS DECIMAL(9, 2)) FROM warm", None, ["warm"])


def _send(replies: BinaryIO, header: dict[str, Any], body: bytes = b"") -> None:
    data = memoryview(packed(header, body))
    while data:
        data = data[replies.write(data) :]


if __name__ == "__main__":
    main()
