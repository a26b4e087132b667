"""Prometheus metrics of this process."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """admitted, held: how to ask for the photos in the service and the bytes of bodies."""

    def __init__(self, admitted: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "bears_requests", "Requests answered", ["route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "bears_request_seconds", "Time to the end of the answer", ["route"],
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self._answers = Counter(
            "bears_answers", "Photos answered", ["model", "reason"], registry=self.registry
        )
        gauge = Gauge("bears_photos_inside", "Photos worked on or waiting", registry=self.registry)
        gauge.set_function(admitted)

    def count(self, route: str, status: int, seconds: float) -> None:
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def answered(self, model: str, reason: str) -> None:
        self._answers.labels(model, reason).inc()

    def text(self) -> bytes:
        return generate_latest(self.registry)
