"""The per-recording report in its three formats, and sums that always add up."""

from __future__ import annotations

import csv
import json
import re
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.report import COLUMNS, ReportWriter, Tally, export_rows, read_rows, row, start_text
from sonotheque.core.outcome import MEANING, DecodeSummary, Outcome, Status, TopLabel
from sonotheque.core.recording import Recording, RecordingTime, SourceFile
from store import ledger_entry

NAMES = [
    "a.wav",
    "=1+1.wav",
    "+2.wav",
    "-3.wav",
    "@SUM(A1).wav",
    "\tx.wav",
    "a,b;c\"d'.wav",
    "new\nline.wav",
    "é 鳥.wav",
    "http://x.wav",
    "1.wav",
]


def one(path: str, **more: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "path": path,
        "outcome": "done",
        "status": "ok",
        "reason": "",
        "site": "s",
        "start": "2024-05-01T04:00:00+02:00",
        "time_source": "name",
        "time_issues": "",
        "duration_s": 4.125,
        "windows": 2,
        "seconds": 0.25,
        "top_label": "placeholder:low",
        "top_score": 0.5,
    }
    assert set(values) == set(COLUMNS)
    return {**values, **more}


ROWS = [one(name, top_score="" if i % 2 else 0.5, windows=i) for i, name in enumerate(NAMES)]


def read_xlsx(path: Path) -> list[list[Any]]:
    """Read a sheet back with nothing but the standard library: text as str, numbers as float, formulas as a failure."""
    ns = {"m": "http://schemas.openxmlformats.org/spreadsheetml/2006/main"}
    with zipfile.ZipFile(path) as book:
        sheet = ElementTree.fromstring(book.read("xl/worksheets/sheet1.xml"))
        shared: list[str] = []
        if "xl/sharedStrings.xml" in book.namelist():
            strings = ElementTree.fromstring(book.read("xl/sharedStrings.xml"))
            shared = ["".join(t.text or "" for t in s.iter(f"{{{ns['m']}}}t")) for s in strings.findall("m:si", ns)]
    assert sheet.find(".//m:f", ns) is None
    out = []
    for line in sheet.iterfind(".//m:row", ns):
        cells: dict[int, Any] = {}
        for cell in line.iterfind("m:c", ns):
            letters = re.sub(r"\d", "", cell.attrib["r"])
            column = sum((ord(c) - 64) * 26**i for i, c in enumerate(reversed(letters))) - 1
            if cell.attrib.get("t") == "inlineStr":
                cells[column] = "".join(t.text or "" for t in cell.iter(f"{{{ns['m']}}}t"))
            elif cell.attrib.get("t") == "s":
                cells[column] = shared[int(cell.findtext("m:v", "0", ns))]
            else:
                text = cell.findtext("m:v", None, ns)
                cells[column] = "" if text is None else float(text)
        out.append([cells.get(i, "") for i in range(len(COLUMNS))])
    return out


def test_three_formats_say_the_same(tmp_path: Path) -> None:
    assert [export_rows(ROWS, tmp_path / f"r.{e}") for e in ("csv", "jsonl", "xlsx")] == [len(ROWS)] * 3
    jsonl = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text(encoding="utf-8").splitlines()]
    assert jsonl == ROWS
    with (tmp_path / "r.csv").open(encoding="utf-8", newline="") as handle:
        table = list(csv.reader(handle))
    assert table[0] == list(COLUMNS)
    for found, row_ in zip(table[1:], ROWS, strict=True):
        wanted = [str(row_[c]) for c in COLUMNS]
        wanted[0] = f"'{wanted[0]}" if wanted[0][0] in "=+-@\t\r" else wanted[0]
        assert found == wanted
    sheet = read_xlsx(tmp_path / "r.xlsx")
    assert sheet == [list(COLUMNS), *([r[c] for c in COLUMNS] for r in ROWS)]


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t=", "\r=", "\n", "\n="])
def test_no_spreadsheet_runs_a_name_or_the_words_of_a_failure(tmp_path: Path, first: str) -> None:
    failed = one(f"{first}1.wav", outcome="failed", status="undecodable", reason=f"{first}2", site=f"{first}3")
    export_rows([failed], tmp_path / "r.csv")
    writer = ReportWriter(tmp_path)
    writer.add([failed])
    writer.close()
    for name in ("r.csv", "report.csv"):
        with (tmp_path / name).open(encoding="utf-8", newline="") as handle:
            (found,) = csv.DictReader(handle)
        assert [found[c] for c in ("path", "reason", "site")] == [f"'{first}1.wav", f"'{first}2", f"'{first}3"]
    assert list(read_rows(tmp_path)) == [failed]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "xlsx", "CSV", "XLSX"])
def test_an_empty_report_is_a_valid_file(tmp_path: Path, ending: str) -> None:
    target = tmp_path / f"r.{ending}"
    assert export_rows([], target) == 0
    if ending.lower() == "xlsx":
        assert read_xlsx(target) == [list(COLUMNS)]
    else:
        assert target.read_bytes() == (b"" if ending == "jsonl" else ",".join(COLUMNS).encode() + b"\r\n")


