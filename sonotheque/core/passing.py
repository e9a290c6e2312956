"""Which faults of a disk or a network pass by themselves, so that the same call is worth another try a moment later."""

from __future__ import annotations

import errno

_NAMES = (
    "EIO ESTALE EREMOTEIO ENOLINK EPROTO EBUSY EAGAIN EINTR ETXTBSY EMFILE ENFILE ENOMEM ENOBUFS EPIPE ETIMEDOUT "
    "ECONNRESET ECONNABORTED ECONNREFUSED ENOTCONN ENETDOWN ENETUNREACH ENETRESET EHOSTDOWN EHOSTUNREACH ESHUTDOWN"
)
# Not every system has all of them.
PASSING = frozenset(getattr(errno, name) for name in _NAMES.split() if hasattr(errno, name))
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR})
_SETTLED = (FileNotFoundError, NotADirectoryError, PermissionError, IsADirectoryError, FileExistsError)


def is_gone(error: OSError) -> bool:
    """Tell whether an error says that there is no such file; libraries of object stores raise it without a number."""
    return error.errno in _GONE or isinstance(error, FileNotFoundError | NotADirectoryError)


def is_passing(error: OSError) -> bool:
    """Tell whether a fault may be over in a moment: a disk's or a network's, not a missing file, right or name.

    An error without a number is a library's own (a connection that timed out ...) and counts as passing, unless its class says
    otherwise.
    """
    if isinstance(error, _SETTLED):
        return False
    return error.errno is None or error.errno in PASSING
