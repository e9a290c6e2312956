"""The loop on a backend that does what a script says: no process, no model, no disk."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cluster.coordinator
from cluster.backends import Ended, WorkerDied, WorkerLost
from cluster.coordinator import ENDS_THE_RUN, LOST_MAX, TRIES_MAX, Coordinator
from cluster.payload import ModelChoice, TaskPayload
from cluster.plan import PartPlan
from sonotheque.core.errors import KINDS, Damaged, SonothequeError, Unavailable
from sonotheque.core.model_spec import ModelSpec
from sonotheque.core.outcome import TaskOutcome
from sonotheque.core.windows import WindowRule
from store import StoreConfig

SPEC = ModelSpec("fake", "1", "", 16_000, 1600, 3, 0, "", "")
CONFIG = StoreConfig(SPEC, WindowRule(16_000, 1600, 1600, 800), {"channels": "mean"})


def payload(part_id: str) -> TaskPayload:
    return TaskPayload("store", CONFIG, PartPlan(part_id, "s", None, ()), "/", "", ModelChoice("fake"), "progress")


@dataclass
class Script:
    """A backend. `says[part]` are the errors of its tries, one after the other; after them it is committed."""

    says: dict[str, list[Exception]] = field(default_factory=dict)
    slots: int = 2
    title: str = "a script"
    backwards: bool = False
    flying: deque[str] = field(default_factory=deque)
    most: int = 0
    submitted: list[tuple[str, bool]] = field(default_factory=list)

    def start(self) -> ModelSpec:
        return SPEC

    def submit(self, payload: TaskPayload, *, guarded: bool = False) -> None:
        assert payload.part.part_id not in self.flying
        self.flying.append(payload.part.part_id)
        self.submitted.append((payload.part.part_id, guarded))
        self.most = max(self.most, len(self.flying))

    def next_ended(self, timeout_s: float) -> Ended | None:
        if not self.flying:
            return None
        part_id = self.flying.pop() if self.backwards else self.flying.popleft()
        errors = self.says.get(part_id, [])
        if errors:
            return Ended(part_id, None, errors.pop(0))
        return Ended(part_id, TaskOutcome(part_id, True, 1, 1, ""), None)

    def close(self, *, now: bool = False) -> None:
        return


@dataclass
class Desk:
    """What the coordinator told."""

    done: list[str] = field(default_factory=list)
    given_up: dict[str, Exception] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    ticks: int = 0


def coordinate(script: Script, parts: int | list[str], stop: Callable[[Desk], bool] = lambda desk: False) -> Desk:
    desk = Desk()
    names = [f"p{i}" for i in range(parts)] if isinstance(parts, int) else parts

    def tick() -> None:
        desk.ticks += 1

    Coordinator(
        script,  # type: ignore[arg-type]  # `slots` is an attribute here
        lambda outcome: desk.done.append(outcome.part_id),
        lambda lost, error: desk.given_up.__setitem__(lost.part.part_id, error),
        desk.notes.append,
        tick,
        lambda: stop(desk),
    ).run([payload(name) for name in names])
    return desk


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come at once; the test of the delay sets its own."""
    monkeypatch.setattr(cluster.coordinator, "RETRY_AFTER_S", 0.0)


@pytest.mark.parametrize("slots", [1, 2, 7])
@pytest.mark.parametrize("parts", [0, 1, 5, 200])
def test_every_part_is_done_and_few_are_in_flight(slots: int, parts: int) -> None:
    script = Script(slots=slots)
    desk = coordinate(script, parts)
    assert desk.done == [f"p{i}" for i in range(parts)]
    assert script.most == min(parts, 2 * slots + 4)
    assert desk.ticks >= parts


def test_the_window_follows_the_workers() -> None:
    script = Script(slots=1)

    def more_workers(desk: Desk) -> bool:
        script.slots = 1 if len(desk.done) < 20 else 5
        return False

    coordinate(script, 100, more_workers)
    assert script.most == 14


@pytest.mark.parametrize(
    ("error", "guarded"),
    [
        (OSError(5, "Input/output error"), False),
        (Unavailable("try again"), False),
        (Damaged("does not read back"), False),
        (WorkerDied("no progress"), True),
        (MemoryError(), True),
        (RuntimeError("a bug"), True),
        (KeyError("a bug"), True),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, Exception) else "",
)
def test_a_second_try_is_guarded_unless_the_disk_was_at_fault(error: Exception, guarded: bool) -> None:
    script = Script({"p1": [error]})
    desk = coordinate(script, 3)
    assert sorted(desk.done) == ["p0", "p1", "p2"]
    assert [g for part, g in script.submitted if part == "p1"] == [False, guarded]
    assert len(desk.notes) == 1
    assert type(error).__name__ in desk.notes[0]


def test_a_guarded_part_stays_guarded() -> None:
    script = Script({"p0": [WorkerDied("x"), OSError(5, "x")]})
    coordinate(script, 1)
    assert [g for _, g in script.submitted] == [False, True, True]


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), WorkerDied("killed")], ids=["plain", "guarded"])
def test_gives_up_after_so_many_tries_and_says_so(error: Exception) -> None:
    script = Script({"p1": [error] * 99})
    desk = coordinate(script, 3)
    assert sorted(desk.done) == ["p0", "p2"]
    assert desk.given_up == {"p1": error}
    assert [p for p, _ in script.submitted].count("p1") == TRIES_MAX
    assert len(desk.notes) == TRIES_MAX


