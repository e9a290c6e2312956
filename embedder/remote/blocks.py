"""Blocks of objects that were read a moment ago, within a bound of bytes for the whole process, and those that will be read next."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, NamedTuple

from embedder.remote.asking import fetch
from sonotheque.core.errors import Invalid

CACHE_BYTES: Final = "SONOTHEQUE_CACHE_BYTES"
_DEFAULT_BYTES: Final = 64 << 20
_LEAST_BYTES: Final = 4 << 20
_CONNECTIONS: Final = 16


class Block(NamedTuple):
    """A range of one version of an object."""

    url: str
    version: str
    start: int
    stop: int


def cache_bytes() -> int:
    """Return the bound, from ``SONOTHEQUE_CACHE_BYTES``.

    Raises
    ------
    Invalid
        If that is no number, or less than 4 MiB.
    """
    text = os.environ.get(CACHE_BYTES, "").strip()
    if not text:
        return _DEFAULT_BYTES
    if not text.isdecimal() or int(text) < _LEAST_BYTES:
        raise Invalid(f"{CACHE_BYTES}={text}: must be a whole number of bytes, at least {_LEAST_BYTES}")
    return int(text)


class BlockCache:
    """Fetches blocks in threads of its own and keeps the last ones.

    Parameters
    ----------
    limit_bytes : int
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        self._lock = threading.Lock()
        self._blocks: OrderedDict[Block, Future[bytes]] = OrderedDict()
        self._threads = ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="remote")

    def read(self, block: Block, begun: Future[bytes] | None = None) -> bytes:
        """Return a block's bytes, from what :meth:`begin` gave if that was asked before: the block may have made room since.

        Raises
        ------
        RemoteError
            What fetching it raised; the block is then fetched anew when it is asked for again.
        """
        future = begun or self.begin(block)
        try:
            return future.result()
        except BaseException:
            self._forget(block, future)
            raise

    def begin(self, block: Block) -> Future[bytes]:
        """See to it that a block is there soon; the oldest ones make room for it."""
        with self._lock:
            future = self._blocks.get(block)
            if future is None:
                future = self._blocks[block] = self._threads.submit(
                    fetch, block.url, block.start, block.stop, block.version
                )
                self.held_bytes += block.stop - block.start
            self._blocks.move_to_end(block)
            while self.held_bytes > self.limit_bytes and len(self._blocks) > 1:
                # Not cancelled: another reader may wait for it, who would find no bytes.
                old, _ = self._blocks.popitem(last=False)
                self.held_bytes -= old.stop - old.start
            return future

    def _forget(self, block: Block, future: Future[bytes]) -> None:
        with self._lock:
            if self._blocks.get(block) is future:
                del self._blocks[block]
                self.held_bytes -= block.stop - block.start


_LOCK = threading.Lock()
_OF_PROCESS: dict[int, BlockCache] = {}


def shared_cache() -> BlockCache:
    """Return the cache of this process, made when it is first asked for."""
    with _LOCK:
        process = os.getpid()
        if process not in _OF_PROCESS:
            _OF_PROCESS.clear()  # of the process this one was forked from
            _OF_PROCESS[process] = BlockCache(cache_bytes())
        return _OF_PROCESS[process]
