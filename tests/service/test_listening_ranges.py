"""Parts of a file by HTTP Range, against the standard and against slices."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_api.listening.ranges import ByteRange, Unsatisfiable, known_tags, wanted_range

TAG = '"abc"'


def part(header, size, if_range=None):
    return wanted_range(header, if_range, size, TAG)


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [
        ("bytes=0-", 0, 99),
        ("bytes=0-0", 0, 0),
        ("bytes=10-19", 10, 19),
        ("bytes=90-1000", 90, 99),
        ("bytes=99-", 99, 99),
        ("bytes=-1", 99, 99),
        ("bytes=-30", 70, 99),
        ("bytes=-1000", 0, 99),
        ("bytes=-999999999999999999", 0, 99),
        ("bytes=5-999999999999999999", 5, 99),
        ("Bytes= 5-6 ", 5, 6),
    ],
)
def test_one_range(header, first, last):
    found = part(header, 100)
    assert found == ByteRange(first, last, 100)
    assert found.content_range == f"bytes {first}-{last}/100"


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=999999999999999999-", "bytes=-0"])
def test_none_of_it_is_there(header):
    with pytest.raises(Unsatisfiable) as told:
        part(header, 100)
    assert told.value.status == 416 and told.value.headers == {"Content-Range": "bytes */100"}


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=-5"])
def test_an_empty_file_has_no_range(header):
    with pytest.raises(Unsatisfiable):
        part(header, 0)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=--1",
        "bytes=5-4",
        "bytes=0-0,-1",
        "bytes=0-1,2-3",
        "bytes=" + ",".join("0-" for _ in range(1000)),
        "bytes=a-b",
        "bytes=0x1-2",
        "bytes=1.5-2",
        "bytes=+1-2",
        "bytes=1 - 2",
        "bytes=٣-٤",
        "bytes=9999999999999999999999-",
        "bytes=-" + "9" * 3000,
        "bytes=" + " " * 100_000 + "0-1",
        "items=0-5",
        "bytes=0-5\n",
    ],
    ids=lambda h: repr(h)[:30],
)
def test_what_is_not_one_range_is_left_aside(header):
    assert part(header, 100) is None


def test_a_range_of_another_version_is_the_whole():
    assert part("bytes=0-5", 100, TAG) == ByteRange(0, 5, 100)
    for other in ('"abd"', 'W/"abc"', "abc", "", "Sat, 21 Nov 2026 14:35:27 GMT"):
        assert part("bytes=0-5", 100, other) is None
        assert part("bytes=900-", 100, other) is None


@given(st.binary(min_size=1, max_size=400), st.lists(st.integers(1, 100), min_size=1))
def test_parts_one_after_the_other_are_the_whole(data, lengths):
    got, at, turn = b"", 0, 0
    while at < len(data):
        found = part(f"bytes={at}-{at + lengths[turn % len(lengths)] - 1}", len(data))
        got += data[found.first : found.last + 1]
        at, turn = found.last + 1, turn + 1
    assert got == data
    with pytest.raises(Unsatisfiable):
        part(f"bytes={at}-", len(data))


@given(st.integers(0, 200), st.text(max_size=30) | st.from_regex(r"bytes=[0-9]{0,20}-[0-9]{0,20}", fullmatch=True))
def test_whatever_is_asked_lies_inside(size, header):
    try:
        found = part(header, size)
    except Unsatisfiable:
        return
    assert found is None or 0 <= found.first <= found.last < size


@given(st.integers(1, 1000), st.integers(1, 2000))
def test_a_suffix_is_a_slice_from_the_end(size, length):
    found = part(f"bytes=-{length}", size)
    data = list(range(size))
    assert data[found.first : found.last + 1] == data[-length:]


@pytest.mark.parametrize(
    ("header", "tags"),
    [
        (None, set()),
        ("", set()),
        ("*", {"*"}),
        (TAG, {TAG}),
        ('W/"abc", "d,e"', {TAG, '"d,e"'}),
        ("abc", set()),
        ('"' * 5000, set()),
    ],
    ids=lambda v: repr(v)[:20] if isinstance(v, str | None) else f"{len(v)} tags",
)
def test_tags_that_a_caller_has(header, tags):
    assert known_tags(header) == tags