def test_the_last_try_may_succeed() -> None:
    desk = coordinate(Script({"p0": [OSError(5, "x")] * (TRIES_MAX - 1)}), 1)
    assert desk.done == ["p0"]
    assert not desk.given_up


def test_a_retry_waits_and_the_others_do_not_wait_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster.coordinator, "RETRY_AFTER_S", 0.4)
    script = Script({"p0": [OSError(116, "Stale file handle")]}, slots=1)
    began = time.monotonic()
    desk = coordinate(script, 30)
    assert desk.done == [*(f"p{i}" for i in range(1, 30)), "p0"]
    assert time.monotonic() - began >= 0.4


def test_a_poisoned_part_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster.coordinator, "RETRY_AFTER_S", 1e9)
    assert coordinate(Script({"p0": [WorkerDied("x")]}), 2).done == ["p1", "p0"]


@pytest.mark.parametrize("kind", sorted(ENDS_THE_RUN))
def test_what_every_other_part_would_meet_ends_the_run(kind: str) -> None:
    error = Unavailable("it is over", kind=kind)
    script = Script({"p3": [error]}, slots=1)
    with pytest.raises(SonothequeError) as caught:
        coordinate(script, 100)
    assert caught.value is error
    assert len(script.submitted) <= 3 + 1 + 6


def test_only_known_kinds_end_a_run() -> None:
    assert set(KINDS) >= ENDS_THE_RUN


def test_a_stop_leaves_the_rest_and_awaits_what_flies() -> None:
    script = Script(slots=1)
    desk = coordinate(script, 100, lambda desk: len(desk.done) >= 10)
    assert desk.done == [f"p{i}" for i in range(15)]  # ten, and five in flight
    assert not script.flying


def test_a_stop_before_the_start_begins_nothing() -> None:
    script = Script()
    assert coordinate(script, 10, lambda desk: True).done == []
    assert script.submitted == []


def test_a_stop_does_not_begin_retries() -> None:
    script = Script({f"p{i}": [OSError(5, "x")] * 9 for i in range(100)}, slots=1)
    desk = coordinate(script, 100, lambda desk: len(desk.notes) >= 1)
    assert len(script.submitted) == 6
    assert not desk.done
    assert not desk.given_up


def test_neither_outcome_nor_error_is_an_error() -> None:
    class Mute(Script):
        def next_ended(self, timeout_s: float) -> Ended | None:
            return Ended(self.flying.popleft(), None, None) if self.flying else None

    assert set(coordinate(Mute(), 2).given_up) == {"p0", "p1"}


faults = st.sampled_from([OSError(5, "x"), WorkerDied("x"), RuntimeError("x"), Unavailable("x")])
scripts = st.dictionaries(st.integers(0, 30).map(lambda i: f"p{i}"), st.lists(faults, min_size=1, max_size=5))


@settings(deadline=None)
@given(scripts, st.integers(0, 31), st.integers(1, 4), st.booleans(), st.none() | st.integers(0, 31))
def test_every_part_ends_once_or_is_pending(
    says: dict[str, list[Any]], parts: int, slots: int, backwards: bool, stop_after: int | None
) -> None:
    tries = {part: len(errors) for part, errors in says.items()}
    script = Script({p: list(e) for p, e in says.items()}, slots=slots, backwards=backwards)
    desk = coordinate(script, parts, lambda d: stop_after is not None and len(d.done) >= stop_after)
    ended = Counter([*desk.done, *desk.given_up])
    assert all(n == 1 for n in ended.values())
    assert set(ended) <= {f"p{i}" for i in range(parts)}
    assert script.most <= 2 * slots + 4
    if stop_after is None:
        assert len(ended) == parts
        assert set(desk.given_up) == {p for p in ended if tries.get(p, 0) >= TRIES_MAX}


# ---- machines that vanish ---------------------------------------------------------------------------------------------


def test_workers_lost_in_guarded_runs_are_no_fault_of_the_part() -> None:
    """Six machines are taken back under one part, and in between it fails twice by itself."""
    says = [WorkerLost("gone"), *[WorkerLost("gone")] * 5, OSError(5, "x")]
    desk = coordinate(Script({"p0": list(says)}), 2)
    assert sorted(desk.done) == ["p0", "p1"]
    assert not desk.given_up


def test_a_part_that_loses_every_worker_is_given_up_in_the_end() -> None:
    script = Script({"p0": [WorkerLost("gone")] * 99})
    desk = coordinate(script, 2)
    assert desk.done == ["p1"]
    assert list(desk.given_up) == ["p0"]
    assert [p for p, _ in script.submitted].count("p0") == 1 + LOST_MAX


def test_delays_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster.coordinator, "RETRY_AFTER_S", 2.0)
    seen: list[float] = []

    class Watching(Coordinator):
        def _take(self, ended: Ended) -> None:
            super()._take(ended)
            seen.extend(p.not_before for p in self._waiting)
            self._waiting = deque(replace(p, not_before=0.0) for p in self._waiting)

    clock = iter(range(10**6))
    monkeypatch.setattr(cluster.coordinator.time, "monotonic", lambda: 0.0 * next(clock))
    script = Script({"p0": [WorkerDied("x"), *[WorkerLost("x")] * 6]})
    Watching(
        script,  # type: ignore[arg-type]
        lambda _: None,
        lambda *_: None,
        lambda _: None,
        lambda: None,
        lambda: False,
    ).run([payload("p0")])
    assert seen == [0.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
