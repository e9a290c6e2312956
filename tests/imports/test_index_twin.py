"""The index and the choice of rows against a dumb twin: dicts, sorts and loops."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.imports import choosing
from cluster.imports.choosing import blocks, choose, first_rows, part_of
from cluster.imports.index import NAMES, ROWS, Described, Named, WindowIndex, Windows
from sonotheque.core.errors import Conflict
from sonotheque.core.ids import recording_id

row = st.tuples(st.integers(0, 5), st.integers(0, 6), st.integers(0, 40), st.integers(0, 3))


def fill(index: WindowIndex, rows: list[tuple[int, int, int, int]], keys: range) -> None:
    """Rows of (key, window, valid, mark); places count up, as files are written."""
    names = [{"key": k, "name": f"name{k}", "grp": k % 2, "note": ""} for k in keys]
    half = len(names) // 2
    index.add_names(pa.Table.from_pylist(names[: half + 1], NAMES))
    index.add_names(pa.Table.from_pylist(names[half:], NAMES))  # one of them twice, as in two files
    table = [{"key": k, "start": w * 50, "valid": v, "place": i, "mark": m} for i, (k, w, v, m) in enumerate(rows)]
    for part in (table[::2], table[1::2]):
        index.add_rows(pa.Table.from_pylist(part, ROWS))


def placed(named: Named) -> Described:
    path = f"s{named.key % 3}/p{named.key}"
    date = ["", "2025-05-11", "2025-05-10"][named.key % 3]
    stop = 130 if named.key == 4 else None
    return Described(recording_id(path), path, f"site{named.key % 2}", date, 1.5, stop, f"text{named.key}")


@settings(max_examples=20, deadline=None)
@given(rows=st.lists(row, max_size=40), least=st.integers(1, 12))
def test_what_is_ordered_counted_and_left_out(rows, least) -> None:
    keys = range(6)
    with WindowIndex() as index:
        fill(index, rows, keys)
        looked: list[tuple[int, int]] = []
        index.describe(placed, lambda *n: looked.append(n))
        left = index.settle(least)
        found = list(index.planned())
        assert looked[-1] == (6, 6)

        cut = {k: (130 if k == 4 else None) for k in keys}
        kept: dict[int, list[tuple[int, int, int]]] = {k: [] for k in keys}
        wanted = Counter()
        for place, (k, w, v, _) in enumerate(rows):
            valid = v if cut[k] is None else min(v, cut[k] - w * 50)
            if valid <= 0:
                wanted["beyond_end"] += 1
            elif valid < least:
                wanted["short"] += 1
            else:
                kept[k].append((w * 50, place, valid))
        assert left == {"short": wanted["short"], "beyond_end": wanted["beyond_end"]}
        described = {k: placed(Named(k, "", 0, "", 0, 0)) for k in keys}
        order = sorted(keys, key=lambda k: (described[k].site, described[k].date, described[k].path))
        assert [p.path for p in found] == [described[k].path for k in order]
        assert [p.number for p in found] == list(range(6))
        for p, k in zip(found, order, strict=True):
            assert (p.name, p.text, p.recording) == (f"name{k}", f"text{k}", described[k].recording)
            assert p.source_rows == sum(r[0] == k for r in rows)
            assert (p.rows, p.windows) == (len(kept[k]), len({s for s, _, _ in kept[k]}))
            assert p.stop == max((s + v for s, _, v in kept[k]), default=0)
            got = index.windows([p.number])
            assert list(zip(got.start.tolist(), got.place.tolist(), got.valid.tolist(), strict=True)) == sorted(kept[k])
            assert set(got.number.tolist()) <= {p.number}
        some = [found[0].number, found[3].number]
        assert set(index.windows(some).number.tolist()) <= set(some)
        assert index.totals() == (6, sum(p.windows for p in found), sum(p.rows for p in found), 9.0)
        assert index.ids().tolist() == sorted(d.recording for d in described.values())
        assert index.of_keys([1, 4, 99]) == {k: (described[k].recording, described[k].path) for k in (1, 4)}


@settings(max_examples=10, deadline=None)
@given(rows=st.lists(row.filter(lambda r: r[2] > 0), min_size=1, max_size=20), data=st.data())
def test_a_fingerprint_is_the_same_while_the_rows_are(rows, data) -> None:
    def prints(given_rows) -> dict[str, str]:
        with WindowIndex() as index:
            fill(index, given_rows, range(6))
            index.describe(placed, lambda *n: None)
            index.settle(1)
            return {p.path: p.fingerprint for p in index.planned()}

    before = prints(rows)
    assert prints(rows) == before
    at = data.draw(st.integers(0, len(rows) - 1))
    k, w, v, m = rows[at]
    changed = [*rows[:at], (k, w, v, m + 1), *rows[at + 1 :]]
    after = prints(changed)
    differing = {path for path in before if before[path] != after[path]}
    assert differing == ({placed(Named(k, "", 0, "", 0, 0)).path} if not (k == 4 and w * 50 >= 130) else set())


@settings(max_examples=15, deadline=None)
@given(rows=st.lists(row, max_size=30))
def test_the_hop_is_the_most_common_one(rows) -> None:
    with WindowIndex() as index:
        fill(index, rows, range(6))
        hops = Counter()
        for k in range(6):
            starts = sorted({w * 50 for key, w, _, _ in rows if key == k})
            hops.update(b - a for a, b in pairwise(starts))
        best = [h for h, n in hops.items() if n == max(hops.values())]
        assert (index.hop_samples() in best) if best else (index.hop_samples() is None)


class TestClashes:
    def described(self, groups: list[int], paths: list[str]) -> None:
        with WindowIndex() as index:
            names = [{"key": k, "name": f"n{k}", "grp": g, "note": "in: "} for k, g in enumerate(groups)]
            index.add_names(pa.Table.from_pylist(names, NAMES))
            index.describe(
                lambda n: Described(recording_id(paths[n.key]), paths[n.key], "s", "", 0.0, None, f"t{n.key}"),
                lambda *n: None,
            )
            index.settle(1)
            self.texts = [p.text for p in index.planned()]

    def test_one_path_of_two_groups(self) -> None:
        with pytest.raises(Conflict, match=r"stored as a: in: n0, and in: n1") as error:
            self.described([1, 2], ["a", "a"])
        assert error.value.kind == "path_conflict"

    def test_one_path_of_one_group_or_of_none(self) -> None:
        self.described([1, 1, 3], ["a", "a", "b"])
        assert self.texts == ["t0", "t2"]
        self.described([-1, 5, -1], ["a", "a", "a"])
        assert self.texts == ["t1"], "the one that belongs to a group speaks"

    def test_two_paths_with_one_id(self) -> None:
        with WindowIndex() as index:
            index.add_names(
                pa.Table.from_pylist([{"key": k, "name": f"n{k}", "grp": 0, "note": ""} for k in (1, 2)], NAMES)
            )
            with pytest.raises(Conflict, match="share an id"):
                index.describe(lambda n: Described(7, f"p{n.key}", "s", "", 0.0, None, ""), lambda *n: None)

    def test_two_names_with_one_key(self) -> None:
        with WindowIndex() as index:
            index.add_names(
                pa.Table.from_pylist([{"key": 1, "name": n, "grp": 0, "note": ""} for n in ("x", "y")], NAMES)
            )
            with pytest.raises(Conflict, match="x and y share a key"):
                index.describe(placed, lambda *n: None)


def test_its_folder_is_gone_afterwards(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with WindowIndex():
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


# Values 0 to 2 make vectors that are the same as often as not; 3 is not finite.
chosen_row = st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 3))


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(chosen_row, max_size=30), block=st.integers(1, 9))
def test_one_row_a_window(rows, block) -> None:
    values = [r[2] for r in rows]
    order = sorted(range(len(rows)), key=lambda i: (rows[i][0], rows[i][1], i))
    columns = [np.array([rows[i][c] for i in order], np.int64) for c in (0, 1)]
    given_rows = Windows(columns[0], columns[1], np.ones(len(rows), np.int64), np.array(order, np.int64))

    def vectors(places):
        out = np.array([[values[p], 1.0] for p in places], np.float32).reshape(-1, 2)
        out[out[:, 0] == 3, 0] = np.nan
        return out

    source = SimpleNamespace(vectors=vectors)
    windows: dict[tuple[int, int], list[int]] = {}
    for place, (n, w, _) in enumerate(rows):
        windows.setdefault((n, w), []).append(place)
    kept, dropped = {}, Counter()
    for key, places in windows.items():
        finite = [p for p in places if values[p] != 3]
        best = max(finite or places)
        if finite:
            kept[key] = best
        else:
            dropped["nonfinite", key[0]] += 1
        for p in places:
            if p != best:
                dropped["identical" if values[p] == values[best] else "differing", key[0]] += 1

    before = choosing.BLOCK_ROWS
    choosing.BLOCK_ROWS = block
    try:
        slices = list(blocks(given_rows))
    finally:
        choosing.BLOCK_ROWS = before
    assert [i for s in slices for i in range(s.start, s.stop)] == list(range(len(rows)))
    first = first_rows(given_rows)
    assert all(first[s.start] for s in slices), "no window is parted"
    found, counted = {}, Counter()
    for s in slices:
        here = part_of(given_rows, s)
        got = choose(here, source)
        assert np.isfinite(got.vectors).all()
        for i, vector in zip(got.kept.tolist(), got.vectors, strict=True):
            key = int(here.number[i]), int(here.start[i])
            assert key not in found
            found[key] = int(here.place[i])
            assert vector[0] == values[found[key]]
        for why, numbers in got.dropped.items():
            counted.update((why, n) for n in numbers.tolist())
    assert list(found) == sorted(kept)
    assert found == kept
    assert counted == dropped
