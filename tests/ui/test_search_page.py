"""The search of the page in a browser, against the real service: upload, look through, judge by keyboard, find more, export."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.search import kit
from tests.service.conftest import Live, listening

HITS = ".search__results .card"
PLAYS_ON = """() => {
    window.seen ??= new Set();
    window.seen.add(document.querySelector('.card.is-current .spec__cursor').style.transform);
    return window.seen.size > 4;
}"""
WATCH_MOVES = """() => {
    window.moved = 0;
    const add = (list) => list.getEntries().forEach((e) => { if (!e.hadRecentInput) window.moved += e.value; });
    new PerformanceObserver(add).observe({ type: 'layout-shift' });
}"""


class Gate:
    """Stands between page and service from the beginning: a route that is put up later can miss what is sent just then."""

    def __init__(self, page) -> None:
        self.away = False
        self.refused = ""
        page.context.route(re.compile(r"/(v1|healthz)"), self._pass)

    def _pass(self, route) -> None:
        if self.away:
            route.abort()
        elif self.refused and route.request.url.endswith("/v1/annotations"):
            error = {"error": {"kind": "conflict", "message": self.refused, "request_id": "r1"}}
            route.fulfill(status=409, content_type="application/json", body=json.dumps(error))
        else:
            route.continue_()


@pytest.fixture
def gate(page) -> Gate:
    return Gate(page)


@pytest.fixture(scope="module")
def live(owls, tmp_path_factory) -> Iterator[Live]:
    """One server for all: each test judges a label of its own."""
    folder = tmp_path_factory.mktemp("searched")
    shutil.copytree(owls.store, folder / "store")
    with listening(kit.Made(owls.recordings, str(folder / "store")), folder / "state") as found:
        yield found


@pytest.fixture
def label(request) -> str:
    """What a test judges: its own name."""
    return str(request.node.name)


@pytest.fixture
def clip(owls) -> str:
    """A recording with a pygmy owl, as somebody would drop it."""
    return str(next(Path(owls.recordings).rglob("forest/*_000000.flac")))


def search_for(page, clip: str) -> None:
    """Upload a clip and wait for its hits."""
    page.goto("/search")
    page.set_input_files("input[type=file]", clip)
    page.wait_for_selector(HITS)


def choose_label(page, label: str) -> None:
    """Type the label and confirm it, then go back to the first card."""
    field = page.get_by_role("combobox", name="Judge as")
    field.fill(label)
    field.press("Enter")
    page.locator(HITS).first.focus()


def judged(live, label: str) -> list[str]:
    """Return how the service has judged a label, in the order of the words."""
    answer = httpx.get(f"{live.url}/v1/annotations", params={"label": label})
    if answer.status_code == 404:
        return []  # nobody used this label
    return sorted(row["judgement"] for row in answer.json()["data"])


def wait_sent(page) -> None:
    """Wait until nothing is left to send."""
    page.wait_for_function("() => !Object.keys(localStorage).some((key) => key.startsWith('sonotheque.outbox.'))")


def selected(page) -> str:
    return page.get_attribute(".card.is-current", "data-id")


def test_a_clip_is_uploaded_and_its_hits_are_shown_with_axes_and_times(page, clip):
    search_for(page, clip)
    assert page.locator(HITS).count() == 50
    assert re.search(r"50 windows like .*\.flac", page.inner_text(".toolbar__title"))
    first = page.locator(HITS).first
    first.locator(".spec__img:not([hidden])").wait_for()
    assert "kHz" in first.locator(".spec__y").inner_text()
    assert re.search(r"\d:\d\d", first.locator(".spec__x").inner_text())
    assert re.search(r"\d{1,2} May 2025 \d\d:\d\d:\d\d", first.inner_text())
    assert float(first.locator(".card__score").inner_text()) > 0.9
    assert "windows" in page.inner_text(".toolbar__plan")
    assert page.locator(".identify__row").count() >= 1


def test_everything_is_in_the_address_and_reload_and_back_restore_it(page, clip):
    search_for(page, clip)
    page.get_by_role("checkbox", name="marsh").check()
    page.wait_for_function(
        "() => [...document.querySelectorAll('.search__results .card__where strong')].every((e) => e.textContent === 'marsh')"
    )
    page.get_by_label("Of", exact=True).select_option("recording")
    page.wait_for_url("**best_per=recording*")
    page.wait_for_function("() => document.querySelectorAll('.search__results .card').length === 12")
    page.locator(HITS).first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**sel=*")
    chosen, address = selected(page), page.url
    page.reload()
    page.wait_for_selector(HITS)
    assert page.url == address
    assert selected(page) == chosen
    assert page.get_by_role("checkbox", name="marsh").is_checked()
    assert page.get_by_label("Of", exact=True).input_value() == "recording"
    page.go_back()
    page.wait_for_function("() => document.querySelectorAll('.search__results .card').length === 50")
    page.get_by_role("button", name="Remove the filter marsh").click()
    page.wait_for_function("() => !location.search.includes('site=')")


def test_a_region_is_chosen_by_mouse_and_by_keyboard_and_searched_for(page, clip):
    search_for(page, clip)
    page.locator(".source .spec__img:not([hidden])").wait_for()
    box = page.locator(".source .spec__plot").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.2, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.4, middle, steps=4)
    page.mouse.up()
    page.wait_for_url("**from=*")
    handle = page.get_by_role("slider", name="End of the region")
    before = float(handle.get_attribute("aria-valuenow"))
    assert before == pytest.approx(12.0, abs=0.3)
    handle.focus()
    with page.expect_request(lambda r: r.url.endswith("/v1/search")) as asked:
        page.keyboard.press("Shift+ArrowLeft")
    body = asked.value.post_data_json
    assert body["to_s"] == pytest.approx(before - 1.0, abs=0.02)
    assert body["from_s"] == pytest.approx(6.0, abs=0.3)
    page.locator(".toolbar__plan").get_by_text(re.compile("with .* of the sound")).wait_for()
    page.get_by_role("button", name="Whole sound").click()
    page.wait_for_function("() => !location.search.includes('from=')")


def test_five_are_judged_by_keyboard_and_are_on_disk(page, live, clip, label):
    search_for(page, clip)
    choose_label(page, label)
    shown = [page.locator(HITS).nth(i).get_attribute("data-id") for i in range(5)]
    for key in "yynuy":
        page.keyboard.press(key)
    page.locator(".toolbar__counts").get_by_text("5 judged").wait_for()
    wait_sent(page)
    assert judged(live, label) == ["negative", "positive", "positive", "positive", "uncertain"]
    rows = httpx.get(f"{live.url}/v1/annotations", params={"label": label}).json()["data"]
    assert {row["provenance"] for row in rows} == {"page: search"}
    assert len(shown) == len(set(shown))
    page.reload()
    page.locator(".toolbar__counts").get_by_text("5 judged").wait_for()
    assert page.locator(f"{HITS}.is-positive").count() == 3


def test_undo_takes_back_and_another_judgement_replaces_the_first(page, live, clip, label):
    search_for(page, clip)
    choose_label(page, label)
    page.keyboard.press("y")
    page.keyboard.press("n")
    page.keyboard.press("z")
    wait_sent(page)
    assert judged(live, label) == ["positive"]
    page.keyboard.press("Home")
    page.keyboard.press("u")
    wait_sent(page)
    assert judged(live, label) == ["uncertain"]
    page.keyboard.press("Control+z")
    wait_sent(page)
    assert judged(live, label) == ["positive"]


def test_without_a_label_nothing_is_judged_and_the_field_is_shown(page, live, clip, label):
    search_for(page, clip)
    page.locator(HITS).first.focus()
    page.keyboard.press("y")
    page.locator("#toasts").get_by_text("First say what is judged").wait_for()
    assert page.evaluate("document.activeElement.getAttribute('role')") == "combobox"
    assert judged(live, label) == []


def test_find_more_like_this_and_back(page, clip):
    search_for(page, clip)
    page.locator(HITS).first.focus()
    page.keyboard.press("ArrowRight")
    chosen = selected(page)
    page.keyboard.press("m")
    page.wait_for_url("**window=*")
    page.locator(".toolbar__title").get_by_text("like this window").wait_for()
    found = [c.get_attribute("data-id") for c in page.locator(HITS).all()]
    recording = chosen.split(":")[0]
    assert found
    assert not [one for one in found if one.split(":")[0] == recording], "its own recording is left out"
    page.go_back()
    page.locator(".toolbar__title").get_by_text(".flac").wait_for()


def test_space_plays_with_a_moving_cursor_and_stops(page, clip):
    search_for(page, clip)
    page.locator(HITS).first.locator(".spec__img:not([hidden])").wait_for()
    page.locator(HITS).first.focus()
    page.keyboard.press(" ")
    cursor = page.locator(f"{HITS} .spec__cursor:not([hidden])")
    cursor.wait_for()
    page.wait_for_function(PLAYS_ON)
    page.keyboard.press(" ")
    cursor.wait_for(state="detached")


def test_ticked_hits_are_exported_as_csv_and_raven(page, clip, label):
    search_for(page, clip)
    choose_label(page, label)
    page.keyboard.press("x")
    page.keyboard.press("y")
    page.keyboard.press("x")
    wait_sent(page)
    texts = {}
    for form in ("CSV table", "Raven selection table", "JSON", "Audio links"):
        page.get_by_role("button", name="Export 2").click()
        page.get_by_role("radio", name=form).check()
        with page.expect_download() as got:
            page.get_by_role("button", name="Save the file").click()
        texts[form] = Path(got.value.path()).read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(texts["CSV table"])))
    assert [row["rank"] for row in rows] == ["1", "2"]
    assert [row["judgement"] for row in rows] == ["positive", ""]
    assert rows[0]["label"] == label
    assert re.fullmatch(r"\d+:\d+", rows[0]["window_id"])
    assert httpx.get(rows[0]["audio"]).content[:4] == b"RIFF"
    raven = list(csv.DictReader(io.StringIO(texts["Raven selection table"]), delimiter="\t"))
    assert float(raven[1]["Begin Time (s)"]) == pytest.approx(float(rows[1]["start_s"]))
    assert raven[0]["Begin Path"] == rows[0]["path"]
    assert [hit["window_id"] for hit in json.loads(texts["JSON"])["hits"]] == [row["window_id"] for row in rows]
    assert texts["Audio links"].splitlines() == [row["audio"] for row in rows]


def test_a_judgement_made_while_the_service_is_away_is_kept_and_sent_later(page, gate, live, clip, label):
    search_for(page, clip)
    choose_label(page, label)
    gate.away = True
    page.keyboard.press("y")
    page.keyboard.press("n")
    page.get_by_text("The service does not answer.").wait_for()
    page.get_by_role("button", name=re.compile("2 judgements kept")).wait_for()
    assert judged(live, label) == []
    gate.away = False
    page.get_by_role("button", name="Try now").click()
    wait_sent(page)
    assert judged(live, label) == ["negative", "positive"]
    assert page.locator(".banner").count() == 0


def test_a_judgement_survives_the_page_being_closed_while_the_service_is_away(page, gate, live, clip, label):
    search_for(page, clip)
    choose_label(page, label)
    gate.away = True
    page.keyboard.press("y")
    page.get_by_role("button", name=re.compile("1 judgement kept")).wait_for()
    page.goto("about:blank")
    gate.away = False
    page.goto("/archive")
    wait_sent(page)
    assert judged(live, label) == ["positive"]


def test_what_the_service_refuses_is_shown_and_stays(page, gate, clip, label):
    search_for(page, clip)
    choose_label(page, label)
    gate.refused = "not today"
    page.keyboard.press("y")
    page.get_by_role("button", name=re.compile("1 judgement refused")).click()
    page.get_by_role("dialog").get_by_text("not today").wait_for()
    page.get_by_role("button", name="Close").click()
    assert page.locator(f"{HITS}.is-positive").count() == 0
    gate.refused = ""
    page.get_by_role("button", name=re.compile("1 judgement refused")).click()
    page.get_by_role("button", name="Send again").click()
    wait_sent(page)


def test_a_file_that_is_no_sound_is_refused_in_words(page):
    page.goto("/search")
    page.set_input_files(
        "input[type=file]", {"name": "notes.wav", "mimeType": "audio/wav", "buffer": b"not a sound at all"}
    )
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert "/" not in alert.locator("p").first.inner_text().replace("WAV/", "")
    page.get_by_role("button", name="Choose another sound").click()
    page.get_by_role("button", name="Choose a file").wait_for()


def test_a_label_that_looks_like_markup_stays_text(page, live, clip):
    search_for(page, clip)
    choose_label(page, "<img src=x onerror=window.bad=1>")
    page.keyboard.press("y")
    wait_sent(page)
    assert judged(live, "<img src=x onerror=window.bad=1>") == ["positive"]
    page.reload()
    page.locator(f"{HITS} .badge").get_by_text("<img src=x").first.wait_for()
    assert page.evaluate("window.bad === undefined")


def test_the_key_sheet_lists_every_key(page, clip):
    search_for(page, clip)
    page.locator(HITS).first.focus()
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keys").wait_for()
    sheet = page.locator(".keysheet__row").all_inner_texts()
    known = page.evaluate(
        "async () => (await import('/ui/js/core/keys.js')).keys.list().flatMap((s) => s.bindings.map((b) => b.label))"
    )
    assert len(known) > 15
    assert len(sheet) == len(known)
    assert all(any(label in row for row in sheet) for label in known)


def test_every_control_has_a_name_and_every_picture_a_text(page, clip):
    search_for(page, clip)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, a[href], input:not([type=file]), select, [role=slider], [role=button]')]
            .filter((e) => e.checkVisibility())
            .filter((e) => !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.length || e.title))
            .map((e) => e.outerHTML.slice(0, 120))"""
    )
    assert nameless == []
    assert page.evaluate("[...document.images].every((e) => e.alt)")
    dangling = page.evaluate(
        """() => [...document.querySelectorAll('[aria-labelledby], [aria-controls], [aria-describedby], [for]')].flatMap((e) =>
            ['aria-labelledby', 'aria-controls', 'aria-describedby', 'for'].flatMap((n) => (e.getAttribute(n) || '').split(' '))
            .filter((id) => id && !document.getElementById(id)))"""
    )
    assert dangling == []


