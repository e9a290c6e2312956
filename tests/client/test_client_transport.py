"""Requests, retries and errors, against answers that are made up."""

from __future__ import annotations

import io
import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_api.http.errors import error_json
from sonotheque.client import Client
from sonotheque.client.asking import FILTERS, filter_json, filter_params
from sonotheque.client.faults import fault_of, fault_of_kind
from sonotheque.client.jobs import events_of
from sonotheque.client.nouns import Hit, JobEvent, Window
from sonotheque.client.paging import Pages, Rows
from sonotheque.client.transport import WAIT_MAX_S, Transport
from sonotheque.core import errors
from sonotheque.core.errors import (
    CLASS_OF_KIND,
    HTTP_STATUS,
    KINDS,
    Conflict,
    Invalid,
    Limit,
    NotFound,
    Refused,
    SonothequeError,
    Unavailable,
)
from sonotheque.core.filters import SearchFilter


class Service:
    """Answers in turn; remembers what it was asked."""

    def __init__(self, *answers):
        self.answers, self.asked, self.slept = list(answers), [], []

    def __call__(self, request):
        request.read()
        self.asked.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        status, body, *headers = answer
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return httpx.Response(status, content=content, headers=headers[0] if headers else {})

    def transport(self, key=None, retries=4):
        http = httpx.Client(transport=httpx.MockTransport(self))
        return Transport("http://archive.test", key, http=http, retries=retries, sleep=self.slept.append)

    def client(self, key=None):
        made = Client("http://archive.test", key, http=httpx.Client(transport=httpx.MockTransport(self)))
        made._transport._sleep = self.slept.append
        return made


def ok(data, **meta):
    return 200, {"data": data, "meta": {"next": None, "notes": [], **meta}}


def fault(status, kind, message="because", **headers):
    return status, error_json(kind, message, "r-1"), headers


STREAM = {"content-type": "text/event-stream; charset=utf-8"}
ANY = [NotFound, Invalid, Conflict, Unavailable, errors.Damaged, Limit, Refused]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_comes_back_as_it_was(kind):
    """What the service raises is what the caller gets, for every class that could carry the kind."""
    for one in ANY:
        raised = one("message", kind=kind)
        found = fault_of(raised.status, json.dumps(error_json(kind, "message", "r-1")).encode())
        assert (found.kind, found.message) == (kind, "message")
        assert "request r-1" in found.__notes__
        natural = HTTP_STATUS.get(kind) is None
        if natural:
            assert type(found) is one or one is errors.Damaged or kind == "damaged"
    alone = fault_of_kind(kind, "message")
    assert alone.kind == kind and type(alone) is CLASS_OF_KIND[kind]
    if kind in {one.default_kind for one in ANY}:
        assert alone.kind == type(alone).default_kind


def test_a_kind_of_a_later_service_may_work_later():
    for kind in ("", "of a later service"):
        found = fault_of_kind(kind, "message")
        assert type(found) is Unavailable and found.kind == "unavailable"


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (401, "unauthorized", Refused),
        (403, "forbidden", Refused),
        (404, "not_found", NotFound),
        (408, "timeout", Unavailable),
        (409, "conflict", Conflict),
        (413, "too_large", Limit),
        (415, "unsupported_audio", Invalid),
        (422, "invalid", Invalid),
        (429, "rate_limited", Limit),
        (500, "damaged", errors.Damaged),
        (500, "internal", Unavailable),
        (503, "overloaded", Unavailable),
        (418, "of a later service", Invalid),
    ],
)
def test_classes(status, kind, expected):
    found = fault_of(status, json.dumps(error_json(kind, "why", None)).encode())
    assert type(found) is expected and found.message == "why"
    assert found.kind == (kind if kind in KINDS else expected.default_kind)


def test_fields_of_wrong_values_are_notes():
    body = error_json("invalid", "the request has a wrong value", "r", [{"where": "query.k", "message": "too small"}])
    assert fault_of(422, json.dumps(body).encode()).__notes__ == ["query.k: too small", "request r"]


