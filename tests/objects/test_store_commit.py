"""The commit of a part into a bucket: every request may fail, every answer may be lost, and several may try at once."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from moto.backends import get_backend

from sonotheque.core.errors import NotFound, Unavailable
from store import create_config, load_ledger, objects, part_id, read_config, remote, verify
from store.fsops import LocalFileOps, ops_of, put_new, put_over
from store.layout import part_name, part_path
from store.objects import PROBE, ObjectFileOps
from store.state import state_root
from tests.objects.kit import Bucket, Fault
from tests.store import kit

CONFIG = kit.store_config()
ITEMS = [(kit.recording("a/1.wav"), 3), (kit.recording("a/2.wav"), 0), (kit.recording("a/3.wav"), 2)]
NAME = part_name(part_id(CONFIG.digest, [rec for rec, _ in ITEMS]))
EMBEDDINGS = part_path("embeddings", "A", "2024-05-01", NAME)
PREDICTIONS = part_path("predictions", "A", "2024-05-01", NAME)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.setenv("SONOTHEQUE_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(remote, "WAITS_S", (0.0,) * 3)


@pytest.fixture
def clean(tmp_path) -> dict[str, bytes]:
    """What the part's files hold in a folder."""
    root, _ = kit.new_store(tmp_path / "clean", CONFIG)
    kit.write_part(root, CONFIG, ITEMS)
    return kit.tree(root)


def held(bucket: Bucket, prefix: str) -> dict[str, bytes]:
    """Every object of a store but the probe of its server."""
    keys = [key for key in bucket.keys(f"{prefix}/") if not key.endswith(PROBE)]
    return {key.removeprefix(f"{prefix}/"): bucket.get(key) for key in keys}


def new_store(bucket: Bucket, name: str) -> str:
    root = f"{bucket.url}/{name}"
    create_config(root, CONFIG)
    return root


def test_a_bucket_holds_what_a_folder_holds(bucket, clean):
    root = new_store(bucket, "deep/archive")
    assert kit.write_part(root, CONFIG, ITEMS).won
    assert held(bucket, "deep/archive") == clean
    assert bucket.uploads() == []
    assert read_config(root) == CONFIG
    assert verify(root, []).ok


STATUS = ((503, "SlowDown"), (500, "InternalError"), (409, "ConditionalRequestConflict"))


def fault_at(kind: str, n: int, times: int) -> Fault:
    """A fault that hits the n-th request and as many as it says after it; refusals take turns."""
    code, error = STATUS[n % len(STATUS)] if times == 1 else STATUS[0]
    return Fault(kind, skip=n, times=times, code=code, error=error, after_bytes=40 if kind == "drop_request" else 0)


@pytest.mark.parametrize("kind", ["status", "reset", "drop_request", "lose_answer"])
def test_one_fault_at_any_request_is_not_noticed(bucket, clean, kind):
    """An answer that is lost comes after its effect: the PUT that is sent again must know its own object."""
    faults = bucket.server.faults
    n = 0
    while True:
        root = new_store(bucket, f"{kind}-{n}")
        faults.clear()
        fault = faults.add(fault_at(kind, n, 1))
        done = kit.write_part(root, CONFIG, ITEMS)
        assert done.won, f"{kind} at request {n}: its own part was taken for another's"
        assert held(bucket, f"{kind}-{n}") == clean, f"{kind} at request {n}"
        if not fault.hits:
            break
        n += 1
    assert n > 5, faults.seen


@pytest.mark.parametrize("kind", ["status", "lose_answer"])
def test_an_outage_from_any_request_on_leaves_all_or_nothing(bucket, clean, kind):
    faults = bucket.server.faults
    n = committed = 0
    while True:
        root = new_store(bucket, f"{kind}-{n}")
        faults.clear()
        fault = faults.add(fault_at(kind, n, -1))
        try:
            done = kit.write_part(root, CONFIG, ITEMS)
        except Unavailable as error:
            done = None
            assert "cannot be reached" in error.message, error
        faults.clear()
        if done and not fault.hits:
            break
        there = held(bucket, f"{kind}-{n}")
        assert {name: clean[name] for name in there} == there, f"{kind} from request {n} on"
        assert EMBEDDINGS not in there or PREDICTIONS in there
        assert not done or EMBEDDINGS in there
        committed += EMBEDDINGS in there
        again = kit.write_part(root, CONFIG, ITEMS)
        assert again.won is (EMBEDDINGS not in there)
        assert held(bucket, f"{kind}-{n}") == clean
        assert not kit.temporary_files(state_root(root))
        n += 1
    assert n > 5
    assert committed < n


