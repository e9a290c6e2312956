"""``sonotheque.json``: made once, opened, compared, refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sonotheque.core.errors import Conflict, Damaged, NotFound, Unavailable
from store import Archive, StoreConfig, create_config, read_config, require_same, verify
from store.config import FORMAT_VERSION, temp_name
from tests.store import kit
from tests.store.faults import FAULTS, FaultyOps, PowerCut

CONFIG = kit.store_config()


def test_made_and_opened(tmp_path):
    root = f"{tmp_path}/new/store"
    assert create_config(root, CONFIG) == CONFIG
    assert read_config(root) == CONFIG
    assert read_config(root).digest == CONFIG.digest
    assert kit.temporary_files(root) == []


def test_made_again_changes_nothing(tmp_path):
    root, _ = kit.new_store(tmp_path)
    before = kit.tree(root)
    assert create_config(root, CONFIG) == CONFIG
    assert kit.tree(root) == before


def model(**changes):
    return replace(CONFIG, model=replace(CONFIG.model, **changes))


def windows(**changes):
    return replace(CONFIG, windows=replace(CONFIG.windows, **changes))


CONFLICTS = {
    "model_name": (model(name="other"), "model_conflict", ["tiny", "other"]),
    "model_version": (model(version="2"), "model_conflict", ["tiny 1", "tiny 2"]),
    "weights": (model(weights_digest="cd" * 32), "model_conflict", ["ab" * 6, "cd" * 6]),
    "dim": (model(dim=9), "model_conflict", ["8-d", "9-d"]),
    "classes": (model(classes_digest="00" * 16), "model_conflict", [CONFIG.model.classes_digest, "00" * 16]),
    "score_rule": (model(score_rule="softmax"), "model_conflict", ["sigmoid", "softmax"]),
    "n_classes": (model(n_classes=6), "model_conflict", ["n_classes", "5", "6"]),
    "hop": (windows(hop_samples=72_000), "settings_conflict", ["hop_s", "3.0", "1.5"]),
    "rate_factor": (windows(rate_factor=10.0), "settings_conflict", ["rate_factor", "1.0", "10.0"]),
    "valid_samples_min": (windows(valid_samples_min=1), "settings_conflict", ["valid", "1.0", "2"]),
    "dtype": (replace(CONFIG, dtype="float32"), "settings_conflict", ["dtype", "float16", "float32"]),
    "top_k": (replace(CONFIG, top_k=5), "settings_conflict", ["top_k", "2", "5"]),
    "channels": (
        replace(CONFIG, decode={**CONFIG.decode, "channels": "first"}),
        "settings_conflict",
        ["mean", "first"],
    ),
    "block": (replace(CONFIG, decode={**CONFIG.decode, "block_s": 10}), "settings_conflict", ["block_s", "30", "10"]),
    "new_key": (replace(CONFIG, decode={**CONFIG.decode, "dither": "tpdf"}), "settings_conflict", ["dither", "tpdf"]),
    "key_gone": (
        replace(CONFIG, decode={"channels": "mean", "block_s": 30}),
        "settings_conflict",
        ["resampler", "soxr"],
    ),
}


@pytest.mark.parametrize(("wanted", "kind", "words"), CONFLICTS.values(), ids=CONFLICTS)
def test_a_conflict_names_both_values(tmp_path, wanted, kind, words):
    root, _ = kit.new_store(tmp_path)
    before = kit.tree(root)
    assert wanted.digest != CONFIG.digest
    with pytest.raises(Conflict) as caught:
        create_config(root, wanted)
    assert caught.value.kind == kind
    message = caught.value.message
    assert message.startswith(root)
    assert [w for w in words if w not in message] == []
    assert kit.tree(root) == before


def test_require_same_passes_equal_settings():
    require_same("root", CONFIG, StoreConfig.from_json(json.loads(json.dumps(CONFIG.to_json()))))


@pytest.mark.parametrize("fields", [dict.fromkeys(["later"], 1), {}], ids=["with_a_new_key", "plain"])
def test_unknown_keys_of_a_later_program_are_no_fault(tmp_path, fields):
    root, _ = kit.new_store(tmp_path)
    Path(root, "sonotheque.json").write_text(json.dumps({**CONFIG.to_json(), **fields}))
    assert read_config(root) == CONFIG


def test_a_later_format_version_is_refused_with_both_numbers(tmp_path):
    root, _ = kit.new_store(tmp_path)
    Path(root, "sonotheque.json").write_text(json.dumps({"format_version": 97, "anything": []}))
    for call in (read_config, Archive, lambda r: verify(r, []), lambda r: create_config(r, CONFIG)):
        with pytest.raises(Damaged, match=rf"97.*{FORMAT_VERSION}"):
            call(root)


def without(*path):
    value = json.loads(json.dumps(CONFIG.to_json()))
    at = value
    for key in path[:-1]:
        at = at[key]
    del at[path[-1]]
    return json.dumps(value).encode()


BAD = {
    "empty": b"",
    "half": json.dumps(CONFIG.to_json()).encode()[:50],
    "not_utf8": b"\xff\xfe{}",
    "a_list": b"[]",
    "null": b"null",
    "no_version": b"{}",
    "version_is_text": json.dumps({**CONFIG.to_json(), "format_version": "1"}).encode(),
    "no_model": without("model"),
    "no_dim": without("model", "dim"),
    "no_hop": without("windows", "hop_samples"),
    "model_is_text": json.dumps({**CONFIG.to_json(), "model": "perch"}).encode(),
    "windows_is_a_list": json.dumps({**CONFIG.to_json(), "windows": []}).encode(),
    "no_dtype": without("dtype"),
    "unknown_dtype": json.dumps({**CONFIG.to_json(), "dtype": "int8"}).encode(),
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_damaged_settings_are_named(tmp_path, data):
    root, _ = kit.new_store(tmp_path)
    path = Path(root, "sonotheque.json")
    path.write_bytes(data)
    with pytest.raises(Damaged, match=r"sonotheque\.json"):
        read_config(root)
    with pytest.raises(Damaged):
        create_config(root, CONFIG)
    assert path.read_bytes() == data  # never mended on doubt


@pytest.mark.parametrize("what", ["missing", "empty_folder", "a_file"])
def test_what_is_no_store(tmp_path, what):
    root = tmp_path / "store"
    if what == "empty_folder":
        root.mkdir()
    elif what == "a_file":
        root.write_text("x")
    for call in (read_config, Archive, lambda r: verify(r, [])):
        with pytest.raises(NotFound, match="is not a store") as caught:
            call(str(root))
        assert caught.value.kind == "no_store"


def test_temporary_names_differ():
    names = {temp_name("x") for _ in range(1000)}
    assert len(names) == 1000
    assert all(name.startswith("x.") and "/" not in name for name in names)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_every_call_leaves_all_or_nothing(tmp_path, fault):
    n = 0
    while True:
        root = f"{tmp_path}/{n}"
        ops = FaultyOps(n, fault)
        try:
            create_config(root, CONFIG, ops)
        except (OSError, Unavailable, PowerCut) as error:
            assert ops.failed_call, error
        if ops.failed_call is None:
            break
        assert create_config(root, CONFIG) == CONFIG
        assert read_config(root) == CONFIG
        n += 1
    assert n >= 8
