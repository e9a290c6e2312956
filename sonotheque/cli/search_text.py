"""A search's answer for people: what was searched for, the hits, how they were found, and what to know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sonotheque.cli.fitting import fitted

if TYPE_CHECKING:
    from search_api.search import SearchResult

_HEADINGS = ["rank", "score", "site", "local time", "path", "start_s"]
_FAILURES_SHOWN = 5


def answer_lines(result: SearchResult) -> Iterator[str]:
    """Yield the answer's lines."""
    from search_api.queries import seconds_text

    yield result.query.about
    hits = result.answer.hits
    several = len(result.query.vectors) > 1
    if not hits:
        yield nothing_line(result)
    else:
        rows = [
            [
                str(hit.rank),
                f"{'' if hit.exact else '~'}{hit.score:.4f}",
                hit.site,
                f"{hit.local_start:%Y-%m-%d %H:%M:%S}" if hit.local_start else "",
                hit.path,
                seconds_text(hit.start_s),
                *([str(hit.query + 1)] if several else []),
            ]
            for hit in hits
        ]
        # Times are as wide as they are: they are not cut either.
        yield fitted(
            [*_HEADINGS, *(["query"] if several else [])], rows, right=(0, 1, 3, 5, 6) if several else (0, 1, 3, 5)
        )
    yield plan_line(result)


def nothing_line(result: SearchResult) -> str:
    """Say that there are no hits, and why."""
    plan = result.answer.plan
    if not plan.windows:
        return "no hits: the store has no windows"
    if not plan.eligible:
        return f"no hits: none of the {plan.windows:,} windows matches the filter"
    if result.options.per_bin:
        return "no hits: no window has a score in these bins"
    return f"no hits: {result.options.wanted} were asked for"


def plan_line(result: SearchResult) -> str:
    """Say how the hits were found."""
    plan = result.answer.plan
    how = {
        "exact": f"{plan.compared:,} compared",
        "codes": f"codes of all, {plan.compared:,} compared",
        "lists": f"codes of the likeliest clusters ({plan.coded:,} windows), {plan.compared:,} compared",
        "gpu": "all compared on the GPU",
        "nothing": "nothing compared",
    }.get(plan.how, plan.how)
    recall = {"exact": "recall 1", "gpu": "recall 1", "nothing": ""}.get(
        plan.how, f"recall {plan.recall:.4f} as measured"
    )
    index = f"index {plan.index}" if plan.index else "no index"
    of = f"{plan.eligible:,} of {plan.windows:,} windows eligible"
    return ", ".join(filter(None, [f"{plan.how}: {of}", how, recall, f"{plan.took_ms:,.1f} ms", index]))


def closing_notes(result: SearchResult, drawn: dict[str, Any] | None, cut: dict[str, Any] | None) -> Iterator[str]:
    """Yield what goes to stderr after the answer."""
    for note in result.notes:
        yield f"note: {note}"
    if drawn is not None:
        for note in drawn["notes"]:
            yield f"note: {note}"
        if drawn["pictures"]:
            yield f"drawn: {drawn['file']} ({drawn['pictures']:,} pictures)"
    if cut is not None:
        yield f"{cut['clips']:,} clips written to {cut['out']}"
        failures = cut["failures"]
        if failures:
            yield f"{len(failures):,} clips could not be cut; failures.csv lists them all:"
        for one in failures[:_FAILURES_SHOWN]:
            yield f"  {one['path']} at {one['window_start_s']:g} s: {one['reason']}"
