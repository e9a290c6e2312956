from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorder_files import REAL, needs_recordings

from embedder.recorders.ogg import ogg_duration_s

VORBIS = b"\x01vorbis" + struct.pack("<IBI", 0, 1, 8000) + bytes(14)
OPUS = b"OpusHead\x01\x01" + struct.pack("<HIHB", 312, 16000, 0, 0)
FLAC = (
    b"\x7fFLAC\x01\x00\x00\x01fLaC\x00\x00\x00\x22"
    + struct.pack(">HH", 4096, 4096)
    + bytes(6)
    + (48000 << 12).to_bytes(4, "big")
)


def page(granule: int, packet: bytes = b"x" * 50, serial: int = 7) -> bytes:
    return b"OggS\0\0" + struct.pack("<QIII", granule % 2**64, serial, 0, 0) + b"\1" + bytes([len(packet)]) + packet


def seconds(*pages: bytes) -> float | None:
    return ogg_duration_s(io.BytesIO(b"".join(pages)))


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        pytest.param([page(0, VORBIS), page(8000), page(20000)], 2.5, id="Vorbis"),
        pytest.param([page(0, OPUS), page(48312)], 1.0, id="Opus skips its first samples"),
        pytest.param([page(0, OPUS), page(12)], 0.0, id="Opus shorter than its skip"),
        pytest.param([page(0, FLAC), page(96000)], 2.0, id="FLAC in Ogg"),
        pytest.param([page(0, VORBIS), page(8000), page(-1)], 1.0, id="no packet ends on the last page"),
        pytest.param([page(0, VORBIS), page(8000), page(2**63 + 5)], 1.0, id="a position that cannot be"),
        pytest.param([page(0, VORBIS), page(8000), page(99, serial=8)], 1.0, id="another stream's page"),
        pytest.param([page(0, VORBIS), page(8000), page(16000)[:20]], 1.0, id="cut within the last page's header"),
        pytest.param([page(0, VORBIS), page(8000), bytes(1000)], 1.0, id="zeros at the end"),
        pytest.param([page(0, VORBIS)], 0.0, id="headers alone"),
        pytest.param([page(0, VORBIS), page(8000), bytes(200_000)], None, id="zeros beyond the search"),
        pytest.param([page(0, b"\x80theora"), page(8000)], None, id="video"),
        pytest.param([page(0, VORBIS.replace(struct.pack("<I", 8000), bytes(4))), page(8000)], None, id="no rate"),
        pytest.param([b"OggS"], None, id="magic alone"),
        pytest.param([b"fLaC", bytes(100)], None, id="not Ogg"),
        pytest.param([b""], None, id="empty"),
    ],
)
def test_lengths(pages, expected):
    assert seconds(*pages) == expected


@settings(max_examples=200, deadline=None)
@given(
    head=st.sampled_from([VORBIS, OPUS, FLAC]),
    changes=st.lists(st.tuples(st.integers(0, 200), st.binary(min_size=1, max_size=6)), max_size=5),
    cut=st.integers(0, 200),
)
def test_no_damage_raises(head, changes, cut):
    whole = page(0, head) + page(8000)
    data = bytearray(whole[: max(0, len(whole) - cut)])
    for at, new in changes:
        data[at : at + len(new)] = new
    found = ogg_duration_s(io.BytesIO(bytes(data)))
    assert found is None or found >= 0.0


@needs_recordings
@pytest.mark.parametrize(
    ("path", "expected"),
    [("codecs/21100_36_48.ogg", 10.0), ("codecs/21100_36_48.opus", 10.0), ("soundscape/soundscape.ogg", 120.0)],
)
def test_real_files_agree_with_tinytag(path, expected):
    tinytag = pytest.importorskip("tinytag")
    with (REAL / path).open("rb") as handle:
        found = ogg_duration_s(handle)
    assert found == pytest.approx(expected, abs=1e-3)
    assert found == pytest.approx(tinytag.TinyTag.get(REAL / path).duration, abs=1e-3)


def test_a_flac_head_that_ends_within_its_rate_is_no_codec():
    assert seconds(page(0, b"\x7fFLAC\x01\x00\x00\x01fLaC\x00\x00\x00\x22" + bytes(13)), page(4800)) is None
