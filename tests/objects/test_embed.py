"""`embed` from a bucket: the same store as from the folder, and what must hold when the bucket changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cluster.roots import choose_root, holds_another, relative_path
from search_api.cutting import Sound, cut_spans
from search_api.locating import Locator, size_and_time
from sonotheque.core.errors import Conflict, Invalid, NotFound, Unavailable
from tests.cluster.support import cli, make_archive, options, part_files, predictions, run, vectors, windows, write_wav
from tests.objects.kit import Bucket, Fault, ask_anew


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    ask_anew(monkeypatch)


@pytest.fixture
def folder(tmp_path: Path, bucket: Bucket) -> Path:
    """Eight small files of two sites, on disk and below ``season`` in the bucket."""
    folder = make_archive(tmp_path / "recordings", files=2)
    bucket.put_folder(folder, "season")
    return folder


def test_the_same_store_as_from_the_folder(folder: Path, bucket: Bucket, tmp_path: Path) -> None:
    bucket.server.faults.add(Fault("drop_body", method="GET", contains=".wav", after_bytes=20_000, skip=5, times=9))
    bucket.server.faults.add(Fault("status", times=3, skip=3))
    here, there = tmp_path / "here", tmp_path / "there"
    run(folder, here)
    report = run(f"{bucket.url}/season", there)
    assert (report.done, report.failed) == (8, 0)
    columns = "path, site, date, start_s, end_s, valid_s, recording_id"
    assert windows(there, columns) == windows(here, columns)
    assert predictions(there) == predictions(here)
    assert np.array_equal(vectors(there), vectors(here))
    again = run(f"{bucket.url}/season", there)
    assert (again.skipped, again.done) == (8, 0)
    assert again.files == 8


def test_one_that_is_replaced_is_embedded_again_and_no_other(folder: Path, bucket: Bucket, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run(f"{bucket.url}/season", store)
    name = "site0/20240501_040000.wav"
    other = write_wav(tmp_path / "other.wav", seed=99)
    assert other.stat().st_size == (folder / name).stat().st_size
    bucket.put(f"season/{name}", other.read_bytes())  # of the same size, within the same second for all a listing says
    report = run(f"{bucket.url}/season", store)
    assert (report.done, report.skipped) == (1, 7)
    write_wav(folder / name, seed=99)
    run(folder, tmp_path / "here")
    rows = "path, start_s, embedding::VARCHAR"  # by path: parts lie in the order of their ids, and ids hold times
    assert windows(store, rows) == windows(tmp_path / "here", rows)


def test_several_sources_of_one_bucket(folder: Path, bucket: Bucket, tmp_path: Path) -> None:
    sources = (
        f"{bucket.url}/season/site0",
        f"{bucket.url}/season/site1/20240501_040000.wav",
        f"{bucket.url}/season/site0/",
    )
    report = run(sources, tmp_path / "store")
    assert report.done == 5
    assert {row[0] for row in windows(tmp_path / "store")} >= {"site1/20240501_040000.wav", "site0/20240501_040000.wav"}
    whole = run(f"{bucket.url}/season", tmp_path / "store")
    assert (whole.done, whole.skipped) == (3, 5)


def test_a_file_address_is_the_folder(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "a")
    run(f"file://{folder}", tmp_path / "b")
    assert part_files(tmp_path / "a") == part_files(tmp_path / "b")


def test_a_store_that_goes_away_leaves_rows_that_are_tried_again(folder: Path, bucket: Bucket, tmp_path: Path) -> None:
    name = "site0/20240501_040000.wav"
    bucket.server.faults.add(Fault("status", method="HEAD", contains=name, times=-1))
    report = run(f"{bucket.url}/season", tmp_path / "store")
    assert (report.done, report.failed) == (7, 1)
    bucket.server.faults.clear()
    report = run(f"{bucket.url}/season", tmp_path / "store")
    assert (report.done, report.skipped) == (1, 7)


def test_a_plan_with_unread_headers_is_none(folder: Path, bucket: Bucket, tmp_path: Path) -> None:
    bucket.server.faults.add(Fault("status", method="GET", contains="site1/20240501", times=-1))
    with pytest.raises(Unavailable, match="SlowDown"):
        run(f"{bucket.url}/season", tmp_path / "store")
    assert part_files(tmp_path / "store") == {}


@pytest.mark.parametrize(
    ("sources", "error", "said"),
    [
        (("{bucket}/seson",), NotFound, "nothing at this address"),
        (("{bucket}/texts",), NotFound, "no audio file in"),
        (("{bucket}/season", "s3://another-bucket/season"), NotFound, "NoSuchBucket"),
        (("{bucket}/season", "{folder}"), Invalid, "no folder in common"),
        (("http://example.org/a.wav",), Invalid, "no kind of address"),
        (("s3://X/a",), Invalid, "cannot be a bucket's name"),
    ],
)
def test_sources_that_cannot_be(
    sources: tuple[str, ...], error: type[Exception], said: str, folder: Path, bucket: Bucket, tmp_path: Path
) -> None:
    bucket.put("texts/readme.txt", b"x")
    given = tuple(source.format(bucket=bucket.url, folder=folder) for source in sources)
    with pytest.raises(error, match=said):
        run(given, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_roots(folder: Path, bucket: Bucket) -> None:
    base = f"{bucket.url}/season"
    assert choose_root((f"{base}/site0", f"{base}/site1/"), None, ()) == base
    assert choose_root((f"{base}/site0/20240501_040000.wav",), None, ()) == f"{base}/site0"
    assert choose_root((f"{base}/site0",), None, (base,)) == base
    assert choose_root((f"{base}/site0",), bucket.url, ()) == bucket.url
    assert relative_path(f"{base}/site0/a.wav", base, "p") == "p/site0/a.wav"
    with pytest.raises(Invalid, match="does not lie in --root"):
        choose_root((f"{base}/site0",), f"{base}/site1", ())
    with pytest.raises(Conflict, match="lies inside"):
        choose_root((base,), None, (f"{base}/site0",))
    second = bucket.server.bucket()
    second.put("a.wav", b"x")
    with pytest.raises(Invalid, match="no folder in common"):
        choose_root((base, second.url), None, ())


def test_a_copy_is_told_from_another_recording(folder: Path, bucket: Bucket) -> None:
    name = "site0/20240501_040000.wav"
    here, there = str(folder / name), f"{bucket.url}/season/{name}"
    other = f"{bucket.url}/season/site0/20240501_050000.wav"
    assert not holds_another(here, there)
    assert not holds_another(there, here)
    assert not holds_another(there, there)
    assert holds_another(other, here)
    assert holds_another(here, other)
    assert not holds_another(f"{bucket.url}/season/gone.wav", here)
    assert not holds_another(str(folder / "gone.wav"), there)


def test_an_archive_that_moved_into_a_bucket(folder: Path, bucket: Bucket, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run(folder, store)
    with pytest.raises(Conflict, match="--replace"):
        run(f"{bucket.url}/season", store)
    report = run(f"{bucket.url}/season", store, replace=True)
    assert report.done == 8
    assert len(windows(store)) == 16


class TestListening:
    @pytest.fixture
    def locator(self, folder: Path, bucket: Bucket, tmp_path: Path) -> Locator:
        run(f"{bucket.url}/season", tmp_path / "store")
        return Locator.of(str(tmp_path / "store"))

    def test_recordings_are_found_where_they_were(self, locator: Locator, bucket: Bucket) -> None:
        locator.require_there()
        name = "site0/20240501_040000.wav"
        assert locator.find(name) == f"{bucket.url}/season/{name}" == locator.told([name])[0]
        assert size_and_time(locator.find(name))[0] == len(bucket.get(f"season/{name}"))
        with pytest.raises(NotFound, match="say where the recordings are"):
            locator.find("site0/gone.wav")
        with pytest.raises(Invalid, match="nothing outside is read"):
            locator.find("../season/site0/a.wav")

    def test_or_where_somebody_says_they_are(
        self, locator: Locator, bucket: Bucket, folder: Path, tmp_path: Path
    ) -> None:
        store, name = str(tmp_path / "store"), "site0/20240501_040000.wav"
        assert Locator.of(store, str(folder)).find(name) == str(folder / name)
        bucket.put_folder(folder, "moved")
        assert Locator.of(store, f"{bucket.url}/moved/").find(name) == f"{bucket.url}/moved/{name}"

    def test_a_piece_is_cut_by_ranges(self, locator: Locator, bucket: Bucket, tmp_path: Path) -> None:
        path = write_wav(tmp_path / "long.wav", seconds=300.0, seed=5)
        bucket.put("season/long.wav", path.read_bytes())
        bucket.server.faults.clear()
        spans = [(200.0, 203.0), (1.0, 2.0)]
        here = dict(cut_spans(str(path), spans))
        there = dict(cut_spans(locator.find("long.wav"), spans))
        for index in (0, 1):
            one, other = here[index], there[index]
            assert isinstance(one, Sound)
            assert isinstance(other, Sound)
            assert np.array_equal(one.samples, other.samples)
            assert (one.start_s, one.end_s, one.subtype) == (other.start_s, other.end_s, other.subtype)
        begun = {one.range for one in bucket.server.faults.seen if one.range}
        assert len(begun) < path.stat().st_size // (1 << 20)  # not all of it

    def test_a_bucket_that_is_away_says_so(self, locator: Locator, bucket: Bucket) -> None:
        bucket.server.faults.add(Fault("status", times=-1))
        with pytest.raises(Unavailable, match="later"):
            locator.find("site0/20240501_040000.wav")


@pytest.mark.parametrize("workers", ["0", pytest.param("1", marks=pytest.mark.slow)])
def test_from_the_command_line_without_credentials(workers: str, folder: Path, bucket: Bucket, tmp_path: Path) -> None:
    bucket.server.client.put_bucket_acl(Bucket=bucket.name, ACL="public-read")
    bucket.put_folder(folder, "season", ACL="public-read")
    command = (
        "embed",
        f"{bucket.url}/season",
        "--store",
        tmp_path / "store",
        "--model",
        "placeholder",
        "--workers",
        workers,
    )
    done = cli(*command, "--anonymous", env=bucket.server.environment())
    assert done.returncode == 0, done.stderr
    assert "done     8" in done.stdout
    assert bucket.server.faults.count("GET", "season/site1") >= 4
    assert not any(one.signed for one in bucket.server.faults.seen)


def test_options_keep_addresses(tmp_path: Path) -> None:
    given = options("S3://bucket/a/", "store", root="s3://bucket/").absolute()
    assert (given.sources, given.root) == (("s3://bucket/a",), "s3://bucket")
