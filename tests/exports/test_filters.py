"""One filter language: every field of a filter has one flag, and every verb gets all of them with one line."""

from __future__ import annotations

import re
from dataclasses import fields
from datetime import date
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from sonotheque.cli.filters import FLAGS, with_filter
from sonotheque.core.errors import Invalid
from sonotheque.core.filters import HourSpan, SearchFilter, SunSpan

GIVEN: dict[str, tuple[list[str], Any]] = {
    "sites": (["--site", "Wood", "--site", "007"], ("Wood", "007")),
    "deployments": (["--deployment", "wood-1"], ("wood-1",)),
    "recordings": (["--recording", "a/*.wav", "--recording", "b?.wav"], ("a/*.wav", "b?.wav")),
    "date_from": (["--from", "2025-05-03"], date(2025, 5, 3)),
    "date_to": (["--to", "2025-05-04"], date(2025, 5, 4)),
    "months": (["--month", "5", "--month", "6"], (5, 6)),
    "hours": (["--hours", "22:00-04:00"], HourSpan(1320, 240)),
    "sun": (["--sun", "sunrise-60..sunrise+120"], SunSpan("sunrise", -60, "sunrise", 120)),
    "label": (["--label", "Strix aluco"], "Strix aluco"),
    "score_min": (["--min-score", "0.25"], 0.25),
    "score_max": (["--max-score", "0.5"], 0.5),
    "rank_max": (["--max-rank", "1"], 1),
    "annotated": (["--not-annotated"], False),
    "annotation_label": (["--annotation-label", "rain"], "rain"),
    "judgement": (["--judgement", "positive"], "positive"),
    "overlap_min_s": (["--min-overlap-s", "0.5"], 0.5),
    "valid_min_s": (["--min-valid-s", "2"], 2.0),
}


def app_of(*verbs) -> typer.Typer:
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    for verb in verbs:
        app.command(verb.__name__)(with_filter(verb))
    if len(verbs) == 1:  # Typer makes an app of one command that command itself
        app.callback()(lambda: None)
    return app


def asked(flags: list[str], **options: Any) -> SearchFilter:
    """Return what a verb gets for some flags."""
    seen: list[SearchFilter] = []

    def look(store: str = typer.Option("s", "--store"), *, where: SearchFilter, loud: bool = False) -> None:
        """Look."""
        assert (store, loud) == (options.get("store", "s"), options.get("loud", False))
        seen.append(where)

    done = CliRunner().invoke(app_of(look), ["look", *flags], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return seen[0]


def test_every_field_has_exactly_one_flag_and_no_flag_two_fields():
    assert list(FLAGS) == [f.name for f in fields(SearchFilter)]
    names = [name for flag in FLAGS.values() for whole in flag.names for name in whole.split("/")]
    assert len(names) == len(set(names))
    assert all(name.startswith("--") and name == name.lower() for name in names)
    assert set(GIVEN) == set(FLAGS)


@pytest.mark.parametrize("field", GIVEN)
def test_a_flag_sets_its_field_and_no_other(field):
    flags, value = GIVEN[field]
    changes = {field: value} | ({"annotated": True} if field in ("annotation_label", "judgement") else {})
    assert asked(flags) == SearchFilter(**changes)


def test_no_flags_mean_all_windows():
    assert asked([]) == SearchFilter()
    assert asked([]).is_empty


def test_all_flags_at_once_among_the_verbs_own():
    flags = [text for words, _ in GIVEN.values() for text in words if text != "--not-annotated"]
    found = asked([*flags, "--annotated", "--store", "x", "--loud"], store="x", loud=True)
    assert found == SearchFilter(**{k: v for k, (_, v) in GIVEN.items()} | {"annotated": True})


@pytest.mark.parametrize("name", ["--species", "--until"])
def test_other_names(name):
    value = "2025-05-04" if name == "--until" else "rain"
    assert asked([name, value]).to_json() == ({"date_to": value} if name == "--until" else {"label": value})


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--from", "3 May"], "2025-05-03"),
        (["--hours", "25:00-26:00"], "04:00-06:30"),
        (["--sun", "noon..midnight"], "sunrise-60..sunrise+120"),
        (["--judgement", "perhaps"], "positive, negative, uncertain"),
        (["--month", "13"], "1 to 12"),
        (["--from", "2025-05-03", "--to", "2025-05-02"], "the first is after the last"),
        (["--min-score", "0.5", "--max-score", "0.4"], "the first is above the last"),
        (["--max-rank", "0"], "1 is the best"),
        (["--min-overlap-s", "-1"], "0 or more"),
    ],
)
def test_what_cannot_be_is_refused_with_what_was_expected(flags, said):
    with pytest.raises(Invalid, match=re.escape(said)):
        asked(flags)


def test_a_verbs_own_flag_is_kept_and_the_filters_goes_by_its_other_name():
    seen: list[Any] = []

    def export(form: str = typer.Option(None, "--to"), *, where: SearchFilter) -> None:
        """Export."""
        seen.append((form, where))

    app = app_of(export)
    CliRunner().invoke(app, ["export", "--to", "raven", "--until", "2025-05-04"], catch_exceptions=False)
    assert seen == [("raven", SearchFilter(date_to=date(2025, 5, 4)))]
    shown = CliRunner().invoke(app, ["export", "--help"]).output
    assert shown.count("--to ") == 1


def test_a_verb_that_hides_a_flag_altogether_is_a_mistake_of_the_program():
    def wrong(site: str = typer.Option(None, "--site"), *, where: SearchFilter) -> None:
        """Wrong."""

    with pytest.raises(TypeError, match="--site"):
        with_filter(wrong)


def test_a_verb_without_a_place_for_the_filter_is_a_mistake_of_the_program():
    def wrong(site: str = "") -> None:
        """Wrong."""

    with pytest.raises(TypeError, match="where"):
        with_filter(wrong)


def test_help_lists_every_flag_and_the_verbs_words():
    def look(*, where: SearchFilter) -> None:
        """Look at some windows."""

    shown = CliRunner().invoke(app_of(look), ["look", "--help"]).output
    assert "Look at some windows." in shown
    assert all(name in shown for flag in FLAGS.values() for whole in flag.names for name in whole.split("/"))
