"""Blocks: channels, bounds, errors of disks, and files that change."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest
import soundfile as sf

from embedder.audio import BlockReader, containers, decode, open_windows, opening, sources
from sonotheque.core.outcome import Outcome, Status
from tests.audio.damage import RATE_HZ, RULE, cut, flac_with_total, rot, sound, wav_bytes, write


def blocks(path, **options):
    with BlockReader(str(path), **options) as reader:
        found = [block.copy() for block in reader]
    return (np.concatenate(found) if found else np.zeros(0, np.float32)), found, reader


def statuses(reader) -> list[Status]:
    return [finding.status for finding in reader.findings]


def stat_of(path) -> tuple[int, int]:
    info = os.stat(path)
    return info.st_size, info.st_mtime_ns


class TestBlocks:
    def test_one_second_each(self, tmp_path):
        _, found, reader = blocks(write(tmp_path / "a.flac", sound(3.5, 44_100), 44_100))
        assert [len(block) for block in found] == [44_100, 44_100, 44_100, 22_050]
        assert {block.dtype for block in found} == {np.dtype(np.float32)}
        assert reader.decoded_frames == round(3.5 * 44_100)

    def test_mean_and_first_channel(self, tmp_path):
        samples = sound(2.0, channels=4)
        path = write(tmp_path / "a.wav", samples, subtype="FLOAT")
        mean, _, reader = blocks(path)
        np.testing.assert_allclose(mean, samples.mean(axis=1), atol=1e-7)
        assert reader.n_channels == 4
        np.testing.assert_array_equal(blocks(path, channels="first")[0], samples[:, 0])

    def test_identical_channels_mean_to_themselves(self, tmp_path):
        mono = sound(1.0)
        path = write(tmp_path / "a.wav", np.stack([mono, mono], axis=1), subtype="FLOAT")
        np.testing.assert_array_equal(blocks(path)[0], mono)

    def test_a_block_is_bounded_over_all_channels(self, tmp_path):
        path = write(tmp_path / "a.wav", sound(0.5, 400_000, channels=64), 400_000)
        samples, found, reader = blocks(path)
        assert max(len(block) for block in found) * 64 <= decode.BLOCK_VALUES_MAX
        assert len(found) == 4
        assert len(samples) == 200_000
        assert reader.findings == []

    def test_nothing_before_it_is_entered(self, tmp_path):
        assert list(BlockReader(write(tmp_path / "a.wav", sound(1.0)))) == []

    @pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "PCM_U8", "FLOAT", "DOUBLE", "ULAW", "ALAW"])
    @pytest.mark.parametrize("n_channels", [1, 3])
    def test_repaired_samples_are_the_file_s(self, subtype, n_channels, tmp_path):
        """Samples read without their header are those that the right header gives."""
        path = write(tmp_path / "a.wav", sound(2.5, channels=n_channels), format="WAV", subtype=subtype)
        expected = blocks(path)[0]
        data = bytearray((tmp_path / "a.wav").read_bytes())
        at = data.index(b"data", 36) + 4
        data[at : at + 4] = bytes(4)
        (tmp_path / "b.wav").write_bytes(data)
        repaired, _, reader = blocks(tmp_path / "b.wav")
        assert statuses(reader) == [Status.HEADER_REPAIRED]
        # A chunk behind the data (PEAK) may be taken for a little sound.
        np.testing.assert_array_equal(repaired[: len(expected)], expected)
        assert (reader.container, reader.codec) == ("WAV", subtype)

    def test_compressed_samples_without_a_size_are_not_guessed(self, tmp_path):
        path = write(tmp_path / "a.wav", sound(2.0), subtype="IMA_ADPCM")
        data = bytearray((tmp_path / "a.wav").read_bytes())
        at = data.index(b"data", 36) + 4
        data[at : at + 4] = bytes(4)
        (tmp_path / "a.wav").write_bytes(data)
        samples, _, reader = blocks(path)
        assert (len(samples), statuses(reader)) == (0, [Status.EMPTY])


class TestDamageToTheFrame:
    """Everything before an error arrives, whatever the size of a block."""

    @pytest.mark.parametrize("block_s", [0.02, 0.0853, 0.37, 1.0, 10.0])
    @pytest.mark.parametrize("kind", ["flac_rot", "flac_cut", "flac_total_0", "vorbis_rot", "opus_rot", "mp3_rot"])
    def test_block_size_changes_nothing(self, kind, block_s, tmp_path, monkeypatch):
        makers = {
            "flac_rot": lambda: rot(write(tmp_path / "a.flac", sound(6.0))),
            "flac_cut": lambda: cut(write(tmp_path / "a.flac", sound(6.0))),
            "flac_total_0": lambda: flac_with_total(write(tmp_path / "a.flac", sound(6.0)), 0),
            "vorbis_rot": lambda: rot(write(tmp_path / "a.ogg", sound(6.0), subtype="VORBIS")),
            "opus_rot": lambda: rot(write(tmp_path / "a.opus", sound(6.0), format="OGG", subtype="OPUS")),
            "mp3_rot": lambda: rot(write(tmp_path / "a.mp3", sound(6.0))),
        }
        path = makers[kind]()
        expected = blocks(path)[0]
        monkeypatch.setattr(decode, "DECODE_BLOCK_S", block_s)
        np.testing.assert_array_equal(blocks(path)[0], expected)

    def test_flac_is_kept_up_to_the_damaged_frame(self, tmp_path):
        original = sound(6.0)
        path = write(tmp_path / "a.flac", original)
        expected = blocks(path)[0]
        rot(path, 0.5, 60)
        kept, _, reader = blocks(path)
        assert len(kept) % 4_096 == 0  # whole FLAC frames
        assert len(kept) > 2.8 * RATE_HZ
        np.testing.assert_array_equal(kept, expected[: len(kept)])
        (finding,) = reader.findings
        assert finding.status is Status.CORRUPT
        assert f"{len(kept) / RATE_HZ:.3f} s of 6.000 s" in finding.reason

    def test_flac_of_unknown_length_loses_nothing(self, tmp_path):
        path = write(tmp_path / "a.flac", sound(6.1))
        expected = blocks(path)[0]
        for total in (0, 2**36 - 1):
            samples, _, reader = blocks(flac_with_total(path, total))
            np.testing.assert_array_equal(samples, expected)
            assert (reader.findings, reader.declared_frames) == ([], None)

    def test_stereo_damage(self, tmp_path):
        path = rot(write(tmp_path / "a.flac", sound(6.0, channels=2)), 0.5, 60)
        samples, _, reader = blocks(path)
        assert statuses(reader) == [Status.CORRUPT]
        assert np.isfinite(samples).all()
        assert len(samples) % 4_096 == 0


class TestNonfinite:
    def test_values_become_zero_and_are_counted(self, tmp_path):
        samples = sound(2.0, channels=2)
        samples[100, 0], samples[60_000, 1], samples[70_000] = np.nan, np.inf, [-np.inf, 1e30]
        found, _, reader = blocks(write(tmp_path / "a.wav", samples, subtype="FLOAT"))
        clean = np.where(np.abs(samples) <= 2**32, samples, 0)
        np.testing.assert_allclose(found, clean.mean(axis=1), atol=1e-7)
        assert reader.nonfinite_values == 4
        assert "4 of 192000 values" in reader.findings[0].reason

    def test_integers_kept_as_floats_are_sound(self, tmp_path):
        samples = (sound(2.0) * 2**31).astype(np.float32)
        found, _, reader = blocks(write(tmp_path / "a.wav", samples, subtype="FLOAT"))
        np.testing.assert_array_equal(found, samples)
        assert reader.findings == []

    def test_doubles_beyond_float32(self, tmp_path):
        samples = np.full(RATE_HZ, 1e300)
        found, _, reader = blocks(write(tmp_path / "a.wav", samples, subtype="DOUBLE"))
        assert not found.any()
        assert statuses(reader) == [Status.NONFINITE]


class TestPromises:
    def test_ogg_with_something_behind_it(self, tmp_path):
        path = write(tmp_path / "a.ogg", sound(3.0), subtype="VORBIS")
        with open(path, "ab") as file:
            file.write(b"TAG" + bytes(125))
        _, _, reader = blocks(path)
        assert reader.findings == []

    @pytest.mark.parametrize("at", [0.3, 0.6, 0.95])
    def test_ogg_cut_anywhere(self, at, tmp_path):
        path = cut(write(tmp_path / "a.opus", sound(20.0), format="OGG", subtype="OPUS"), at)
        samples, _, reader = blocks(path)
        assert statuses(reader) == [Status.TRUNCATED]
        assert 0 < len(samples) < 20 * RATE_HZ

    def test_a_few_missing_bytes_that_are_no_frame(self, tmp_path):
        data = wav_bytes(sound(2.0))
        (tmp_path / "a.wav").write_bytes(wav_bytes(sound(2.0), data_size=len(data) - 44 + 1))
        samples, _, reader = blocks(tmp_path / "a.wav")
        assert (len(samples), reader.findings) == (96_000, [])

    def test_w64_whole_and_aiff_whole(self, tmp_path):
        for name, form in (("a.w64", "W64"), ("a.aiff", "AIFF"), ("a.rf64", "RF64")):
            _, _, reader = blocks(write(tmp_path / name, sound(1.0), format=form))
            assert (reader.findings, reader.declared_frames) == ([], RATE_HZ)

    def test_containers_without_a_promise(self, tmp_path):
        path = write(tmp_path / "a.flac", sound(1.0))
        with open(path, "rb") as file:
            assert containers.read_promise(file, "FLAC", 1) == containers.Promise()


class TestDisksAndChanges:
    def test_vanished(self, tmp_path):
        for path in (tmp_path / "gone.wav", tmp_path / "gone" / "a.wav"):
            assert statuses(blocks(path)[2]) == [Status.VANISHED]

    def test_a_file_where_a_folder_was(self, tmp_path):
        (tmp_path / "a").write_bytes(b"x")
        assert statuses(blocks(tmp_path / "a" / "b.wav")[2]) == [Status.VANISHED]

    def test_what_is_no_file_is_not_opened(self, tmp_path):
        os.mkfifo(tmp_path / "pipe.wav")
        for path in (tmp_path / "pipe.wav", tmp_path):
            reader = blocks(path)[2]
            assert statuses(reader) == [Status.UNREADABLE]
            assert "not a regular file" in reader.findings[0].reason

    @pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.EACCES, errno.EMFILE])
    @pytest.mark.parametrize("call", ["stat", "open", "fstat"])
    def test_errors_of_the_system_on_opening(self, call, code, tmp_path, monkeypatch):
        path = write(tmp_path / "a.wav", sound(1.0))

        def fail(*_args, **_options):
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(sources.os, call, fail)
        with BlockReader(path) as reader:
            found = list(reader)
        monkeypatch.undo()
        assert (found, statuses(reader)) == ([], [Status.IO_ERROR])
        assert errno.errorcode[code] in reader.findings[0].reason

    def test_error_of_the_disk_part_way(self, tmp_path, monkeypatch):
        path = write(tmp_path / "a.wav", sound(8.0))
        read = sf.SoundFile.read
        calls = []

        def fail_fifth(self, *args, **options):
            calls.append(1)
            if len(calls) == 5:
                raise sf.LibsndfileError(2)
            return read(self, *args, **options)

        monkeypatch.setattr(opening.SequentialSound, "read", fail_fifth)
        stream = open_windows(path, RULE)
        windows = list(stream)
        assert len(windows) == 1  # none is padded: the sound does not end here
        assert stream.summary.status is Status.IO_ERROR
        assert stream.summary.outcome is Outcome.FAILED
        assert stream.summary.decoded_frames == 4 * RATE_HZ

    def test_error_of_the_disk_in_a_repaired_file(self, tmp_path, monkeypatch):
        (tmp_path / "a.wav").write_bytes(wav_bytes(sound(8.0), data_size=0))
        with BlockReader(str(tmp_path / "a.wav")) as reader:
            found = iter(reader)
            next(found)

            class Broken:
                def seek(self, _at):
                    raise OSError(errno.EIO, "Input/output error")

            reader._opened.span._file = Broken()
            list(found)
        assert Status.IO_ERROR in statuses(reader)

    def test_as_planned(self, tmp_path):
        path = write(tmp_path / "a.wav", sound(2.0))
        assert statuses(blocks(path, expect=stat_of(path))[2]) == []

    def test_changed_before(self, tmp_path):
        path = write(tmp_path / "a.wav", sound(2.0))
        size, mtime_ns = stat_of(path)
        for expect in ((size + 1, mtime_ns), (size, mtime_ns - 1)):
            samples, _, reader = blocks(path, expect=expect)
            assert (len(samples), statuses(reader)) == (0, [Status.CHANGED])
            assert str(expect[0]) in reader.findings[0].reason
            assert str(size) in reader.findings[0].reason

    def test_changed_while_it_was_read(self, tmp_path):
        path = write(tmp_path / "a.wav", sound(8.0))
        stream = open_windows(path, RULE, expect=stat_of(path))
        windows = iter(stream)
        next(windows)
        with open(path, "ab") as file:
            file.write(bytes(10))
        list(windows)
        assert stream.summary.status is Status.CHANGED
        assert stream.summary.reason.startswith("while it was read: planned with")
        assert stream.summary.outcome is Outcome.FAILED

    def test_deleted_while_it_was_read(self, tmp_path):
        """An open file outlives its name."""
        path = write(tmp_path / "a.wav", sound(8.0))
        stream = open_windows(path, RULE, expect=stat_of(path))
        windows = iter(stream)
        next(windows)
        os.remove(path)
        assert len(list(windows)) == 2
        assert stream.summary.status is Status.OK

    def test_shortened_while_it_was_read(self, tmp_path):
        path = write(tmp_path / "a.wav", sound(20.0))
        stream = open_windows(path, RULE)
        windows = iter(stream)
        next(windows)
        os.truncate(path, 700_000)
        list(windows)
        assert stream.summary.status is Status.SHORT


class TestByteSpan:
    def test_it_is_a_file_of_its_own(self, tmp_path):
        (tmp_path / "a").write_bytes(bytes(range(100)))
        with open(tmp_path / "a", "rb", buffering=0) as file:
            span = sources.ByteSpan(file, 10, 20)
            assert span.seek(0, os.SEEK_END) == 20
            assert span.seek(-5, os.SEEK_CUR) == 15
            assert span.tell() == 15
            buffer = bytearray(50)
            assert span.readinto(buffer) == 5
            assert bytes(buffer[:5]) == bytes(range(25, 30))
            assert span.readinto(buffer) == 0
            assert span.seek(-3) == 0
            assert span.error is None

    def test_with_a_header_of_ours(self, tmp_path):
        (tmp_path / "a").write_bytes(bytes(range(100)))
        with open(tmp_path / "a", "rb", buffering=0) as file:
            span = sources.ByteSpan(file, 0, 20, b"head")
            whole = b"head" + bytes(range(20))
            for start in range(25):
                for size in range(1, 26):
                    buffer = bytearray(size)
                    span.seek(start)
                    got = span.readinto(buffer)
                    assert bytes(buffer[:got]) == whole[start : start + size]
            assert span.error is None
