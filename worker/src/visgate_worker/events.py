"""Delivery of events to the job's webhook, from the supervisor's process: a dead receiver costs the GPU nothing.

Within a job events arrive in order; each is signed as Standard Webhooks 1.0.0 says and repeated, under the same
`webhook-id`, until the receiver acknowledges it with 2xx. Every wait and every queue has a bound. What became of each
event is kept in the job's ledger, from which the gateway can send it again.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_before_delay,
    wait_random_exponential,
)

from visgate_contract.events import Event, Status
from visgate_contract.jobs import WEBHOOK_SECRET_ENV
from visgate_contract.ledger import Delivery
from visgate_contract.signing import WebhookSigner, retry_after_s
from visgate_worker.ledger import JobLedger, LedgerStore
from visgate_worker.link import ActiveJob, Attempt
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
        ledger_s: Seconds for the last entry in a ledger when the worker has to end.
    """

    attempt_timeout_s: float = 10.0
    event_deadline_s: float = 30.0
    terminal_deadline_s: float = 300.0
    first_wait_s: float = 0.5
    max_wait_s: float = 30.0
    queue_limit: int = 32
    ledger_s: float = 5.0


@dataclass(frozen=True, slots=True)
class _Means:
    """What all deliveries of a worker share."""

    signer: WebhookSigner | None
    policy: DeliveryPolicy
    client: httpx.AsyncClient
    answer: Callable[[Attempt], None]
    now: Callable[[], datetime]