@given(
    st.binary(max_size=60)
    | st.sampled_from([b"", b"null", b"[]", b'{"error": null}', b'{"error": "x"}', b"<html>502 Bad Gateway</html>"])
)
def test_answers_of_something_else_in_between(body):
    found = fault_of(502, body)
    assert isinstance(found, Unavailable) and "502" in found.message


@pytest.mark.parametrize("status", [429, 503])
def test_what_there_is_no_room_for_is_asked_again(status):
    service = Service(
        fault(status, "overloaded", **{"retry-after": "2"}), fault(status, "overloaded", **{"retry-after": "3"}), ok(1)
    )
    assert service.transport().get("/v1")["data"] == 1
    assert len(service.asked) == 3
    assert 2 <= service.slept[0] <= 2.5 and 3 <= service.slept[1] <= 3.75


def test_waits_are_bounded_and_so_are_tries():
    service = Service(fault(503, "overloaded", **{"retry-after": "86400"}))
    with pytest.raises(Unavailable) as error:
        service.transport(retries=2).get("/v1")
    assert error.value.kind == "overloaded"
    assert len(service.asked) == 3 and max(service.slept) <= 1.25 * WAIT_MAX_S
    for told in ("Wed, 21 Oct 2026 07:28:00 GMT", "-5", ""):
        service = Service(fault(503, "overloaded", **{"retry-after": told}), ok(1))
        assert service.transport().get("/v1")["data"] == 1
        assert 0.1 <= service.slept[0] <= 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 408, 409, 413, 415, 422, 500, 502])
def test_nothing_else_is_asked_again(status):
    service = Service(fault(status, "invalid"))
    with pytest.raises(SonothequeError):
        service.transport().get("/v1")
    assert len(service.asked) == 1 and not service.slept


def test_a_service_that_is_away():
    for problem, kind in ((httpx.ConnectError("refused"), "unavailable"), (httpx.ReadTimeout("slow"), "timeout")):
        with pytest.raises(Unavailable, match=r"archive\.test") as error:
            Service(problem).transport().get("/v1")
        assert error.value.kind == kind
    with Client("http://127.0.0.1:1", timeout_s=2) as client, pytest.raises(Unavailable, match="sonotheque serve"):
        client.info()
    with pytest.raises(Invalid, match="http://"):
        Client("archive.test")


def test_the_key_is_in_a_header_and_never_in_an_address():
    service = Service(ok({}))
    service.client("s3cret").info()
    (asked,) = service.asked
    assert asked.headers["authorization"] == "Bearer s3cret" and "s3cret" not in str(asked.url)
    service = Service(ok({}))
    service.client().info()
    assert "authorization" not in service.asked[0].headers


def test_uploads_are_sent_whole_again(tmp_path):
    path = tmp_path / "é call.wav"
    path.write_bytes(b"RIFF" + bytes(300_000))
    for sound in (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), path.open("rb")):
        service = Service(fault(503, "overloaded"), ok({"clip_id": "c"}))
        assert service.client().upload(sound)["clip_id"] == "c"
        assert [r.content for r in service.asked] == [path.read_bytes()] * 2
        assert service.asked[0].headers["content-length"] == "300004"
        named = isinstance(sound, type(path) | str)
        assert service.asked[0].url.params.get("name") == ("é call.wav" if named else None)
    with pytest.raises(NotFound, match="no such file"):
        Service(ok({})).client().upload(tmp_path / "missing.wav")


