"""What Runpod's catalog offers, in one form for GPUs and CPUs: memory, price, stock; pure functions.

Stock is what the catalog says at the moment: no promise, and no reservation.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from pulumi_visgate.runpod.models.catalog import CpuType, DataCenterAvailability, GpuType


class Stock(IntEnum):
    """How much there is; more is better."""

    NONE = 0
    LOW = 1
    MEDIUM = 2
    HIGH = 3


@dataclass(frozen=True, slots=True)
class Offer:
    """What the catalog has of one GPU type, or of one CPU flavour in one size.

    Args:
        id: GPU type or CPU flavour.
        group: What an endpoint asks for: a GPU pool, or a CPU flavour with its size.
        memory_gb: Memory of one GPU, or of a CPU worker.
        usd_per_hour: Price of one worker; None when the catalog names none.
        anywhere: The best stock there is.
        stock: Stock by data center.
        max_count: Most GPUs of a machine; None for CPUs.
        cuda: CUDA versions, and whether a machine with it is free; empty when the catalog does not say.
    """

    id: str
    group: str
    memory_gb: float
    usd_per_hour: float | None
    anywhere: Stock
    stock: Mapping[str, Stock]
    max_count: int | None = None
    cuda: Mapping[str, bool] = field(default_factory=dict[str, bool])


def gpu_offers(types: Iterable[GpuType], count: int) -> list[Offer]:
    """Return what the catalog has of each GPU type in a serverless pool.

    Args:
        types: The catalog's answer with stock.
        count: GPUs of a worker.
    """
    return [
        Offer(
            id=gpu.id,
            group=gpu.pool,
            memory_gb=gpu.memory,
            usd_per_hour=None if gpu.price.serverless is None else gpu.price.serverless * count,
            anywhere=_anywhere(gpu.availability, gpu.data_centers),
            stock=_stock(gpu.data_centers),
            max_count=max(gpu.max_count.secure, gpu.max_count.community),
            cuda={found.version: found.available for found in gpu.cuda_versions},
        )
        for gpu in types
        if gpu.pool
    ]


def cpu_offers(types: Iterable[CpuType], vcpus: int) -> list[Offer]:
    """Return what the catalog has of each CPU flavour in one size.

    Args:
        types: The catalog's answer with the stock of this size.
        vcpus: Virtual CPUs of a worker.
    """
    return [
        Offer(
            id=cpu.id,
            group=cpu_group(cpu.id, vcpus),
            memory_gb=vcpus * cpu.ram_gb_per_vcpu,
            usd_per_hour=vcpus * cpu.price.serverless_per_vcpu,
            anywhere=_anywhere(cpu.availability, cpu.data_centers),
            stock=_stock(cpu.data_centers),
        )
        for cpu in types
        if cpu.vcpu.min <= vcpus <= cpu.vcpu.max
    ]


def cpu_group(flavour: str, vcpus: int) -> str:
    """Return what a CPU flavour in one size is called."""
    return f"{flavour} with {vcpus} vCPUs"


def _anywhere(told: str | None, centers: Iterable[DataCenterAvailability]) -> Stock:
    return max([_level(told), *_stock(centers).values()])


def _stock(centers: Iterable[DataCenterAvailability]) -> dict[str, Stock]:
    return {center.id: _level(center.availability) for center in centers}


def _level(told: str | None) -> Stock:
    """Return a level; one that this version does not know is no reason to warn."""
    if told is None:
        return Stock.NONE
    return Stock[told] if told in Stock.__members__ else Stock.MEDIUM
