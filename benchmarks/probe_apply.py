"""What it costs to run probes over an archive: ``python -m benchmarks.probe_apply FOLDER``; FOLDER holds a searched archive's ``store``."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from probes import Probe
from store import layout, open_archive

PAIRS = 3
COUNTS = ((1, 1), (232, 3))  # probes, classes of each


def made_probes(spec: Any, count: int, classes: int) -> list[Probe]:
    """Return probes with random weights whose scores are rarely above the floor, as those of rare species are."""
    rng = np.random.default_rng([count, classes])
    found = []
    for number in range(count):
        weights = rng.standard_normal((spec.dim, classes)).astype(np.float32)
        names = tuple(f"{number} {c}" for c in range(classes))
        bias, ones = np.full(classes, -8.0, np.float32), np.ones(classes)
        found.append(
            Probe(f"p{number}", 1, "multilabel", names, spec, weights, bias, ones, np.zeros(classes), ones / 2, {})
        )
    return found


def main(folder: Path) -> dict[str, Any]:
    """Read the vectors plainly, and apply probes, by turns."""
    from cluster.scoring import score_snapshot

    root = str(folder / "store")
    rows = []
    with open_archive(root) as archive:
        total = sum(p.live_rows for p in archive.snapshot.parts)
        for count, classes in COUNTS:
            probes = made_probes(archive.config.model, count, classes)
            pairs = []
            for _ in range(PAIRS):
                began, cpu = time.perf_counter(), time.process_time()
                read = sum(len(vectors) for _, vectors in archive.vectors())
                plain, plain_cpu = time.perf_counter() - began, time.process_time() - cpu
                shutil.rmtree(f"{root}/{layout.SCORES}", ignore_errors=True)
                began, cpu = time.perf_counter(), time.process_time()
                report = score_snapshot(root, archive.snapshot, probes)
                spent, spent_cpu = time.perf_counter() - began, time.process_time() - cpu
                if not report.windows == read == total:
                    raise ValueError(f"{report.windows} scored, {read} read, {total} there")
                pairs.append((plain, plain_cpu, spent, spent_cpu, report.scores, report.bytes))
            plain, plain_cpu, spent, spent_cpu, scores, size = (
                float(np.median([p[i] for p in pairs])) for i in range(6)
            )
            rows.append(
                {
                    "probes": count,
                    "classes": count * classes,
                    "windows": total,
                    "read_s": round(plain, 2),
                    "read_cpu_s": round(plain_cpu, 2),
                    "apply_s": round(spent, 2),
                    "apply_cpu_s": round(spent_cpu, 2),
                    "share_of_read_speed": round(float(np.median([p[0] / p[2] for p in pairs])), 2),
                    "windows_per_s": round(total / spent),
                    "window_probes_per_s": round(total * count / spent),
                    "scores_kept": round(scores),
                    "bytes": round(size),
                }
            )
    shutil.rmtree(f"{root}/{layout.SCORES}", ignore_errors=True)
    return {"rows": rows}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]))) + "\n")
