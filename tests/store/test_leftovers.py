"""Temporary files of dead writers go; those of living ones, and of machines that cannot be asked, stay."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from store import sweep_leftovers
from store.config import temp_name


def gone_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


@pytest.fixture
def tmp(tmp_path):
    folder = tmp_path / "_tmp"
    folder.mkdir()
    return folder


HOST = socket.gethostname()


@pytest.mark.parametrize(
    ("name", "age_s", "stays"),
    [
        (lambda: f"abc.{HOST}.{gone_pid()}.0a1b2c3d.e", 0, False),
        (lambda: f"abc.{HOST}.{gone_pid()}.0a1b2c3d", 0, False),
        (lambda: temp_name("abc") + ".p", 0, True),
        (lambda: temp_name("snapshot-3"), 1e6, True),
        (lambda: f"abc.node.with.dots.{gone_pid()}.0a1b2c3d.e", 60, True),
        (lambda: f"abc.node.with.dots.{gone_pid()}.0a1b2c3d.e", 90_000, False),
        (lambda: "something else", 60, True),
        (lambda: "something else", 90_000, False),
    ],
    ids=[
        "dead part",
        "dead snapshot",
        "ours",
        "ours, old",
        "other machine",
        "other machine, old",
        "foreign",
        "foreign, old",
    ],
)
def test_what_goes(tmp, name, age_s, stays):
    path = tmp / name()
    path.write_bytes(b"half a part")
    if age_s:
        then = path.stat().st_mtime - age_s
        os.utime(path, (then, then))
    assert sweep_leftovers(str(tmp.parent)) == (not stays)
    assert path.exists() == stays


def test_the_files_of_a_killed_process_that_nobody_has_asked_about_go(tmp):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    (tmp / f"abc.{HOST}.{child.pid}.0a1b2c3d.e").write_bytes(b"half a part")
    assert sweep_leftovers(str(tmp.parent)) == 0, "it lives"
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # until it has ended; it stays a zombie
    os.kill(child.pid, 0)
    assert sweep_leftovers(str(tmp.parent)) == 1
    child.wait()


def test_a_store_without_leftovers(tmp_path):
    assert sweep_leftovers(str(tmp_path)) == 0
