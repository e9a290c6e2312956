"""From a path to an open libsndfile handle, or to the reason why there is none."""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from dataclasses import dataclass, field

import soundfile as sf

from embedder.audio.containers import UNKNOWN_FRAMES, Promise, raw_subtype, read_promise, riff_promise
from embedder.audio.findings import Finding, Refused, from_os_error
from embedder.audio.mpeg import length_frame
from embedder.recorders.chunks import RiffFacts, read_riff
from sonotheque.core.outcome import Status

CHANNELS_MAX = 64
SAMPLE_RATE_HZ_MIN, SAMPLE_RATE_HZ_MAX = 1_000, 1_000_000

# A path may have become a named pipe since it was listed: opening one must not wait for its writer.
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_REPAIRABLE = frozenset({"zero_size", "too_small"})


class SequentialSound(sf.SoundFile):
    """A sound file that is only read forwards.

    soundfile seeks to where it already is after every read. In a FLAC file of unknown length the seek after the last
    block fails, and after an error in Vorbis or Opus data it lands elsewhere: blocks are lost, and how many depends on
    their size. Without seeks every frame that libsndfile decodes arrives, whatever the block size.
    """

    def seekable(self) -> bool:
        """Return False: positions are never asked for."""
        return False


class ByteSpan:
    """The bytes ``[offset, offset + size)`` of a file, behind a header of ours, as a file of their own.

    Parameters
    ----------
    fd : int
    offset, size : int
        In bytes.
    header : bytes
        What to read before them.

    Attributes
    ----------
    error : OSError or None
        What went wrong in a read; kept here, because exceptions do not cross libsndfile's callbacks.
    """

    def __init__(self, fd: int, offset: int, size: int, header: bytes = b"") -> None:
        self._file = os.fdopen(fd, "rb", buffering=0, closefd=False)
        self._offset, self._header, self._position = offset, header, 0
        self._size = len(header) + size
        self.error: OSError | None = None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move, and return the new position."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def readinto(self, buffer: memoryview) -> int:
        """Fill a buffer as far as the span goes, and return how many bytes that were."""
        wanted = max(0, min(len(buffer), self._size - self._position))
        own = self._header[self._position : self._position + wanted]
        memoryview(buffer)[: len(own)] = own
        done = len(own)
        try:
            if done < wanted:
                self._file.seek(self._offset + self._position + done - len(self._header))
            while done < wanted:
                got = self._file.readinto(memoryview(buffer)[done:wanted])
                if not got:
                    break
                done += got
        except OSError as error:
            self.error = error
        self._position += done
        return done


@dataclass(slots=True)
class OpenSound:
    """An open file and what is known of it before the first sample.

    Attributes
    ----------
    sound : SequentialSound
    fd : int
    size_bytes, mtime_ns : int
        When it was opened.
    container, codec : str
        As libsndfile names them; of the file itself where the header had to be repaired.
    declared_frames : int or None
    findings : list of Finding
    span : ByteSpan or None
        Where the samples are read behind another header than the file's.
    """

    sound: SequentialSound
    fd: int
    size_bytes: int
    mtime_ns: int
    container: str
    codec: str
    declared_frames: int | None = None
    findings: list[Finding] = field(default_factory=list)
    span: ByteSpan | None = None


def open_sound(path: str, expect: tuple[int, int] | None, stack: ExitStack) -> OpenSound:
    """Open a file for decoding.

    Parameters
    ----------
    path : str
    expect : (int, int) or None
        Size in bytes and modification time in ns the file must still have.
    stack : ExitStack
        Takes over the closing of what is opened here.

    Raises
    ------
    Refused
        With the status, if there is nothing to decode.
    """
    try:
        fd, info = _open_fd(path, expect, stack)
        if info.st_size == 0:
            raise Refused(Status.EMPTY, "the file has 0 bytes")
        facts = read_riff(path)
        opened = _open_repaired(fd, info, facts, stack) if facts else None
        return opened or _open_as_is(path, fd, info, facts, stack)
    except OSError as error:
        finding = from_os_error(error)
        raise Refused(finding.status, finding.reason) from error


def difference(expect: tuple[int, int], info: os.stat_result) -> str:
    """Return how a file differs from what was expected, with both values; empty if it does not."""
    found = (info.st_size, info.st_mtime_ns)
    if found == expect:
        return ""
    return f"planned with {expect[0]} bytes, mtime_ns {expect[1]}; now {found[0]} bytes, mtime_ns {found[1]}"


