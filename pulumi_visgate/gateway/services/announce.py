"""Deliveries of the gateway itself: `provisioning`, while the request's own work goes on, and ends that no worker told.

The worker repeats `provisioning` when the receiver did not acknowledge it in time, under the same id. Receivers drop
repeats.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import httpx
import tenacity

from pulumi_visgate.gateway import egress
from pulumi_visgate.gateway.problems import InvalidField
from visgate_contract.events import Event, EventData, Status
from visgate_contract.signing import WebhookSigner, retry_after_s, task_time
from visgate_contract.tasks import Task

log = logging.getLogger(__name__)

RESOLVE_S = 2.0
REPEAT_S = 0.5


def provisioning(
    *, task_id: str, model_id: str, task: Task, job_id: str | None = None, endpoint_id: str | None = None
) -> Event:
    """Return the first event of a job; its time is the task id's, so that every maker of it agrees."""
    data = EventData(
        task_id=task_id,
        job_id=job_id,
        sequence=0,
        status=Status.PROVISIONING,
        model_id=model_id,
        task=task,
        endpoint_id=endpoint_id,
    )
    return Event.of(data, timestamp=task_time(task_id))


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a receiver has answered.

    Args:
        status: HTTP status; None without an answer.
        reason: Why there was none.
        wait_s: Seconds after which it wants to be asked again, if it said so.
        tries: How often it was asked.
    """

    status: int | None
    reason: str = ""
    wait_s: float | None = None
    tries: int = 0

    @property
    def outcome(self) -> str:
        """What became of the delivery, in one word."""
        if self.status is None:
            return "unreachable"
        return "acknowledged" if self.is_acknowledged else "gone" if self.is_gone else "refused"

    @property
    def is_acknowledged(self) -> bool:
        """The receiver has the event."""
        return self.status is not None and httpx.codes.is_success(self.status)

    @property
    def is_gone(self) -> bool:
        """The receiver wants no event ever again."""
        return self.status == httpx.codes.GONE

    def __str__(self) -> str:
        return self.reason if self.status is None else f"it answered {self.status}"


@dataclass(frozen=True, slots=True)
class Courier:
    """What every delivery shares.

    Args:
        client: Sends.
        policy: Where webhooks may go.
        resolver: Resolves receivers' names.
        sent: Told what was delivered, and what became of it.
    """

    client: httpx.AsyncClient
    policy: egress.EgressPolicy
    resolver: egress.Resolver = egress.system_resolver
    sent: Callable[[str, str], None] = lambda _what, _outcome: None

    async def deliver(
        self, url: str, body: bytes, headers: Callable[[], Mapping[str, str]], *, deadline_s: float
    ) -> Receipt:
        """Send a body until the receiver acknowledges it, says that it is gone, or the time is over.

        A `Retry-After` is obeyed where there is time for it; where there is not, the receiver is not asked again.

        Args:
            url: The receiver; checked and resolved anew.
            body: The exact bytes.
            headers: Makes the headers of each attempt, which hold its time.
            deadline_s: Seconds for everything.
        """
        receipt = Receipt(None, "there was no time")
        own_wait = tenacity.wait_random_exponential(multiplier=REPEAT_S, max=deadline_s / 2)

        async def once() -> Receipt:
            nonlocal receipt
            receipt = replace(await self._attempt(url, body, headers()), tries=receipt.tries + 1)
            return receipt

        attempts = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_result(lambda found: not (found.is_acknowledged or found.is_gone)),
            wait=lambda state: own_wait(state) if receipt.wait_s is None else receipt.wait_s,
            stop=tenacity.stop_before_delay(deadline_s),
            retry_error_callback=lambda _: receipt,
        )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline_s):
                await attempts(once)
        self.sent("end", receipt.outcome)
        return receipt

    async def _attempt(self, url: str, body: bytes, headers: Mapping[str, str]) -> Receipt:
        try:
            target = egress.check(url, self.policy)
            address = await egress.resolve(target, self.policy, self.resolver)
            answer = await egress.post(self.client, target, address, body=body, headers=headers)
        except InvalidField as error:
            return Receipt(None, f"its URL {error.field_detail}")
        except httpx.HTTPError as error:
            return Receipt(None, type(error).__name__)
        return Receipt(answer.status, wait_s=retry_after_s(answer.retry_after, datetime.now(UTC)))


class Announcement:
    """One delivery: the receiver's name is resolved at once, the event is sent when `begin` says so.

    Args:
        courier: Sends.
        url: The receiver.
        speaks: False for a receiver that expects something else: it is checked, and nothing is sent.

    Raises:
        InvalidField: The URL is against the policy.
    """

    def __init__(self, courier: Courier, url: str, *, speaks: bool = True) -> None:
        self._courier = courier
        self._speaks = speaks
        self._target = egress.check(url, courier.policy)
        self._address = asyncio.create_task(self._resolve())
        self._delivery: asyncio.Task[bool] | None = None

    def begin(self, event: Event, signer: WebhookSigner) -> None:
        """Start the delivery of an event."""
        if self._speaks:
            self._delivery = asyncio.create_task(self._deliver(event, signer))

    async def permitted(self) -> None:
        """Wait until the receiver's addresses are known and allowed; a slow name server is not waited for.

        Raises:
            InvalidField: The receiver is against the policy.
        """
        await asyncio.shield(self._address)

    async def acknowledged(self, wait_s: float) -> bool:
        """Tell whether the receiver acknowledged; gives up after `wait_s` seconds, and on the delivery, too."""
        if self._delivery is None:
            return False
        done, _ = await asyncio.wait({self._delivery}, timeout=wait_s)
        if not done:
            self._delivery.cancel()
            return False
        return self._delivery.result()

    async def close(self) -> None:
        """Stop whatever is still under way."""
        tasks = [task for task in (self._address, self._delivery) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _resolve(self) -> egress.Address | None:
        try:
            async with asyncio.timeout(RESOLVE_S):
                return await egress.resolve(self._target, self._courier.policy, self._courier.resolver)
        except TimeoutError:
            return None

    async def _deliver(self, event: Event, signer: WebhookSigner) -> bool:
        try:
            address = await asyncio.shield(self._address)
        except InvalidField:
            return False  # `permitted` says it
        if address is None:
            return False
        body = event.body()
        headers = signer.headers(event.id, body, timestamp=datetime.now(UTC))
        try:
            answer = await egress.post(self._courier.client, self._target, address, body=body, headers=headers)
        except httpx.HTTPError as error:
            log.info("receiver of %s did not answer: %s", event.id, type(error).__name__)
            receipt = Receipt(None, type(error).__name__)
        else:
            receipt = Receipt(answer.status)
        self._courier.sent(event.data.status, receipt.outcome)
        return receipt.is_acknowledged
