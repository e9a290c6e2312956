"""What the verbs print for people."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search_api.questions.activity import By, Source, activity
from search_api.questions.species import species
from search_api.questions.summary import summarise
from sonotheque.cli.ask_tables import activity_text, found_by, species_text, summary_text
from sonotheque.core.filters import SearchFilter
from tests.questions.kit import CHIFFCHAFF, OWL, TIT, FakeArchive, Recording, tables_of
from tests.questions.worlds import recordings

DAY = datetime(2025, 5, 1)


@pytest.fixture(scope="module")
def archive():
    with FakeArchive() as made:
        yield made


def days(site, n, *, hours=(5,), lost=(), failed=(), duration_s=3600.0, **more):
    return [
        Recording(
            f"{site}/{d}-{h}.wav",
            site,
            DAY + timedelta(days=d, hours=h),
            duration_s,
            outcome="failed" if d in failed else "done",
            status="unreadable" if d in failed else "ok",
            **more,
        )
        for d in range(n)
        for h in hours
        if d not in lost
    ]


def summary_lines(archive, files, *, by_day=False, **settings):
    archive.hold(tables_of(files, windows=False))
    return list(summary_text(summarise(archive, **settings), by_day=by_day))


def test_a_summary(archive):
    lines = summary_lines(
        archive,
        [*days("forest", 10, place=(48.5, 2.25)), *days("marsh", 3, zone=None), Recording("u.wav", "marsh", None)],
    )
    text = "\n".join(lines)
    assert (
        lines[0]
        == "14 recordings at 2 sites, 2025-05-01 to 2025-05-10: 13.0 h of sound in 15,603 windows (tiny, snapshot 3)"
    )
    assert lines[1] == "done 14, skipped 0, failed 0"
    assert "48.5000 2.2500" in text
    assert "60 min every 24 h" in text
    assert "no gaps longer than 60 min" in text
    assert "1 recordings with 3 windows have no known time, and no day or hour counts them: marsh 1" in text
    assert "UTC is unknown for recordings of marsh" in text


def test_gaps_say_from_when_to_when_and_why(archive):
    files = days("forest", 30, lost=(10, 11), failed=(20,))
    lines = summary_lines(archive, files)
    at = lines.index("2 gaps longer than 60 min")
    table = lines[at + 1].splitlines()
    assert table[2].split() == [
        "forest",
        "2025-05-10",
        "06:00",
        "2025-05-13",
        "05:00",
        "2",
        "d",
        "23",
        "h",
        "no",
        "files",
    ]
    assert "1 file failed: forest/20-5.wav: unreadable" in table[3]


def test_the_longest_of_many_gaps_are_shown_in_order_of_time(archive):
    files = days("forest", 200, lost=set(range(1, 199, 4)) | {101, 102})
    lines = summary_lines(archive, files)
    assert any("the 20 longest (--json has all)" in line for line in lines)
    table = next(line for line in lines if line.startswith("site    deployment")).splitlines()[2:]
    assert len(table) == 20
    starts = [row.split()[1] for row in table]
    assert starts == sorted(starts)
    assert any("2 d 23 h" in row for row in table)  # the longest is among them


def test_days_of_few_sites_stand_beside_one_another(archive):
    files = [*days("a", 3, lost=(1,)), *days("b", 3, failed=(2,)), *days("c", 1, duration_s=90.0)]
    lines = summary_lines(archive, files, by_day=True)
    at = next(i for i, line in enumerate(lines) if line.startswith("hours of sound"))
    table = lines[at + 1].splitlines()
    assert [row.split() for row in table[2:]] == [
        ["2025-05-01", "1.0", "1.0", "0.0"],
        ["2025-05-02", ".", "1.0", "."],
        ["2025-05-03", "1.0", "0.0!", "."],
    ]


def test_short_recordings_are_told_in_minutes(archive):
    lines = summary_lines(archive, days("a", 2, duration_s=90.0), by_day=True)
    assert any(line.startswith("minutes of sound") for line in lines)
    assert "2025-05-01  1.5" in "\n".join(lines)


def test_days_of_many_sites_are_a_character_each(archive):
    files = [
        r for i in range(12) for r in days(f"site{i:02d}", 10, lost=(i % 10,), failed=(9,), duration_s=600.0 * (i + 1))
    ]
    lines = summary_lines(archive, files, by_day=True)
    at = next(i for i, line in enumerate(lines) if line.startswith("a character a day from 2025-05-01 to 2025-05-10"))
    rows = lines[at + 1 : at + 13]
    assert [row.split()[0] for row in rows] == [f"site{i:02d}" for i in range(12)]
    strips = [row.split()[1] for row in rows]
    assert {len(s) for s in strips} == {10}
    for i, strip in enumerate(strips):
        assert strip[i % 10] == "." or i == 9
        assert strip[9] in "!."
    assert "█" in strips[11]
    assert "▁" in strips[0]


def test_long_times_without_recordings_are_not_listed_by_day(archive):
    files = [Recording("1.wav", "a", DAY, 3600.0), Recording("2.wav", "a", DAY + timedelta(days=2000), 3600.0)]
    lines = summary_lines(archive, files, by_day=True)
    assert len("\n".join(lines).splitlines()) < 15


def test_nothing_known_of_time(archive):
    lines = summary_lines(archive, [Recording("u.wav", "a", None)], by_day=True)
    assert "no recording has a known time" in lines
    assert lines[0].startswith("1 recordings at 1 site: ")


def test_an_hour_without_recording_is_empty_and_one_without_the_species_a_dot(archive):
    files = [
        Recording("1.wav", "a", DAY + timedelta(hours=4), 9.0, found=[[(OWL, 0.9)], [], []]),
        Recording("2.wav", "a", DAY + timedelta(hours=6), 9.0),
        Recording("3.wav", "a", DAY + timedelta(days=4, hours=6), 9.0),
        Recording("4.wav", "a", None, 9.0, found=[[(OWL, 0.9)], [], []]),
    ]
    archive.hold(tables_of(files))
    lines = list(activity_text(activity(archive, [OWL]), By.CELL))
    assert lines[2] == "Tawny Owl (Strix aluco) at a: 1 windows in 27.0 s of sound"
    first = lines[4]
    cells = [first[12 + 3 * h : 14 + 3 * h].strip() for h in range(24)]
    assert cells == ["", "", "", "", "1", "", ".", *[""] * 17]
    assert first.endswith("1    200.0")
    assert lines[5].strip() == "(3 days without recording)"
    assert lines[6].startswith("2025-05-05")
    assert lines[7] == "not counted, for want of a time: 3 windows, 1 with the species"


def test_bars_are_as_long_as_the_rate(archive):
    files = [
        Recording(f"{h}.wav", "a", DAY + timedelta(hours=h), 6.0, found=[[(TIT, 0.9)]] * n)
        for h, n in ((3, 0), (4, 1), (5, 2))
    ]
    archive.hold(tables_of(files))
    table = list(activity_text(activity(archive, [TIT], sun=True), By.HOUR))[3].splitlines()
    assert [row.count("█") for row in table[2:]] == [0, 15, 30]
    assert [row.split()[:4] for row in table[2:]] == [
        ["03:00", "0", "6.0", "s"], ["04:00", "1", "6.0", "s"], ["05:00", "2", "6.0", "s"],
    ]  # fmt: skip


def test_times_around_the_sun_are_words(archive):
    files = [
        Recording(f"{m}.wav", "a", DAY, 3.0, found=[[(TIT, 0.9)]], sun=(float(rise), float(fall)))
        for m, (rise, fall) in enumerate([(-45, 700), (10, 700), (600, -100), (600, 75)])
    ]
    archive.hold(tables_of(files))
    table = list(activity_text(activity(archive, [TIT], sun=True), By.SUN))[3].splitlines()
    assert [row.split("  ")[0] for row in table[2:]] == [
        "sunrise -1:00 to -0:30", "sunrise +0:00 to +0:30", "sunset -2:00 to -1:30", "sunset +1:00 to +1:30",
    ]  # fmt: skip


def test_zones_are_named_where_they_differ(archive):
    archive.hold(
        tables_of(
            [
                Recording("a.wav", "a", found=[[(OWL, 0.9)]]),
                Recording("b.wav", "b", zone="UTC"),
                Recording("c.wav", "c", zone=None),
            ]
        )
    )
    text = list(activity_text(activity(archive, [OWL]), By.CELL))
    assert text[1] == "each site on its own clock: Europe/Paris, UTC, unknown"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {},
            "predictions of tiny with score >= 0.5 (--min-score), any rank that the store keeps (--max-rank); a score is no probability",
        ),
        ({"score_min": 0.25, "rank_max": 1}, "with score >= 0.25 (--min-score), rank <= 1"),
        ({"score_max": 0.25}, "of any score, any rank"),
    ],
)
def test_every_answer_says_what_counts(archive, changes, said):
    archive.hold(tables_of([Recording("a.wav", found=[[(OWL, 0.9)]])]))
    assert said in found_by(activity(archive, [OWL], SearchFilter(**changes)))


def test_annotations_say_that_silence_proves_nothing(archive):
    note = {"recording_id": 0, "start_s": 0.0, "end_s": 2.0, "label": "Wren", "judgement": "positive"}
    archive.hold(tables_of([Recording("a.wav")], [note]))
    assert "what nobody listened to counts as recorded" in found_by(
        activity(archive, ["wren"], source=Source.ANNOTATIONS)
    )


def test_a_list_of_species(archive):
    found = [[(OWL, 0.9), (TIT, 0.8)], [(TIT, 0.6)], [(CHIFFCHAFF, 0.4)]]
    archive.hold(tables_of([Recording(f"{s}/1.wav", s, found=found) for s in ("a", "b")]))
    lines = list(species_text(species(archive), 30))
    assert lines[0] == "2 species in 18.0 s of sound at 2 sites"
    assert "score >= 0.5 (--min-score), rank <= 1 (--max-rank)" in lines[1]
    rows = lines[3].splitlines()
    assert rows[0].split()[:5] == ["species", "windows", "per", "h", "sites"]
    assert "a/1.wav 3 s" in rows[2]
    by_site = list(species_text(species(archive, per_site=True), 30))[3].splitlines()
    assert by_site[0].split()[:3] == ["species", "site", "windows"]
    assert len(by_site) == 6
    assert "3 of 4 rows; --top N shows more" in list(species_text(species(archive, per_site=True), 3))
    best = list(species_text(species(archive, SearchFilter(label=TIT), best=2), 30))
    assert any(line.startswith("best windows of Great Tit (Parus major)") for line in best)


@settings(max_examples=25, deadline=None)
@given(recordings(), st.booleans(), st.integers(1, 3), st.sampled_from(list(By)))
def test_every_answer_can_be_printed(archive, files, flag, best, by):
    archive.hold(tables_of(files))
    text = [
        *summary_text(summarise(archive), by_day=flag),
        *activity_text(activity(archive, [OWL, TIT], per_site=flag, sun=True), by),
        *species_text(species(archive, SearchFilter(score_min=0.1), per_site=flag, best=best), 10),
    ]
    assert all(isinstance(line, str) for line in text)
    assert not any("None" in line or "nan" in line for line in text)