def _open_fd(path: str, expect: tuple[int, int] | None, stack: ExitStack) -> tuple[int, os.stat_result]:
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise Refused(Status.UNREADABLE, "is not a regular file")
    fd = os.open(path, _OPEN_FLAGS)
    stack.callback(os.close, fd)
    info = os.fstat(fd)
    changed = difference(expect, info) if expect else ""
    if changed:
        raise Refused(Status.CHANGED, changed)
    return fd, info


def _open_as_is(path: str, fd: int, info: os.stat_result, facts: RiffFacts | None, stack: ExitStack) -> OpenSound:
    sound = _libsndfile(stack, fd, closefd=False)
    check_limits(sound.channels, sound.samplerate)
    opened = OpenSound(sound, fd, info.st_size, info.st_mtime_ns, sound.format, sound.subtype)
    if sound.format == "MP3":
        endless = _open_endless(path, fd, info, stack)
        if endless is not None:
            return endless
    promise = riff_promise(facts) if facts else read_promise(path, sound.format, info.st_size)
    frames: int | None = promise.frames
    if frames is None and not promise.cut and sound.frames < UNKNOWN_FRAMES:
        frames = sound.frames
    opened.declared_frames = frames
    _note_cut(opened, promise)
    return opened


def _open_endless(path: str, fd: int, info: os.stat_result, stack: ExitStack) -> OpenSound | None:
    """Open an MP3 file that does not say its length; None if it does."""
    added = length_frame(path, info.st_size)
    if added is None:
        return None
    offset, frame = added
    span = ByteSpan(fd, offset, info.st_size - offset, frame)
    sound = _libsndfile(stack, span)
    return OpenSound(sound, fd, info.st_size, info.st_mtime_ns, sound.format, sound.subtype, span=span)


def _note_cut(opened: OpenSound, promise: Promise) -> None:
    if promise.cut:
        opened.findings.append(Finding(Status.TRUNCATED, promise.cut))


def _open_repaired(fd: int, info: os.stat_result, facts: RiffFacts, stack: ExitStack) -> OpenSound | None:
    """Open the samples of a WAV file whose header gives too small a size; None if that is not so, or not possible."""
    subtype = raw_subtype(facts)
    if facts.data_problem not in _REPAIRABLE or subtype is None or facts.available_frames < 1:
        return None
    check_limits(facts.channels, facts.sample_rate_hz)
    span = ByteSpan(fd, facts.data_offset, facts.available_frames * facts.block_align)
    endian = "BIG" if facts.big_endian else "LITTLE"
    sound = _libsndfile(
        stack,
        span,
        samplerate=facts.sample_rate_hz,
        channels=facts.channels,
        format="RAW",
        subtype=subtype,
        endian=endian,
    )
    opened = OpenSound(sound, fd, info.st_size, info.st_mtime_ns, "WAV", subtype, facts.declared_frames, span=span)
    reason = (
        f"header declares {facts.declared_data_bytes} bytes of sound ({facts.declared_frames} frames), "
        f"the file holds {facts.available_data_bytes} ({facts.available_frames} frames)"
    )
    opened.findings.append(Finding(Status.HEADER_REPAIRED, reason))
    return opened


def _libsndfile(stack: ExitStack, file: int | ByteSpan, **options: object) -> SequentialSound:
    try:
        sound = SequentialSound(file, "r", **options)
    except sf.LibsndfileError as error:
        raise Refused(Status.UNREADABLE, f"libsndfile: {error.error_string}") from error
    stack.callback(sound.close)
    return sound


def check_limits(channels: int, sample_rate_hz: int) -> None:
    """Refuse what no recorder writes, before a buffer is made for it.

    Raises
    ------
    Refused
        If there are more than 64 channels, or the rate is not in 1 kHz .. 1 MHz.
    """
    if not 1 <= channels <= CHANNELS_MAX:
        raise Refused(Status.UNREADABLE, f"header declares {channels} channels; at most {CHANNELS_MAX} are read")
    if not SAMPLE_RATE_HZ_MIN <= sample_rate_hz <= SAMPLE_RATE_HZ_MAX:
        raise Refused(
            Status.UNREADABLE,
            f"header declares {sample_rate_hz} Hz; rates from {SAMPLE_RATE_HZ_MIN} to {SAMPLE_RATE_HZ_MAX} are read",
        )
