"""The page's small parts, called in a browser: times, numbers, labels, axes, filters, hours, files, streams, WAV."""

from __future__ import annotations

import csv
import io
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import librosa
import numpy as np
import pytest
import soundfile as sf
import uvicorn
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from search_api.http.routes.pages import page_routes
from sonotheque.core.filters import HourSpan, SearchFilter

CALL = """async ([module, name, args]) => {
    const func = (await import('/ui/js/' + module + '.js'))[name];
    return func(...args.map((one) => (one?.query === undefined ? one : new URLSearchParams(one.query))));
}"""


@pytest.fixture(scope="module")
def parts(browser) -> Iterator[Callable[..., Any]]:
    """Return a caller of the page's functions: module, name, values; ``{"query": text}`` stands for an address's parameters."""
    app = FastAPI()
    app.include_router(page_routes())
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    page = browser.new_page()
    page.goto(f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/ui/icons/sonotheque.svg")

    def call(module: str, name: str, *args: Any) -> Any:
        return page.evaluate(CALL, [module, name, list(args)])

    call.page = page
    yield call
    page.close()
    server.should_exit = True
    thread.join(timeout=20)


@pytest.mark.parametrize(
    ("name", "args", "told"),
    [
        ("localTime", ["2025-05-10T04:12:00+02:00"], "2025-05-10 04:12:00"),
        ("localTime", ["2025-05-10T04:12:00"], "2025-05-10 04:12:00"),
        ("localTime", ["2025-05-10T23:59:59.999-11:30", {"seconds": False}], "2025-05-10 23:59"),
        ("localTime", [None], "time unknown"),
        ("day", ["2025-05-01"], "1 May 2025"),
        ("day", [None], "no date"),
        ("offset", [0], "0:00"),
        ("offset", [75.5], "1:15.5"),
        ("offset", [59.96], "1:00"),
        ("offset", [3675], "1:01:15"),
        ("seconds", [12.34], "12.3 s"),
        ("duration", [5400], "1.5 h"),
        ("duration", [None], "–"),
        ("kHz", [8000], "8 kHz"),
        ("kHz", [250, False], "0.25"),
        ("count", [1234567], "1,234,567"),
        ("count", [None], "–"),
        ("plural", [1, "window"], "1 window"),
        ("plural", [2, "window"], "2 windows"),
        ("percent", [0.873], "87 %"),
        ("bytes", [26_214_400], "26 MB"),
        ("took", [12.4], "12 ms"),
        ("took", [1240], "1.2 s"),
        ("speciesName", ["Parus major_Great Tit"], "Great Tit"),
        ("speciesName", ["train whistle"], "train whistle"),
        ("speciesName", ["_odd"], "_odd"),
        ("fileName", ["a/b/c.wav"], "c.wav"),
        ("safeName", ["wood pigeon/1:2"], "wood_pigeon_1_2"),
    ],
)
def test_values_as_people_read_them(parts, name, args, told):
    assert parts("core/format", name, *args) == told


def test_the_mel_scale_is_librosas(parts):
    for hz in (0.0, 200.0, 999.0, 1000.0, 4000.0, 12000.0, 48000.0):
        assert parts("components/scales", "mel", hz) == pytest.approx(float(librosa.hz_to_mel(hz)), rel=1e-6)
        back = parts(
            "components/scales", "hzAt", parts("components/scales", "heightOf", hz, 0, 50000, "mel"), 0, 50000, "mel"
        )
        assert back == pytest.approx(hz, abs=0.01)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(low=st.floats(0, 1e5), span=st.floats(0.01, 1e5), wanted=st.integers(2, 12))
def test_ticks_are_round_rising_and_inside(parts, low, span, wanted):
    for name in ("ticks", "timeTicks"):
        found = parts("components/scales", name, low, low + span, wanted)
        assert all(low - 1e-3 <= x <= low + span + 1e-3 for x in found)
        assert found == sorted(set(found))
        assert len(found) <= 3 * wanted + 2


def test_the_filter_of_the_address_is_the_services_filter(parts):
    """What the page sends is taken by `SearchFilter` as it is, and means what the address says."""

    def sent(query: str) -> dict[str, Any]:
        return parts("components/filter_values", "filterJson", {"query": query})

    found = SearchFilter.from_texts(
        sent(
            "site=a&site=b&deployment=d&recording=x*&date_from=2025-05-01&date_to=2025-05-31&month=5&month=6"
            "&hours=22:00-04:00&label=Strix aluco&score_min=0.5&score_max=0.9&rank_max=1&annotated=true"
            "&annotation_label=owl&judgement=positive&overlap_min_s=1&valid_min_s=2&sun=sunset..sunrise&k=20&sel=1:2"
        )
    )
    assert (found.sites, found.months, str(found.hours)) == (("a", "b"), (5, 6), "22:00-04:00")
    assert (found.label, found.score_min, found.score_max, found.rank_max) == ("Strix aluco", 0.5, 0.9, 1)
    assert (found.annotated, found.annotation_label, found.judgement) == (True, "owl", "positive")
    assert (found.overlap_min_s, found.valid_min_s, str(found.date_to)) == (1.0, 2.0, "2025-05-31")
    assert SearchFilter.from_texts(sent("annotated=false")).annotated is False
    assert sent("k=20&density=2&as=owl") == {}


def test_every_field_of_the_filter_has_a_name_in_the_address_and_words(parts):
    names = {f.name for f in fields(SearchFilter)}
    query = "site=x&deployment=x&recording=x&date_from=2025-05-01&date_to=2025-05-02&month=5&hours=04:00-06:00&sun=s&label=x"
    query += "&score_min=0&score_max=1&rank_max=1&annotated=true&annotation_label=x&judgement=positive&overlap_min_s=1&valid_min_s=1"
    assert set(parts("components/filter_values", "filterJson", {"query": query})) == names
    words = parts("components/filter_values", "filterWords", {"query": query})
    gone = {name for word in words for name in word["without"]}
    assert gone == {pair.split("=")[0] for pair in query.split("&")}
    assert set(parts("components/filter_values", "noFilter")) == gone


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.integers(0, 48), end=st.integers(0, 48))
def test_hours_are_a_span_that_the_service_takes_or_the_whole_day(parts, start, end):
    low, high = 30 * start, 30 * end
    text = parts("components/hours", "hoursText", {"from": low, "to": high})
    inside = {m % 1440 for m in (range(low, high) if low < high else [*range(low, 1440), *range(high)])}
    if text is None:
        assert low == high or len(inside) in (0, 1440)
        return
    span = HourSpan.parse(text)
    meant = (
        range(span.from_min, span.to_min)
        if span.from_min < span.to_min
        else [*range(span.from_min, 1440), *range(span.to_min)]
    )
    assert set(meant) == inside
    again = parts("components/hours", "parseHours", text)
    assert parts("components/hours", "hoursText", again) == text


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("", None),
        ("clip=c", {"clip": "c", "k": 50, "filter": {}}),
        ("clip=c&from=1&to=2.5", {"clip": "c", "from_s": 1, "to_s": 2.5, "k": 50, "filter": {}}),
        ("window=1:2&own=1", {"window": "1:2", "k": 50, "filter": {}, "own_recording": True}),
        ("clip=c&own=1&k=abc", {"clip": "c", "k": 50, "filter": {}}),
        (
            "clip=c&k=20&best_per=site&distinct=0.95&near=0.5&combine=mean&exact=1&site=s",
            {"clip": "c", "k": 20, "filter": {"sites": ["s"]}, "best_per": "site", "distinct": 0.95}
            | {"near_score": 0.5, "combine": "mean", "exact": True},
        ),
    ],
)
def test_a_search_is_what_the_address_says(parts, query, body):
    assert parts("views/search/state", "searchBody", {"query": query}) == body


