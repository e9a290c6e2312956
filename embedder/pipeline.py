"""Files → vectors: decoding, inference and the caller's writing overlap through bounded queues.

Decoder threads (libsndfile and soxr release the GIL) run ahead of the model by a bounded number of windows; windows of
consecutive files share batches, so the model never waits at a file's border; results come back in the order of the files.
"""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from embedder.audio import Channels, open_windows
from embedder.inference import DecodeEnd, FileEnd, Frame, Inference, Rows, merge_rows
from embedder.models import Embedder
from embedder.patience import DELAYS_S, Patience, PatientWindows, Windows
from sonotheque.core.errors import SonothequeError
from sonotheque.core.outcome import DecodeSummary, StageSeconds, Status
from sonotheque.core.windows import WindowRule

__all__ = ["AudioFile", "DecodeStalled", "EmbedPipeline", "FileEnd", "Rows", "merge_rows"]

_FRAMES_AHEAD = 16  # windows decoded ahead of the model, for each file
_FILES_AHEAD = 3
_RESULTS_AHEAD = 4  # batches computed ahead of the writer
_POLL_S = 1.0
_Item = TypeVar("_Item")
_Decoded = Frame | DecodeEnd | SonothequeError  # the last one ends the part


class DecodeStalled(Exception):  # noqa: N818 - not an error of the tree: the caller turns it into a status
    """A decoder made no progress for the time allowed; its thread cannot be ended from inside the process."""

    def __init__(self, file_index: int) -> None:
        super().__init__(file_index)
        self.file_index = file_index


@dataclass(frozen=True, slots=True)
class AudioFile:
    """One file to embed: where it is, and the (size_bytes, mtime_ns) it was planned with."""

    path: str
    expect: tuple[int, int] | None = None


