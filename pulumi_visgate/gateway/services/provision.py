"""Find the endpoint that serves a request, or make one: once, whoever asks at the same time.

Three calls to Runpod when all goes well: list, create, list again. Where Runpod has no capacity, each further place is
one more create; where it refuses a volume, the caller's own are listed. In one process a lock for each caller, model
and task keeps equal requests apart. Across processes the account itself decides: after a create the endpoints are
listed again, the oldest stays, and whoever made a younger one deletes it before any job was sent to it.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pulumi_visgate.gateway.caller import Caller
from pulumi_visgate.gateway.services import placement, warm_match
from pulumi_visgate.gateway.services.directory import Candidate, Directory
from pulumi_visgate.gateway.services.placement import Asked
from pulumi_visgate.gateway.services.planning import Plan, Planner
from pulumi_visgate.gateway.services.spots import Attempt
from pulumi_visgate.gateway.services.upkeep import Upkeep
from pulumi_visgate.gateway.services.warm_match import Wish
from pulumi_visgate.gateway.settings import Settings
from pulumi_visgate.runpod.errors import BadRequest, NotFound, RunpodApiError, RunpodError, ServerFault, Unprocessable
from pulumi_visgate.runpod.models.endpoint import CreateEndpoint, Endpoint
from visgate_contract.errors import ErrorCode
from visgate_contract.tasks import TaskInput

log = logging.getLogger(__name__)

_VOLUME = re.compile(r"volume", re.I)
_CAPACITY = re.compile(r"capacity|no (longer any )?(instances?|gpus?|resources?)[^.]* available|out of stock", re.I)


@dataclass(frozen=True, slots=True)
class Found:
    """An endpoint for a request.

    Args:
        candidate: The endpoint.
        created: It was made for this request, so nothing is warm yet.
    """

    candidate: Candidate
    created: bool


class Provisioner:
    """Finds and makes endpoints.

    Args:
        settings: What new endpoints look like.
        directory: What callers have.
        planner: Looks before anything is made.
    """

    def __init__(self, settings: Settings, directory: Directory, planner: Planner) -> None:
        self.upkeep = Upkeep(settings, directory)
        self._settings = settings
        self._directory = directory
        self._planner = planner
        self._locks: dict[tuple[object, ...], tuple[asyncio.Lock, int]] = {}

    def wish(self, caller: Caller, asked: Asked) -> Wish:
        """Return what an endpoint has to be; raises `InvalidField` for a place that is not on offer."""
        return placement.wish(asked, user_hash=caller.user_hash, settings=self._settings)

    async def match(self, caller: Caller, wish: Wish, *, fresh: bool = False) -> Candidate | None:
        """Return the caller's endpoint that serves a request, or None (`listEndpoints`, if not listed lately)."""
        return warm_match.best(await self._candidates(caller, fresh=fresh), wish)

    async def plan(self, caller: Caller, asked: Asked, wish: Wish, params: TaskInput | None = None) -> Plan:
        """Return what to make for a request that nothing serves; raises `Refused` for one that cannot be served."""
        return await self._planner.plan(caller, asked, wish, params)

    async def afford(self, caller: Caller, candidate: Candidate, asked: Asked) -> None:
        """Raise `Refused` if a job on an endpoint may cost more than a ceiling; without one, do nothing."""
        await self._planner.require_budget(caller, candidate.pools, asked)

    async def secure(self, caller: Caller, wish: Wish, matched: Candidate | None, plan: Plan | None) -> Found:
        """Return an endpoint that accepts jobs: the matched one, as its policy wants it to be, or a new one.

        Args:
            caller: Who asks.
            wish: What is asked for.
            matched: What `match` found.
            plan: How a new endpoint is made; needed if nothing matched.

        Raises:
            RunpodError: Runpod refused or did not answer.
        """
        if matched is None and plan is not None:
            async with self._alone(wish):
                matched = await self.match(caller, wish)
                if matched is None:
                    return await self._create(caller, wish, plan)
        if matched is None:
            detail = "There is no endpoint for this request."
            raise NotFound(404, "Not Found", detail)
        return Found(await self.upkeep.kept(caller, matched), created=False)

    async def _candidates(self, caller: Caller, *, fresh: bool = False) -> tuple[Candidate, ...]:
        return await self._directory.candidates(
            caller.user_hash, caller.keys.secrets, caller.runpod.list_endpoints, fresh=fresh
        )

    @asynccontextmanager
    async def _alone(self, wish: Wish) -> AsyncIterator[None]:
        key = (wish.user_hash, wish.model_id, wish.task)
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[key]
            if users == 1:
                del self._locks[key]
            else:
                self._locks[key] = (lock, users - 1)

    async def _create(self, caller: Caller, wish: Wish, plan: Plan) -> Found:
        try:
            made = await self._attempted(caller, wish, plan)
        finally:
            # Also after a failure: an answer that was lost may hide an endpoint that exists.
            self._directory.distrust(caller.user_hash)
        mine = Candidate.of(made, caller.keys.secrets)
        if mine is None:
            detail = "Runpod gave the new endpoint another name than it was asked for."
            raise RunpodError(detail)
        self._directory.remember(caller.user_hash, mine)
        return await self._settled(caller, wish, mine)

    async def _attempted(self, caller: Caller, wish: Wish, plan: Plan) -> Endpoint:
        """Make the endpoint at the first place that has capacity, with the volumes that the account has."""
        try:
            return await self._somewhere(caller, wish, plan)
        except (BadRequest, NotFound, Unprocessable) as error:
            mounts = any(attempt.volume_ids for attempt in plan.attempts)
            if not mounts or not _VOLUME.search(" ".join((error.detail, *error.errors))):
                raise
        log.info("the account does not have the platform's volumes; its own are looked at")
        return await self._somewhere(caller, wish, await self._planner.with_own_volumes(caller, wish, plan))

    async def _somewhere(self, caller: Caller, wish: Wish, plan: Plan) -> Endpoint:
        *others, last = plan.attempts
        for attempt in others:
            try:
                return await self._call_create(caller, self._body(caller, wish, plan, attempt))
            except RunpodError as error:
                if error.code is not ErrorCode.NO_CAPACITY:
                    raise
                log.info(
                    "no capacity in %s; the next place is tried", ", ".join(attempt.data_center_ids) or "any place"
                )
        return await self._call_create(caller, self._body(caller, wish, plan, last))

    def _body(self, caller: Caller, wish: Wish, plan: Plan, attempt: Attempt) -> CreateEndpoint:
        return placement.new_endpoint(
            wish,
            plan.model,
            attempt,
            settings=self._settings,
            keys=caller.keys,
            hf_token=caller.hf_token,
            commit=plan.commit,
        )

    @staticmethod
    async def _call_create(caller: Caller, body: CreateEndpoint) -> Endpoint:
        try:
            return await caller.runpod.create_endpoint(body)
        except (BadRequest, Unprocessable, ServerFault) as error:
            if _CAPACITY.search(" ".join((error.detail, *error.errors))):
                raise _no_capacity(error) from error
            raise

    async def _settled(self, caller: Caller, wish: Wish, mine: Candidate) -> Found:
        """Give way to an older twin that another process made meanwhile."""
        try:
            candidates = await self._candidates(caller, fresh=True)
        except RunpodError as error:
            log.info("endpoint %s was made, twins could not be looked for: %s", mine.id, type(error).__name__)
            return Found(mine, created=True)
        twins = [found for found in candidates if found.label == mine.label and wish.is_met_by(found)]
        oldest = min((*twins, mine), key=lambda twin: (twin.created_at, twin.id))
        if oldest.id == mine.id:
            return Found(mine, created=True)
        self._directory.forget(caller.user_hash, mine.id)
        try:
            await caller.runpod.delete_endpoint(mine.id)
        except RunpodError as error:
            log.warning("endpoint %s, twin of %s, could not be deleted: %s", mine.id, oldest.id, type(error).__name__)
        return Found(oldest, created=True)


def _no_capacity(error: RunpodApiError) -> RunpodError:
    failure = RunpodError(
        f"Runpod has no capacity for this model now. {error.detail}",
        hint="Try again in a few minutes, or leave region and gpu_pool out.",
    )
    failure.code = ErrorCode.NO_CAPACITY
    return failure
