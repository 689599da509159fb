"""What plans cost, as pure functions."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pulumi_visgate.resources._cost import HOURS_OF_MONTH, WorkerPrice, storage, weekly_average, worker_price
from pulumi_visgate.runpod.offers import Offer, Stock
from visgate_contract.pools import PoolPolicy, Window, effective_minimum

OFFERS = [
    Offer(id_, group, 24, usd, Stock.HIGH, {})
    for id_, group, usd in (("a", "A", 0.69), ("b", "A", 1.1), ("c", "B", 0.3), ("d", "B", None))
]


def test_the_price_of_a_worker_spans_the_types_that_the_plan_allows() -> None:
    assert worker_price(OFFERS, ["A"]) == WorkerPrice(0.69, 1.1)
    assert worker_price(OFFERS, ["A", "B"]) == WorkerPrice(0.3, 1.1)
    assert worker_price(OFFERS, ["A"], ["b"]) == WorkerPrice(0.69, 0.69)
    assert worker_price(OFFERS, ["B"], ["c"]) is None


@pytest.mark.parametrize(
    ("size_gb", "tier", "usd_per_month"),
    [(10, "STANDARD", 0.7), (1000, "STANDARD", 70), (1500, "STANDARD", 95), (100, "HIGH_PERFORMANCE", 14)],
)
def test_storage_is_priced_by_the_month(size_gb: int, tier: str, usd_per_month: float) -> None:
    usd = storage(size_gb, tier)
    assert usd is not None
    assert usd * HOURS_OF_MONTH == pytest.approx(usd_per_month, abs=0.001)


def test_a_tier_without_a_known_price_has_none() -> None:
    assert storage(10, "GLACIAL") is None


def window(start: str, end: str, *, days: list[str] | None = None, workers: int = 1, zone: str = "UTC") -> Window:
    given_days = {"days": days} if days else {}
    return Window.model_validate({"start": start, "end": end, "timezone": zone, "min_workers": workers, **given_days})


def test_office_hours_are_averaged_over_the_week() -> None:
    office = window("08:00", "19:00", days=["mon", "tue", "wed", "thu", "fri"], workers=2, zone="Europe/Berlin")
    assert weekly_average(PoolPolicy.SCHEDULED_WARM, [office], min_workers=0) == pytest.approx(2 * 55 / 168)
    assert weekly_average(PoolPolicy.SCHEDULED_WARM, [office], min_workers=1) == pytest.approx((2 * 55 + 113) / 168)
    overnight = window("22:00", "06:00", days=["sun"], zone="Pacific/Auckland")
    assert weekly_average(PoolPolicy.SCHEDULED_WARM, [overnight], min_workers=0) == pytest.approx(8 / 168)


def test_policies_without_windows_keep_their_minimum() -> None:
    assert weekly_average(PoolPolicy.ALWAYS_ON, [], min_workers=3) == 3
    assert weekly_average(PoolPolicy.ON_DEMAND, [], min_workers=0) == 0


TIMES = st.builds("{:02d}:{:02d}".format, st.integers(0, 23), st.integers(0, 59))
DAYS = st.lists(st.sampled_from(["mon", "wed", "sat", "sun"]), min_size=1, unique=True)
ZONES = st.sampled_from(["UTC", "Asia/Kolkata", "America/St_Johns", "Pacific/Kiritimati"])
WINDOWS = st.lists(
    st.tuples(st.tuples(TIMES, TIMES).filter(lambda pair: pair[0] != pair[1]), DAYS, st.integers(1, 4), ZONES).map(
        lambda drawn: window(*drawn[0], days=drawn[1], workers=drawn[2], zone=drawn[3])
    ),
    max_size=3,
)


@settings(max_examples=40, deadline=None)
@given(WINDOWS, st.integers(0, 3))
def test_the_average_is_what_somebody_who_keeps_looking_sees(windows: list[Window], least: int) -> None:
    average = weekly_average(PoolPolicy.SCHEDULED_WARM, windows, min_workers=least)
    most = max([least, *(found.min_workers for found in windows)])
    assert least <= average <= most
    begins = datetime(2026, 1, 5, tzinfo=UTC)
    seen = [
        effective_minimum(PoolPolicy.SCHEDULED_WARM, windows, begins + timedelta(hours=hour), min_workers=least)
        for hour in range(168)
    ]
    edges = 2 * sum(len(found.days) for found in windows)  # looking every hour misses up to one at each
    assert average == pytest.approx(sum(seen) / 168, abs=edges * most / 168)
