"""What is kept of a machine, who may write it when, and what makes it void."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from embedder.choosing import cache, machine
from embedder.choosing.cache import FILE, alone, recall, remember
from embedder.choosing.candidates import Candidate
from embedder.choosing.machine import key_of, weights_identity
from embedder.choosing.records import Measured
from tests.embedder.choosing.conftest import ROOT

KEY: dict[str, Any] = {"model": "birdnet_v2.4", "threads": 1}
WRITER = """
import sys
from embedder.choosing.cache import remember
from embedder.choosing.records import Measured
for n in range(20):
    remember({"model": f"{sys.argv[1]}-{n}"}, [Measured("onnx", "fp32", "failed", sys.argv[1])])
"""


def failed(engine: str, precision: str, reason: str = "x") -> Measured:
    return Measured(engine, precision, "failed", reason)


def known(*names: str, key: dict[str, Any] = KEY) -> list[str] | None:
    found = recall(key, [Candidate(*name.split()) for name in names])
    return None if found is None else [f"{m.name} {m.reason}" for m in found]


def test_what_is_kept_is_found_again_in_the_order_asked_for() -> None:
    assert known("onnx fp32") is None
    remember(KEY, [failed("onnx", "fp32"), failed("openvino", "bf16", "y")])
    assert known("openvino bf16", "onnx fp32") == ["openvino bf16 y", "onnx fp32 x"]
    assert known("openvino bf16") == ["openvino bf16 y"]
    assert known("openvino bf16", "openvino fp32") is None
    assert known("onnx fp32", key={**KEY, "threads": 2}) is None


def test_two_surveys_are_not_mixed_and_the_later_one_counts() -> None:
    """Times of two surveys were not taken in turn, so they cannot be compared."""
    remember(KEY, [failed("onnx", "fp32", "first"), failed("openvino", "bf16", "first")])
    remember(KEY, [failed("onnx", "fp32", "second"), failed("openvino", "fp32", "second")])
    assert known("openvino bf16", "openvino fp32") is None
    assert known("onnx fp32") == ["onnx fp32 second"]
    assert known("onnx fp32", "openvino bf16") == ["onnx fp32 first", "openvino bf16 first"]
    remember(KEY, [failed("onnx", "fp32", "third"), failed("openvino", "bf16", "third")])
    assert known("onnx fp32", "openvino bf16") == ["onnx fp32 third", "openvino bf16 third"]
    entry = next(iter(json.loads((cache.cache_folder() / FILE).read_text("utf-8"))["entries"].values()))
    assert len(entry["surveys"]) == 2  # what the third covers is gone


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b'{"format": 2, "entries": {}}',
        b'{"format": 1, "entries": []}',
        b'{"format": 1}',
    ],
)
def test_what_cannot_be_read_is_as_good_as_nothing(own_cache: Path, content: bytes) -> None:
    own_cache.mkdir()
    (own_cache / FILE).write_bytes(content)
    assert known("onnx fp32") is None
    remember(KEY, [failed("onnx", "fp32")])
    assert known("onnx fp32") == ["onnx fp32 x"]


@pytest.mark.parametrize(
    "record", [7, None, {}, {"engine": "onnx"}, {"engine": "onnx", "precision": "fp32", "later": 1}]
)
def test_a_record_of_another_version_is_passed_over(own_cache: Path, record: object) -> None:
    remember(KEY, [failed("onnx", "fp32")])
    content = json.loads((own_cache / FILE).read_text("utf-8"))
    entry = next(iter(content["entries"].values()))
    entry["surveys"] = [[record], "x", *entry["surveys"]]
    (own_cache / FILE).write_text(json.dumps(content), "utf-8")
    assert known("onnx fp32") == ["onnx fp32 x"]
    remember(KEY, [failed("onnx", "fp32", "y")])
    assert known("onnx fp32") == ["onnx fp32 y"]


def test_writers_in_several_processes_lose_nothing(own_cache: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, name], env=env) for name in ("a", "b", "c")]
    assert [writer.wait(120) for writer in writers] == [0, 0, 0]
    for name in ("a", "b", "c"):
        for n in range(20):
            assert known("onnx fp32", key={"model": f"{name}-{n}"}) == [f"onnx fp32 {name}"]
    assert [p.name for p in own_cache.iterdir() if p.name.startswith(".")] == []


def test_the_oldest_go_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_KEPT_MAX", 3)
    for n in (1, 2, 3, 1, 4):  # 1 is written again, so 2 is the oldest
        remember({"n": n}, [failed("onnx", "fp32")])
    assert [n for n in (1, 2, 3, 4) if known("onnx fp32", key={"n": n})] == [1, 3, 4]


def test_one_measures_and_the_others_are_told_to_wait() -> None:
    inside, waited, order = threading.Event(), threading.Event(), []

    def second() -> None:
        inside.wait(60)
        with alone(KEY, waited.set):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with alone(KEY, lambda: order.append("nobody is before the first")):
        inside.set()
        assert waited.wait(60)
        order.append("first")
        with alone({**KEY, "threads": 2}, lambda: order.append("another key waits for nobody")):
            pass
    thread.join()
    assert order == ["first", "second"]


def test_where_nothing_can_be_written_nothing_is_kept_and_nothing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SONOTHEQUE_CACHE", str(tmp_path / "file" / "below"))
    with alone(KEY, lambda: pytest.fail("nobody to wait for")):
        remember(KEY, [failed("onnx", "fp32")])
    assert known("onnx fp32") is None


# What a measurement depends on.


def test_the_key_tells_all_that_matters_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "a.onnx"
    weights.write_bytes(b"abc")

    def key(name: str = "perch_v2", logits: bool = True, threads: int = 1) -> dict[str, Any]:
        return key_of(name, str(weights), logits=logits, threads=threads)

    first = key()
    assert key() == first
    assert json.loads(json.dumps(first)) == first
    others = [key(name="perch_v1"), key(logits=False), key(threads=2)]
    weights.write_bytes(b"abcd")
    others.append(key())
    monkeypatch.setattr(machine, "libraries", lambda: {"openvino": "2030.1"})
    others.append(key())
    monkeypatch.setattr(machine, "processor", lambda: {"cpu": "another"})
    others.append(key())
    keys = [json.dumps(k, sort_keys=True) for k in (first, *others)]
    assert len(set(keys)) == len(keys)


def test_a_folder_of_weights_is_known_by_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "perch"
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"abc")
    os.utime(folder / "saved_model.pb", ns=(5, 5))
    assert weights_identity("perch_v2", str(folder)) == [str(folder), 3, 5]
    (folder / "variables" / "data").write_bytes(b"defg")
    os.utime(folder / "variables" / "data", ns=(9, 9))
    assert weights_identity("perch_v2", str(folder)) == [str(folder), 7, 9]


def test_weights_that_are_not_here_are_known_by_their_name(tmp_path: Path) -> None:
    assert weights_identity("perch_v2", str(tmp_path / "none")) == [str(tmp_path / "none"), 0, 0]
    assert weights_identity("placeholder", None) == ["built in", 0, 0]


@pytest.mark.parametrize(
    ("text", "cpu"),
    [
        (
            "processor: 0\nmodel name\t: Some CPU\nflags\t\t: b a\n\nprocessor: 1\nmodel name: Other\nflags: c",
            "Some CPU",
        ),
        ("processor: 0\nFeatures: neon", None),
    ],
)
def test_the_processor_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, cpu: str | None) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(text, "ascii")
    monkeypatch.setattr(machine, "_CPU", file)
    found = machine.processor()
    assert found["cpu"] == cpu if cpu else found["cpu"]
    file.write_text(text.replace("b a", "a").replace("neon", "sve"), "ascii")
    assert machine.processor()["flags"] != found["flags"]
    monkeypatch.setattr(machine, "_CPU", tmp_path / "none")
    assert machine.processor()["cpu"]
