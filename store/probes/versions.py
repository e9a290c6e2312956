"""Versions of probes: folders of small files. A version exists when its ``probe.json`` does, which is written last."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from sonotheque.core.errors import Conflict, Damaged, Invalid, NotFound
from sonotheque.core.suggest import did_you_mean
from store import layout
from store.config import temp_name
from store.fsops import FileOps, ops_of, put_new, store_errors
from store.probes.names import check_name, numbers, stored_names
from store.probes.promotions import Promotion, newest_promotion, read_promotions

FILES: Final = (
    layout.PROBE_WEIGHTS,
    layout.PROBE_EXPERIMENT,
    layout.PROBE_EXAMPLES,
    layout.PROBE_REPORT,
    layout.PROBE_FILE,
)


class ProbeStore:
    """The probes of a store, as files.

    Parameters
    ----------
    root : str
        The store's folder.
    ops : FileOps, optional
    """

    def __init__(self, root: str, ops: FileOps | None = None) -> None:
        self.root = root
        self._ops = ops or ops_of(root)

    def names(self) -> list[str]:
        """Return the names of the probes that have a version, sorted."""
        return [name for name in stored_names(self.root, self._ops) if self._versions(name)]

    def versions(self, name: str) -> list[int]:
        """Return the numbers of a probe's versions, ascending; none if there is no such probe. Numbers may be missing between them."""
        return self._versions(check_name(name))

    def add(self, name: str, files: Mapping[str, bytes]) -> int:
        """Write a new version.

        Parameters
        ----------
        name : str
        files : mapping
            File name -> bytes, of ``FILES``; ``weights.safetensors`` and ``probe.json`` at least.

        Returns
        -------
        int
            Its number: the next one that nobody has, also if two processes ask at once.

        Raises
        ------
        Invalid
            If the name cannot be one, or a file is missing or unknown.
        Unavailable
            Disk full or read-only.
        """
        name = check_name(name)
        if missing := {layout.PROBE_WEIGHTS, layout.PROBE_FILE} - set(files):
            raise Invalid(f"a version of probe {name} without {', '.join(sorted(missing))}")
        if unknown := set(files) - set(FILES):
            raise Invalid(f"a version of probe {name} with {', '.join(sorted(unknown))}; expected {', '.join(FILES)}")
        # The weights come first: whoever's name they get owns the number. `probe.json` comes last: before it, there is no version.
        ordered = [f for f in FILES if f in files]
        number = max(self._taken(name), default=0)
        with store_errors(self.root):
            while True:
                number += 1
                folder = f"{self.root}/{layout.probe_version(name, number)}"
                if all(self._put(f"{folder}/{file}", files[file]) for file in ordered):
                    return number

    def read(self, name: str, version: int, only: tuple[str, ...] = FILES) -> dict[str, bytes]:
        """Return the files of a version, or those of ``only``; what a version does not have is left out.

        Raises
        ------
        NotFound
            If there is no such probe or version; near names are offered.
        Damaged
            If a file cannot be read.
        """
        name = self.require(name, version)
        folder = f"{self.root}/{layout.probe_version(name, version)}"
        found = {}
        for file in only:
            try:
                found[file] = self._ops.read(f"{folder}/{file}")
            except FileNotFoundError:
                continue
            except OSError as error:
                raise Damaged(f"{folder}/{file} cannot be read: {error.strerror or error}") from error
        return found

    def require(self, name: str, version: int | None = None) -> str:
        """Return the name as it is stored, or raise NotFound if there is no such probe, or no such version of it."""
        name = check_name(name)
        there = self._versions(name)
        if not there:
            raise NotFound(
                f"{self.root} has no probe {name}: {did_you_mean(name, self.names())}. "
                f"`sonotheque probe list --store {self.root}` lists them"
            )
        if version is not None and version not in there:
            raise NotFound(f"probe {name} of {self.root} has no version {version}; it has {_ranges(there)}")
        return name

    def in_use(self, name: str) -> int | None:
        """Return the version of a probe that is in use; None if none was ever promoted."""
        found = newest_promotion(self.root, check_name(name), self._ops)
        return found.version if found else None

    def promote(
        self,
        name: str,
        version: int,
        why: str,
        forced: bool = False,
        by: str | None = None,
        *,
        undoes: int | None = None,
        after: int | None = None,
    ) -> Promotion:
        """Take a version into use; one that is in use already stays so, and its record is returned.

        Parameters
        ----------
        name, version
        why : str
        forced : bool
        by : str, optional
            User and machine; this one by default.
        undoes : int, optional
            Number of the record that this one takes back.
        after : int, optional
            Number of the newest record that the decision was made on; 0 if there was none.

        Raises
        ------
        NotFound
            If there is no such version.
        Conflict
            (``busy``) If another record came after ``after``: the decision may not hold any more.
        Unavailable
            Disk full or read-only.
        """
        name = self.require(name, version)
        by = by or f"{_user()}@{socket.gethostname()}"
        newest = newest_promotion(self.root, name, self._ops)
        number = newest.number if newest else 0
        if newest and newest.version == version and undoes is None:
            return newest
        if after is not None and number != after:
            raise _overtaken(name)
        with store_errors(self.root):
            while True:
                number += 1
                at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
                record = Promotion(number, version, at, " ".join(why.split()), forced, by, undoes)
                if self._put(f"{self.root}/{layout.probe_promotion(name, number)}", record.to_bytes()):
                    return record
                if after is not None:
                    raise _overtaken(name)

    def promotions(self, name: str) -> list[Promotion]:
        """Return the records of which version was in use, oldest first; see :func:`read_promotions`."""
        return read_promotions(self.root, check_name(name), self._ops)

    def _versions(self, name: str) -> list[int]:
        folder = f"{self.root}/{layout.probe_folder(name)}"
        return [n for n in numbers(self._ops.listdir(folder)) if self._ops.exists(f"{folder}/{n}/{layout.PROBE_FILE}")]

    def _taken(self, name: str) -> list[int]:
        """Return the numbers that somebody has, also if nothing came of it."""
        folder = f"{self.root}/{layout.probe_folder(name)}"
        return [n for n in numbers(self._ops.listdir(folder)) if self._ops.listdir(f"{folder}/{n}")]

    def _put(self, target: str, data: bytes) -> bool:
        return put_new(self._ops, f"{self.root}/{layout.TMP}", temp_name("probe"), target, data)


def _overtaken(name: str) -> Conflict:
    return Conflict(f"another version of probe {name} was taken into use meanwhile; compare again", kind="busy")


def _ranges(there: list[int]) -> str:
    return ", ".join(map(str, there)) if len(there) <= 8 else f"{len(there)}, from {there[0]} to {there[-1]}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return "unknown"
