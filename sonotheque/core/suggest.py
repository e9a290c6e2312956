"""Did you mean ...? One way to offer near names, for every message that refuses an unknown one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str], *, shown: int = 3) -> str:
    """Return ``did you mean A or B?``, or, if nothing is near, what there is.

    Parameters
    ----------
    word : str
        What was asked for.
    known : iterable of str
        What there is.
    shown : int
        Most names offered.
    """
    names = sorted(set(known))
    lower = {name.lower(): name for name in names}
    wanted = word.strip().lower()
    parts = [name for low, name in lower.items() if wanted and wanted in low]
    near = [lower[low] for low in difflib.get_close_matches(wanted, lower, n=shown, cutoff=0.6)]
    offered = list(dict.fromkeys([*near, *parts]))[:shown]
    if offered:
        return f"did you mean {' or '.join(offered)}?"
    if not names:
        return "there is none"
    if len(names) <= shown:
        return f"there is {' and '.join(names)}"
    more = f" ... ({len(names):,} in all)" if len(names) > 8 else ""
    return f"there are: {', '.join(names[:8])}{more}"
