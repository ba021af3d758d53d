"""Measurements of the server in Prometheus' text format."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from vaekit.runtime.memory import resident_memory

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
SIZES = (1, 2, 4, 8, 16, 32)


class Metrics:
    """The metrics of one server. Labels are routes, statuses and names of offered VAEs, so their number is bounded."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "vaekit_requests", "Answered requests.", ("method", "route", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "vaekit_request_seconds",
            "Time to the end of an answer.",
            ("route",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.items = Counter(
            "vaekit_items", "Items that were encoded or decoded.", ("vae", "direction"), registry=self.registry
        )
        self.batches = Histogram(
            "vaekit_batch_items", "Items that ran at once.", ("direction",), buckets=SIZES, registry=self.registry
        )
        self.waited = Histogram(
            "vaekit_waited_seconds", "Time that requests waited for a device.", buckets=SECONDS, registry=self.registry
        )
        self.cancelled = Counter(
            "vaekit_cancelled", "Requests whose client closed the connection.", registry=self.registry
        )
        self.refused = Counter(
            "vaekit_refused",
            "Requests of unknown hosts, foreign origins or without a token.",
            ("error",),
            registry=self.registry,
        )
        self._gauge("vaekit_resident_bytes", "Resident memory of the process.", resident_memory)

    def watch(self, waiting: Callable[[], int], taken: Callable[[], int]) -> None:
        """Add the values of functions.

        Args:
            waiting: the number of requests that wait for a device.
            taken: bytes that requests in progress take.
        """
        self._gauge("vaekit_waiting", "Requests that wait for a device.", waiting)
        self._gauge("vaekit_in_flight_bytes", "Memory of requests in progress.", taken)

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request.

        Args:
            method: of HTTP.
            route: the template of the path.
            status: of HTTP.
            seconds: to the end of the answer.
        """
        self.requests.labels(method, route, str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def text(self) -> tuple[bytes, str]:
        """All metrics, and their media type."""
        return generate_latest(self.registry), CONTENT_TYPE_PLAIN_0_0_4

    def _gauge(self, name: str, about: str, value: Callable[[], int]) -> None:
        Gauge(name, about, registry=self.registry).set_function(value)
