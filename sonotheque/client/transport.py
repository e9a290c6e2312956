"""One connection to a service: requests, retries where the service asks for them, errors in our words."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

import httpx

from sonotheque.client.faults import fault_of, not_ours, redirected
from sonotheque.client.sending import Body
from sonotheque.core.errors import Invalid, NotFound, Unavailable

RETRIES: Final = 4
WAIT_MAX_S: Final = 10.0
_AGAIN: Final = (429, 503)
Params = Mapping[str, Any] | None
Sound = str | Path | bytes | IO[bytes]


class Transport:
    """Requests to one service; safe to use from several threads.

    Parameters
    ----------
    url : str
        Of the service, without ``/v1``.
    key : str, optional
        Sent in a header, never in an address.
    timeout_s : float
        For an answer to begin, or to go on.
    retries : int
        How often a request is sent again that the service had no room for (429, 503).
    http : httpx.Client, optional
        One of the caller's own, for tests and for proxies.
    sleep : callable
        Waits.

    Raises
    ------
    Invalid
        If the address cannot be one.
    """

    def __init__(
        self,
        url: str,
        key: str | None,
        *,
        timeout_s: float = 60.0,
        retries: int = RETRIES,
        http: httpx.Client | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        if not self.url.startswith(("http://", "https://")):
            raise Invalid(f"{url!r}: expected the address of a service, as in http://127.0.0.1:8770")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = http or httpx.Client(timeout=httpx.Timeout(timeout_s, connect=10.0))
        self._headers = headers
        self._retries = retries
        self._sleep = sleep

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str, params: Params = None) -> Any:
        """Return the JSON of an answer: ``{"data", "meta"}``."""
        return self.told(self.send("GET", path, params))

    def post(self, path: str, json: Any = None, params: Params = None) -> Any:
        """Send JSON and return that of the answer."""
        return self.told(self.send("POST", path, params, json=json))

    def told(self, answer: httpx.Response) -> Any:
        """Return the JSON of an answer.

        Raises
        ------
        Unavailable
            If it is none of a service: a page of a proxy, say.
        """
        try:
            found = answer.json()
        except ValueError:
            found = None
        if not isinstance(found, dict) or not {"data", "meta"} <= set(found):
            raise not_ours(self.url, answer.status_code, answer.headers.get("content-type", ""))
        return found

    def upload(self, path: str, sound: Sound, params: Params = None, *, named: bool = True) -> httpx.Response:
        """Send a sound: a file by its path, which is read as it is sent, an open file from where it is, or bytes.

        Parameters
        ----------
        path : str
        sound : path, binary file or bytes
            What cannot be gone back in, a pipe say, is sent once only, even if the service has no room for it.
        params : dict, optional
        named : bool
            Tell the service a file's name.

        Raises
        ------
        NotFound
            If there is no such file.
        """
        values = dict(params or {})
        if not isinstance(sound, str | Path):
            return self.send("POST", path, values, body=Body(sound))
        if named:
            values.setdefault("name", Path(sound).name)
        try:
            with open(sound, "rb") as file:
                return self.send("POST", path, values, body=Body(file))
        except (FileNotFoundError, IsADirectoryError) as error:
            raise NotFound(f"{sound}: there is no such file") from error

    def send(
        self,
        method: str,
        path: str,
        params: Params = None,
        *,
        json: Any = None,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Send a request, again where the service says that it has no room now, and return its answer.

        Raises
        ------
        SonothequeError
            What the service answered: the class and kind that it has there.
        Unavailable
            If the service cannot be reached, or does not answer (kind ``timeout``).
        """
        with self.stream(method, path, params, json=json, body=body, headers=headers) as answer:
            with _reached(self.url):
                answer.read()
            return answer

    @contextmanager
    def stream(
        self,
        method: str,
        path: str,
        params: Params = None,
        *,
        json: Any = None,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Iterator[httpx.Response]:
        """Yield an answer whose body is still to be read; as :meth:`send` otherwise."""
        own = dict(headers or {}) | self._headers
        if body is not None:
            own = {"Content-Type": "application/octet-stream", **body.headers} | own
        retries = self._retries if body is None or body.again else 0
        for attempt in range(retries + 1):
            with _reached(self.url):
                request = self._http.build_request(
                    method,
                    f"{self.url}{path}",
                    params=_listed(params),
                    json=json,
                    content=None if body is None else body.content(),
                    headers=own,
                    timeout=httpx.USE_CLIENT_DEFAULT if timeout_s is None else httpx.Timeout(timeout_s, connect=10.0),
                )
                answer = self._http.send(request, stream=True)
            try:
                if answer.status_code < 300:
                    yield answer
                    return
                if answer.status_code < 400:
                    raise redirected(self.url, answer.status_code, answer.headers.get("location"))
                with _reached(self.url):
                    said = answer.read()
                if answer.status_code not in _AGAIN or attempt == retries:
                    raise fault_of(answer.status_code, said)
            finally:
                answer.close()
            self._sleep(_wait_s(answer.headers.get("retry-after"), attempt))


def _wait_s(told: str | None, attempt: int) -> float:
    """Return how long to wait: what the service says, a little more so that not all come back at once, and no longer than a bound."""
    try:
        seconds = float(told) if told else 0.5 * 2.0**attempt
    except ValueError:  # a date: a proxy's
        seconds = 0.5 * 2.0**attempt
    return float(min(max(seconds, 0.1), WAIT_MAX_S)) * random.uniform(1.0, 1.25)


def _listed(params: Params) -> dict[str, Any]:
    """Return parameters as an address has them; what is None or empty is left out."""
    found: dict[str, Any] = {}
    for name, value in (params or {}).items():
        if value is None or value == () or value == []:
            continue
        if isinstance(value, bool):
            found[name] = "true" if value else "false"
        elif isinstance(value, list | tuple | set | frozenset):
            found[name] = [str(v) for v in value]
        else:
            found[name] = str(value)
    return found


@contextmanager
def _reached(url: str) -> Iterator[None]:
    try:
        yield
    except httpx.TimeoutException as error:
        raise Unavailable(
            f"{url} did not answer in time; ask again, or give the client a longer timeout_s", kind="timeout"
        ) from error
    except (httpx.TransportError, httpx.StreamError) as error:
        raise Unavailable(
            f"{url} cannot be reached: {error or type(error).__name__}; is `sonotheque serve` running?"
        ) from error
