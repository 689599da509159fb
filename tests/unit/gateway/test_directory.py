import asyncio
from typing import Any

import pytest

from pulumi_visgate.gateway.services.directory import REMEMBER_S, Candidate, Directory
from pulumi_visgate.runpod.models.endpoint import Endpoint
from visgate_contract.names import EndpointName, user_hash
from visgate_contract.pools import PoolPolicy
from visgate_contract.tasks import Task

KEY = "rpa_CANARYKEY0000000000000000000001"
USER = user_hash(KEY)
SECRET = "whsec_CANARYCANARYCANARYCANARY00"
TOKEN = "hf_CANARYTOKEN0000000000000001"


def endpoint(number: int, **changes: Any) -> Endpoint:
    name = EndpointName.build(
        user_hash=USER, model_id="a/b", task=Task.TEXT2IMG, policy=PoolPolicy.ON_DEMAND, spec={"n": number}
    )
    body = {
        "id": f"ep{number}",
        "name": str(name),
        "env": {"VISGATE_MODEL_ID": "a/b", "VISGATE_WEBHOOK_SECRET": SECRET, "HF_TOKEN": TOKEN},
        "workers": {"min": 0, "max": 3, "idleTimeout": 9},
        "scaling": {"type": "QUEUE_DELAY", "queueDelay": 1},
        "dataCenterIds": [],
        "networkVolumes": [],
        "timeout": 1,
        "flashboot": "OFF",
        "createdAt": f"2026-11-01T00:00:{number:02d}Z",
        **changes,
    }
    return Endpoint.model_validate(body)


class Account:
    def __init__(self, *endpoints: Endpoint) -> None:
        self.endpoints = list(endpoints)
        self.lists = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def load(self) -> list[Endpoint]:
        self.lists += 1
        found = list(self.endpoints)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return found


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def directory(clock: Clock) -> Directory:
    return Directory(ttl_s=5, clock=clock)


def candidate(number: int, **changes: Any) -> Candidate:
    found = Candidate.of(endpoint(number, **changes), SECRET)
    assert found is not None
    return found


async def ids(directory: Directory, account: Account, **options: Any) -> list[str]:
    return [found.id for found in await directory.candidates(USER, (SECRET,), account.load, **options)]


async def test_a_listing_is_trusted_for_its_time(directory: Directory, clock: Clock) -> None:
    account = Account(endpoint(2), endpoint(1))
    assert await ids(directory, account) == ["ep1", "ep2"]
    account.endpoints.clear()
    clock.now += 4.9
    assert await ids(directory, account) == ["ep1", "ep2"]
    clock.now += 0.2
    assert await ids(directory, account) == []
    assert account.lists == 2


async def test_many_at_once_ask_once_and_one_who_leaves_takes_nothing_away(directory: Directory) -> None:
    account = Account(endpoint(1))
    account.gate.clear()
    first = asyncio.create_task(ids(directory, account))
    rest = [asyncio.create_task(ids(directory, account)) for _ in range(5)]
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    account.gate.set()
    assert await asyncio.gather(*rest) == [["ep1"]] * 5
    assert account.lists == 1


async def test_a_failed_listing_is_not_kept(directory: Directory) -> None:
    account = Account(endpoint(1))
    account.error = RuntimeError("down")
    with pytest.raises(RuntimeError):
        await ids(directory, account)
    account.error = None
    assert await ids(directory, account) == ["ep1"]


async def test_what_was_just_made_is_known_though_listings_lag(directory: Directory, clock: Clock) -> None:
    account = Account()
    directory.remember(USER, candidate(1))
    assert await ids(directory, account) == ["ep1"]
    clock.now += REMEMBER_S + 1
    assert await ids(directory, account) == []


async def test_a_newer_listing_knows_better_than_memory(directory: Directory, clock: Clock) -> None:
    scaled_down = endpoint(1, workers={"min": 0, "max": 0, "idleTimeout": 9})
    account = Account(scaled_down)
    directory.remember(USER, candidate(1))
    clock.now += 1
    (listed,) = await directory.candidates(USER, (SECRET,), account.load)
    assert listed.is_scaled_to_zero
    clock.now += 1
    directory.remember(USER, candidate(1))
    (restored,) = await directory.candidates(USER, (SECRET,), account.load)
    assert not restored.is_scaled_to_zero
    assert account.lists == 1


async def test_what_is_gone_is_not_offered_though_listings_lag(directory: Directory) -> None:
    account = Account(endpoint(1), endpoint(2))
    assert await ids(directory, account) == ["ep1", "ep2"]
    directory.forget(USER, "ep1")
    assert await ids(directory, account) == ["ep2"]


async def test_a_listing_from_before_a_change_is_not_trusted_after_it(directory: Directory) -> None:
    account = Account()
    account.gate.clear()
    early = asyncio.create_task(ids(directory, account))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert account.lists == 1
    directory.distrust(USER)
    account.endpoints.append(endpoint(1))
    late = asyncio.create_task(ids(directory, account))
    await asyncio.sleep(0)
    account.gate.set()
    assert await early == []
    assert await late == ["ep1"]
    assert await ids(directory, account) == ["ep1"]
    assert account.lists == 2


async def test_users_see_their_own(directory: Directory) -> None:
    mine, theirs = Account(endpoint(1)), Account()
    assert await ids(directory, mine) == ["ep1"]
    assert await directory.candidates("f" * 64, (SECRET,), theirs.load) == ()


async def test_nothing_secret_is_kept(directory: Directory) -> None:
    found = await directory.candidates(USER, (SECRET,), Account(endpoint(1)).load)
    for text in (repr(found), repr(vars(directory))):
        for secret in (KEY, SECRET, TOKEN):
            assert secret not in text
    assert found[0].signs is True


def test_signing_is_told_from_the_environment() -> None:
    assert candidate(1, env={"VISGATE_MODEL_ID": "a/b"}).signs is None
    assert candidate(1, env={"VISGATE_WEBHOOK_SECRET": "whsec_other"}).signs is False


def test_the_idle_time_is_sent_back_only_where_it_exists() -> None:
    by_count = candidate(1, scaling={"type": "REQUEST_COUNT", "requestCount": 1})
    assert by_count.workers.body() == {"min": 0, "max": 3}
    assert candidate(1).workers.body() == {"min": 0, "max": 3, "idleTimeout": 9}


def test_strangers_are_no_candidates() -> None:
    assert Candidate.of(endpoint(1, name="my-own-thing"), SECRET) is None
