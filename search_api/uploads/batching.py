"""The model shared by everybody who asks at once: a few threads, one queue of windows, batches across requests.

Windows of waiting requests are handed out in turns of at most one batch a request, so that a minute of sound does not hold up five
seconds of it. Nobody is waited for: a thread that is free takes its share of what is there, at once, and one clip's windows are spread
over all free threads. On one core a batch gains next to nothing (BirdNET: 33.5 ms a window alone, 31.8 in twos, 31.3 in fours), and what
came just after a large one began waits for all of it: so it is small there.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from embedder.models import Embedded, Embedder
from embedder.models.arrays import check_frames
from sonotheque.core.errors import SonothequeError, Unavailable

_JOIN_S = 10.0
_BATCH_ON_A_CORE = 2
_AT_ONCE_BYTES = 4 << 20  # what is looked at on the event loop: 2 ms; more would hold up everybody else
_FAILURES = (SonothequeError, ValueError, RuntimeError, MemoryError, OSError)


@dataclass(slots=True, eq=False)
class _Request:
    frames: NDArray[np.float32]
    logits: bool
    answer: asyncio.Future[Embedded]
    loop: asyncio.AbstractEventLoop
    taken: int = 0
    done: int = 0
    over: bool = False  # answered, failed, or its caller went away
    parts: list[tuple[int, Embedded]] = field(default_factory=list)

    @property
    def left(self) -> int:
        return 0 if self.over else len(self.frames) - self.taken


_Share = tuple[_Request, int, int]


class Batcher:
    """Embeds windows for many callers.

    Parameters
    ----------
    load : callable
        Returns a model; called once a thread, in that thread.
    threads : int
    queue : int
        Windows that may wait; a request that does not fit beside others is refused.
    batch : int, optional
        Windows of one call of the model, at most; by default 2 for a model on one core, else its own batch size.
    """

    def __init__(
        self, load: Callable[[], Embedder], *, threads: int = 1, queue: int = 512, batch: int | None = None
    ) -> None:
        self._load, self._most, self._batch = load, queue, batch
        self._turn = threading.Condition()
        self._requests: deque[_Request] = deque()
        self._idle = self._alive = 0
        self._over = False
        self._loaded = threading.Event()
        self._failure: SonothequeError | None = None
        self._last = Unavailable("the model does not run any more; start the service again")
        self.model: Embedder | None = None
        self._threads = [
            threading.Thread(target=self._work, args=(number,), name=f"sonotheque-model-{number}", daemon=True)
            for number in range(threads)
        ]

    def start(self) -> None:
        """Load the model in the background; it answers once the first thread has it."""
        for thread in self._threads:
            thread.start()

    @property
    def ready(self) -> bool:
        """Whether there is a model."""
        return self.model is not None and not self._over and self._failure is None

    @property
    def trouble(self) -> str | None:
        """Why there will be no model; None if there is one or it is being loaded."""
        return self._failure.message if self._failure else None

    @property
    def waiting(self) -> int:
        """Windows that no thread has taken yet."""
        with self._turn:
            return sum(request.left for request in self._requests)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the model is there or cannot be; return whether it is there."""
        self._loaded.wait(seconds)
        return self.ready

    def close(self) -> None:
        """Refuse what waits and end the threads."""
        with self._turn:
            self._over = True
            waiting, self._requests = list(self._requests), deque()
            self._turn.notify_all()
        for request in waiting:
            self._fail(request, Unavailable("the service is ending"))
        self._loaded.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(_JOIN_S)

    async def embed(self, frames: NDArray[np.float32], *, logits: bool = True) -> Embedded:
        """Return what the model says of n windows, the same to the bit whoever else asks.

        Parameters
        ----------
        frames : float32, (n, window_samples)
        logits : bool
            Whether to return the logits too.

        Raises
        ------
        Invalid
            If the frames do not fit the model.
        Unavailable
            If there is no model (yet); of kind ``overloaded`` if too much waits for it.
        """
        model = self.require_model()
        if frames.nbytes > _AT_ONCE_BYTES:
            frames = await asyncio.to_thread(check_frames, frames, model.spec)
        else:
            frames = check_frames(frames, model.spec)
        if not len(frames):
            return model.embed(frames, logits=logits)
        loop = asyncio.get_running_loop()
        request = _Request(frames, logits, loop.create_future(), loop)
        with self._turn:
            self.require_model()  # it may have ended while the frames were looked at, and nobody would answer
            waiting = sum(other.left for other in self._requests)
            if waiting and waiting + len(frames) > self._most:
                raise Unavailable(
                    f"{waiting:,} windows wait for the model already; ask again in a moment", kind="overloaded"
                )
            self._requests.append(request)
            self._turn.notify_all()
        try:
            return await request.answer
        finally:
            with self._turn:  # a caller that went away leaves nothing behind
                request.over = True
                if request in self._requests:
                    self._requests.remove(request)

    def require_model(self) -> Embedder:
        """Return the model, for its classes and scores; raises Unavailable if there is none (yet)."""
        if self._failure:
            raise Unavailable(f"sound cannot be embedded here: {self._failure.message}")
        if self.model is None or self._over:
            raise Unavailable("the model is being loaded; ask again in a moment")
        return self.model

    def _work(self, number: int) -> None:
        first = number == 0
        if not first:
            self._loaded.wait()  # the first is there sooner if it loads alone
            if not self.ready:
                return
        try:
            model = self._load()
        except _FAILURES as error:
            if first:
                self._failure = (
                    error if isinstance(error, SonothequeError) else Unavailable(f"the model does not load: {error!r}")
                )
                self._loaded.set()
            return
        if first:
            self.model = model
            self._loaded.set()
        with self._turn:
            self._alive += 1
        size = self._batch or _batch_of(model)
        try:
            while shares := self._take(size):
                self._run(model, shares)
        finally:
            self._leave()

    def _leave(self) -> None:
        """A thread ends, at the end of all or because of an error that nobody foresaw: after the last one nobody waits."""
        with self._turn:
            self._alive -= 1
            if self._alive or self._over:
                return
            self._failure = self._last
            left, self._requests = list(self._requests), deque()
        for request in left:
            self._fail(request, self._failure)

    def _take(self, size: int) -> list[_Share]:
        """Wait for windows; return this thread's share of them, each with its request, or nothing at the end."""
        with self._turn:
            while not self._requests and not self._over:
                self._idle += 1
                self._turn.wait()
                self._idle -= 1
            if self._over:
                return []
            waiting = sum(request.left for request in self._requests)
            room = min(size, -(-waiting // (self._idle + 1)))
            shares = []
            while room and self._requests:
                request = self._requests.popleft()
                begin, count = request.taken, min(room, request.left)
                request.taken += count
                room -= count
                if request.left:
                    self._requests.append(request)
                shares.append((request, begin, begin + count))
            return shares

    def _run(self, model: Embedder, shares: list[_Share]) -> None:
        logits = any(request.logits for request, _, _ in shares)
        pieces = [request.frames[begin:end] for request, begin, end in shares]
        try:
            found = model.embed(pieces[0] if len(pieces) == 1 else np.concatenate(pieces), logits=logits)
        except _FAILURES as error:
            if len(shares) > 1:  # whose window it was is found out alone: the others' answers do not suffer
                for share in shares:
                    self._run(model, [share])
                return
            told = error if isinstance(error, SonothequeError) else Unavailable(f"the model failed: {error!r}")
            self._fail(shares[0][0], told)
            return
        except BaseException as error:
            self._last = Unavailable(f"the model failed: {error!r}")
            for request, _, _ in shares:
                self._fail(request, self._last)
            raise
        at = 0
        for request, begin, end in shares:
            rows = slice(at, at + end - begin)
            at = rows.stop
            part = Embedded(
                found.embeddings[rows], found.logits[rows] if request.logits and found.logits is not None else None
            )
            self._give(request, begin, part)

    def _give(self, request: _Request, begin: int, part: Embedded) -> None:
        with self._turn:
            request.parts.append((begin, part))
            request.done += len(part.embeddings)
            complete = request.done == len(request.frames) and not request.over
        if not complete:
            return
        parts = [part for _, part in sorted(request.parts, key=lambda one: one[0])]
        logits = [part.logits for part in parts if part.logits is not None]
        answer = Embedded(
            np.concatenate([part.embeddings for part in parts]), np.concatenate(logits) if logits else None
        )
        self._answer(request, lambda: request.answer.set_result(answer))

    def _fail(self, request: _Request, error: SonothequeError) -> None:
        with self._turn:
            request.over = True
            if request in self._requests:
                self._requests.remove(request)
        self._answer(request, lambda: request.answer.set_exception(error))

    @staticmethod
    def _answer(request: _Request, answer: Callable[[], None]) -> None:
        def settle() -> None:
            if not request.answer.done():
                answer()

        with contextlib.suppress(RuntimeError):  # its event loop has ended: nobody waits any more
            request.loop.call_soon_threadsafe(settle)


def _batch_of(model: Embedder) -> int:
    alone = model.runtime.device == "CPU" and model.runtime.threads == 1
    return min(_BATCH_ON_A_CORE, model.batch_size) if alone else model.batch_size
