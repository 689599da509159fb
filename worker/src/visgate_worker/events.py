"""Delivery of events to the job's webhook, from the supervisor's process: a dead receiver costs the GPU nothing.

Within a job events arrive in order; each is signed as Standard Webhooks 1.0.0 says and repeated, under the same
`webhook-id`, until the receiver acknowledges it with 2xx. Every wait and every queue has a bound.
"""

import asyncio
import email.utils
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
from pydantic import SecretStr
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_before_delay,
    wait_random_exponential,
)

from visgate_contract.events import Event, Status
from visgate_contract.signing import webhook_headers
from visgate_worker.urls import host_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DeliveryPolicy:
    """Bounds of delivery.

    Args:
        attempt_timeout_s: Seconds for one attempt, from connecting to the answer's status.
        event_deadline_s: Seconds for an event that others follow, all attempts together.
        terminal_deadline_s: Seconds for the last event of a job.
        first_wait_s: Wait before the second attempt; doubles from there.
        max_wait_s: Longest wait of our own; a `Retry-After` may ask for more, within the deadline.
        queue_limit: Events of one job that wait; when full, progress is dropped, never another event.
    """

    attempt_timeout_s: float = 10.0
    event_deadline_s: float = 30.0
    terminal_deadline_s: float = 300.0
    first_wait_s: float = 0.5
    max_wait_s: float = 30.0
    queue_limit: int = 32


class Deliverer:
    """Delivers the events of all jobs of this worker; one task a job, so that receivers do not wait for each other.

    Args:
        secret: The user's webhook secret.
        policy: Bounds.
        client: HTTP client; must not follow redirects, since the signature is for one receiver.
        now: Current time, time zone aware.
    """

    def __init__(
        self,
        secret: SecretStr,
        *,
        policy: DeliveryPolicy | None = None,
        client: httpx.AsyncClient | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._secret = secret
        self._policy = policy or DeliveryPolicy()
        self._client = client or httpx.AsyncClient(follow_redirects=False)
        self._now = now
        self._jobs: dict[str, _JobDelivery] = {}

    def submit(self, url: str, event: Event) -> None:
        """Queue an event; returns at once.

        Args:
            url: The job's webhook.
            event: The event; the terminal one ends the job's delivery.
        """
        task_id = event.data.task_id
        delivery = self._jobs.get(task_id)
        if delivery is None or delivery.is_closed:
            self._jobs = {key: job for key, job in self._jobs.items() if not job.task.done()}
            delivery = self._jobs[task_id] = _JobDelivery(url, self._secret, self._policy, self._client, self._now)
        delivery.add(event)

    async def drain(self, deadline_s: float) -> bool:
        """Wait until all queued events are delivered or given up.

        Args:
            deadline_s: Seconds; what is left then is dropped.

        Returns:
            Whether nothing was left.
        """
        tasks = [delivery.task for delivery in self._jobs.values()]
        settled = [delivery.settled() for delivery in self._jobs.values()]
        try:
            async with asyncio.timeout(deadline_s):
                await asyncio.gather(*settled)
        except TimeoutError:
            log.warning("events were left undelivered when the worker had to end")
            complete = False
        else:
            complete = True
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._jobs.clear()
        return complete

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


class _NotDelivered(Exception):  # noqa: N818, a signal to the retry loop, never seen outside
    def __init__(self, reason: str, *, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class _JobDelivery:
    """The events of one job, in order."""

    def __init__(
        self,
        url: str,
        secret: SecretStr,
        policy: DeliveryPolicy,
        client: httpx.AsyncClient,
        now: Callable[[], datetime],
    ) -> None:
        self._url = url
        self._secret = secret
        self._policy = policy
        self._client = client
        self._now = now
        self._queue: deque[Event] = deque()
        self._arrived = asyncio.Event()
        self._settled = asyncio.Event()
        self._is_gone = False
        self.is_closed = False
        self.task = asyncio.get_running_loop().create_task(self._run())
        self.task.add_done_callback(lambda _: self._settled.set())

    def add(self, event: Event) -> None:
        if event.data.status.is_terminal:
            self.is_closed = True
            # The end is what the receiver waits for; progress that is still in its way is not worth the time.
            self._drop_progress()
        elif len(self._queue) >= self._policy.queue_limit:
            self._drop_progress()
        self._queue.append(event)
        self._settled.clear()
        self._arrived.set()

    async def settled(self) -> None:
        """Wait until nothing is queued or on its way."""
        await self._settled.wait()

    def _drop_progress(self) -> None:
        self._queue = deque(event for event in self._queue if event.data.status is not Status.PROGRESS)

    async def _run(self) -> None:
        while True:
            if not self._queue:
                self._arrived.clear()
                self._settled.set()
                if self.is_closed:
                    return
                await self._arrived.wait()
            await self._deliver(self._queue.popleft())

    async def _deliver(self, event: Event) -> None:
        if self._is_gone:
            return
        policy = self._policy
        deadline_s = policy.terminal_deadline_s if event.data.status.is_terminal else policy.event_deadline_s
        own_wait = wait_random_exponential(multiplier=policy.first_wait_s, max=policy.max_wait_s)

        def wait(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked_s = error.wait_s if isinstance(error, _NotDelivered) else None
            return own_wait(state) if asked_s is None else asked_s

        in_time = stop_before_delay(deadline_s)

        def stop(state: RetryCallState) -> bool:
            is_overtaken = self.is_closed and event.data.status is Status.PROGRESS
            return self._is_gone or is_overtaken or in_time(state)

        attempts = AsyncRetrying(
            retry=retry_if_exception_type(_NotDelivered),
            wait=wait,
            stop=stop,
            reraise=True,
        )
        try:
            await attempts(self._attempt, event)
        except _NotDelivered as error:
            log.warning("event %s was not delivered to %s: %s", event.id, host_of(self._url), error)

    async def _attempt(self, event: Event) -> None:
        body, now = event.body(), self._now()
        headers = webhook_headers(self._secret.get_secret_value(), event.id, body, timestamp=now)
        try:
            async with (
                asyncio.timeout(self._policy.attempt_timeout_s),
                self._client.stream("POST", self._url, content=body, headers=headers) as answer,
            ):
                status, retry_after = answer.status_code, answer.headers.get("retry-after")
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise _NotDelivered(type(error).__name__) from None
        if httpx.codes.is_success(status):
            return
        self._is_gone = status == httpx.codes.GONE
        reason = f"the receiver answered {status}"
        raise _NotDelivered(reason, wait_s=retry_after_s(retry_after, now))


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """Return the seconds that a `Retry-After` header asks for (RFC 9110 §10.2.3), or None without a valid one."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        at = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (at - now).total_seconds()) if at.tzinfo is not None else None
