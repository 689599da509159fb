"""What the account and Runpod's catalog have, for programs and scripts.

Every function has a form `…_output` that takes outputs and returns one. The settings are those of the providers: the
`visgate:` keys of the stack, else the environment. Within a few seconds, lists are asked for once.

Answers are objects with attributes. `pulumi.export` takes plain values, so export what is needed of them:
`get_gpu_types_output().apply(lambda found: [gpu.id for gpu in found])`.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from inspect import signature
from typing import Any, TypeVar

import pulumi

from pulumi_visgate.resources._named import Unresolved
from pulumi_visgate.resources._session import Session, session_for
from pulumi_visgate.resources.account import stack_settings
from pulumi_visgate.runpod.models.catalog import (
    AvailabilityLevel,
    CatalogInclude,
    CpuType,
    DataCenter,
    GpuFilter,
    GpuType,
    Product,
)
from pulumi_visgate.runpod.models.endpoint import Endpoint
from pulumi_visgate.runpod.models.template import Template
from pulumi_visgate.runpod.models.volume import NetworkVolume

T = TypeVar("T")

_RANK: dict[str | None, int] = {str(level): rank for rank, level in enumerate(AvailabilityLevel)}


class NothingFoundError(Unresolved):
    """Nothing fits; the message names what comes closest."""


def get_gpu_types(*, pool: str | None = None) -> list[GpuType]:
    """Return the GPU types of the catalog with prices (`listGpuTypes`).

    Args:
        pool: Only those of this serverless pool.

    Raises:
        RunpodError: The call failed.
    """
    return [gpu for gpu in session().gpu_types if pool in {None, gpu.pool}]


def get_data_centers(*, tier: str | None = None) -> list[DataCenter]:
    """Return the data centers (`listDataCenters`).

    Args:
        tier: Only those with network volumes of this tier, such as `STANDARD`.

    Raises:
        RunpodError: The call failed.
    """
    return [found for found in session().data_centers if tier is None or tier in map(str, found.network_volume_types)]


def get_cpu_types(*, vcpus: int | None = None) -> list[CpuType]:
    """Return the CPU flavours of the catalog with prices (`listCpuTypes`).

    Args:
        vcpus: Only those that can be had with so many virtual CPUs, a power of two.

    Raises:
        RunpodError: The call failed.
    """
    found = session().runpod.list_cpu_types()
    return [cpu for cpu in found if vcpus is None or cpu.vcpu.min <= vcpus <= cpu.vcpu.max]


def get_endpoints(*, name: str | None = None) -> list[Endpoint]:
    """Return the account's serverless endpoints (`listEndpoints`); their environments are in them.

    Args:
        name: Only those of exactly this name.

    Raises:
        RunpodError: The call failed.
    """
    return [found for found in session().endpoints.all() if name in {None, found.name}]


def get_templates(*, name: str | None = None) -> list[Template]:
    """Return the account's templates (`listTemplates`); their environments are in them.

    Args:
        name: Only those of exactly this name.

    Raises:
        RunpodError: The call failed.
    """
    return [found for found in session().templates.all() if name in {None, found.name}]


def get_network_volumes(*, name: str | None = None, data_center: str | None = None) -> list[NetworkVolume]:
    """Return the account's network volumes (`listNetworkVolumes`).

    Args:
        name: Only those of exactly this name.
        data_center: Only those of this data center.

    Raises:
        RunpodError: The call failed.
    """
    return [
        found
        for found in session().volumes.all()
        if name in {None, found.name} and data_center in {None, found.data_center}
    ]


def cheapest_gpu(*, fits_gb: float, data_center_ids: Sequence[str] = ()) -> GpuType:
    """Return the serverless GPU type with the lowest price whose whole pool has enough memory, and that is in stock.

    Its `pool` is what `gpu_pools` takes. Stock is what the catalog says at the moment, and no reservation.

    Args:
        fits_gb: Memory that is needed on one GPU, in GB.
        data_center_ids: Where it must be in stock; anywhere when left out.

    Raises:
        NothingFoundError: There is none.
        RunpodError: The call failed.
    """
    offered = [gpu for gpu in _with_stock(session()) if gpu.pool and gpu.price.serverless is not None]
    smallest: dict[str | None, int] = {}
    for gpu in offered:
        smallest[gpu.pool] = min(gpu.memory, smallest.get(gpu.pool, gpu.memory))
    large = [gpu for gpu in offered if smallest[gpu.pool] >= fits_gb]
    if not large:
        most = max(smallest.values(), default=0)
        detail = f"fits_gb: no serverless pool has GPUs with {fits_gb:g} GB; the largest have {most} GB."
        raise NothingFoundError(detail, hint="Use several GPUs for each worker, or a smaller model.")
    there = [gpu for gpu in large if _stock(gpu, data_center_ids) > 0]
    if not there:
        pools = ", ".join(sorted({str(gpu.pool) for gpu in large}))
        detail = f"None of the pools with {fits_gb:g} GB ({pools}) is in stock in {_named(data_center_ids)}."
        elsewhere = _named(
            sorted({center.id for gpu in large for center in gpu.data_centers if _stock(gpu, [center.id])})
        )
        raise NothingFoundError(detail, hint=f"They are in stock in: {elsewhere}.")
    return min(there, key=lambda gpu: (gpu.price.serverless, gpu.memory, gpu.id))


def data_centers(*, for_volume_and_gpu: str, tier: str | None = None) -> list[str]:
    """Return the ids of data centers that have network volumes and a serverless GPU in stock, best stock first.

    Args:
        for_volume_and_gpu: GPU pool or GPU type that workers beside the volume shall have.
        tier: Storage tier that the volume shall have; any when left out.

    Raises:
        NothingFoundError: There is no such pool or type.
        RunpodError: A call failed.
    """
    account = session()
    types = _with_stock(account)
    wanted = [gpu for gpu in types if for_volume_and_gpu in {gpu.id, gpu.pool} and gpu.pool]
    if not wanted:
        pools = ", ".join(sorted({gpu.pool for gpu in types if gpu.pool}))
        detail = f"for_volume_and_gpu: {for_volume_and_gpu} is no serverless GPU pool, nor a GPU type in one."
        raise NothingFoundError(detail, hint=f"Choose of {pools}.")
    stores = [
        center.id
        for center in account.data_centers
        if center.network_volume_types and (tier is None or tier in map(str, center.network_volume_types))
    ]
    stock = {center: max(_stock(gpu, [center]) for gpu in wanted) for center in stores}
    return sorted((center for center in stores if stock[center]), key=lambda center: (-stock[center], center))


def session() -> Session:
    """Return the session that the lookups of this process share."""
    return session_for(stack_settings())


def _with_stock(session: Session) -> list[GpuType]:
    query = GpuFilter(include=[CatalogInclude.AVAILABILITY], product=[Product.SERVERLESS])
    return list(session.runpod.list_gpu_types(query))


def _stock(gpu: GpuType, centers: Sequence[str]) -> int:
    """Return the best stock in some data centers, or anywhere; 0 is none."""
    if not centers:
        return _RANK.get(gpu.availability, 0)
    return max((_RANK.get(found.availability, 0) for found in gpu.data_centers if found.id in centers), default=0)


def _named(names: Iterable[str]) -> str:
    return ", ".join(names) or "any data center"


def as_output(function: Callable[..., T], *, secret: bool = False) -> Callable[..., pulumi.Output[T]]:
    """Make the form of a lookup that takes outputs; it waits for the API beside the program, not in its way.

    Args:
        function: The lookup.
        secret: Whether there are secrets in what it returns.
    """
    form = signature(function)

    @wraps(function)
    def with_outputs(*given: pulumi.Input[object], **named: pulumi.Input[object]) -> pulumi.Output[T]:
        inputs = form.bind(*given, **named).arguments

        async def looked_up(known: dict[str, Any]) -> T:
            return await asyncio.to_thread(function, **known)

        found: pulumi.Output[T] = pulumi.Output.from_input(inputs).apply(looked_up)
        return pulumi.Output.secret(found) if secret else found

    with_outputs.__name__ = with_outputs.__qualname__ = f"{function.__name__}_output"
    return with_outputs


get_gpu_types_output = as_output(get_gpu_types)
get_cpu_types_output = as_output(get_cpu_types)
get_data_centers_output = as_output(get_data_centers)
get_endpoints_output = as_output(get_endpoints, secret=True)
get_templates_output = as_output(get_templates, secret=True)
get_network_volumes_output = as_output(get_network_volumes)
cheapest_gpu_output = as_output(cheapest_gpu)
data_centers_output = as_output(data_centers)
