"""The catalog is derived: reused, rebuilt, built twice at once, interrupted anywhere, and never a wrong answer."""

from __future__ import annotations

import contextlib
import errno
import json
import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sonotheque.core.errors import Damaged, SonothequeError
from sonotheque.core.filters import SearchFilter
from store import Archive, LocalFileOps, read_config, read_snapshot
from store.catalog import build, open_catalog, sweep
from store.metadata import SiteChange, write_change
from tests.ask import worlds
from tests.store import kit
from tests.store.faults import FAULTS, FaultyOps, PowerCut


def answer(root, **options):
    with Archive(root, **options) as archive:
        query = "SELECT count(*) AS n, count(DISTINCT (recording_id, start_sample)) AS d, sum(hour) AS h FROM"
        return [archive.sql(f"{query} {view}").to_pylist() for view in ("windows", "predictions")]


def files(root):
    base = Path(root, "catalog")
    return {p.relative_to(base).as_posix(): p.read_bytes() for p in base.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root, _, _ = worlds.new_world(tmp_path_factory.mktemp("world"), sites=2)
    return root, answer(root)


@pytest.fixture
def copy(world, tmp_path):
    root, expected = world
    target = tmp_path / "copy"
    shutil.copytree(root, target)
    return str(target), expected


def test_the_same_files_on_any_machine(world, tmp_path):
    root, _ = world
    other, _, _ = worlds.new_world(tmp_path, sites=2)
    with Archive(other):
        pass
    assert files(other) == files(root)


def test_removing_it_costs_only_time(copy):
    root, expected = copy
    before = files(root)
    shutil.rmtree(f"{root}/catalog")
    assert answer(root) == expected
    assert files(root) == before


def test_only_the_month_that_grew_is_built_again(copy):
    root, _ = copy
    config, before = read_config(root), files(root)
    kit.write_part(
        root,
        config,
        [(kit.recording("Oak wood/new.wav", site="Oak wood", time=worlds.time_of(kit.LOCAL, "Europe/Berlin")), 2)],
    )
    worlds.snapshot(root, config)
    answer(root)
    new = [name for name in files(root) if name not in before]
    assert {n.split("/")[1] for n in new if n.endswith(".parquet")} == {
        "recordings",
        "stored",
        "sites",
        "labels",
        "windows",
        "predictions",
    }
    units = [n for n in new if "/windows/" in n]
    assert len(units) == 1 and "site=Oak%20wood/month=2024-05" in units[0]
    assert all(files(root)[name] == data for name, data in before.items())


def test_a_correction_builds_only_what_it_concerns(copy):
    root, _ = copy
    before = files(root)
    write_change(root, SiteChange("b=c", zone="Europe/Lisbon"))
    with Archive(root) as archive:
        assert archive.sql("SELECT zone FROM sites WHERE site = 'b=c'")["zone"].to_pylist() == ["Europe/Lisbon"]
    new = [name for name in files(root) if name not in before and "/windows/" in name]
    assert new and all("site=b%3Dc" in name for name in new)


def test_a_correction_is_seen_in_every_view(copy):
    root, _ = copy
    write_change(root, SiteChange("b=c", rename="Beech", zone="Asia/Tokyo", keep="instant"))
    with Archive(root) as archive:
        for view in ("recordings", "windows", "predictions", "embeddings", "sites"):
            names = archive.sql(f"SELECT DISTINCT site FROM {view} ORDER BY site")["site"].to_pylist()
            assert names == ["Beech", "Oak wood"], view
        rows = archive.sql(
            "SELECT epoch(e.local_start - e.utc_start::TIMESTAMP) AS e, epoch(w.local_start - w.utc_start::TIMESTAMP) AS w FROM embeddings e "
            "JOIN windows w USING (recording_id, start_sample) WHERE e.site = 'Beech' AND w.utc_start IS NOT NULL"
        ).to_pylist()
        assert rows and {(r["e"], r["w"]) for r in rows} == {(32_400.0, 32_400.0)}
        assert (
            archive.embeddings(SearchFilter(sites=("Beech",)))[1].shape[0]
            == archive.windows(SearchFilter(sites=("Beech",))).num_rows
        )


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"units": 3}', b'{"snapshot": 1}'])
def test_a_manifest_that_cannot_be_read_is_made_again(copy, data):
    root, expected = copy
    (manifest,) = Path(root, "catalog/v1").glob("*.json")
    good = manifest.read_bytes()
    manifest.write_bytes(data)
    assert answer(root) == expected
    assert manifest.read_bytes() == good


