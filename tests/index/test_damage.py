"""Bad input and damaged files: each has a stated answer, and none is a wrong list of hits."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sonotheque.core.errors import Conflict, Damaged, Invalid, NotFound, SonothequeError
from sonotheque.core.filters import SearchFilter
from store import Archive, load_ledger, read_config
from store.care import collect_garbage, compact
from store.index import IndexWishes, SearchQuery, build_index, open_index, read_info, update_index
from tests.care.support import later
from tests.index import kit
from tests.store.kit import model_spec

ONE = kit.queries(1)[0]
FILES = {"vectors": "*.f16", "codes": "*.faiss", "clusters": "*.npz"}


def index_file(root: str, pattern: str) -> Path:
    (found,) = Path(root, "index", "v1").glob(pattern)
    return found


def flip(path: Path, byte: int, bit: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[byte] ^= 1 << bit
    path.unlink()  # the copies of other tests may be links
    path.write_bytes(data)


# --- the question ---


@pytest.mark.parametrize(
    "vectors", [np.zeros(32), np.full(32, np.nan), np.full(32, np.inf), np.r_[np.ones(31), np.nan]]
)
@pytest.mark.parametrize("at", [0, 2])
def test_a_query_that_points_nowhere(vectors, at):
    several = kit.queries(3)
    several[at] = vectors
    with pytest.raises(Invalid, match="the query vector is zero or not finite"):
        SearchQuery(vectors)
    with pytest.raises(Invalid, match=f"query vector {at + 1} of 3 is zero or not finite"):
        SearchQuery(several)


@pytest.mark.parametrize("shape", [(0,), (0, 32), (2, 3, 32), (1, 0)], ids=str)
def test_a_query_that_is_no_list_of_vectors(shape):
    with pytest.raises(Invalid, match=r"shape|zero or not finite"):
        SearchQuery(np.ones(shape))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"k": -1}, "k is -1"),
        ({"k": 100_001}, "100,000 windows"),
        ({"combine": "sum"}, "best or mean"),
        ({"best_per": "month"}, "recording or site or day"),
        ({"distinct": 0.0}, "distinct 0"),
        ({"distinct": 1.5}, "distinct 1.5"),
        ({"distinct": float("nan")}, "distinct nan"),
        ({"recall": 0.0}, "recall 0"),
        ({"recall": 1.1}, "recall 1.1"),
    ],
)
def test_a_query_with_a_value_that_cannot_be(wrong, told):
    with pytest.raises(Invalid, match=told):
        SearchQuery(ONE, **wrong)


@pytest.mark.parametrize("kind", ["none", "exact", "coded", "coded, fresh"])
def test_a_query_that_does_not_go_with_the_store(kinds, monkeypatch, kind):
    kit.plans(monkeypatch, "codes")
    other = replace(model_spec(dim=kit.DIM), name="other", version="7", weights_digest="cd" * 32)
    with Archive(kinds(kind)) as archive:
        index = open_index(archive)
        for dim in (1, 31, 33, 1536):
            with pytest.raises(Invalid, match=f"vectors of {dim:,} numbers.*of 32"):
                index.search(SearchQuery(np.ones(dim)))
        with pytest.raises(Conflict) as caught:
            index.search(SearchQuery(ONE, model=other))
        assert caught.value.kind == "model_conflict"
        for word in ("other 7", "cdcdcdcdcdcd", "tiny 1", "abababababab"):
            assert word in caught.value.message
        assert index.search(SearchQuery(ONE, model=model_spec(dim=kit.DIM))).hits
        for where, told in (
            (SearchFilter(sites=("Oak wod",)), "Oak wod"),
            (SearchFilter(label="Strix alucco"), "Strix alucco"),
            (SearchFilter(recordings=("no/such.wav",)), "no/such.wav"),
        ):
            with pytest.raises(NotFound, match=told):
                index.search(SearchQuery(ONE, where=where))
        assert len(index.search(SearchQuery(ONE, 3)).hits) == 3, "an error must not stay"


@pytest.mark.parametrize("scale", [1e-44, 1e-38, 1e-20, 1e20, 1e37])
@pytest.mark.parametrize("plan", ["as is", "codes"])
def test_the_length_of_a_query_does_not_matter(kinds, monkeypatch, scale, plan):
    """Also where squares of float32 overflow or vanish."""
    kit.plans(monkeypatch, plan)
    vector = np.sign(ONE) * np.float32(scale)
    with Archive(kinds("coded")) as archive:
        index, twin = open_index(archive), kit.Twin(archive)
        long, plain = SearchQuery(vector, 30), SearchQuery(np.sign(ONE), 30)
        kit.check(index.search(long), long, twin)
        assert kit.found_ids(index.search(long)) == kit.found_ids(index.search(plain))


# --- the store ---


def test_an_empty_store(tmp_path):
    root, config = kit.new_store(tmp_path, [])
    with Archive(root) as archive:
        answer = open_index(archive).search(SearchQuery(ONE, 5))
        assert answer.hits == [] and (answer.plan.how, answer.plan.windows) == ("nothing", 0)
        with pytest.raises(Invalid, match=r"has no windows in snapshot 1: there is nothing to index"):
            build_index(archive)
        for work in (update_index, read_info):
            with pytest.raises(NotFound, match="sonotheque index build") as caught:
                work(archive)
            assert caught.value.kind == "no_index"
    kit.commit(root, config, {"A/0-0.wav": np.zeros((0, kit.DIM), np.float32)})
    kit.snap(root, config)
    with Archive(root) as archive:
        assert open_index(archive).search(SearchQuery(ONE, 5)).hits == []
        with pytest.raises(Invalid, match="nothing to index"):
            build_index(archive)


@pytest.mark.parametrize(
    "vectors",
    [np.ones((1, 32)), np.zeros((1, 32)), np.zeros((70, 32)), np.ones((300, 32)), np.eye(32)[:2]],
    ids=["one", "one silent", "all silent", "all equal", "two"],
)
@pytest.mark.parametrize("kind", ["exact", "coded"])
def test_a_store_of_few_or_equal_vectors(tmp_path, monkeypatch, vectors, kind):
    kit.plans(monkeypatch, "lists")
    root, _ = kit.new_store(tmp_path, [{"A/0-0.wav": vectors.astype(np.float32)}])
    kit.build(root, kind=kind)
    with Archive(root) as archive:
        index, twin = open_index(archive), kit.Twin(archive)
        for k in (1, len(vectors), len(vectors) + 5):
            query = SearchQuery(ONE, k)
            kit.check(index.search(query), query, twin)


def test_vectors_of_float32_as_long_as_they_can_be(tmp_path, monkeypatch):
    kit.plans(monkeypatch, "codes")
    rng = np.random.default_rng(4)
    vectors = {s: kit.clustered(rng, 60) * np.float32(s) for s in (1e-42, 1e-25, 1.0, 1e25, 1e34)}
    parts = [{f"A/{n}-0.wav": v} for n, v in enumerate(vectors.values())]
    root, _ = kit.new_store(tmp_path, parts, kit.config_of(dtype="float32"))
    kit.build(root, kind="coded")
    with Archive(root) as archive:
        index, twin = open_index(archive), kit.Twin(archive)
        recalls = []
        for vector in kit.queries(8):
            for k in (20, 400):
                query = SearchQuery(vector, k)
                recalls.append(kit.check(index.search(query), query, twin))
        assert np.mean(recalls) > 0.95


# --- the index's files ---


def check_refused(root: str, *words: str, kind: type[SonothequeError] = Damaged) -> None:
    """An index that is refused: told with these words; searched without; made anew by a build."""
    with Archive(root) as archive:
        for work in (open_index, read_info, update_index):
            with pytest.raises(kind) as caught:
                work(archive)
            for word in words:
                assert word in caught.value.message, (word, caught.value.message)
            assert "index build" in caught.value.message
    check_repaired(root)


def check_repaired(root: str) -> None:
    query = SearchQuery(ONE, 40)
    with Archive(root) as archive:
        twin = kit.Twin(archive)
        kit.check(open_index(archive, ignore=True).search(query), query, twin)
        build_index(archive, IndexWishes(kind="coded"))
        index = open_index(archive)
        answer = index.search(query)
        assert answer.plan.index > 1
        kit.check(answer, query, twin)
        assert read_info(archive, deep=True).damaged == []


@pytest.mark.parametrize("how", ["missing", "empty", "short", "long"])
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_not_what_it_was(coded, name, how):
    path = index_file(coded, FILES[name])
    data = path.read_bytes()
    path.unlink()
    if how != "missing":
        path.write_bytes({"empty": b"", "short": data[:-1], "long": data + b"x"}[how])
    check_refused(coded, path.name, "is missing" if how == "missing" else f"index 1 wrote {len(data):,}")


@pytest.mark.parametrize("name", FILES)
def test_a_deep_check_names_a_flipped_bit(coded, name):
    path = index_file(coded, FILES[name])
    flip(path, path.stat().st_size // 2, 5)
    with Archive(coded) as archive:
        (told,) = read_info(archive, deep=True).damaged
        assert path.name in told and "was written as" in told
        if name != "clusters":
            assert read_info(archive).damaged == []
    check_repaired(coded)


def test_a_flip_at_every_place_of_the_clusters(coded):
    """It is refused by name, or was no harm; never another error, and never a wrong answer."""
    path = index_file(coded, FILES["clusters"])
    data = path.read_bytes()
    query, refused = SearchQuery(ONE, 20, exact=True), 0
    places = sorted({*range(300), *range(300, len(data), 37), *range(len(data) - 300, len(data))})
    with Archive(coded) as archive:
        expected = open_index(archive).search(query).hits
        for number, place in enumerate(places):
            path.write_bytes(data)
            flip(path, place, number % 8)
            try:
                index = open_index(archive)
            except Damaged as error:
                assert path.name in error.message and "index build" in error.message
                refused += 1
            else:
                assert index.search(query).hits == expected
    assert refused > len(places) // 2


_FLIPS = """
import sys
from pathlib import Path
from sonotheque.core.errors import Damaged
from store import Archive
from store.index import SearchQuery, open_index, searching
from tests.index import kit
root, path, first, last = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
searching.EXACT_ROWS = 0
data = path.read_bytes()
with Archive(root) as archive:
    twin = kit.Twin(archive)
    for place in range(first, last):
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        print(place, place % 8, flush=True)
        try:
            index = open_index(archive)
        except Damaged as error:
            assert path.name in error.message
            continue
        query = SearchQuery(kit.queries(1)[0], 20)
        try:
            answer = index.search(query)
        except Damaged as error:
            assert path.name in error.message
        else:
            kit.check(answer, query, twin)
