"""The report of a probe, as a page and as text: what it says, and that nothing in it can break it."""

from __future__ import annotations

import copy
import io
import re
from html.parser import HTMLParser
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from probes.experiment_files import experiment_from
from search_api.probes.markup import Markup, escaped, joined, tag
from search_api.probes.report_axes import strip
from search_api.probes.report_page import report_page
from search_api.probes.report_plots import curve_plot, histogram_plot
from search_api.probes.report_text import report_text
from search_api.probes.report_trends import learning_plot, penalty_plot
from search_api.probes.report_words import (
    cautions,
    count,
    interval,
    leak_words,
    many,
    number,
    rate,
    recall_chance,
    short_label,
    split_label,
    split_words,
    verdict,
)
from tests.search import probe_reports as made

_VOID = {"meta", "br", "hr", "circle", "rect", "line", "path", "polyline", "img"}


class Page(HTMLParser):
    """What a browser would see: elements, their attributes, words; wrong nesting is an error."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.words = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, name: str, pairs: list[tuple[str, str | None]]) -> None:
        self.elements.append((name, dict(pairs)))
        if name not in _VOID or name in ("circle", "rect"):
            self.open.append(name)
        if name == "tr":
            self.rows.append([])
        if name in ("td", "th") and self.rows:
            self.rows[-1].append("")

    def handle_startendtag(self, name: str, pairs: list[tuple[str, str | None]]) -> None:
        self.elements.append((name, dict(pairs)))

    def handle_endtag(self, name: str) -> None:
        assert self.open.pop() == name

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.words += data + " "
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data + " "


def printed(report: dict[str, Any], width: int = 120) -> str:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=False, color_system=None).print(report_text(report))
    return out.getvalue()


each = pytest.mark.parametrize("name", made.EVERY)


@each
def test_a_page_is_whole_and_loads_nothing(name: str) -> None:
    html = report_page(made.EVERY[name]())
    page = Page(html)
    html.encode("utf-8")
    assert html.startswith("<!doctype html>")
    assert {name for name, _ in page.elements} & {"script", "link", "img", "iframe", "object", "base", "form"} == set()
    for element, attributes in page.elements:
        assert not [a for a in attributes if a.startswith("on") or a in ("href", "src", "srcset", "action")], element
    assert "url(" not in html
    assert "@import" not in html
    assert "None" not in page.words
    assert "nan" not in re.findall(r"[a-z]+", html.partition("</style>")[2])


@each
@pytest.mark.parametrize("width", [60, 80, 140])
def test_the_text_fits_and_names_no_python(name: str, width: int) -> None:
    text = printed(made.EVERY[name](), width)
    text.encode("utf-8")
    assert max(map(len, text.splitlines())) <= width
    assert "None" not in text
    assert "nan" not in re.findall(r"[a-z]+", text)
    assert "\x1b" not in text


@each
def test_the_same_report_gives_the_same_page_and_is_left_as_it_is(name: str) -> None:
    report = made.EVERY[name]()
    before = copy.deepcopy(report)
    assert report_page(report) == report_page(copy.deepcopy(report))
    printed(report)
    assert report == before


def test_chance_stands_beside_every_headline_number() -> None:
    report = made.trained()
    macro = report["test"]["macro"]
    page, text = Page(report_page(report)), printed(report)
    for key in ("map", "cmap", "roc_auc", "balanced_accuracy", "macro_f1", "accuracy"):
        assert f"{macro[key]:.3f}" in page.words
        assert f"chance {macro[f'{key}_chance']:.3f}" in page.words
        assert re.search(rf"{macro[key]:.3f} +{macro[f'{key}_chance']:.3f}", text)
    assert interval(macro["map_ci"]) in page.words
    assert interval(macro["map_ci"]) in text


def test_the_table_has_a_row_a_class_with_value_interval_and_chance() -> None:
    report = made.trained()
    rows = Page(report_page(report)).rows
    row, known = (
        next(row for row in rows if row and row[0].startswith("Tawny Owl")),
        report["test"]["classes"][made.OWL],
    )
    assert "Strix aluco" in row[0]
    assert row[1].strip() == str(known["n_positive"])
    assert row[3].split() == [f"{known['ap']:.3f}", interval(known["ap_ci"]), f"{known['ap_chance']:.3f}"]
    assert row[5].split()[-1] == "0.500"
    assert row[7].split() == [f"{known['precision']:.3f}", f"{known['ap_chance']:.3f}"]


def test_every_class_has_its_curve_and_its_scores() -> None:
    report = made.forty()
    labels = [a.get("aria-label") or "" for name, a in Page(report_page(report)).elements if name == "svg"]
    for name in report["classes"]:
        assert sum(label.startswith(f"{name}: precision against recall") for label in labels) == 1
        assert sum(label.startswith(f"{name}: scores of") for label in labels) == 1


def test_many_classes_and_notes_are_folded_away_not_left_out() -> None:
    report = made.forty()
    report["notes"] = [f"note number {i}" for i in range(30)]
    page = Page(report_page(report))
    assert "28 more classes" in page.words
    assert all(f"note number {i} " in page.words for i in range(30))
    text = printed(report)
    assert "more notes: --json or --report shows them" in text


def test_names_are_words_never_elements() -> None:
    report = made.hostile()
    html = report_page(report)
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert "<img src=x" not in html
    assert "\u202e" not in html
    assert "<bdi>" in html
    text = printed(report)
    assert "<script>alert(1)" in text
    assert "\u202e" not in text


def test_rich_markup_in_a_name_is_a_name() -> None:
    report = made.renamed(made.trained(), {made.OWL: "[red]owl[/red] [link=x]"})
    assert "[red]owl[/red]" in printed(report)
    report["probe"] = "[bold"
    assert "[bold, version 3" in printed(report)


def test_a_class_without_positives_shows_dashes_and_says_why() -> None:
    report = made.without_positives()
    page = Page(report_page(report))
    row = next(row for row in page.rows if "Eurasian Wren" in row[0])
    assert [row[i].strip() for i in (3, 5, 7, 8, 9)] == ["–"] * 5
    assert "no positives in the test" in page.words
    assert "over the 2 classes of 3 that can be judged" in page.words
    assert "no positives in the test" in printed(report)


def test_nothing_held_out_is_said_and_no_number_is_shown() -> None:
    page = Page(report_page(made.nothing_held_out()))
    assert "nothing is known of how good" in page.words
    assert "Class by class" not in page.words
    assert "chance" not in page.words
    assert "How it was made" in page.words


def test_a_leak_comes_first() -> None:
    report = made.leaking()
    told = cautions(report)
    assert told[0].startswith(
        "The sides are not apart: 1 recording on both sides, 12 test windows with the very vector"
    )
    assert "did not converge" in told[1]
    assert "may be too good" in Page(report_page(report)).words
    assert "may be too good" in printed(report)


def test_sides_that_are_apart_are_said_to_be() -> None:
    report = made.trained()
    assert leak_words(report)[0] is True
    assert "Checked." in Page(report_page(report)).words
    report["split"]["leaks"] = None
    assert leak_words(report) == (None, "The two sides were not compared.")


@pytest.mark.parametrize(
    ("by", "words"),
    [("recording", "Each recording"), ("day", "Each day of a site"), ("site", "Each site")],
)
def test_the_split_in_words(by: str, words: str) -> None:
    report = made.trained()
    report["split"]["by"] = by
    text = split_words(report)
    assert text.startswith(f"{words} is wholly on one side. Trained on 672 windows of 56 recordings")
    assert "25 % held out, 25 % asked for; seed 0" in text


def test_the_first_sentence_has_the_number_the_interval_and_chance() -> None:
    report = made.trained()
    report["test"]["macro"] |= {"map": 0.5, "map_ci": [0.4, 0.61], "map_chance": 0.1, "classes_counted": 3}
    assert verdict(report).startswith(
        "Mean average precision 0.500 (0.400–0.610 with 95 % confidence), where chance gives 0.100. Tried on 228 windows of 19 recordings"
    )
    report["test"]["macro"]["map"] = None
    assert "no class has both positives and negatives" in verdict(report)


def test_it_is_said_when_chance_is_not_ruled_out() -> None:
    report = made.trained()
    row = report["test"]["classes"][made.OWL]
    row |= {"ap_ci": [0.1, 0.9], "ap_chance": 0.2}
    assert any(t.startswith(f"Chance is not ruled out for {made.OWL}:") for t in cautions(report))
    row["ap_ci"] = [None, None]
    assert not any(t.startswith("Chance") for t in cautions(report))


def test_few_positives_and_notes_of_thresholds_are_told() -> None:
    report = made.trained()
    report["test"]["classes"][made.WREN]["n"] = 3
    report["threshold_rule"]["chosen"] = [{"class": made.OWL, "note": "no threshold reaches a precision of 0.99"}]
    told = cautions(report)
    assert f"{made.OWL}: no threshold reaches a precision of 0.99" in told
    assert any(f"{made.WREN} (3)" in t for t in told)


def test_the_experiment_on_the_page_is_the_one_that_was_trained() -> None:
    report = made.trained()
    html = report_page(report)
    shown = re.search(r"<pre>(.*?)</pre>", html, re.DOTALL)
    assert shown
    text = shown[1].replace("&#x27;", "'").replace("&quot;", '"').replace("&lt;", "<").replace("&gt;", ">")
    assert experiment_from(yaml.safe_load(text)).to_json() == report["experiment"]


def test_the_decisions_of_exclusive_classes_are_named_so() -> None:
    page = Page(report_page(made.exclusive()))
    assert "of the likeliest class" in page.words
    assert "at the thresholds" not in page.words
    assert "exclude each other" in page.words


def test_the_learning_curve_says_whether_more_would_help() -> None:
    report = made.trained()
    report["learning_curve"][-1]["map"] = report["learning_curve"][-2]["map"] + 0.1
    assert "more examples should help" in Page(report_page(report)).words
    report["learning_curve"][-1]["map"] = report["learning_curve"][-2]["map"]
    assert "would change little" in Page(report_page(report)).words


def test_wide_terminals_see_more() -> None:
    report = made.trained()
    assert "precision" not in printed(report, 80).partition("class ")[2].splitlines()[0]
    assert "precision" in printed(report, 140).partition("class ")[2].splitlines()[0]


# Words and numbers


def test_numbers() -> None:
    assert [number(v) for v in (None, 0.5, 1, 0.12345)] == ["–", "0.500", "1.000", "0.123"]
    assert [count(v) for v in (None, 0, 12_345)] == ["–", "0", "12,345"]
    assert [rate(v) for v in (None, 0, 0.123, 12.34, 1234.5)] == ["–", "0.00", "0.12", "12.3", "1,234"]
    assert interval(None) == interval([None, 1]) == interval([]) == ""
    assert [many(1, "window"), many(2, "window"), many(0, "class", "classes")] == ["1 window", "2 windows", "0 classes"]


def test_recall_of_as_many_random_calls() -> None:
    # 100 windows, 20 positives; 25 called, 10 of them rightly: a random guess that calls a quarter finds a quarter.
    assert recall_chance({"recall": 0.5, "precision": 0.4, "ap_chance": 0.2}) == pytest.approx(0.25)
    assert recall_chance({"recall": 0.0, "precision": None, "ap_chance": 0.2}) == 0.0
    assert recall_chance({"recall": 0.0, "precision": 0.0, "ap_chance": 0.2}) is None
    assert recall_chance({"recall": None}) is None


@given(right=st.integers(1, 50), wrong=st.integers(0, 50), missed=st.integers(0, 50), passed=st.integers(1, 50))
def test_recall_of_chance_is_the_share_called(right: int, wrong: int, missed: int, passed: int) -> None:
    everything = right + wrong + missed + passed
    row = {
        "recall": right / (right + missed),
        "precision": right / (right + wrong),
        "ap_chance": (right + missed) / everything,
    }
    assert recall_chance(row) == pytest.approx((right + wrong) / everything)


def test_labels() -> None:
    assert split_label("Strix aluco_Tawny Owl") == ("Tawny Owl", "Strix aluco")
    for plain in ("Owl", "_x", "x_", "a_a", ""):
        assert split_label(plain) == (plain, "")
    assert short_label("x" * 50, 9) == "xxxx…xxxx"


# Elements


@given(st.text())
def test_text_stays_text(words: str) -> None:
    page = Page(tag("p", words, title=words))
    assert [name for name, _ in page.elements] == ["p"]


@given(st.text(alphabet=st.characters(exclude_categories=["C"]), max_size=30).filter(lambda t: "\r" not in t))
def test_what_can_be_printed_comes_through(words: str) -> None:
    page = Page(tag("p", words, title=words))
    assert page.words.replace(" ", "") == words.replace(" ", "")
    assert (page.elements[0][1]["title"] or "") == words


def test_markup_is_not_escaped_twice() -> None:
    inner = tag("b", "<")
    assert tag("p", inner, None, "&") == "<p><b>&lt;</b>&amp;</p>"
    assert isinstance(joined(inner, "<"), Markup)
    assert escaped(inner) is inner
    assert (
        tag("rect", x=1.5, y=2.0, stroke_width=3, class_="a", rx=None)
        == '<rect x="1.5" y="2" stroke-width="3" class="a"/>'
    )


# Plots


def places(svg: str) -> list[float]:
    return [float(v) for v in re.findall(r'(?:x|y|x1|x2|y1|y2|cx|cy)="(-?[\d.]+)"', svg)]


shares = st.floats(0, 1)


@given(value=st.none() | shares, chance=st.none() | shares, low=shares, high=shares)
def test_a_strip_stays_inside(value: float | None, chance: float | None, low: float, high: float) -> None:
    svg = strip(value, chance, [min(low, high), max(low, high)], "mAP")
    assert all(0 <= v <= 120 for v in places(svg))
    assert ("<circle" in svg) == (value is not None)
    assert ('class="chance"' in svg) == (chance is not None)


@settings(max_examples=40)
@given(
    st.lists(st.integers(0, 100_000), min_size=20, max_size=20),
    st.lists(st.integers(0, 100_000), min_size=20, max_size=20),
    st.lists(st.integers(0, 100_000), min_size=20, max_size=20),
    st.none() | shares,
)
def test_bars_are_where_their_counts_are(
    up: list[int], down: list[int], weak: list[int], threshold: float | None
) -> None:
    edges = [i / 20 for i in range(21)]
    svg = histogram_plot("owl", {"edges": edges, "positive": up, "negative": down, "weak": weak}, threshold)
    bars = re.findall(r'<rect x="[\d.]+" y="([\d.]+)" width="[\d.]+" height="([\d.]+)" class="(\w+)"', svg)
    for side, counts in (("positive", up), ("negative", down), ("weak", weak)):
        heights = [float(h) for _, h, class_ in bars if class_ == side]
        assert len(heights) == sum(n > 0 for n in counts)
    assert all(float(y) >= 28 - 0.02 and float(y) + float(h) <= 184 + 0.02 for y, h, _ in bars)
    positive = [float(h) for _, h, class_ in bars if class_ == "positive"]
    order = [n for n in up if n]
    assert all(
        (a <= b) == (m <= n) or abs(a - b) < 0.02
        for a, m in zip(positive, order, strict=True)
        for b, n in zip(positive, order, strict=True)
    )


def test_a_curve_is_drawn_from_left_to_right_through_its_points() -> None:
    svg = curve_plot(
        "owl",
        {"recall": [0.5, 1.0], "precision": [1.0, 0.5]},
        {"ap": 0.75, "ap_chance": 0.3, "recall": 0.5, "precision": 1.0, "threshold": 0.4},
    )
    assert 'd="M40.0 28.0H195.0V106.0H350.0V106.0"' in svg
    assert "threshold 0.40" in svg
    assert "chance 0.30" in svg
    assert "no positives" in curve_plot("owl", {}, {})


def test_learning_curves_take_any_rows() -> None:
    rows = [
        {"shots": 1, "map": 0.2, "map_low": 0.1, "map_high": 0.3},
        {"shots": 2, "map": None},
        {"shots": "all", "map": 0.6, "map_low": 0.6, "map_high": 0.6},
    ]
    svg = learning_plot(rows, "map", "mAP", 0.1)
    assert svg.count("<circle") == 2
    assert ">all<" in svg
    assert "no value is defined" in learning_plot([{"shots": 1, "map": None}], "map", "mAP", None)
    assert "no value is defined" in learning_plot([], "map", "mAP", None)


def test_the_penalty_taken_is_marked() -> None:
    svg = penalty_plot([{"l2": 0.1, "score": 0.7}, {"l2": 1e-3, "score": 0.8}, {"l2": 1e-2, "score": None}], 1e-3)
    assert svg.count('class="chosen"') == 1
    assert "taken 0.800" in svg
