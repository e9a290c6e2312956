"""Pictures: what they show, and that they come out for whatever there is."""

from __future__ import annotations

import contextlib
import itertools
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.collections import PathCollection, QuadMesh

from search_api.plots import (
    calendar,
    draw_activity,
    draw_profile,
    draw_species,
    draw_summary,
    heat,
    matrix,
    profile,
    require_picture,
)
from search_api.plots.dates import TICKS_MAX, DateAxis
from search_api.plots.style import picture, short_name, species_name
from search_api.plots.sun_lines import common_place, sun_hours
from search_api.questions.activity import By, Place, activity
from search_api.questions.species import species
from search_api.questions.summary import summarise
from sonotheque.core.errors import Invalid, NotFound
from sonotheque.core.filters import SearchFilter
from tests.questions.kit import CHIFFCHAFF, OWL, TIT, FakeArchive, Recording, tables_of
from tests.questions.worlds import recordings

DAY = datetime(2025, 3, 20)
PARIS = (48.7, 2.2)


@pytest.fixture
def drawn(monkeypatch):
    """Keep every figure that is drawn."""
    figures = []

    @contextlib.contextmanager
    def keeping(*args, **settings):
        with picture(*args, **settings) as figure:
            yield figure
            figures.append(figure)

    for module in (heat, profile, calendar, matrix):
        monkeypatch.setattr(module, "picture", keeping)
    return figures


def texts_of(figure):
    from matplotlib.text import Text

    return [t.get_text() for t in figure.findobj(Text) if t.get_text()]


def season(sites=2, days=30, hours=range(0, 24, 2), place=PARIS, zone="Europe/Paris", label=OWL):
    out = []
    for s, d, h in itertools.product(range(sites), range(days), hours):
        if (s, d) == (0, 5):
            continue
        found = [[(label, 0.9)]] if h < 6 else [[(TIT, 0.8)]]
        at = DAY + timedelta(days=d, hours=h)
        bad = (s, d, h) == (1, 3, 0)
        where = place and (place[0] + s / 100, place[1])
        end = {"outcome": "failed", "status": "empty"} if bad else {}
        out.append(Recording(f"s{s}/{d}-{h}.wav", f"site{s}", at, 3.0, zone, place=where, found=found, **end))
    return out


@pytest.fixture(scope="module")
def archive():
    with FakeArchive(tables_of(season())) as made:
        yield made


def mesh(axis):
    return next(c for c in axis.collections if isinstance(c, QuadMesh)).get_array()


def test_the_heat_map_shows_rates_and_leaves_out_what_was_not_recorded(archive, drawn, tmp_path):
    answer = activity(archive, [OWL], SearchFilter(sites=("site0",)))
    assert draw_activity(answer, tmp_path / "x.png") == []
    values = mesh(drawn[0].axes[0])
    assert values.shape == (24, 30)
    assert np.ma.getmaskarray(values)[1::2].all()  # odd hours were not recorded
    assert np.ma.getmaskarray(values)[:, 5].all()  # nor was the sixth day
    recorded = np.ma.getmaskarray(values)[0::2]
    assert not np.delete(recorded, 5, axis=1).any()
    assert values[0, 0] == 1200.0  # a window of 3 s
    assert values[12, 0] == 0.0
    texts = " ".join(texts_of(drawn[0]))
    for said in (
        "Tawny Owl (Strix aluco) at site0", "score ≥ 0.5", "tiny", "n = 87 windows", "snapshot 3", "sites site0",
        "2025-03-20 to 2025-04-18", "sunrise and sunset", "nothing recorded",
    ):  # fmt: skip
        assert said in texts


def test_counts_instead_of_rates(archive, drawn, tmp_path):
    draw_activity(activity(archive, [OWL]), tmp_path / "x.png", counts=True)
    assert float(mesh(drawn[0].axes[0]).max()) == 2.0


def test_panels_of_one_species_share_their_colours(archive, drawn, tmp_path):
    draw_activity(activity(archive, [OWL, TIT], per_site=True), tmp_path / "x.png")
    limits = [c.get_clim() for a in drawn[0].axes for c in a.collections if c.get_array() is not None][:4]
    assert limits[0] == limits[1]
    assert limits[2] == limits[3]


