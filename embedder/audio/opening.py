"""From a path to an open libsndfile handle, or to the reason why there is none."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field

import soundfile as sf

from embedder.audio.containers import UNKNOWN_FRAMES, Promise, raw_subtype, read_promise, riff_promise
from embedder.audio.findings import Finding, Refused, from_os_error
from embedder.audio.mpeg import length_frame
from embedder.audio.sources import ByteSpan, SoundBytes, open_bytes
from embedder.recorders.chunks import RiffFacts, read_riff_from
from embedder.recorders.lengths import longest_s
from embedder.recorders.ogg import ogg_duration_s
from sonotheque.core.outcome import Status

CHANNELS_MAX = 64
SYSTEM_ERROR = 2  # libsndfile's SF_ERR_SYSTEM: the operating system refused a read
SAMPLE_RATE_HZ_MIN, SAMPLE_RATE_HZ_MAX = 1_000, 1_000_000

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


@dataclass(slots=True)
class OpenSound:
    """An open file and what is known of it before the first sample.

    Attributes
    ----------
    sound : SequentialSound
    source : SoundBytes
        Whose size and modification time are those of when it was opened.
    container, codec : str
        As libsndfile names them; of the file itself where the header had to be repaired.
    declared_frames : int or None
    findings : list of Finding
    span : ByteSpan or None
        Where the samples are not read by libsndfile itself: behind another header than the file's, or from an object store.
    frames_max : int
        More frames than the file can hold, whatever a decoder makes of it.
    """

    sound: SequentialSound
    source: SoundBytes
    container: str
    codec: str
    declared_frames: int | None = None
    findings: list[Finding] = field(default_factory=list)
    span: ByteSpan | None = None
    frames_max: int = 0

    @property
    def size_bytes(self) -> int:
        """Size when it was opened."""
        return self.source.size_bytes


def open_sound(path: str, expect: tuple[int, int] | None, stack: ExitStack) -> OpenSound:
    """Open a file for decoding.

    Parameters
    ----------
    path : str
        Of this machine, or an address in an object store.
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
        source = open_bytes(path, stack)
        changed = difference(expect, (source.size_bytes, source.mtime_ns)) if expect else ""
        if changed:
            raise Refused(Status.CHANGED, changed)
        if source.size_bytes == 0:
            raise Refused(Status.EMPTY, "the file has 0 bytes")
        with source.file() as header:
            facts = read_riff_from(header)
        opened = (_open_repaired(source, facts, stack) if facts else None) or _open_as_is(source, facts, stack)
        opened.frames_max = _frames_max(opened)
    except OSError as error:
        finding = from_os_error(error)
        raise Refused(finding.status, finding.reason, passing=finding.passing) from error
    return opened


def _frames_max(opened: OpenSound) -> int:
    """Return a bound for a decoder that goes on for ever.

    libsndfile fills the gap between two pages of Opus by their counts. Where one of them is damaged it gives silence for 10^7 years,
    and says so: 2^61 frames. The count on the last page is then believed, if there is one.
    """
    rate_hz, most_s = opened.sound.samplerate, longest_s(opened.size_bytes)
    if opened.sound.format == "OGG" and opened.sound.frames > most_s * rate_hz:
        with opened.source.file() as file:
            told_s = ogg_duration_s(file)
        if told_s is not None:
            most_s = min(most_s, told_s + 1.0)
    return int(most_s * rate_hz)


def difference(expect: tuple[int, int], found: tuple[int, int]) -> str:
    """Return how a file's size and modification time differ from what was expected, with both values; empty if they do not."""
    if found == expect:
        return ""
    return f"planned with {expect[0]} bytes, mtime_ns {expect[1]}; now {found[0]} bytes, mtime_ns {found[1]}"


def _open_as_is(source: SoundBytes, facts: RiffFacts | None, stack: ExitStack) -> OpenSound:
    file = source.whole()
    try:
        sound = _libsndfile(stack, file, closefd=False)
    except Refused as refused:
        behind = _open_rf64(source, facts, stack) if facts and facts.form == "RF64" else None
        if behind is None or refused.finding.status is not Status.UNREADABLE:
            raise
        return behind
    check_limits(sound.channels, sound.samplerate)
    span = file if isinstance(file, ByteSpan) else None
    opened = OpenSound(sound, source, sound.format, sound.subtype, span=span)
    if sound.format == "MP3":
        endless = _open_endless(source, stack)
        if endless is not None:
            return endless
    promise = riff_promise(facts) if facts else _promise(source, sound.format)
    frames: int | None = promise.frames
    if frames is None and not promise.cut and sound.frames < UNKNOWN_FRAMES:
        frames = sound.frames
    opened.declared_frames = frames
    _note_cut(opened, promise)
    return opened


def _promise(source: SoundBytes, container: str) -> Promise:
    with source.file() as file:
        return read_promise(file, container, source.size_bytes)


def _open_endless(source: SoundBytes, stack: ExitStack) -> OpenSound | None:
    """Open an MP3 file that does not say its length; None if it does."""
    with source.file() as file:
        added = length_frame(file, source.size_bytes)
    if added is None:
        return None
    offset, frame = added
    span = source.span(offset, source.size_bytes - offset, frame)
    sound = _libsndfile(stack, span)
    return OpenSound(sound, source, sound.format, sound.subtype, span=span)


def _note_cut(opened: OpenSound, promise: Promise) -> None:
    if promise.cut:
        opened.findings.append(Finding(Status.TRUNCATED, promise.cut))


def _open_repaired(source: SoundBytes, facts: RiffFacts, stack: ExitStack) -> OpenSound | None:
    """Open the samples of a WAV file whose header gives too small a size; None if that is not so, or not possible."""
    if facts.data_problem not in _REPAIRABLE:
        return None
    opened = _open_samples(source, facts, "WAV", stack)
    if opened is not None:
        reason = (
            f"header declares {facts.declared_data_bytes} bytes of sound ({facts.declared_frames} frames), "
            f"the file holds {facts.available_data_bytes} ({facts.available_frames} frames)"
        )
        opened.findings.append(Finding(Status.HEADER_REPAIRED, reason))
    return opened


def _open_rf64(source: SoundBytes, facts: RiffFacts, stack: ExitStack) -> OpenSound | None:
    """Open the samples of an RF64 or BW64 file that libsndfile refused; None if their kind cannot be read without its header.

    It forgets the pad byte of a chunk that it does not know, such as a GUANO text of odd length, and does not find the sound behind
    it. BW64 it does not know at all.
    """
    opened = _open_samples(source, facts, "RF64", stack)
    if opened is not None:
        _note_cut(opened, riff_promise(facts))
    return opened


def _open_samples(source: SoundBytes, facts: RiffFacts, container: str, stack: ExitStack) -> OpenSound | None:
    """Open what lies behind a header as samples; None if their kind cannot be read without it."""
    subtype = raw_subtype(facts)
    if subtype is None or facts.available_frames < 1:
        return None
    check_limits(facts.channels, facts.sample_rate_hz)
    span = source.span(facts.data_offset, facts.available_frames * facts.block_align)
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
    return OpenSound(sound, source, container, subtype, facts.declared_frames, span=span)


def _libsndfile(stack: ExitStack, file: int | ByteSpan, **options: object) -> SequentialSound:
    try:
        sound = SequentialSound(file, "r", **options)
    except sf.LibsndfileError as error:
        if isinstance(file, ByteSpan) and file.error is not None:
            raise file.error from error
        if error.code == SYSTEM_ERROR:
            raise Refused(Status.IO_ERROR, f"could not be read: {error.error_string}", passing=True) from error
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