def test_a_manifest_of_another_store_is_not_believed(copy):
    root, expected = copy
    (manifest,) = Path(root, "catalog/v1").glob("*.json")
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "store_digest": "another"}))
    assert answer(root) == expected


def test_a_missing_unit_is_built_again(copy):
    root, expected = copy
    next(Path(root, "catalog/v1/windows").rglob("*.parquet")).unlink()
    assert answer(root) == expected


def test_a_unit_that_was_damaged_is_named_with_the_remedy(copy):
    root, expected = copy
    for path in Path(root, "catalog/v1/windows").rglob("*.parquet"):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(Damaged, match=rf"remove the folder {root}/catalog"):
        answer(root)
    shutil.rmtree(f"{root}/catalog")
    assert answer(root) == expected


class ReadOnly(LocalFileOps):
    """A store on a disk that takes nothing, beside a home that does."""

    def __init__(self, root, code):
        self.root, self.code = root, code

    def makedirs(self, path):
        if path.startswith(self.root):
            raise OSError(self.code, os.strerror(self.code), path)
        super().makedirs(path)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_store_that_cannot_be_written_to(copy, tmp_path, monkeypatch, code):
    root, expected = copy
    shutil.rmtree(f"{root}/catalog")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    catalog = open_catalog(root, read_config(root), read_snapshot(root), ops=ReadOnly(root, code))
    assert catalog.base.startswith(str(tmp_path / "cache")) and not Path(root, "catalog").exists()
    assert answer(root) == expected  # found where it is


@pytest.mark.parametrize("at_most", [8, pytest.param(20, marks=pytest.mark.slow)])
def test_every_call_of_the_build_may_fail(world, at_most):
    """After any fault at a call, so many of them evenly apart, a plain open gives the whole answer."""
    root, expected = world
    with tempfile.TemporaryDirectory() as folder:
        target = f"{folder}/store"
        shutil.copytree(root, target, ignore=shutil.ignore_patterns("catalog"))
        ops = FaultyOps()
        open_catalog(target, read_config(target), read_snapshot(target), ops=ops)
        calls = len(ops.calls)
    assert calls > 60
    points = [(fault, at) for fault in FAULTS for at in range(0, calls, 1 + calls // at_most)]
    for fault, at in points:
        with tempfile.TemporaryDirectory() as folder:
            target = f"{folder}/store"
            shutil.copytree(root, target, ignore=shutil.ignore_patterns("catalog"))
            os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
            try:
                open_catalog(target, read_config(target), read_snapshot(target), ops=FaultyOps(at, fault))
            except (OSError, SonothequeError, PowerCut):
                pass
            finally:
                del os.environ["XDG_CACHE_HOME"]
            assert answer(target) == expected, (fault, at)


def _open(root, results):
    results.put(answer(root))


def test_two_builders_at_once(copy):
    root, expected = copy
    shutil.rmtree(f"{root}/catalog")
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    builders = [context.Process(target=_open, args=(root, results)) for _ in range(2)]
    for builder in builders:
        builder.start()
    assert [results.get(timeout=60) for _ in builders] == [expected, expected]
    for builder in builders:
        builder.join(30)
        assert builder.exitcode == 0


def test_a_builder_that_is_killed(copy):
    root, expected = copy
    context = multiprocessing.get_context("spawn")
    for delay_s in (0.0, 0.01, 0.03, 0.06):
        shutil.rmtree(f"{root}/catalog", ignore_errors=True)
        builder = context.Process(target=_open, args=(root, context.Queue()))
        builder.start()
        until = time.monotonic() + 30
        while not Path(root, "catalog").exists() and builder.is_alive() and time.monotonic() < until:
            time.sleep(0.001)
        time.sleep(delay_s)
        if builder.is_alive():
            os.kill(builder.pid, signal.SIGKILL)
        builder.join()
        assert answer(root) == expected


def damage(root, what):
    part = read_snapshot(root).parts[1]
    path = Path(root, part.embeddings if what != "predictions gone" else part.predictions)
    if what.endswith("gone"):
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:200] if what == "torn" else b"\0" * 500)
    return path.relative_to(root).as_posix(), part