def test_one_day_is_a_row_for_each_species(archive, drawn, tmp_path):
    answer = activity(archive, [OWL, TIT], SearchFilter(date_to=DAY.date()))
    draw_activity(answer, tmp_path / "x.png")
    axis = drawn[0].axes[0]
    assert mesh(axis).shape == (2, 24)
    assert [t.get_text() for t in axis.get_yticklabels()] == ["Tawny Owl", "Great Tit"]
    assert {"sunrise", "sunset"} <= set(texts_of(drawn[0]))


def test_the_lines_of_the_sun_are_those_of_the_place():
    place = Place("a", "Europe/Paris", 48.8566, 2.3522)
    rise, fall = sun_hours(place, [date(2025, 3, 29), None, date(2025, 3, 30), date(2025, 6, 21)])
    # timeanddate.com, Paris: 06:37-19:14 on 29 March, 07:34-20:15 on the day of the change, 05:46-21:57 in June.
    np.testing.assert_allclose(rise, [6 + 37 / 60, np.nan, 7 + 34 / 60, 5 + 46 / 60], atol=0.07)
    np.testing.assert_allclose(fall, [19 + 14 / 60, np.nan, 20 + 15 / 60, 21 + 57 / 60], atol=0.07)


def test_there_is_no_sun_in_the_polar_night():
    rise, fall = sun_hours(Place("a", "Arctic/Longyearbyen", 78.2, 15.6), [date(2025, 12, 21)])
    assert np.isnan([*rise, *fall]).all()
    assert all(len(hours) == 0 for hours in sun_hours(Place("a", "UTC", 0.0, 0.0), []))


@pytest.mark.parametrize(
    ("places", "known"),
    [
        ([("UTC", 48.0, 2.0)], True),
        ([("UTC", 48.0, 2.0), ("UTC", 49.0, 3.0)], True),
        ([("UTC", 48.0, 2.0), ("UTC", 58.0, 2.0)], False),
        ([("UTC", 48.0, 2.0), ("Europe/Paris", 48.0, 2.0)], False),
        ([("UTC", 48.0, 2.0), ("UTC", None, None)], False),
        ([(None, 48.0, 2.0)], False),
        ([], False),
    ],
)
def test_one_place_stands_for_near_ones_only(places, known):
    found = common_place([Place("s", *p) for p in places])
    assert (found is not None) is known
    if found and len(places) == 2:
        assert (found.latitude, found.longitude) == (48.5, 2.5)


def test_zones_that_differ_are_told(drawn, tmp_path):
    files = [
        *season(1),
        *(Recording(f"n{r.path}", "nepal", r.local_start, 3.0, "Asia/Kathmandu", found=r.found) for r in season(1)),
    ]
    with FakeArchive(tables_of(files)) as archive:
        notes = draw_activity(activity(archive, [OWL]), tmp_path / "x.png")
    assert any("sunrise" in note for note in notes)
    assert "each site's own (2 zones)" in " ".join(texts_of(drawn[0]))


def test_many_panels_are_cut_to_those_with_most(drawn, tmp_path):
    with FakeArchive(tables_of(season(14, 7))) as archive:
        notes = draw_activity(activity(archive, [OWL], per_site=True), tmp_path / "x.png")
    assert notes == ["12 of 14 panels drawn, those with most detections"]
    titles = [a.get_title(loc="left") for a in drawn[0].axes if a.get_title(loc="left")]
    assert len(titles) == 12
    assert not any(t.startswith("site0 ") for t in titles)  # the one that lost a day


