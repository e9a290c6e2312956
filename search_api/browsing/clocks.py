"""Times as readers of JSON get them: an instant with ``Z``, a site's clock with the offset that it had at that moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Final

_DAY: Final = timedelta(days=1)


def utc_text(moment: datetime | None) -> str | None:
    """Return an instant as ISO 8601 with ``Z``; None if it is unknown."""
    if moment is None:
        return None
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def local_text(local: datetime | None, utc: datetime | None) -> str | None:
    """Return a site's clock as ISO 8601, with its offset if that is known.

    Parameters
    ----------
    local : datetime or None
        Without a zone, as the views have it.
    utc : datetime or None
        The same moment, aware.

    Returns
    -------
    str or None
        ``2025-05-10T04:12:00+02:00``, without the offset if ``utc`` is unknown, None if ``local`` is.

    Notes
    -----
    The offset is what lies between the two, so that a recording that runs through a change of the clocks has both offsets.
    """
    if local is None:
        return None
    if utc is None:
        return local.isoformat()
    offset = local - utc.astimezone(UTC).replace(tzinfo=None)
    if abs(offset) >= _DAY:
        return local.isoformat()
    return local.replace(tzinfo=timezone(offset)).isoformat()
