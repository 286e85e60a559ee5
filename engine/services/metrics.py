"""What the server counts, for Prometheus. The door to prometheus-client."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from .job import Amount

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_JOB_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0, 600.0, 1800.0, 3600.0)
_COUNTS = (1, 2, 5, 10, 20, 40, 64, 128)


OTHER = "other"
"""What tenants are called when there are too many."""


class _TenantNames:
    """The first so many tenants by their names, the rest as `other`: clients may make up any number of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._named: set[str] = set()

    def shown(self, tenant: str) -> str:
        """What a tenant is called."""
        if tenant not in self._named:
            # Two threads at once may let one more in.
            if len(self._named) >= self._most:
                return OTHER
            self._named.add(tenant)
        return tenant


class TenantCounter:
    """A counter whose first label is a tenant."""

    def __init__(self, counter: Counter, names: _TenantNames) -> None:
        self._counter = counter
        self._names = names

    def labels(self, tenant: str, *rest: str) -> Counter:
        """The series of one tenant, or of all others."""
        return self._counter.labels(self._names.shown(tenant), *rest)


class JobMetrics:
    """What is done to blocks in the background: merge, expire, compact and sweep."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"flameduck_{name}", text, ("kind", *labels), registry=registry)

        self._ended = counter("jobs", "Attempts at jobs: done, partly, failed.", "outcome")
        self._blocks = counter("job_blocks", "Blocks that jobs took in, and made.", "direction")
        self._samples = counter("job_samples", "Samples that jobs took in, and wrote.", "direction")
        self._bytes = counter("job_bytes", "Bytes of blocks that jobs took in, and wrote.", "direction")
        self._seconds = Histogram(
            "flameduck_job_seconds",
            "A job from its begin to its end.",
            ("kind",),
            registry=registry,
            buckets=_JOB_SECONDS,
        )
        self._last = Gauge(
            "flameduck_job_last_success_timestamp_seconds",
            "When a job last came to its end.",
            ("kind",),
            registry=registry,
        )
        self._levels = Gauge(
            "flameduck_blocks", "Live blocks of all tenants at the last look.", ("level",), registry=registry
        )

    def step(self, kind: str, before: Amount, after: Amount) -> None:
        """Count what a part of a job did."""
        for direction, amount in (("in", before), ("out", after)):
            self._blocks.labels(kind, direction).inc(amount.blocks)
            self._samples.labels(kind, direction).inc(amount.samples)
            self._bytes.labels(kind, direction).inc(amount.size_bytes)

    def ended(self, kind: str, outcome: str, seconds: float) -> None:
        """Count an attempt that came to its end."""
        self._ended.labels(kind, outcome).inc()
        self._seconds.labels(kind).observe(seconds)
        self._last.labels(kind).set_to_current_time()

    def failed(self, kind: str) -> None:
        """Count an attempt that failed."""
        self._ended.labels(kind, "failed").inc()

    def note_levels(self, levels: Mapping[int, int]) -> None:
        """How many blocks there are of each level."""
        self._levels.clear()
        for level, blocks in levels.items():
            self._levels.labels(str(level)).set(blocks)


class Metrics:
    """The metrics of one server."""

    def __init__(self, tenants: int = 500) -> None:
        """`tenants` of them have series of their own."""
        self._tenants = _TenantNames(tenants)
        # When a series began is a series of its own otherwise.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self.received_profiles = self._by_tenant("received_profiles", "Profiles that were pushed.")
        self.received_bytes = self._by_tenant("received_bytes", "Bytes of pushed profiles, as sent.")
        self.discarded_profiles = self._by_tenant(
            "discarded_profiles", "Profiles that were refused.", "reason"
        )
        self._discarded_samples = self._twin(
            "discarded_samples", "Profiles that were refused, as Pyroscope counts them."
        )
        self._discarded_bytes = self._twin("discarded_bytes", "Bytes of refused profiles, as sent.")
        self.overloads = self._counter("overloads", "Pushes that were answered with 429.")
        self.push_seconds = self._histogram("push_seconds", "From a push to its durable answer.")
        self.group_profiles = self._histogram(
            "group_profiles", "Profiles that were decoded together.", buckets=_COUNTS
        )
        self.commit_seconds = self._histogram("commit_seconds", "Making a group durable.")
        self.flush_seconds = self._histogram("flush_seconds", "Storing the head as blocks.")
        self.flush_failures = self._counter("flush_failures", "Flushes that failed and are tried again.")
        self.jobs = JobMetrics(self._registry)
        self.query_seconds = self._histogram("query_seconds", "Answering a question.", "kind")
        self.query_overloads = self._counter("query_overloads", "Questions that were answered with 429.")
        self.query_errors = self._counter("query_errors", "Questions that failed.", "kind")
        self.request_seconds = self._histogram("http_request_seconds", "Answering a request.", "route")
        self.requests = self._counter("http_requests", "Answered requests.", "route", "status")

    def discard(self, tenant: str, reason: str, profiles: int, size_bytes: int) -> None:
        """Count refused profiles under one of Pyroscope's reasons."""
        self.discarded_profiles.labels(tenant, reason).inc(profiles)
        self._discarded_samples.labels(tenant, reason).inc(profiles)
        self._discarded_bytes.labels(tenant, reason).inc(size_bytes)

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Register a value that is read when somebody asks."""
        Gauge(f"flameduck_{name}", text, registry=self._registry).set_function(read)

    def exposition(self) -> bytes:
        """All of it in Prometheus's text format."""
        text: bytes = generate_latest(self._registry)
        return text

    def _twin(self, name: str, text: str) -> TenantCounter:
        """A counter under Pyroscope's name, which dashboards and alerts already ask for."""
        counter = Counter(f"pyroscope_{name}", text, ("tenant", "reason"), registry=self._registry)
        return TenantCounter(counter, self._tenants)

    def _by_tenant(self, name: str, text: str, *labels: str) -> TenantCounter:
        return TenantCounter(self._counter(name, text, "tenant", *labels), self._tenants)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"flameduck_{name}", text, labels, registry=self._registry)

    def _histogram(
        self, name: str, text: str, *labels: str, buckets: tuple[float, ...] = _SECONDS
    ) -> Histogram:
        return Histogram(f"flameduck_{name}", text, labels, registry=self._registry, buckets=buckets)