def test_the_calendar_shows_hours_gaps_and_failures(archive, drawn, tmp_path):
    assert draw_summary(summarise(archive), tmp_path / "x.svg") == []
    axis = drawn[0].axes[0]
    values = mesh(axis)
    assert values.shape == (2, 30)
    assert np.argwhere(np.ma.getmaskarray(values)).tolist() == [[0, 5]]
    assert values[0, 0] == pytest.approx(12 * 3 / 60)  # minutes
    assert values[1, 3] == pytest.approx(11 * 3 / 60)
    marks = [c for c in axis.collections if isinstance(c, PathCollection)]
    assert {tuple(map(float, o)) for c in marks for o in c.get_offsets()} == {(3.0, 1.0)}
    texts = " ".join(texts_of(drawn[0]))
    assert "Recorded at 2 sites" in texts
    assert "files of that day failed" in texts
    assert "minutes recorded a day" in texts


def test_sites_without_times_are_told(tmp_path):
    with FakeArchive(tables_of([*season(1, 3), Recording("u.wav", "unknown", None)])) as archive:
        assert draw_summary(summarise(archive), tmp_path / "x.png") == [
            "1 sites have no recording with a known time, and are not drawn"
        ]


def test_bars_of_hours(archive, drawn, tmp_path):
    draw_profile(activity(archive, [OWL, TIT]), tmp_path / "x.pdf", By.HOUR)
    owl, tit = drawn[0].axes[:2]
    heights = {round(b.get_x() + 0.43): b.get_height() for b in owl.patches if b.get_width() == pytest.approx(0.86)}
    assert set(heights) == set(range(0, 24, 2))
    assert [h for h, v in heights.items() if v > 0] == [0, 2, 4]
    assert tit.get_title(loc="left").startswith("Great Tit")


@pytest.mark.parametrize("by", [By.DATE, By.MONTH, By.HOUR])
@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_bars_come_in_every_format(archive, tmp_path, by, ending):
    target = tmp_path / f"x.{ending}"
    draw_profile(activity(archive, [OWL]), target, by)
    head = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[ending]
    assert target.read_bytes().startswith(head)


def test_bars_around_the_sun(drawn, tmp_path):
    files = [
        Recording(f"{m}.wav", "a", DAY, 3.0, found=[[(TIT, 0.9)]], sun=(float(m), 700.0)) for m in range(-90, 91, 30)
    ]
    with FakeArchive(tables_of([*files, Recording("x.wav", "a", DAY, 3.0)])) as archive:
        notes = draw_profile(activity(archive, [TIT], sun=True), tmp_path / "x.png", By.SUN)
        with pytest.raises(NotFound, match="nothing to draw"):
            draw_profile(activity(archive, [TIT]), tmp_path / "y.png", By.SUN)
    assert notes == ["1 windows are left out: the sun's times are not known there"]
    assert "↑" in texts_of(drawn[0])


def test_species_as_bars_and_dots(archive, drawn, tmp_path):
    assert draw_species(species(archive), tmp_path / "x.png") == []
    assert [t.get_text() for t in drawn[0].axes[0].get_yticklabels()] == ["Great Tit", "Tawny Owl"]
    assert [round(b.get_width()) for b in drawn[0].axes[0].patches] == [r.windows for r in species(archive).rows]
    draw_species(species(archive, per_site=True), tmp_path / "y.png")
    dots = next(c for c in drawn[1].axes[0].collections if len(c.get_offsets()) == 4)
    assert {tuple(map(int, o)) for o in dots.get_offsets()} == {(0, 0), (0, 1), (1, 0), (1, 1)}


def test_only_so_many_species_are_drawn(drawn, tmp_path):
    found = [[(f"Genus species{i:03d}_Bird number {i}", 0.9)] for i in range(80)]
    with FakeArchive(tables_of([Recording("a.wav", "a", DAY, 240.0, found=found)])) as archive:
        assert draw_species(species(archive), tmp_path / "x.png") == ["30 of 80 species drawn, those with most windows"]
        assert draw_species(species(archive), tmp_path / "x.png", top=100) == []
    assert len(drawn[0].axes[0].get_yticks()) == 30
    assert drawn[1].get_figheight() > drawn[0].get_figheight()