def test_pictures_that_arrive_move_nothing(page, clip):
    search_for(page, clip)
    page.evaluate(WATCH_MOVES)
    page.locator(HITS).first.locator(".spec__img:not([hidden])").wait_for()
    page.wait_for_function("() => document.querySelectorAll('.search__results .spec__img:not([hidden])').length >= 6")
    assert page.evaluate("window.moved") < 0.02


def test_on_a_phone_nothing_is_cut_off_and_the_filter_is_a_drawer(page, live, clip, label):
    page.set_viewport_size({"width": 390, "height": 844})
    search_for(page, clip)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    side = page.get_by_role("complementary", name="What is looked for")
    assert not side.is_visible()
    page.get_by_role("button", name="Filter", exact=True).click()
    page.get_by_role("checkbox", name="forest").check()
    page.get_by_role("button", name="Show the hits").click()
    side.wait_for(state="hidden")
    page.get_by_role("button", name="Filter (1)").wait_for()
    choose_label(page, label)
    page.get_by_role("toolbar", name="Judge the chosen card").get_by_role("button", name="Yes").click()
    wait_sent(page)
    assert judged(live, label) == ["positive"]


def test_two_hundred_cards_ask_only_for_pictures_near_the_screen(page, clip):
    asked = []
    page.on("request", lambda r: asked.append(r.url) if "/spectrogram" in r.url and "/windows/" in r.url else None)
    search_for(page, clip)
    page.get_by_label("Show", exact=True).select_option("200")
    page.wait_for_function("() => document.querySelectorAll('.search__results .card').length === 200")
    page.wait_for_load_state("networkidle")
    assert 0 < len(set(asked)) < 80


