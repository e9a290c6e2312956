"""Tables that are named after their recording, and what their names add to its name."""

from __future__ import annotations

import os
import re
from typing import Final

# What programs append to a recording's name; the recording's own ending is often left out.
_APPENDED: Final = re.compile(
    r"(?:\.Table\.\d+)?\.selections\.txt"
    r"|(?:\.BirdNET|\.sonotheque)?\.selection\.table\.txt"
    r"|\.(?:BirdNET|sonotheque)(?:\.results|\.audacity)?\.(?:txt|csv|tsv)"
    r"|\.(?:results|annotations|audacity)\.(?:txt|csv|tsv)"
    r"|[._-]labels?\.txt"
    r"|\.(?:txt|csv|tsv)",
    re.IGNORECASE,
)


def table_name(path: str | os.PathLike[str]) -> str:
    """Return a table's path without what its program appended: the recording's path, most often without its ending.

    >>> table_name("out/forest/20240501_040000.Table.1.selections.txt")
    'out/forest/20240501_040000'
    """
    text = os.fspath(path)
    name = text.rpartition("/")[2]
    longest = next((len(name) - at for at in range(1, len(name)) if _APPENDED.fullmatch(name, at)), 0)
    return text[: len(text) - longest]
