"""Schedules of the stack's pools: each minimum is moved at its windows' edges, and repaired when somebody moves it.

What a schedule needs, the account's key among it, is in the memory of this process alone. A restarted host has
forgotten its schedules, and the next `pulumi up` brings them back, as it does with services.
"""

import asyncio
import hashlib
import hmac
import json
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from pulumi_visgate.errors import VisgateError
from pulumi_visgate.resources.reconcile import Reconciled, reconcile
from pulumi_visgate.runpod import RunpodClient
from visgate_contract.pools import PoolPolicy, Window, effective_minimum, next_transition
from visgate_contract.redaction import Redactor

TICK_S = 5.0
REPAIR_S = 300.0  # an endpoint is looked at this often though nothing is due: one call of the account's quota
RETRY_S = 30.0
CALL_S = 10.0  # below the time that the host has to end
_LOG = logging.getLogger("uvicorn.error")


class ScheduleSpec(BaseModel):
    """What to keep.

    Args:
        endpoint_id: Runpod endpoint of the pool.
        windows: Its windows.
        min_workers: Workers that are kept outside of them.
        runpod_api_url: Where its account is.
        runpod_api_key: Key of that account.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    endpoint_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
    windows: Annotated[list[Window], Field(min_length=1)]
    min_workers: Annotated[int, Field(ge=0)] = 0
    runpod_api_url: Annotated[str, Field(pattern=r"^https?://")]
    runpod_api_key: SecretStr

    def digest(self, key: bytes) -> str:
        """Return what changes when anything of it does; keyed, as it covers a secret.

        Args:
            key: Secret of the host.
        """
        plain = self.model_dump(mode="json") | {"runpod_api_key": self.runpod_api_key.get_secret_value()}
        return hmac.new(key, json.dumps(plain, sort_keys=True).encode(), hashlib.sha256).hexdigest()

    def wanted(self, now: datetime) -> int:
        """Return the minimum at a moment."""
        policy = PoolPolicy.SCHEDULED_WARM
        return effective_minimum(policy, self.windows, now, min_workers=self.min_workers)


@dataclass(slots=True)
class _Schedule:
    spec: ScheduleSpec
    digest: str
    client: RunpodClient
    done: Reconciled | None = None
    error: str = ""
    looked_at: float | None = None  # monotonic
    busy: bool = False
    kept: bool = True

    def forget(self) -> None:
        self.kept = False
        if not self.busy:  # closing a connection under the thread that reads from it would leave that thread waiting
            self.client.close()

    def due(self, now: datetime, monotonic_s: float) -> bool:
        if self.looked_at is None:
            return True
        age = monotonic_s - self.looked_at
        if self.error:
            return age >= RETRY_S
        return age >= REPAIR_S or self.done is None or self.done.wanted != self.spec.wanted(now)


class Schedules:
    """Keeps schedules and carries them out.

    Args:
        digest_key: Secret of the host, for digests.
        now: The time of day.
        clock: Monotonic clock, in seconds.
    """

    def __init__(
        self,
        *,
        digest_key: bytes,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._digest_key = digest_key
        self._now = now
        self._clock = clock
        self._schedules: dict[str, _Schedule] = {}
        self._changed = asyncio.Event()

    def put(self, name: str, spec: ScheduleSpec) -> dict[str, Any]:
        """Keep a schedule from now on; the same one again changes nothing."""
        digest = spec.digest(self._digest_key)
        known = self._schedules.get(name)
        if known is None or known.digest != digest:
            self.remove(name)
            client = RunpodClient(spec.runpod_api_key, base_url=spec.runpod_api_url, timeout_s=CALL_S)
            self._schedules[name] = _Schedule(spec, digest, client)
            self._changed.set()
        return self._shown(name)

    def get(self, name: str) -> dict[str, Any] | None:
        """Return what is known of a schedule."""
        return self._shown(name) if name in self._schedules else None

    def all(self) -> list[dict[str, Any]]:
        """Return every schedule."""
        return [self._shown(name) for name in sorted(self._schedules)]

    def remove(self, name: str) -> None:
        """Forget a schedule; the endpoint keeps the minimum it has."""
        schedule = self._schedules.pop(name, None)
        if schedule:
            schedule.forget()

    def close(self) -> None:
        """Forget all."""
        for name in list(self._schedules):
            self.remove(name)

    async def watch(self) -> None:
        """Carry the schedules out until cancelled. Each tick looks at the clock anew, so that it may jump."""
        while True:
            self._changed.clear()
            await self.tick()
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):  # wait_for can swallow a cancellation
                    await self._changed.wait()

    async def tick(self) -> None:
        """Reconcile what is due."""
        due = [name for name, found in self._schedules.items() if found.due(self._now(), self._clock())]
        await asyncio.gather(*(self._reconcile(name, self._schedules[name]) for name in due))

    async def _reconcile(self, name: str, schedule: _Schedule) -> None:
        spec = schedule.spec
        schedule.busy = True
        try:
            done = await asyncio.to_thread(
                reconcile, schedule.client, spec.endpoint_id, spec.windows, self._now(), min_workers=spec.min_workers
            )
        except Exception as error:  # noqa: BLE001, one schedule must not end the others
            said = str(error) if isinstance(error, VisgateError) else type(error).__name__
            schedule.error = Redactor([spec.runpod_api_key.get_secret_value()]).text(said)
            if schedule.kept:
                _LOG.warning("Schedule %s: %s", name, schedule.error)
        else:
            schedule.error, schedule.done = "", done
            if done.before != done.minimum:
                _LOG.info("Schedule %s: minimum of %s %d => %d", name, spec.endpoint_id, done.before, done.minimum)
        finally:
            schedule.busy = False
            if not schedule.kept:
                schedule.client.close()
        schedule.looked_at = self._clock()

    def _shown(self, name: str) -> dict[str, Any]:
        schedule = self._schedules[name]
        spec = schedule.spec
        policy = PoolPolicy.SCHEDULED_WARM
        following = next_transition(policy, spec.windows, self._now(), min_workers=spec.min_workers)
        return {
            "name": name,
            "endpoint_id": spec.endpoint_id,
            "windows": [window.model_dump(mode="json") for window in spec.windows],
            "min_workers": spec.min_workers,
            "spec_digest": schedule.digest,
            "wanted": spec.wanted(self._now()),
            "minimum": schedule.done.minimum if schedule.done else None,
            "next_transition": following[0].isoformat() if following else None,
            "error": schedule.error or None,
        }
