"""Classes and thresholds of the probes in use: read once, since a version never changes."""

from __future__ import annotations

from functools import lru_cache

from search_api.probes.stored import load_probe
from sonotheque.core.errors import Conflict, Damaged, NotFound


def thresholds_of(root: str, name: str, version: int) -> dict[str, float]:
    """Return class -> threshold of a version; nothing where it cannot be read, which is told where the probe itself is asked for."""
    try:
        return dict(_read(root, name, version))
    except (Conflict, Damaged, NotFound):
        return {}


@lru_cache(maxsize=64)
def _read(root: str, name: str, version: int) -> tuple[tuple[str, float], ...]:
    probe = load_probe(root, name, version)
    return tuple(zip(probe.classes, (float(t) for t in probe.thresholds), strict=True))