"""


def test_a_flip_at_every_place_of_the_codes_head(coded):
    """In a process of its own: a library that trusts lengths which it reads would take the program down with it."""
    path = index_file(coded, FILES["codes"])
    command = [sys.executable, "-c", _FLIPS, coded, str(path), "0", "240"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, (done.returncode, done.stdout[-40:], done.stderr[-3000:])
    assert done.stdout.count("\n") == 240


def test_a_flip_at_every_place_of_the_list_of_files(coded):
    """It is refused, or was in white space: what is not refused is the very same version."""
    path = Path(coded, "index", "v1", "1.json")
    data = path.read_bytes()
    query, refused = SearchQuery(ONE, 20), 0
    places = range(0, len(data), max(1, len(data) // 500))
    with Archive(coded) as archive:
        index = open_index(archive)
        whole, expected = index.version, index.search(query).hits
        for number, place in enumerate(places):
            path.write_bytes(data)
            flip(path, place, number % 7)
            try:
                index = open_index(archive)
            except (Damaged, Conflict) as error:
                assert "index build" in error.message
                refused += 1
            else:
                assert index.version == whole
                assert index.search(query).hits == expected
    assert refused > 0.9 * len(places), (refused, len(places))


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", "7", '{"format_version": 1}', "\x00\x01", '{"format_version": "x"}'], ids=repr
)
def test_a_list_of_files_that_is_none(coded, text):
    Path(coded, "index", "v1", "1.json").write_text(text)
    check_refused(coded, "1.json")


def test_a_list_of_files_by_a_newer_release(coded):
    path = Path(coded, "index", "v1", "1.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 2}))
    check_refused(coded, "1.json", "newer release")


@pytest.mark.parametrize("what", ["table", "list"])
@pytest.mark.parametrize("how", ["missing", "empty", "half", "foreign", "flipped"])
def test_tables_of_windows_are_made_again(coded, what, how):
    """They follow from the parts and the metadata."""
    query = SearchQuery(ONE, 40, SearchFilter(sites=("Fen",)))
    with Archive(coded) as archive:
        open_index(archive)
    (path,) = Path(coded, "index", "v1").glob("windows-*.arrow" if what == "table" else "windows/*-i1.json")
    data = path.read_bytes()
    path.unlink()
    if how != "missing":
        path.write_bytes(
            {
                "empty": b"",
                "half": data[: len(data) // 2],
                "foreign": b"x" * len(data),
                "flipped": data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
            }[how]
        )
    for _ in range(2):
        with Archive(coded) as archive:
            kit.check(open_index(archive).search(query), query, kit.Twin(archive))
    assert path.exists() and (what == "list" or path.read_bytes() == data)


def test_a_deep_check_names_a_flip_in_a_table_of_windows(coded):
    """And a build makes another: the table would not be made again by itself, for its size is right."""
    with Archive(coded) as archive:
        open_index(archive)
        assert read_info(archive, deep=True).damaged == []
        (path,) = Path(coded, "index", "v1").glob("windows-*.arrow")
        flip(path, path.stat().st_size // 2, 2)
        (told,) = read_info(archive, deep=True).damaged
        assert path.name in told and "was written as" in told
    check_repaired(coded)


def other_store(folder: Path, **spec: object) -> str:
    """A store of the same size with another model, or other settings."""
    config = kit.config_of()
    config = replace(config, model=replace(config.model, **spec)) if spec else replace(config, top_k=1)
    root, _ = kit.new_store(folder, kit.parts_of(7, days=range(2)), config)
    kit.build(root, kind="coded")
    return root


def test_an_index_of_another_model_is_refused_with_both(coded, tmp_path):
    foreign = other_store(tmp_path, name="other", version="7", weights_digest="cd" * 32)
    shutil.rmtree(f"{coded}/index")
    shutil.copytree(f"{foreign}/index", f"{coded}/index")
    check_refused_foreign(coded, "other 7", "cdcdcdcdcdcd", "tiny 1", "abababababab", kind="model_conflict")


def test_an_index_of_another_store_is_refused_with_both(coded, tmp_path):
    foreign = other_store(tmp_path)
    shutil.rmtree(f"{coded}/index")
    shutil.copytree(f"{foreign}/index", f"{coded}/index")
    with Archive(coded) as here, Archive(foreign) as there:
        ids = here.config.digest[:12], there.config.digest[:12]
    check_refused_foreign(coded, *ids, kind="settings_conflict")


def check_refused_foreign(root: str, *words: str, kind: str) -> None:
    with Archive(root) as archive, pytest.raises(Conflict) as caught:
        open_index(archive)
    assert caught.value.kind == kind
    check_refused(root, *words, kind=Conflict)


def test_an_index_of_a_store_with_the_same_settings_holds_nothing_of_this_one(coded, tmp_path, monkeypatch):
    """It cannot be told from one whose parts are gone: none of its rows is found, and everything here is."""
    kit.plans(monkeypatch, "codes")
    foreign, _ = kit.new_store(tmp_path, kit.parts_of(7, days=range(5, 8)), kit.config_of(top_k=2))
    kit.build(foreign, kind="coded")
    shutil.rmtree(f"{coded}/index")
    shutil.copytree(f"{foreign}/index", f"{coded}/index")
    query = SearchQuery(ONE, 40)
    with Archive(coded) as archive:
        answer = open_index(archive).search(query)
        assert answer.plan.fresh == answer.plan.windows
        kit.check(answer, query, kit.Twin(archive))
        update_index(archive)
    with Archive(coded) as archive:
        answer = open_index(archive).search(query)
        assert answer.plan.fresh == 0
        kit.check(answer, query, kit.Twin(archive))


# --- parts ---


def test_a_part_that_goes_under_an_open_reader(coded, monkeypatch):
    """What is indexed is still answered. What is not says that the snapshot has gone, or which file is lost."""
    config = read_config(coded)
    with Archive(coded) as archive:
        index, twin = open_index(archive), kit.Twin(archive)
        query = SearchQuery(ONE, 30)
        twin.ordered(query)
        assert compact(coded).merged > 3
        kit.late(coded, config)
        assert collect_garbage(coded, grace_h=0, keep_snapshots=1, now=later(50)).parts > 3
        kit.check(index.search(query), query, twin)
    kit.add_fresh(coded, config)
    with Archive(coded) as archive:
        index = open_index(archive)
        (fresh,) = [p for p in load_ledger(coded).parts.values() if p.site == "New site"]
        os.unlink(f"{coded}/{fresh.embeddings}")
        with pytest.raises(SonothequeError) as caught:
            index.search(query)
        assert fresh.part_id in caught.value.message
        only = SearchQuery(ONE, 30, SearchFilter(sites=("Oak wood",)))
        assert len(index.search(only).hits) == 30
        with pytest.raises(SonothequeError, match=fresh.part_id):
            update_index(archive)


def test_damaged_parts_left_out_on_request_are_named(coded):
    config = read_config(coded)
    kit.add_fresh(coded, config)
    (fresh,) = [p for p in load_ledger(coded).parts.values() if p.site == "New site"]
    path = Path(coded, fresh.embeddings)
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:-20])
    shutil.rmtree(f"{coded}/catalog")
    with Archive(coded, skip_damaged=True) as archive:
        query = SearchQuery(ONE, 30)
        answer = open_index(archive).search(query)
        kit.check(answer, query, kit.Twin(archive))
        assert any("left out, as asked" in n and fresh.part_id in n for n in answer.plan.notes)
        for work in (update_index, build_index):
            work(archive)
            kit.check(open_index(archive).search(query), query, kit.Twin(archive))