def test_search_as_parameters_and_as_json(tmp_path):
    found = {"query": {}, "hits": [], "plan": {}, "logged": None}
    sound = tmp_path / "a.wav"
    sound.write_bytes(b"x")
    service = Service(ok(found))
    client = service.client()
    client.search(
        sound,
        k=3,
        exact=True,
        without=["a.wav", "b.wav"],
        sites="forest",
        months=[5, 6],
        hours="22:00-04:00",
        annotated=False,
    )
    params = service.asked[0].url.params
    assert params.multi_items() == [
        ("site", "forest"), ("month", "5"), ("month", "6"), ("hours", "22:00-04:00"), ("annotated", "false"),
        ("k", "3"), ("without", "a.wav"), ("without", "b.wav"), ("exact", "true"), ("name", "a.wav"),
    ]  # fmt: skip
    window = Window("1:2", "1", "a.wav", None, None, 0.0, 3.0, None, None, None, None)
    client.search(window=window, k=3, site=["forest"], score_min=0.5)
    assert json.loads(service.asked[1].content) == {
        "window": "1:2",
        "k": 3,
        "filter": {"sites": ["forest"], "score_min": 0.5},
    }
    client.search(vector=[1.0, 2.0])
    assert json.loads(service.asked[2].content) == {"vector": [1.0, 2.0], "filter": {}}
    for wrong in ({}, {"window": "1:2", "clip": "c"}):
        with pytest.raises(Invalid, match="give one of"):
            client.search(**wrong)
    with pytest.raises(Invalid, match="did you mean score_min"):
        client.search(window="1:2", scoremin=0.5)
    assert len(service.asked) == 3


def test_every_filter_of_the_archive_can_be_given():
    assert set(FILTERS) == set(SearchFilter.__dataclass_fields__)


@given(st.dictionaries(st.sampled_from(sorted(FILTERS)), st.sampled_from(["a", 1, True, None]), max_size=5))
def test_filters_in_an_address_are_those_in_json(given_):
    body, params = filter_json(given_), filter_params(given_)
    assert {FILTERS[k]: v for k, v in body.items()} == params
    assert all(v is not None for v in body.values())
    assert {k for k, v in given_.items() if v is not None} == set(body)


def pages_of(rows, size):
    """The dumb service: numbered pages."""

    def fetch(cursor):
        start = int(cursor or 0)
        return rows[start : start + size], str(start + size) if start + size < len(rows) else None

    return fetch


@given(st.lists(st.integers(), max_size=30), st.integers(1, 7), st.none() | st.integers(0, 35))
def test_pages_are_the_whole_list(rows, size, limit):
    found = Pages(pages_of([{"n": n} for n in rows], size), lambda row: row["n"], limit)
    expected = rows if limit is None else rows[:limit]
    assert list(found) == list(found) == expected
    assert found.all() == expected


def test_pages_stop_asking_when_they_have_enough():
    asked = []
    fetch = pages_of([{"n": n} for n in range(100)], 10)

    def counted(cursor):
        asked.append(cursor)
        return fetch(cursor)

    assert len(list(Pages(counted, dict, 20))) == 20
    assert asked == [None, "10"]
    service = Service(ok([], next=None))
    list(service.client().windows(limit=7, site="forest"))
    assert dict(service.asked[0].url.params) == {"site": "forest", "limit": "7"}


@given(st.lists(st.integers(), max_size=8), st.slices(8))
def test_rows_are_a_list(items, part):
    rows = Rows(items)
    assert list(rows) == items and len(rows) == len(items) and rows == items
    assert list(rows[part]) == items[part]


WIRE = {
    "window_id": "1:2", "recording_id": "1", "path": "a/b.wav", "site": "a", "deployment": None, "start_s": 1.0, "end_s": 4.0, "valid_s": 3.0,
    "utc_start": "2025-05-10T02:12:00Z", "local_start": "2025-05-10T04:12:00+02:00", "date": "2025-05-10", "rank": 1, "score": 0.9, "exact": True,
    "query": 0, "annotations": [{"annotation_id": 1, "label": "owl", "judgement": "positive", "annotator": "Ann"}], "novelty": 1,
}  # fmt: skip


