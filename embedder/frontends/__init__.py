"""Sound to spectrograms in NumPy and SciPy: what the networks do first, done faster outside of them."""

from __future__ import annotations

from embedder.frontends.birdnet import BirdnetSpectrograms, MelBand
from embedder.frontends.log_mel import LogMel

__all__ = ["BirdnetSpectrograms", "LogMel", "MelBand"]