def test_the_writer_writes_what_is_read(tmp_path: Path) -> None:
    writer = ReportWriter(tmp_path)
    writer.add(ROWS[:3])
    assert list(read_rows(tmp_path)) == ROWS[:3]  # before it is closed: what a crash would leave
    writer.add(ROWS[3:])
    writer.close()
    assert list(read_rows(tmp_path)) == ROWS
    with (tmp_path / "report.csv").open(encoding="utf-8", newline="") as handle:
        assert len(list(csv.DictReader(handle))) == len(ROWS)


def test_no_report_yet(tmp_path: Path) -> None:
    assert list(read_rows(tmp_path)) == []


def test_a_torn_last_line_is_left_out_wherever_it_is_torn(tmp_path: Path) -> None:
    writer = ReportWriter(tmp_path)
    writer.add([one("a.wav"), one("é鳥.wav")])
    writer.close()
    whole = (tmp_path / "report.jsonl").read_bytes()
    first = whole.index(b"\n") + 1
    for length in range(len(whole) + 1):
        (tmp_path / "report.jsonl").write_bytes(whole[:length])
        wanted = 0 if length < first else 1 if length < len(whole) else 2
        assert len(list(read_rows(tmp_path))) == wanted


# ---- a row -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (RecordingTime(), ""),
        (RecordingTime(datetime(2024, 5, 1, 4)), "2024-05-01T04:00:00"),
        (RecordingTime(datetime(2024, 5, 1, 4), utc_offset_min=0), "2024-05-01T04:00:00+00:00"),
        (RecordingTime(datetime(2024, 5, 1, 4), utc_offset_min=120), "2024-05-01T04:00:00+02:00"),
        (RecordingTime(datetime(2024, 5, 1, 4), utc_offset_min=-210), "2024-05-01T04:00:00-03:30"),
        (RecordingTime(datetime(2024, 5, 1, 4), utc_offset_min=345), "2024-05-01T04:00:00+05:45"),
        (RecordingTime(datetime(2024, 5, 1, 4), utc_offset_min=-30), "2024-05-01T04:00:00-00:30"),
    ],
)
def test_starts_are_shown_on_the_sites_clock_with_the_offset(time: RecordingTime, text: str) -> None:
    assert start_text(time.to_json()) == text


def entry(status: Status, reason: str = "", top: TopLabel | None = None) -> dict[str, Any]:
    recording = Recording(SourceFile("a\udcff.wav", 10, 1), "s", RecordingTime())
    return ledger_entry(recording, DecodeSummary(status, reason, duration_s=1.23456), windows=1, first_row=0, top=top)


@pytest.mark.parametrize("status", list(Status))
def test_every_status_has_a_reason_but_ok(status: Status) -> None:
    found = row(entry(status), "s", MEANING[status].outcome)
    assert list(found) == list(COLUMNS)
    assert found["path"] == "a\\udcff.wav"
    assert found["reason"] == ("" if status is Status.OK else MEANING[status].text)
    assert row(entry(status, "12 of 13"), "s", MEANING[status].outcome)["reason"] == "12 of 13"


def test_a_status_of_a_later_version_does_not_stop_the_report() -> None:
    later = {**entry(Status.OK), "status": "eaten_by_a_bear"}
    assert row(later, "s", Outcome.DONE)["reason"] == ""


def test_reasons_are_joined() -> None:
    found = row(entry(Status.TRUNCATED, "5 of 10 s"), "s", Outcome.SKIPPED, reason="already in the store")
    assert found["reason"] == "already in the store; 5 of 10 s"


def test_the_best_label() -> None:
    found = row(entry(Status.OK, top=TopLabel("Parus major", 0.87654321, 3.0)), "s", Outcome.DONE)
    assert (found["top_label"], found["top_score"]) == ("Parus major", 0.8765)


# ---- sums ------------------------------------------------------------------------------------------------------------

outcomes = st.lists(st.tuples(st.sampled_from(list(Status)), st.integers(0, 9), st.booleans()), max_size=40)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(outcomes)
def test_a_tally_adds_up(found: list[tuple[Status, int, bool]]) -> None:
    tally = Tally(len(found))
    for i, (status, count, settled) in enumerate(found):
        outcome = MEANING[status].outcome
        if settled and outcome is Outcome.DONE:
            outcome = Outcome.SKIPPED
        tally.add_row(one(f"{i}.wav", outcome=str(outcome), status=str(status), windows=count), settled=settled)
    assert sum(tally.outcomes.values()) == tally.files
    assert tally.outcomes[Outcome.SKIPPED] == sum(tally.skipped.values())
    assert tally.outcomes[Outcome.FAILED] == sum(tally.failed_kinds.values()) == len(tally.failures)
    done = [(s, n) for s, n, settled in found if MEANING[s].outcome is Outcome.DONE and not settled]
    assert tally.windows == sum(n for _, n in done)
    assert sum(tally.noted.values()) == sum(s is not Status.OK for s, _ in done)
