"""Whether this process is a program of ours from its first line on, or somebody's own that calls us: a notebook, a script.

The first kind may be ended with the run that it leads; nobody but its user may end the second.
"""

from __future__ import annotations

_claimed = False


def claim_process() -> None:
    """Say that this process does nothing but our work; the entry points of our programs do."""
    global _claimed
    _claimed = True


def is_own_process() -> bool:
    """Tell whether an entry point of ours began this process."""
    return _claimed
