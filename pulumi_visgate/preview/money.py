"""What a plan costs: the notes that priced resources carry, and sums of them that never take unknown for nothing."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pulumi_visgate import aws_prices
from pulumi_visgate.preview.digest import State

HOURS_A_MONTH = 730
FLOOR_NOTE = "hourly_floor_usd"
CEILING_NOTE = "hourly_ceiling_usd"
MONTH_NOTE = "monthly_floor_usd"
PRICED_KINDS = frozenset({"Endpoint", "WarmPool", "NetworkVolume"})
_AWS = "aws:"
_WHOLE_FROM_USD = 100


@dataclass(frozen=True, slots=True)
class Price:
    """What one resource, or a stack, costs.

    Args:
        floor: US dollars an hour when nobody uses it, on average over a pool's windows; None while unknown.
        ceiling: US dollars an hour with every worker running; None while unknown.
    """

    floor: float | None
    ceiling: float | None


NOTHING = Price(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Total:
    """The sum of several prices.

    Args:
        price: Of those that are known; unknown when none is.
        unknown: Names of the resources whose price is not.
    """

    price: Price
    unknown: tuple[str, ...] = ()


def price_of(kind: str, state: State | None) -> Price | None:
    """Return what a resource costs, or None if it has no price of its own.

    Args:
        kind: Of the resource.
        state: Before or after the change.
    """
    if state is None or state.external or not state.custom:
        return None
    known = state.outputs | state.inputs
    if kind not in PRICED_KINDS and FLOOR_NOTE not in known and CEILING_NOTE not in known:
        return _list_price(kind.removeprefix(_AWS), state) if kind.startswith(_AWS) else None
    return Price(idle_usd(known), _usd(known.get(CEILING_NOTE)))


def idle_usd(notes: Mapping[str, object]) -> float | None:
    """Return US dollars an hour when nobody uses it, None while unknown; a pool with windows has its average.

    Args:
        notes: What a resource says of its price.
    """
    if MONTH_NOTE not in notes:
        return _usd(notes.get(FLOOR_NOTE))
    month = _usd(notes[MONTH_NOTE])
    return None if month is None else month / HOURS_A_MONTH


def _list_price(kind: str, state: State) -> Price | None:
    """Return what AWS asks for a resource that nobody uses; what is used is not in a plan."""
    if kind in aws_prices.UNPRICED_KINDS:
        return Price(None, None)
    if kind not in aws_prices.PRICED_KINDS:
        return None
    usd = round(aws_prices.hourly_floor_usd(kind, state.inputs), 6)
    return Price(usd, usd)


def _usd(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def total(prices: Iterable[tuple[str, Price | None]]) -> Total:
    """Add prices up.

    Args:
        prices: By name of the resource; None for one that has no price.
    """
    floors: list[float] = []
    ceilings: list[float] = []
    unknown: list[str] = []
    for name, price in prices:
        if price is None:
            continue
        if price.floor is None or price.ceiling is None:
            unknown.append(name)
        floors += [] if price.floor is None else [price.floor]
        ceilings += [] if price.ceiling is None else [price.ceiling]
    none_known = None if unknown else 0.0
    price = Price(math.fsum(floors) if floors else none_known, math.fsum(ceilings) if ceilings else none_known)
    return Total(price, tuple(unknown))


def added(changes: Iterable[tuple[Price | None, Price | None]]) -> Price:
    """Return what changes add; unknown as soon as one of them is.

    Args:
        changes: Price before and after; None for nothing.
    """
    pairs = [(old or NOTHING, new or NOTHING) for old, new in changes]
    floors = [difference(old.floor, new.floor) for old, new in pairs]
    ceilings = [difference(old.ceiling, new.ceiling) for old, new in pairs]
    return Price(_sum(floors), _sum(ceilings))


def _sum(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(math.fsum(known), 9) + 0.0 if len(known) == len(values) else None


def difference(old: float | None, new: float | None) -> float | None:
    """Return how much is added, None if either is unknown."""
    if old is None or new is None:
        return None
    return round(new - old, 9) + 0.0


def hourly(usd: float | None) -> str:
    """Write US dollars an hour, with four digits where two would hide something."""
    if usd is None:
        return "unknown"
    text = f"{usd:,.4f}"
    return "$" + (text[:-2] if text.endswith("00") else text)


def monthly(usd_an_hour: float | None) -> str:
    """Write the month's difference that an hourly difference makes, with its sign."""
    if usd_an_hour is None:
        return "unknown"
    usd = usd_an_hour * HOURS_A_MONTH
    text = f"{abs(usd):,.0f}" if abs(usd) >= _WHOLE_FROM_USD else f"{abs(usd):,.2f}"
    if text == "0.00":
        return "±$0"
    return f"{'-' if usd < 0 else '+'}${text}"
