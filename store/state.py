"""Where a store keeps what is local by nature: in the store itself, or, for one in an object store, in a folder of this machine."""

from __future__ import annotations

import os
import re
from typing import Final

from sonotheque.core.errors import Invalid
from sonotheque.core.ids import digest_of
from sonotheque.core.places import is_object, name_of, normal, scheme_of, server_of
from store import layout

STATE_VARIABLE: Final = "SONOTHEQUE_STATE"
# What a bucket does not hold: files being written, locks and appended lines, a database, and what is made again from the parts.
LOCAL: Final = (layout.TMP, layout.JOBS, layout.CATALOG, layout.INDEX, "service")
_PLAIN = re.compile(r"[^A-Za-z0-9._-]+")


def state_root(root: str) -> str:
    """Return the folder that holds ``_tmp``, ``jobs``, ``catalog``, ``index`` and the annotations of a store.

    Parameters
    ----------
    root : str
        A folder, which is its own answer, or an address in an object store.

    Returns
    -------
    str
        For an address: ``<name>-<digest of the address and of the server that is named for it>`` in ``$SONOTHEQUE_STATE``, or in
        ``~/.local/state/sonotheque``. Nothing is made. Whether it belongs to the store that is there now: :mod:`store.belonging`.
    """
    if not is_object(root):
        return root
    whole = normal(root)
    name = _PLAIN.sub("-", name_of(whole)).strip("-.")[:60] or "store"
    server = server_of(scheme_of(whole))  # one address on two servers is two stores
    return os.path.join(_states(), f"{name}-{digest_of([whole, server] if server else whole)[:12]}")


def _states() -> str:
    if told := os.environ.get(STATE_VARIABLE):
        return os.path.abspath(os.path.expanduser(told))
    home = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")
    return os.path.join(home, "sonotheque")


def require_folder(root: str, what: str) -> None:
    """Raise Invalid if a store lies in an object store, where ``what`` is not possible."""
    if is_object(root):
        raise Invalid(
            f"{what} needs a store in a folder, and {root} lies in an object store. Its objects are named as a folder's files are: copy "
            "them into a folder with the provider's own tools (`aws s3 sync`, `gcloud storage rsync`), and use that as --store"
        )


def is_local_part(relative: str) -> bool:
    """Tell whether a path inside a store lies in its state folder."""
    first = relative.partition("/")[0]
    return first in LOCAL or first.startswith(layout.ANNOTATIONS)
