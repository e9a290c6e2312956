"""Real processes: readers all the while, two compactions at once, compaction beside commits."""

from __future__ import annotations

import multiprocessing

import pytest

from store import Archive, load_ledger, verify
from store.care import collect_garbage, compact
from tests.care import working
from tests.care.support import commit, later, live_details, many_small, seen, seen_now, snap
from tests.store import kit

CONTEXT = multiprocessing.get_context("spawn")


def run(*jobs):
    """Start processes on ``(function, *arguments)``; each puts one result."""
    results = CONTEXT.Queue()
    children = [CONTEXT.Process(target=function, args=(*arguments, results)) for function, *arguments in jobs]
    for child in children:
        child.start()
    told = [results.get(timeout=240) for _ in children]
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    return told


def test_readers_see_no_error_and_one_answer_throughout(tmp_path):
    """Two readers open, ask and close without pause while files change, parts are merged and everything unlisted is removed at once."""
    root, config = kit.new_store(tmp_path)
    for n in range(5):
        commit(root, config, (f"fixed/{n}.wav", 1, 2), (f"other/{n}-changes.txt.wav", 1, 1))
    snap(root, config)
    rows = [r for r in seen(root)["embeddings"] if r[3].startswith("fixed/")]
    with Archive(root) as archive:
        expected = working.answer(archive)
    stop = CONTEXT.Event()
    # One floor for both: the smaller one counts, so the second reader follows the first.
    floors = [CONTEXT.Value("i", 1), CONTEXT.Value("i", 1)]
    told = run(
        (working.read, root, floors[0], stop),
        (working.read, root, floors[1], stop),
        (working.maintain, root, Smallest(floors), stop),
    )
    for name, *facts in sorted(told, key=lambda t: t[0]):
        assert facts[-1] == "", facts
        if name == "reader":
            answers, asked, outlived, _ = facts
            assert answers == {expected}
            assert asked >= 3 and outlived >= 1, "no reader was open while the store changed"
        else:
            merged, removed, _ = facts
            assert merged > 10 and removed > 10, (merged, removed)
    assert [r for r in seen_now(root)["embeddings"] if r[3].startswith("fixed/")] == rows
    assert verify(root, [], deep=True).ok


class Smallest:
    """The smallest of several shared numbers."""

    def __init__(self, values):
        self.values = values

    @property
    def value(self):
        return min(v.value for v in self.values)


@pytest.mark.parametrize("targets", [(100, 100), (6, 9)], ids=["the_same_groups", "other_groups"])
def test_two_compactions_at_once(tmp_path, targets):
    """On machines that no common lock reaches. Whatever both make, every row is live once."""
    root, config = kit.new_store(tmp_path)
    many_small(root, config, 10)
    snap(root, config)
    rows, details = seen(root), live_details(root)
    barrier = CONTEXT.Barrier(2)
    told = run(*((working.compact_at_once, root, target, barrier) for target in targets))
    assert [t[0] for t in told] == ["ok", "ok"]
    assert seen_now(root) == rows and live_details(root) == details
    snap(root, config)
    assert seen(root) == rows and verify(root, [], deep=True).ok
    compact(root)
    collect_garbage(root, keep_snapshots=1, now=later(25))
    assert seen(root) == rows and live_details(root) == details and len(load_ledger(root).parts) == 1
    assert kit.temporary_files(root) == []


def test_compaction_beside_commits(tmp_path):
    """New versions, planned against the parts of before, are committed while these are merged: the new ones are live."""
    root, config = kit.new_store(tmp_path)
    many_small(root, config, 8)
    snap(root, config)
    held = {e.path: name for name, e in load_ledger(root).live.values()}
    changed = {path: held[path] for path in sorted(held)[::2]}
    barrier = CONTEXT.Barrier(2)
    told = run((working.compact_at_once, root, 12, barrier), (working.commit_at_once, root, changed, barrier))
    assert [t[0] for t in told] == ["ok", "ok"]
    for step in (lambda: None, lambda: compact(root), lambda: collect_garbage(root, keep_snapshots=1, now=later(25))):
        step()
        live = {e.path: e.size_bytes for _, e in load_ledger(root).live.values()}
        assert live == {path: 1009 if path in changed else 1001 for path in held}
    assert verify(root, [], deep=True).ok
