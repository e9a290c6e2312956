"""What a sweep found, as a results file and as the table of ``docs/reliability.md``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.envelope import envelope, provenance
from tests.chaos.deeds import KINDS

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
RESULT = Path(__file__).parents[2] / "benchmarks" / "results" / "chaos.json"
_BEGIN, _END = "<!-- kill sweep: begin -->", "<!-- kill sweep: end -->"
_SUMS = ("rows", "lost", "doubled", "files", "different", "twice", "missed")
_DATA = "51 recordings of 4 s at 6 sites, 24 parts; a scheduler and two workers with nannies, each a process; model placeholder"
_MEANS = {
    "kill worker": "a worker gets SIGKILL; its nanny starts another",
    "kill coordinator": "`sonotheque embed` gets SIGKILL and is given again, or `sonotheque resume`",
    "kill nanny": "its worker has to end with it; the node is started again",
    "freeze worker": "SIGSTOP, and SIGCONT 0.1 to 0.8 s later",
    "segfault worker": "a null pointer is read in it, by Dask's `KillWorker`",
    "freeze coordinator": "SIGSTOP, and SIGCONT 0.1 to 0.8 s later",
    "kill node": "nanny and worker at once: a machine that is lost",
    "kill workers": "all workers at once",
    "freeze nanny": "SIGSTOP, and SIGCONT 0.1 to 0.8 s later",
    "kill scheduler": "the run ends (exit code 6); scheduler and nodes are started again, then the run",
    "freeze scheduler": "SIGSTOP, and SIGCONT 0.1 to 0.8 s later",
    "freeze_long worker": "until the scheduler gives it up, and its nanny has replaced it",
    "freeze_long bare": "a worker without a nanny, until the scheduler has given its part to the other one or the run is through; "
    "then it wakes and embeds its part to the end as well",
}


def result_of(rows: list[dict[str, Any]], first: int) -> dict[str, Any]:
    """Return the results file of a sweep.

    Parameters
    ----------
    rows : list of dict
        What :func:`tests.chaos.sweep.run_seed` gave for each seed.
    first : int
        The first seed.
    """
    restarts: Counter[str] = Counter()
    for row in rows:
        restarts.update(row["restarts"])
    same = sum(row["verdict"] == "the same" for row in rows)
    summed = {name: sum(row[name] for row in rows) for name in _SUMS}
    head = envelope("chaos", "", _DATA)
    return (
        head
        | {"command": f"make chaos SEEDS={len(rows)}"}
        | {
            "headline": f"{same} of {len(rows)} disturbed runs end with the files of a quiet one, byte for byte; {summed['lost']} rows lost, "
            f"{summed['doubled']} doubled, {summed['twice']} parts embedded twice and committed once",
            "first_seed": first,
            "seeds": len(rows),
            "same": same,
            "sums": summed,
            "restarts": dict(restarts),
            "by_kind": _by_kind(rows),
            "each": [{**row, "deeds": [_words(deed) for deed in row["deeds"]]} for row in rows],
        }
    )


def _by_kind(rows: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    found = {}
    for kind in map(str, KINDS):
        with_it = [row for row in rows if any(deed["kind"] == kind for deed in row["deeds"])]
        found[kind] = {
            "times": sum(deed["kind"] == kind for row in with_it for deed in row["deeds"]),
            "seeds": len(with_it),
            "same": sum(row["verdict"] == "the same" for row in with_it),
        }
    return found


def _words(deed: dict[str, Any]) -> str:
    """Return a deed in a line: one of 200 seeds' results must not fill a page."""
    where = f" {deed['node']}" if deed["kind"].split()[1] in ("worker", "nanny", "node", "bare") else ""
    held = f", {deed['hold_s']} s" if deed["kind"].startswith("freeze ") else ""
    return f"{deed['kind']}{where}: job {deed['job']}, {deed['at_committed']} parts committed, {deed['after_s']} s into another{held}"


def table(result: dict[str, Any]) -> str:
    """Return the part of the page that tells of a sweep, as Markdown."""
    sums, again = result["sums"], result["restarts"]
    lines = [
        f"`{result['command']}`; {result['data']}; {provenance(result)}.",
        "",
        f"**{result['same']} of {result['seeds']} seeds ended as the quiet run**: {sums['rows']:,} rows and {sums['files']:,} part files compared, "
        f"{sums['lost']} rows lost, {sums['doubled']} doubled, {sums['different']} files missing, too many or of other bytes. "
        f"{sums['twice']} parts were embedded to the end by two tasks, and committed by one. Started again: the coordinator "
        f"{again['coordinator']} times, the scheduler {again['scheduler']}, nodes {again['nodes']}; workers that their nannies replaced "
        "are not counted.",
        "",
        "| disturbance | what it is | times | seeds with it | of them as the quiet run |",
        "|---|---|---|---|---|",
    ]
    for kind, found in result["by_kind"].items():
        lines.append(f"| {kind} | {_MEANS[kind]} | {found['times']} | {found['seeds']} | {found['same']} |")
    return "\n".join(lines)


def told(page: str) -> str:
    """Return what a page tells of the sweep."""
    return page.partition(_BEGIN)[2].partition(_END)[0].strip()


def put(page: str, text: str) -> str:
    """Return a page with another table of the sweep."""
    before, _, rest = page.partition(_BEGIN)
    return f"{before}{_BEGIN}\n{text}\n{_END}{rest.partition(_END)[2]}"
