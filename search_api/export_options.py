"""What can be exported as what, the options of an export, and its summary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from search_api.clips import FORMS as CLIP_FORMS
from sonotheque.core.errors import Invalid
from sonotheque.core.filters import SearchFilter
from sonotheque.core.suggest import did_you_mean
from store.formats import chosen_columns
from store.formats.vectors import DTYPES

Progress = Callable[[int, int], None]  # rows done, rows in all
WIDE_VALUES_MAX: Final = 50_000_000  # about half a gigabyte of text
MAX_CLIPS: Final = 1000

FORMS: Final[dict[str, tuple[str, ...]]] = {
    "predictions": (
        "raven",
        "raven-combined",
        "audacity",
        "csv",
        "tidy",
        "kaleidoscope",
        "pamdp",
        "parquet",
        "birdnet-parquet",
    ),
    "embeddings": ("parquet", "npy", "hdf5", "csv"),
    "clips": CLIP_FORMS,
    "windows": ("csv", "parquet"),
    "recordings": ("csv", "parquet"),
    "annotations": ("csv", "parquet"),
}
"""What -> how."""

FOLDER_FORMS: Final = frozenset({"raven", "audacity", "pamdp"})


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """How an export is made, beyond what and where.

    Attributes
    ----------
    where : SearchFilter
        Which windows or predictions.
    overwrite : bool
        Replace a file, or a folder that an export made.
    columns : tuple of str
        Further columns of ``csv`` and ``tidy``.
    empty : bool
        ``raven`` and ``audacity``: also files for recordings without detections.
    recordings_dir : str or None
        Folder where the recordings are now; by default where the store's jobs read them.
    dtype : str
        Of embeddings as Parquet.
    force : bool
        Write a wide CSV of any size.
    margin_s : float
        Of clips.
    max_clips : int
    follow_links : bool
        Cut clips also from what links below the recordings' folder lead to.
    """

    where: SearchFilter = field(default_factory=SearchFilter)
    overwrite: bool = False
    columns: tuple[str, ...] = ()
    empty: bool = False
    recordings_dir: str | None = None
    dtype: str = "float32"
    force: bool = False
    margin_s: float = 0.0
    max_clips: int = MAX_CLIPS
    follow_links: bool = False


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """What was exported.

    Attributes
    ----------
    what, form, out : str
    rows, files : int
    snapshot : int
    notes : tuple of str
        What a reader of the export should know.
    failures : list of dict
        Clips that could not be cut: ``rank``, ``path``, ``window_start_s``, ``window_end_s``, ``reason``.
    where : dict
        The filter.
    """

    what: str
    form: str
    out: str
    rows: int
    files: int
    snapshot: int
    notes: tuple[str, ...] = ()
    failures: list[dict[str, Any]] = field(default_factory=list)
    where: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return {
            "what": self.what,
            "format": self.form,
            "out": self.out,
            "rows": self.rows,
            "files": self.files,
            "snapshot": self.snapshot,
            "filter": self.where,
            "notes": list(self.notes),
            "failures": self.failures,
        }


def require_form(what: str, form: str) -> None:
    """Raise Invalid, with near names, unless there is such an export."""
    if what not in FORMS:
        raise Invalid(f"there is no export of {what!r}; {did_you_mean(what, FORMS)}")
    if form not in FORMS[what]:
        raise Invalid(f"{what} cannot be exported as {form!r}; {_there_are(form, FORMS[what])}")


def _there_are(form: str, known: Sequence[str]) -> str:
    hint = " (the last date of the filter is --until here)" if form[:1].isdigit() else ""
    return f"there are: {', '.join(known)}{hint}"


def require_options(what: str, form: str, options: ExportOptions) -> None:
    """Raise Invalid if an option does not belong to an export, or cannot be."""
    given = {
        "--columns": (options.columns, form in ("csv", "tidy") and what == "predictions"),
        "--empty-tables": (options.empty, form in ("raven", "audacity")),
        "--dtype": (options.dtype != "float32", (what, form) == ("embeddings", "parquet")),
        "--force": (options.force, (what, form) == ("embeddings", "csv")),
        "--margin-s": (options.margin_s, what == "clips"),
        "--max-clips": (options.max_clips != MAX_CLIPS, what == "clips"),
        "--follow-links": (options.follow_links, what == "clips"),
        "--recordings": (options.recordings_dir is not None, what in ("clips", "predictions")),
    }
    for flag, (is_given, is_known) in given.items():
        if is_given and not is_known:
            raise Invalid(f"{flag} does not belong to an export of {what} as {form}; leave it out")
    chosen_columns(options.columns)
    if options.dtype not in DTYPES:
        raise Invalid(f"--dtype {options.dtype}: expected {' or '.join(DTYPES)}")
    if options.max_clips < 1:
        raise Invalid(f"--max-clips {options.max_clips}: at least 1")


def files_beside(form: str, target: Path) -> tuple[Path, ...]:
    """Return the file that belongs to an export besides the one that is named."""
    if form == "raven-combined":
        return (target.with_name(f"{target.stem}.files.txt"),)
    if form == "npy":
        return (target.with_name(f"{target.stem}.windows.csv"),)
    return ()