class Deliverer:
    """Delivers the events of all jobs of this worker; one task a job, so that receivers do not wait for each other.

    Args:
        signer: Signs in the user's name; without one nothing can be delivered.
        answer: Told which attempt of its job a worker has begun.
        policy: Bounds.
        client: HTTP client; must not follow redirects, since the signature is for one receiver.
        now: Current time, time zone aware.
    """

    def __init__(
        self,
        signer: WebhookSigner | None,
        *,
        answer: Callable[[Attempt], None] = lambda _: None,
        policy: DeliveryPolicy | None = None,
        client: httpx.AsyncClient | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client or httpx.AsyncClient(follow_redirects=False)
        self._store = LedgerStore(self._client)
        self._means = _Means(signer, policy or DeliveryPolicy(), self._client, answer, now)
        self._current: dict[str, _JobDelivery] = {}
        self._all: list[_JobDelivery] = []

    def begin(self, job: ActiveJob) -> None:
        """Get ready for the events of a job that was taken; returns at once."""
        former = self._current.get(job.runpod_job_id)
        ledger = former.ledger if former is not None else JobLedger(job, self._store)
        for one in [one for one in self._all if one.is_done]:
            self._all.remove(one)
            if one.ledger is not ledger:
                one.ledger.stop()
        self._current = {key: one for key, one in self._current.items() if one in self._all}
        self._current[job.runpod_job_id] = _JobDelivery(job, ledger, self._means)
        self._all.append(self._current[job.runpod_job_id])

    def submit(self, runpod_job_id: str, event: Event) -> None:
        """Queue an event of a job that was begun; returns at once. The terminal one ends the job's delivery."""
        self._current[runpod_job_id].add(event)

    async def attempt_of(self, runpod_job_id: str) -> int:
        """Return which attempt of its job was begun, once that is known."""
        return await self._current[runpod_job_id].attempt()

    async def drain(self, deadline_s: float) -> bool:
        """Wait until all queued events are delivered or given up.

        Args:
            deadline_s: Seconds; what is left then stays in the ledgers.

        Returns:
            Whether nothing was left.
        """
        try:
            async with asyncio.timeout(deadline_s):
                await asyncio.gather(*(one.settled() for one in self._all))
        except TimeoutError:
            log.warning("events were left undelivered when the worker had to end")
            complete = False
        else:
            complete = True
        await asyncio.gather(*(one.close() for one in self._all))
        self._current.clear()
        self._all.clear()
        return complete

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


class _NotDelivered(Exception):  # noqa: N818, a signal to the retry loop, never seen outside
    def __init__(self, reason: str, *, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class _JobDelivery:
    """The events of one attempt at a job, in order."""

    def __init__(self, job: ActiveJob, ledger: JobLedger, means: _Means) -> None:
        self.ledger = ledger
        self._job = job
        self._means = means
        self._queue: deque[Event] = deque()
        self._tries = 0
        self._arrived = asyncio.Event()
        self._settled = asyncio.Event()
        self._is_gone = False
        self._is_closed = False
        self._opening = asyncio.get_running_loop().create_task(self._open())
        self._delivering = asyncio.get_running_loop().create_task(self._deliver_all())
        self._delivering.add_done_callback(lambda _: self._settled.set())

    @property
    def is_done(self) -> bool:
        """The last event was delivered or given up, and the ledger says so."""
        return self._delivering.done() and self.ledger.is_saved

    def add(self, event: Event) -> None:
        """Queue an event."""
        if event.data.status.is_terminal:
            self._is_closed = True
            # The end is what the receiver waits for; progress that is still in its way is not worth the time.
            self._drop_progress()
            self.ledger.note(Delivery(event=event))
        elif len(self._queue) >= self._means.policy.queue_limit:
            self._drop_progress()
        self._queue.append(event)
        self._settled.clear()
        self._arrived.set()

    async def attempt(self) -> int:
        """Return the number of this attempt."""
        return await asyncio.shield(self._opening)

    async def settled(self) -> None:
        """Wait until nothing is queued, on its way or missing in the ledger."""
        await asyncio.shield(self._opening)
        await self._settled.wait()
        await self.ledger.saved()

    async def close(self) -> None:
        """End; what was not delivered is left in the ledger."""
        self._delivering.cancel()
        await asyncio.gather(self._delivering, self._opening, return_exceptions=True)
        for event in self._queue:
            self.ledger.note(Delivery(event=event, tries=self._tries, answer="the worker had to end"))
        await self.ledger.close(self._means.policy.ledger_s)

    def _drop_progress(self) -> None:
        self._queue = deque(event for event in self._queue if event.data.status is not Status.PROGRESS)

    async def _open(self) -> int:
        """Claim the attempt and tell the worker its number."""
        if self._job.ledger is None:
            return 1
        number, done = await self.ledger.begin()
        finished = done.event if done is not None else None
        self._means.answer(Attempt(runpod_job_id=self._job.runpod_job_id, number=number, finished=finished))
        if done is not None:
            self._is_closed = True
            if done.delivered_at is None:
                self._queue.append(done.event)
                self._settled.clear()
            self._arrived.set()
        return number

    async def _deliver_all(self) -> None:
        while True:
            if not self._queue:
                self._arrived.clear()
                self._settled.set()
                if self._is_closed:
                    return
                await self._arrived.wait()
                continue
            event = self._queue[0]
            outcome = await self._deliver(event)
            if self._queue and self._queue[0] is event:
                self._queue.popleft()
            failed = outcome.delivered_at is None and outcome.tries > 0
            self.ledger.note(outcome, save=failed or event.data.status.is_terminal)

    async def _deliver(self, event: Event) -> Delivery:
        url, signer = self._job.webhook_url, self._means.signer
        if url is None:
            return Delivery(event=event)
        if signer is None:
            log.warning("event %s is not delivered: %s is not set", event.id, WEBHOOK_SECRET_ENV)
            return Delivery(event=event, answer=f"{WEBHOOK_SECRET_ENV} is not set")
        if self._is_gone:
            return Delivery(event=event, answer="the receiver is gone")
        self._tries = 0
        try:
            await self._attempts(event)(self._attempt, url, signer, event)
        except _NotDelivered as error:
            log.warning("event %s was not delivered to %s: %s", event.id, host_of(url), error)
            return Delivery(event=event, tries=self._tries, answer=str(error))
        return Delivery(event=event, tries=self._tries, delivered_at=self._means.now())

    def _attempts(self, event: Event) -> AsyncRetrying:
        policy = self._means.policy
        deadline_s = policy.terminal_deadline_s if event.data.status.is_terminal else policy.event_deadline_s
        own_wait = wait_random_exponential(multiplier=policy.first_wait_s, max=policy.max_wait_s)
        in_time = stop_before_delay(deadline_s)

        def wait(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked_s = error.wait_s if isinstance(error, _NotDelivered) else None
            return own_wait(state) if asked_s is None else asked_s

        def stop(state: RetryCallState) -> bool:
            is_overtaken = self._is_closed and event.data.status is Status.PROGRESS
            return self._is_gone or is_overtaken or in_time(state)

        return AsyncRetrying(retry=retry_if_exception_type(_NotDelivered), wait=wait, stop=stop, reraise=True)

    async def _attempt(self, url: str, signer: WebhookSigner, event: Event) -> None:
        body, now = event.body(), self._means.now()
        headers = signer.headers(event.id, body, timestamp=now)
        self._tries += 1
        try:
            async with (
                asyncio.timeout(self._means.policy.attempt_timeout_s),
                self._means.client.stream("POST", url, content=body, headers=headers) as answer,
            ):
                status, retry_after = answer.status_code, answer.headers.get("retry-after")
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise _NotDelivered(type(error).__name__) from None
        if httpx.codes.is_success(status):
            return
        self._is_gone = status == httpx.codes.GONE
        reason = f"the receiver answered {status}"
        raise _NotDelivered(reason, wait_s=retry_after_s(retry_after, now))
