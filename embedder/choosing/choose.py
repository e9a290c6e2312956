"""Choosing engine and precision: the fastest on this machine whose vectors are those of the reference."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from embedder.choosing.cache import alone, recall, remember
from embedder.choosing.candidates import INT8, Candidate, candidates, faster_hint, not_for_these_weights
from embedder.choosing.deciding import decide, unmeasured
from embedder.choosing.machine import key_of
from embedder.choosing.records import RAN, REFUSED, Choice, Measured
from embedder.choosing.survey import survey
from embedder.engines import ENGINES, PRECISIONS
from embedder.engines.base import AUTO
from sonotheque.core.errors import Invalid, Unavailable
from sonotheque.core.model_spec import FULL_PRECISION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def choose(
    name: str,
    weights: str | None = None,
    *,
    engine: str = AUTO,
    precision: str = AUTO,
    logits: bool = True,
    threads: int = 1,
    tell: Callable[[str], None] | None = None,
    again: bool = False,
    everything: bool = False,
) -> Choice:
    """Return how a model is to be loaded on this machine.

    What is asked for by name is honoured: of it, only whether it is possible is checked, and a reduced precision that
    misses the rules of :mod:`embedder.choosing.fidelity` comes with a warning. What is ``auto`` is measured, once a
    machine, each candidate in a process of its own; int8 only if asked for by name. If one possibility is left and it
    is at full precision, nothing is measured.

    Parameters
    ----------
    name, weights, threads
        As for :func:`embedder.models.load_model`.
    engine : str
        ``auto``, or one of ``embedder.engines.ENGINES``.
    precision : str
        ``auto``, or one of ``embedder.engines.PRECISIONS``.
    logits : bool
        Whether predictions are wanted: without them the label head is neither run nor compared.
    tell : callable, optional
        Is told what is done, what was chosen and why, in sentences.
    again : bool
        Measure, whatever is known from before.
    everything : bool
        For those who show the result: measure also where there is nothing to choose, put what this machine does not
        have into ``measured`` too, and leave it to the caller to tell what was chosen.

    Raises
    ------
    NotFound
        ``unknown_model``; ``no_weights``.
    Invalid
        No such engine or precision, or not for these weights; ``invalid_weights``.
    Unavailable
        ``engine_missing``: what was asked for is not installed here or not possible on this machine.
    """
    tell = tell or _nothing
    _check_words(engine, precision)
    wanted = [
        c
        for c in candidates(name, weights, int8=precision == INT8)
        if engine in (AUTO, c.engine) and precision in (AUTO, c.precision)
    ]
    possible = [c for c in wanted if not c.refusal]
    if not wanted:
        return _built_in(name, weights, engine, precision)
    if not possible:
        reasons = "; ".join(dict.fromkeys(f"{c.name}: {c.refusal}" for c in wanted))
        raise Unavailable(f"{name} cannot run as asked here. {reasons}", kind="engine_missing")
    if not everything and len(possible) == 1 and possible[0].precision == FULL_PRECISION:
        only = unmeasured(possible[0], asked=AUTO not in (engine, precision))
        if engine == AUTO:
            tell(f"{name}: {only.name} is used: {only.why}{faster_hint(name, weights)}")
        return only
    measured, before = _measured(name, weights, possible, logits=logits, threads=threads, tell=tell, again=again)
    choice = decide(possible, measured, fixed_precision=precision != AUTO, before=before)
    if everything:
        refused = tuple(Measured(c.engine, c.precision, REFUSED, c.refusal) for c in wanted if c.refusal)
        return replace(choice, measured=(*choice.measured, *refused))
    tell(f"{name}: {choice.name} is used: {choice.why}")
    if choice.warning:
        tell(f"{name}: {choice.warning}")
    return choice


def require_possible(name: str, weights: str | None, *, engine: str, precision: str) -> None:
    """Refuse an engine or a precision that these weights cannot have anywhere; nothing is loaded.

    Raises
    ------
    Invalid
        No such engine or precision, or not for these weights.
    """
    _check_words(engine, precision)
    if (engine, precision) == (AUTO, AUTO):
        return
    ways = candidates(name, weights, int8=True)
    if not any(engine in (AUTO, c.engine) and precision in (AUTO, c.precision) for c in ways):
        _built_in(name, weights, engine, precision)


def _nothing(text: str) -> None:
    """Tell nobody."""


def _check_words(engine: str, precision: str) -> None:
    for option, given, known in (("--engine", engine, ENGINES), ("--precision", precision, PRECISIONS)):
        if given not in (AUTO, *known):
            raise Invalid(f"{option} is {given!r}; it takes {', '.join((AUTO, *known))}")


def _built_in(name: str, weights: str | None, engine: str, precision: str) -> Choice:
    """Return the choice for a model without engines; a wish for one is refused, as is one these weights cannot have."""
    if candidates(name, weights, int8=True) or engine != AUTO or precision not in (AUTO, FULL_PRECISION):
        wish = " ".join(word for word in (engine, precision) if word != AUTO)
        raise Invalid(f"{name} cannot be run with {wish}: {not_for_these_weights(name, weights)}")
    return Choice(None, FULL_PRECISION, "it is built in and has no engine to choose")


def _measured(
    name: str,
    weights: str | None,
    possible: Sequence[Candidate],
    *,
    logits: bool,
    threads: int,
    tell: Callable[[str], None],
    again: bool,
) -> tuple[tuple[Measured, ...], bool]:
    """Return what is known of these candidates, and whether it was known before."""
    key = key_of(name, weights, logits=logits, threads=threads)
    with alone(key, lambda: tell(f"{name}: another process is measuring the engines; waiting for what it finds")):
        known = None if again else recall(key, possible)
        if known is not None:
            return known, True
        tell(
            f"{name}: measuring {', '.join(c.name for c in possible)}, once on this machine; this takes a minute or so"
        )
        measured = survey(name, weights, possible, logits=logits, threads=threads, tell=tell)
        # If none ran, memory may have been short, or the machine busy: that must not stand for ever.
        if any(m.state == RAN for m in measured):
            remember(key_of(name, weights, logits=logits, threads=threads), measured)
        return measured, False
