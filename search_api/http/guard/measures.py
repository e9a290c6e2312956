"""Measures of the service in Prometheus's form. Labels are routes as they are declared, never addresses as they were asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Measures:
    """Counts of one application; two in one process do not meet."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "sonotheque_requests", "Requests answered", ("method", "route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "sonotheque_request_seconds",
            "Seconds from the headers of a request to the end of its answer",
            ("route",),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._refusals = Counter("sonotheque_errors", "Errors answered, by kind", ("kind",), registry=self._registry)
        self._inside = Gauge("sonotheque_requests_inside", "Requests being worked on", registry=self._registry)
        self._received = Counter("sonotheque_received_bytes", "Bytes of bodies received", registry=self._registry)
        self._sent = Counter("sonotheque_sent_bytes", "Bytes of bodies sent", registry=self._registry)
        ProcessCollector(namespace="sonotheque", registry=self._registry)

    def watch(self, name: str, text: str, label: str, read: Callable[[], Mapping[str, float]]) -> None:
        """Add a gauge that is read when somebody looks.

        Parameters
        ----------
        name, text, label : str
            Of the gauge.
        read : callable
            Returns value of the label -> number.
        """
        self._registry.register(_Watched(name, text, label, read))

    def begin(self) -> None:
        """Count a request that came in."""
        self._inside.inc()

    def end(
        self, method: str, route: str, status: int, kind: str | None, seconds: float, bytes_: tuple[int, int]
    ) -> None:
        """Count a request that was answered.

        Parameters
        ----------
        method : str
        route : str
            Its template, as ``/v1/windows/{window_id}``; one fixed word where no route answered.
        status : int
            0 if the client went away before.
        kind : str or None
            Of the error.
        seconds : float
        bytes_ : (int, int)
            Received, sent.
        """
        self._inside.dec()
        self._requests.labels(method if method in _METHODS else "other", route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        if kind:
            self._refusals.labels(kind).inc()
        self._received.inc(bytes_[0])
        self._sent.inc(bytes_[1])

    def exposition(self) -> bytes:
        """Return everything as text."""
        found: bytes = generate_latest(self._registry)
        return found


class _Watched(Collector):
    def __init__(self, name: str, text: str, label: str, read: Callable[[], Mapping[str, float]]) -> None:
        self._name, self._text, self._label, self._read = name, text, label, read

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(self._name, self._text, labels=(self._label,))
        for value, number in self._read().items():
            family.add_metric([value], number)
        yield family
