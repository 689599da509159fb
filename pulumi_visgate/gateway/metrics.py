"""What the gateway counts, for Prometheus: nothing about anyone, and no label whose values a caller could multiply.

Labels hold names of routes, operations and outcomes, families of models, and the models that the platform offers; any
other is `other`.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import TypeVar, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.exposition import choose_encoder

from pulumi_visgate.gateway.worker_figures import WorkerFigures
from pulumi_visgate.runpod import Attempt
from pulumi_visgate.runpod.models.job import JobStatus
from visgate_contract.families import Family
from visgate_contract.jobs import JobResult

MetricT = TypeVar("MetricT", Counter, Histogram)

OTHER = "other"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_WAITS = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
_PARTS = (0.0, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
_FAMILIES = frozenset(Family)
_REMEMBERED_JOBS = 10_000
_METHODS = frozenset({"GET", "POST", "DELETE", "PUT", "PATCH", "HEAD", "OPTIONS"})


class Metrics:
    """The figures of one application.

    Args:
        models: Models that are named; those that the platform offers.
    """

    def __init__(self, models: Iterable[str] = ()) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client leaves it out
        self._models = frozenset(models)
        self._children: dict[tuple[object, tuple[str, ...]], object] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "visgate_requests", "Requests answered.", ("route", "method", "status"), registry=registry
        )
        self._seconds = Histogram(
            "visgate_response_seconds",
            "From a request's headers to those of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.streams = Gauge("visgate_streams", "Event streams that are open.", registry=registry)
        self._accepted = Counter(
            "visgate_accepted",
            "Requests accepted, by whether a worker was there (warm_ready) or had to start (accepted_cold).",
            ("kind", "model", "warmth"),
            registry=registry,
        )
        self._queued = Histogram(
            "visgate_job_queue_seconds",
            "Time of finished jobs in Runpod's queue, workers' starts included.",
            ("family",),
            buckets=_WAITS,
            registry=registry,
        )
        self._executed = Histogram(
            "visgate_job_execution_seconds",
            "Time of finished jobs at their worker.",
            ("family",),
            buckets=_WAITS,
            registry=registry,
        )
        self._jobs = Counter("visgate_jobs_ended", "Jobs seen to end.", ("family", "status"), registry=registry)
        self._workers = WorkerFigures(registry)
        self._calls = Counter(
            "visgate_runpod_calls",
            "Calls sent to Runpod, repeats included.",
            ("operation", "outcome"),
            registry=registry,
        )
        self._call_seconds = Histogram(
            "visgate_runpod_call_seconds",
            "How long Runpod took to answer a call.",
            ("operation",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._quota_left = Histogram(
            "visgate_runpod_quota_left_ratio",
            "Part of the caller's Runpod quota that was left after a call, of callers all together.",
            buckets=_PARTS,
            registry=registry,
        )
        self._webhooks = Counter(
            "visgate_webhooks", "Deliveries of the gateway itself.", ("event", "outcome"), registry=registry
        )
        self._limits = Counter(
            "visgate_rate_limit_decisions", "Requests counted.", ("limit", "outcome", "where"), registry=registry
        )
        self._valkey = Gauge(
            "visgate_rate_limit_shared", "1 while limits are counted in Valkey, for all processes.", registry=registry
        )

    def answered(self, *, route: str, method: str, status: int, seconds: float) -> None:
        """Count an answer whose headers were sent."""
        self._of(self._requests, route, method if method in _METHODS else OTHER, str(status)).inc()
        self._of(self._seconds, route).observe(seconds)

    def accepted(self, kind: str, *, model_id: str, warmth: str) -> None:
        """Count an accepted request for a job or a deployment."""
        self._of(self._accepted, kind, self._named(model_id), warmth).inc()

    def job_seen(self, job: JobStatus) -> None:
        """Count a job that has ended, the first time that this process sees it so, and how long it waited and ran."""
        if not job.done or job.id in self._ended:
            return
        self._ended[job.id] = None
        if len(self._ended) > _REMEMBERED_JOBS:
            self._ended.popitem(last=False)
        body = {"status": str(job.status), "output": job.output, "error": job.error}
        result = JobResult.from_runpod(body)
        named = result.runtime.family if result is not None and result.runtime is not None else None
        family = named if named in _FAMILIES else OTHER
        self._of(self._jobs, family, str(job.status).lower()).inc()
        if job.delay_time is not None:
            self._of(self._queued, family).observe(job.delay_time / 1000)
        if job.execution_time is not None:
            self._of(self._executed, family).observe(job.execution_time / 1000)
        if result is not None:
            self._workers.job_seen(family, result)

    def runpod_called(self, attempt: Attempt) -> None:
        """Count a call that was sent to Runpod."""
        outcome = "unanswered" if attempt.status is None else f"{attempt.status // 100}xx"
        if attempt.status == 429:  # noqa: PLR2004 - HTTP's own number
            outcome = "throttled"
        self._of(self._calls, attempt.operation_id, outcome).inc()
        self._of(self._call_seconds, attempt.operation_id).observe(attempt.took_s)
        if attempt.quota_left is not None:
            self._quota_left.observe(attempt.quota_left)

    def webhook_sent(self, what: str, outcome: str) -> None:
        """Count a delivery by what became of it."""
        self._of(self._webhooks, what, outcome).inc()

    def limit_decided(self, limit: str, *, allowed: bool, where: str) -> None:
        """Count a request that was counted against a limit, `shared` in Valkey or `local` in this process."""
        self._of(self._limits, limit, "allowed" if allowed else "refused", where).inc()

    def limits_shared(self, *, works: bool) -> None:
        """Tell whether Valkey counts."""
        self._valkey.set(works)

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """Return all figures and their media type, in the format that a scraper accepts."""
        encode, media_type = choose_encoder(accept)
        return encode(self._registry), media_type

    def _of(self, metric: MetricT, *labels: str) -> MetricT:
        """Return the child of a metric; the library's own way costs more than counting."""
        key = (metric, labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return cast("MetricT", child)

    def _named(self, model_id: str) -> str:
        return model_id if model_id in self._models else OTHER
