"""A store in a bucket answers as the same store in a folder does: runs, proofs, questions, search, probes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cluster.care import clean_store, compact_store, migrate_store
from cluster.resuming import resume
from cluster.status import job_status, verify_store
from probes.experiment import Experiment, Negatives, Split
from search_api.annotations import add_annotation
from search_api.http.settings import ServiceSettings
from search_api.probes.applying import ApplyOptions, apply_stored
from search_api.probes.training import train_probe
from sonotheque.cli.addresses import with_normal_stores
from sonotheque.cli.main import app
from sonotheque.core.errors import Damaged, Invalid, NotFound
from sonotheque.core.filters import SearchFilter
from store import exact_search, load_ledger, open_archive, read_snapshot
from store.index import IndexWishes, build_index
from store.metadata import SiteChange, write_change
from store.object_reading import ObjectReader, PartsFileSystem
from store.reading import parquet_footer, sha256_of
from store.state import state_root
from tests.cluster.support import cli, make_archive, options, part_files, predictions, run, vectors, windows
from tests.objects.kit import Bucket, Fault, StoreServer


@dataclass(frozen=True)
class Twins:
    """The same recordings, embedded into a folder and into a bucket."""

    recordings: Path
    folder: Path
    bucket: Bucket
    url: str
    state: Path


@pytest.fixture(scope="module")
def _made(_one_server: StoreServer, tmp_path_factory: pytest.TempPathFactory) -> Twins:
    base = tmp_path_factory.mktemp("twins")
    bucket = _one_server.bucket("twins")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in _one_server.environment().items():
            patch.setenv(name, value)
        patch.setenv("SONOTHEQUE_STATE", str(base / "state"))
        made = Twins(make_archive(base / "recordings"), base / "store", bucket, f"{bucket.url}/archive", base / "state")
        for store in (str(made.folder), made.url):
            run(made.recordings, store)
    return made


@pytest.fixture
def twins(_made: Twins, store_server: StoreServer, monkeypatch: pytest.MonkeyPatch) -> Twins:
    monkeypatch.setenv("SONOTHEQUE_STATE", str(_made.state))
    return _made


@pytest.fixture
def own(twins: Twins, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A copy of the durable files in a bucket of its own, seen from a machine that has no state of it."""
    monkeypatch.setenv("SONOTHEQUE_STATE", str(tmp_path / "state"))
    for name in ("sonotheque.json", "embeddings", "predictions", "snapshots"):
        path = twins.folder / name
        if path.is_dir():
            bucket.put_folder(path, f"a/{name}")
        else:
            bucket.put(f"a/{name}", path.read_bytes())
    return f"{bucket.url}/a"


def objects_of(bucket: Bucket, prefix: str) -> dict[str, str]:
    found = {key.removeprefix(f"{prefix}/"): key for key in bucket.keys(f"{prefix}/") if key.endswith(".parquet")}
    return {name: hashlib.sha256(bucket.get(key)).hexdigest() for name, key in found.items()}


def test_the_same_parts_byte_for_byte_and_nothing_else(twins: Twins) -> None:
    assert objects_of(twins.bucket, "archive") == part_files(twins.folder)
    folders = {key.split("/")[1] for key in twins.bucket.keys("archive/")}
    assert folders == {"_put-if-absent", "sonotheque.json", "embeddings", "predictions", "snapshots"}
    state = Path(state_root(twins.url))
    assert {"_tmp", "jobs", "catalog"} <= {path.name for path in state.iterdir()}
    assert list((state / "_tmp").iterdir()) == []


def test_every_question_has_the_same_answer(twins: Twins) -> None:
    for ask in (windows, predictions):
        assert ask(twins.url) == ask(twins.folder)
    assert np.array_equal(vectors(twins.url), vectors(twins.folder))
    where = SearchFilter(sites=("site1",))
    with open_archive(twins.url) as there, open_archive(twins.folder) as here:
        for query in (
            "SELECT site, date, count(*) AS n, sum(embedding[1]) AS s FROM embeddings WHERE site = 'site1' GROUP BY ALL ORDER BY ALL",
            "SELECT path, duration_s, status FROM recordings ORDER BY path",
            "SELECT * FROM sites ORDER BY site",
        ):
            assert there.sql(query).equals(here.sql(query)), query
        assert there.windows(where).equals(here.windows(where))
        ids, found = there.embeddings(where)
        assert np.array_equal(ids, here.embeddings(where)[0]) and np.array_equal(found, here.embeddings(where)[1])
        query_vector = found[0]
        assert exact_search(there, query_vector, 5) == exact_search(here, query_vector, 5)
        batches = list(there.batches("SELECT path, embedding FROM embeddings ORDER BY path, start_sample"))
        assert sum(b.num_rows for b in batches) == len(windows(twins.folder))


