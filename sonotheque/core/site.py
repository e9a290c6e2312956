"""Names of sites: what a store can hold as the name of a place."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from sonotheque.core.ids import digest_of

UNKNOWN_SITE: Final = "unknown"
_ENCODED_BYTES_MAX: Final = 240  # a name may have 255 bytes, and `site=` goes before it
# Control characters (C0, DEL, C1) and lone surrogates: no file name, CSV cell or Parquet string should carry them.
_UNWANTED = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@lru_cache(maxsize=4096)  # asked for every file, and the files of a site follow each other
def clean_site(text: str) -> str:
    """Return a site name that a store can hold; ``unknown`` if nothing is left.

    Without outer white space and control characters, and short enough to be a folder's name once percent-encoded: a longer
    one is cut, and ends in a digest of the whole, so that two stay two.
    """
    name = _UNWANTED.sub("_", text.strip()) or UNKNOWN_SITE
    if len(quote(name, safe="")) <= _ENCODED_BYTES_MAX:
        return name
    short = name
    while len(quote(short, safe="")) > _ENCODED_BYTES_MAX - 8:
        short = short[:-1]
    return f"{short.rstrip()}~{digest_of(name)[:6]}"
