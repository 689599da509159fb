"""How many requests one key and one address may make: decided in this process, or in a Valkey that all processes share.

Counting is throttled-py's (generic cell rate algorithm, https://brandur.org/rate-limiting): a bucket of `burst`
requests that fills up evenly. Whoever is counted is known by a keyed hash only, here and in Valkey. A Valkey that does
not answer refuses nobody: each process then counts for itself, with the same limits, until it answers again.
"""

import asyncio
import hashlib
import ipaddress
import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from pydantic import SecretStr
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from throttled import MemoryStore, Quota, RateLimitResult
from throttled.asyncio import RedisStore, RedisStoreBackend
from throttled.asyncio.rate_limiter import GCRARateLimiter as SharedRateLimiter
from throttled.exceptions import BaseThrottledError
from throttled.rate_limiter import GCRARateLimiter
from throttled.rate_limiter.quota_parser import parse

from pulumi_visgate.gateway.metrics import Metrics

log = logging.getLogger(__name__)

PREFIX = "visgate"
MAX_COUNTED = 65_536
"""Keys and addresses that a process counts at a time; the one that was quiet for longest is forgotten first."""
SHARED_S = 0.5
"""Longest wait for Valkey, in seconds."""
AGAIN_S = 5.0
"""After a failure Valkey is left alone for so many seconds."""
_IPV6_SITE = 64
_CONNECTIONS = 32


def quota_of(text: str) -> Quota:
    """Return the quota in words such as `1200/minute burst 40`.

    Raises:
        ValueError: They are none.
    """
    try:
        (quota,) = parse(text)
    except (BaseThrottledError, ValueError):
        message = "must be a rate such as `1200/minute burst 40`"
        raise ValueError(message) from None
    if quota.rate.limit < 1 or quota.burst < 1:
        message = "must allow at least one request"
        raise ValueError(message)
    return quota


@dataclass(slots=True)
class Decision:
    """What became of one request under one limit.

    Args:
        name: Of the limit: `key` or `address`.
        policy: The limit as an item of `RateLimit-Policy`.
        allowed: It may pass.
        burst: Most requests at once.
        fills_s: Seconds in which so many become available again.
        left: Requests that may follow at once.
        resets_s: Seconds until nothing is counted any more.
        retry_s: Seconds until the next one may pass; 0 if it may now.
    """

    name: str
    policy: str
    allowed: bool
    burst: int
    fills_s: float
    left: int
    resets_s: float
    retry_s: float

    @property
    def state(self) -> str:
        """What is left of it as an item of `RateLimit`."""
        return f'"{self.name}";r={self.left};t={max(1, math.ceil(self.retry_s or self.resets_s))}'


class _Limit:
    """One limit, counted here and, where there is a Valkey, there."""

    def __init__(self, name: str, quota: Quota, local: MemoryStore, store: RedisStore | None) -> None:
        self.name = name
        self._fills_s = quota.burst * quota.emission_interval
        self._policy = f'"{name}";q={quota.burst};w={max(1, math.ceil(self._fills_s))}'
        prefix = f"{PREFIX}:{name}"
        self.local = GCRARateLimiter(quota, local, key_prefix=prefix)
        self.shared = None if store is None else SharedRateLimiter(quota, store, key_prefix=prefix)

    def decision(self, result: RateLimitResult) -> Decision:
        state = result.state
        left = 0 if result.limited else state.remaining
        return Decision(
            self.name,
            self._policy,
            not result.limited,
            state.limit,
            self._fills_s,
            left,
            state.reset_after,
            state.retry_after,
        )


