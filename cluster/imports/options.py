"""ImportOptions: everything an import was asked for."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.options import DTYPES, EmbedOptions
from cluster.settle import describer_of
from embedder.recorders import Describer
from sonotheque.core.errors import Invalid
from sonotheque.core.suggest import did_you_mean

PERCH_CPU, HOPLITE = "perch-cpu-inference", "hoplite"
KINDS_OF_SOURCE = {
    PERCH_CPU: "the output folder of perch-cpu-inference, or a folder of such folders, one a site",
    HOPLITE: "a perch-hoplite database: the folder that holds hoplite.sqlite and usearch.index",
}


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """The options of ``sonotheque import``.

    Attributes
    ----------
    kind : str
        A key of ``KINDS_OF_SOURCE``.
    path : str
        What is imported.
    store : str
        Made if it is not there.
    model : str or None
        Registry name of the model that made the vectors; None: as the source says.
    classes : str or None
        The class list the run used (``classes.json``); only perch-cpu-inference.
    project : str or None
        Import only this project; only hoplite.
    dtype : str or None
        Of the store's vectors; None: the store's, ``float16`` for a new one.
    predictions, annotations : bool
        Whether to take them over.
    annotator : str or None
        Whose judgements the annotations are; None: what their provenance says.
    keep_short : bool
        Keep windows with less sound than our own windows must hold (1 s).
    root : str or None
        What the source's paths begin with and stored paths do not; None: chosen, see ``names.py``.
    prefix : str
        Put in front of every stored path.
    recordings : str or None
        Folder of the sound files under their stored paths, as far as they are at hand.
    site, site_from, timezone, clock_timezone, time_pattern, deployments, times
        As for ``sonotheque embed``.
    replace : bool
        Let recordings whose rows have changed take the place of what was imported before.
    skip_damaged : bool
        Leave out source files that cannot be read, and say so.
    check : bool
        Compare a sample of what was stored with the source.
    """

    kind: str
    path: str
    store: str
    model: str | None = None
    classes: str | None = None
    project: str | None = None
    dtype: str | None = None
    predictions: bool = True
    annotations: bool = True
    annotator: str | None = None
    keep_short: bool = False
    root: str | None = None
    prefix: str = ""
    recordings: str | None = None
    site: str | None = None
    site_from: str = "auto"
    timezone: str | None = None
    clock_timezone: str | None = None
    time_pattern: str | None = None
    deployments: str | None = None
    times: str | None = None
    replace: bool = False
    skip_damaged: bool = False
    check: bool = True

    def __post_init__(self) -> None:
        if self.kind not in KINDS_OF_SOURCE:
            raise Invalid(
                f"nothing is known of importing from {self.kind!r}; {did_you_mean(self.kind, KINDS_OF_SOURCE)}"
            )
        if self.dtype is not None and self.dtype not in DTYPES:
            raise Invalid(f"--dtype {self.dtype}: must be one of {', '.join(DTYPES)}")
        for option, value, kind in (
            ("--classes", self.classes, PERCH_CPU),
            ("--project", self.project, HOPLITE),
            ("--annotator", self.annotator, HOPLITE),
        ):
            if value is not None and self.kind != kind:
                raise Invalid(f"{option} is an option of `sonotheque import {kind}`; leave it out for {self.kind}")

    def describer(self) -> Describer:
        """Return what finds times and sites, as the options say.

        Raises
        ------
        SonothequeError
            If a zone, a pattern or a table cannot be right.
        """
        names = ("site", "site_from", "timezone", "clock_timezone", "time_pattern", "deployments", "times")
        return describer_of(EmbedOptions((), self.store, **{name: getattr(self, name) for name in names}))
