"""Client: everything a served archive answers, as Python values."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import httpx

from sonotheque.client.browsing import Browsing
from sonotheque.client.jobs import Jobs
from sonotheque.client.judging import Judging
from sonotheque.client.listening import Listening
from sonotheque.client.probes import Probes
from sonotheque.client.searching import Searching
from sonotheque.client.transport import RETRIES, Transport


class Client(Searching, Browsing, Judging, Listening):
    """A served archive.

    Every error is one of :mod:`sonotheque.core.errors`, with the kind that the service gave it. What the service has no room for now is
    asked again, as often as ``retries`` says. One client serves any number of threads.

    Parameters
    ----------
    url : str
        As ``http://127.0.0.1:8770``.
    key : str, optional
        As ``sonotheque keys create`` showed it; a service on this machine may need none.
    timeout_s : float
        For an answer to begin.
    retries : int
    http : httpx.Client, optional
        One with settings of your own.

    Attributes
    ----------
    probes : Probes
    jobs : Jobs

    Raises
    ------
    Invalid
        If the address cannot be one.

    Examples
    --------
    >>> with Client("http://127.0.0.1:8770") as archive:  # doctest: +SKIP
    ...     for hit in archive.search("call.wav", k=20, sites="forest", hours="22:00-04:00"):
    ...         print(hit.rank, hit.score, hit.path, hit.start_s)
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        timeout_s: float = 60.0,
        retries: int = RETRIES,
        http: httpx.Client | None = None,
    ) -> None:
        super().__init__(Transport(url, key, timeout_s=timeout_s, retries=retries, http=http))
        self.jobs = Jobs(self._transport)
        self.probes = Probes(self._transport, self.jobs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()
