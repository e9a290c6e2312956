"""One task: embed the files of one part and commit it. Knows nothing of Dask."""

from __future__ import annotations

import math
import os
import resource
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from cluster.payload import TaskPayload
from cluster.progress import forget_progress, tell_progress
from cluster.roots import absolute_path
from embedder.models import Embedder
from embedder.pipeline import AudioFile, EmbedPipeline, FileEnd, Rows, merge_rows
from sonotheque.core.errors import Conflict
from sonotheque.core.outcome import DecodeSummary, Outcome, StageSeconds, Status, TaskOutcome, TopLabel
from sonotheque.core.recording import Recording
from store import PartWriter, TopClasses, WindowRows, ledger_entry

_PROGRESS_EVERY_S = 1.0
_FLOAT16_MAX = 65_504.0
_WRITE_ROWS = 256  # a batch at a time, Arrow's fixed cost per table was 1.5 % of a BirdNET run
Quarantine = Mapping[str, tuple[str, str]]  # stored path → (status, reason)


def peak_rss_bytes() -> int:
    """Return the largest memory this process ever held."""
    try:
        # Not getrusage where this is: a process that is started carries its parent's peak along in there.
        with open("/proc/self/status", encoding="ascii") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
    except (OSError, StopIteration, ValueError):  # no /proc: another system
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class _FailedLate(Exception):  # noqa: N818 - control flow within this module
    def __init__(self, path: str, summary: DecodeSummary) -> None:
        super().__init__(path)
        self.path, self.summary = path, summary


class _FileRows:
    """What is counted of each file while its rows go by, and the rows that wait to be written together."""

    def __init__(self) -> None:
        self.windows = 0
        self.top: TopLabel | None = None
        self._waiting: list[Rows] = []
        self._waiting_rows = 0

    def take(self, least: int) -> Rows | None:
        """Return the waiting rows as one, once there are ``least`` of them."""
        if not self._waiting or self._waiting_rows < least:
            return None
        rows, self._waiting, self._waiting_rows = merge_rows(self._waiting), [], 0
        return rows

    def add(self, rows: Rows, classes: tuple[str, ...], seconds: Callable[[int], float]) -> None:
        self.windows += len(rows.start_samples)
        self._waiting.append(rows)
        self._waiting_rows += len(rows.start_samples)
        if rows.top_index is None or rows.top_scores is None:
            return
        best = int(rows.top_scores[:, 0].argmax())
        score = float(rows.top_scores[best, 0])
        if self.top is None or score > self.top.score:
            self.top = TopLabel(classes[int(rows.top_index[best, 0])], score, seconds(int(rows.start_samples[best])))


