"""The verbs of the index: built, looked at, brought up to date, tuned; and searched through."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from sonotheque.cli.index import bytes_of
from sonotheque.core.errors import Invalid
from store import open_archive
from tests.cluster.support import run
from tests.search import kit


@pytest.fixture
def store(made, tmp_path):
    """A copy that may be changed."""
    shutil.copytree(made.store, tmp_path / "store")
    return str(tmp_path / "store")


@pytest.fixture(scope="session")
def large(tmp_path_factory):
    """Enough windows for codes: 1,500 of random tones."""
    folder = tmp_path_factory.mktemp("large")
    rng = np.random.default_rng(5)
    for number in range(5):
        tones = [kit.tone(hz, seed=1000 * number + i) for i, hz in enumerate(rng.uniform(60, 7000, 300))]
        kit.write(folder / "recordings" / "north" / f"20240501_{number:02d}0000.wav", np.concatenate(tones))
    run(folder / "recordings", folder / "store", timezone="Europe/Paris")
    return str(folder / "store")


def ok(result):
    code, out, err = result
    assert code == 0, err
    return out


def test_no_index_is_said_and_how_to_make_one(sonotheque, store):
    code, out, err = sonotheque("index", "info", "--store", store)
    assert (code, out) == (4, "")
    assert f"`sonotheque index build --store {store}`" in err
    code, out, _ = sonotheque("index", "update", "--store", store, "--json")
    assert (code, json.loads(out)["error"]["kind"]) == (4, "no_index")
    assert sonotheque("index", "tune", "--store", store, "--recall", "0.9")[0] == 4


def test_a_dry_run_explains_and_writes_nothing(sonotheque, store):
    before = sorted(map(str, Path(store).rglob("*")))
    out = ok(sonotheque("index", "build", "--store", store, "--memory", "2GB", "--dry-run"))
    assert out.startswith("an index of 18 windows of 64 numbers would be built\n")
    for word in ("type", "memory", "disk", "build", "recall", "why"):
        assert f"\n  {word} " in out
    recipe = json.loads(ok(sonotheque("index", "build", "--store", store, "--dry-run", "--json")))["recipe"]
    assert (recipe["kind"], recipe["n"], recipe["dim"]) == ("exact", 18, 64)
    coded = json.loads(ok(sonotheque("index", "build", "--store", store, "--kind", "coded", "--dry-run", "--json")))
    assert coded["recipe"]["kind"] == "coded"
    assert sorted(map(str, Path(store).rglob("*"))) == before


def test_the_walk_of_an_index(sonotheque, made, store, call, tmp_path):
    bare = json.loads(ok(sonotheque("search", call, "--store", store, "-k", 18, "--json")))
    out = ok(sonotheque("index", "build", "--store", store))
    assert out.startswith("index 1: exact, 18 windows of placeholder 1, snapshot 1\n")
    assert "1 segment;" in out
    indexed = json.loads(ok(sonotheque("search", call, "--store", store, "-k", 18, "--json")))
    assert (bare["plan"]["index"], indexed["plan"]["index"]) == (0, 1)
    assert indexed["hits"] == bare["hits"]

    recordings = tmp_path / "more"
    kit.write(recordings / "east" / "20240503_040000.wav", kit.tone(704.0, 4.0, seed=77))
    run(recordings, store, timezone="Europe/Paris")
    fresh = json.loads(ok(sonotheque("search", call, "--store", store, "-k", 30, "--json")))
    assert fresh["plan"]["fresh"] == 2
    assert {h["site"] for h in fresh["hits"][:3]} >= {"east"}
    assert "2 windows were committed since" in ok(sonotheque("index", "info", "--store", store))
    info = json.loads(ok(sonotheque("index", "update", "--store", store, "--json")))
    assert (info["windows"], info["fresh_windows"]) == (20, 0)
    updated = json.loads(ok(sonotheque("search", call, "--store", store, "-k", 30, "--json")))
    assert (updated["plan"]["fresh"], updated["plan"]["index"]) == (0, info["version"])
    assert updated["hits"] == fresh["hits"]


def test_damage_is_found_and_built_anew(sonotheque, store, call):
    ok(sonotheque("index", "build", "--store", store))
    assert "every file is as it was written" in ok(sonotheque("index", "info", "--deep", "--store", store))
    (file,) = Path(store, "index").rglob("*.f16")
    data = bytearray(file.read_bytes())
    data[5] ^= 1
    file.chmod(0o644)
    file.write_bytes(data)
    code, out, _ = sonotheque("index", "info", "--deep", "--store", store)
    assert (code, "damaged" in out, file.name in out, "index build" in out) == (7, True, True, True)
    code, out, _ = sonotheque("index", "info", "--deep", "--json", "--store", store)
    assert (code, len(json.loads(out)["damaged"])) == (7, 1)
    ok(sonotheque("index", "build", "--store", store))
    ok(sonotheque("index", "info", "--deep", "--store", store))


def test_codes_are_measured_tuned_and_marked(sonotheque, large):
    built = json.loads(ok(sonotheque("index", "build", "--store", large, "--kind", "coded", "--threads", 1, "--json")))
    assert built["kind"] == "coded"
    assert 0.5 < built["recall"]["mean"] <= 1
    info = ok(sonotheque("index", "info", "--store", large))
    assert f"{built['recall']['mean']:.4f} in the mean" in info
    tuned = json.loads(ok(sonotheque("index", "tune", "--store", large, "--recall", "0.6", "--json")))
    assert tuned["recall"]["wanted"] == 0.6
    assert tuned["version"] > built["version"]
    # So few windows are compared one by one whatever the index is: a search need not be worse than that.
    with open_archive(large) as archive:
        path = archive.sql("SELECT path FROM windows LIMIT 1")["path"][0].as_py()
    document = json.loads(ok(sonotheque("search", "--window", f"{path}@4", "--store", large, "--json")))
    assert document["plan"]["index"] == tuned["version"]
    assert len(document["hits"]) == 50


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [
        ("2GB", 2_000_000_000),
        ("512MiB", 512 << 20),
        ("1.5 GiB", 3 << 29),
        ("100000000", 100_000_000),
        ("64k", 64_000),
        ("1TB", 10**12),
        ("7b", 7),
    ],
)
def test_sizes(text, bytes_):
    assert bytes_of(text, "--memory") == bytes_


@pytest.mark.parametrize("text", ["", "2XB", "GB", "-1GB", "2 G B", "1e9", "0", "0.1", "3iB"])
def test_sizes_that_are_none(text):
    with pytest.raises(Invalid, match=r"--memory .*such as 2GB"):
        bytes_of(text, "--memory")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--memory", "2XB"), "such as 2GB, 512MiB"),
        (("--recall", "0.3"), "recall 0.3"),
        (("--kind", "best"), "exact or coded"),
        (("--kind", "coded", "--memory", "100"), "the smallest take"),
    ],
)
def test_wishes_that_cannot_be(sonotheque, made, flags, said):
    code, out, err = sonotheque("index", "build", "--store", made.store, "--dry-run", *flags)
    assert (code, out) == (2, "")
    assert said in err


def test_a_store_without_windows_has_nothing_to_index(sonotheque, tmp_path):
    kit.write(tmp_path / "recordings" / "a.wav", kit.tone(300.0, 0.2))
    run(tmp_path / "recordings", tmp_path / "store")
    for more in ((), ("--dry-run",)):
        code, _, err = sonotheque("index", "build", "--store", tmp_path / "store", *more)
        assert (code, "nothing to index" in err) == (2, True)
