"""Answers as text: what ``summary``, ``activity`` and ``species`` print for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from sonotheque.cli.fitting import fitted
from sonotheque.cli.output import audio, label, seconds, table

if TYPE_CHECKING:
    from search_api.questions.activity import Activity, By, Panel
    from search_api.questions.gaps import Gap
    from search_api.questions.species import Species
    from search_api.questions.summary import SiteSummary, Summary

_GAPS_SHOWN = 20
_SITES_ACROSS = 10  # more sites than fit beside one another: one character a day
_SHADES = "▁▂▃▄▅▆▇█"
_BAR_CHARS = 30


def summary_text(answer: Summary, *, by_day: bool) -> Iterator[str]:
    """Yield the lines of a summary."""
    total = answer.totals
    when = f", {total['first_date']} to {total['last_date']}" if total["first_date"] else ""
    yield (
        f"{total['recordings']:,} recordings at {_count(total['sites'], 'site')}{when}: {audio(total['audio_s'])} of sound in "
        f"{total['windows']:,} windows ({answer.about.model}, snapshot {answer.about.snapshot})"
    )
    yield f"done {total['done']:,}, skipped {total['skipped']:,}, failed {total['failed']:,}"
    yield ""
    if by_day:
        yield from _days(answer)
    else:
        yield fitted(
            ["site", "recordings", "failed", "first", "last", "days", "sound", "windows", "zone", "place", "schedule"],
            [_site(site) for site in answer.sites],
            right=(1, 2, 5, 6, 7),
        )
    yield ""
    yield from _gaps(answer)
    if total["without_time"]:
        where = ", ".join(f"{s.site} {s.without_time:,}" for s in answer.sites if s.without_time)
        yield (
            f"{total['without_time']:,} recordings with {total['windows_without_time']:,} windows have no known time, and no day or hour "
            f"counts them: {where}"
        )
    if zoneless := [s.site for s in answer.sites if s.without_zone]:
        yield f"UTC is unknown for recordings of {', '.join(zoneless)}: no zone is given (`sonotheque metadata` sets one)"


def _site(site: SiteSummary) -> list[str]:
    rules = list(dict.fromkeys(str(rule) for _, rule in site.schedules))
    place = "unknown" if site.latitude is None else f"{site.latitude:.4f} {site.longitude:.4f}"
    return [
        site.site,
        f"{site.recordings:,}",
        f"{site.failed:,}",
        "" if site.first is None else f"{site.first:%Y-%m-%d %H:%M}",
        "" if site.last is None else f"{site.last:%Y-%m-%d %H:%M}",
        f"{site.days:,}",
        audio(site.audio_s),
        f"{site.windows:,}",
        site.zone or "unknown",
        place,
        "; ".join(rules),
    ]


def _gaps(answer: Summary) -> Iterator[str]:
    least = f"{answer.gap_min_s / 60:g} min"
    if not answer.gaps:
        yield f"no gaps longer than {least}"
        return
    longest = sorted(answer.gaps, key=lambda gap: -gap.length_s)[:_GAPS_SHOWN]
    yield f"{_count(len(answer.gaps), 'gap')} longer than {least}" + (
        f", the {_GAPS_SHOWN} longest (--json has all)" if len(longest) < len(answer.gaps) else ""
    )
    shown = [gap for gap in answer.gaps if gap in longest]
    yield fitted(["site", "deployment", "from", "to", "length", "why"], [_gap(gap) for gap in shown], right=(4,))


def _gap(gap: Gap) -> list[str]:
    why = f"{_count(gap.failed, 'file')} failed" if gap.failed else ""
    why = f"{why or _count(gap.skipped, 'file') + ' skipped'}: {gap.examples[0]}" if gap.examples else why
    return [
        gap.site,
        gap.deployment or "",
        str(gap.from_local)[:16].replace("T", " "),
        str(gap.to_local)[:16].replace("T", " "),
        seconds(gap.length_s),
        why or "no files",
    ]


def _days(answer: Summary) -> Iterator[str]:
    """Yield the effort of each site and day: dates down and sites across, or, of many sites, a character a day."""
    from search_api.questions.summary import all_days

    effort = {(day.site, day.date): day for day in answer.days}
    sites = list(dict.fromkeys(day.site for day in answer.days))
    dates = all_days(answer.days)
    if not dates:
        yield "no recording has a known time"
        return
    if len(sites) <= _SITES_ACROSS:
        unit_s, unit = (3600, "hours") if max(day.audio_s for day in answer.days) >= 3600 else (60, "minutes")
        yield f"{unit} of sound; a dot: nothing recorded; !: files failed"
        rows = []
        for day in sorted({d.date for d in answer.days}) if len(dates) > 2 * len(answer.days) else dates:
            cells = [effort.get((site, day)) for site in sites]
            rows.append(
                [str(day), *("." if c is None else f"{c.audio_s / unit_s:.1f}{'!' * bool(c.failed)}" for c in cells)]
            )
        yield fitted(["date", *sites], rows, right=range(1, len(sites) + 1))
        return
    most = max(day.audio_s for day in answer.days) or 1.0
    yield f"a character a day from {dates[0]} to {dates[-1]}; █ is {audio(most)}, a dot nothing recorded, ! only failed files"
    wide = max(len(site) for site in sites)
    for site in sites:
        yield f"{site:<{wide}}  " + "".join(_shade(effort.get((site, day)), most) for day in dates)


def _shade(day: Any, most: float) -> str:
    if day is None:
        return "."
    if day.audio_s <= 0:
        return "!"
    return _SHADES[min(len(_SHADES) - 1, int(day.audio_s / most * len(_SHADES)))]


def activity_text(answer: Activity, by: By) -> Iterator[str]:
    """Yield the lines of an activity: a table for each species and site."""
    from search_api.questions.activity import By as Rows

    yield found_by(answer)
    zones = sorted({place.zone or "unknown" for place in answer.places})
    if len(zones) > 1:
        yield f"each site on its own clock: {', '.join(zones)}"
    for panel in answer.panels:
        yield ""
        where = panel.site or (answer.places[0].site if len(answer.places) == 1 else _count(len(answer.places), "site"))
        sound = float(panel.grid.audio_s.sum())
        yield f"{label(panel.label)} at {where}: {panel.found:,} windows in {audio(sound)} of sound"
        yield from _cells(panel) if by is Rows.CELL else _bars(answer, panel, by)
        if panel.without_time["windows"]:
            lost = panel.without_time
            yield f"not counted, for want of a time: {lost['windows']:,} windows, {lost['found']:,} with the species"
        if panel.without_sun and panel.without_sun["windows"]:
            lost = panel.without_sun
            yield f"not counted, for want of coordinates or UTC: {lost['windows']:,} windows, {lost['found']:,} with the species"


def found_by(answer: Activity | Species) -> str:
    """Return how it was decided that a species is there; every answer says so."""
    if getattr(answer, "source", "predictions") == "annotations":
        return "windows with a positive annotation; what nobody listened to counts as recorded"
    score = "of any score" if answer.score_min is None else f"with score >= {answer.score_min:g} (--min-score)"
    ranks = "any rank that the store keeps" if answer.rank_max is None else f"rank <= {answer.rank_max}"
    return f"predictions of {answer.about.model} {score}, {ranks} (--max-rank); a score is no probability"


def _cells(panel: Panel) -> Iterator[str]:
    """Yield dates down and hours across; a dot where there was recording and no such window, nothing where there was none."""
    grid = panel.grid
    if not grid.dates:
        yield "no window has a known time"
        return
    heard = grid.found.max(initial=1)
    wide = max(2, len(str(heard)))
    yield f"{'date':<10}  " + " ".join(f"{h:>{wide}d}" for h in range(24)) + f"  {'all':>6}  {'per h':>7}"
    before: date | None = None
    for i, day in enumerate(grid.dates):
        if before is not None and (day - before).days > 1:
            yield f"{'':<10}  ({_count((day - before).days - 1, 'day')} without recording)"
        cells = [str(grid.found[i, h]) if grid.found[i, h] else "." if grid.windows[i, h] else "" for h in range(24)]
        total, sound = int(grid.found[i].sum()), float(grid.audio_s[i].sum())
        rate = f"{total * 3600 / sound:.1f}" if sound > 0 else ""
        yield f"{day}  " + " ".join(f"{c:>{wide}}" for c in cells) + f"  {total:>6,}  {rate:>7}"
        before = day


def _bars(answer: Activity, panel: Panel, by: By) -> Iterator[str]:
    from search_api.questions.activity import rows_by

    own = [row for row in rows_by(answer, by) if (row["label"], row["site"]) == (panel.label, panel.site)]
    most = max((row["detections_per_h"] or 0.0 for row in own), default=0.0) or 1.0
    rows = []
    for row in own:
        rate = row["detections_per_h"] or 0.0
        bar = "█" * round(rate / most * _BAR_CHARS)
        rows.append([_when(row), f"{row['detections']:,}", audio(row["audio_h"] * 3600), f"{rate:.1f}", bar])
    yield table([str(by), "windows", "recorded", "per hour", ""], rows, right=(1, 2, 3))


def _when(row: dict[str, Any]) -> str:
    if "event" in row:
        return f"{row['event']} {_clock(row['from_min'])} to {_clock(row['to_min'])}"
    return f"{row['hour']:02d}:00" if "hour" in row else str(row.get("date") or row.get("month"))


def _clock(minutes: int) -> str:
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60}:{abs(minutes) % 60:02d}"


def species_text(answer: Species, top: int) -> Iterator[str]:
    """Yield the lines of a list of species."""
    names = len({row.label for row in answer.rows})
    yield f"{names:,} species in {audio(sum(answer.sites.values()))} of sound at {_count(len(answer.sites), 'site')}"
    yield found_by(answer)
    if not answer.rows:
        return
    yield ""
    shown = answer.rows[:top]
    with_site = any(row.site is not None for row in shown)
    rows = []
    for row in shown:
        best = row.best[0]
        rate = row.per_hour
        cells = [
            label(row.label),
            row.site or "",
            f"{row.windows:,}",
            "" if rate is None else f"{rate:.3g}",
            f"{row.sites:,}",
        ]
        cells += [
            f"{row.days:,}",
            _minute(row.first),
            _minute(row.last),
            f"{best.score:.3f}",
            f"{best.path} {best.start_s:g} s",
        ]
        rows.append(cells)
    heads = ["species", "site", "windows", "per h", "sites", "days", "first", "last", "best", "best window"]
    dropped = {4} if with_site else {1}
    kept = [i for i in range(len(heads)) if i not in dropped]
    right = [kept.index(i) for i in (2, 3, 4, 5, 8) if i in kept]
    yield fitted([heads[i] for i in kept], [[row[i] for i in kept] for row in rows], right=right)
    if len(shown) < len(answer.rows):
        yield f"{len(shown):,} of {len(answer.rows):,} rows; --top N shows more"
    if any(len(row.best) > 1 for row in shown):
        yield from _best(answer, shown)


def _best(answer: Species, shown: Sequence[Any]) -> Iterator[str]:
    for row in shown:
        yield ""
        yield f"best windows of {label(row.label)}" + (f" at {row.site}" if row.site else "")
        cells = [
            [f"{b.score:.3f}", b.site, _second(b.local_start), b.path, f"{b.start_s:g}", f"{b.end_s:g}"]
            for b in row.best
        ]
        yield fitted(["score", "site", "local time", "recording", "from s", "to s"], cells, right=(0, 4, 5))


def _minute(value: Any) -> str:
    return "" if value is None else f"{value:%Y-%m-%d %H:%M}"


def _second(value: Any) -> str:
    return "" if value is None else f"{value:%Y-%m-%d %H:%M:%S}"


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