def test_an_index_in_the_state_folder(twins: Twins) -> None:
    with open_archive(twins.url) as there, open_archive(twins.folder) as here:
        query = next(here.vectors())[1][3]
        without = there.search(query, 5)
        build_index(there, IndexWishes(kind="exact"))
    with open_archive(twins.url) as there, open_archive(twins.folder) as here:
        found = there.search(query, 5)
        assert there.index.version is not None and there.index.version.rows == len(windows(twins.folder))
        hits = [(h.path, h.start_s, round(h.score, 6)) for h in found.hits]
        assert hits == [(h.path, h.start_s, round(h.score, 6)) for h in here.search(query, 5).hits]
        assert hits == [(h.path, h.start_s, round(h.score, 6)) for h in without.hits]
    assert (Path(state_root(twins.url)) / "index").is_dir()
    assert not twins.bucket.keys("archive/index")


def test_a_second_run_does_nothing_and_a_new_file_is_added(twins: Twins, tmp_path: Path, bucket: Bucket) -> None:
    url, recordings = f"{bucket.url}/a", make_archive(tmp_path / "more", sites=1, days=1, files=2)
    assert run(recordings, url).done == 2
    first = objects_of(bucket, "a")
    again = run(recordings, url)
    assert (again.done, again.skipped) == (0, 2)
    (recordings / "site0" / "20240502_040000.wav").write_bytes((recordings / "site0/20240501_040000.wav").read_bytes())
    assert run(recordings, url).done == 1
    assert objects_of(bucket, "a").items() > first.items()
    assert read_snapshot(url).number == 2
    bucket.delete(next(iter(f"a/{name}" for name in first if name.startswith("embeddings"))))
    assert resume(url, workers=0).done == 2
    assert objects_of(bucket, "a").items() > first.items()
    told = job_status(url)
    assert (told["state"], told["parts_planned"], told["parts_committed"]) == ("finished", 1, 1)


def test_another_machine_goes_on_where_this_one_ended(twins: Twins, own: str, bucket: Bucket) -> None:
    """What is done follows from the bucket alone: jobs of other machines are not needed."""
    lost = next(key for key in bucket.keys("a/embeddings/") if "site1" in key)
    bucket.delete(lost)
    report = run(twins.recordings, own)
    assert (report.done, report.skipped) == (3, 9)
    assert objects_of(bucket, "a") == part_files(twins.folder)


def test_workers(twins: Twins, tmp_path: Path, bucket: Bucket) -> None:
    report = run(twins.recordings, f"{bucket.url}/a", workers=1)
    assert report.done == 12
    assert objects_of(bucket, "a") == part_files(twins.folder)


def test_verify_tells_what_is_wrong(own: str, bucket: Bucket) -> None:
    assert verify_store(own, deep=True).ok
    part, other = (key for key in bucket.keys("a/embeddings/") if "site0" in key)
    data = bytearray(bucket.get(part))
    data[100] ^= 255
    bucket.put(part, bytes(data))
    bucket.delete(other)
    bucket.put(bucket.keys("a/predictions/")[-1], b"")
    found = verify_store(own, deep=True)
    assert not found.ok
    told = dict(found.damaged_files)
    assert set(told) >= {part.removeprefix("a/"), other.removeprefix("a/")}
    assert "not there" in told[other.removeprefix("a/")]
    assert any("predictions file" in why for why in told.values())


def test_a_reader_is_told_of_a_lost_part(own: str, bucket: Bucket) -> None:
    with open_archive(own) as archive:
        for key in bucket.keys("a/embeddings/"):
            bucket.delete(key)
        with pytest.raises(Damaged, match="listed in snapshot 1"):
            list(archive.vectors())
        with pytest.raises(Damaged, match="cannot be read"):
            archive.sql("SELECT count(embedding) FROM embeddings")


def test_corrections_annotations_and_probes(own: str, bucket: Bucket, tmp_path: Path) -> None:
    write_change(own, SiteChange("site0", rename="Wood"), reason="the label was misread", by="Ana")
    with open_archive(own) as archive:
        found = archive.windows()
        assert archive.sql("SELECT DISTINCT site FROM embeddings ORDER BY 1")["site"].to_pylist() == ["Wood", "site1"]
    paths, starts = found["path"].to_pylist(), found["start_s"].to_pylist()
    for path, start in zip(paths, starts, strict=True):
        judgement = "positive" if "site0" in path else "negative"
        add_annotation(own, path, start + 0.1, start + 1.9, "low", annotator="Ana", judgement=judgement)
    made = train_probe(
        own, Experiment("low", negatives=Negatives(weak=0), bootstrap=0, shots=(), split=Split(test_share=0.3))
    )
    assert (made["version"], made["in_use"]) == (1, 1)
    with open_archive(own) as archive:
        applied = apply_stored(archive, ["low"], ApplyOptions(floor=0.0))
        assert applied.scoring.parts_scored == 4 and not applied.failed
        scored = archive.sql("SELECT path, start_s, score FROM scores WHERE probe = 'low'")
        assert scored.num_rows == len(paths)
        assert apply_stored(archive, ["low"], ApplyOptions(floor=0.0)).scoring.parts_scored == 0
    assert {key.split("/")[1] for key in bucket.keys("a/")} >= {"probes", "scores"}
    assert (Path(state_root(own)) / "annotations.sqlite").is_file()


