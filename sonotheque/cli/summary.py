"""The closing summary of a run, for people."""

from __future__ import annotations

from typing import Any

from sonotheque.cli.output import audio, seconds, size

_FAILURES_SHOWN = 10


def summary_lines(report: dict[str, Any]) -> list[str]:
    """Return the summary of a run report (its JSON)."""
    lines = [f"job {report['job']} {report['state']}: {report['files']:,} files", *_outcomes(report)]
    peaks = report.get("peak_rss_bytes", {})
    if report["windows"] and report["wall_s"] is None:
        lines.append(
            f"  audio    {audio(report['audio_s'])} in {report['windows']:,} windows so far; speed and size are told when a run ends"
        )
    elif report["windows"]:
        lines += [
            f"  audio    {audio(report['audio_s'])} in {report['windows']:,} windows of {report['model']}",
            f"  speed    {report['x_realtime']:,.1f} x realtime, {report['windows_per_s']:,.1f} windows/s over {seconds(report['wall_s'])} "
            f"of wall time ({seconds(report['startup_s'])} of it to plan, start {report['workers']} worker"
            f"{'s' if report['workers'] != 1 else ''} and load the model)",
            "  stages   " + ", ".join(f"{name} {share:.1%}" for name, share in report["stage_shares"].items()),
            f"  memory   {size(peaks['workers'])} at most in a worker, {size(peaks['coordinator'])} in the coordinator",
            f"  store    {size(report['bytes'])} written, {report['bytes_per_window']:,.0f} bytes per window, {report['parts']} parts; "
            f"snapshot {report['snapshot']} holds {report['store_windows']:,} windows",
            f"  device   {report['device']}",
        ]
    doubts = {
        "without a start time": report["without_time"],
        "with a local time and no zone": report["without_utc"],
        "on the recorder's clock for want of a zone": report["without_zone"],
        **{issue.replace("_", " "): count for issue, count in report["time_issues"].items()},
    }
    if any(doubts.values()):
        lines.append("  time     new files: " + ", ".join(f"{n:,} {what}" for what, n in doubts.items() if n))
    lines += [f"  could not look into {p['path']}: {p['reason']}" for p in (report["problems"] or [])[:_FAILURES_SHOWN]]
    return lines


def _outcomes(report: dict[str, Any]) -> list[str]:
    def counts(what: dict[str, int]) -> str:
        return ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in sorted(what.items(), key=lambda kv: -kv[1]))

    noted = f"  ({counts(report['noted_by_status'])})" if report["noted_by_status"] else ""
    skipped = f"  ({counts(report['skipped_by_reason'])})" if report["skipped_by_reason"] else ""
    failed = f"  ({counts(report['failed_by_kind'])})" if report["failed_by_kind"] else ""
    lines = [
        f"  done     {report['done']:,}{noted}",
        f"  skipped  {report['skipped']:,}{skipped}",
        f"  failed   {report['failed']:,}{failed}",
    ]
    if report["pending"]:
        lines.append(f"  pending  {report['pending']:,}  (run again, or `sonotheque resume --store {report['store']}`)")
    for failure in report["failures"][:_FAILURES_SHOWN]:
        lines.append(f"    {failure['kind']:<13} {failure['path']}: {failure['reason']}")
    if report["failed"] > _FAILURES_SHOWN:
        lines.append(f"    ... and {report['failed'] - _FAILURES_SHOWN:,} more")
    if report["failed"]:
        lines.append(f"  all of them: sonotheque report --store {report['store']} --failed")
    return lines
