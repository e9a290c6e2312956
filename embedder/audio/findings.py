"""What is wrong with one file: findings, and which of several counts."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass

from embedder.remote.faults import RemoteError, access_lost
from sonotheque.core.outcome import Status
from sonotheque.core.passing import is_gone, is_passing

# Most serious first. Whatever leaves a file without windows stands above whatever leaves some, so that a file whose
# outcome is `done` always has at least one window.
SEVERITY: tuple[Status, ...] = (
    Status.VANISHED,
    Status.CHANGED,
    Status.IO_ERROR,
    Status.UNREADABLE,
    Status.EMPTY,
    Status.TOO_SHORT,
    Status.CORRUPT,
    Status.TRUNCATED,
    Status.SHORT,
    Status.HEADER_REPAIRED,
    Status.NONFINITE,
    Status.ZERO_TAIL,
    Status.SILENT,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a file: a status, a sentence with the values, and whether the same read may work in a moment."""

    status: Status
    reason: str
    passing: bool = False


class Refused(Exception):  # noqa: N818 - a verdict on a file, not an error of the program; never leaves this package
    """The file cannot be decoded at all; carries why."""

    def __init__(self, status: Status, reason: str, *, passing: bool = False) -> None:
        super().__init__(reason)
        self.finding = Finding(status, reason, passing)


def from_os_error(error: OSError) -> Finding:
    """Return what an error of the operating system says about a file.

    A file that is gone is ``vanished``, an object that has been replaced ``changed``; everything else (EIO, ESTALE, EACCES ...)
    is ``io_error``, which a later run tries again.

    Raises
    ------
    Unavailable
        ``access_lost``, if credentials have expired or been taken back: that says nothing of the file.
    """
    if isinstance(error, RemoteError) and error.kind in ("expired", "lost"):
        raise access_lost(error) from error
    words = error.strerror or str(error)
    code = errno.errorcode.get(error.errno or 0, "OSError")
    if isinstance(error, RemoteError) and error.kind == "changed":
        return Finding(Status.CHANGED, f"while it was read: {error.detail}")
    if is_gone(error):
        return Finding(Status.VANISHED, f"not there any more ({code}: {words})")
    return Finding(Status.IO_ERROR, f"could not be read: {code}: {words}", is_passing(error))


def combine(findings: Sequence[Finding]) -> tuple[Status, str]:
    """Return the most serious status, and a reason that names the others too.

    Parameters
    ----------
    findings : sequence of Finding
        In any order; may be empty.

    Returns
    -------
    status : Status
        ``ok`` if there is none.
    reason : str
        The worst finding's sentence, then ``; also <status>: <reason>`` for each other one.
    """
    if not findings:
        return Status.OK, ""
    worst, *others = sorted(findings, key=lambda finding: SEVERITY.index(finding.status))
    return worst.status, "; ".join(
        [worst.reason, *(f"also {other.status.value}: {other.reason}" for other in others)],
    )
