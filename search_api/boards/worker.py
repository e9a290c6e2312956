"""A job's process: ``python -m search_api.boards.worker FOLDER``.

It takes the job's lock, says who it is, works, and tells how it ended. A second one for the same job finds the lock taken, or the end
told, and leaves: a job is done once, whoever started it how often.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Final

from search_api.boards.processes import ProcessMark
from search_api.boards.records import CANCELLED, FAILED, TAKEN, Record
from search_api.boards.telling import Teller
from sonotheque.core.errors import SonothequeError
from sonotheque.core.own import claim_process

_PATIENCE_S: Final = 5.0
_NICE: Final = 10  # questions to the archive go before long work


def main(words: list[str]) -> int:
    """Do the job of a folder; returns the exit code."""
    record = Record(Path(words[0]))
    job = record.job()
    attempt = record.attempt()
    with record.held(patience_s=_PATIENCE_S) as mine:
        mark = ProcessMark.of(os.getpid())
        if not job or not mine or mark is None or record.read(f"end-{attempt}.json") or record.mark(attempt):
            return TAKEN
        if record.asked_to_stop(attempt):
            record.end(attempt, CANCELLED)
            return 0
        record.began(attempt, mark)
        with contextlib.suppress(OSError):
            os.nice(_NICE)
        return _do(record, attempt, job)


def _do(record: Record, attempt: int, job: dict[str, object]) -> int:
    from search_api.boards.requests import EMBED
    from search_api.boards.store_runs import run_of
    from search_api.boards.work import work

    def run() -> int | None:
        return run_of(str(job["root"]), record.mark(attempt)) if job["kind"] == EMBED else None

    request = job["request"]
    try:
        state, result = work(
            str(job["kind"]), str(job["root"]), request if isinstance(request, dict) else {}, Teller(record)
        )
    except SonothequeError as error:
        record.end(attempt, FAILED, error={"kind": error.kind, "message": error.message}, run=run())
        return error.exit_code
    except KeyboardInterrupt:
        record.end(attempt, CANCELLED, run=run())
        return 0
    except BaseException as error:  # told, and raised again into the log
        said = f"the program met an error that it did not expect ({type(error).__name__}); the job's log.txt has the details"
        record.end(attempt, FAILED, error={"kind": "internal", "message": said}, run=run())
        raise
    record.end(attempt, state, result=result, run=run())
    return 0


if __name__ == "__main__":
    claim_process()
    sys.exit(main(sys.argv[1:]))