@pytest.mark.parametrize("what", ["torn", "zeros", "embeddings gone", "predictions gone"])
def test_a_damaged_part_is_named_and_left_out_only_on_request(copy, tmp_path, monkeypatch, what):
    root, expected = copy
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    whole = Path(root).parent / "whole"
    shutil.copytree(root, whole)
    shutil.rmtree(f"{root}/catalog")
    name, part = damage(root, what)
    with pytest.raises(Damaged, match=part.part_id):
        Archive(root)
    with Archive(root, skip_damaged=True) as archive:
        assert list(archive.damaged) == [name]
        assert archive.windows().num_rows == expected[0][0]["n"] - part.live_rows
        assert (
            archive.embeddings()[1].shape[0]
            == archive.sql("SELECT * FROM embeddings").num_rows
            == archive.windows().num_rows
        )
        assert sum(t.num_rows for t, _ in archive.vectors()) == archive.windows().num_rows
    with pytest.raises(Damaged):  # what was left out once is not left out in silence the next time
        Archive(root)
    shutil.copyfile(whole / name, Path(root, name))
    assert answer(root) == expected


def test_a_part_damaged_after_the_catalog_was_built(copy):
    root, expected = copy
    _name, part = damage(root, "torn")
    assert answer(root) == expected
    with Archive(root) as archive:
        with pytest.raises(Damaged, match=part.part_id):
            archive.embeddings(SearchFilter(sites=(part.site,)))
        with pytest.raises(Damaged, match="verify"):
            archive.sql("SELECT sum(embedding[1]) FROM embeddings")
        others = [s for s in ("Oak wood", "b=c") if s != part.site]
        assert archive.embeddings(SearchFilter(sites=tuple(others)))[1].shape[0] > 0


def scans(archive, query):
    """What DuckDB says it read: the nodes of its plan that scan files."""
    plan = archive.sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}").to_pylist()[0]["explain_value"]
    found = []

    def walk(node):
        if node.get("extra_info", {}).get("Function") == "READ_PARQUET":
            found.append(node)
        for child in node.get("children", []):
            walk(child)

    for node in json.loads(plan)["operator"]:
        walk(node)
    assert found
    return found


def files_read(archive, query):
    return sum(int(node["extra_info"]["Total Files Read"]) for node in scans(archive, query))


def test_a_label_reads_only_its_row_groups(copy, monkeypatch):
    root, _ = copy
    shutil.rmtree(f"{root}/catalog")
    monkeypatch.setattr(build, "PREDICTION_GROUP_ROWS", 4)
    with Archive(root) as archive:
        (whole,) = scans(archive, "SELECT count(score) FROM predictions")
        assert whole["row_groups_scanned"] > 20
        (one,) = scans(archive, "SELECT count(score) FROM predictions WHERE label = 'rain'")
        assert 0 < one["row_groups_scanned"] < whole["row_groups_scanned"] / 2


def test_sql_reads_only_the_files_of_a_site_and_date(world):
    root, _ = world
    with Archive(root) as archive:
        units = [u for u in archive.catalog.manifest.units if u.rows]
        here = [u for u in units if u.site == "Oak wood"]
        assert len(here) < len(units)
        for view in ("windows", "predictions"):
            assert files_read(archive, f"SELECT count(path) FROM {view}") == len(units)
            assert files_read(archive, f"SELECT count(path) FROM {view} WHERE site = 'Oak wood'") == len(here)


