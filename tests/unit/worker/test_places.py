import asyncio
from typing import Any

from visgate_worker.places import Places


class Queue:
    """What the SDK's fetcher answers; keeps how many jobs it was asked for."""

    def __init__(self, *ids: str) -> None:
        self.ids = list(ids)
        self.asked: list[int] = []

    async def fetch(self, _session: Any, num_jobs: int = 1) -> list[dict[str, Any]] | None:
        self.asked.append(num_jobs)
        taken, self.ids = self.ids[:num_jobs], self.ids[num_jobs:]
        return [{"id": one} for one in taken] or None


async def is_waiting(task: "asyncio.Task[Any]") -> bool:
    for _ in range(10):
        await asyncio.sleep(0)
    return not task.done()


async def test_no_more_jobs_are_taken_than_there_are_places() -> None:
    queue = Queue("a", "b", "c", "d")
    get_job = Places(2).gated(queue.fetch)
    assert await get_job(None, 4) == [{"id": "a"}, {"id": "b"}]
    assert queue.asked == [2]


async def test_a_job_waits_in_the_queue_until_one_has_left_the_device() -> None:
    places, queue = Places(1), Queue("a", "b")
    get_job = places.gated(queue.fetch)
    await get_job(None, 3)
    following = asyncio.create_task(get_job(None, 2))
    assert await is_waiting(following)
    assert queue.asked == [1]
    await asyncio.to_thread(places.leave, "a")
    assert await following == [{"id": "b"}]


async def test_leaving_twice_frees_one_place() -> None:
    places, queue = Places(1), Queue("a", "b", "c")
    get_job = places.gated(queue.fetch)
    await get_job(None)
    for _ in range(2):
        places.leave("a")
    assert await get_job(None) == [{"id": "b"}]
    places.leave("a")
    following = asyncio.create_task(get_job(None))
    assert await is_waiting(following)
    following.cancel()


async def test_an_empty_queue_takes_no_place() -> None:
    queue = Queue()
    get_job = Places(1).gated(queue.fetch)
    for _ in range(2):
        assert await get_job(None) is None


async def test_a_fetch_that_is_given_up_while_it_waits_loses_no_job() -> None:
    places, queue = Places(1), Queue("a", "b")
    get_job = places.gated(queue.fetch)
    await get_job(None)
    given_up = asyncio.create_task(get_job(None))
    assert await is_waiting(given_up)
    given_up.cancel()
    places.leave("a")
    assert await get_job(None) == [{"id": "b"}]


def test_leaving_before_anything_was_fetched_is_nothing() -> None:
    Places(1).leave("a")
