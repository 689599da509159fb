"""What endpoints a caller has: listed once, trusted for seconds, and asked for by many at once.

Only what matching needs is kept, under the caller's hash: no key, no environment value but the model's id.
"""

import asyncio
import hmac
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pulumi_visgate.runpod.models.endpoint import Endpoint, EndpointWorkers, RequestCountScaling
from visgate_contract.jobs import MODEL_ID_ENV, WEBHOOK_SECRET_ENV
from visgate_contract.names import EndpointName

GENERATION_ENV = "VISGATE_GATEWAY_GENERATION"
"""Set on endpoints that a gateway made; changes with the settings they were made from."""

MAX_USERS = 2_000
REMEMBER_S = 60.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """One of the caller's endpoints, without its secrets.

    Args:
        id: Runpod's id.
        label: Its full name.
        name: The name's parts.
        model_id: What its workers were told to load.
        signs: Its workers have this caller's webhook secret; None when they have none.
        generation: Settings it was made from; None when no gateway made it.
        workers: Limits as reported, fit to be sent back.
        pools: GPU pools.
        data_center_ids: Where it may run; anywhere when empty.
        created_at: When it was made.
    """

    id: str
    label: str
    name: EndpointName
    model_id: str
    signs: bool | None
    generation: str | None
    workers: EndpointWorkers
    pools: tuple[str, ...]
    data_center_ids: tuple[str, ...]
    created_at: datetime

    @property
    def is_scaled_to_zero(self) -> bool:
        """Nothing can start here until its limit is raised again."""
        return self.workers.max == 0

    @classmethod
    def of(cls, endpoint: Endpoint, webhook_secrets: Sequence[str]) -> "Candidate | None":
        """Return the candidate in an endpoint, or None when the name is not one of ours."""
        name = EndpointName.parse(endpoint.name)
        if name is None:
            return None
        secret = endpoint.env.get(WEBHOOK_SECRET_ENV)
        workers = EndpointWorkers(min=endpoint.workers.min, max=endpoint.workers.max)
        if not isinstance(endpoint.scaling, RequestCountScaling) and endpoint.workers.idle_timeout is not None:
            workers = workers.changed(idle_timeout=endpoint.workers.idle_timeout)
        return cls(
            id=endpoint.id,
            label=endpoint.name,
            name=name,
            model_id=endpoint.env.get(MODEL_ID_ENV, ""),
            signs=None
            if secret is None
            else any(hmac.compare_digest(secret.encode(), own.encode()) for own in webhook_secrets),
            generation=endpoint.env.get(GENERATION_ENV),
            workers=workers,
            pools=tuple(endpoint.gpu.pools) if endpoint.gpu else (),
            data_center_ids=tuple(endpoint.data_center_ids),
            created_at=endpoint.created_at,
        )


Load = Callable[[], Awaitable[list[Endpoint]]]


@dataclass(slots=True)
class _Listing:
    made_at: float
    candidates: tuple[Candidate, ...]


@dataclass(slots=True)
class _User:
    listing: _Listing | None = None
    loading: "asyncio.Task[_Listing] | None" = None
    version: int = 0
    own: dict[str, tuple[float, Candidate]] = field(default_factory=dict)
    gone: dict[str, float] = field(default_factory=dict)


class Directory:
    """Endpoints of each caller.

    Args:
        ttl_s: How long a listing is trusted, in seconds.
        clock: Seconds that only grow.
    """

    def __init__(self, *, ttl_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._ttl_s = ttl_s
        self._clock = clock
        self._users: OrderedDict[str, _User] = OrderedDict()

    async def candidates(
        self, user_hash: str, webhook_secrets: Sequence[str], load: Load, *, fresh: bool = False
    ) -> tuple[Candidate, ...]:
        """Return the caller's endpoints of this product, oldest first.

        Callers that come while a listing is on its way wait for that one.

        Args:
            user_hash: Who asks.
            webhook_secrets: The caller's own, to see which endpoints can sign.
            load: Lists the caller's endpoints (`listEndpoints`).
            fresh: Ask Runpod even if a listing is still trusted.
        """
        user = self._user(user_hash)
        listing = user.listing
        if not fresh and listing is not None and self._clock() - listing.made_at < self._ttl_s:
            return self._merged(user, listing)
        if user.loading is None or fresh:
            user.loading = asyncio.create_task(self._load(user, webhook_secrets, load))
            user.loading.add_done_callback(_consume)
        loading = user.loading
        # Shielded: one caller who hangs up does not take the answer from the others.
        return self._merged(user, await asyncio.shield(loading))

    def alike(self, user_hash: str, endpoint_id: str) -> tuple[str, ...]:
        """Return an endpoint's id, and those of the caller's others for its model and task, as far as listed."""
        user = self._users.get(user_hash)
        known = () if user is None or user.listing is None else self._merged(user, user.listing)
        its = {_purpose(candidate) for candidate in known if candidate.id == endpoint_id}
        others = (candidate.id for candidate in known if candidate.id != endpoint_id and _purpose(candidate) in its)
        return (endpoint_id, *others)

    def remember(self, user_hash: str, candidate: Candidate) -> None:
        """Add an endpoint that was just made or changed: listings may lag behind."""
        user = self._user(user_hash)
        user.own[candidate.id] = (self._clock(), candidate)
        user.gone.pop(candidate.id, None)

    def forget(self, user_hash: str, endpoint_id: str) -> None:
        """Drop an endpoint that is gone, and the listing that still held it."""
        user = self._user(user_hash)
        user.own.pop(endpoint_id, None)
        user.gone[endpoint_id] = self._clock()
        self.distrust(user_hash)

    def distrust(self, user_hash: str) -> None:
        """Drop the listing, also one that is on its way: something changed that it may not show."""
        user = self._user(user_hash)
        user.listing = None
        user.loading = None
        user.version += 1

    def _user(self, user_hash: str) -> _User:
        user = self._users.setdefault(user_hash, _User())
        self._users.move_to_end(user_hash)
        if len(self._users) > MAX_USERS:
            self._users.popitem(last=False)
        return user

    async def _load(self, user: _User, webhook_secrets: Sequence[str], load: Load) -> _Listing:
        version = user.version
        started = self._clock()
        try:
            endpoints = await load()
            found = [Candidate.of(endpoint, webhook_secrets) for endpoint in endpoints]
            listing = _Listing(started, tuple(candidate for candidate in found if candidate is not None))
            if user.version == version:
                user.listing = listing
            return listing
        finally:
            if user.loading is asyncio.current_task():
                user.loading = None

    def _merged(self, user: _User, listing: _Listing) -> tuple[Candidate, ...]:
        """Return a listing with what changed since it was asked for, and with what it does not show yet."""
        oldest = self._clock() - REMEMBER_S
        user.own = {key: entry for key, entry in user.own.items() if entry[0] > oldest}
        user.gone = {key: since for key, since in user.gone.items() if since > oldest}
        merged = {candidate.id: candidate for candidate in listing.candidates}
        for key, (since, candidate) in user.own.items():
            if key not in merged or since >= listing.made_at:
                merged[key] = candidate
        present = [candidate for key, candidate in merged.items() if key not in user.gone]
        return tuple(sorted(present, key=lambda candidate: (candidate.created_at, candidate.id)))


def _consume(task: "asyncio.Task[_Listing]") -> None:
    """Take the outcome of a listing that nobody waits for any more."""
    if not task.cancelled():
        task.exception()


def _purpose(candidate: Candidate) -> tuple[object, ...]:
    return candidate.name.user, candidate.model_id, candidate.name.task