HIT = {
    "rank": 1,
    "score": 0.5,
    "path": 'a,"b"/c.wav',
    "site": "=HYPERLINK(1)",
    "deployment": None,
    "local_start": "2025-05-10T04:12:00+02:00",
    "utc_start": "2025-05-10T02:12:00Z",
    "start_s": 3.0,
    "end_s": 6.0,
    "label": "a\tb",
    "judgement": "positive",
    "annotator": "Ana",
    "window_id": "12:144000",
    "recording_id": "12",
    "exact": True,
}


def test_a_table_can_be_read_back_and_no_cell_is_a_formula(parts):
    rows = list(csv.DictReader(io.StringIO(parts("views/search/files", "toCsv", [HIT]))))
    assert rows[0]["path"] == HIT["path"]
    assert rows[0]["site"] == "'=HYPERLINK(1)"
    assert (rows[0]["deployment"], rows[0]["start_s"]) == ("", "3")
    assert rows[0]["audio"].endswith("/v1/windows/12%3A144000/audio?form=wav")


def test_a_raven_table_has_its_columns_and_no_broken_rows(parts):
    rows = list(
        csv.reader(
            io.StringIO(parts("views/search/files", "toRaven", [HIT, HIT], 24000)),
            delimiter="\t",
            quoting=csv.QUOTE_NONE,
        )
    )
    assert rows[0][:7] == [
        "Selection",
        "View",
        "Channel",
        "Begin Time (s)",
        "End Time (s)",
        "Low Freq (Hz)",
        "High Freq (Hz)",
    ]
    assert {len(row) for row in rows} == {12}
    assert [row[0] for row in rows[1:]] == ["1", "2"]
    assert rows[1][3:7] == ["3.000000", "6.000000", "0.0", "24000.0"]
    assert rows[1][9] == "a b"


@pytest.mark.parametrize(
    ("block", "event"),
    [
        (": heartbeat", None),
        ('id: 7\nevent: progress\ndata: {"done": 3}', {"id": "7", "type": "progress", "data": {"done": 3}}),
        ("data: one\ndata: two", {"id": "", "type": "message", "data": "one\ntwo"}),
        ("event: state\ndata:plain", {"id": "", "type": "state", "data": "plain"}),
        ("id: 8", None),
    ],
)
def test_events_of_a_stream_are_read(parts, block, event):
    assert parts("core/sse", "parse", block) == event


def test_a_recorded_sound_becomes_a_wav_that_is_the_sound(parts):
    make = """async ([channels, rate]) => {
        const { encodeWav } = await import('/ui/js/core/wav.js');
        const blob = encodeWav(channels.map((one) => new Float32Array(one)), rate);
        return [...new Uint8Array(await blob.arrayBuffer())];
    }"""
    wave = np.sin(np.arange(480) / 7.0).astype(np.float32)
    data = parts.page.evaluate(make, [[wave.tolist(), (-wave).tolist()], 48000])
    back, rate = sf.read(io.BytesIO(bytes(data)), dtype="float32")
    assert rate == 48000
    assert back.shape == (480, 2)
    np.testing.assert_allclose(back[:, 0], wave, atol=2 / 32768)
    loud = parts.page.evaluate(make, [[[2.0, -2.0]], 8000])
    assert struct.unpack("<2h", bytes(loud[44:])) == (32767, -32767)
