"""Clips that were uploaded, kept for a while: named by their content, dropped when they are old or too much."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from sonotheque.core.errors import NotFound, Unavailable

BYTES_MAX: Final = 1 << 30
AGE_MAX_S: Final = 7 * 86_400.0
_ID: Final = re.compile(r"[0-9a-f]{32}")
_SOUND, _FACTS, _PART = ".sound", ".json", ".part"
_NOFOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
_PART_S: Final = 3_600.0  # an upload that was interrupted: nobody writes to it any more


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip on the shelf.

    Attributes
    ----------
    clip_id : str
        First 32 hexadecimal digits of its content's SHA-256.
    name : str
        What its owner calls it.
    duration_s : float
    sample_rate_hz, channels, windows, bytes : int
    """

    clip_id: str
    name: str
    duration_s: float
    sample_rate_hz: int
    channels: int
    windows: int
    bytes: int

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return asdict(self)


class ClipShelf:
    """Clips in a folder. Safe for threads, for several processes, and when a process is killed at any moment.

    Parameters
    ----------
    folder : Path
        Made when the first clip comes.
    bytes_max : int
        All clips together; those not used for the longest time go first.
    age_max_s : float
        Seconds that a clip stays after it was last used.
    clock : callable
        Seconds since the epoch.
    """

    def __init__(
        self,
        folder: Path | str,
        bytes_max: int = BYTES_MAX,
        age_max_s: float = AGE_MAX_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder, self._bytes_max, self._age_max_s, self._clock = Path(folder), bytes_max, age_max_s, clock
        self._lock = threading.Lock()

    def keep(self, data: bytes, name: str, facts: dict[str, Any]) -> Clip:
        """Put a sound on the shelf; the same sound is kept once, under the name it came with last.

        Parameters
        ----------
        data : bytes
        name : str
        facts : dict
            ``duration_s``, ``sample_rate_hz``, ``channels``, ``windows``, as decoding found them.

        Raises
        ------
        Unavailable
            If the folder cannot be written (``disk_full`` or ``read_only``).
        """
        clip = Clip(hashlib.sha256(data).hexdigest()[:32], name, bytes=len(data), **facts)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._put(clip.clip_id + _SOUND, data)
            # The facts last: a clip is there once they are.
            self._put(clip.clip_id + _FACTS, json.dumps(clip.to_json()).encode("utf-8"))
        except OSError as error:
            kind = "disk_full" if error.errno in (28, 122) else "read_only"
            raise Unavailable(f"the clip {name} cannot be kept: {error.strerror}", kind=kind) from error
        self._sweep(keep=clip.clip_id)
        return clip

    def get(self, clip_id: str) -> Clip:
        """Return a clip, which counts as a use of it.

        Raises
        ------
        NotFound
            If there is none of this id, or no longer.
        """
        self._require(clip_id)
        facts = self._folder / (clip_id + _FACTS)
        try:
            clip = Clip(**json.loads(self._read(facts, 65_536)))
            size = os.stat(self._sound(clip_id), follow_symlinks=False).st_size
        except (OSError, ValueError, TypeError):
            raise self._gone(clip_id) from None
        if clip.clip_id != clip_id or size != clip.bytes or self._is_old(facts):
            raise self._gone(clip_id)
        now = self._clock()
        with contextlib.suppress(OSError):
            os.utime(facts, (now, now), follow_symlinks=False)
        return clip

    def read(self, clip_id: str) -> bytes:
        """Return a clip's sound; raises as :meth:`get`."""
        clip = self.get(clip_id)
        try:
            data = self._read(self._sound(clip_id), clip.bytes)
        except OSError:
            raise self._gone(clip_id) from None
        if len(data) != clip.bytes:
            raise self._gone(clip_id)
        return data

    def path(self, clip_id: str) -> str:
        """Return where a clip's sound is, a regular file; raises as :meth:`get`."""
        self.get(clip_id)
        return str(self._sound(clip_id))

    def _sound(self, clip_id: str) -> Path:
        return self._folder / (clip_id + _SOUND)

    def _require(self, clip_id: str) -> None:
        if not _ID.fullmatch(clip_id):
            raise NotFound(f"clip {clip_id[:40]!r}: a clip's id is 32 hexadecimal digits, as the upload answered")

    @staticmethod
    def _gone(clip_id: str) -> NotFound:
        return NotFound(f"there is no clip {clip_id}, or no longer: clips are kept for some days; upload it again")

    def _is_old(self, facts: Path) -> bool:
        return os.stat(facts, follow_symlinks=False).st_mtime < self._clock() - self._age_max_s

    def _read(self, path: Path, most: int) -> bytes:
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | _NOFOLLOW), "rb") as file:
            return file.read(most + 1)

    def _put(self, name: str, data: bytes) -> None:
        part = self._folder / f"{name}.{secrets.token_hex(6)}{_PART}"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | _NOFOLLOW
            with open(os.open(part, flags, 0o600), "wb") as file:
                file.write(data)
            now = self._clock()
            os.utime(part, (now, now))
            os.replace(part, self._folder / name)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise

    def _sweep(self, keep: str) -> None:
        """Drop what is old and what is too much, now and then; ``keep`` stays."""
        with self._lock:
            clips = self._clips()
            total = sum(size for _, _, size in clips)
            now = self._clock()
            for used, clip_id, size in sorted(clips):
                if clip_id != keep and (total > self._bytes_max or used < now - self._age_max_s):
                    self._drop(clip_id)
                    total -= size

    def _clips(self) -> list[tuple[float, str, int]]:
        """Return (last use, id, bytes) of all clips, whole or not; remove what interrupted uploads left."""
        used: dict[str, float] = {}
        sizes: dict[str, int] = {}
        now = self._clock()
        for entry in os.scandir(self._folder):
            with contextlib.suppress(OSError):
                info = entry.stat(follow_symlinks=False)
                clip_id, ending = os.path.splitext(entry.name)
                if ending == _PART:
                    if info.st_mtime < now - _PART_S:
                        os.unlink(entry.path)
                elif _ID.fullmatch(clip_id):
                    sizes[clip_id] = sizes.get(clip_id, 0) + info.st_size
                    if ending == _FACTS or clip_id not in used:
                        used[clip_id] = info.st_mtime
        return [(used[clip_id], clip_id, size) for clip_id, size in sizes.items()]

    def _drop(self, clip_id: str) -> None:
        for ending in (_FACTS, _SOUND):  # the facts first: without them it is not there
            with contextlib.suppress(OSError):
                os.unlink(self._folder / (clip_id + ending))
