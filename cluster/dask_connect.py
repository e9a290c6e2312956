"""A client of a scheduler: connected, with TLS where it is asked for, and with workers that can run tasks of this program."""

from __future__ import annotations

import gc
import importlib
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

from distributed import Client, Security

from cluster.dask_settings import ONE_THREAD
from cluster.specs.kinds import Tls
from sonotheque.core.errors import Invalid, NotFound, Unavailable

_CONNECT_S: Final = 30
_AGAIN_AFTER_S: Final = (0.5, 1.0, 2.0, 4.0)  # a nanny needs about a second for a new worker
GOES_ON: Final = "What was committed stays; run the same command again: it goes on where it stopped"
_ROLES: Final = ("client", "scheduler", "worker")


def connect(address: str, module: str = "cluster.dask_worker", *, tls: Tls | None = None) -> Client:
    """Return a client of a running scheduler whose workers can run tasks of a module, one at a time each.

    Raises
    ------
    Invalid
        If the address cannot be one.
    Unavailable
        If no scheduler answers, or its workers will not do.
    """
    try:
        client = Client(address, timeout=_CONNECT_S, security=security_of(tls))
    except (TypeError, ValueError) as error:
        forget(error)
        raise Invalid(
            f"--scheduler {address}: {error}. An address looks like tcp://node1:8786; the scheduler prints its own at its start"
        ) from error
    except OSError as error:
        forget(error)
        raise Unavailable(
            f"no Dask scheduler answers at {address} within {_CONNECT_S} s: {error}. Check the address, or leave --scheduler out to run here"
        ) from error
    require_workers(client, address, module)
    return client


def forget(error: Exception) -> None:
    """End a client that could not connect, now: its end takes a lock that another client's start holds, and would wait for ever in a
    garbage collection that comes in the middle of that.
    """
    traceback.clear_frames(error.__traceback__)
    gc.collect()


def require_workers(client: Client, address: str, module: str = "cluster.dask_worker") -> None:
    """Look whether a scheduler has workers that can run tasks of a module, one at a time each; if not, end the client.

    Raises
    ------
    Unavailable
        With what is wrong.
    """
    if not client.nthreads():
        client.close(timeout=2)
        raise Unavailable(f"the Dask scheduler at {address} has no workers. {ONE_THREAD}")
    if wide := {name: n for name, n in client.nthreads().items() if n != 1}:
        client.close(timeout=2)
        name, threads = next(iter(wide.items()))
        raise Unavailable(
            f"{len(wide)} worker(s) of {address} run several tasks at once ({name} has {threads} threads), and a model takes one. {ONE_THREAD}"
        )
    try:
        patiently(client, lambda: client.run(importlib.import_module, module))
    except Unavailable:
        client.close(timeout=2)
        raise
    except ImportError as error:
        client.close(timeout=2)
        raise Unavailable(
            f"the workers of {address} cannot run tasks of this program: {error}. Install it on every worker, in the version used here"
        ) from error


def patiently(client: Client, deed: Callable[[], object]) -> None:
    """Do something on all workers; again if one of them goes away over it, as that takes the others' answers with it.

    Raises
    ------
    Unavailable
        Kind ``workers_lost``: each time one went away, or the scheduler did.
    """
    for wait_s in (*_AGAIN_AFTER_S, None):
        try:
            deed()
        except OSError as error:
            if wait_s is None or client.status != "running":
                raise Unavailable(
                    f"workers went away while they were made ready ({error!r}). {GOES_ON}", kind="workers_lost"
                ) from error
            time.sleep(wait_s)
        else:
            return


def security_of(tls: Tls | None) -> Security:
    """Return what connections need: encryption and a certificate of the one authority on both sides, or nothing."""
    if tls is None:
        return Security()
    for file in (tls.ca, tls.cert, tls.key):
        if not Path(file).is_file():
            raise NotFound(f"tls: there is no file {file} on this machine; ca, cert and key are files in PEM format")
    found = {f"tls_{role}_{what}": getattr(tls, what) for role in _ROLES for what in ("cert", "key")}
    return Security(tls_ca_file=tls.ca, require_encryption=True, **found)
