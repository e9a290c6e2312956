"""The one error tree.

::

    SonothequeError
    ├── NotFound      a path, store, model, job or column that is not there        exit 4   HTTP 404
    ├── Invalid       a value, option or file that cannot be right                 exit 2   HTTP 422
    ├── Conflict      two things that are each fine and do not go together         exit 5   HTTP 409
    ├── Unavailable   right in itself, not possible now (network, disk, worker)    exit 6   HTTP 503
    ├── Damaged       something on disk is not what it was when it was written     exit 7   HTTP 500
    ├── Limit         a bound that protects the program was reached                exit 8   HTTP 413
    └── Refused       the caller is not known, or may not do this                  exit 10  HTTP 403

Callers match on the class, or on ``kind``: a stable word that is only ever added to (``KINDS``). A few kinds have an HTTP status
of their own (``HTTP_STATUS``); where only the kind is known, as of a job's error that was kept, ``CLASS_OF_KIND`` has its class.
A message says what, where, both values, and the next step.
"""

from __future__ import annotations

from typing import ClassVar, Final

EXIT_OK = 0
EXIT_FILES_FAILED = 3  # the run ended and some files failed: not an error of the program, not a clean success
EXIT_STOPPED = 9  # the run was stopped by `sonotheque stop` or Ctrl-C; what was committed stays

KINDS: dict[str, str] = {
    "not_found": "something named is not there",
    "no_audio": "a folder holds no audio file",
    "no_store": "a folder is not a store",
    "no_index": "a store has no index yet",
    "no_weights": "a model's weights are not here",
    "unknown_model": "no model has this name",
    "unknown_column": "no such column",
    "unknown_recording": "no recording of the store has this path or name",
    "ambiguous_recording": "a path that could mean more than one recording",
    "invalid": "a value or option that cannot be right",
    "invalid_table": "a table with a wrong line, column or value",
    "invalid_weights": "a weights folder or file with an unexpected shape",
    "conflict": "two things that do not go together",
    "model_conflict": "a store holds the vectors of another model",
    "settings_conflict": "a store was made with other settings",
    "path_conflict": "two recordings would share one name",
    "old_format": "a store of an earlier format version",
    "busy": "another job works on this store",
    "foreign_database": "a database of another program or of a later version",
    "nothing_to_undo": "what was to be undone does not count any more, or never did",
    "unavailable": "not possible now",
    "download_failed": "model weights could not be downloaded",
    "engine_missing": "the library that runs a model is not installed",
    "disk_full": "no space left where the store is",
    "read_only": "the store cannot be written to",
    "snapshot_gone": "a reader's snapshot was removed after the grace period",
    "workers_lost": "the Dask cluster went away",
    "store_unreachable": "the object store that holds the archive gives no answer",
    "access_lost": "an object store does not let this program read any more what it let it read before",
    "damaged": "a file is not what it was when it was written",
    "limit": "a protecting bound was reached",
    "overloaded": "the service has as much to do as it takes on; the same request works later",
    "rate_limited": "a caller asked more often than it may",
    "timeout": "a request took longer to arrive than it may",
    "too_large": "a request's body is larger than the service takes",
    "unsupported_audio": "an upload is no sound that can be read",
    "refused": "the caller may not do this",
    "unauthorized": "no key, or not a valid one",
    "forbidden": "the key does not allow this",
    "cross_site": "a request that another web site made",
    "internal": "an error of the program itself; its log has the details",
}
HTTP_STATUS: dict[str, int] = {
    "overloaded": 503,
    "rate_limited": 429,
    "timeout": 408,
    "unsupported_audio": 415,
    "unauthorized": 401,
}


class SonothequeError(Exception):
    """Base of every error the program raises on purpose.

    Parameters
    ----------
    message : str
        What happened, where, with both values, and what to do next.
    kind : str, optional
        A word of ``KINDS``; the class's own by default.
    """

    default_kind: ClassVar[str] = "invalid"
    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, kind: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind or self.default_kind
        if self.kind not in KINDS:
            raise AssertionError(f"error kind {self.kind!r} is not in KINDS")

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process boundaries (a worker raises, the coordinator reads).
        return (_rebuild, (type(self), self.message, self.kind))

    @property
    def status(self) -> int:
        """The HTTP status of its kind, or of its class."""
        return HTTP_STATUS.get(self.kind, self.http_status)

    def to_json(self) -> dict[str, object]:
        """Return the one JSON shape of an error: ``{"error": {"kind", "message"}}``."""
        return {"error": {"kind": self.kind, "message": self.message}}


def _rebuild(cls: type[SonothequeError], message: str, kind: str) -> SonothequeError:
    return cls(message, kind=kind)


class NotFound(SonothequeError):  # noqa: N818 - nouns, as the field's other tools have them
    """Something named by the caller is not there."""

    default_kind = "not_found"
    exit_code = 4
    http_status = 404


class Invalid(SonothequeError, ValueError):  # noqa: N818
    """A value, option or file that cannot be right, whatever the state of the store."""

    default_kind = "invalid"
    exit_code = 2
    http_status = 422


class Conflict(SonothequeError):  # noqa: N818
    """Two things that are each fine and do not go together."""

    default_kind = "conflict"
    exit_code = 5
    http_status = 409


class Unavailable(SonothequeError):  # noqa: N818
    """Right in itself, not possible now; the same call may work later."""

    default_kind = "unavailable"
    exit_code = 6
    http_status = 503


class Damaged(SonothequeError):  # noqa: N818
    """Something on disk is not what it was when it was written."""

    default_kind = "damaged"
    exit_code = 7
    http_status = 500


class Limit(SonothequeError):  # noqa: N818
    """A bound that protects the program was reached."""

    default_kind = "limit"
    exit_code = 8
    http_status = 413


class Refused(SonothequeError):  # noqa: N818
    """The caller is not known, or may not do this."""

    default_kind = "refused"
    exit_code = 10
    http_status = 403


CLASS_OF_KIND: Final[dict[str, type[SonothequeError]]] = {
    "not_found": NotFound,
    "no_audio": NotFound,
    "no_store": NotFound,
    "no_index": NotFound,
    "no_weights": NotFound,
    "unknown_model": NotFound,
    "unknown_recording": NotFound,
    "unknown_column": Invalid,
    "ambiguous_recording": Invalid,
    "invalid": Invalid,
    "invalid_table": Invalid,
    "invalid_weights": Invalid,
    "unsupported_audio": Invalid,
    "conflict": Conflict,
    "model_conflict": Conflict,
    "settings_conflict": Conflict,
    "path_conflict": Conflict,
    "old_format": Conflict,
    "busy": Conflict,  # of annotations being written it is Unavailable
    "foreign_database": Conflict,
    "nothing_to_undo": Conflict,
    "unavailable": Unavailable,
    "download_failed": Unavailable,
    "engine_missing": Unavailable,
    "disk_full": Unavailable,
    "read_only": Unavailable,
    "snapshot_gone": Unavailable,
    "workers_lost": Unavailable,
    "store_unreachable": Unavailable,
    "overloaded": Unavailable,
    "timeout": Unavailable,
    "internal": Unavailable,  # the class that a client gives HTTP 500
    "access_lost": Unavailable,
    "damaged": Damaged,
    "limit": Limit,
    "rate_limited": Limit,
    "too_large": Limit,
    "refused": Refused,
    "unauthorized": Refused,
    "forbidden": Refused,
    "cross_site": Refused,
}
