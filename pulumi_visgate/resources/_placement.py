"""Checks of a plan for workers against the catalog: its names, its stock and its prices; no Pulumi."""

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

from pulumi_visgate.resources._cost import DOLLAR_DIGITS, WorkerPrice, worker_price
from pulumi_visgate.resources._crud import Problem
from pulumi_visgate.resources._market import Finding, Wish, allowed_centers, assess
from pulumi_visgate.resources._session import Session
from pulumi_visgate.resources._settings import Market
from pulumi_visgate.resources._values import UNKNOWN, Properties, has_unknown, known_items
from pulumi_visgate.runpod.errors import NotFound
from pulumi_visgate.runpod.offers import Offer, cpu_group, cpu_offers, gpu_offers

_COMPUTE = ("gpu_pools", "excluded_gpu_types", "gpus_per_worker", "cpus")


class Placement:
    """One plan for workers, of which a preview may not know everything.

    Args:
        kind: What people call the resource.
        session: Shared by the process.
        values: Checked inputs.
    """

    def __init__(self, kind: str, session: Session, values: Properties) -> None:
        self._kind = kind
        self._session = session
        self._values = values

    def problems(self) -> Iterator[Problem]:
        """Compare the plan with the catalog: names that it does not have fail, stock does what the settings say.

        Raises:
            RunpodError: The catalog cannot be read.
        """
        wrong = [*self._gpu_problems(), *self._cpu_problems(), *self._center_problems()]
        yield from wrong
        mode = self._session.settings.market
        if wrong or mode == Market.OFF or self._values.get("max_workers") == 0:
            return
        finding = self._finding()
        if finding is None:
            return
        if mode == Market.FAIL and not finding.placeable:
            yield Problem(finding.property, finding.reason)
        else:
            name = str(self._values.get("owner") or self._kind).rpartition("/")[2]
            self._session.report.warn(f"{name} ({self._kind}): {finding.property}: {finding.reason}")

    def usd(self, worker_hours: object, *, dearest: bool = False, digits: int = DOLLAR_DIGITS) -> Any:
        """Return what so many hours of workers cost, in US dollars.

        Args:
            worker_hours: Hours of one worker; may be unknown.
            dearest: On the dearest machine that the plan allows, instead of the cheapest.
            digits: Decimals.

        Returns:
            A number, UNKNOWN while a part of the plan is, or None when the catalog does not tell the price.

        Raises:
            RunpodError: The catalog cannot be read.
        """
        if worker_hours == 0:
            return 0.0
        if not isinstance(worker_hours, int | float) or has_unknown([self._values.get(name) for name in _COMPUTE]):
            return UNKNOWN
        if self._price is None:
            return None
        return round((self._price.highest if dearest else self._price.lowest) * worker_hours, digits)

    @cached_property
    def _price(self) -> WorkerPrice | None:
        return worker_price(self._offers, self._groups, self._excluded)

    @cached_property
    def _offers(self) -> list[Offer]:
        catalog = self._session.catalog
        if not self._cpus:
            return gpu_offers(catalog.gpus(self._count), self._count)
        sizes = dict.fromkeys(vcpus for _, vcpus in self._cpus)
        return [offer for vcpus in sizes for offer in cpu_offers(catalog.cpus(vcpus), vcpus)]

    @property
    def _cpus(self) -> list[tuple[str, int]]:
        return [(str(cpu["id"]), int(cpu["vcpus"])) for cpu in known_items(self._values, "cpus")]

    @property
    def _pools(self) -> list[str]:
        return known_items(self._values, "gpu_pools")

    @property
    def _groups(self) -> list[str]:
        return [cpu_group(*cpu) for cpu in self._cpus] or self._pools

    @property
    def _excluded(self) -> list[str]:
        return known_items(self._values, "excluded_gpu_types")

    @property
    def _count(self) -> int:
        count = self._values.get("gpus_per_worker")
        return 1 if has_unknown(count) or not count else int(count)

    def _finding(self) -> Finding | None:
        values, with_volume = self._values, self._volume_centers()
        minimum = values.get("min_cuda_version")
        wish = Wish(
            groups=tuple(self._groups),
            excluded=frozenset(self._excluded),
            count=self._count,
            cuda_versions=tuple(known_items(values, "allowed_cuda_versions")),
            min_cuda=None if has_unknown(minimum) else minimum,
            centers=allowed_centers(self._all("data_center_ids"), with_volume),
            named_by="cpus" if self._cpus else "gpu_pools",
            limited_by="data_center_ids" if with_volume is None else "network_volume_ids",
        )
        if has_unknown(values.get("gpu_pools")) or has_unknown(values.get("cpus")) or not wish.groups:
            return None
        finding = assess(wish, self._offers)
        if finding is None or wish.centers is None:
            return finding
        centers = self._session.catalog.data_centers
        stores = None if with_volume is None else [center.id for center in centers if center.network_volume_types]
        regions = {center.id: str(center.region) for center in centers}
        return assess(wish, self._offers, stores=stores, regions=regions)

    def _all(self, name: str) -> list[str] | None:
        """Return a list that is wholly known, else None: what is not known yet may allow anything."""
        value = self._values.get(name)
        return None if has_unknown(value) or not value else list(value)

    def _volume_centers(self) -> list[str] | None:
        volumes = self._all("network_volume_ids")
        places = [self._place(volume) for volume in volumes or ()]
        there = [place for place in places if place is not None]
        return there if volumes and len(there) == len(volumes) else None

    def _place(self, volume: str) -> str | None:
        """Return the data center of a volume, None for one that the account does not have."""
        session = self._session
        if volume not in session.volume_places:
            found = session.volumes.get(volume)
            try:
                session.volume_places[volume] = (found or session.runpod.get_network_volume(volume)).data_center
            except NotFound:
                return None
        return session.volume_places[volume]

    def _gpu_problems(self) -> Iterator[Problem]:
        pools = self._pools
        if not pools:
            return
        types = [gpu for gpu in self._session.catalog.gpus(self._count) if gpu.pool]
        offered = {gpu.pool for gpu in types if gpu.pool}
        unknown = [pool for pool in pools if pool not in offered]
        for pool in unknown:
            as_type = next((gpu for gpu in types if pool in (gpu.id, gpu.name)), None)
            better = (
                f"{as_type.id} is a GPU type in pool {as_type.pool}" if as_type else f"choose of {_listed(offered)}"
            )
            yield Problem("gpu_pools", f"{pool} is no serverless GPU pool; {better}.")
        if unknown or has_unknown(self._values.get("gpu_pools")):
            return
        inside, excluded = {gpu.id for gpu in types if gpu.pool in pools}, self._excluded
        for gpu in excluded:
            if gpu not in inside:
                yield Problem("excluded_gpu_types", f"{gpu} is in none of the pools; they have {_listed(inside)}.")
        if inside <= set(excluded):
            yield Problem("excluded_gpu_types", "leaves no GPU type in the pools.")

    def _cpu_problems(self) -> Iterator[Problem]:
        for flavour, vcpus in self._cpus:
            types = {cpu.id: cpu for cpu in self._session.catalog.cpus(vcpus)}
            if flavour not in types:
                yield Problem("cpus", f"{flavour} is no CPU flavour; choose of {_listed(types)}.")
            elif vcpus > (most := types[flavour].vcpu.max):
                yield Problem("cpus", f"{flavour}: vcpus must not be above {most}.")

    def _center_problems(self) -> Iterator[Problem]:
        wanted = known_items(self._values, "data_center_ids")
        if not wanted:
            return
        there = {center.id for center in self._session.catalog.data_centers}
        for center in wanted:
            if center not in there:
                yield Problem("data_center_ids", f"{center} is no Runpod data center; choose of {_listed(there)}.")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
