"""Damaged headers of every kind in processes with limits: windows or a status, and no death, no hang, no gigabytes."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import pytest

from embedder.audio import open_windows
from embedder.recorders import Describer
from embedder.recorders.lengths import length_s
from sonotheque.core.outcome import Outcome
from sonotheque.core.recording import SourceFile
from tests.audio import fuzzing
from tests.audio.fuzz import KINDS, WHOLE, cases, units, with_checksums
from tests.audio.fuzz_child import RULE
from tests.audio.fuzzing import SEVERAL, Sum, attack, write_whole

QUICK = 7  # of so many cases, one is tried here: the others are `make fuzz`


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("whole")
    write_whole(found)
    return found


def audio_s(path: Path) -> float:
    return Describer().describe(str(path.parent), SourceFile(path.name, path.stat().st_size, 1)).audio_s


@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_files_are_whole(kind: str, folder: Path) -> None:
    """What is damaged must be right before: else every case would be refused at the same place."""
    stream = open_windows(str(folder / kind), RULE)
    assert (len(list(stream)), stream.summary.outcome is Outcome.DONE) == ((0, False) if kind == "m4a" else (4, True))
    expected = 0.0 if kind == "w64" else 1.3  # W64: known when it is decoded
    assert audio_s(folder / kind) == pytest.approx(expected, abs=0.25)


@pytest.mark.parametrize("kind", KINDS)
def test_places_are_those_of_the_format(kind: str, folder: Path) -> None:
    data = (folder / kind).read_bytes()
    found = units(kind, data)
    assert len(found) >= 3
    assert all(0 <= u.start < u.end <= len(data) for u in found)
    if kind in ("vorbis", "opus"):
        assert with_checksums(data) == data


def test_cases_are_the_same_each_time(folder: Path) -> None:
    whole = {name: (folder / name).read_bytes() for name in KINDS}
    first = [(name, make()) for name, make in cases("wav_adpcm", whole, several=20)]
    assert first == [(name, make()) for name, make in cases("wav_adpcm", whole, several=20)]
    assert sum(data != whole["wav_adpcm"] for _, data in first) > 0.9 * len(first)


@pytest.mark.parametrize("kind", KINDS)
def test_some_cases_of_every_kind(kind: str, folder: Path) -> None:
    found = attack(folder, kind, first=KINDS.index(kind) % QUICK, step=QUICK, several=210)
    assert found.failures == []
    assert found.cases > 100
    assert len(found.statuses) > 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_case_of_every_kind(kind: str, folder: Path) -> None:
    assert attack(folder, kind, several=SEVERAL).failures == []


def test_a_process_that_dies_or_hangs_is_told_and_the_rest_is_tried(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The judge itself: of five cases one kills its process, one hangs, one raises, one takes too much memory."""
    program = (
        "import json, os, signal, sys, time\n"
        "for n in range(int(sys.argv[3]), 5):\n"
        "    print(json.dumps({'begun': n, 'case': f'case {n}'}), flush=True)\n"
        "    if n == 1: os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    if n == 2: time.sleep(60)\n"
        "    wrong = ['ValueError: no'] if n == 3 else []\n"
        "    memory = 501 if n == 4 else 1\n"
        "    print(json.dumps({'done': n, 'status': 'ok', 's': 0.1, 'space_mb': 1, 'memory_mb': memory, 'wrong': wrong}), flush=True)\n"
    )
    (folder / "judged").mkdir()
    stand_in = folder / "judged" / "child.py"
    stand_in.write_text(program)
    popen = fuzzing.subprocess.Popen
    monkeypatch.setattr(
        fuzzing.subprocess, "Popen", lambda command, **o: popen([command[0], str(stand_in), *command[3:]], **o)
    )
    monkeypatch.setattr(fuzzing, "HANG_S", 0.5)
    monkeypatch.setattr(fuzzing, "GRACE_S", 0.5)
    found = attack(folder, "wav")
    assert found.statuses == Counter({"ok": 3, "died": 2})
    assert [(f["case"], f["what"]) for f in found.failures] == [
        ("case 1", "the process died: SIGSEGV"),
        ("case 2", "no answer within 0.5 s"),
        ("case 3", "ValueError: no"),
        ("case 4", "501 MB of memory"),
    ]
    assert isinstance(found, Sum)
    assert found.to_json()["wrong"] == 4


# ---- what the cases found --------------------------------------------------------------------------------------------


def test_a_damaged_count_is_no_length(folder: Path, tmp_path: Path) -> None:
    """A plan is made of lengths: one file that claims a million years would gather all others in one part."""
    data = bytearray((folder / "vorbis").read_bytes())
    at = data.rfind(b"OggS") + 6
    data[at : at + 8] = b"\xff" * 7 + b"\x7f"
    (tmp_path / "a.ogg").write_bytes(with_checksums(bytes(data)))
    assert audio_s(tmp_path / "a.ogg") == 0.0


def test_a_decoder_that_goes_on_for_ever_is_stopped(folder: Path, tmp_path: Path) -> None:
    """libsndfile fills the gap between two counts of Opus pages, also if one of them is damaged: 10^7 years of silence."""
    data = bytearray((folder / "opus").read_bytes())
    pages = [at for at in range(len(data)) if data[at : at + 4] == b"OggS"]
    assert len(pages) == 4
    data[pages[2] + 6 : pages[2] + 14] = (0x83008300).to_bytes(8, "little")
    (tmp_path / "a.opus").write_bytes(with_checksums(bytes(data)))
    stream = open_windows(str(tmp_path / "a.opus"), RULE)
    assert len(list(stream)) <= 5
    assert (stream.summary.status, stream.summary.duration_s < 3.0) == ("corrupt", True)
    assert "cannot hold" in stream.summary.reason


def test_a_header_sets_no_gigabytes_aside(folder: Path, tmp_path: Path) -> None:
    """A box that says it is 2 GB long, in a file of 2 kB; what would be read of it at once is told by the handle."""
    asked: list[int] = []

    class Handle(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            asked.append(-1 if size is None else size)
            return super().read(size)

    data = bytearray((folder / "m4a").read_bytes())
    for name in (b"mvhd", b"alac", b"stsd"):
        at = data.index(name) - 4
        damaged = data[:at] + (2**31).to_bytes(4, "big") + data[at + 4 :]
        assert length_s(Handle(bytes(damaged)), None) >= 0.0
    assert min(asked) >= 0
    assert max(asked) <= 1 << 24


@pytest.mark.parametrize("magic", [b"RF64", b"BW64"])
@pytest.mark.parametrize("text", [b"GUAN|Version: 1.0", b"GUAN|Version: 1.00"], ids=["odd", "even"])
def test_an_rf64_with_any_chunk_before_its_sound_is_read(magic: bytes, text: bytes, tmp_path: Path) -> None:
    plain = WHOLE["rf64"]()
    at = plain.index(b"guan")
    size = int.from_bytes(plain[at + 4 : at + 8], "little")
    chunk = b"guan" + len(text).to_bytes(4, "little") + text + b"\0" * (len(text) % 2)
    (tmp_path / "a.wav").write_bytes(magic + plain[4:at] + chunk + plain[at + 8 + size + size % 2 :])
    (tmp_path / "plain.wav").write_bytes(WHOLE["wav"]())
    streams = [open_windows(str(tmp_path / name), RULE) for name in ("a.wav", "plain.wav")]
    theirs, ours = ([frame.tobytes() for _, _, frame in stream] for stream in streams)
    assert theirs == ours
    assert [stream.summary.status for stream in streams] == ["ok", "ok"]
