import asyncio
from typing import Any

import pytest

from pulumi_visgate.gateway.caller import Caller
from pulumi_visgate.gateway.services import readiness
from pulumi_visgate.gateway.services.readiness import Readiness
from pulumi_visgate.runpod.errors import NotFound, RunpodUnreachable
from pulumi_visgate.runpod.models.job import EndpointHealth


class Runpod:
    """Counts questions and answers them when told to."""

    def __init__(self, *, idle: int = 1) -> None:
        self.idle = idle
        self.asked = 0
        self.error: Exception | None = None
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def endpoint_health(self, _endpoint_id: str) -> EndpointHealth:
        self.asked += 1
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error
        return EndpointHealth.model_validate({"jobs": {}, "workers": {"idle": self.idle}})


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def caller(runpod: Any, user: str = "user") -> Caller:
    whose: Any = None  # nothing is signed here
    return Caller(user, whose, runpod)


async def test_a_burst_asks_once() -> None:
    runpod = Runpod()
    runpod.may_answer.clear()
    ready = Readiness()
    asking = [asyncio.create_task(ready.is_warm(caller(runpod), "ep")) for _ in range(50)]
    await asyncio.sleep(0)
    runpod.may_answer.set()
    assert await asyncio.gather(*asking) == [True] * 50
    assert runpod.asked == 1


async def test_a_yes_is_trusted_for_a_moment_and_a_no_never() -> None:
    runpod, clock = Runpod(), Clock()
    ready = Readiness(clock=clock)
    assert not ready.was_warm(caller(runpod), "ep")
    assert await ready.is_warm(caller(runpod), "ep")
    assert ready.was_warm(caller(runpod), "ep")
    clock.now += readiness.TRUSTED_S
    assert not ready.was_warm(caller(runpod), "ep")
    runpod.idle = 0
    assert not await ready.is_warm(caller(runpod), "ep")
    assert not ready.was_warm(caller(runpod), "ep")


async def test_callers_and_endpoints_are_told_apart() -> None:
    runpod = Runpod()
    ready = Readiness()
    await ready.is_warm(caller(runpod), "ep")
    assert not ready.was_warm(caller(runpod), "other")
    assert not ready.was_warm(caller(runpod, "another"), "ep")


async def test_a_check_that_fails_is_a_no_and_a_missing_endpoint_is_said() -> None:
    runpod = Runpod()
    ready = Readiness()
    runpod.error = RunpodUnreachable("down")
    assert not await ready.is_warm(caller(runpod), "ep")
    runpod.error = NotFound(404, "Not Found", "gone")
    with pytest.raises(NotFound):
        await ready.is_warm(caller(runpod), "ep")
    assert runpod.asked == 2


async def test_one_who_hangs_up_does_not_take_the_answer_from_others() -> None:
    runpod = Runpod()
    runpod.may_answer.clear()
    ready = Readiness()
    first, second = (asyncio.create_task(ready.is_warm(caller(runpod), "ep")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    runpod.may_answer.set()
    assert await second
    assert first.cancelled()


async def test_what_is_remembered_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "MAX_ENDPOINTS", 3)
    runpod = Runpod()
    ready = Readiness()
    for number in range(5):
        await ready.is_warm(caller(runpod), f"ep{number}")
    assert [ready.was_warm(caller(runpod), f"ep{number}") for number in range(5)] == [False, False, True, True, True]
