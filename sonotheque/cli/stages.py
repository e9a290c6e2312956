"""Progress in stages on stderr: each now and then, with the time that is left of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping

from sonotheque.cli.output import seconds, tell

_TERMINAL_EVERY_S, _PLAIN_EVERY_S = 1.0, 10.0


def stage_progress(words: Mapping[str, str]) -> Callable[[str, int, int], None]:
    """Return what takes (stage, done, all) and tells of it.

    Parameters
    ----------
    words : mapping
        A stage -> how it is called for people.
    """
    every_s = _TERMINAL_EVERY_S if sys.stderr.isatty() else _PLAIN_EVERY_S
    current, began, told_at = "", 0.0, 0.0

    def told(stage: str, done: int, total: int) -> None:
        nonlocal current, began, told_at
        now = time.monotonic()
        if stage != current:
            current, began, told_at = stage, now, now
        elif now - told_at >= every_s and 0 < done < total:
            told_at = now
            left_s = (now - began) * (total - done) / done
            tell(f"{words.get(stage, stage)} {done / total:4.0%}  {done:,}/{total:,}  {seconds(left_s)} left")

    return told