def test_another_attempt_that_was_first_wins(bucket):
    root = new_store(bucket, "a")
    first = kit.write_part(root, CONFIG, ITEMS)
    before = held(bucket, "a")
    second = kit.write_part(root, CONFIG, ITEMS, perturb=1e-3)
    assert first.won and not second.won
    assert second.sha256 == first.sha256
    assert held(bucket, "a") == before


def test_many_attempts_at_once_commit_one_part(bucket):
    root = new_store(bucket, "a")
    start = threading.Barrier(4)

    def one(number: int) -> bool | None:
        start.wait()
        try:
            return kit.write_part(root, CONFIG, ITEMS, perturb=number * 1e-3).won
        except Unavailable as error:
            assert "at the same moment" in error.message
            return None

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(one, range(4)))
    assert won.count(True) == 1, won
    assert verify(root, [], deep=True).ok
    assert len(load_ledger(root).parts) == 1


def test_what_lies_under_a_parts_name_and_is_no_part_is_told(bucket):
    root = new_store(bucket, "a")
    bucket.put(f"a/{EMBEDDINGS}", b"not a part")
    with pytest.raises(Exception, match="cannot be read as a part"):
        kit.write_part(root, CONFIG, ITEMS)
    assert bucket.get(f"a/{EMBEDDINGS}") == b"not a part"


def test_a_large_file_goes_in_pieces_under_the_same_condition(bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(objects, "_CHUNK", 5 << 20)
    data = bytes(range(256)) * (11 << 12)
    file = tmp_path / "large"
    file.write_bytes(data)
    ops = ObjectFileOps(f"{bucket.url}/a")
    assert ops.link_new(str(file), f"{bucket.url}/a/embeddings/x")
    assert bucket.server.faults.count("PUT", "partNumber") == 3
    file.write_bytes(data[::-1])
    assert not ops.link_new(str(file), f"{bucket.url}/a/embeddings/x")
    assert bucket.get("a/embeddings/x") == data
    assert bucket.uploads() == []


def test_a_server_that_overwrites_is_refused(bucket, monkeypatch):
    fs = remote.filesystem(bucket.url)
    pipe = fs.pipe_file
    monkeypatch.setattr(fs, "pipe_file", lambda path, data, mode="": pipe(path, data))
    with pytest.raises(Unavailable, match="ignores `If-None-Match"):
        create_config(f"{bucket.url}/a", CONFIG)
    assert bucket.keys("a/sonotheque") == []


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (Fault("status", times=-1, code=403, error="AccessDenied"), "read_only", "rights to list, get and put"),
        (Fault("status", times=-1, code=400, error="ExpiredToken"), "read_only", "expired: renew"),
        (
            Fault("status", times=-1, code=400, error="IllegalLocationConstraintException"),
            "unavailable",
            "another region",
        ),
        (Fault("status", times=-1, code=503, error="SlowDown"), "store_unreachable", "cannot be reached"),
        (Fault("status", times=-1, code=408, error="Timeout"), "store_unreachable", "cannot be reached"),
    ],
)
def test_errors_say_what_to_do(bucket, fault, kind, words):
    bucket.server.faults.add(Fault(**{n: getattr(fault, n) for n in ("kind", "times", "code", "error")}))
    with pytest.raises(Unavailable, match=words) as caught:
        create_config(f"{bucket.url}/a", CONFIG)
    assert caught.value.kind == kind
    with pytest.raises(Unavailable):  # and a store that cannot be reached is not taken for one that is not there
        read_config(f"{bucket.url}/a")


def test_a_bucket_that_is_not_there(store_server):
    with pytest.raises(NotFound, match="no bucket nowhere-at-all"):
        create_config("s3://nowhere-at-all/a", CONFIG)
    with pytest.raises(NotFound, match="nowhere-at-all"):
        read_config("s3://nowhere-at-all/a")


@pytest.mark.parametrize("code", [408, 429])
def test_a_server_that_asks_to_come_again_is_asked_again(bucket, code):
    """By the status alone, whatever the provider calls it."""
    fault = bucket.server.faults.add(Fault("status", times=2, code=code, error="Later"))
    create_config(f"{bucket.url}/a", CONFIG)
    assert fault.hits == 2
    assert read_config(f"{bucket.url}/a") == CONFIG


