"""What an endpoint is to be like before a job goes there: as its policy says, whatever has become of it meanwhile.

Runpod lowers the limits of endpoints that nobody uses (2 workers after 3 days, 0 after 7) and says nothing. A warm-up
lets idle workers stay longer, and its worker puts that back; where it could not, this does, once no worker is left that
could still be meant.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from pulumi_visgate.gateway.caller import Caller
from pulumi_visgate.gateway.services.directory import Candidate, Directory
from pulumi_visgate.gateway.services.shared import Shared
from pulumi_visgate.gateway.settings import OfferedModel, Settings
from pulumi_visgate.runpod.models.endpoint import EndpointWorkers, UpdateEndpoint
from pulumi_visgate.runpod.models.job import EndpointHealth
from visgate_contract.pools import effective_minimum

log = logging.getLogger(__name__)

LOOKED_S = 60.0
LOWERED = 2
"""What Runpod lowers the maximum to first; any other is somebody's own wish, and left alone."""


class Upkeep:
    """Keeps endpoints as they are to be.

    Args:
        settings: What the platform says of its pools and of endpoints that the gateway makes.
        directory: What callers have.
        now: The time.
    """

    def __init__(
        self, settings: Settings, directory: Directory, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._settings = settings
        self._directory = directory
        self._now = now
        self._looked: Shared[bool] = Shared(kept_s=LOOKED_S)

    def idle_timeout_s(self, candidate: Candidate) -> int | None:
        """Return after how many seconds an endpoint's idle workers are to leave; None where nobody here knows."""
        if candidate.workers.idle_timeout is None:
            return None  # it scales on requests, or is not for the gateway to change
        if candidate.generation is not None:
            return self._settings.idle_timeout_s
        offered = self._offered(candidate)
        return (offered.idle_timeout_s or self._settings.idle_timeout_s) if offered else None

    async def kept(self, caller: Caller, candidate: Candidate) -> Candidate:
        """Return an endpoint that takes jobs, changed first where that is due (`updateEndpoint`).

        Raises:
            RunpodError: Runpod refused or did not answer.
        """
        workers = self.due(candidate)
        if await self._is_left_warm(caller, candidate):
            workers = (workers or candidate.workers).changed(idle_timeout=self.idle_timeout_s(candidate))
        if workers is None:
            return candidate
        return await self.change(caller, candidate, workers)

    async def change(self, caller: Caller, candidate: Candidate, workers: EndpointWorkers) -> Candidate:
        """Give an endpoint other limits, and remember them until listings show them (`updateEndpoint`)."""
        await caller.runpod.update_endpoint(candidate.id, UpdateEndpoint(workers=workers))
        was, now = candidate.workers, workers
        log.info(
            "endpoint %s: workers %s to %s, idle %s s; it was %s to %s, %s s",
            candidate.id,
            *(now.min, now.max, now.idle_timeout),
            *(was.min, was.max, was.idle_timeout),
        )
        changed = replace(candidate, workers=workers)
        self._directory.remember(caller.user_hash, changed)
        return changed

    def due(self, candidate: Candidate) -> EndpointWorkers | None:
        """Return the limits that an endpoint is to have again, or None if it has them."""
        least, most = self._limits(candidate)
        if candidate.is_scaled_to_zero:
            least = max(least, candidate.workers.min or 0)
            return candidate.workers.changed(min=least, max=max(most or self._settings.workers_max, least, 1))
        if most is not None and candidate.workers.max == LOWERED < most:
            return candidate.workers.changed(min=max(least, candidate.workers.min or 0), max=most)
        return None

    def _limits(self, candidate: Candidate) -> tuple[int, int | None]:
        """Return how many workers are to be kept now, and how many there may be, if that is known."""
        if candidate.generation is not None:
            return 0, self._settings.workers_max
        offered = self._offered(candidate)
        if offered is None:
            return 0, None
        least = effective_minimum(offered.policy, offered.windows, self._now(), min_workers=offered.min_workers)
        return least, offered.max_workers

    def _offered(self, candidate: Candidate) -> OfferedModel | None:
        offered = self._settings.offered(candidate.model_id)
        return offered if offered is not None and offered.policy == candidate.name.policy else None

    async def _is_left_warm(self, caller: Caller, candidate: Candidate) -> bool:
        """Tell whether a warm-up left its idle timeout behind: it is longer than it should be, and nobody is there."""
        own, found = self.idle_timeout_s(candidate), candidate.workers.idle_timeout
        if own is None or found is None or found <= own:
            return False

        async def look() -> bool:
            return _is_deserted(await caller.runpod.endpoint_health(candidate.id))

        return await self._looked.get((caller.user_hash, candidate.id), look)


def _is_deserted(health: EndpointHealth) -> bool:
    workers, jobs = health.workers, health.jobs
    there = workers.idle + workers.ready + workers.running + workers.initializing + workers.throttled
    return there + jobs.in_queue + jobs.in_progress == 0