class EmbedPipeline:
    """Embeds a list of files in order.

    Parameters
    ----------
    model : Embedder
    rule : WindowRule
    top_k : int
        Classes kept a window; 0 leaves the logits out.
    largest : float
        Largest absolute value a vector may have where it is kept (65,504 for float16).
    channels : str
        ``mean`` or ``first``.
    decoders : int
        Decoder threads. One keeps up with a CPU model many times over; a GPU wants several.
    stall_s : float
        Longest time without a new window before a decoder counts as stuck.
    opened : callable, optional
        Returns the windows of a file; by default all of :func:`embedder.audio.open_windows`.
    """

    def __init__(
        self,
        model: Embedder,
        rule: WindowRule,
        *,
        top_k: int = 10,
        largest: float = math.inf,
        channels: Channels = "mean",
        decoders: int = 1,
        stall_s: float = 300.0,
        opened: Callable[[AudioFile], Windows] | None = None,
    ) -> None:
        self._opened = opened or (lambda file: open_windows(file.path, rule, channels=channels, expect=file.expect))
        # Windows from elsewhere may be there once only; a file of ours is opened again when its disk failed for a moment.
        self._delays_s = DELAYS_S if opened is None else ()
        self._decoders, self._stall_s, self._batch_size = decoders, stall_s, model.batch_size
        self._inference = Inference(model, top_k, largest)

    def run(self, files: Sequence[AudioFile]) -> Iterator[Rows | FileEnd]:
        """Yield the rows of each file in order, and a :class:`FileEnd` after each file's last rows.

        Raises
        ------
        DecodeStalled
            If a decoder is stuck. What was yielded stays right; the process should not be used further.
        SonothequeError
            Of the program or the machine, met by a decoder or the model: no file is to blame.
        """
        stop = threading.Event()
        patience = Patience(stop, self._delays_s)
        frames = [queue.Queue[_Decoded](_FRAMES_AHEAD) for _ in files]
        results: queue.Queue[list[Rows | FileEnd] | Exception | None] = queue.Queue(_RESULTS_AHEAD)
        turn = iter(range(len(files)))
        lock = threading.Lock()
        # Files that may be decoded ahead of the model: with the bound on each file's queue this bounds memory.
        slots = threading.Semaphore(self._decoders + _FILES_AHEAD)

        def decode() -> None:
            while _take(slots, stop):
                with lock:
                    index = next(turn, None)
                if index is None:
                    return
                self._decode(files[index], index, frames[index], stop, patience)

        def infer() -> None:
            last: Exception | None = None
            try:
                for batch in self._batches(frames, slots, stop):
                    _put(results, self._inference.run(batch), stop)
            except (DecodeStalled, SonothequeError, ValueError, RuntimeError, MemoryError, OSError) as error:
                last = error
            except BaseException as error:
                last = RuntimeError(f"the model failed: {error!r}")
                raise
            finally:
                _put(results, last, stop)

        threads = [threading.Thread(target=decode, name=f"decode-{i}", daemon=True) for i in range(self._decoders)]
        threads.append(threading.Thread(target=infer, name="infer", daemon=True))
        for thread in threads:
            thread.start()
        try:
            while True:
                item = results.get()
                if item is None:
                    return
                if isinstance(item, Exception):
                    threads[-1].join(_POLL_S)  # whatever it has to say on stderr stands before this
                    raise item
                yield from item
        finally:
            stop.set()

    def _decode(
        self,
        file: AudioFile,
        index: int,
        out: queue.Queue[_Decoded],
        stop: threading.Event,
        patience: Patience,
    ) -> None:
        end: DecodeEnd | SonothequeError = DecodeEnd(
            index, DecodeSummary(Status.UNREADABLE, "the decoder failed inside the program"), StageSeconds()
        )
        try:
            stream = PatientWindows(lambda: self._opened(file), patience)
            for start, valid, samples in stream:
                _put(out, Frame(index, start, valid, samples), stop)
                if stop.is_set():
                    return
            end = DecodeEnd(index, stream.summary, stream.stages)
        except SonothequeError as error:  # of the program or this machine: every other file would meet it too
            end = error
        except (OSError, ValueError, RuntimeError, MemoryError) as error:
            # The decoder promises not to raise for what is in a file; should it, one file is lost and not the part.
            end = DecodeEnd(index, DecodeSummary(Status.UNREADABLE, f"decoder error: {error!r}"), StageSeconds())
        finally:
            _put(out, end, stop)

    def _batches(
        self, frames: list[queue.Queue[_Decoded]], slots: threading.Semaphore, stop: threading.Event
    ) -> Iterator[list[Frame | DecodeEnd]]:
        """Yield lists holding at most one batch of frames, with the ends of files among them, in order."""
        batch: list[Frame | DecodeEnd] = []
        size = 0
        for index, source in enumerate(frames):
            while True:
                item = self._next(source, index, stop)
                batch.append(item)
                if isinstance(item, DecodeEnd):
                    slots.release()
                    break
                size += 1
                if size == self._batch_size:
                    yield batch
                    batch, size = [], 0
        if batch:
            yield batch

    def _next(self, source: queue.Queue[_Decoded], index: int, stop: threading.Event) -> Frame | DecodeEnd:
        waited_s = 0.0
        while waited_s < self._stall_s:
            try:
                item = source.get(timeout=min(_POLL_S, self._stall_s))
            except queue.Empty:
                waited_s += _POLL_S
                if stop.is_set():
                    break
                continue
            if isinstance(item, SonothequeError):
                raise item
            return item
        raise DecodeStalled(index)


def _put(target: queue.Queue[_Item], item: _Item, stop: threading.Event) -> None:
    """Put, unless the run ends first: a full queue that nobody reads must not hold a thread for ever."""
    while not stop.is_set():
        try:
            target.put(item, timeout=_POLL_S)
        except queue.Full:
            continue
        return


def _take(slots: threading.Semaphore, stop: threading.Event) -> bool:
    """Wait for a slot; False if the run ends first."""
    while not stop.is_set():
        if slots.acquire(timeout=_POLL_S):
            return True
    return False
