"""A job on its way: matched or placed, announced, and put into Runpod's own queue. Nothing of it stays here."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import tenacity

from pulumi_visgate.gateway import egress
from pulumi_visgate.gateway.caller import Caller
from pulumi_visgate.gateway.problems import Refused
from pulumi_visgate.gateway.services import deployments
from pulumi_visgate.gateway.services.announce import Announcement, Courier, provisioning
from pulumi_visgate.gateway.services.callbacks import Callbacks
from pulumi_visgate.gateway.services.claims import Claim, Claims
from pulumi_visgate.gateway.services.directory import Candidate, Directory
from pulumi_visgate.gateway.services.history import History
from pulumi_visgate.gateway.services.ledgers import Ledgers
from pulumi_visgate.gateway.services.limits import Limits
from pulumi_visgate.gateway.services.orders import Accepted, Order, Warmth
from pulumi_visgate.gateway.services.placement import Asked
from pulumi_visgate.gateway.services.provision import Found, Provisioner
from pulumi_visgate.gateway.services.readiness import Readiness
from pulumi_visgate.gateway.services.replays import Replays
from pulumi_visgate.gateway.services.tickets import Style, Ticket
from pulumi_visgate.gateway.services.uploads import Uploads
from pulumi_visgate.gateway.settings import Settings
from pulumi_visgate.runpod.errors import NotFound
from pulumi_visgate.runpod.models.job import JobPolicy, JobRequest
from visgate_contract.errors import ContractError, ErrorCode
from visgate_contract.jobs import JobInput, WarmUp
from visgate_contract.signing import JobRef, new_task_id
from visgate_contract.tasks import TaskInput


@dataclass(frozen=True, slots=True)
class _Request:
    """An order on its way to Runpod.

    Args:
        order: The order.
        job: What the worker gets.
        policy: What Runpod holds it to.
    """

    order: Order
    job: JobInput
    policy: JobPolicy


@asynccontextmanager
async def deadline(seconds: float) -> AsyncIterator[None]:
    """End whatever runs inside after some seconds.

    Raises:
        Refused: It did not end by itself (504, `deadline_exceeded`).
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise Refused(
            504,
            f"Runpod did not answer all questions of this request within {seconds:g} s.",
            code=ErrorCode.DEADLINE_EXCEEDED,
            hint="Try again: an endpoint that was made meanwhile is found by its name.",
        ) from error


