"""Where it works and where it does not: the same metrics by site, by hour and by loudness over noise."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from probes.examples import Examples
from probes.macro import ClassRankings, none_if_nan
from probes.metrics import average_precision_chance

_SNR_EDGES: Final = (3.0, 6.0, 10.0, 20.0)
_SNR_NAMES: Final = ("< 3 dB", "3-6 dB", "6-10 dB", "10-20 dB", ">= 20 dB")
_HOURS: Final = 3  # in a band
UNKNOWN: Final = "unknown"


def slices(examples: Examples, scores: NDArray[Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """Measure parts of the examples by themselves.

    Parameters
    ----------
    examples : Examples
    scores : float, (n, C)

    Returns
    -------
    dict
        ``site``, ``hour`` (local, bands of three hours: ``03-06`` goes up to 05:59:59) and ``snr``; each {value: {``n`` rows,
        ``map``, ``map_chance``, ``roc_auc``, ``classes_counted``}}, only values that occur, ``unknown`` last. An average
        precision rises with the share of positives, so parts are compared with their own chance level. None where no
        class of a part has positives and negatives.
    """
    sites = np.array([str(s) or UNKNOWN for s in examples.sites], dtype=object)
    first = np.asarray(examples.hours, np.int64) // _HOURS * _HOURS
    hours = np.array([f"{h:02d}-{h + _HOURS:02d}" if h >= 0 else UNKNOWN for h in first], dtype=object)
    bands = np.searchsorted(_SNR_EDGES, np.nan_to_num(examples.snr_db, nan=0.0), side="right")
    snr = np.array(_SNR_NAMES, dtype=object)[bands]
    snr[np.isnan(examples.snr_db)] = UNKNOWN
    found = {}
    whole: dict[str, Any] | None = None
    for name, values in (("site", sites), ("hour", hours), ("snr", snr)):
        order = _SNR_NAMES if name == "snr" else tuple(sorted(set(values) - {UNKNOWN}))
        there = [value for value in (*order, UNKNOWN) if (values == value).any()]
        if len(there) == 1:  # the part is all there is: measured once
            whole = whole or _measured(examples, scores, np.arange(len(examples)))
            found[name] = {there[0]: dict(whole)}
            continue
        found[name] = {value: _measured(examples, scores, np.flatnonzero(values == value)) for value in there}
    return found


def _measured(examples: Examples, scores: NDArray[Any], rows: NDArray[np.int64]) -> dict[str, Any]:
    part = examples.take(rows)
    measured = ClassRankings(part, scores[rows]).measure()
    defined = ~np.isnan(measured.average_precision[:, 0])
    chance = [average_precision_chance(part.targets[:, c] > 0, part.weights[:, c]) for c in np.flatnonzero(defined)]
    return {
        "n": len(rows),
        "map": none_if_nan(float(measured.macro("map")[0])),
        "map_chance": float(np.mean(chance)) if chance else None,
        "roc_auc": none_if_nan(float(measured.macro("roc_auc")[0])),
        "classes_counted": int(defined.sum()),
    }
