"""Runpod's catalog as the gateway knows it: memory and price of each GPU pool, and the stock of the moment.

The catalog is the same for everyone and asked for with the key of whoever comes first (`listGpuTypes`), once a minute
at most, and only by requests that have something to choose or to reckon with. An older answer is better than none, but
not for stock: that is told as unknown.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pulumi_visgate.gateway.caller import Caller
from pulumi_visgate.gateway.services.shared import Shared
from pulumi_visgate.runpod.errors import RunpodError
from pulumi_visgate.runpod.models.catalog import CatalogInclude, GpuFilter, Product
from pulumi_visgate.runpod.offers import Offer, Stock, gpu_offers
from visgate_contract.fit import memory_of_pool

log = logging.getLogger(__name__)

STOCK_S = 60.0
PRICES_S = 24 * 3600.0
SECONDS_OF_HOUR = 3600
_QUERY = GpuFilter(include=[CatalogInclude.AVAILABILITY], product=[Product.SERVERLESS])


@dataclass(frozen=True, slots=True)
class Pool:
    """One GPU pool.

    Args:
        id: Pool id.
        offers: Its GPU types; none when the catalog is not known, or does not have it.
        has_stock: Stock is of this moment.
    """

    id: str
    offers: tuple[Offer, ...] = ()
    has_stock: bool = False

    @property
    def memory_gb(self) -> float | None:
        """Memory of the smallest of its GPUs; by the pool's name when the catalog does not say."""
        return min((offer.memory_gb for offer in self.offers), default=memory_of_pool(self.id))

    @property
    def usd_per_hour(self) -> float | None:
        """Price of the dearest of its GPUs, which a worker may get; None when it is not known."""
        prices = [offer.usd_per_hour for offer in self.offers if offer.usd_per_hour is not None]
        return max(prices, default=None)

    def stock(self, data_center: str | None) -> Stock | None:
        """Return the best stock in a data center, or anywhere; None when it is not known."""
        if not self.has_stock or not self.offers:
            return None
        if data_center is None:
            return max(offer.anywhere for offer in self.offers)
        return max(offer.stock.get(data_center, Stock.NONE) for offer in self.offers)


@dataclass(frozen=True, slots=True)
class Prices:
    """What the catalog said.

    Args:
        pools: By id.
        has_stock: Stock is of this moment.
    """

    pools: Mapping[str, Pool]
    has_stock: bool

    def pool(self, pool_id: str) -> Pool:
        """Return a pool; one without offers when the catalog does not have it."""
        return self.pools.get(pool_id) or Pool(pool_id)

    @property
    def data_centers(self) -> tuple[str, ...]:
        """Data centers that have any GPU of any pool."""
        stocked = {center for pool in self.pools.values() for offer in pool.offers for center in offer.stock}
        return tuple(sorted(stocked))

    def dearest_usd(self, pools: Sequence[str], seconds: float) -> float | None:
        """Return what one worker costs at most for some time, in US dollars; None when a price is not known."""
        prices = [self.pool(pool).usd_per_hour for pool in pools]
        if not prices or None in prices:
            return None
        return max(price for price in prices if price is not None) * seconds / SECONDS_OF_HOUR


UNKNOWN = Prices({}, has_stock=False)


class Market:
    """Asks the catalog.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._shared: Shared[list[Offer]] = Shared(kept_s=STOCK_S, clock=clock)
        self._last: tuple[float, list[Offer]] | None = None

    def known(self) -> Prices:
        """Return what is known without asking."""
        fresh = self._shared.known(None)
        if fresh is not None:
            return _prices(fresh, has_stock=True)
        if self._last is not None and self._clock() - self._last[0] < PRICES_S:
            return _prices(self._last[1], has_stock=False)
        return UNKNOWN

    async def prices(self, caller: Caller) -> Prices:
        """Return what the catalog says; what it said before, if it cannot be asked."""

        async def ask() -> list[Offer]:
            offers = gpu_offers(await caller.runpod.list_gpu_types(_QUERY), 1)
            self._last = (self._clock(), offers)
            return offers

        try:
            return _prices(await self._shared.get(None, ask), has_stock=True)
        except RunpodError as error:
            log.info("the catalog could not be read: %s", type(error).__name__)
            return self.known()


def _prices(offers: Sequence[Offer], *, has_stock: bool) -> Prices:
    pools: dict[str, list[Offer]] = {}
    for offer in offers:
        pools.setdefault(offer.group, []).append(offer)
    return Prices({name: Pool(name, tuple(members), has_stock=has_stock) for name, members in pools.items()}, has_stock)
