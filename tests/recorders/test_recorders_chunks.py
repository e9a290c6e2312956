from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorder_files import AUDIOMOTH, REAL, aiff, chunk, extended, fmt, guano, info, loud, needs_recordings, riff, wav

from embedder.recorders.chunks import (
    CHUNKS_MAX,
    METADATA_BYTES_MAX,
    RiffFacts,
    parse_guano_text,
    read_riff,
    read_riff_from,
)

AUDIO = loud(2000)  # 1000 frames
LIST = info(ICMT=AUDIOMOTH, IART="AudioMoth 242A2604603691DD")


def facts(data: bytes) -> RiffFacts:
    found = read_riff_from(io.BytesIO(data))
    assert found is not None
    return found


class CountingFile(io.BytesIO):
    """Counts the bytes that are read."""

    bytes_read = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.bytes_read += len(data)
        return data


def test_plain_wav_has_every_fact():
    found = facts(riff(fmt(8000, 2, 16), chunk(b"data", AUDIO)))
    assert (found.form, found.format_tag, found.channels, found.sample_rate_hz) == ("WAV", 1, 2, 8000)
    assert (found.bits_per_sample, found.block_align, found.byte_rate) == (16, 4, 32000)
    assert (found.data_offset, found.declared_data_bytes, found.available_data_bytes) == (44, 2000, 2000)
    assert (found.declared_frames, found.available_frames, found.duration_s) == (500, 500, 0.0625)
    assert not found.data_is_suspect
    assert not found.big_endian


