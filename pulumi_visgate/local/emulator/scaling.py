"""How many workers an endpoint should have, as a pure function of its demand and limits."""

import math
from dataclasses import dataclass

from pulumi_visgate.local.emulator.jobs import Demand
from pulumi_visgate.local.emulator.store import Doc

COUNT_SCALER_IDLE_S = 10.0
_DAY_S = 86_400.0
INACTIVITY = ((7 * _DAY_S, 0), (3 * _DAY_S, 2))
"""After how many seconds without a job Runpod lowers the maximum, and to what."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Scaling settings of an endpoint.

    Args:
        minimum: Workers that always run.
        maximum: Most workers at once.
        idle_s: Seconds until an idle worker stops.
        queue_delay_s: Scale on waiting time: longest wait before another worker starts.
        per_worker: Scale on requests: how many each worker takes. Exactly one of the two is set.
    """

    minimum: int
    maximum: int
    idle_s: float
    queue_delay_s: float | None
    per_worker: int | None

    @classmethod
    def of(cls, endpoint: Doc, *, idle_scale: float = 1.0) -> "Limits":
        """Read them from an endpoint as the API answers it."""
        workers, scaling = endpoint["workers"], endpoint["scaling"]
        return cls(
            minimum=min(workers["min"], workers["max"]),
            maximum=workers["max"],
            idle_s=workers.get("idleTimeout", COUNT_SCALER_IDLE_S) * idle_scale,
            queue_delay_s=scaling.get("queueDelay"),
            per_worker=scaling.get("requestCount"),
        )


@dataclass(frozen=True, slots=True)
class Wish:
    """What the scaler wants.

    Args:
        workers: How many workers, within the limits.
        again_at: When a waiting job will ask for one more, in seconds since the epoch.
    """

    workers: int
    again_at: float | None = None


def wish(limits: Limits, demand: Demand, now: float) -> Wish:
    """Return how many workers there should be.

    Scaling on requests gives every `per_worker` jobs a worker. Scaling on waiting time starts one worker for a queue
    without any, and one for each job that has waited longer than the delay.

    Args:
        limits: Settings of the endpoint.
        demand: Its jobs.
        now: Seconds since the epoch.
    """
    again_at = None
    if limits.per_worker is not None:
        wanted = math.ceil((demand.running + len(demand.queued)) / limits.per_worker)
    else:
        delay = limits.queue_delay_s or 0.0
        late = sum(queued + delay <= now for queued in demand.queued)
        wanted = demand.running + late
        if demand.queued and not wanted:
            wanted = 1
        waiting = [queued + delay for queued in demand.queued if queued + delay > now]
        again_at = min(waiting, default=None)
    return Wish(max(limits.minimum, min(wanted, limits.maximum)), again_at)
