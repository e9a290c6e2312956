"""Who is told how far a benchmark is: the terminal's stderr, or nobody."""

from __future__ import annotations

from collections.abc import Callable

Tell = Callable[[str], None]


def telling(quiet: bool) -> Tell:
    """Return what takes a line of progress."""
    from sonotheque.cli.output import tell

    return (lambda _: None) if quiet else tell