@pytest.mark.parametrize(
    ("data", "problem", "declared", "available"),
    [
        pytest.param(chunk(b"data", AUDIO), "", 2000, 2000, id="right"),
        pytest.param(chunk(b"data", AUDIO) + LIST, "", 2000, 2000, id="right, then a list"),
        pytest.param(chunk(b"data", b""), "", 0, 0, id="empty"),
        pytest.param(chunk(b"data", b"") + LIST, "", 0, 0, id="empty, then a list"),
        pytest.param(chunk(b"data", AUDIO, size=0), "zero_size", 0, 2000, id="never finalised"),
        pytest.param(chunk(b"data", AUDIO, size=0xFFFFFFFF), "streaming", 0xFFFFFFFF, 2000, id="streaming"),
        pytest.param(chunk(b"data", AUDIO, size=0x7FFFF000), "streaming", 0x7FFFF000, 2000, id="a pipe of SoX"),
        pytest.param(chunk(b"data", AUDIO, size=2001), "truncated", 2001, 2000, id="one byte short"),
        pytest.param(chunk(b"data", AUDIO, size=4_000_000_000), "truncated", 4_000_000_000, 2000, id="far too large"),
        pytest.param(chunk(b"data", b"", size=116), "truncated", 116, 0, id="nothing there"),
        pytest.param(chunk(b"data", AUDIO, size=44), "too_small", 44, 2000, id="placeholder of Frontier Labs FL003"),
        pytest.param(chunk(b"data", AUDIO, size=1990), "too_small", 1990, 2000, id="ten bytes forgotten"),
        pytest.param(chunk(b"data", AUDIO, size=1994), "", 1994, 1994, id="six bytes are junk"),
        pytest.param(chunk(b"data", AUDIO[:1999]), "", 1999, 1999, id="odd and padded"),
        pytest.param(chunk(b"data", AUDIO[:1999]) + LIST, "", 1999, 1999, id="odd and padded, then a list"),
        pytest.param(chunk(b"data", AUDIO[:1999], pad=False) + LIST, "", 1999, 1999, id="odd, not padded, then a list"),
        pytest.param(chunk(b"data", AUDIO) + LIST[:40], "", 2000, 2000, id="cut within the list"),
        pytest.param(chunk(b"data", AUDIO) + b"TAG" + b"title".ljust(125), "", 2000, 2000, id="then an ID3v1 tag"),
        pytest.param(chunk(b"data", AUDIO) + chunk(b"zzzz", b"1234"), "", 2000, 2000, id="then an unknown chunk"),
    ],
)
def test_data_size_rules(data, problem, declared, available):
    found = facts(riff(fmt(), data))
    assert (found.data_problem, found.declared_data_bytes, found.available_data_bytes) == (problem, declared, available)
    assert found.data_is_suspect == (problem != "")
    assert found.available_frames == available // 2
    assert found.declared_frames == (0 if problem == "streaming" else declared // 2)


def test_text_chunks_are_found_before_and_after_the_data():
    for data in (riff(fmt(), LIST, chunk(b"data", AUDIO), guano(Serial="1")), wav(1, 1000, guano(Serial="1"), LIST)):
        found = facts(data)
        assert found.comment == AUDIOMOTH
        assert found.artist == "AudioMoth 242A2604603691DD"
        assert found.guano == {"GUANO|Version": "1.0", "Serial": "1"}


def test_text_chunks_after_an_unpadded_odd_chunk_are_found():
    data = riff(fmt(), chunk(b"odd ", b"123", pad=False), chunk(b"data", AUDIO[:7], pad=False), LIST)
    assert facts(data).comment == AUDIOMOTH
    assert facts(data).available_data_bytes == 7


def test_text_is_cut_at_nul_and_bad_utf8_is_replaced():
    data = riff(fmt(), chunk(b"LIST", b"INFO" + chunk(b"ICMT", b"caf\xe9\0junk after the end")), chunk(b"data", AUDIO))
    assert facts(data).comment == "caf\ufffd"


def test_a_list_that_is_not_info_is_left_alone():
    assert facts(riff(fmt(), chunk(b"LIST", b"adtl" + chunk(b"ICMT", b"no")), chunk(b"data", AUDIO))).comment == ""


def test_guano_lines():
    text = "GUANO|Version: 1.0\r\nNote: a:b\n\nno colon\n: no key\nTE:10\nTE:20\nPlace:café\0\0".encode()
    assert parse_guano_text(text) == {"GUANO|Version": "1.0", "Note": "a:b", "TE": "10", "Place": "café"}


def test_extensible_header_gives_its_sub_format():
    sub = struct.pack("<HHIH", 22, 16, 4, 3) + b"\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"
    assert facts(riff(fmt(tag=0xFFFE, extra=sub), chunk(b"data", AUDIO))).format_tag == 3


@pytest.mark.parametrize(
    ("align", "channels", "bits", "expected"),
    [
        pytest.param(0, 2, 24, 6, id="missing"),
        pytest.param(2, 2, 16, 4, id="too small"),
        pytest.param(7, 2, 24, 6, id="not a multiple of the channels"),
        pytest.param(8, 2, 24, 8, id="24 bits in 32 are right"),
        pytest.param(0, 0, 0, 0, id="nothing known"),
    ],
)
def test_block_align_is_made_possible(align, channels, bits, expected):
    found = facts(riff(fmt(1000, channels, bits, align=align), chunk(b"data", AUDIO)))
    assert found.block_align == expected
    assert found.available_frames == (2000 // expected if expected else 0)


def test_compressed_wav_counts_frames_by_fact_and_by_byte_rate():
    header = chunk(b"fmt ", struct.pack("<HHIIHH", 0x11, 1, 8000, 4000, 256, 4))
    fact = chunk(b"fact", struct.pack("<I", 4040))
    whole = facts(riff(header, fact, chunk(b"data", AUDIO)))
    assert (whole.declared_frames, whole.available_frames) == (4040, 4040)
    cut = facts(riff(header, fact, chunk(b"data", AUDIO[:1000], size=2000)))
    assert (cut.declared_frames, cut.available_frames) == (4040, 2020)
    assert facts(riff(header, fact, chunk(b"data", AUDIO, size=0))).available_frames == 4000
    assert facts(riff(header, chunk(b"data", AUDIO))).available_frames == 4000


def test_rifx_is_big_endian():
    data = riff(fmt(order=">"), chunk(b"data", AUDIO, order=">"), magic=b"RIFX", order=">")
    found = facts(data)
    assert found.big_endian
    assert (found.form, found.sample_rate_hz, found.available_frames) == ("WAV", 1000, 1000)


def ds64(data_bytes: int) -> bytes:
    return chunk(b"ds64", struct.pack("<QQQI", 0, data_bytes, data_bytes // 2, 0))


@pytest.mark.parametrize("magic", [b"RF64", b"BW64"])
@pytest.mark.parametrize(
    ("size", "problem", "available"),
    [
        pytest.param(2000, "", 2000, id="right"),
        pytest.param(5_000_000_000, "truncated", 2000 + len(LIST), id="truncated"),
        pytest.param(0, "zero_size", 2000 + len(LIST), id="never finalised"),
    ],
)
def test_rf64_takes_the_64_bit_size(magic, size, problem, available):
    found = facts(riff(ds64(size), fmt(), chunk(b"data", AUDIO, size=0xFFFFFFFF) + LIST, magic=magic))
    assert (found.form, found.declared_data_bytes) == ("RF64", size)
    assert (found.data_problem, found.available_data_bytes) == (problem, available)
    assert found.comment == (AUDIOMOTH if not problem else "")


def test_rf64_without_ds64_is_a_stream_and_riff_does_not_read_ds64():
    assert facts(riff(fmt(), chunk(b"data", AUDIO, size=0xFFFFFFFF), magic=b"RF64")).data_problem == "streaming"
    assert facts(riff(ds64(44), fmt(), chunk(b"data", AUDIO, size=0xFFFFFFFF))).data_problem == "streaming"


def test_rf64_may_have_a_plain_data_size():
    assert facts(riff(ds64(7), fmt(), chunk(b"data", AUDIO), magic=b"RF64")).declared_data_bytes == 2000


@pytest.mark.parametrize("rate", [1, 8000, 44100, 48000, 96000, 384000, 2**31])
def test_aiff_rates_are_exact(rate):
    found = facts(aiff(2000, rate))
    assert (found.form, found.sample_rate_hz, found.available_frames) == ("AIFF", rate, 1000)
    assert found.data_problem == ""


@pytest.mark.parametrize("number", [b"\0" * 10, b"\xff" * 10, b"\x7f\xff" + b"\xff" * 8, extended(1)[:1] + b"\0" * 9])
def test_aiff_nonsense_rate_is_zero(number):
    comm = chunk(b"COMM", struct.pack(">HIH", 1, 1000, 16) + number, order=">")
    found = facts(riff(comm, chunk(b"SSND", bytes(8) + AUDIO, order=">"), magic=b"FORM", kind=b"AIFF", order=">"))
    assert found.sample_rate_hz == 0
    assert found.duration_s == 0.0


@pytest.mark.parametrize(
    ("size", "problem", "available"),
    [(None, "", 2000), (0, "zero_size", 2000), (3000, "truncated", 2000), (44, "too_small", 2000)],
)
def test_aiff_sizes(size, problem, available):
    found = facts(aiff(2000, size=size))
    assert (found.data_problem, found.available_data_bytes) == (problem, available)


def test_aiff_data_offset_is_skipped():
    found = facts(aiff(2000, offset=512))
    assert found.available_data_bytes == 2000
    assert found.data_offset == facts(aiff(2000)).data_offset + 512


@pytest.mark.parametrize(
    ("codec", "tag", "frames"),
    [(b"sowt", 1, 1000), (b"fl32", 3, 1000), (b"ima4", 0, 1000)],
    ids=["sowt", "fl32", "ima4"],
)
def test_aifc_codecs(codec, tag, frames):
    found = facts(aiff(2000, codec=codec))
    assert (found.format_tag, found.available_frames) == (tag, frames)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"RIFF", id="magic alone"),
        pytest.param(b"RIFF\0\0\0\0AVI LIST", id="AVI"),
        pytest.param(b"FORM\0\0\0\x008SVX", id="8SVX"),
        pytest.param(b"fLaC" + bytes(40), id="FLAC"),
        pytest.param(b"ID3\x04" + bytes(40), id="MP3"),
        pytest.param(b"not audio at all", id="text"),
    ],
)
def test_other_files_are_none(data):
    assert read_riff_from(io.BytesIO(data)) is None


def test_a_wav_without_data_or_format():
    assert facts(riff()) == RiffFacts("WAV")
    assert facts(riff(fmt())).data_offset == 0
    assert facts(riff(chunk(b"data", AUDIO))).available_frames == 0
    assert facts(riff(fmt()[:20], chunk(b"data", AUDIO))).duration_s == 0.0


def test_the_first_format_and_the_first_data_count():
    found = facts(riff(fmt(8000), chunk(b"data", AUDIO), fmt(1), chunk(b"data", AUDIO[:4])))
    assert (found.sample_rate_hz, found.available_data_bytes) == (8000, 2000)


def test_a_chunk_larger_than_the_file_ends_the_walk():
    assert facts(riff(fmt(), chunk(b"junk", b"", size=0xFFFFFFF0), chunk(b"data", AUDIO))).data_offset == 0


def test_the_walk_stops_after_so_many_chunks():
    few, many = [chunk(b"junk", b"") * n for n in (CHUNKS_MAX - 2, CHUNKS_MAX)]
    assert facts(riff(fmt(), few, chunk(b"data", AUDIO))).data_offset > 0
    assert facts(riff(fmt(), many, chunk(b"data", AUDIO))).data_offset == 0


def test_little_is_read_of_a_large_file():
    big = CountingFile(riff(fmt(), chunk(b"data", loud(5_000_000)), LIST))
    assert read_riff_from(big).comment == AUDIOMOTH
    assert big.bytes_read < 1000


def test_no_more_than_a_budget_of_text_is_read_and_the_data_is_still_found():
    text = chunk(b"LIST", b"INFO" + chunk(b"INAM", b"x" * 900_000))
    hostile = CountingFile(riff(fmt(), text * 8, chunk(b"data", AUDIO, size=44)))
    found = read_riff_from(hostile)
    assert hostile.bytes_read < METADATA_BYTES_MAX + 30 * CHUNKS_MAX
    assert (found.available_data_bytes, found.data_problem) == (2000, "too_small")


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_riff(tmp_path / "gone.wav")


SEEDS = [
    riff(fmt(), LIST, chunk(b"data", loud(64)), guano(Timestamp="2025-05-03T03:13:00Z")),
    riff(ds64(64), fmt(), chunk(b"data", loud(64), size=0xFFFFFFFF), LIST, magic=b"RF64"),
    riff(fmt(order=">"), chunk(b"data", loud(64), order=">"), magic=b"RIFX", order=">"),
    aiff(64),
    aiff(64, codec=b"ima4", offset=16),
]


@settings(max_examples=300, deadline=None)
@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=8)), max_size=6),
    cut=st.integers(0, 400),
)
def test_no_mutated_or_truncated_header_raises(seed, changes, cut):
    data = bytearray(seed[: max(0, len(seed) - cut)])
    for at, new in changes:
        at = min(at, len(data))
        data[at : at + len(new)] = new
    found = read_riff_from(io.BytesIO(bytes(data)))
    if found is not None:
        assert 0 <= found.data_offset <= len(data)
        assert 0 <= found.available_data_bytes <= len(data) - found.data_offset
        assert found.available_frames >= 0
        assert found.duration_s >= 0.0
        assert found.data_problem in ("", "zero_size", "streaming", "truncated", "too_small")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_after_the_magic_raise(body):
    for head in (b"RIFF\0\0\0\0WAVE", b"RF64\0\0\0\0WAVE", b"FORM\0\0\0\0AIFF", b"FORM\0\0\0\0AIFC"):
        assert read_riff_from(io.BytesIO(head + body)) is not None