def test_sql_reads_only_the_parts_of_a_site_and_date(tmp_path):
    root, _, _ = worlds.new_world(tmp_path, sites=2, months=(3, 5))
    with Archive(root) as archive:
        parts = [p for p in archive.snapshot.parts if p.live_rows]
        one = [p for p in parts if p.site == "Oak wood" and p.date == "2025-05-04"]
        assert files_read(archive, "SELECT count(path) FROM embeddings") == len(parts) == 5
        query = "SELECT count(path) FROM embeddings WHERE site = 'Oak wood' AND date = DATE '2025-05-04'"
        assert files_read(archive, query) == len(one) == 1


def test_vectors_are_read_from_the_parts_and_row_groups_that_hold_them(tmp_path, monkeypatch):
    root, config = kit.new_store(tmp_path)
    for site in ("A", "B"):
        kit.write_part(root, config, [(kit.recording(f"{site}/{n}.wav", site=site), 900) for n in range(3)])
    worlds.snapshot(root, config)
    with Archive(root) as archive:
        opened, groups = [], []

        class Spy(pq.ParquetFile):
            def __init__(self, path, *args, **options):
                opened.append(path)
                super().__init__(path, *args, **options)

            def read_row_groups(self, wanted, **options):
                groups.append(list(wanted))
                return super().read_row_groups(wanted, **options)

        monkeypatch.setattr(pq, "ParquetFile", Spy)
        ids, _ = archive.embeddings(SearchFilter(recordings=("A/0.wav",)))
        assert len(ids) == 900 and len(opened) == 1 and "site=A" in opened[0] and groups == [[0]]
        groups.clear()
        archive.embeddings(SearchFilter(recordings=("B/2.wav",)))
        assert groups == [[1, 2]]  # rows 1,800 to 2,699 of row groups of 1,024


def test_opening_reads_no_part(world, monkeypatch):
    root, expected = world
    opened = []
    real = pq.ParquetFile.__init__
    monkeypatch.setattr(
        pq.ParquetFile, "__init__", lambda self, path, *a, **o: (opened.append(path), real(self, path, *a, **o))[1]
    )
    monkeypatch.setattr(pq, "read_metadata", lambda path, *a, **o: opened.append(path))
    assert answer(root) == expected
    assert opened == []


def test_sweeping(copy):
    root, expected = copy
    config = read_config(root)
    for n in range(2):
        kit.write_part(
            root,
            config,
            [(kit.recording(f"b=c/{n}.wav", site="b=c", time=worlds.time_of(kit.LOCAL, "Europe/Berlin")), 2)],
        )
        worlds.snapshot(root, config)
        newest = answer(root)
    later = time.time() + 100
    before = files(root)
    assert sweep(root, {3}, 3600.0) == (0, 0)  # all are young
    count, size = sweep(root, {3}, 10.0, now=lambda: later, dry_run=True)
    assert count > 0 and size > 0 and files(root) == before
    assert sweep(root, {3}, 10.0, now=lambda: later) == (count, size)
    left = files(root)
    assert len(before) - len(left) == count
    manifest = json.loads(left["v1/s3-m0.json"])
    named = {manifest[k] for k in ("recordings", "stored", "sites", "labels")}
    named |= {u[k] for u in manifest["units"] for k in ("windows", "predictions")}
    assert {f"catalog/{name}" for name in left if name.endswith(".parquet")} == named
    assert answer(root) == newest and files(root) == left
    assert answer(root, snapshot=1) == expected  # built again when asked for


def test_every_call_of_the_sweep_may_fail(world):
    root, _ = world
    later = time.time() + 100
    for fault in ("eio", "cut", "cut_after"):
        for at in (0, 1, 2, 4, 8, 12):
            with tempfile.TemporaryDirectory() as folder:
                target = f"{folder}/store"
                shutil.copytree(root, target)
                config = read_config(target)
                kit.write_part(target, config, [(kit.recording("b=c/9.wav", site="b=c"), 2)])
                worlds.snapshot(target, config)
                newest = answer(target)
                with contextlib.suppress(OSError, PowerCut):
                    sweep(target, {2}, 10.0, FaultyOps(at, fault), now=lambda: later)
                assert answer(target) == newest, (fault, at)
