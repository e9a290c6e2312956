"""Experiment: everything that decides what a training gives, so that the same file gives the same probe."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final

from probes.examples import GROUPS
from probes.probe import KINDS
from sonotheque.core.errors import Invalid
from sonotheque.core.filters import SearchFilter
from sonotheque.core.ids import digest_of

SOURCES: Final = ("annotations", "clips")
CLASS_WEIGHTS: Final = ("balanced", "none")
RULES: Final = ("max_f1", "precision", "false_alarms")
METRICS: Final = ("map", "cmap", "roc_auc")
SHOTS: Final = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True, slots=True)
class ExamplesFrom:
    """Where examples come from.

    Attributes
    ----------
    source : str
        ``annotations`` of the store, or ``clips``: a folder with one folder a class.
    where : SearchFilter
        Of which windows annotations are taken.
    annotators : tuple of str
        Only theirs; all by default.
    clips : str or None
        The folder.
    overlap_min_s : float
        Least overlap of an annotation and a window.
    """

    source: str = "annotations"
    where: SearchFilter = field(default_factory=SearchFilter)
    annotators: tuple[str, ...] = ()
    clips: str | None = None
    overlap_min_s: float = 0.5

    def __post_init__(self) -> None:
        _one_of("examples: source", self.source, SOURCES)
        if (self.source == "clips") != (self.clips is not None):
            raise Invalid("examples: source clips and the folder clips belong together: give both or neither")
        _at_least("examples: overlap_min_s", self.overlap_min_s, 0.0)


@dataclass(frozen=True, slots=True)
class Negatives:
    """What counts as not heard without anybody having said so.

    Attributes
    ----------
    weak : int
        Windows drawn at random from those without any annotation; 0: none.
    weight : float
        Of those, and of an annotated window for the classes that nobody spoke of; a judgement has 1.
    """

    weak: int = 1000
    weight: float = 0.05

    def __post_init__(self) -> None:
        _at_least("negatives: weak", self.weak, 0)
        if not 0.0 <= self.weight <= 1.0:
            raise Invalid(f"negatives: weight {self.weight:g}: expected 0 to 1")


@dataclass(frozen=True, slots=True)
class Split:
    """How examples are parted for testing; whole groups, never windows.

    Attributes
    ----------
    by : str
        ``recording``, ``day`` (a site's local date) or ``site``.
    test_share : float
        Of the examples; 0: none are held out, and nothing is known of how good the probe is.
    seed : int
    """

    by: str = "recording"
    test_share: float = 0.25
    seed: int = 0

    def __post_init__(self) -> None:
        _one_of("split: by", self.by, GROUPS)
        if not 0.0 <= self.test_share <= 0.9:
            raise Invalid(f"split: test_share {self.test_share:g}: expected 0 to 0.9")
        _at_least("split: seed", self.seed, 0)


@dataclass(frozen=True, slots=True)
class ThresholdRule:
    """How a class's threshold is chosen, on scores of examples that the scoring fold had not learnt from.

    Attributes
    ----------
    rule : str
        ``max_f1``; ``precision``: the lowest threshold with at least ``value``; ``false_alarms``: the highest recall with at most ``value`` an hour.
    value : float or None
    """

    rule: str = "max_f1"
    value: float | None = None

    def __post_init__(self) -> None:
        _one_of("threshold: rule", self.rule, RULES)
        if (self.rule == "max_f1") != (self.value is None):
            raise Invalid(
                f"threshold: rule {self.rule} {'takes no' if self.rule == 'max_f1' else 'needs a'} value: precision takes a share such as 0.9, "
                "false_alarms a number an hour, max_f1 none"
            )
        if self.rule == "precision" and not 0.0 < (self.value or 0.0) <= 1.0:
            raise Invalid(f"threshold: precision {self.value:g}: expected above 0, at most 1")
        if self.rule == "false_alarms" and (self.value or 0.0) <= 0.0:
            raise Invalid(f"threshold: {self.value:g} false alarms an hour: expected more than 0")


@dataclass(frozen=True, slots=True)
class Experiment:
    """A training, described in full.

    Attributes
    ----------
    name : str
        Of the probe.
    kind : str
        ``multilabel`` or ``multiclass``.
    classes : tuple of str
        Labels; all that occur if empty.
    examples, negatives, split, threshold
        See their classes.
    class_weights : str
        ``balanced``: positives and negatives of a class weigh the same together; ``none``: every judgement weighs 1.
    l2 : float or None
        Penalty; chosen by cross-validation if None.
    metric : str
        ``map``, ``cmap`` or ``roc_auc``: what chooses the penalty and decides a promotion.
    bootstrap : int
        Resamples for intervals; 0: none.
    shots : tuple of int
        Of the learning curve; empty: no curve.
    folds : int
        Of the cross-validation.
    seed : int
        Of everything drawn, but the split, which has its own.
    device : str
        ``auto``, ``cpu`` or ``gpu``.
    """

    name: str
    kind: str = "multilabel"
    classes: tuple[str, ...] = ()
    examples: ExamplesFrom = field(default_factory=ExamplesFrom)
    negatives: Negatives = field(default_factory=Negatives)
    split: Split = field(default_factory=Split)
    threshold: ThresholdRule = field(default_factory=ThresholdRule)
    class_weights: str = "balanced"
    l2: float | None = None
    metric: str = "map"
    bootstrap: int = 200
    shots: tuple[int, ...] = SHOTS
    folds: int = 4
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        _one_of("kind", self.kind, KINDS)
        _one_of("class_weights", self.class_weights, CLASS_WEIGHTS)
        _one_of("metric", self.metric, METRICS)
        _one_of("device", self.device, ("auto", "cpu", "gpu"))
        if self.l2 is not None and not 0.0 < self.l2 < float("inf"):
            raise Invalid(f"l2 {self.l2:g}: expected a number above 0, or auto")
        _at_least("bootstrap", self.bootstrap, 0)
        _at_least("folds", self.folds, 2)
        _at_least("seed", self.seed, 0)
        if any(s < 1 for s in self.shots):
            raise Invalid(f"shots {list(self.shots)}: expected numbers of examples, 1 or more each")
        if len(set(self.classes)) != len(self.classes):
            raise Invalid(f"classes: one is named twice among {', '.join(self.classes)}")
        if self.kind == "multiclass" and len(self.classes) == 1:
            raise Invalid("kind multiclass needs two classes or more; one class against all else is multilabel")

    def to_json(self) -> dict[str, Any]:
        """Return everything as a JSON object, as a file of it has it."""
        found = asdict(self)
        found["examples"]["where"] = self.examples.where.to_json()
        found["l2"] = "auto" if self.l2 is None else self.l2
        return found

    @property
    def digest(self) -> str:
        """Digest of what decides the result: everything but the device."""
        return digest_of({k: v for k, v in self.to_json().items() if k != "device"})


def _one_of(what: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise Invalid(f"{what} {value!r}: expected {', '.join(known[:-1])} or {known[-1]}")


def _at_least(what: str, value: float, least: float) -> None:
    if not value >= least:
        raise Invalid(f"{what} {value:g}: expected {least:g} or more")