@pytest.mark.parametrize(
    ("url", "variable"),
    [
        ("s3://bucket/a", "AWS_ENDPOINT_URL_S3"),
        ("s3://bucket/a", "AWS_ENDPOINT_URL"),
        ("gs://bucket/a", "STORAGE_EMULATOR_HOST"),
    ],
)
def test_another_server_is_another_client(monkeypatch, url, variable):
    """As it is another state folder: a notebook that changes the variable must not write on to the server before it."""
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(remote.ANONYMOUS, "1")
    remote._filesystem.cache_clear()
    found = []
    for server in ("http://127.0.0.1:9", "http://127.0.0.1:8", "http://127.0.0.1:9"):
        monkeypatch.setenv(variable, server)
        found.append((remote.filesystem(url), state_root(url)))
    assert found[0] == found[2]
    assert found[0][0] is not found[1][0] and found[0][1] != found[1][1]
    remote._filesystem.cache_clear()


def test_the_client_of_the_server_that_is_named_now_is_asked(bucket, monkeypatch):
    """botocore prefers ``AWS_ENDPOINT_URL_S3``; so do we."""
    bucket.put("a/x", b"here")
    assert ops_of(f"{bucket.url}/a").read(f"{bucket.url}/a/x") == b"here"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with pytest.raises(Unavailable, match="cannot be reached"):
        ops_of(f"{bucket.url}/a").read(f"{bucket.url}/a/x")


def test_no_credentials(bucket, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    remote._filesystem.cache_clear()
    with pytest.raises(Unavailable, match="AWS_ACCESS_KEY_ID"):
        create_config(f"{bucket.url}/a", CONFIG)
    remote._filesystem.cache_clear()


def test_a_missing_library_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    remote._filesystem.cache_clear()
    with pytest.raises(Unavailable, match=r"sonotheque\[objects\]") as caught:
        read_config("s3://somewhere/a")
    assert caught.value.kind == "engine_missing"
    remote._filesystem.cache_clear()


def test_small_files(bucket, tmp_path):
    root = f"{bucket.url}/a"
    ops = ops_of(root)
    tmp = f"{root}/_tmp"
    assert put_new(ops, tmp, "1", f"{root}/metadata/1.json", b"one")
    assert not put_new(ops, tmp, "2", f"{root}/metadata/1.json", b"two")
    put_over(ops, tmp, "3", f"{root}/sonotheque.json", b"three")
    put_over(ops, tmp, "4", f"{root}/sonotheque.json", b"four")
    assert put_new(ops, tmp, "5", f"{root}/jobs/1/job.json", b"{}"), "a job lies on this machine"
    assert put_new(ops, tmp, "6", str(tmp_path / "elsewhere"), b"local")
    assert held(bucket, "a") == {"metadata/1.json": b"one", "sonotheque.json": b"four"}
    assert ops.read(f"{root}/metadata/1.json") == b"one"
    assert ops.read(f"{root}/jobs/1/job.json") == b"{}"
    assert ops.exists(f"{root}/metadata/1.json") and not ops.exists(f"{root}/metadata/2.json")
    assert not ops.exists(f"{root}/metadata")
    ops.unlink(f"{root}/metadata/1.json")
    ops.unlink(f"{root}/metadata/1.json")
    assert ops.listdir(f"{root}/metadata") == []
    with pytest.raises(FileNotFoundError):
        ops.read(f"{root}/metadata/1.json")
    with pytest.raises(OSError, match="written whole"):
        ops.create(f"{root}/metadata/2.json")


def test_listings_come_whole_and_in_the_order_of_a_folder(bucket, tmp_path):
    shelf = get_backend("s3")["123456789012"]["aws"]  # moto's own: a thousand requests take long
    folders = [f"site={site}/date=2024-05-0{day}" for site in ("b", "a", "a%20b", "a-b") for day in (1, 2)]
    names = [f"{folder}/part-{n:03d}.parquet" for folder in folders for n in range(140)]
    for name in names:
        shelf.put_object(bucket.name, f"a/embeddings/{name}", b"x" * len(name))
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "part-000.parquet").touch()
    bucket.put("a/embeddings/", b"")  # as the consoles of providers make folders
    bucket.put("a/embeddings/site=a/date=2024-05-01/deeper/part-1.parquet", b"")
    bucket.put("ab/embeddings/site=a/date=2024-05-01/part-1.parquet", b"")
    ops = ops_of(f"{bucket.url}/a")
    found = ops.sizes_below(f"{bucket.url}/a/embeddings", 3)
    assert len(found) == len(names) > 1000, "more than one page"
    assert dict(found) == {name: len(name) for name in names}
    assert [name for name in found if "-000." in name] == list(LocalFileOps().sizes_below(str(tmp_path), 3))
    assert ops.listdir(f"{bucket.url}/a/embeddings") == ["site=a", "site=a%20b", "site=a-b", "site=b"]
    assert ops.listdir(f"{bucket.url}/a/nothing") == []
    assert dict(ops.sizes_below(f"{bucket.url}/a/nothing", 3)) == {}
