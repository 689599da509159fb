import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from pulumi_visgate.gateway.caller import Caller
from pulumi_visgate.gateway.services import follow
from pulumi_visgate.gateway.services.follow import Follower, Pace
from pulumi_visgate.runpod.errors import Forbidden, RateLimited, RunpodError, ServerFault
from pulumi_visgate.runpod.models.job import JobStatus
from visgate_contract.signing import JobRef

REF = JobRef("ep1", "job1")


def status(state: str, output: object = None) -> JobStatus:
    return JobStatus(id="job1", status=state, output=output)


class Runpod:
    """Answers what it is told, and counts."""

    def __init__(self) -> None:
        self.now: JobStatus | RunpodError = status("IN_QUEUE")
        self.calls = 0
        self.asked = asyncio.Event()

    async def job_status(self, *_: str) -> JobStatus:
        self.calls += 1
        self.asked.set()
        await asyncio.sleep(0)
        if isinstance(self.now, RunpodError):
            raise self.now
        return self.now


def caller(runpod: Runpod, user: str = "a") -> Caller:
    keys: Any = None  # nothing is signed here
    whose: Any = runpod
    return Caller(user * 64, keys, whose)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "Pace", lambda: Pace(wait_s=0.001))
    monkeypatch.setattr(follow, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(follow, "LONGEST_WAIT_S", 0.002)


async def collect(follower: Follower, who: Caller) -> list[str]:
    return [str(found.status) async for found in follower.statuses(who, REF, status("IN_QUEUE"))]


async def test_many_listeners_are_one_question() -> None:
    runpod, follower = Runpod(), Follower()
    listeners = [asyncio.create_task(collect(follower, caller(runpod))) for _ in range(200)]
    async with asyncio.timeout(10):
        await runpod.asked.wait()
        runpod.asked.clear()
        runpod.now = status("IN_PROGRESS")
        await runpod.asked.wait()
        await asyncio.sleep(0.02)
        before = runpod.calls
        runpod.now = status("COMPLETED")
        seen = await asyncio.gather(*listeners)
    assert seen == [["IN_QUEUE", "IN_PROGRESS", "COMPLETED"]] * 200
    assert runpod.calls - before <= 2
    assert not follower._polls


async def test_jobs_of_two_users_are_two_questions() -> None:
    follower, mine, theirs = Follower(), Runpod(), Runpod()
    mine.now = theirs.now = status("COMPLETED")
    async with asyncio.timeout(10):
        await asyncio.gather(collect(follower, caller(mine)), collect(follower, caller(theirs, "b")))
    assert mine.calls == theirs.calls == 1


async def test_questions_end_with_the_last_listener() -> None:
    runpod, follower = Runpod(), Follower()
    async with aclosing(follower.statuses(caller(runpod), REF, status("IN_QUEUE"))) as first:
        async with aclosing(follower.statuses(caller(runpod), REF, status("IN_QUEUE"))) as second:
            assert (await anext(first)).status == (await anext(second)).status == "IN_QUEUE"
            (poll,) = follower._polls.values()
        assert not poll.task.cancelling()
        before = runpod.calls
        assert await follower.begin(caller(runpod), REF) is poll.known
        assert runpod.calls == before
    assert poll.task.cancelling()
    assert not follower._polls


async def test_those_who_begin_together_ask_once() -> None:
    runpod, follower = Runpod(), Follower()
    async with asyncio.timeout(10):
        found = await asyncio.gather(*(follower.begin(caller(runpod), REF) for _ in range(20)))
        assert runpod.calls == 1
        await follower.begin(caller(runpod), REF)
        await follower.begin(caller(runpod, "b"), REF)
    assert runpod.calls == 3
    assert all(status is found[0] for status in found)


async def test_a_refusal_reaches_everybody_and_passing_faults_nobody() -> None:
    runpod, follower = Runpod(), Follower()
    runpod.now = ServerFault(503, "Error", "down")
    listeners = [asyncio.create_task(collect(follower, caller(runpod))) for _ in range(3)]
    async with asyncio.timeout(10):
        await runpod.asked.wait()
        runpod.now = Forbidden(403, "Error", "no")
        results = await asyncio.gather(*listeners, return_exceptions=True)
    assert [type(result) for result in results] == [Forbidden] * 3


async def test_a_slow_listener_gets_the_newest_only() -> None:
    runpod, follower = Runpod(), Follower()
    async with asyncio.timeout(10), aclosing(follower.statuses(caller(runpod), REF, status("IN_QUEUE"))) as slow:
        await anext(slow)
        for number in range(5):
            runpod.now = status("IN_PROGRESS", number)
            runpod.asked.clear()
            await runpod.asked.wait()
        await asyncio.sleep(0.01)
        assert (await anext(slow)).output == 4


async def test_changed_waits_for_news_and_not_for_ever() -> None:
    runpod, follower = Runpod(), Follower()
    async with asyncio.timeout(10):
        unchanged = await follower.changed(caller(runpod), REF, status("IN_QUEUE"), wait_s=0.01)
        runpod.now = status("COMPLETED")
        changed = await follower.changed(caller(runpod), REF, status("IN_QUEUE"), wait_s=5)
        over = await follower.changed(caller(runpod), REF, status("FAILED"), wait_s=5)
    assert [unchanged.status, changed.status, over.status] == ["IN_QUEUE", "COMPLETED", "FAILED"]
    assert not follower._polls


async def test_a_job_that_is_tried_again_is_followed_again() -> None:
    runpod, follower = Runpod(), Follower()
    async with asyncio.timeout(10):
        async with aclosing(follower.statuses(caller(runpod), REF, status("FAILED"))) as ended:
            assert (await anext(ended)).status == "FAILED"
            await asyncio.sleep(0)
            runpod.now = status("COMPLETED")
            assert await collect(follower, caller(runpod)) == ["IN_QUEUE", "COMPLETED"]


def test_the_pace_waits_as_runpod_asks() -> None:
    pace = Pace()
    pace.failed(RateLimited(429, "Error", "slow down", retry_after_s=7))
    assert pace.wait_s == 7
    pace.news()
    assert pace.wait_s == follow.FIRST_WAIT_S
