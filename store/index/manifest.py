"""Versions of an index: numbered, immutable lists of segments, each naming the files that make it up."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from sonotheque.core.errors import Conflict, Damaged
from sonotheque.core.ids import digest_of
from sonotheque.core.model_spec import ModelSpec
from store import layout
from store.config import StoreConfig, temp_name
from store.fsops import FileOps, put_new, store_errors
from store.state import state_root

VERSION: Final = 1  # of the manifest's form
_NAME = re.compile(r"([1-9][0-9]*)\.json")


@dataclass(frozen=True, slots=True)
class IndexFile:
    """A file of an index: path relative to the store, size and digest."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Segment:
    """Some parts' rows.

    Attributes
    ----------
    parts : tuple of (str, int)
        Part id and rows, in the order in which their rows are numbered.
    vectors : IndexFile
        The vectors as stored, row after row.
    codes : IndexFile or None
    """

    parts: tuple[tuple[str, int], ...]
    vectors: IndexFile
    codes: IndexFile | None

    @property
    def rows(self) -> int:
        """Rows, superseded ones too."""
        return sum(rows for _, rows in self.parts)


@dataclass(frozen=True, slots=True)
class Measured:
    """Recall that was measured: share of the true ``k`` nearest that were found.

    Attributes
    ----------
    lists, candidates : int
        Clusters looked through; windows compared in full.
    mean, p5 : float
        Over the queries; and what 95 in 100 queries reach.
    """

    lists: int
    candidates: int
    mean: float
    p5: float


@dataclass(frozen=True, slots=True)
class IndexVersion:
    """One version of an index.

    Attributes
    ----------
    number : int
    store_digest : str
    model : dict
        Of the vectors.
    snapshot : int
        That it was made from.
    kind : str
    recipe : dict
    clusters : IndexFile or None
    segments : tuple of Segment
    measured : tuple of Measured
        From the least work to the most.
    chosen : Measured or None
        What a search does if nothing else is asked for.
    wanted_recall : float
    k, queries : int
        What recall was measured with.
    made : dict
        ``at`` (UTC), ``build_s``, ``library``, ``trained_rows``.
    """

    number: int
    store_digest: str
    model: dict[str, Any]
    snapshot: int
    kind: str
    recipe: dict[str, Any]
    clusters: IndexFile | None
    segments: tuple[Segment, ...]
    measured: tuple[Measured, ...]
    chosen: Measured | None
    wanted_recall: float
    k: int
    queries: int
    made: dict[str, Any] = field(default_factory=dict)

    @property
    def files(self) -> list[IndexFile]:
        """Every file that it needs."""
        found = [f for s in self.segments for f in (s.vectors, s.codes) if f]
        return found + ([self.clusters] if self.clusters else [])

    @property
    def rows(self) -> int:
        """Rows in all segments, superseded ones too."""
        return sum(s.rows for s in self.segments)


def index_numbers(root: str, ops: FileOps) -> list[int]:
    """Return the numbers of the index's versions, oldest first."""
    names = ops.listdir(f"{root}/{layout.index_folder()}")
    return sorted(int(found[1]) for n in names if (found := _NAME.fullmatch(n)))


def read_version(root: str, number: int, ops: FileOps) -> IndexVersion:
    """Read one version.

    Raises
    ------
    Damaged
        If it cannot be read.
    FileNotFoundError
        If it is not there.
    """
    path = f"{root}/{layout.index_version(number)}"
    try:
        value = json.loads(ops.read(path))
        if value.pop("format_version") > VERSION:
            raise Damaged(f"{path} was written by a newer release; `sonotheque index build` makes one that this reads")
        if (said := value.pop("digest", None)) is not None and said != digest_of(value):
            raise Damaged(f"{path} is not what it was when it was written: {_anew(root)}")
        segments = tuple(
            Segment(tuple((str(p), int(n)) for p, n in s["parts"]), IndexFile(**s["vectors"]), _file(s["codes"]))
            for s in value.pop("segments")
        )
        measured = tuple(Measured(**m) for m in value.pop("measured"))
        chosen = value.pop("chosen")
        clusters = _file(value.pop("clusters"))
        return IndexVersion(
            **value,
            segments=segments,
            measured=measured,
            chosen=Measured(**chosen) if chosen else None,
            clusters=clusters,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"{path} cannot be read: {error!r}. {_anew(root)}") from error


def _anew(root: str) -> str:
    return f"`sonotheque index build --store {root}` makes the index anew"


def _file(value: dict[str, Any] | None) -> IndexFile | None:
    return IndexFile(**value) if value else None


def newest_version(root: str, config: StoreConfig, ops: FileOps) -> IndexVersion | None:
    """Return the newest version; None if there is no index.

    Raises
    ------
    Conflict
        If it was made of another store's vectors or another model's.
    Damaged
        If it cannot be read.
    """
    numbers = index_numbers(root, ops)
    if not numbers:
        return None
    found = read_version(root, numbers[-1], ops)
    again = f"`sonotheque index build --store {root}` makes one of this store"
    model = ModelSpec.from_json(found.model)
    if model != config.model:
        raise Conflict(
            f"index {found.number} of {root} holds vectors of {model.name} {model.version} ({model.weights_digest[:12]}), "
            f"the store those of {config.model.name} {config.model.version} ({config.model.weights_digest[:12]}): {again}",
            kind="model_conflict",
        )
    if found.store_digest != config.digest:
        raise Conflict(
            f"index {found.number} in {root} was made of the store {found.store_digest[:12]}, this is {config.digest[:12]}: {again}",
            kind="settings_conflict",
        )
    return found


def check_files(root: str, version: IndexVersion) -> None:
    """Raise Damaged if a file is missing or of another size; contents are checked by ``index info --deep``."""
    for file in version.files:
        path = f"{state_root(root)}/{file.path}"
        try:
            size = os.path.getsize(path)
        except OSError:
            size = -1
        if size != file.bytes:
            what = "is missing" if size < 0 else f"has {size:,} bytes, index {version.number} wrote {file.bytes:,}"
            raise Damaged(
                f"{path} {what}. The index is derived: `sonotheque index build --store {root}` makes it anew; `search --exact` does without it"
            )


def write_version(root: str, version: IndexVersion, ops: FileOps) -> bool:
    """Write a new version under its number. Returns False if another process wrote one of that number first."""
    target = f"{root}/{layout.index_version(version.number)}"
    value = json.loads(json.dumps(asdict(version)))
    data = json.dumps({"format_version": VERSION, "digest": digest_of(value), **value}, indent=1).encode()
    with store_errors(root):
        return put_new(ops, f"{root}/{layout.TMP}", temp_name("index"), target, data)
