"""One thread for the small products of a front end.

NumPy's BLAS splits a product of half a megaflop over all cores and then spins while it waits. On a machine whose cores
all have a worker of their own that was measured to treble the CPU time of a front end, for no gain in wall time. It
also sums in another order, so that a window's numbers would depend on the machine's cores.
"""

from __future__ import annotations

import functools
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

# The number of threads is the process's, and threadpoolctl lets one thread at a time change it: a second one would be
# ignored while the first is inside, and find the limit gone when that one leaves.
_TURN = threading.RLock()


@functools.cache
def _controller() -> Any:
    """Return the process's BLAS libraries; looking for them takes a millisecond, so it is done once."""
    import numpy  # noqa: F401 - its BLAS has to be loaded to be found
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep NumPy's products on the calling thread meanwhile; about 15 µs. Threads take turns; it may be nested."""
    with _TURN, _controller().limit(limits=1, user_api="blas"):
        yield