def test_nouns_and_tables():
    hit = Hit.of(WIRE)
    assert hit.utc_start == hit.local_start and hit.local_start.utcoffset().total_seconds() == 7200
    assert hit.date.isoformat() == "2025-05-10" and hit.more == {"novelty": 1}
    assert (
        Hit.of({**WIRE, "utc_start": None, "local_start": "2025-05-10T04:12:00", "date": None}).local_start.tzinfo
        is None
    )
    table = Rows([hit, hit]).to_polars()
    assert table.height == 2 and table["score"].to_list() == [0.9, 0.9] and table["annotations"][0] == "owl: positive"
    assert list(Rows([hit]).to_pandas()["window_id"]) == ["1:2"]
    assert Rows([]).to_polars().height == 0


def streamed(events):
    """The dumb writer of an event stream."""
    lines = []
    for event in events:
        lines += [": still here", ""]
        if event.event_id is not None:
            lines.append(f"id: {event.event_id}")
        lines += [f"event: {event.name}", f"data: {json.dumps(event.data)}", ""]
    return lines


@given(
    st.lists(
        st.builds(
            JobEvent,
            st.sampled_from(["state", "progress"]),
            st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3),
        )
    ),
    st.integers(0, 5),
)
def test_events(events, cut):
    lines = streamed(events)
    assert list(events_of(lines)) == events
    kept = list(events_of(lines[: len(lines) - cut] if cut else lines))
    assert kept == events[: len(kept)] and len(kept) >= len(events) - max(1, cut)


def test_a_watch_that_breaks_goes_on_where_it_broke(monkeypatch):
    import sonotheque.client.jobs as jobs

    monkeypatch.setattr(jobs, "_PAUSE_S", 0.0)
    first = b'id: 7\nevent: progress\ndata: {"done": 1}\n\n'
    second = b'id: 9\nevent: state\ndata: {"state": "finished"}\n\n'
    seen = []

    def answer(request):
        if request.url.path.endswith("/events"):
            seen.append(request.headers.get("last-event-id"))
            return httpx.Response(200, content=first if len(seen) == 1 else second, headers=STREAM)
        state = "running" if len(seen) == 1 else "finished"
        return httpx.Response(200, json=ok({"job_id": "j", "kind": "train", "state": state, "title": "t"})[1])

    client = Client("http://archive.test", http=httpx.Client(transport=httpx.MockTransport(answer)))
    assert [e.data for e in client.jobs.watch("j")] == [{"done": 1}, {"state": "finished"}]
    assert seen == [None, "7"]


def test_a_job_that_failed_raises_what_ended_it():
    told = {"kind": "invalid", "message": "not enough windows were judged"}
    service = Service(
        (200, b"", STREAM), ok({"job_id": "j", "kind": "train", "state": "failed", "title": "t", "error": told})
    )
    with pytest.raises(Invalid, match="not enough"):
        service.client().jobs.wait("j")


def test_a_report_is_saved_whole_and_a_refusal_leaves_no_file(tmp_path):
    service = Service((200, b"path,kind\na.wav,truncated\n"))
    assert service.client().jobs.save_report("j", tmp_path / "report.csv", failed=True) == 26
    assert (tmp_path / "report.csv").read_bytes() == b"path,kind\na.wav,truncated\n"
    assert dict(service.asked[0].url.params) == {"form": "csv", "failed": "true"}
    refused = Service((404, {"error": {"kind": "not_found", "message": "there is no job j"}}))
    with pytest.raises(NotFound):
        refused.client().jobs.save_report("j", tmp_path / "none.csv")
    assert not (tmp_path / "none.csv").exists()


def test_names_in_addresses_are_quoted():
    service = Service(ok({"versions": [1, 3]}))
    service.client().probes.report("owl / été?")
    assert [r.url.raw_path for r in service.asked] == [
        b"/v1/probes/owl%20%2F%20%C3%A9t%C3%A9%3F",
        b"/v1/probes/owl%20%2F%20%C3%A9t%C3%A9%3F/versions/3",
    ]