def test_a_dropped_connection_in_the_middle_of_a_part_is_not_noticed(own: str, bucket: Bucket, monkeypatch) -> None:
    monkeypatch.setattr("store.remote.WAITS_S", (0.0,) * 4)
    clean = windows(own)
    for kind in ("drop_body", "status", "reset"):
        for skip in range(3):
            bucket.server.faults.clear()
            bucket.server.faults.add(Fault(kind, "GET", "embeddings", skip=skip, times=2, after_bytes=100))
            assert windows(own) == clean
            assert len(load_ledger(own).parts) == 4


def test_a_reader_of_an_object_is_a_file(bucket: Bucket) -> None:
    data = np.random.default_rng(1).bytes(900_000)
    bucket.put("x", data)
    rng = np.random.default_rng(2)
    reader, at = ObjectReader(f"{bucket.url}/x"), 0
    for _ in range(60):
        size = int(rng.choice([0, 1, 100, 5_000, 300_000]))
        if rng.random() < 0.7:
            at = int(rng.integers(0, len(data) + 10))
            assert reader.seek(at) == at
        assert reader.read(size) == data[at : at + size]
        at = reader.tell()
    assert reader.seek(-3, 2) == len(data) - 3 and reader.read() == data[-3:]
    with pytest.raises(FileNotFoundError):
        ObjectReader(f"{bucket.url}/y")
    assert sha256_of(f"{bucket.url}/x") == hashlib.sha256(data).hexdigest()
    assert 0 < bucket.server.faults.count("GET", "/x") < 60


def test_a_footer_takes_one_request_also_where_it_is_long(twins: Twins, bucket: Bucket, monkeypatch) -> None:
    key = twins.bucket.keys("archive/embeddings/")[0]
    url = f"{twins.bucket.url}/{key}"
    twins.bucket.server.faults.clear()
    whole = parquet_footer(url)
    assert twins.bucket.server.faults.count() == 1
    monkeypatch.setattr("store.reading._TAIL", 100)
    assert parquet_footer(url).equals(whole)


def test_queries_write_nothing(own: str, bucket: Bucket) -> None:
    before = bucket.keys()
    with open_archive(own) as archive, pytest.raises((Invalid, Damaged)):
        archive.sql(f"COPY (SELECT 1) TO '{own}/embeddings/x.parquet'")
    with pytest.raises(PermissionError):
        PartsFileSystem().open(f"{own}/x", "wb")
    assert bucket.keys() == before


def test_what_does_not_work_says_so(own: str) -> None:
    for call in (
        lambda: compact_store(own, min_parts=2),
        lambda: clean_store(own, grace_h=24, keep_snapshots=3),
        lambda: migrate_store(own),
        lambda: ServiceSettings(own),
    ):
        with pytest.raises(Invalid, match="needs a store in a folder"):
            call()


def test_a_place_without_a_store(bucket: Bucket) -> None:
    with pytest.raises(NotFound, match="is not a store"):
        open_archive(f"{bucket.url}/nothing")


def test_addresses_have_one_spelling(twins: Twins, tmp_path: Path) -> None:
    words = ["info", "--store", f"{twins.url}/".replace("s3://", "s3a://"), f"--store=file://{tmp_path}/x"]
    assert with_normal_stores(words) == ["info", "--store", twins.url, f"--store={tmp_path}/x"]
    for wrong in ("ftp://a/b", "s3://key:word@bucket/a"):
        with pytest.raises(Invalid):
            with_normal_stores(["--store", wrong])
    assert state_root(f"{twins.url}/") == state_root(twins.url)
    assert state_root(str(tmp_path)) == str(tmp_path)
    assert Path(state_root(twins.url)).parent == twins.state
    with open_archive(f"file://{twins.folder}") as archive:
        assert archive.root == str(twins.folder)
    assert options(".", f"{twins.url}/").store == options(".", twins.url).absolute().store == twins.url


def test_the_command_line(twins: Twins) -> None:
    told = cli("info", "--store", f"{twins.url}/")
    assert told.returncode == 0 and f"{twins.url}: 24 windows" in told.stdout
    for words in (["status"], ["verify", "--deep"], ["summary"], ["jobs"], ["report"]):
        result = CliRunner().invoke(app, [*words, "--store", twins.url])
        assert result.exit_code == 0, result.output
