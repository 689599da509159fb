"""What workers say of the jobs that they did, by model family: phases, memory, and where models came from."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from visgate_contract.jobs import JobResult

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
_GIGABYTES = (1, 2, 4, 8, 12, 16, 24, 32, 48, 80, 141, 192)


class WorkerFigures:
    """Figures of jobs that have ended.

    Their labels are families, and names of fields and sources that the contract knows, whatever a worker says.

    Args:
        registry: Where they are told.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._phases = Histogram(
            "visgate_worker_phase_seconds",
            "Seconds that jobs spent in each phase at their worker; those of its start are in its first job.",
            ("family", "phase"),
            buckets=_SECONDS,
            registry=registry,
        )
        self._memory = Histogram(
            "visgate_worker_peak_memory_bytes",
            "The most memory that jobs held: of the GPU, or of the process where there is none.",
            ("family",),
            buckets=[one * 1e9 for one in _GIGABYTES],
            registry=registry,
        )
        self._loads = Counter(
            "visgate_worker_model_loads",
            "Jobs by where their model lay; `memory` is a worker that had loaded it before.",
            ("family", "source"),
            registry=registry,
        )
        self._fetched = Counter(
            "visgate_worker_model_fetched_bytes",
            "Bytes of models that came over the network into a worker's cache.",
            ("family", "source"),
            registry=registry,
        )

    def job_seen(self, family: str, result: JobResult) -> None:
        """Count what a worker says of a job.

        Args:
            family: The model's family, one of a list.
            result: What the worker returned.
        """
        for name, seconds in result.timings or ():
            if seconds:  # a phase that there was
                self._phases.labels(family, name.removesuffix("_s")).observe(max(0.0, seconds))
        if result.runtime is not None and result.runtime.peak_memory_bytes is not None:
            self._memory.labels(family).observe(result.runtime.peak_memory_bytes)
        if result.load is not None:
            self._loads.labels(family, result.load.source).inc()
            self._fetched.labels(family, result.load.source).inc(max(0, result.load.fetched_bytes))
