"""Whether workers of a plan find a place in Runpod's catalog, and where they would; pure functions over its answers.

Stock is what the catalog says at the moment: no promise, and no reservation.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pulumi_visgate.runpod.offers import Offer, Stock

ALTERNATIVES = 3
_NAMED = 4


@dataclass(frozen=True, slots=True)
class Wish:
    """What workers need.

    Args:
        groups: Any of these.
        excluded: GPU types that are not wanted.
        count: GPUs of each worker.
        cuda_versions: Any of these CUDA versions; all when empty.
        min_cuda: Lowest CUDA version.
        centers: Data centers where they may run; None is everywhere.
        named_by: The input that names the groups: `gpu_pools` or `cpus`.
        limited_by: The input that names the data centers.
    """

    groups: tuple[str, ...]
    excluded: frozenset[str] = frozenset()
    count: int = 1
    cuda_versions: tuple[str, ...] = ()
    min_cuda: str | None = None
    centers: tuple[str, ...] | None = None
    named_by: str = "gpu_pools"
    limited_by: str = "data_center_ids"


@dataclass(frozen=True, slots=True)
class Finding:
    """What is the matter with a plan.

    Args:
        property: The input.
        reason: What is wrong with it, and what would be better.
        placeable: Workers can get a place, if with luck.
    """

    property: str
    reason: str
    placeable: bool = False


def allowed_centers(wanted: Sequence[str] | None, with_volume: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return where workers may run: a network volume binds them to its own data center.

    Args:
        wanted: `data_center_ids`; None when left out or not known.
        with_volume: Data centers of the network volumes; None when there are none or they are not known.

    Returns:
        Data centers in the order in which they are given, or None for everywhere.
    """
    if with_volume is None:
        return None if wanted is None else tuple(dict.fromkeys(wanted))
    return tuple(center for center in dict.fromkeys(with_volume) if wanted is None or center in wanted)


def assess(
    wish: Wish,
    offers: Sequence[Offer],
    *,
    stores: Iterable[str] | None = None,
    regions: Mapping[str, str] | None = None,
) -> Finding | None:
    """Return what is the matter with a plan, or None when workers find a place with ease.

    Args:
        wish: What the workers need.
        offers: What the catalog has, also of other pools or flavours.
        stores: Data centers that are an alternative; None is all.
        regions: Continents of data centers, so that near ones come first among equals.
    """
    asked = [offer for offer in offers if offer.group in wish.groups and offer.id not in wish.excluded]
    if not asked:
        return None  # not in the catalog, which other rules tell
    fitting = [offer for offer in asked if _fits(offer, wish)]
    level = _best(fitting, wish.centers)
    if level > Stock.LOW:
        return None
    if wish.centers == ():
        return Finding(wish.limited_by, "none of the network volumes is in one of data_center_ids.")
    property_, matter = _matter(wish, asked, fitting, level)
    elsewhere = [] if wish.centers is None else _other_centers(wish, fitting, level, stores, regions or {})
    least_gb = min(offer.memory_gb for offer in asked)
    instead = _other_groups(wish, [offer for offer in offers if _fits(offer, wish)], level, least_gb)
    return Finding(property_, " ".join([matter, *_advice(wish, elsewhere, instead)]), placeable=level == Stock.LOW)


def _matter(wish: Wish, asked: list[Offer], fitting: list[Offer], level: Stock) -> tuple[str, str]:
    names, where = _listed(wish.groups), "anywhere" if wish.centers is None else f"in {_listed(wish.centers)}"
    limited = wish.centers is not None and _best(fitting, None) > level
    blamed = wish.limited_by if limited else wish.named_by
    if level == Stock.LOW:
        return blamed, f"there is only LOW stock of {names} {where}, so workers may have to wait."
    most = max((offer.max_count for offer in asked if offer.max_count is not None), default=None)
    if most is not None and most < wish.count:
        return "gpus_per_worker", f"no machine of {names} has {wish.count} GPUs; the largest has {most}."
    free = sorted({version for offer in asked for version, is_free in offer.cuda.items() if is_free}, key=_numbers)
    if free and not fitting:
        bound = f"{wish.min_cuda} or newer" if wish.min_cuda else _listed(wish.cuda_versions)
        to_blame = "min_cuda_version" if wish.min_cuda else "allowed_cuda_versions"
        return to_blame, f"no machine of {names} with CUDA {bound} is free; those with {', '.join(free)} are."
    return blamed, f"nothing of {names} is in stock {where}."


def _advice(wish: Wish, elsewhere: list[str], instead: list[str]) -> Iterable[str]:
    if elsewhere:
        yield f"Other data centers: {', '.join(elsewhere)}."
    if instead:
        noun = "GPU pools" if wish.named_by == "gpu_pools" else "CPUs"
        yield f"Other {noun}{'' if wish.centers is None else ' there'}: {', '.join(instead)}."
    if not elsewhere and not instead:
        yield "Nothing better with as much memory is in stock."


def _other_centers(
    wish: Wish, fitting: list[Offer], level: Stock, stores: Iterable[str] | None, regions: Mapping[str, str]
) -> list[str]:
    here = {regions.get(center) for center in wish.centers or ()}
    known = {center for offer in fitting for center in offer.stock} - set(wish.centers or ())
    if stores is not None:
        known &= set(stores)
    stock = {center: _best(fitting, (center,)) for center in known}
    better = [center for center in known if stock[center] > level]
    better.sort(key=lambda center: (-stock[center], regions.get(center) not in here, center))
    return [f"{center} ({stock[center].name})" for center in better[:ALTERNATIVES]]


def _other_groups(wish: Wish, fitting: list[Offer], level: Stock, least_gb: float) -> list[str]:
    found: list[tuple[Stock, float, str, float]] = []
    for group in sorted({offer.group for offer in fitting} - set(wish.groups)):
        members = [offer for offer in fitting if offer.group == group]
        memory_gb = min(offer.memory_gb for offer in members)
        prices = [offer.usd_per_hour for offer in members if offer.usd_per_hour is not None]
        stock = _best(members, wish.centers)
        if memory_gb >= least_gb and stock > level and prices:
            found.append((stock, min(prices), group, memory_gb))
    found.sort(key=lambda item: (-item[0], item[1], item[2]))
    return [
        f"{group} ({memory_gb:g} GB, {stock.name}, ${price:.2f} an hour)"
        for stock, price, group, memory_gb in found[:ALTERNATIVES]
    ]


def _fits(offer: Offer, wish: Wish) -> bool:
    if offer.max_count is not None and offer.max_count < wish.count:
        return False
    if not offer.cuda or not (wish.cuda_versions or wish.min_cuda):
        return True
    accepts = _accepts(wish)
    return any(is_free and accepts(version) for version, is_free in offer.cuda.items())


def _accepts(wish: Wish) -> Callable[[str], bool]:
    lowest = wish.min_cuda
    if lowest is None:
        return lambda version: version in wish.cuda_versions
    return lambda version: _numbers(version) >= _numbers(lowest)


def _best(offers: Iterable[Offer], centers: Sequence[str] | None) -> Stock:
    if centers is None:
        return max((offer.anywhere for offer in offers), default=Stock.NONE)
    levels = [offer.stock.get(center, Stock.NONE) for offer in offers for center in centers]
    return max(levels, default=Stock.NONE)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
