"""What can go wrong between here and an object store, in one shape: an ``OSError`` with a kind, and what to do about it.

Being an ``OSError`` it becomes a file's own status where a file is read (``io_error``, ``vanished``); where a whole source is at
fault, :func:`as_error` makes an error of the program's tree of it.
"""

from __future__ import annotations

import errno
from typing import Final, Literal

from sonotheque.core.errors import Invalid, NotFound, Refused, SonothequeError, Unavailable

Kind = Literal["absent", "forbidden", "expired", "lost", "region", "changed", "passing"]

_NUMBERS: Final[dict[Kind, int]] = {
    "absent": errno.ENOENT,
    "forbidden": errno.EACCES,
    "expired": errno.EPERM,
    "lost": errno.EPERM,
    "region": errno.EINVAL,
    "changed": errno.EINVAL,
    "passing": errno.EIO,
}
_REMEDIES: Final[dict[Kind, str]] = {
    "absent": "check the bucket's name and the path",
    "forbidden": "name an account that may read it (AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; for gs:// "
    "GOOGLE_APPLICATION_CREDENTIALS); a public bucket needs none",
    "expired": "sign in again (aws sso login, gcloud auth application-default login, or a new AWS_SESSION_TOKEN) and run the same "
    "command again: what is done stays done",
    "lost": "what could be read before may not be read any more: see to the account's rights and run the same command again: what is "
    "done stays done",
    "region": "say the bucket's region in AWS_DEFAULT_REGION, or its server in AWS_ENDPOINT_URL",
    "changed": "run again, and it is read as it is now",
    "passing": "run the same command again later: what is done stays done",
}


class RemoteError(OSError):
    """Something at an address could not be read.

    Parameters
    ----------
    kind : str
        ``absent``, ``forbidden``, ``expired`` (credentials), ``lost`` (forbidden, and so is what could be read before),
        ``region``, ``changed`` (another object has its name now), or ``passing``: worth another try.
    url : str
    detail : str
        In the store's own words.
    """

    def __init__(self, kind: Kind, url: str, detail: str) -> None:
        super().__init__(_NUMBERS[kind], f"{url}: {detail}")
        self.kind, self.url, self.detail = kind, url, detail

    def __reduce__(self) -> tuple[object, ...]:
        return RemoteError, (self.kind, self.url, self.detail)


def as_error(error: RemoteError) -> SonothequeError:
    """Return an error of the program's tree, with what to do next."""
    message = f"{error.url}: {error.detail}; {_REMEDIES[error.kind]}"
    if error.kind == "absent":
        return NotFound(message)
    if error.kind == "forbidden":
        return Refused(message, kind="forbidden")
    if error.kind == "expired":
        return Refused(message, kind="unauthorized")
    if error.kind == "lost":
        return access_lost(error)
    return Invalid(message) if error.kind == "region" else Unavailable(message)


def access_lost(error: RemoteError) -> Unavailable:
    """Return the error that ends a run: no other recording could be read either, so none is to blame."""
    return Unavailable(f"{error.url}: {error.detail}; {_REMEDIES[error.kind]}", kind="access_lost")


def needs_extra(url: str, library: str, why: ImportError) -> Unavailable:
    """Return the error of a library that is not installed."""
    return Unavailable(
        f"{url}: recordings at such an address need {library}, which cannot be used here ({why}): pip install 'sonotheque[objects]'",
        kind="engine_missing",
    )
