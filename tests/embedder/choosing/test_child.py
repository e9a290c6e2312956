"""The process an engine is measured in, from outside: answers, errors, deaths, and none left behind."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import psutil
import pytest

from embedder.choosing import child as child_module
from embedder.choosing.child import Child
from sonotheque.core.errors import NotFound, Unavailable

ECHO = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"


def start(monkeypatch: pytest.MonkeyPatch, folder: Path, code: str) -> Child:
    monkeypatch.setattr(child_module, "COMMAND", (sys.executable, "-c", code))
    return Child("an engine", folder / "log")


def test_answers_come_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with start(monkeypatch, tmp_path, ECHO) as child:
        assert [child.ask({"n": n, "text": "größe"}, 60)["n"] for n in range(3)] == [0, 1, 2]


def test_an_error_keeps_its_class_and_kind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with start(monkeypatch, tmp_path, ECHO) as child:
        with pytest.raises(NotFound, match="no such file") as caught:
            child.ask(NotFound("no such file", kind="no_weights").to_json(), 60)
        assert caught.value.kind == "no_weights"
        assert child.ask({"alive": True}, 60) == {"alive": True}


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise RuntimeError('no such operator')", "an engine ended with exit code 1: RuntimeError: no such operator"),
        ("import sys; sys.exit(0)", "an engine ended with exit code 0$"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "an engine was killed by SIGKILL$"),
        ("import os, time; os.close(1); time.sleep(60)", "an engine was killed by SIGKILL$"),  # alive and mute
    ],
)
def test_a_death_is_told_with_its_last_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str, message: str
) -> None:
    monkeypatch.setattr(child_module, "_END_S", 1.0)
    with start(monkeypatch, tmp_path, code) as child, pytest.raises(Unavailable, match=message):
        child.ask({}, 60)


def test_what_never_answers_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with start(monkeypatch, tmp_path, "import time; time.sleep(600)") as child:
        with pytest.raises(Unavailable, match=r"an engine did not answer within 0\.5 s"):
            child.ask({}, 0.5)
        with pytest.raises(Unavailable, match="killed by SIGKILL"):
            child.ask({}, 60)


def test_none_is_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(child_module, "_END_S", 0.5)
    before = {p.pid for p in psutil.Process().children()}
    for code in (ECHO, "import time; time.sleep(600)"):
        with start(monkeypatch, tmp_path, code):
            time.sleep(0.05)
    assert {p.pid for p in psutil.Process().children()} <= before
