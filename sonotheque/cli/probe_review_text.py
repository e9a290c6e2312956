"""Windows to judge, and how many hold the call, as text for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from search_api.probes.review import Review

_SHOWN: Final = 30


def review_lines(found: Review, out: str | None, store: str) -> Iterator[str]:
    """Yield the windows to judge, the best of them if there are many, and what to do next."""
    from search_api.queries import seconds_text
    from sonotheque.cli.fitting import fitted

    probe, rows = found.probe, found.table.to_pylist()
    before = ", ".join(f"{label} {n:,}" for label, n in list(found.judged.items())[:8])
    yield (
        f"probe {probe.name} version {probe.version}, {found.options.how}: {len(rows):,} of {found.windows:,} windows to judge "
        f"(judged before: {before})"
    )
    if found.bins:
        yield from _bin_lines(found.bins)
    cells = [
        [
            str(row["rank"]),
            f"{row['score']:.4f}",
            row["label"],
            row["site"] or "",
            f"{row['local_start']:%Y-%m-%d %H:%M:%S}" if row["local_start"] else "",
            row["path"],
            seconds_text(row["start_s"]),
        ]
        for row in rows[:_SHOWN]
    ]
    if cells:
        yield fitted(
            ["rank", "probability", "label", "site", "local time", "path", "start_s"], cells, right=(0, 1, 4, 6)
        )
    if len(rows) > _SHOWN:
        yield f"and {len(rows) - _SHOWN:,} more{'' if out else ': -o FILE.csv writes all of them'}"
    if out:
        yield f"written to {out}: fill in the column judgement (positive, negative or uncertain), then"
        yield f"  sonotheque annotate import {out} --store {store}"
        if found.number is not None:
            yield f"  sonotheque probe density {probe.name} --review {found.number} --store {store}"


def _bin_lines(bins: list[dict[str, Any]]) -> Iterator[str]:
    from sonotheque.cli.output import table

    rows = [
        [
            i,
            f"{b['low']:.4g}",
            f"{b['high']:.4g}",
            f"{b['windows']:,}",
            b["picked"],
            f"{b['known_positive'] + b['known_negative']:,}",
        ]
        for i, b in enumerate(bins, 1)
    ]
    yield table(["bin", "from", "to", "windows", "picked", "judged before"], rows, right=range(6))
    yield ""


def density_lines(found: dict[str, Any]) -> Iterator[str]:
    """Yield an estimate of how many windows hold a call, with what it was made from."""
    from sonotheque.cli.output import table

    low, high = found["count_ci"]
    share_low, share_high = found["share_ci"]
    window = f"windows of {found['window_s']:g} s"
    if found["count"] is None:
        yield f"{found['label']}: not known how many of {found['windows']:,} {window} hold it; {low:,.0f} to {high:,.0f} are possible"
    else:
        yield (
            f"{found['label']}: about {_count(found['count'])} of {found['windows']:,} {window} hold it ({_percent(found['share'])}); "
            f"95 % interval {low:,.0f} to {high:,.0f} ({_percent(share_low)} to {_percent(share_high)})"
        )
    yield (
        f"  review {found['review']} of probe {found['probe']} version {found['version']}: {found['judged']:,} of {found['picked']:,} random "
        f"windows judged, {found['known']:,} known before"
    )
    if found["roc_auc"] is not None:
        ends = " to ".join(f"{end:.3f}" for end in found["roc_auc_ci"])
        yield f"  the probe's ROC-AUC on these windows, by bins: {found['roc_auc']:.3f} (95 % interval {ends}; chance 0.5)"
    rows = [
        [
            i,
            f"{b['low']:.4g}",
            f"{b['high']:.4g}",
            f"{b['windows'] + b['known']:,}",
            f"{b['known']:,}",
            f"{b['picked']:,}",
            f"{b['judged']:,}",
            f"{b['positive']:,}",
            "?" if b["count"] is None else _count(b["count"]),
            " to ".join(f"{end:,.0f}" for end in _bin_ends(b)),
        ]
        for i, b in enumerate(found["bins"], 1)
    ]
    titles = ["bin", "from", "to", "windows", "known", "drawn", "judged", "positive", "with call", "95 % interval"]
    yield table(titles, rows, right=range(10))


def _bin_ends(one: dict[str, Any]) -> list[float]:
    return [end * one["windows"] + one["known_positive"] for end in one["share_ci"]]


def _count(value: float) -> str:
    return f"{value:,.1f}" if value < 100 and value != round(value) else f"{value:,.0f}"


def _percent(share: float) -> str:
    return f"{share:.2%}" if share < 0.1 else f"{share:.1%}"