class Limiter:
    """Counts requests of keys and addresses.

    Args:
        per_user: Limit of one key.
        per_ip: Limit of one address; of a /64 network where it is IPv6.
        secret: What the hashes of keys and addresses are made with; the same in all processes.
        metrics: Told of decisions, and of Valkey's failures.
        valkey: Client of the Valkey that counts for all processes; None to count in this one.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        *,
        per_user: str,
        per_ip: str,
        secret: SecretStr,
        metrics: Metrics,
        valkey: Redis | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        local = MemoryStore(options={"MAX_SIZE": MAX_COUNTED})
        store = None if valkey is None else _store(valkey)
        self._address = _Limit("address", quota_of(per_ip), local, store)
        self._key = _Limit("key", quota_of(per_user), local, store)
        hash_key = hashlib.sha256(b"visgate limits" + secret.get_secret_value().encode()).digest()

        @lru_cache(maxsize=4_096)
        def hidden(identity: str) -> str:
            return hashlib.blake2b(identity.encode(), key=hash_key, digest_size=16).hexdigest()

        self._hidden = hidden
        self._is_shared = store is not None
        metrics.limits_shared(works=self._is_shared)
        self._metrics = metrics
        self._clock = clock
        self._left_alone_until = 0.0
        self._is_down = False

    async def take(self, *, address: str, user_hash: str | None) -> list[Decision]:
        """Count one request; return what each limit makes of it, ending with the first that refuses.

        Args:
            address: Where it comes from.
            user_hash: Whose key it carries, if any.
        """
        asked = [(self._address, self._hidden(network_of(address)))]
        if user_hash is not None:
            asked.append((self._key, self._hidden(user_hash)))
        decisions = await self._ask_valkey(asked) if self._is_shared else None
        where = "local" if decisions is None else "shared"
        if decisions is None:
            decisions = []
            for limit, identity in asked:
                decisions.append(limit.decision(limit.local.limit(identity)))
                if not decisions[-1].allowed:
                    break
        for decision in decisions:
            self._metrics.limit_decided(decision.name, allowed=decision.allowed, where=where)
        return decisions

    async def _ask_valkey(self, asked: Sequence[tuple[_Limit, str]]) -> list[Decision] | None:
        """Count in Valkey, all limits at the same time; None if it does not answer, or did not a moment ago."""
        if self._clock() < self._left_alone_until:
            return None
        if self._is_down:
            self._left_alone_until = self._clock() + AGAIN_S  # one request tries; the others do not wait for it
        try:
            async with asyncio.timeout(SHARED_S):
                results = await asyncio.gather(*(limit.shared.limit(who) for limit, who in asked if limit.shared))
        except (TimeoutError, OSError, RedisError, BaseThrottledError) as error:
            self._failed(error)
            return None
        if self._is_down:
            self._is_down, self._left_alone_until = False, 0.0
            self._metrics.limits_shared(works=True)
            log.info("Valkey answers again; limits hold for all processes together")
        decisions = [limit.decision(result) for (limit, _), result in zip(asked, results, strict=True)]
        refused = next((n for n, decision in enumerate(decisions) if not decision.allowed), len(decisions))
        return decisions[: refused + 1]

    def _failed(self, error: Exception) -> None:
        self._left_alone_until = self._clock() + AGAIN_S
        self._metrics.limits_shared(works=False)
        if not self._is_down:
            self._is_down = True
            reason = type(error.__cause__ or error).__name__
            log.warning("Valkey does not answer (%s); until it does, each process limits alone", reason)


def new_valkey(url: SecretStr) -> Redis:
    """Return a client of a Valkey that gives up quickly and repeats nothing.

    Args:
        url: `valkey://[user:password@]host[:port][/database]`, or `valkeys://…` for TLS.
    """
    pool = BlockingConnectionPool.from_url(
        url.get_secret_value().replace("valkey", "redis", 1),
        max_connections=_CONNECTIONS,
        timeout=SHARED_S,
        socket_timeout=SHARED_S,
        socket_connect_timeout=SHARED_S,
        retry=Retry(NoBackoff(), 0),
    )
    return Redis.from_pool(pool)


def _store(client: Redis) -> RedisStore:
    """Return throttled-py's store over a client that is opened and closed elsewhere."""

    class Backend(RedisStoreBackend):
        def get_client(self) -> Redis:  # type: ignore[override]  # its protocol names a part of the client
            return client

    class Store(RedisStore):
        _BACKEND_CLASS = Backend

    return Store()


@lru_cache(maxsize=4_096)
def network_of(address: str) -> str:
    """Return whom an address stands for: an IPv4 address itself, an IPv6 address its /64, which one host has whole."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(found) >> (128 - _IPV6_SITE) << (128 - _IPV6_SITE), _IPV6_SITE)))