class Submitter:
    """Accepts requests.

    Args:
        settings: Limits and deadlines.
        directory: What callers have.
        provisioner: Finds and makes endpoints.
        uploads: Grants uploads.
        courier: Delivers announcements.
        callbacks: Where Runpod reports the end of a job.
        ledgers: Where workers keep what became of events.
        claims: What became of requests with an idempotency key.
        history: What recent jobs took.
        accepted: Told of each `job` and `deployment` that was accepted.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        directory: Directory,
        provisioner: Provisioner,
        uploads: Uploads,
        courier: Courier,
        callbacks: Callbacks,
        ledgers: Ledgers,
        claims: Claims,
        history: History,
        accepted: Callable[[str, Accepted], None] = lambda _kind, _accepted: None,
    ) -> None:
        self._told = accepted
        self._settings = settings
        self._directory = directory
        self._provisioner = provisioner
        self._uploads = uploads
        self._courier = courier
        self._callbacks = callbacks
        self._ledgers = ledgers
        self._claims = claims
        self._history = history
        self._readiness = Readiness()
        self._replays = Replays[Accepted](settings.signing_key)

    async def deploy(self, caller: Caller, asked: Asked, *, webhook_url: str | None = None) -> Accepted:
        """Find or make an endpoint, without a job.

        Raises:
            VisgateError: The request is refused, or Runpod did.
        """
        async with deadline(self._settings.deadline_s), self._announced(webhook_url) as announcement:
            task_id = new_task_id(datetime.now(UTC))
            found = await self._placed(caller, asked, None, task_id, announcement)
            try:
                warm = not found.created and (
                    self._readiness.was_warm(caller, found.candidate.id)
                    or await self._readiness.is_warm(caller, found.candidate.id)
                )
            except NotFound:
                self._directory.forget(caller.user_hash, found.candidate.id)
                found, warm = await self._placed(caller, asked, None, task_id, None), False
            if announcement is not None:
                await announcement.acknowledged(self._settings.announce_wait_s)
            job_id = None
            if asked.warm_for_s is not None:
                job_id = await self._warm_up(caller, found, task_id, asked.warm_for_s)
            accepted = self._accepted(caller, found.candidate, task_id, warm=warm, job_id=job_id)
            self._told("deployment", accepted)
            return accepted

    async def accept(self, caller: Caller, order: Order, *, idempotency_key: str | None = None) -> Accepted:
        """Submit a job, or return what became of the order before, if it came with the same idempotency key.

        Raises:
            VisgateError: The request is refused, or Runpod did.
        """
        if idempotency_key is None:
            return await self.submit(caller, order)

        async def act(task_id: str) -> Accepted:
            known = await self._claims.open(caller.user_hash, idempotency_key, order.text(), task_id)
            return known if isinstance(known, Accepted) else await self._claimed(caller, order, task_id, known)

        accepted, replayed = await self._replays.once(caller.user_hash, idempotency_key, order.text(), act)
        return replace(accepted, replayed=replayed or accepted.replayed)

    async def _claimed(self, caller: Caller, order: Order, task_id: str, claim: Claim) -> Accepted:
        """Submit a job and write the answer down; or find the job of a gateway that has died before it could."""
        if claim.repeats is not None:
            begun = await self._begun(caller, claim.repeats)
            if begun is not None:
                return begun
            # Under its former id a worker knows the job if it was queued after all; a start deadline would be over.
            task_id = claim.repeats if order.limits.start_s is None else task_id
        try:
            accepted = await self.submit(caller, order, task_id=task_id, claim=claim)
        except BaseException:
            await asyncio.shield(claim.release())
            raise
        await claim.settle(accepted)
        return accepted

    async def _begun(self, caller: Caller, task_id: str) -> Accepted | None:
        """Return the answer to a request whose job a worker has begun, as its ledger tells; None if it tells none."""
        ledger = await self._ledgers.read(caller.user_hash, task_id)
        told = next((one.event.data for one in ledger.deliveries if one.event.data.job_id), None) if ledger else None
        if told is None or told.job_id is None:
            return None
        try:
            endpoint_id = caller.ref(told.job_id).endpoint_id
        except ContractError:
            return None  # not what a worker of this platform has written
        return Accepted(Warmth.WARM_READY, task_id, endpoint_id, told.model_id, told.job_id, replayed=True)

    async def submit(
        self, caller: Caller, order: Order, *, task_id: str | None = None, claim: Claim | None = None
    ) -> Accepted:
        """Find or make an endpoint and queue a job there (`run`).

        Args:
            caller: Who asks.
            order: What for.
            task_id: Of the request; a new one when left out.
            claim: Taken before anything is made.

        Raises:
            VisgateError: The request is refused, or Runpod did.
        """
        asked, params, is_standard = order.asked, order.params, order.style is Style.STANDARD
        self._check_receiver(order)
        if asked.endpoint_id is not None:
            async with deadline(self._settings.deadline_s):
                named = await deployments.named(self._directory, caller, asked)
            asked = replace(asked, model_id=named.model_id)
        policy = order.limits.policy(self._settings)
        async with (
            deadline(self._settings.deadline_s),
            self._announced(order.webhook_url, speaks=is_standard) as announcement,
        ):
            task_id = task_id or new_task_id(datetime.now(UTC))
            await self._uploads.ready()
            uploads = self._uploads.grant(user_hash=caller.user_hash, task_id=task_id, params=params)
            job = JobInput(
                task_id=task_id,
                model_id=asked.model_id,
                params=params,
                uploads=uploads,
                receipt=self._uploads.receipt(user_hash=caller.user_hash, task_id=task_id),
                webhook_url=order.webhook_url if is_standard else None,
                start_timeout_s=order.limits.start_s,
            )
            request = _Request(order, job, policy)
            found = await self._placed(caller, asked, params, task_id, announcement, claim=claim)
            try:
                return await self._queue(caller, found, request, announcement)
            except NotFound:
                if found.created:
                    raise
            # A listing that was trusted held an endpoint that is gone. Ask Runpod, once.
            self._directory.forget(caller.user_hash, found.candidate.id)
            found = await self._placed(caller, asked, params, task_id, None)
            return await self._queue(caller, found, request, announcement)

    def _check_receiver(self, order: Order) -> None:
        """Refuse a receiver that only the gateway can serve, when Runpod cannot tell the gateway of a job's end."""
        if order.webhook_url is None or order.style is Style.STANDARD or self._settings.can_be_called_back:
            return
        raise egress.refused(detail="cannot be served: Runpod does not reach this gateway. Ask for the status instead.")

    @asynccontextmanager
    async def _announced(self, webhook_url: str | None, *, speaks: bool = True) -> AsyncIterator[Announcement | None]:
        if webhook_url is None:
            yield None
            return
        announcement = Announcement(self._courier, webhook_url, speaks=speaks)
        try:
            yield announcement
        finally:
            await announcement.close()

    async def _placed(
        self,
        caller: Caller,
        asked: Asked,
        params: TaskInput | None,
        task_id: str,
        announcement: Announcement | None,
        *,
        claim: Claim | None = None,
    ) -> Found:
        """Match or make an endpoint; the announcement leaves as soon as the request is known to be a good one."""
        wish = self._provisioner.wish(caller, asked)
        matched: Candidate | None
        if asked.endpoint_id is not None:
            matched = await deployments.named(self._directory, caller, asked)
        else:
            matched = await self._provisioner.match(caller, wish)
        plan = None
        if matched is None:
            plan = await self._provisioner.plan(caller, asked, wish, params)
        elif params is not None or asked.warm_for_s is not None:
            await self._provisioner.afford(caller, matched, asked)
        if claim is not None:
            await claim.take()
        if announcement is not None:
            await announcement.permitted()
            event = provisioning(task_id=task_id, model_id=asked.model_id, task=asked.task)
            announcement.begin(event, caller.keys.signer)
        return await self._provisioner.secure(caller, wish, matched, plan)

    async def _queue(
        self, caller: Caller, found: Found, request: _Request, announcement: Announcement | None
    ) -> Accepted:
        endpoint, job = found.candidate, request.job
        warm = not found.created and self._readiness.was_warm(caller, endpoint.id)
        asks = not found.created and not warm
        health = asyncio.create_task(self._readiness.is_warm(caller, endpoint.id)) if asks else None
        try:
            if announcement is not None:
                announced = await announcement.acknowledged(self._settings.announce_wait_s)
                request = replace(request, job=job.model_copy(update={"announced": announced}))
            runpod_job_id = await self._run(caller, found, request)
            warm = warm or (health is not None and await _or_no(health))
        finally:
            if health is not None:
                health.cancel()
                await asyncio.gather(health, return_exceptions=True)
        ref = JobRef(endpoint.id, runpod_job_id, job.task_id, job.start_timeout_s)
        job_id = ref.job_id(caller.webhook_secret)
        accepted = self._accepted(caller, endpoint, job.task_id, warm=warm, job_id=job_id)
        self._told("job", accepted)
        return accepted

    def _accepted(
        self, caller: Caller, endpoint: Candidate, task_id: str, *, warm: bool, job_id: str | None
    ) -> Accepted:
        alike = self._directory.alike(caller.user_hash, endpoint.id)
        health = self._readiness.last(caller, endpoint.id)
        expected = self._history.expect(alike, health, is_warm=warm)
        warmth = Warmth.WARM_READY if warm else Warmth.ACCEPTED_COLD
        return Accepted(warmth, task_id, endpoint.id, endpoint.model_id, job_id, expected)

    async def _warm_up(self, caller: Caller, found: Found, task_id: str, warm_for_s: int) -> str:
        """Queue a job that loads the model, on an endpoint whose idle workers stay as long as is asked for.

        Returns:
            The public id of that job.
        """
        endpoint, upkeep = found.candidate, self._provisioner.upkeep
        own_s, now_s = upkeep.idle_timeout_s(endpoint), endpoint.workers.idle_timeout
        if own_s is not None and now_s is not None and now_s < warm_for_s:
            await upkeep.change(caller, endpoint, endpoint.workers.changed(idle_timeout=warm_for_s))
        wish = WarmUp(task_id=task_id, model_id=endpoint.model_id, warm_for_s=warm_for_s, idle_timeout_s=own_s)
        runpod_job_id = await self._send(
            caller, found, JobRequest(input=wish.model_dump(), policy=Limits().policy(self._settings))
        )
        return JobRef(endpoint.id, runpod_job_id, task_id).job_id(caller.webhook_secret)

    async def _run(self, caller: Caller, found: Found, given: _Request) -> str:
        order, job = given.order, given.job
        ticket = (
            None
            if order.webhook_url is None
            else Ticket(
                task_id=job.task_id,
                user_hash=caller.user_hash,
                endpoint_id=found.candidate.id,
                model_id=job.model_id,
                task=job.params.task,
                webhook_url=order.webhook_url,
                style=order.style,
                start_timeout_s=job.start_timeout_s,
            )
        )
        webhook = self._callbacks.url(ticket)
        job = await self._uploads.in_parts(caller.user_hash, job)
        job = job.model_copy(update={"ledger": self._ledgers.grant(caller.user_hash, job.task_id, ticket)})
        # What is not said is left out, so that workers of a former version understand it.
        request = JobRequest(input=job.model_dump(mode="json", exclude_none=True), webhook=webhook, policy=given.policy)
        return await self._send(caller, found, request)

    async def _send(self, caller: Caller, found: Found, request: JobRequest) -> str:
        if not found.created:
            return (await caller.runpod.run_job(found.candidate.id, request)).id
        # A new endpoint reaches the job plane a moment after the control plane has answered.
        attempts = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(NotFound),
            wait=tenacity.wait_exponential(multiplier=0.1, max=1.0),
            stop=tenacity.stop_before_delay(self._settings.deadline_s / 2),
            reraise=True,
        )
        async for attempt in attempts:
            with attempt:
                return (await caller.runpod.run_job(found.candidate.id, request)).id
        raise AssertionError  # tenacity ends with a result or an error


async def _or_no(health: "asyncio.Task[bool]") -> bool:
    """Return the answer of a health check for a job that is queued already, whatever became of the check."""
    try:
        return await health
    except NotFound:
        return False