class PartTask:
    """Embeds one part.

    Parameters
    ----------
    payload : TaskPayload
    model : Embedder
        Loaded; must be the store's model.
    quarantine : mapping, optional
        Files not to be opened, with the status and reason they get: they killed a process before.
    one_by_one : bool
        No overlap between files, so that whatever kills the process can be told by ``on_file``.
    on_file : callable, optional
        Called with the stored path before a file is opened, and with "" once none is; only with ``one_by_one``.
    """

    def __init__(
        self,
        payload: TaskPayload,
        model: Embedder,
        *,
        quarantine: Quarantine | None = None,
        one_by_one: bool = False,
        on_file: Callable[[str], None] | None = None,
    ) -> None:
        if model.spec != payload.config.model:
            raise Conflict(
                f"this worker's {model.spec.name} (weights {model.spec.weights_digest[:12]}) is not the store's "
                f"{payload.config.model.name} (weights {payload.config.model.weights_digest[:12]}): "
                "give every worker the same weights",
                kind="model_conflict",
            )
        self._payload, self._model = payload, model
        self._other_precision = payload.model.precision if payload.model.stamped_as else None
        self._quarantine = quarantine or {}
        self._one_by_one, self._on_file = one_by_one, on_file
        self._stages = StageSeconds()
        self._done = {"audio_s": 0.0, "windows": 0, "files": 0}
        self._told_at = 0.0

    def run(self) -> TaskOutcome:
        """Embed and commit.

        A file that fails after it gave windows (its disk failed, or it changed meanwhile) must leave none of them behind;
        they are in the part's files by then, so the part is begun again without that file.

        Raises
        ------
        Unavailable
            Disk full or read-only; nothing of this part is in the store.
        DecodeStalled
            A decoder is stuck.
        """
        began = time.perf_counter()
        while True:
            try:
                return self._attempt(began)
            except _FailedLate as late:
                self._quarantine = {**self._quarantine, late.path: (str(late.summary.status), late.summary.reason)}

    def _attempt(self, began: float) -> TaskOutcome:
        payload, part = self._payload, self._payload.part
        self._stages = StageSeconds()
        self._done = {"audio_s": 0.0, "windows": 0, "files": 0}
        entries: list[dict[str, Any]] = []
        seconds: list[float] = []
        with PartWriter(
            payload.store,
            payload.config,
            part_id=part.part_id,
            site=part.site,
            date=part.date,
            classes=self._model.classes,
        ) as writer:
            counting = _FileRows()
            for item in self._events():
                recording = part.recordings[item.file_index]
                if isinstance(item, FileEnd):
                    if counting.windows and item.summary.outcome is not Outcome.DONE:
                        raise _FailedLate(recording.source.path, item.summary)
                    self._write(writer, counting.take(1), recording)
                    first_row = writer.rows - counting.windows
                    entries.append(
                        ledger_entry(
                            recording,
                            item.summary,
                            windows=counting.windows,
                            first_row=first_row,
                            top=counting.top,
                            precision=self._other_precision,
                        )
                    )
                    spent = item.stages
                    seconds.append(spent.decode_s + spent.resample_s + spent.infer_s)
                    self._count(item, counting.windows)
                    counting = _FileRows()
                else:
                    counting.add(item, self._model.classes, payload.config.windows.seconds)
                    self._write(writer, counting.take(_WRITE_ROWS), recording)
                    self._tell(payload.config.windows.seconds(int(item.start_samples[-1])), counting.windows)
            writing = time.perf_counter()
            if self._on_file:
                self._on_file("")  # whatever happens while it is written, no file is to blame
            self._tell(0.0, 0, at_once=True)
            committed = writer.commit(entries)
            self._stages += StageSeconds(write_s=time.perf_counter() - writing)
        forget_progress(self._payload)
        return TaskOutcome(
            part.part_id,
            committed.won,
            committed.rows,
            committed.bytes_written,
            committed.sha256,
            [{**entry, "site": part.site, "seconds": round(s, 3)} for entry, s in zip(entries, seconds, strict=True)],
            self._stages,
            time.perf_counter() - began,
            peak_rss_bytes(),
            f"{self._model.runtime.engine} {self._payload.model.precision}, {self._model.runtime.device}",
            f"{socket.gethostname()}:{os.getpid()}",
        )

    def _write(self, writer: PartWriter, rows: Rows | None, recording: Recording) -> None:
        if rows is not None:
            began = time.perf_counter()
            writer.add(_window_rows(rows, recording))
            self._stages += StageSeconds(write_s=time.perf_counter() - began)

    def _events(self) -> Iterator[Rows | FileEnd]:
        """Yield rows and ends of all files in order, quarantined ones as their ends alone."""
        payload = self._payload
        pipeline = EmbedPipeline(
            self._model,
            payload.config.windows,
            top_k=payload.config.top_k,
            largest=_FLOAT16_MAX if payload.config.dtype == "float16" else math.inf,
            channels=payload.config.decode["channels"],
            decoders=payload.decoders,
            stall_s=payload.stall_s,
        )
        for run in self._runs():
            first = run[0]
            held = self._quarantine.get(payload.part.recordings[first].source.path)
            if held:
                yield FileEnd(first, DecodeSummary(Status(held[0]), held[1]), StageSeconds())
                continue
            if self._on_file:
                self._on_file(payload.part.recordings[first].source.path)
            for item in pipeline.run([self._audio_file(i) for i in run]):
                yield replace(item, file_index=item.file_index + first)

    def _runs(self) -> Iterator[range]:
        """Yield ranges of files that go through the pipeline together: all between two quarantined ones."""
        recordings = self._payload.part.recordings
        start = 0
        for i, recording in enumerate(recordings):
            if self._one_by_one or recording.source.path in self._quarantine:
                if start < i:
                    yield range(start, i)
                yield range(i, i + 1)
                start = i + 1
        if start < len(recordings):
            yield range(start, len(recordings))

    def _audio_file(self, index: int) -> AudioFile:
        source = self._payload.part.recordings[index].source
        path = absolute_path(source.path, self._payload.root, self._payload.prefix)
        return AudioFile(path, (source.size_bytes, source.mtime_ns))

    def _count(self, end: FileEnd, windows: int) -> None:
        self._stages += end.stages
        self._done["audio_s"] += end.summary.duration_s
        self._done["windows"] += windows
        self._done["files"] += 1
        self._tell(0.0, 0)

    def _tell(self, current_s: float, current_windows: int, *, at_once: bool = False) -> None:
        """Leave word of how far this part is, at most once a second unless it must be said."""
        now = time.monotonic()
        if not at_once and now - self._told_at < _PROGRESS_EVERY_S:
            return
        self._told_at = now
        done = {
            **self._done,
            "audio_s": self._done["audio_s"] + current_s,
            "windows": self._done["windows"] + current_windows,
        }
        tell_progress(self._payload, done)


def _window_rows(rows: Rows, recording: Recording) -> WindowRows:
    top = None
    if rows.top_index is not None and rows.top_logits is not None and rows.top_scores is not None:
        top = TopClasses(rows.top_index, rows.top_logits, rows.top_scores)
    return WindowRows(recording, rows.start_samples, rows.valid_samples, rows.embeddings, top)
