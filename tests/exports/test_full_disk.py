"""A disk that is full at any moment: an error in words, the process goes on, and nothing is left."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys

import h5py
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.formats.enduring import EnduringFile
from store.formats.vectors import write_hdf5
from tests.cluster.support import cli_env
from tests.exports.test_vectors import DIM, made_vectors

SCRIPT = """
import json, resource, shutil, signal, sys
from pathlib import Path
from search_api.export_options import FORMS, ExportOptions
from search_api.exports import export
from sonotheque.core.errors import Unavailable
from store import open_archive

store, out, limits = sys.argv[1], Path(sys.argv[2]), [int(n) for n in sys.argv[3:]]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
full = whole = 0
with open_archive(store) as archive:
    for limit in limits:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        for what, forms in FORMS.items():
            for form in forms:
                for name in ("x", "x.zip") if what == "clips" else ("x",):
                    try:
                        export(archive, what, form, out / name)
                        whole += 1
                    except Unavailable as error:
                        if error.kind != "disk_full" or list(out.iterdir()):
                            raise AssertionError((what, form, limit, error, list(out.iterdir())))
                        full += 1
                    for left in out.iterdir():
                        shutil.rmtree(left) if left.is_dir() else left.unlink()
print(full, whole)
"""


def test_every_export_survives_a_disk_that_is_full(made, tmp_path):
    """Files may grow to so many bytes and no further, which is what a full disk looks like to a process."""
    (tmp_path / "out").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, made.store, str(tmp_path / "out"), "700", "12000"],
        env=cli_env(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    full, whole = map(int, done.stdout.split())
    assert full > 25
    assert whole > 5


class Full(EnduringFile):
    """A file on a disk that takes so many writes and then no more."""

    left = 0

    def write(self, data):
        Full.left -= 1
        if Full.left < 0 and self.error is None:
            self.error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data)


@pytest.mark.parametrize("writes", range(0, 40, 6))
def test_hdf5_survives_a_disk_that_is_full_at_any_write(tmp_path, monkeypatch, writes):
    """Without the enduring file the library would end the process when it closes, or when Python does."""
    monkeypatch.setattr("store.formats.vectors.EnduringFile", Full)
    monkeypatch.setattr(Full, "left", writes)
    with pytest.raises(OSError, match="No space"):
        write_hdf5(made_vectors([500] * 8)[0], tmp_path / "a.h5")
    monkeypatch.undo()
    write_hdf5(made_vectors([3])[0], tmp_path / "b.h5")
    with h5py.File(tmp_path / "b.h5") as file:
        assert file["embeddings"].shape == (3, DIM)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("seek"), st.integers(0, 40)),
        st.tuples(st.just("write"), st.binary(max_size=12)),
        st.tuples(st.just("read"), st.integers(0, 12)),
        st.tuples(st.just("truncate"), st.integers(0, 40)),
        st.tuples(st.just("fail"), st.none()),
    ),
    max_size=25,
)


@settings(deadline=None, max_examples=60)
@given(steps)
def test_an_enduring_file_reads_back_what_was_written_also_what_the_disk_did_not_take(tmp_path_factory, steps):
    """Against a file in memory, which never fails."""
    path = tmp_path_factory.mktemp("enduring") / "x"
    twin = io.BytesIO()
    with EnduringFile(path) as file:
        for step, value in steps:
            if step == "seek":
                assert file.seek(value) == twin.seek(value)
            elif step == "write":
                assert file.write(value) == twin.write(value)
            elif step == "read":
                buffer = bytearray(value)
                got = file.readinto(buffer)
                assert bytes(buffer[:got]) == twin.read(value)
            elif step == "truncate" and value >= len(twin.getbuffer()):
                file.truncate(value)
                twin.seek(0, io.SEEK_END)
                twin.write(bytes(value - len(twin.getbuffer())))
                twin.seek(file.tell())
            elif step == "fail" and file.error is None:
                file.error = OSError(errno.EIO, "gone")
            assert file.tell() == twin.tell()
        whole = bytearray(len(twin.getbuffer()))
        file.seek(0)
        assert file.readinto(whole) == len(whole)
        assert bytes(whole) == twin.getvalue()
        failed = file.error is not None
    if not failed:
        assert path.read_bytes() == twin.getvalue()


def test_an_enduring_file_is_always_a_new_one(tmp_path):
    (tmp_path / "x").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        EnduringFile(tmp_path / "x")


def test_an_enduring_file_keeps_the_first_error(tmp_path):
    with EnduringFile(tmp_path / "x") as file:
        file._file.close()  # every further use of it is an error
        file._file = _Broken()
        assert file.write(b"abc") == 3
        first = file.error
        assert file.write(b"def") == 3
        assert file.truncate(10) == 10
        assert file.error is first
        assert first is not None
        assert first.errno == errno.EIO


class _Broken(io.RawIOBase):
    def seek(self, *_):
        return 0

    def write(self, _):
        raise OSError(errno.EIO, "gone")
