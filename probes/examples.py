"""Examples: vectors with what is known of them, and where they come from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sonotheque.core.errors import Invalid

GROUPS: Final = ("recording", "day", "site")


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Windows that a probe learns from, or is judged by.

    Attributes
    ----------
    classes : tuple of str
        C of them.
    vectors : float32, (n, dim)
        As stored, not normalised.
    targets : float32, (n, C)
        1: the class is heard; 0: it is not.
    weights : float32, (n, C)
        1: somebody judged; between 0 and 1: a weak negative, taken to be one because nobody said otherwise; 0: not known.
    recording_ids, start_samples : int64, (n,)
        The windows' identities; recording id 0 and up.
    paths, sites, days : object, (n,)
        Text; ``days`` is the local date, ``2024-05-01``, or empty.
    hours : int16, (n,)
        Local hour; -1 if unknown.
    snr_db : float32, (n,)
        Signal over noise in the window; NaN if unknown.
    start_s, end_s : float64, (n,)
        In the recording.

    Raises
    ------
    Invalid
        If shapes do not fit, classes are doubled, or a value is not finite; the window is named.
    """

    classes: tuple[str, ...]
    vectors: NDArray[np.float32]
    targets: NDArray[np.float32]
    weights: NDArray[np.float32]
    recording_ids: NDArray[np.int64]
    start_samples: NDArray[np.int64]
    paths: NDArray[np.object_]
    sites: NDArray[np.object_]
    days: NDArray[np.object_]
    hours: NDArray[np.int16]
    snr_db: NDArray[np.float32]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]

    def __post_init__(self) -> None:
        n, c = len(self.vectors), len(self.classes)
        if len(set(self.classes)) != c:
            raise Invalid(f"a class is named twice: {', '.join(self.classes)}")
        if self.vectors.ndim != 2 or self.targets.shape != (n, c) or self.weights.shape != (n, c):
            raise Invalid(
                f"vectors {self.vectors.shape}, targets {self.targets.shape}, weights {self.weights.shape}: "
                f"expected (n, dim), (n, {c}) and (n, {c})"
            )
        for field in fields(self)[4:]:
            if len(getattr(self, field.name)) != n:
                raise Invalid(f"{field.name} has {len(getattr(self, field.name))} values for {n} vectors")
        if n and not np.isfinite(wrong := self.vectors.sum(axis=1, dtype=np.float64)).all():
            i = int(np.flatnonzero(~np.isfinite(wrong))[0])
            raise Invalid(
                f"the vector of {self.paths[i]} at {self.start_s[i]:g} s holds a value that is not finite: leave that window out, "
                "and run `sonotheque verify --deep`"
            )

    def __len__(self) -> int:
        return len(self.vectors)

    def take(self, rows: NDArray[np.int64]) -> Examples:
        """Return some rows, in the order given."""
        return replace(self, **{f.name: getattr(self, f.name)[rows] for f in fields(self)[1:]})

    def of_classes(self, classes: tuple[str, ...]) -> Examples:
        """Return the same rows with these classes alone, in this order."""
        columns = [self.classes.index(c) for c in classes]
        return replace(self, classes=classes, targets=self.targets[:, columns], weights=self.weights[:, columns])

    def groups(self, by: str) -> NDArray[np.object_]:
        """Return what keeps rows together in a split: one text each.

        Parameters
        ----------
        by : str
            ``recording``; ``day``: site and local date, or the recording where that is unknown; ``site``.
        """
        if by not in GROUPS:
            raise Invalid(f"split by {by!r}: expected {', '.join(GROUPS)}")
        recordings = np.array([f"recording {i}" for i in self.recording_ids], object)
        if by == "recording":
            return recordings
        if by == "site":
            return self.sites
        days = np.array([f"{s} {d}" for s, d in zip(self.sites, self.days, strict=True)], object)
        return np.where(self.days == "", recordings, days)

    @property
    def digest(self) -> str:
        """SHA-256 of everything, in this order."""
        found = hashlib.sha256(repr(self.classes).encode())
        for field in fields(self)[1:]:
            value = getattr(self, field.name)
            if value.dtype == object:
                found.update("\0".join(map(str, value)).encode("utf-8", "surrogatepass"))
            else:
                found.update(np.ascontiguousarray(value).tobytes())
        return found.hexdigest()


def join(parts: list[Examples]) -> Examples:
    """Return the rows of several, which have the same classes, one after the other."""
    first = parts[0]
    if any(p.classes != first.classes for p in parts):
        raise Invalid("examples with different classes cannot be joined")
    values = {f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(first)[1:]}
    return Examples(first.classes, **values)