def test_colours_follow_the_choice(page):
    page.goto("/search")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="Colours: auto. Change").click()
    page.get_by_role("button", name="Colours: light. Change").click()
    assert page.evaluate(ground) != light
    page.reload()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_what_was_asked_while_the_service_was_away_is_answered_when_it_is_back(page, gate):
    gate.away = True
    page.goto("/search")
    page.get_by_text("The service does not answer.").wait_for()
    assert page.get_by_role("checkbox", name="marsh").count() == 0
    gate.away = False
    page.get_by_role("button", name="Try now").click()
    page.get_by_role("checkbox", name="marsh").wait_for()
    assert page.locator(".banner").count() == 0


def test_a_key_is_asked_for_where_the_service_wants_one(page):
    """The service's own answers to missing keys are tested elsewhere; here, what the page makes of them."""
    given: list[dict] = []
    told = json.dumps({"error": {"kind": "unauthorized", "message": "a key is needed", "request_id": "r1"}})

    def answer(route) -> None:
        if route.request.url.endswith("/v1/session"):
            given.append(route.request.post_data_json)
            right = given[-1]["key"] == "right"
            route.fulfill(
                status=200 if right else 401, content_type="application/json", body='{"data": {}}' if right else told
            )
        elif given and given[-1]["key"] == "right":
            route.continue_()
        else:
            route.fulfill(status=401, content_type="application/json", body=told)

    page.context.route("**/v1**", answer)
    page.goto("/search")
    dialog = page.get_by_role("dialog", name="This archive asks for a key")
    dialog.get_by_label("Key", exact=True).fill("wrong")
    dialog.get_by_role("button", name="Continue").click()
    dialog.get_by_role("alert").get_by_text("a key is needed").wait_for()
    dialog.get_by_label("Key", exact=True).fill("right")
    dialog.get_by_role("button", name="Continue").click()
    page.get_by_role("checkbox", name="marsh").wait_for()
    assert "right" not in page.evaluate(
        "JSON.stringify(localStorage) + JSON.stringify(sessionStorage) + document.cookie"
    )


