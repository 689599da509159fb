"""What a plan costs, in US dollars; pure functions over the catalog's prices.

Prices are list prices: discounts of an account are not in the catalog.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from pulumi_visgate.runpod.models.volume import VolumeType
from pulumi_visgate.runpod.offers import Offer
from visgate_contract.pools import PoolPolicy, Window, effective_minimum

HOURS_OF_MONTH = 730
FIRST_TB_GB = 1000
DOLLAR_DIGITS = 6
CENT_DIGITS = 2

# US dollars for a GB and month: up to 1 TB, and for what is above it. The catalog does not tell them. From Runpod's
# documentation of network volumes (docs.runpod.io/storage/network-volumes), as it was in November 2026.
STORAGE_USD: dict[str, tuple[float, float]] = {
    VolumeType.STANDARD: (0.07, 0.05),
    VolumeType.HIGH_PERFORMANCE: (0.14, 0.14),
}

# No country changes its clocks in this week, so an average over it is the same at every run.
_WEEK_BEGINS = datetime(2026, 1, 5, tzinfo=UTC)
_WEEK_ENDS = _WEEK_BEGINS + timedelta(days=7)


@dataclass(frozen=True, slots=True)
class WorkerPrice:
    """What one worker costs in an hour.

    Args:
        lowest: On the cheapest machine that the plan allows.
        highest: On the dearest.
    """

    lowest: float
    highest: float


def worker_price(offers: Iterable[Offer], groups: Iterable[str], excluded: Iterable[str] = ()) -> WorkerPrice | None:
    """Return the price of a worker, or None when the catalog names none.

    Args:
        offers: What the catalog has.
        groups: GPU pools, or CPU flavours with their size, that the plan allows.
        excluded: GPU types taken out of them.
    """
    allowed, out = set(groups), set(excluded)
    prices = [o.usd_per_hour for o in offers if o.group in allowed and o.id not in out and o.usd_per_hour is not None]
    return WorkerPrice(min(prices), max(prices)) if prices else None


def weekly_average(policy: PoolPolicy, windows: Sequence[Window], *, min_workers: int) -> float:
    """Return how many workers a pool keeps on the average of a week.

    Args:
        policy: Its policy.
        windows: Its windows.
        min_workers: Workers outside of them.
    """
    days = [_WEEK_BEGINS.date() + timedelta(days=day) for day in range(-2, 9)]
    spans = [span for window in windows for day in days if (span := window.on(day))]
    inside = {edge for span in spans for edge in span if _WEEK_BEGINS < edge < _WEEK_ENDS}
    edges = [_WEEK_BEGINS, *sorted(inside), _WEEK_ENDS]
    kept = (
        (until - since) * effective_minimum(policy, windows, since, min_workers=min_workers)
        for since, until in pairwise(edges)
    )
    return sum(kept, timedelta()) / (_WEEK_ENDS - _WEEK_BEGINS)


def storage(size_gb: float, tier: str) -> float | None:
    """Return US dollars for an hour of a network volume, or None for a tier whose price is not known.

    Args:
        size_gb: Its size.
        tier: Its storage tier.
    """
    if tier not in STORAGE_USD:
        return None
    first, above = STORAGE_USD[tier]
    usd_per_month = min(size_gb, FIRST_TB_GB) * first + max(size_gb - FIRST_TB_GB, 0) * above
    return round(usd_per_month / HOURS_OF_MONTH, DOLLAR_DIGITS)
