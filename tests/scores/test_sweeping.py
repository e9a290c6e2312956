"""gc and scores: those of parts that are gone go, everything else stays."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from cluster.scoring import score_snapshot
from store import Archive, read_snapshot
from store.care import collect_garbage, compact
from store.fsops import LocalFileOps
from store.scores.sweeping import sweep_scores
from tests.care.support import later
from tests.scores.kit import check_scores, keep, probe, scores_tree, some_probes, twin


def score(root, probes):
    return score_snapshot(root, read_snapshot(root), probes)


def test_scores_go_when_their_parts_are_gone(store):
    probes = [keep(store, p) for p in some_probes()]
    score(store, probes)
    before = set(scores_tree(store))
    compact(store)
    score(store, probes)
    kept = set(scores_tree(store)) - before
    waiting = collect_garbage(store, keep_snapshots=1, now=later(1))
    assert waiting.score_files == 0 and before < set(scores_tree(store)), "the parts are in their grace period"
    tree = scores_tree(store)
    dry = collect_garbage(store, keep_snapshots=1, now=later(25), dry_run=True)
    assert scores_tree(store) == tree
    done = collect_garbage(store, keep_snapshots=1, now=later(25))
    assert dry.score_files == done.score_files == done.parts > 0
    left = set(scores_tree(store))
    assert kept <= left and len(left) == len(tree) - done.score_files
    with Archive(store) as archive:
        check_scores(archive.sql("SELECT * FROM scores").to_pylist(), twin(archive, probes))
    assert score(store, probes).parts_scored == 0


def test_young_files_stay_and_so_does_what_is_no_file_of_scores(store):
    score(store, [probe()])
    (folder,) = Path(store, "scores").iterdir()
    (folder / "notes.txt").write_text("somebody's own")
    size = sum(p.stat().st_size for p in folder.glob("part-*"))
    ops = LocalFileOps()
    assert sweep_scores(store, set(), ops, grace_s=0) == (0, 0), "a part may be scored before a list of parts names it"
    assert sweep_scores(store, set(), ops, now=lambda: time.time() + 7200, dry_run=True) == (3, size)
    there = {p.part_id for p in read_snapshot(store).parts}
    assert sweep_scores(store, there, ops, now=lambda: time.time() + 7200) == (0, 0)
    assert sweep_scores(store, there - {min(there)}, ops, now=lambda: time.time() + 7200)[0] == 1
    assert {p.name for p in folder.iterdir()} > {"notes.txt", "set.json"}
    shutil.rmtree(f"{store}/scores")
    assert sweep_scores(store, set(), ops, now=lambda: time.time() + 7200) == (0, 0)
