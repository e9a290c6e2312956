"""Which audio files are there: one walk, in an order that is the same on every machine."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from sonotheque.core.errors import Invalid, NotFound
from sonotheque.core.places import bucket_and_key, is_object

AUDIO_EXTENSIONS = frozenset(
    {".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc"},
)


@dataclass(frozen=True, slots=True)
class FoundFile:
    """One audio file: absolute path (undecodable bytes as surrogates) or address, size in bytes, modification time in ns."""

    path: str
    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Problem:
    """Something on the way that could not be looked at, and why."""

    path: str
    reason: str


def is_audio_name(name: str) -> bool:
    """Return whether a name is one of an audio file: a known ending in any case, and no leading dot.

    Names with a leading dot are hidden files, and AppleDouble companions (``._call.wav``) that hold no sound.
    """
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in AUDIO_EXTENSIONS


def find_audio(src: str, problems: list[Problem] | None = None) -> Iterator[FoundFile]:
    """Walk a folder or list what lies below an address, or take one file.

    Parameters
    ----------
    src : str
        A folder, walked to its leaves in the order of the names' bytes, or a file, taken whatever its name ends in; or the
        address of such in an object store, listed page by page.
    problems : list of Problem, optional
        Collects what could not be looked at: unreadable folders, broken links, audio names that are no files.

    Yields
    ------
    FoundFile
        Nothing is opened; named pipes, sockets and devices are never touched.

    Raises
    ------
    NotFound
        If ``src`` is not there.
    Invalid
        If ``src`` is neither a folder nor a regular file.
    SonothequeError
        If an object store refuses, or does not answer.
    """
    if is_object(src):
        yield from _find_objects(src, [] if problems is None else problems)
        return
    root = os.path.abspath(src)
    try:
        info = os.stat(root)
    except OSError as error:
        raise NotFound(f"{src}: {error.strerror}; name a folder of recordings or one audio file") from error
    if stat.S_ISREG(info.st_mode):
        yield FoundFile(root, info.st_size, info.st_mtime_ns)
    elif stat.S_ISDIR(info.st_mode):
        yield from _Walk(root, info, [] if problems is None else problems).files()
    else:
        raise Invalid(f"{src}: is neither a folder nor a regular file; name a folder of recordings or one audio file")


def _find_objects(src: str, problems: list[Problem]) -> Iterator[FoundFile]:
    """Yield the audio objects below an address, in the order of their keys' bytes.

    They are those that a walk of the same folder would find, and not always in its order: a walk takes a folder whole where its name
    comes, among keys ``a.wav`` comes before ``a/b.wav``. Nothing that is made of them depends on it.
    """
    from embedder.remote import RemoteError, as_error, list_below, object_at

    found = object_at(src)
    if found is not None:
        yield FoundFile(src, found.size_bytes, found.mtime_ns)
        return
    root = src.split("://", 1)[0] + "://" + bucket_and_key(src)[0]
    try:
        for item in list_below(src):
            parts = f"{root}/{item.key}"[len(src) + 1 :].split("/")
            if not is_audio_name(parts[-1]) or any(part.startswith(".") and part not in (".", "..") for part in parts):
                continue
            if {"", ".", ".."} & set(parts):
                problems.append(
                    Problem(f"{root}/{item.key}", "has a part that cannot be a folder's name (empty, '.' or '..')")
                )
                continue
            yield FoundFile(f"{root}/{item.key}", item.size_bytes, item.mtime_ns)
    except RemoteError as error:
        raise as_error(error) from error


class _Walk:
    """One depth-first walk, without recursion: folder depth is up to whoever made the folders."""

    def __init__(self, root: str, info: os.stat_result, problems: list[Problem]) -> None:
        self._root = root
        self._real_root = os.path.realpath(root)
        self._problems = problems
        self._seen = {(info.st_dev, info.st_ino)}

    def files(self) -> Iterator[FoundFile]:
        """Yield the audio files below the root."""
        stack = [iter(self._entries(self._root))]
        while stack:
            entry = next(stack[-1], None)
            if entry is None:
                stack.pop()
                continue
            try:
                info = entry.stat()
            except OSError as error:
                if entry.is_symlink() or is_audio_name(entry.name):
                    self._report(entry.path, error)
                continue
            if stat.S_ISDIR(info.st_mode):
                if self._enter(entry, info):
                    stack.append(iter(self._entries(entry.path)))
            elif is_audio_name(entry.name):
                if stat.S_ISREG(info.st_mode):
                    yield FoundFile(entry.path, info.st_size, info.st_mtime_ns)
                else:
                    self._problems.append(Problem(entry.path, "has the name of an audio file and is not a file"))

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        """Return a folder's entries in the order of their names' bytes, without the hidden ones."""
        try:
            with os.scandir(folder) as found:
                entries = [entry for entry in found if not entry.name.startswith(".")]
        except OSError as error:
            self._report(folder, error)
            return []
        return sorted(entries, key=lambda entry: os.fsencode(entry.name))

    def _enter(self, entry: os.DirEntry[str], info: os.stat_result) -> bool:
        """Return whether a folder is to be walked: each once, and by its real name if the walk comes by that too."""
        if entry.is_symlink() and self._is_met_anyway(os.path.realpath(entry.path)):
            return False
        if not info.st_ino:  # file systems without inode numbers have no links either
            return True
        key = (info.st_dev, info.st_ino)
        if key in self._seen:
            return False
        self._seen.add(key)
        return True

    def _is_met_anyway(self, real: str) -> bool:
        """Return whether the walk reaches a real path by itself: below the root, with no hidden folder between."""
        inside = os.path.relpath(real, self._real_root)
        return not any(part.startswith(".") and part != "." for part in inside.split(os.sep))

    def _report(self, path: str, error: OSError) -> None:
        self._problems.append(Problem(path, error.strerror or str(error)))
