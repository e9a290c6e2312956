"""``make chaos``: many seeds, their results into ``benchmarks/results`` and ``docs/reliability.md``."""

from __future__ import annotations

import argparse
import resource
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.envelope import read, write
from sonotheque.cli.output import tell
from tests.chaos.results import PAGE, RESULT, put, result_of, table
from tests.chaos.sweep import Stage, run_seed


def main() -> int:
    """Run the seeds; 1 if any of them did not end as the quiet run."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument(
        "--out", type=Path, default=RESULT, help="results file; the page is written only with the usual one"
    )
    given = parser.parse_args()
    if given.seeds < 1 or given.first < 0:
        parser.error(f"--seeds {given.seeds} --first {given.first}: at least 1 and 0")
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    folder = Path(tempfile.mkdtemp(prefix="sonotheque-chaos-"))
    rows = sweep(folder, range(given.first, given.first + given.seeds))
    write(result_of(rows, given.first), given.out)
    if given.out == RESULT:
        PAGE.write_text(put(PAGE.read_text(encoding="utf-8"), table(read(RESULT))), encoding="utf-8")
    bad = [row["seed"] for row in rows if row["verdict"] != "the same"]
    tell(
        f"{given.out}: {len(rows) - len(bad)} of {len(rows)} as the quiet run"
        + (f"; not seeds {bad}: see {folder}" if bad else "")
    )
    return 1 if bad else 0


def sweep(folder: Path, seeds: range) -> list[dict[str, Any]]:
    """Run seeds one after the other on one cluster; one that gets stuck costs itself, and the next has a new cluster."""
    rows: list[dict[str, Any]] = []
    stage = Stage.build(folder)
    try:
        for seed in seeds:
            row = run_seed(stage, seed)
            rows.append(row)
            deeds = ", ".join(f"{d['kind']} at {d['at_committed']}" for d in row["deeds"])
            tell(f"seed {seed}: {row['verdict']}, {row['took_s']} s; {deeds}; exit codes {row['exits']}")
            if row["faults"]:
                tell("  " + "\n  ".join(row["faults"]))
                stage.renew()
    finally:
        stage.close()
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
