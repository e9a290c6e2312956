"""What ``sonotheque run-sites`` does, step by step: embed, verify, report."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sonotheque.cli.children import Child
from sonotheque.cli.output import document, say, table, tell
from sonotheque.core.errors import (
    EXIT_FILES_FAILED,
    EXIT_OK,
    EXIT_STOPPED,
    Conflict,
    Damaged,
    NotFound,
    SonothequeError,
)

if TYPE_CHECKING:
    from cluster.job import JobFolder
    from cluster.keeper import Keeper
    from cluster.sites import SiteFolders, SiteSum

STORE: Final = "store"
_SIGNALLED: Final = (128 + signal.SIGINT, 128 + signal.SIGTERM)
REPORT, SITES, SUMMARY, LOG = "report.csv", "sites.csv", "summary.json", "run.log"


@dataclass(slots=True)
class Batch:
    """One batch over a folder of sites.

    Attributes
    ----------
    sites : SiteFolders
    out : Path
        The output folder.
    options : sequence of str
        Of ``sonotheque embed``, as they are typed.
    log : Path or None
        Where the output goes, if not to a terminal.
    deep, as_json, quiet : bool
        Read every vector to verify it; one JSON document; no progress.
    """

    sites: SiteFolders
    out: Path
    options: Sequence[str]
    log: Path | None = None
    deep: bool = False
    as_json: bool = False
    quiet: bool = False
    _child: Child = field(default_factory=Child)
    _result: dict[str, Any] = field(default_factory=dict)

    @property
    def store(self) -> str:
        """The store's folder."""
        return str(self.out / STORE)

    def go(self) -> int:
        """Run it, and return its exit code."""
        with _alone(self.out):
            return self._go()

    def _go(self) -> int:
        from cluster.keeper import new_keeper

        keeper = new_keeper(self.out, store=self.out / STORE, log=self.log)
        try:
            with self._child.signals():
                code = self._steps(keeper)
        except KeyboardInterrupt:
            tell("sonotheque: stopped; what was committed stays")
            code = EXIT_STOPPED
        except BaseException as error:
            with contextlib.suppress(SonothequeError, OSError):  # what ended it (a full disk) may refuse this too
                code = error.exit_code if isinstance(error, SonothequeError) else 1
                keeper.say(stage="done", exit_code=code)
            raise
        keeper.say(stage="done", exit_code=code)
        return code

    def _steps(self, keeper: Keeper) -> int:
        from cluster.job import JobFolder, job_numbers

        if not self.quiet:
            for line in site_lines(self.sites):
                tell(line)
        before = job_numbers(self.store)
        code, said = self._child.run(self._embedding(), capture=self.as_json)
        if self._child.told and code in _SIGNALLED:  # it came before or after the time in which a run heeds it
            code = EXIT_STOPPED
        begun = [number for number in job_numbers(self.store) if number not in before]
        if not begun:  # it has told why
            if self.as_json:
                document(_document_of(said, code))
            return code
        job = JobFolder(self.store, begun[-1])
        if code in (EXIT_OK, EXIT_FILES_FAILED) and not self._child.told:
            keeper.say(stage="verify")
            code = self._verify() or code
        keeper.say(stage="report")
        self._report(job, code)
        return code

    def _embedding(self) -> list[str]:
        words = [
            "embed",
            self.sites.folder,
            "--store",
            self.store,
            "--root",
            self.sites.folder,
            "--site-from",
            "folder",
        ]
        words += ["--json"] if self.as_json else []
        words += ["--quiet"] if self.quiet else []
        return [*words, *self.options]

    def _verify(self) -> int:
        """Verify the store; the report is written whatever comes of it."""
        from cluster.status import verify_store
        from sonotheque.cli.jobs import verify_lines

        try:
            found = verify_store(self.store, deep=self.deep)
        except SonothequeError as error:
            tell(f"sonotheque: {error.message}")
            self._result["verify"] = error.to_json()
            return error.exit_code
        self._result["verify"] = found.to_json()
        if not self.as_json:
            say("\n".join(verify_lines(found, self.store, deep=self.deep)))
        return EXIT_OK if found.ok else Damaged.exit_code

    def _report(self, job: JobFolder, code: int) -> None:
        from cluster.report import export_rows, read_rows
        from cluster.sites import site_sums, write_sites
        from cluster.status import job_report

        sums = site_sums(job, self.sites.sites)
        with _written(self.out / REPORT) as aside:
            rows = export_rows(read_rows(job.path), aside)
        with _written(self.out / SITES) as aside:
            write_sites(sums, aside)
        summary: dict[str, Any] | None = None
        with contextlib.suppress(NotFound):  # it was killed before it had planned; the exit code says so
            summary = job_report(self.store, job.number)
        told = {
            "exit_code": code,
            "state": job.state(),
            "job": job.number,
            "folder": self.sites.folder,
            "store": self.store,
            "loose": self.sites.loose,
            "sites": [one.to_json() for one in sums],
            "verify": self._result.get("verify"),
            "report": str(self.out / REPORT),
            "sites_table": str(self.out / SITES),
            "summary": summary,
        }
        with _written(self.out / SUMMARY) as aside:
            aside.write_text(json.dumps(told, indent=2, ensure_ascii=True), encoding="ascii")
        if self.as_json:
            document(told)
            return
        of_sites = sums_lines(sums) if summary else [f"job {job.number} ended before it had a plan"]
        say("\n".join(["", *of_sites, f"report of {rows:,} recordings: {self.out / REPORT}"]))
        if code == EXIT_STOPPED:
            say("go on with the same command: only what is missing is embedded")


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Hold an output folder; the kernel gives it back when the process dies. Where there are no locks, the note alone tells."""
    folder = os.open(out, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Conflict(
                    f"another batch works on {out}. `sonotheque status --store {out / STORE}` shows it; "
                    f"`sonotheque stop --store {out / STORE}` ends it",
                    kind="busy",
                ) from None
        yield
    finally:
        os.close(folder)


@contextmanager
def _written(target: Path) -> Iterator[Path]:
    """Give a file beside a target, which takes its place when it was written to its end."""
    from store.fsops import store_errors

    aside = target.with_name(f".{os.getpid()}.{target.name}")
    try:
        with store_errors(str(target.parent)):
            yield aside
            aside.replace(target)
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)


def _document_of(said: str, code: int) -> Any:
    """Return what a verb said in JSON; one that was killed has said nothing, or half of it."""
    try:
        return json.loads(said)
    except ValueError:
        return {
            "error": {"kind": "unavailable", "message": f"the run ended before it began a job, with exit code {code}"}
        }


def site_lines(sites: SiteFolders) -> list[str]:
    """Return what is taken for a site, for people."""
    names = ", ".join(sites.sites[:8]) + (f" and {len(sites.sites) - 8} more" if len(sites.sites) > 8 else "")
    lines = [f"{len(sites.sites)} sites in {sites.folder}: {names}"] if sites.sites else []
    for site, folders in sites.merged.items():
        lines.append(
            f"note: folders {', '.join(map(repr, folders))} have names that a store cannot tell apart: one site, {site!r}"
        )
    if sites.loose:
        joined = f", as those of its subfolder {sites.own_site!r} are" if sites.own_site in sites.sites else ""
        lines.append(
            f"note: recordings in {sites.folder} itself, in no site's folder: {sites.loose:,}. They are put under the site "
            f"{sites.own_site!r}, after the folder{joined}. Move them into a subfolder of their site for another name"
        )
    return lines


def sums_lines(sums: Sequence[SiteSum]) -> list[str]:
    """Return the table of sites, for people."""
    pending = any(one.pending for one in sums)
    headings = ["site", "files", "hours", "failures", "windows", *(["pending"] if pending else []), "which failures"]
    rows = []
    for one in sums:
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(one.failed_by_kind.items()))
        left = [f"{one.pending:,}"] if pending else []
        rows.append(
            [one.site, f"{one.files:,}", f"{one.hours:,.2f}", f"{one.failed:,}", f"{one.windows:,}", *left, kinds]
        )
    lines = table(headings, rows, right=range(1, 6 if pending else 5)).splitlines()
    empty = [one.site for one in sums if not one.files]
    if empty:
        lines.append(f"no recordings in: {', '.join(empty)}")
    return [*lines, ""]


def summary_of(out: Path) -> dict[str, Any]:
    """Return what a batch wrote at its end; empty if it did not come so far."""
    try:
        found = json.loads((out / SUMMARY).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