@settings(max_examples=100, deadline=None)
@given(n_frames=st.integers(0, 300), lie=st.integers(0, 0xFFFFFFFF), channels=st.integers(1, 4))
def test_whatever_the_size_says_no_frame_before_the_end_is_lost(n_frames, lie, channels):
    """Against a twin that knows how many frames were written: with nothing after the data, all are available."""
    audio = loud(n_frames * channels * 2)
    found = facts(riff(fmt(channels=channels), chunk(b"data", audio, size=lie)))
    forgotten = len(audio) - lie
    if 0 < forgotten < 8:
        assert found.available_data_bytes == lie
    else:
        assert found.available_frames == n_frames


@needs_recordings
@pytest.mark.parametrize(
    ("path", "rate", "frames", "problem"),
    [
        ("sm4_24h/S4A03895_20190522_000000.wav", 22000, 220000, ""),
        ("audiomoth_urban/242A2604603691DD_20250503_031300.WAV", 48000, 1440000, ""),
        ("codecs/21100_36_48.wav", 16000, 160000, ""),
        ("odd/veryshort.wav", 44100, 6266, ""),
        ("odd/empty_2c.wav", 44100, 0, "truncated"),
    ],
)
def test_real_files(path, rate, frames, problem):
    found = read_riff(REAL / path)
    assert (found.sample_rate_hz, found.available_frames, found.data_problem) == (rate, frames, problem)