def test_a_sound_from_the_microphone_is_searched_for(page):
    page.add_init_script(
        """navigator.mediaDevices.getUserMedia = async (wanted) => {
            window.wanted = wanted.audio;
            const context = new AudioContext();
            const tone = context.createOscillator();
            const out = context.createMediaStreamDestination();
            tone.connect(out);
            tone.start();
            return out.stream;
        }"""
    )
    page.goto("/search")
    page.get_by_role("button", name="Record").click()
    page.locator(".rec__time").get_by_text("0:02").wait_for()
    page.get_by_role("button", name="Stop and search").click()
    page.wait_for_selector(HITS)
    assert "microphone" in page.inner_text(".source h2")
    assert page.evaluate("window.wanted") == {
        "echoCancellation": False,
        "noiseSuppression": False,
        "autoGainControl": False,
    }


def test_a_clip_that_is_no_longer_kept_is_said_once(page):
    page.goto("/search?clip=" + "f" * 32)
    page.get_by_role("alert").get_by_text("no longer has this clip").wait_for()
    page.wait_for_load_state("networkidle")
    assert page.get_by_role("alert").count() == 1
    page.get_by_role("button", name="Choose another sound").click()
    page.get_by_role("button", name="Choose a file").wait_for()


def test_a_sound_of_the_archive_to_begin_with(page):
    page.goto("/search")
    card = page.locator(".begin .card").first
    chosen = card.get_attribute("data-id")
    card.get_by_role("link", name="Find more like this").click()
    page.wait_for_selector(HITS)
    assert f"window={chosen.replace(':', '%3A')}" in page.url
    assert not page.locator(".begin").is_visible()
