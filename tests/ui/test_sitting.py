"""A whole sitting in a browser: upload, search, judge five by keyboard, train, read the report, review, apply, export; and what lies on disk then."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import numpy as np
import pytest
import soundfile as sf

from store.annotations import AnnotationLog
from store.probes import ProbeStore
from tests.ui.test_search_page import choose_label, search_for, wait_sent

LABEL = "pygmy owl"
TRAIN = ".train button[type=submit]"


@pytest.fixture(scope="module")
def truth(owls) -> dict[str, list[tuple[float, float]]]:
    """Where owls hoot: path -> spans."""
    spans: dict[str, list[tuple[float, float]]] = {}
    with (owls.recordings / "truth.csv").open(encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            if row["call"] == "hoots":
                spans.setdefault(row["path"], []).append((float(row["start_s"]), float(row["end_s"])))
    return spans


@pytest.fixture
def call(owls, truth, tmp_path) -> str:
    """Three seconds with a hoot in them, as a file of the listener's own."""
    path, spans = next(iter(truth.items()))
    sound, rate = sf.read(owls.recordings / path)
    begin = max(0, round((spans[0][0] - 0.5) * rate))
    sf.write(tmp_path / "my owl.wav", np.ascontiguousarray(sound[begin : begin + 3 * rate]), rate)
    return str(tmp_path / "my owl.wav")


def hoots(truth, hit) -> bool:
    """Whether most of a hoot lies in a window."""
    return any(min(b, hit["end_s"]) - max(a, hit["start_s"]) > 0.4 for a, b in truth.get(hit["path"], ()))


def test_from_a_call_to_a_detector_and_its_hits(page, live, truth, call):
    search_for(page, call)
    choose_label(page, LABEL)
    for _ in range(5):
        window = page.locator(".card.is-current").get_attribute("data-id")
        hit = httpx.get(f"{live.url}/v1/windows/{window}").json()["data"]
        assert hoots(truth, hit)  # what is nearest to a hoot hoots
        page.keyboard.press("y")
    wait_sent(page)

    page.goto("/probes")
    page.locator(TRAIN).click()
    page.wait_for_url("**/probes/pygmy-owl**")
    page.get_by_role("heading", name="pygmy-owl").first.wait_for()
    assert ProbeStore(live.made.store).in_use("pygmy-owl") == 1

    page.goto("/probes/pygmy-owl/review?how=uncertain&k=4")
    seen: set[str] = set()
    for _ in range(4):
        link = page.locator(".stage-links a[href*='window=']")
        page.wait_for_function(
            "(seen) => { const a = document.querySelector('.stage-links a[href*=\"window=\"]'); return a && !seen.includes(a.href); }",
            arg=list(seen),
        )
        seen.add(link.evaluate("(a) => a.href"))
        window = parse_qs(urlsplit(link.get_attribute("href")).query)["window"][0]
        hit = httpx.get(f"{live.url}/v1/windows/{window}").json()["data"]
        page.keyboard.press("y" if hoots(truth, hit) else "n")
    page.locator(".stage-end").wait_for()
    wait_sent(page)
    found = AnnotationLog(live.made.store).current().to_pylist()
    assert len(found) == 9
    assert [row["provenance"] for row in found].count("probe review pygmy-owl version 1 uncertain") == 4

    page.goto("/probes")
    page.locator(TRAIN).click()
    page.wait_for_url("**version=2**")
    assert ProbeStore(live.made.store).versions("pygmy-owl") == [1, 2]
    assert ProbeStore(live.made.store).in_use("pygmy-owl") == 1  # until somebody promotes it

    page.goto("/probes/pygmy-owl?tab=hits")
    page.get_by_role("button", name="Apply to the archive").first.click()
    page.wait_for_function("() => document.querySelectorAll('.probe-body .card').length > 10")
    hits = httpx.get(f"{live.url}/v1/probes/pygmy-owl/hits", params={"limit": 10}).json()["data"]
    assert sum(hoots(truth, hit) for hit in hits) >= 9

    search_for(page, call)
    for _ in range(2):
        page.keyboard.press("x")
        page.keyboard.press("ArrowRight")
    page.get_by_role("button", name="Export 2").click()
    page.get_by_role("radio", name="CSV table").check()
    with page.expect_download() as got:
        page.get_by_role("button", name="Save the file").click()
    rows = list(csv.DictReader(io.StringIO(Path(got.value.path()).read_text(encoding="utf-8"))))
    assert len(rows) == 2
    table = httpx.get(f"{live.url}/v1/annotations/export", params={"form": "csv"}).text
    assert table.count(LABEL) == 9
