"""Heads on vectors: linear probes, trained and judged. Arrays in, arrays out; no store, no audio."""

from probes.examples import Examples
from probes.probe import Probe

__all__ = ["Examples", "Probe"]
