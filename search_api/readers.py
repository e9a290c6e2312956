"""Archives kept open for many questions at once, always at the newest state of the store."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from sonotheque.core.errors import SonothequeError, Unavailable
from store import Archive, open_archive

__all__ = ["Readers", "State"]

_LOG = logging.getLogger("sonotheque.service")
_POLL_S = 1.0
_WAIT_S = 10.0


@dataclass(frozen=True, slots=True)
class State:
    """What a store is at: a change of any of the three means that readers are opened anew.

    Attributes
    ----------
    snapshot, metadata, index : int
        The newest numbers; 0 where there is none.
    """

    snapshot: int
    metadata: int
    index: int

    @classmethod
    def of(cls, root: str) -> State:
        """Read it: three listings of small folders."""
        from store.fsops import LocalFileOps
        from store.index.manifest import index_numbers
        from store.metadata import latest_metadata
        from store.snapshots import latest_number

        ops = LocalFileOps()
        return cls(latest_number(root, ops), latest_metadata(root), max(index_numbers(root, ops), default=0))


class Readers:
    """A pool of archives, each used by one thread at a time.

    A new snapshot, a correction of the metadata or a new index is opened in the background and takes over when it is ready: questions
    that run go on with what they began with. A state that cannot be opened is told in ``trouble``, and the one before stays.

    Parameters
    ----------
    root : str
        The store.
    size : int
        Archives open at most; more callers wait.
    poll_s : float
        How often the store is looked at.
    """

    def __init__(self, root: str, size: int = 5, *, poll_s: float = _POLL_S) -> None:
        self.root = root
        self._index_trouble: str | None = None  # of the index of the state that is open
        self._look_trouble: str | None = None  # of the last look at the store
        self._size, self._poll_s = size, poll_s
        self._state: State | None = None
        self._idle: list[Archive] = []
        self._of: dict[int, State] = {}  # id of an archive -> what it was opened at
        self._turn = threading.Condition()
        self._over = threading.Event()
        self._watch = threading.Thread(target=self._follow, name="sonotheque-readers", daemon=True)

    def start(self) -> None:
        """Open the newest state, index included, and watch for later ones; raises as :func:`store.open_archive`."""
        self._take_over(State.of(self.root))
        self._watch.start()

    @property
    def state(self) -> State | None:
        """What new questions are asked of; None before the start."""
        return self._state

    @property
    def trouble(self) -> str | None:
        """Why searches by the index, or what is new, cannot be had; None if all is well."""
        return self._look_trouble or self._index_trouble

    @contextlib.contextmanager
    def lease(self) -> Iterator[Archive]:
        """Yield an archive at the newest state; nobody else uses it meanwhile.

        Raises
        ------
        Unavailable
            If none is open yet, or none comes free (kind ``overloaded``).
        """
        archive = self._acquire()
        try:
            yield archive
        finally:
            self._release(archive)

    def close(self) -> None:
        """Close all archives that are not in use; the others when they are given back."""
        self._over.set()
        with self._turn:
            self._state = None
            idle, self._idle = self._idle, []
            self._turn.notify_all()
        for archive in idle:
            self._close(archive)
        if self._watch.is_alive():
            self._watch.join(timeout=5)

    def refresh(self) -> None:
        """Look now whether the store has changed, and take over what is new."""
        now = State.of(self.root)
        if now != self._state and not self._over.is_set():
            self._take_over(now)

    def _acquire(self) -> Archive:
        until = time.monotonic() + _WAIT_S
        with self._turn:
            while True:
                if self._state is None:
                    raise Unavailable("the archive is not open yet, or is being closed; ask again in a moment")
                if self._idle:
                    return self._idle.pop()
                if len(self._of) < self._size:
                    state = self._state
                    break
                if not self._turn.wait(until - time.monotonic()):
                    raise Unavailable("every reader of the archive is busy; ask again in a moment", kind="overloaded")
            placeholder = object()
            self._of[id(placeholder)] = state  # keeps the place while it is opened outside the lock
        try:
            archive = open_archive(self.root, state.snapshot)
        finally:
            with self._turn:
                del self._of[id(placeholder)]
        with self._turn:
            self._of[id(archive)] = state
        return archive

    def _release(self, archive: Archive) -> None:
        with self._turn:
            keep = self._of[id(archive)] == self._state
            if keep:
                self._idle.append(archive)
            self._turn.notify()
        if not keep:
            self._close(archive)

    def _close(self, archive: Archive) -> None:
        with self._turn:
            self._of.pop(id(archive), None)
            self._turn.notify()
        archive.close()

    def _take_over(self, state: State) -> None:
        archive = open_archive(self.root, state.snapshot or None)
        try:
            _ = archive.index  # opened here, so that no question waits for it
            self._index_trouble = None
        except SonothequeError as error:  # questions of time and place are still answered
            self._index_trouble = error.message
        with self._turn:
            old, self._idle = self._idle, [archive]
            self._of[id(archive)] = state
            self._state = state
            self._turn.notify_all()
        for gone in old:
            self._close(gone)

    def _follow(self) -> None:
        while not self._over.wait(self._poll_s):
            try:
                self.refresh()
                self._look_trouble = None  # a disk that was away and came back, say
            except (SonothequeError, OSError) as error:
                if self._look_trouble != str(error):
                    _LOG.warning("the newest state of the store cannot be opened, the one before stays: %s", error)
                self._look_trouble = str(error)
