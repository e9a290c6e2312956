"""A probe as files and as one file: the same bytes from the same probe, and every flipped bit noticed."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes import Probe
from probes.files import (
    from_files,
    from_one_file,
    report_from_bytes,
    report_to_bytes,
    to_files,
    to_one_file,
)
from sonotheque.core.errors import Damaged, Invalid, SonothequeError
from tests.probes.builders import spec

EXTRA = {"experiment.yaml": b"name: owl\n", "examples.parquet": b"PAR1..."}


def probe(dim: int = 6, n_classes: int = 2, *, seed: int = 0, **changes: Any) -> Probe:
    rng = np.random.default_rng(seed)
    values: dict[str, Any] = {
        "name": "owl",
        "version": 0,
        "kind": "multilabel",
        "classes": tuple(["Strix aluco", "Ñandú", "猫头鹰", "a/b"][:n_classes]),
        "model": spec(dim),
        "weights": rng.normal(size=(dim, n_classes)).astype(np.float32),
        "bias": rng.normal(size=n_classes).astype(np.float32),
        "slopes": rng.random(n_classes) + 0.1,
        "offsets": rng.normal(size=n_classes),
        "thresholds": rng.random(n_classes),
        "about": {"experiment": {"metric": "map"}, "l2": 0.1},
    }
    return Probe(**{**values, **changes})


def assert_same(one: Probe, other: Probe) -> None:
    for what in ("weights", "bias", "slopes", "offsets", "thresholds"):
        np.testing.assert_array_equal(getattr(one, what), getattr(other, what), strict=True)
    for what in ("name", "kind", "classes", "model", "about", "digest"):
        assert getattr(one, what) == getattr(other, what), what


def test_files_give_the_probe_back():
    files = to_files(probe(), EXTRA)
    assert set(files) == {"probe.json", "weights.safetensors", *EXTRA}
    found = from_files(files)
    assert_same(found, probe())
    vectors = np.random.default_rng(1).normal(size=(5, 6))
    np.testing.assert_array_equal(found.logits(vectors), probe().logits(vectors))
    assert found.version == 0, "the folder says which version it is"


@given(
    dim=st.integers(1, 12),
    n_classes=st.integers(1, 4),
    seed=st.integers(0, 10_000),
    scale=st.sampled_from([1e-30, 1e-3, 1.0, 1e30]),
    kind=st.sampled_from(["multilabel", "multiclass"]),
)
@settings(max_examples=60, deadline=None)
def test_any_numbers_come_back_bit_for_bit(dim, n_classes, seed, scale, kind):
    made = probe(dim, n_classes, seed=seed, kind=kind)
    made = replace(made, weights=(made.weights * np.float32(scale)), slopes=made.slopes * scale)
    assert_same(from_files(to_files(made)), made)
    assert_same(from_one_file(to_one_file(made), "f"), made)


def test_the_same_probe_gives_the_same_bytes_in_any_process():
    code = (
        "import hashlib; from tests.probes.test_files import EXTRA, probe; from probes.files import to_files, to_one_file;"
        "files = {**to_files(probe(), EXTRA), 'one': to_one_file(probe())};"
        "print(hashlib.sha256(b''.join(files[k] for k in sorted(files))).hexdigest())"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": "."},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1
    assert to_files(probe(), EXTRA) == to_files(replace(probe(), version=7), dict(reversed(EXTRA.items())))
    fortran = replace(probe(), weights=np.asfortranarray(probe().weights))
    assert to_files(fortran) == to_files(probe()) and to_one_file(fortran) == to_one_file(probe())


@pytest.mark.parametrize(
    "change", [{"classes": ("Strix aluco", "x")}, {"kind": "multiclass"}, {"thresholds": np.array([0.1, 0.2])}]
)
def test_another_probe_gives_another_digest(change):
    assert replace(probe(), **change).digest != probe().digest
    assert to_files(replace(probe(), **change))["probe.json"] != to_files(probe())["probe.json"]


@pytest.mark.parametrize("name", ["probe.json", "weights.safetensors", *EXTRA])
def test_every_flipped_bit_is_noticed_and_the_file_named(name):
    files = to_files(probe(dim=3), EXTRA)
    data = files[name]
    assert len(data) > 5
    for at in range(len(data)):
        for bit in (0, 3, 6) if name == "probe.json" else range(8):
            flipped = data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :]
            if name == "probe.json" and means_the_same(flipped, data):
                continue  # another kind of white space
            with pytest.raises(Damaged, match=rf"^store/probes/owl/1/{name} "):
                from_files({**files, name: flipped}, "store/probes/owl/1")


def means_the_same(one: bytes, other: bytes) -> bool:
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


@pytest.mark.parametrize("name", ["probe.json", "weights.safetensors"])
def test_a_file_that_is_missing_or_cut_is_named(name):
    files = to_files(probe(), EXTRA)
    with pytest.raises(Damaged, match=f"here/{name} is missing"):
        from_files({k: v for k, v in files.items() if k != name}, "here/")
    for end in range(0, len(files[name]) - 1, 7):
        with pytest.raises(Damaged, match=f"^here/{name} "):
            from_files({**files, name: files[name][:end]}, "here")


def test_files_of_two_probes_do_not_go_together():
    one, other = to_files(probe()), to_files(probe(seed=1))
    with pytest.raises(Damaged, match=r"weights\.safetensors is not what it was"):
        from_files({**one, "weights.safetensors": other["weights.safetensors"]})


def test_extra_files_need_not_be_given_to_read_a_probe():
    files = to_files(probe(), EXTRA)
    assert_same(from_files({k: files[k] for k in ("probe.json", "weights.safetensors")}), probe())


def rewritten(data: bytes, **changes: Any) -> bytes:
    """The JSON with other values and a digest that is right for them: what a program with ill will, or of another release, writes."""
    from sonotheque.core.ids import digest_of

    value = {k: v for k, v in json.loads(data).items() if k != "digest"} | changes
    value = {k: v for k, v in value.items() if v != "gone"}
    return json.dumps({"digest": digest_of(value), **value}).encode()


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "forest"},
        {"classes": []},
        {"classes": ["a", "b", "c"]},
        {"classes": 7},
        {"slopes": [1.0]},
        {"slopes": ["x", "y"]},
        {"model": {}},
        {"model": "gone"},
        {"thresholds": "gone"},
        {"about": 3},
        {"files": "gone"},
        {"files": {}},
        {"probe_digest": "0" * 64},
        {"offsets": [1.0, 2.0]},
    ],
)
def test_json_that_is_whole_and_wrong_is_refused(changes):
    files = to_files(probe())
    with pytest.raises(Damaged, match=r"probe\.json|weights\.safetensors"):
        from_files({**files, "probe.json": rewritten(files["probe.json"], **changes)})


def test_a_newer_format_is_told():
    files = to_files(probe())
    with pytest.raises(Damaged, match="has version 99; this program reads version 1"):
        from_files({**files, "probe.json": rewritten(files["probe.json"], format_version=99)})


@pytest.mark.parametrize("data", [b"[]", b"3", b"null", b"", b"{}", b"\xff\xfe", b"[" * 100_000])
def test_json_that_is_no_probe_is_told(data):
    with pytest.raises(Damaged, match=r"probe\.json cannot be read"):
        from_files({**to_files(probe()), "probe.json": data})


def test_what_json_has_no_word_for_is_refused_before_anything_is_written():
    for value in (float("nan"), float("inf"), object(), {1, 2}):
        with pytest.raises(Invalid, match="JSON has no word for"):
            to_files(replace(probe(), about={"x": value}))


# --- one file ---


def test_one_file_gives_the_probe_back():
    assert_same(from_one_file(to_one_file(probe()), "owl.safetensors"), probe())


def test_one_file_is_read_by_safetensors_itself(tmp_path):
    from safetensors import safe_open

    path = tmp_path / "owl.safetensors"
    path.write_bytes(to_one_file(probe()))
    with safe_open(path, "numpy") as file:
        assert set(file.keys()) == {"weights", "bias"}
        assert json.loads(file.metadata()["sonotheque.probe"])["classes"] == list(probe().classes)
        np.testing.assert_array_equal(file.get_tensor("weights"), probe().weights)


def test_every_flipped_bit_of_one_file_is_noticed_or_changes_nothing():
    data = to_one_file(probe(dim=2, n_classes=1))
    unnoticed = 0
    for at in range(len(data)):
        for bit in (0, 5):
            flipped = data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :]
            try:
                found = from_one_file(flipped, "owl.safetensors")
            except (Damaged, Invalid) as error:
                assert error.message.startswith("owl.safetensors ")
                continue
            assert_same(found, probe(dim=2, n_classes=1))
            unnoticed += 1
    assert unnoticed < len(data) / 20, "white space alone"


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_any_other_bytes_are_no_probe(data):
    with pytest.raises(SonothequeError):
        from_one_file(data, "f")


def test_other_safetensors_files_are_no_probe():
    from safetensors.numpy import save

    for metadata in (None, {"format": "pt"}, {"sonotheque.probe": "{}"}):
        with pytest.raises((Invalid, Damaged), match=r"^model\.safetensors "):
            from_one_file(save({"weights": np.zeros((2, 2), np.float32)}, metadata=metadata), "model.safetensors")
    whole = to_one_file(probe())
    for end in range(0, len(whole), 11):
        with pytest.raises((Invalid, Damaged)):
            from_one_file(whole[:end], "f")
    with pytest.raises((Invalid, Damaged)):
        from_one_file(whole + b"\0", "f")


def test_weights_of_another_type_or_name_are_refused():
    from safetensors.numpy import save

    header = {"sonotheque.probe": to_files(probe())["probe.json"].decode()}
    for tensors in (
        {"weights": probe().weights, "bias": probe().bias.astype(np.float64)},
        {"weights": probe().weights},
        {"weights": probe().weights, "bias": probe().bias, "more": probe().bias},
        {"weights": probe().weights.T.copy(), "bias": probe().bias},
    ):
        with pytest.raises(Damaged):
            from_one_file(save(tensors, metadata=header), "f")


# --- the report ---


def test_a_report_comes_back_and_is_checked():
    report = {"probe": "owl", "test": {"macro": {"map": 0.5, "cmap": None}}, "notes": ["Ñandú"]}
    data = report_to_bytes(report)
    assert report_from_bytes(data) == report
    assert report_from_bytes(report_to_bytes({**report, "digest": "of before"})) == report
    for at in range(len(data)):
        flipped = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        if not means_the_same(flipped, data):
            with pytest.raises(Damaged, match=r"^here/report\.json "):
                report_from_bytes(flipped, "here/report.json")
    with pytest.raises(Invalid, match="the report holds"):
        report_to_bytes({"map": float("nan")})
