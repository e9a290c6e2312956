"""One address may hold another store than it did: what this machine keeps of the first is no answer about the second."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from search_api.annotations import add_annotation
from sonotheque.core.errors import Unavailable
from store import create_config, load_ledger, objects, open_archive, read_config, remote, write_snapshot
from store.annotations import AnnotationLog
from store.belonging import PROBE
from store.objects import ObjectFileOps
from store.state import state_root
from tests.objects.kit import Bucket, Fault
from tests.store import kit

CONFIG = kit.store_config()


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SONOTHEQUE_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(remote, "WAITS_S", (0.0,) * 3)


@pytest.fixture
def anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers are tried again, as by another process."""
    monkeypatch.setattr(objects, "_PROVEN", set())


def fill(root: str, name: str) -> None:
    create_config(root, CONFIG)
    kit.write_part(root, CONFIG, [(kit.recording(f"a/{name}.wav"), 3)])
    write_snapshot(root, CONFIG, load_ledger(root))


def paths(root: str) -> list[str]:
    with open_archive(root) as archive:
        return sorted(archive.sql("SELECT DISTINCT path FROM windows").column("path").to_pylist())


def emptied(bucket: Bucket) -> dict[str, bytes]:
    before = {key: bucket.get(key) for key in bucket.keys("")}
    for key in before:
        bucket.delete(key)
    return before


def test_a_bucket_that_was_emptied_and_filled_again(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    root = f"{bucket.url}/archive"
    home = Path(state_root(root))
    fill(root, "one")
    assert paths(root) == ["a/one.wav"]
    add_annotation(root, "a/one.wav", 0.1, 1.0, "wren", annotator="Ana", judgement="positive")
    (home / "jobs" / "1").mkdir(parents=True)
    first = (home / "store-id").read_text()
    before = emptied(bucket)
    monkeypatch.setattr(objects, "_PROVEN", set())
    fill(root, "two")
    assert (home / "store-id").read_text() != first
    assert paths(root) == ["a/two.wav"]
    assert AnnotationLog(root).current().num_rows == 0
    assert not (home / "jobs" / "1").exists()
    emptied(bucket)
    for key, data in before.items():
        bucket.put(key, data)
    assert paths(root) == ["a/one.wav"]
    assert AnnotationLog(root).current().num_rows == 1
    assert (home / "jobs" / "1").is_dir()
    assert (home / "store-id").read_text() == first


def test_a_copy_without_an_id_keeps_what_is_noted(bucket: Bucket, anew: None) -> None:
    root = f"{bucket.url}/archive"
    fill(root, "one")
    assert paths(root) == ["a/one.wav"]
    bucket.delete(f"archive/{PROBE}")
    note = Path(state_root(root), "store-id").read_text()
    assert paths(root) == ["a/one.wav"]
    assert read_config(root) == CONFIG
    assert Path(state_root(root), "store-id").read_text() == note


def test_a_catalog_of_other_parts_is_not_taken(bucket: Bucket, anew: None) -> None:
    """Also where no id tells the stores apart: snapshot 1 of the one is not snapshot 1 of the other."""
    root = f"{bucket.url}/archive"
    fill(root, "one")
    probe = bucket.get(f"archive/{PROBE}")
    assert paths(root) == ["a/one.wav"]
    emptied(bucket)
    bucket.put(f"archive/{PROBE}", probe)
    fill(root, "two")
    assert paths(root) == ["a/two.wav"]


def test_one_address_on_two_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    found = set()
    for server in ("", "http://a", "http://b"):
        monkeypatch.setenv("AWS_ENDPOINT_URL", server)
        found.add(state_root("s3://bucket/archive"))
        assert state_root("gs://bucket/archive") == state_root("gs://bucket/archive/")
    assert len(found) == 3
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://a/")
    assert state_root("s3://bucket/archive") in found


def test_a_lost_answer_to_the_request_that_joins_pieces(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The object is there; giving the upload up is answered with 404, which is no word about the bucket."""
    monkeypatch.setattr(objects, "_CHUNK", 5 << 20)
    file = tmp_path / "large"
    file.write_bytes(bytes(11 << 20))
    ops = ObjectFileOps(f"{bucket.url}/a")
    ops.require_put_if_absent()
    fs = remote.filesystem(bucket.url)
    real = fs._call_s3

    async def call(method: str, *arguments: object, **options: object) -> object:
        answer = await real(method, *arguments, **options)
        if method == "complete_multipart_upload":
            raise FileNotFoundError(errno.ENOENT, "The specified upload does not exist")
        return answer

    monkeypatch.setattr(fs, "_call_s3", call)
    assert ops.link_new(str(file), f"{bucket.url}/a/embeddings/x")
    monkeypatch.setattr(fs, "_call_s3", real)
    bucket.server.faults.add(Fault("lose_answer", method="POST", contains="uploadId"))
    assert ops.link_new(str(file), f"{bucket.url}/a/embeddings/y")
    assert not ops.link_new(str(file), f"{bucket.url}/a/embeddings/y")


def test_sql_over_a_bucket_that_gives_no_answer_is_no_damage(bucket: Bucket, anew: None) -> None:
    root = f"{bucket.url}/archive"
    fill(root, "one")
    with open_archive(root) as archive:
        assert archive.sql("SELECT count(*) AS n FROM windows").column("n").to_pylist() == [3]
        bucket.server.faults.add(Fault("status", contains="part-", times=-1))
        with pytest.raises(Unavailable) as caught:
            archive.sql("SELECT sum(embedding[1]) FROM embeddings")
    assert caught.value.kind == "store_unreachable"
    assert "cannot be reached" in caught.value.message
