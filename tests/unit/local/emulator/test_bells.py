import asyncio

from pulumi_visgate.local.emulator.bells import Bells


async def test_a_ring_wakes_everybody_who_waits_for_one_of_the_keys() -> None:
    bells = Bells()
    waiting = [asyncio.create_task(bells.wait(*keys, timeout_s=30)) for keys in (("a",), ("b", "a"), ("c",))]
    await asyncio.sleep(0)
    bells.ring("a")
    assert await asyncio.gather(*waiting[:2]) == [True, True]
    assert not waiting[2].done()
    bells.ring_all()
    assert await waiting[2]


async def test_a_ring_right_after_expect_is_not_lost() -> None:
    bells = Bells()
    waiter = bells.expect("a")
    bells.ring("a")
    assert waiter.done()
    bells.forget(waiter, "a")


async def test_waiting_gives_up_and_leaves_nothing_behind() -> None:
    bells = Bells()
    assert not await bells.wait("a", timeout_s=0)
    bells.ring("a")
    assert not await bells.wait("a", timeout_s=0)


async def test_a_cancel_in_the_moment_of_a_ring_is_not_swallowed() -> None:
    bells = Bells()
    task = asyncio.create_task(bells.wait("a", timeout_s=30))
    await asyncio.sleep(0)
    bells.ring("a")
    task.cancel()
    assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError)