def test_nothing_to_draw(tmp_path):
    with FakeArchive(tables_of([Recording("u.wav", "a", None, found=[[(OWL, 0.9)]])])) as archive:
        for draw in (
            lambda path: draw_activity(activity(archive, [OWL]), path),
            lambda path: draw_profile(activity(archive, [OWL]), path, By.HOUR),
            lambda path: draw_summary(summarise(archive), path),
            lambda path: draw_species(species(archive, SearchFilter(score_min=1.0)), path),
        ):
            with pytest.raises(NotFound, match="nothing to draw"):
                draw(tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


NASTY = ["$a$_{b}", "日本", "x" * 200, "a\\b", "ünïcode & <b>", "%s {0}"]


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_names_are_drawn_as_they_are(drawn, tmp_path, ending):
    files = [Recording(f"{i}.wav", name, DAY, found=[[(f"{name}_{name}", 0.9)]]) for i, name in enumerate(NASTY)]
    labels = [f"{name}_{name}" for name in NASTY]
    with FakeArchive(tables_of(files)) as archive:
        draw_activity(activity(archive, labels, per_site=False), tmp_path / f"1.{ending}")
        draw_profile(activity(archive, labels[:2], per_site=True), tmp_path / f"2.{ending}", By.HOUR)
        draw_summary(summarise(archive), tmp_path / f"3.{ending}")
        draw_species(species(archive, per_site=True), tmp_path / f"4.{ending}")
    for figure in (drawn[0], drawn[2], drawn[3]):
        texts = "\n".join(texts_of(figure))
        for name in NASTY:
            assert name in texts or f"{name[:5]}" in texts
    assert "$a$_{b}" in "\n".join(texts_of(drawn[0]))


def test_a_picture_is_as_large_as_a_screen_shows_it(archive, tmp_path):
    from matplotlib.image import imread

    draw_activity(activity(archive, [OWL]), tmp_path / "x.png")
    assert imread(tmp_path / "x.png").shape[:2] == (700, 1200)


def test_what_was_not_recorded_has_not_the_colour_of_zero(archive, tmp_path):
    """Looked at as a person does: at the pixels."""
    from matplotlib.image import imread

    draw_activity(activity(archive, [OWL], SearchFilter(sites=("site0",))), tmp_path / "x.png")
    pixels = imread(tmp_path / "x.png")[..., :3]
    dark = np.array([68, 1, 84]) / 255  # viridis at zero
    is_zero = np.abs(pixels - dark).max(axis=2) < 0.02
    is_grey = (np.ptp(pixels, axis=2) < 0.02) & (pixels.mean(axis=2) > 0.7) & (pixels.mean(axis=2) < 0.93)
    assert 0.1 < is_zero.mean() < 0.5  # half of the hours are recorded, three quarters of these without owls
    assert 0.2 < is_grey.mean() < 0.6


@pytest.mark.parametrize("name", ["x.gif", "x", "x.png.zip", "x.jpeg"])
def test_the_ending_must_be_a_picture_s(tmp_path, name):
    with pytest.raises(Invalid, match=r"must be \.png, \.svg, \.pdf"):
        require_picture(tmp_path / name)


def test_a_picture_needs_its_folder(tmp_path):
    with pytest.raises(NotFound, match="there is no folder"):
        require_picture(tmp_path / "none" / "x.png")
    (tmp_path / "x.png").mkdir()
    with pytest.raises(Invalid, match="is a folder"):
        require_picture(tmp_path / "x.png")
    assert require_picture(str(tmp_path / "y.SVG")) == Path(tmp_path / "y.SVG")


def test_a_picture_that_breaks_off_leaves_the_old_one(tmp_path):
    (tmp_path / "x.png").write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), picture(tmp_path / "x.png", "t", "s", "f"):
        raise ZeroDivisionError
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]
    assert (tmp_path / "x.png").read_bytes() == b"old"


days = st.lists(st.dates(date(2000, 1, 1), date(2030, 1, 1)), max_size=30)


