"""A folder of sites, one subfolder each: which there are, and what became of them."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from cluster.job import FINISHED, JobFolder
from cluster.report import IN_STORE, read_rows
from embedder.audio.discover import is_audio_name
from sonotheque.core.errors import Conflict, Invalid, NotFound, Unavailable
from sonotheque.core.formulas import inert_value
from sonotheque.core.outcome import Outcome
from sonotheque.core.places import inside
from sonotheque.core.recording import printable_path
from sonotheque.core.site import clean_site


@dataclass(frozen=True, slots=True)
class SiteFolders:
    """What lies in a folder of sites.

    Attributes
    ----------
    folder : str
        Its real path.
    sites : tuple of str
        Names of the sites, in order; two folders whose names a store cannot tell apart are one.
    merged : dict
        Of these: a site -> its folders, where there are several.
    loose : int
        Recordings that lie in the folder itself.
    """

    folder: str
    sites: tuple[str, ...]
    merged: dict[str, list[str]]
    loose: int

    @property
    def own_site(self) -> str:
        """The site that recordings in the folder itself are put under: the folder's own name."""
        return clean_site(Path(self.folder).name)


def find_sites(folder: str) -> SiteFolders:
    """Look at a folder whose subfolders are sites; hidden ones are not.

    Raises
    ------
    NotFound
        If it is not there, or holds neither subfolders nor recordings (kind ``no_audio``).
    Invalid
        If it is no folder.
    Unavailable
        If it cannot be read.
    """
    by_site: dict[str, list[str]] = {}
    loose = 0
    try:
        real = str(Path(folder).expanduser().resolve(strict=True))
        with os.scandir(real) as entries:
            for entry in sorted(entries, key=lambda e: os.fsencode(e.name)):
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    by_site.setdefault(clean_site(entry.name), []).append(entry.name)
                elif is_audio_name(entry.name):
                    loose += 1
    except FileNotFoundError:
        raise NotFound(f"{folder} is not there: name the folder whose subfolders are the sites") from None
    except NotADirectoryError:
        raise Invalid(f"{folder} is a file: name the folder whose subfolders are the sites") from None
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, or "~name" of no user
        raise Unavailable(f"{folder} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not by_site and not loose:
        raise NotFound(
            f"{folder} holds neither subfolders nor recordings: each subfolder is a site, with its recordings in it",
            kind="no_audio",
        )
    return SiteFolders(real, tuple(by_site), {k: v for k, v in by_site.items() if len(v) > 1}, loose)


def require_apart(folder: str, out: str) -> None:
    """Refuse an output folder among the recordings.

    Raises
    ------
    Conflict
        If it is the folder of sites, or lies in it: it would be taken for a site.
    """
    real_out = str(Path(out).expanduser().resolve())
    if inside(real_out, folder):
        raise Conflict(
            f"the output folder {out} lies in {folder}, where every subfolder is a site: choose one beside it, "
            f"such as {Path(folder).parent / (Path(folder).name + '-out')}"
        )


@dataclass(slots=True)
class SiteSum:
    """What became of a site's recordings.

    Attributes
    ----------
    site : str
    files, done, in_store, skipped, failed, pending : int
        ``files`` is the sum of the others; ``in_store`` were there before this run.
    hours : float
        Of sound that is in the store now.
    windows : int
    failed_by_kind : dict
    """

    site: str
    files: int = 0
    done: int = 0
    in_store: int = 0
    skipped: int = 0
    failed: int = 0
    pending: int = 0
    hours: float = 0.0
    windows: int = 0
    failed_by_kind: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object."""
        return {**asdict(self), "hours": round(self.hours, 4)}

    def add(self, row: dict[str, Any]) -> None:
        """Count one row of a job's report."""
        self.files += 1
        if row["outcome"] == Outcome.FAILED:
            self.failed += 1
            self.failed_by_kind[row["status"]] = self.failed_by_kind.get(row["status"], 0) + 1
            return
        if row["outcome"] == Outcome.DONE:
            self.done += 1
        elif row["windows"] and row["reason"].startswith(IN_STORE):
            self.in_store += 1
        else:
            self.skipped += 1
        if row["windows"]:
            self.hours += row["duration_s"] / 3600
            self.windows += row["windows"]


def site_sums(job: JobFolder, sites: Iterable[str]) -> list[SiteSum]:
    """Return what a job's report and plan say of each site, in order of their names.

    Parameters
    ----------
    job : JobFolder
    sites : iterable of str
        Sites that are told even if they have no recording.
    """
    sums = {site: SiteSum(site) for site in sites}
    told: set[str] | None = None if job.state() == FINISHED else set()  # of a run that finished, nothing is left over
    for row in read_rows(job.path):
        sums.setdefault(row["site"], SiteSum(row["site"])).add(row)
        if told is not None:
            told.add(row["path"])
    for line in job.read_plan() if told is not None else ():
        if "site" in line and printable_path(line["path"]) not in (told or ()):
            one = sums.setdefault(line["site"], SiteSum(line["site"]))
            one.files += 1
            one.pending += 1
    return [sums[site] for site in sorted(sums)]


COLUMNS = tuple(f.name for f in fields(SiteSum))


def write_sites(sums: Iterable[SiteSum], target: Path) -> None:
    """Write them as a CSV table."""
    with target.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        for one in sums:
            kinds = "; ".join(f"{kind} {count}" for kind, count in sorted(one.failed_by_kind.items()))
            table.writerow({**one.to_json(), "site": inert_value(one.site), "failed_by_kind": kinds})
