"""Where a worker would run best: every data center and GPU pool with a score that says why; pure functions.

The terms, in points. A cache outweighs all others together, so that a model is read where it lies whenever a GPU is
there. Nothing is in stock: no place, whatever else speaks for it.

| term       | points | for                                                                          |
|------------|--------|------------------------------------------------------------------------------|
| `cache`    | 100    | a volume there holds the model                                               |
| `stock`    | 0 - 40 | HIGH 40, MEDIUM 30, LOW 10; 20 when it is not known                          |
| `distance` | 0 - 25 | from the caller: 25 nearby, none at 10,000 km or more                        |
| `memory`   | 0 - 15 | the model fits whole 15, by its parts 0                                      |
| `store`    | 0 - 10 | from the artifact store: 10 nearby, none at 10,000 km or more                |
| `price`    | 0 - 9  | 9 for the cheapest of those compared, in proportion for others               |
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pulumi_visgate.gateway.services import geography
from pulumi_visgate.gateway.services.geography import Point
from pulumi_visgate.gateway.services.market import Pool
from pulumi_visgate.gateway.services.preflight import PoolFit
from pulumi_visgate.runpod.offers import Stock
from visgate_contract.fit import Fit

CACHE, DISTANCE, MEMORY, STORE, PRICE = 100.0, 25.0, 15.0, 10.0, 9.0
STOCK: Mapping[Stock | None, float] = {
    Stock.HIGH: 40.0,
    Stock.MEDIUM: 30.0,
    None: 20.0,
    Stock.LOW: 10.0,
    Stock.NONE: 0.0,
}
FAR_KM = 10_000.0
NEAR_KM = 2_500.0
"""Data centers that are no further from the best one's distance count as near as it is."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One term of a score.

    Args:
        term: Its name.
        points: What it adds.
        detail: Why.
    """

    term: str
    points: float
    detail: str


@dataclass(frozen=True, slots=True)
class Spot:
    """A data center and a GPU pool.

    Args:
        data_center: Data center; None when Runpod chooses among all.
        pool: GPU pool.
        fit: How the model fits; None when that is not known.
        stock: Stock; None when it is not known.
        volume_id: Volume there that holds the model.
        distance_km: From the caller; None when one of the two places is not known.
        reasons: The terms of the score.
    """

    data_center: str | None
    pool: Pool
    fit: Fit | None
    stock: Stock | None
    volume_id: str | None
    distance_km: float | None
    reasons: tuple[Reason, ...]

    @property
    def score(self) -> float:
        """The sum of the terms."""
        return round(sum(reason.points for reason in self.reasons), 1)

    @property
    def is_possible(self) -> bool:
        """A worker can start here."""
        return self.stock is not Stock.NONE and self.fit is not Fit.NO


@dataclass(frozen=True, slots=True)
class Attempt:
    """One way to make an endpoint.

    Args:
        data_center_ids: Where its workers may run; anywhere when empty.
        volume_ids: Volumes that it mounts, in these data centers.
        pools: GPU pools, the best first.
    """

    data_center_ids: tuple[str, ...]
    volume_ids: tuple[str, ...]
    pools: tuple[str, ...]


def spots(
    pools: Sequence[PoolFit],
    data_centers: Sequence[str],
    *,
    volumes: Mapping[str, str],
    near: Point | None = None,
    store: Point | None = None,
) -> tuple[Spot, ...]:
    """Return every place with its score, the best first; equal ones as they are given.

    Args:
        pools: GPU pools, and how the model fits.
        data_centers: Where workers may run; anywhere when empty.
        volumes: Volumes that hold the model, by data center.
        near: Where the caller is.
        store: Where artifacts go.
    """
    prices = [entry.pool.usd_per_hour for entry in pools if entry.pool.usd_per_hour]
    cheapest = min(prices, default=None)
    found = [
        _spot(entry, center, volume_id=volumes.get(center or ""), near=near, store=store, cheapest=cheapest)
        for center in (data_centers or (None,))
        for entry in pools
    ]
    return tuple(sorted(found, key=lambda spot: (not spot.is_possible, -spot.score)))


def _spot(
    entry: PoolFit,
    center: str | None,
    *,
    volume_id: str | None,
    near: Point | None,
    store: Point | None,
    cheapest: float | None,
) -> Spot:
    pool, where = entry.pool, geography.of_data_center(center) if center else None
    stock = pool.stock(center)
    distance = near.km_to(where) if near and where else None
    reasons = [
        _cache(volume_id),
        Reason("stock", STOCK[stock], f"{stock.name if stock is not None else 'unknown'} stock of {pool.id}"),
        _nearness("distance", DISTANCE, where, near, "the caller"),
        _memory(entry.fit),
        _nearness("store", STORE, where, store, "the artifact store"),
        _price(pool.usd_per_hour, cheapest),
    ]
    return Spot(center, pool, entry.fit, stock, volume_id, distance, tuple(reasons))


def _cache(volume_id: str | None) -> Reason:
    if volume_id is None:
        return Reason("cache", 0.0, "no volume there holds the model")
    return Reason("cache", CACHE, f"volume {volume_id} holds the model")


def _nearness(term: str, most: float, where: Point | None, other: Point | None, who: str) -> Reason:
    if where is None or other is None:
        return Reason(term, 0.0, f"the distance to {who} is not known")
    distance = where.km_to(other)
    points = round(most * max(0.0, 1 - distance / FAR_KM), 1)
    return Reason(term, points, f"{distance:,.0f} km to {who}")


def _memory(fit: Fit | None) -> Reason:
    told = {
        Fit.WHOLE: (MEMORY, "the model fits whole"),
        Fit.BY_PARTS: (0.0, "the model fits part by part"),
        Fit.NO: (0.0, "the model does not fit"),
        None: (MEMORY, "the memory it needs is not known"),
    }
    return Reason("memory", *told[fit])


def _price(price: float | None, cheapest: float | None) -> Reason:
    if not price or not cheapest:
        return Reason("price", 0.0, "the price is not known")
    return Reason("price", round(PRICE * cheapest / price, 1), f"${price:.2f} for an hour")


def attempts(found: Sequence[Spot], data_centers: Sequence[str], *, volumes: Mapping[str, str]) -> tuple[Attempt, ...]:
    """Return how to make an endpoint: the best places first, wider ones when Runpod has no capacity there.

    An endpoint may run in several data centers, and Runpod chooses among them by what is free, so each attempt takes
    all that are as good: with the cache, in stock, and about as near. It mounts the volumes that are there. Where stock
    is not known, near places alone could be empty ones, so distance decides nothing then.

    Args:
        found: What `spots` returned.
        data_centers: Where workers may run; anywhere when empty.
        volumes: Volumes that hold the model, by data center.
    """
    possible = [spot for spot in found if spot.is_possible]
    cached = [spot for spot in possible if spot.volume_id]
    plain = [spot for spot in possible if not spot.volume_id]
    ways = [_of(group, volumes) for group in (_nearest(cached), cached, _nearest(plain), plain) if group]
    every = tuple(center for center in data_centers if center in volumes) or tuple(data_centers)
    ways.append(Attempt(every, _mounted(every, volumes), _pools(possible or found)))
    return tuple(dict.fromkeys(ways))


def _nearest(group: Sequence[Spot]) -> Sequence[Spot]:
    known = [spot.distance_km for spot in group if spot.distance_km is not None and spot.stock is not None]
    if not known:
        return group
    limit = min(known) + NEAR_KM
    return [spot for spot in group if spot.distance_km is not None and spot.distance_km <= limit]


def _of(group: Sequence[Spot], volumes: Mapping[str, str]) -> Attempt:
    centers = tuple(dict.fromkeys(spot.data_center for spot in group if spot.data_center is not None))
    return Attempt(centers, _mounted(centers, volumes), _pools(group))


def _mounted(centers: Iterable[str], volumes: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(volumes[center] for center in centers if center in volumes)


def _pools(group: Sequence[Spot]) -> tuple[str, ...]:
    """Return the pools of some spots, the best first; those that hold the model whole leave the others out."""
    whole = [spot for spot in group if spot.fit is not Fit.BY_PARTS]
    return tuple(dict.fromkeys(spot.pool.id for spot in whole or group))
