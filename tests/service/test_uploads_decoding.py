"""Uploads are decoded as the archive's recordings are, to the bit, in processes that may do nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embedder.audio import open_windows
from embedder.models import load_model
from search_api.clip_queries import clip_query
from search_api.cutting import cut_spans
from search_api.uploads import Sounds
from search_api.uploads.decoding import DecodePool, printable
from search_api.uploads.processes import DecoderProcess
from search_api.uploads.samples import clip_samples
from sonotheque.core.errors import Invalid, Limit, SonothequeError, Unavailable
from store import open_archive, read_config
from tests.cluster.support import living
from tests.search import kit
from tests.service import sound_kit


def decode(pool, data, name="x.wav", from_s=None, to_s=None):
    return asyncio.run(pool.decode(data, name, from_s, to_s))


@pytest.fixture(scope="module")
def config(made):
    return read_config(made.store)


@pytest.fixture(scope="module")
def pool(config):
    found = DecodePool(config, processes=1, decoded_s=60.0, deadline_s=20.0)
    found.start()
    yield found
    found.close()


@pytest.fixture
def own_pool(config):
    """A pool whose processes a test may kill."""
    found = DecodePool(config, processes=1, decoded_s=60.0, deadline_s=20.0, waiting=2)
    found.start()
    found.wait_ready()
    yield found
    found.close()


@pytest.fixture(scope="module")
def sounds(made, config):
    found = Sounds.open(made.store, config, threads=2, decoders=1, decoded_s=60.0)
    found.start()
    found.pool.wait_ready()
    assert found.batcher.wait(30)
    yield found
    found.close()


def noise(seconds: float, rate_hz: int, channels: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    sweep = 0.3 * np.sin(2 * np.pi * (300 + 400 * t) * t)
    return np.clip(sweep[:, None] + rng.normal(0, 0.05, (len(t), channels)), -1, 1)


def same(mine, theirs):
    assert mine.windows == theirs.windows
    assert mine.vectors.dtype == theirs.vectors.dtype == np.float32
    assert mine.vectors.tobytes() == theirs.vectors.tobytes()


@pytest.mark.parametrize("form", sound_kit.FORMS)
@pytest.mark.parametrize(("rate_hz", "channels"), [(16_000, 1), (44_100, 2), (48_000, 1)])
def test_an_upload_is_what_the_command_line_makes_of_the_file(made, sounds, tmp_path, form, rate_hz, channels):
    data = sound_kit.packed(noise(5.3, rate_hz, channels), rate_hz, form)
    file = tmp_path / f"clip.{form}"
    file.write_bytes(data)
    with open_archive(made.store) as archive:
        for span in ((None, None), (1.3, 4.1), (0.7, None), (None, 2.5), (2.0, 2.4)):
            theirs = clip_query(archive, str(file), from_s=span[0], to_s=span[1], model=load_model("placeholder"))
            mine = asyncio.run(sounds.query(data, file.name, *span))
            same(mine, theirs)
            assert mine.about == theirs.about
            assert [n.replace(str(file), file.name) for n in theirs.notes] == list(mine.notes)


@given(
    from_s=st.floats(0, 7).map(lambda v: round(v, 3)),
    length_s=st.floats(0.01, 6).map(lambda v: round(v, 3)),
    rate_hz=st.sampled_from([16_000, 22_050, 48_000]),
    channels=st.integers(1, 3),
    float_samples=st.booleans(),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_range_is_what_a_file_of_it_gives(config, pool, tmp_path, from_s, length_s, rate_hz, channels, float_samples):
    """The twin writes the range, with what lies around it, to a file, and decodes that."""
    sound = noise(7.5, rate_hz, channels, seed=3)
    data = sound_kit.packed(sound, rate_hz, "float" if float_samples else "wav24")
    to_s = from_s + length_s
    rule = config.windows
    count = max(1, rule.count(round(length_s * rule.sample_rate_hz)))
    try:
        mine = decode(pool, data, "x.wav", from_s, to_s)
    except Invalid as error:
        assert "s of sound" in str(error) or "no sound" in str(error)
        assert 7.5 - from_s < 1.001
        return
    (tmp_path / "x.wav").write_bytes(data)
    lead_s = rule.window_s
    span = (max(0.0, from_s - lead_s), from_s + (count - 1) * rule.window_s + rule.window_s + 0.1)
    _, cut = next(cut_spans(str(tmp_path / "x.wav"), [span]))
    before = round(lead_s * rate_hz) - (round(from_s * rate_hz) - round(cut.start_s * rate_hz))
    samples = np.pad(cut.samples, ((before, 0), (0, 0)))
    subtype = "PCM_32" if samples.dtype == np.int32 else "FLOAT"
    sf.write(tmp_path / "range.wav", samples, rate_hz, subtype=subtype)
    first = rule.hop_samples
    theirs = [w for w in open_windows(str(tmp_path / "range.wav"), rule) if first <= w[0] < first + count * first]
    assert len(mine.frames) == len(theirs) == len(mine.windows)
    for frame, window, (start, valid, other) in zip(mine.frames, mine.windows, theirs, strict=True):
        assert frame.tobytes() == other.tobytes()
        assert window.start_s == from_s + rule.seconds(start - first)
        assert window.valid_s == rule.seconds(valid)


HOSTILE = {
    "empty": (b"", Invalid, "invalid", "0 bytes"),
    "text": (b"Dear archive, " * 200, Invalid, "unsupported_audio", "Format not recognised"),
    "a header alone": (sound_kit.wav_head(), Invalid, "invalid", "holds no frame"),
    "half a header": (sound_kit.clip()[:30], Invalid, "unsupported_audio", "unreadable"),
    "nine channels": (
        sound_kit.wav_head(9, data_bytes=18 * 16_000) + bytes(18 * 16_000),
        Invalid,
        "unsupported_audio",
        "9 channels",
    ),
    "65 channels": (
        sound_kit.wav_head(65, data_bytes=130 * 16_000) + bytes(130 * 16_000),
        Invalid,
        "unsupported_audio",
        "65 channels",
    ),
    "700 kHz": (
        sound_kit.wav_head(1, 700_000, data_bytes=4_000_000) + bytes(4_000_000),
        Invalid,
        "unsupported_audio",
        "700,000 Hz",
    ),
    "4 GHz": (
        sound_kit.wav_head(1, 4_000_000_000, data_bytes=64_000) + bytes(64_000),
        Invalid,
        "unsupported_audio",
        "unreadable",
    ),
    "20 Hz": (sound_kit.wav_head(1, 20, data_bytes=64_000) + bytes(64_000), Invalid, "unsupported_audio", "20 Hz"),
    "ten frames in its header": (sound_kit.lying_flac(10), Invalid, "invalid", "0.001 s"),
    "too short": (sound_kit.clip(seconds=0.4), Invalid, "invalid", "0.400 s"),
    "too long": (sound_kit.clip(seconds=61.0), Limit, "limit", "more than 60 s"),
    "an hour of nothing in FLAC": (sound_kit.silence(3600), Limit, "limit", "more than 60 s"),
    "four minutes of nothing in Vorbis": (sound_kit.silence(240, form="ogg"), Limit, "limit", "more than 60 s"),
    "an MP3's beginning": (b"\xff\xfb\x90\x00" + bytes(range(256)) * 40, Invalid, None, "x.wav"),
    "zip": (b"PK\x03\x04" + bytes(5000), Invalid, "unsupported_audio", "x.wav"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_files_are_refused_and_nothing_else_is_disturbed(pool, what):
    data, kind_of_error, kind, words = HOSTILE[what]
    before = pool.pids
    with pytest.raises(kind_of_error) as caught:
        decode(pool, data)
    assert kind is None or caught.value.kind == kind
    assert words in str(caught.value)
    assert "/proc" not in str(caught.value) and "/tmp" not in str(caught.value)
    assert pool.pids == before
    assert len(decode(pool, sound_kit.clip()).frames) == 1


@pytest.mark.parametrize(
    ("data", "note"),
    [
        (sound_kit.lying_flac(), None),
        (sound_kit.clip(form="flac")[:-3000], "x.wav"),
        (sound_kit.clip()[:50_001], "truncated"),
        (sound_kit.wav_head(data_bytes=7) + sound_kit.clip()[44:], "header_repaired"),
        (np.zeros(0).tobytes() + sound_kit.wav_head(data_bytes=0xFFFFFFF0) + sound_kit.clip()[44:], None),
    ],
)
def test_headers_that_lie_give_what_is_there(pool, data, note):
    """As a recording of the archive that was cut off does."""
    found = decode(pool, data)
    assert found.frames.shape[0] == 1 and found.duration_s <= 2.0
    assert note is None or any(note in told for told in found.notes)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_damaged_uploads_are_decoded_or_refused(pool, data):
    whole = sound_kit.clip(form=data.draw(st.sampled_from(sorted(sound_kit.FORMS))))
    broken = bytearray(whole[: data.draw(st.integers(1, len(whole)))])
    for _ in range(data.draw(st.integers(0, 8))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = decode(pool, bytes(broken))
    except (Invalid, Limit):
        return
    assert np.isfinite(found.frames).all() and len(found.frames) == len(found.windows)


@pytest.mark.parametrize(
    ("span", "error", "words"),
    [
        ((-1.0, None), Invalid, "from_s -1: expected seconds"),
        ((float("nan"), None), Invalid, "from_s nan"),
        ((3.0, 3.0), Invalid, "ends at 3 s and begins at 3 s"),
        ((9.0, None), Invalid, "has no sound from 9 s on"),
        ((61.0, None), Limit, "more than 60 s"),
        ((0.0, 100.0), Limit, "more than 60 s"),
        ((0.0, 1e308), Limit, "more than 60 s"),
    ],
)
def test_ranges_that_cannot_be(pool, span, error, words):
    with pytest.raises(error, match=words.replace(".", r"\.")):
        decode(pool, sound_kit.clip(seconds=3.0), "x.wav", *span)


def test_a_range_of_digital_silence_after_sound_says_so(pool):
    sound = np.concatenate([kit.tone(700.0, 4.0), np.zeros(8 * kit.RATE_HZ)])
    with pytest.raises(Invalid, match="digital silence from 5 s on"):
        decode(pool, sound_kit.packed(sound), "x.wav", 5.0, 9.0)
    assert any("digital silence" in note for note in decode(pool, sound_kit.packed(sound), "x.wav", 8.0, 12.0).notes)


def frozen(pool, data, then):
    """Decode in a process that stands still; do something to it once it has the upload; return what came of it."""
    (pid,) = pool.pids
    os.kill(pid, signal.SIGSTOP)
    try:
        found: list[object] = []

        def ask():
            try:
                found.append(decode(pool, data))
            except SonothequeError as error:
                found.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        time.sleep(0.1)  # until it was sent; were it later, the process would be dead before, and the upload decoded
        then(pid)
        asking.join(30)
        return found[0]
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_decoder_that_dies_loses_its_own_upload_alone(own_pool, number):
    def end(pid):
        os.kill(pid, number)
        os.kill(pid, signal.SIGCONT)

    before = own_pool.pids
    error = frozen(own_pool, sound_kit.clip(), end)
    assert isinstance(error, Invalid) and error.kind == "unsupported_audio"
    assert signal.Signals(number).name in error.message
    assert len(decode(own_pool, sound_kit.clip()).frames) == 1
    assert own_pool.pids != before


def test_a_decoder_that_was_killed_while_idle_is_replaced_and_nobody_notices(own_pool):
    (pid,) = own_pool.pids
    decoder = psutil.Process(pid)
    os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + 20
    while living([decoder]):
        assert time.monotonic() < until  # a busy machine takes its time
        time.sleep(0.01)
    assert len(decode(own_pool, sound_kit.clip()).frames) == 1
    assert own_pool.pids != [pid]


def test_at_its_deadline_a_decoder_is_ended(config):
    pool = DecodePool(config, processes=1, decoded_s=60.0, deadline_s=0.5)
    pool.start()
    pool.wait_ready()
    try:
        (pid,) = pool.pids
        error = frozen(pool, sound_kit.clip(), lambda pid: None)
        assert isinstance(error, Limit) and "within 0.5 s" in error.message
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        assert len(decode(pool, sound_kit.clip()).frames) == 1
    finally:
        pool.close()


def test_too_many_that_wait_are_refused_and_those_before_are_answered(own_pool):
    async def many():
        (pid,) = own_pool.pids
        os.kill(pid, signal.SIGSTOP)
        first = [asyncio.ensure_future(own_pool.decode(sound_kit.clip(seed=n))) for n in range(3)]
        await asyncio.sleep(0.05)
        with pytest.raises(Unavailable) as caught:
            await own_pool.decode(sound_kit.clip())
        assert caught.value.kind == "overloaded"
        first[2].cancel()  # a client that goes away gives its place back
        await asyncio.sleep(0.05)
        last = asyncio.ensure_future(own_pool.decode(sound_kit.clip()))
        await asyncio.sleep(0)
        os.kill(pid, signal.SIGCONT)
        return await asyncio.gather(*first[:2], last)

    assert [len(found.frames) for found in asyncio.run(many())] == [1, 1, 1]


def test_nothing_is_left_of_the_processes(config):
    pool = DecodePool(config, processes=2, decoded_s=60.0, deadline_s=5.0)
    pool.start()
    pids = pool.pids
    assert len(pids) == 2
    pool.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    with pytest.raises(Unavailable):
        decode(pool, sound_kit.clip())


def test_a_decoder_goes_when_the_service_is_killed():
    """It reads the end of its connection; nobody has to tell it."""
    code = (
        "import sys, time\nfrom search_api.uploads.processes import DecoderProcess\n"
        "p = DecoderProcess()\np.wait_ready()\nprint(p.pid, flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        pid = int(service.stdout.readline())
        service.kill()
    until = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]:
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_decoder_may_do_little():
    """What a hostile file could make it do: write, allocate, start programs, read what is not everybody's."""
    code = """
import os, sys, resource
from search_api import clip_worker
clip_worker.confine()
told = []
for name, attempt in {
    "memory": lambda: bytearray(2 << 30),
    "file": lambda: open("/tmp/sonotheque-confined", "wb").write(b"x" * 100_000),
    "program": lambda: os.fork(),
    "files": lambda: [open("/dev/null") for _ in range(100)],
}.items():
    try:
        attempt()
        told.append(name)
    except (MemoryError, OSError):
        pass
print(told, resource.getrlimit(resource.RLIMIT_CORE), os.getuid())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("[] (0, 0)"), done.stdout + done.stderr
    if os.getuid() == 0:
        assert done.stdout.split()[-1] == "65534"


def test_what_a_decoder_imports_is_light():
    code = "import sys, search_api.clip_worker; print(sorted({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    for heavy in ("pyarrow", "duckdb", "polars", "fastapi", "scipy", "store", "cluster", "asyncio"):
        assert f"'{heavy}'" not in done.stdout, heavy


def test_its_answers_are_not_trusted(config, monkeypatch):
    """A decoder that was taken over can say what it likes; it is ended, and the upload refused."""
    process = DecoderProcess()
    process.wait_ready()
    monkeypatch.setattr(process, "_header", lambda until: (b"W", 12))
    pool = DecodePool(config, processes=1, decoded_s=60.0, deadline_s=5.0)
    pool.start()
    try:
        pool._idle.get().kill()
        pool._all = {process}
        pool._idle.put(process)
        with pytest.raises(Invalid, match="nonsense"):
            decode(pool, sound_kit.clip())
        assert not process.alive
        assert len(decode(pool, sound_kit.clip()).frames) == 1
    finally:
        pool.close()


def no_more_processes(*_, **__):
    raise OSError(11, "Resource temporarily unavailable")


def test_a_machine_without_processes_for_a_moment_costs_no_decoder(own_pool, monkeypatch):
    """The place of a decoder that cannot be replaced just then is filled by the next upload."""
    (pid,) = own_pool.pids
    with monkeypatch.context() as trouble:
        trouble.setattr(subprocess, "Popen", no_more_processes)
        os.kill(pid, signal.SIGKILL)
        for process in own_pool._all:
            process._process.wait(10)
        for _ in range(3):
            with pytest.raises(Unavailable, match="Resource temporarily unavailable"):
                decode(own_pool, sound_kit.clip())
        assert own_pool.pids == []
    for _ in range(2):
        assert len(decode(own_pool, sound_kit.clip()).frames) == 1
    assert len(own_pool.pids) == 1


def test_a_process_that_cannot_be_made_leaves_nothing_open(monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", no_more_processes)
    before = set(os.listdir("/proc/self/fd"))
    kept = []
    for _ in range(3):
        with pytest.raises(OSError, match="temporarily") as caught:
            DecoderProcess()
        kept.append(caught)  # its frames keep what they hold
    assert set(os.listdir("/proc/self/fd")) == before


def test_nobody_waits_for_ever_for_a_decoder(config):
    pool = DecodePool(config, processes=1, decoded_s=60.0, deadline_s=0.2)
    pool.start()
    try:
        taken = pool._idle.get()
        with pytest.raises(Unavailable) as caught:
            decode(pool, sound_kit.clip())
        assert caught.value.kind == "overloaded"
        pool._idle.put(taken)
    finally:
        pool.close()


def test_decoders_that_die_as_they_start_are_not_the_uploads_fault(config, monkeypatch):
    pool = DecodePool(config, processes=1, decoded_s=60.0, deadline_s=20.0)
    with monkeypatch.context() as trouble:
        trouble.setattr(sys, "executable", "/bin/false")
        pool.start()
        with pytest.raises(Unavailable, match="ended with code 1"):
            decode(pool, sound_kit.clip())
    try:
        assert len(decode(pool, sound_kit.clip()).frames) == 1
    finally:
        pool.close()


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("after", [1, 3, 4])
def test_what_is_left_of_an_answer_is_nobody_elses(own_pool, monkeypatch, error, after):
    """Reading an answer breaks off in the middle: the next caller must not get the rest of it."""
    (pid,) = own_pool.pids
    real, reads = DecoderProcess._fill, []

    def breaks(self, buffer, until):
        reads.append(len(buffer))
        if len(reads) == after:
            raise error
        real(self, buffer, until)

    with monkeypatch.context() as trouble:
        trouble.setattr(DecoderProcess, "_fill", breaks)
        with pytest.raises(error):
            own_pool._told(
                sound_kit.clip(seconds=8.0),
                own_pool.request("x.wav", own_pool._config.windows.to_json(), "mean", None, None),
            )
    found = decode(own_pool, sound_kit.clip(1_234.0), "y.wav")
    assert found.frames.tobytes() == decode(own_pool, sound_kit.clip(1_234.0), "y.wav").frames.tobytes()
    assert len(found.frames) == 1 and found.duration_s == 2.0
    assert own_pool.pids != [pid]


def test_windows_are_put_together_off_the_event_loop(pool, monkeypatch):
    from search_api.uploads import decoding

    where = []
    real = decoding.decoded_of

    def seen(*given):
        where.append(threading.current_thread().name)
        return real(*given)

    monkeypatch.setattr(decoding, "decoded_of", seen)
    assert len(decode(pool, sound_kit.clip()).frames) == 1
    samples = asyncio.run(clip_samples(pool, sound_kit.clip(), "x.wav", kit.RATE_HZ, (0.5, 1.5)))
    assert len(samples) == kit.RATE_HZ
    assert len(where) == 1 and where[0].startswith("sonotheque-decode")


@pytest.mark.parametrize("error", [KeyError, ValueError, TypeError])
def test_an_answer_that_makes_no_sense_is_the_uploads_fault(pool, monkeypatch, error):
    def nonsense(*_):
        raise error

    monkeypatch.setattr("search_api.uploads.decoding.decoded_of", nonsense)
    with pytest.raises(Invalid, match="nonsense"):
        decode(pool, sound_kit.clip())


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\clips\\a.wav", "a.wav"),
        ("a\nb\x00c.wav", "a b c.wav"),
        ("", "the upload"),
        ("/", "the upload"),
        ("x" * 500, "x" * 120),
    ],
)
def test_names_as_they_are_shown(name, shown):
    assert printable(name) == shown