@given(
    days
    | st.tuples(st.dates(date(2020, 1, 1), date(2021, 1, 1)), st.integers(1, 900)).map(
        lambda t: [t[0] + timedelta(n) for n in range(t[1])]
    )
)
def test_an_axis_holds_every_date_once_and_in_order(dates):
    axis = DateAxis.of(dates)
    shown = [day for day in axis.columns if day is not None]
    assert shown == sorted(set(shown))
    assert set(dates) <= set(shown)
    for before, after in itertools.pairwise(axis.columns):
        if before is not None and after is not None:
            assert (after - before).days == 1  # what is cut out is marked
    for i in axis.cuts:
        assert (axis.columns[i + 1] - axis.columns[i - 1]).days > 21
    ticks = axis.ticks()
    assert len(ticks) <= TICKS_MAX + 2
    assert [i for i, _ in ticks] == sorted({i for i, _ in ticks})
    assert all(axis.columns[i] is not None for i, _ in ticks)
    assert bool(ticks) == bool(dates)
    years = [text.split("\n")[1] for _, text in ticks if "\n" in text]
    assert years == sorted(set(years), key=years.index)


def test_ticks_of_a_season_are_weeks():
    axis = DateAxis.of(DAY.date() + timedelta(n) for n in range(60))
    assert [text for _, text in axis.ticks()][:3] == ["20 Mar\n2025", "27 Mar", "3 Apr"]
    assert [text for _, text in axis.ticks(4)] == ["1 Apr\n2025", "1 May"]


def test_years_between_visits_are_cut_out():
    axis = DateAxis.of([date(2019, 5, 22), date(2022, 9, 20), date(2022, 9, 21)])
    assert axis.columns == (date(2019, 5, 22), None, date(2022, 9, 20), date(2022, 9, 21))
    assert [text for _, text in axis.ticks()] == ["22 May\n2019", "20 Sep\n2022", "21 Sep"]


@pytest.mark.parametrize(
    ("label", "long", "short"),
    [
        (OWL, "Tawny Owl (Strix aluco)", "Tawny Owl"),
        ("rain", "rain", "rain"),
        ("Dog_Dog", "Dog", "Dog"),
        ("a_", "a", "a"),
    ],
)
def test_names_of_species(label, long, short):
    assert (species_name(label), short_name(label)) == (long, short)
    assert CHIFFCHAFF.partition("_")[2] == short_name(CHIFFCHAFF)


@pytest.fixture(scope="module")
def other():
    with FakeArchive() as made:
        yield made


@settings(max_examples=4, deadline=None)
@given(recordings(), st.booleans(), st.booleans(), st.sampled_from([By.HOUR, By.DATE, By.MONTH, By.SUN]))
def test_whatever_there_is_can_be_drawn(other, tmp_path_factory, files, per_site, counts, by):
    other.hold(tables_of(files))
    folder = tmp_path_factory.mktemp("drawn")
    answer = activity(other, [OWL, TIT], SearchFilter(score_min=0.1), per_site=per_site, sun=True)
    draw_activity(answer, folder / "1.svg", counts=counts)
    draw_summary(summarise(other), folder / "2.svg")
    draw_species(species(other, SearchFilter(score_min=0.1), per_site=per_site), folder / "3.svg")
    if by is not By.SUN or any(panel.sun for panel in answer.panels):
        draw_profile(answer, folder / "4.svg", by, counts=counts)
    assert all(path.read_bytes().startswith(b"<?xml") for path in folder.iterdir())


@pytest.mark.parametrize(("days", "share"), [(60, 1.0), (60, 0.5), (400, 0.2), (3, 1.0), (1, 1.0)])
def test_axes_are_as_wide_as_their_columns(drawn, tmp_path, days, share):
    """Every column lies within the axis, and no two labels within a fifteenth of it."""
    step = round(1 / share)
    files = [
        Recording(f"{d}.wav", "a", DAY + timedelta(days=d), 3.0, found=[[(OWL, 0.9)]]) for d in range(0, days, step)
    ]
    with FakeArchive(tables_of(files)) as archive:
        draw_activity(activity(archive, [OWL]), tmp_path / "x.svg")
    axis = drawn[0].axes[0]
    low, high = axis.get_xlim()
    ticks = sorted(axis.get_xticks())
    assert low <= ticks[0] <= ticks[-1] <= high
    assert min(np.diff(ticks), default=1.0) >= (high - low) / 15
