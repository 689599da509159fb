"""The reconcile function over a scheduler's life: missed ticks, clocks that jump, people who interfere."""

from datetime import UTC, datetime, time, timedelta
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_visgate.resources.reconcile import reconcile
from pulumi_visgate.runpod import RunpodClient
from pulumi_visgate.runpod.errors import NotFound
from pulumi_visgate.runpod.models.endpoint import CreateEndpoint, UpdateEndpoint
from tests.unit.resources.conftest import MemoryRunpod
from visgate_contract.pools import Day, PoolPolicy, Window, effective_minimum

# Weeks in which the clocks of these zones go forward or back, an hour or half of one.
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]
SUNDAYS = [datetime(2026, 3, 8, tzinfo=UTC), datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)]
CLOCKS = [time(hour, minute) for hour in (0, 1, 2, 3, 9, 22) for minute in (0, 30)]

windows = st.builds(
    lambda pair, zone, days, least: Window(
        start=f"{pair[0]:%H:%M}", end=f"{pair[1]:%H:%M}", timezone=zone, days=days, min_workers=least
    ),
    st.tuples(st.sampled_from(CLOCKS), st.sampled_from(CLOCKS)).filter(lambda pair: pair[0] != pair[1]),
    st.sampled_from(ZONES),
    st.lists(st.sampled_from(list(Day)), min_size=1, unique=True),
    st.integers(1, 4),
)
# In any order, so that ticks are missed for days and clocks are set back.
moments = st.lists(
    st.builds(
        lambda day, minutes: day + timedelta(minutes=minutes), st.sampled_from(SUNDAYS), st.integers(-4000, 4000)
    ),
    min_size=1,
    max_size=6,
)
interference: st.SearchStrategy[dict[str, int] | None] = st.one_of(
    st.none(), st.fixed_dictionaries({"min": st.integers(0, 3)}), st.fixed_dictionaries({"max": st.integers(0, 5)})
)


def endpoint_of(memory: MemoryRunpod, most: int) -> str:
    body = {
        "name": "pool",
        "image": "acme/worker:1",
        "type": "QUEUE",
        "gpu": {"pools": ["ADA_24"]},
        "workers": {"min": 0, "max": most},
        "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
        "timeout": 1000,
    }
    made: Any = memory.create_endpoint(CreateEndpoint.model_validate(body))
    return str(made.id)


@given(st.lists(windows, min_size=1, max_size=4), st.integers(0, 2), st.integers(0, 5), moments, st.data())
def test_each_tick_leaves_what_the_moment_asks_for(
    chosen: list[Window], least: int, most: int, ticks: list[datetime], data: st.DataObject
) -> None:
    memory = MemoryRunpod()
    client, endpoint = cast("RunpodClient", memory), endpoint_of(memory, most)
    for now in ticks:
        if meddled := data.draw(interference):
            memory.update_endpoint(endpoint, UpdateEndpoint.model_validate({"workers": meddled}))
        limit = memory.get_endpoint(endpoint).workers.max
        done = reconcile(client, endpoint, chosen, now, min_workers=least)
        wanted = effective_minimum(PoolPolicy.SCHEDULED_WARM, chosen, now, min_workers=least)
        workers = memory.get_endpoint(endpoint).workers
        assert workers.min == done.minimum == min(wanted, limit)
        assert workers.max == limit  # whoever lowered it wants to pay less
        calls = len(memory.calls)
        assert reconcile(client, endpoint, chosen, now, min_workers=least).minimum == done.minimum
        assert [name for name, _ in memory.calls[calls:]] == ["get_endpoint"]  # nothing is changed twice


def test_a_pool_that_is_gone_is_told() -> None:
    always = Window(start="00:00", end="24:00", timezone="UTC", days=list(Day), min_workers=1)
    with pytest.raises(NotFound):
        reconcile(cast("RunpodClient", MemoryRunpod()), "gone", [always], SUNDAYS[0])
