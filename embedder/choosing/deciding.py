"""From what was measured to what is used: no input and no output, only the rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embedder.choosing.fidelity import cosine_asked
from embedder.choosing.records import RAN, Choice, Measured
from sonotheque.core.errors import Unavailable
from sonotheque.core.model_spec import FULL_PRECISION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from embedder.choosing.candidates import Candidate

NEARLY = 1.03  # what is within 3 % of the fastest is as fast: then the more precise one, then the more usual one


def unmeasured(only: Candidate, *, asked: bool) -> Choice:
    """Return the choice where there is nothing to choose from."""
    why = "as asked for" if asked else "it is the only possibility here"
    return Choice(only.engine, only.precision, why)


def decide(
    possible: Sequence[Candidate], measured: Sequence[Measured], *, fixed_precision: bool, before: bool = False
) -> Choice:
    """Return the fastest that passes, with the reason; if none does, what is least bad, with a warning.

    Parameters
    ----------
    possible : sequence of Candidate
        In order of preference where two are as fast.
    measured : sequence of Measured
        Of all of them, in any order.
    fixed_precision : bool
        Whether the precision was asked for by name: then one that misses the rules is used all the same.
    before : bool
        Whether this was measured earlier.

    Raises
    ------
    Unavailable
        Kind ``engine_missing``: none of them ran.
    """
    rank = {(c.engine, c.precision): place for place, c in enumerate(possible)}
    order = sorted(measured, key=lambda m: rank[m.engine, m.precision])
    passing = [m for m in order if m.passes]
    ran = [m for m in order if m.state == RAN and m.fidelity is not None]
    if not ran:
        reasons = "; ".join(f"{m.name}: {m.reason}" for m in order)
        again = " (measured earlier; `sonotheque models engines NAME --again` tries once more)" if before else ""
        raise Unavailable(f"no engine could run the model here{again}. {reasons}", kind="engine_missing")
    if passing:
        best = _fastest(passing)
        return Choice(best.engine, best.precision, _why(best, passing, before), tuple(order))
    best = _fastest(ran) if fixed_precision else _closest(ran)
    warning = f"no candidate agrees with the reference; {best.name} is used although it does not: {best.verdict}"
    if fixed_precision:
        warning = f"{best.name} was asked for and differs from the reference: {best.verdict}"
    why = f"{'asked for' if fixed_precision else 'the closest to the reference'}, {_speed(best)}"
    return Choice(best.engine, best.precision, why, tuple(order), warning)


def cost_ms(record: Measured, among: Sequence[Measured]) -> float:
    """Return what a window costs: processor time, or time by the clock if an accelerator is among the candidates."""
    return record.cpu_ms if all(m.on_cpu for m in among) else record.wall_ms


def _fastest(records: Sequence[Measured]) -> Measured:
    best_ms = min(cost_ms(m, records) for m in records)
    near = [m for m in records if cost_ms(m, records) <= best_ms * NEARLY]
    return min(near, key=lambda m: m.precision != FULL_PRECISION)  # the first of the more precise


def _closest(records: Sequence[Measured]) -> Measured:
    full = [m for m in records if m.precision == FULL_PRECISION] or records
    return max(full, key=lambda m: m.fidelity.cosine_median if m.fidelity else 0.0)


def _speed(record: Measured) -> str:
    where = "a core" if record.on_cpu else record.device
    ms = record.cpu_ms if record.on_cpu else record.wall_ms
    return f"{ms:.2f} ms a window, {record.x_realtime:,.0f} x realtime on {where}"


def _why(best: Measured, passing: Sequence[Measured], before: bool) -> str:
    """Return the reason: its speed, the next one's, and how close it is."""
    parts = [_speed(best)]
    others = [m for m in passing if m is not best]
    if others:
        following = min(others, key=lambda m: cost_ms(m, passing))
        ratio = cost_ms(following, passing) / cost_ms(best, passing)
        parts.append(f"{ratio:.2f} x as fast as {following.name}" if ratio >= 1 else f"as fast as {following.name}")
    if best.fidelity:
        parts.append(
            f"median cosine to the reference {best.fidelity.cosine_median:.5f} ({cosine_asked(best.precision):g} is asked)"
        )
    if before:
        parts.append("measured earlier")
    return "; ".join(parts)
