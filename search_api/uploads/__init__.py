"""Uploads: decoded by limited processes, embedded in batches across requests, clips kept for a while. See README.md."""

from search_api.uploads.decoding import printable
from search_api.uploads.shelf import Clip, ClipShelf
from search_api.uploads.sounds import Heard, Sounds

__all__ = ["Clip", "ClipShelf", "Heard", "Sounds", "printable"]
