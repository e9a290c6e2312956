"""The part of ``--supervise`` that people see: which command runs in the child, and what is told of restarts."""

from __future__ import annotations

import sys
from collections.abc import Sequence

SUPERVISE_HELP = (
    "Run in a process that is started again when it dies or loses its cluster; the store says what is left to do."
)
RESTARTS_HELP = "With --supervise: restarts without a newly committed part before it is given up."
RESTARTS = 5


def is_supervised() -> bool:
    """Tell whether this process is a supervisor's child."""
    from cluster.supervising import is_supervised as asked

    return asked()


def run_supervised(store: str, *, restarts: int, quiet: bool, arguments: Sequence[str] | None = None) -> int:
    """Run this very command, or another one, in a child under supervision, and return the last child's exit code.

    Parameters
    ----------
    store : str
    restarts : int
    quiet : bool
        No notes on stderr.
    arguments : sequence of str, optional
        Of this program's command line; this process's own by default.
    """
    from cluster.supervising import Supervisor, own_command
    from sonotheque.cli.output import binary_output, tell

    command = own_command(sys.argv[1:] if arguments is None else arguments)

    def note(text: str) -> None:
        if not quiet:
            tell(f"supervisor: {text}")

    ended = Supervisor(command, store, restarts=restarts, note=note).run()
    output = binary_output()
    output.write(ended.output)
    output.flush()
    return ended.code
