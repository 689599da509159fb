"""Whether an endpoint has a started worker: asked once for all requests of a moment, and a yes is trusted for another.

It only decides between two words of an answer, so a burst of requests need not ask Runpod, and use up the caller's
quota, once for each. A no is never kept: the next request may be the one that finds the worker started.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable

from pulumi_visgate.gateway.caller import Caller
from pulumi_visgate.gateway.services.warm_match import is_warm
from pulumi_visgate.runpod.errors import NotFound, RunpodError
from pulumi_visgate.runpod.models.job import EndpointHealth

TRUSTED_S = 1.0
COUNTED_S = 5.0
MAX_ENDPOINTS = 4_000


class Readiness:
    """Warm endpoints of each caller.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: OrderedDict[tuple[str, str], tuple[float, EndpointHealth]] = OrderedDict()
        self._asking: dict[tuple[str, str], asyncio.Task[bool]] = {}

    def was_warm(self, caller: Caller, endpoint_id: str) -> bool:
        """Tell whether a worker was there just now, without asking anyone."""
        found = self._seen.get((caller.user_hash, endpoint_id))
        return found is not None and is_warm(found[1]) and self._clock() - found[0] < TRUSTED_S

    def last(self, caller: Caller, endpoint_id: str) -> EndpointHealth | None:
        """Return what Runpod said last, if that was just now."""
        found = self._seen.get((caller.user_hash, endpoint_id))
        return found[1] if found is not None and self._clock() - found[0] < COUNTED_S else None

    async def is_warm(self, caller: Caller, endpoint_id: str) -> bool:
        """Ask whether a worker is there (`health`), together with everyone who asks the same now.

        Raises:
            NotFound: The endpoint is gone.
        """
        key = (caller.user_hash, endpoint_id)
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.create_task(self._ask(caller, endpoint_id))
            asking.add_done_callback(lambda task: self._done(key, task))
        # Shielded: one caller who hangs up does not take the answer from the others.
        return await asyncio.shield(asking)

    async def _ask(self, caller: Caller, endpoint_id: str) -> bool:
        try:
            health = await caller.runpod.endpoint_health(endpoint_id)
        except NotFound:
            raise
        except RunpodError:
            return False  # cannot be told, so it is not promised
        key = (caller.user_hash, endpoint_id)
        self._seen[key] = (self._clock(), health)
        self._seen.move_to_end(key)
        if len(self._seen) > MAX_ENDPOINTS:
            self._seen.popitem(last=False)
        return is_warm(health)

    def _done(self, key: tuple[str, str], task: "asyncio.Task[bool]") -> None:
        if self._asking.get(key) is task:
            del self._asking[key]
        if not task.cancelled():
            task.exception()  # the outcome of a question that nobody waits for any more
