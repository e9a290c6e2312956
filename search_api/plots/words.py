"""What stands in pictures: titles, what was counted and how much of it, on whose clock, and the foot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from search_api.plots.style import short_name, shortened, species_name
from search_api.questions.activity import Activity, By, Panel, Source

PANELS_MAX: Final = 12


def shown_panels(answer: Activity) -> tuple[list[Panel], list[str]]:
    """Return the panels that a picture has room for, those with most in them, and a note on the others."""
    panels = [p for p in answer.panels if p.grid.dates] or list(answer.panels)
    if len(panels) <= PANELS_MAX:
        return panels, []
    most = sorted(panels, key=lambda p: -p.found)[:PANELS_MAX]
    kept = [p for p in panels if p in most]
    return kept, [f"{PANELS_MAX} of {len(panels)} panels drawn, those with most detections"]


def panel_title(answer: Activity, panel: Panel, most: int) -> str:
    """Return what stands above one of several panels, its name cut to ``most`` characters."""
    name = panel.site if len(answer.labels) == 1 and panel.site else row_title(answer, panel)
    return f"{shortened(name, most)}   n = {panel.found:,}"


def row_title(answer: Activity, panel: Panel) -> str:
    """Return what tells a panel from the others: its species, its site, or both."""
    if panel.site is None:
        return short_name(panel.label)
    return panel.site if len(answer.labels) == 1 else f"{short_name(panel.label)}, {panel.site}"


def title_of(answer: Activity, panels: Sequence[Panel]) -> str:
    """Return a picture's title: which species, where."""
    names = (
        [species_name(x) for x in answer.labels] if len(answer.labels) == 1 else [short_name(x) for x in answer.labels]
    )
    what = (
        names[0]
        if len(names) == 1
        else ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    )
    sites = [p.site for p in answer.places]
    if len(sites) == 1:
        return f"{what} at {sites[0]}"
    return f"{what} at {len(sites)} sites" + ("" if any(p.site for p in panels) else ", pooled")


def subtitle_of(answer: Activity, panels: Sequence[Panel], by: By = By.CELL) -> str:
    """Return the line below the title: what was counted, how much of it, on whose clock."""
    if answer.source is Source.ANNOTATIONS:
        counted = "windows with a positive annotation (what nobody listened to counts as recorded)"
    elif answer.source is Source.PROBE:
        counted = answer.counted
    else:
        counted = f"windows with a prediction, {score_text(answer.score_min, answer.rank_max)}, {answer.about.model}"
    own = [p for p in panels if p.label == panels[0].label]
    if by is By.SUN:
        total = sum(b.found for p in panels for b in p.sun)
        seconds = sum(b.audio_s for p in own for b in p.sun)
    else:
        total = sum(p.found for p in panels)
        seconds = sum(float(p.grid.audio_s.sum()) for p in own)
    zones = sorted({p.zone or "zone unknown" for p in answer.places})
    clock = zones[0] if len(zones) == 1 else f"each site's own ({len(zones)} zones)"
    return f"{counted}; n = {total:,} windows in {_hours(seconds)} of sound; clock: {clock}"


def score_text(score_min: float | None, rank_max: int | None) -> str:
    """Return the threshold in words; it is never left out."""
    score = "any score" if score_min is None else f"score ≥ {score_min:g}"
    return score if rank_max is None else f"{score}, rank ≤ {rank_max}"


def foot_of(answer: Any, first: Any, last: Any, *notes: str) -> str:
    """Return a picture's foot: store, snapshot, filter, dates."""
    about = answer.about
    chosen = about.filter_text(without=("score_min", "rank_max"))
    parts = [
        f"store {about.store}, snapshot {about.snapshot}",
        chosen and f"filter: {chosen}",
        f"{first} to {last}",
        *notes,
    ]
    return "  |  ".join(p for p in parts if p)


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.1f} h" if seconds >= 36_000 else f"{seconds / 3600:.2f} h"
