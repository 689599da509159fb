"""What the emulated Runpod rents out: GPUs, CPUs, data centers, prices and stock; and where a worker would be placed.

A small catalog of its own in Runpod's terms. Prices are of the right size, not offers.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

HOURS_OF_MONTH = 730
SECONDS_OF_HOUR = 3600
STORAGE_PER_GB_MONTH = {"STANDARD": 0.07, "HIGH_PERFORMANCE": 0.14}
CUDA_VERSIONS = ("12.4", "12.6", "12.8", "13.0")


class Level(StrEnum):
    """Stock."""

    NONE = "NONE"
    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"


_ORDER = list(Level)


def best(levels: Iterable[Level]) -> Level:
    """Return the highest of some stock levels."""
    return max(levels, key=_ORDER.index, default=Level.NONE)


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU type.

    Args:
        id: Type id.
        name: Short name.
        pool: Serverless pool, or None.
        memory: GB.
        price: US dollars for an hour on secure, community and serverless machines.
        max_count: Most GPUs of a machine, secure and community.
        stock: Data centers that have it.
        manufacturer: NVIDIA or AMD.
    """

    id: str
    name: str
    pool: str | None
    memory: int
    price: tuple[float, float, float]
    max_count: tuple[int, int]
    stock: dict[str, Level]
    manufacturer: str = "NVIDIA"


@dataclass(frozen=True, slots=True)
class Cpu:
    """A CPU flavour.

    Args:
        id: Flavour id.
        name: Readable name.
        group: Generation.
        max_vcpu: Largest size; the smallest is 2.
        ram_gb_per_vcpu: Memory that comes with a virtual CPU.
        price: US dollars for a virtual CPU and hour, secure and serverless.
        stock: Data centers that have it.
    """

    id: str
    name: str
    group: str
    max_vcpu: int
    ram_gb_per_vcpu: float
    price: tuple[float, float]
    stock: dict[str, Level]


@dataclass(frozen=True, slots=True)
class DataCenter:
    """A data center.

    Args:
        id: Data center id; the part before the first dash is not always a country code.
        name: Readable name.
        region: Continent.
        country: ISO 3166-1 alpha-2.
        volume_types: Tiers of network volumes, the default one first.
        compliance: Certifications.
        global_network: Whether pods reach those of other data centers.
    """

    id: str
    name: str
    region: str
    country: str
    volume_types: tuple[str, ...]
    compliance: tuple[str, ...] = ("SOC_2_TYPE_2", "ISO_IEC_27001")
    global_network: bool = True


_BOTH = ("STANDARD", "HIGH_PERFORMANCE")
_ONE = ("STANDARD",)
_GDPR = ("GDPR", "SOC_2_TYPE_2", "ISO_IEC_27001")

DATA_CENTERS = {
    center.id: center
    for center in (
        DataCenter("EU-RO-1", "EU Romania 1", "EUROPE", "RO", _BOTH, _GDPR),
        DataCenter("EU-CZ-1", "EU Czechia 1", "EUROPE", "CZ", _BOTH, _GDPR),
        DataCenter("EU-SE-1", "EU Sweden 1", "EUROPE", "SE", _ONE, (*_GDPR, "RENEWABLE")),
        DataCenter("EUR-IS-1", "Europe Iceland 1", "EUROPE", "IS", _ONE, (*_GDPR, "RENEWABLE")),
        DataCenter("US-KS-2", "US Kansas 2", "NORTH_AMERICA", "US", _BOTH),
        DataCenter("US-CA-2", "US California 2", "NORTH_AMERICA", "US", _BOTH, ("SOC_2_TYPE_2", "HIPAA")),
        DataCenter("US-TX-3", "US Texas 3", "NORTH_AMERICA", "US", _ONE),
        DataCenter("CA-MTL-3", "Canada Montreal 3", "NORTH_AMERICA", "CA", _ONE),
        DataCenter("AP-JP-1", "Asia Pacific Japan 1", "ASIA", "JP", _ONE),
        DataCenter("OC-AU-1", "Oceania Australia 1", "OCEANIA", "AU", (), global_network=False),
    )
}
_EUROPE = ("EU-RO-1", "EU-CZ-1", "EU-SE-1", "EUR-IS-1")
_AMERICA = ("US-KS-2", "US-CA-2", "US-TX-3", "CA-MTL-3")
_PACIFIC = ("AP-JP-1", "OC-AU-1")


def _stock(*, high: Sequence[str] = (), medium: Sequence[str] = (), low: Sequence[str] = ()) -> dict[str, Level]:
    levels = dict.fromkeys(high, Level.HIGH) | dict.fromkeys(medium, Level.MEDIUM) | dict.fromkeys(low, Level.LOW)
    return {center: levels[center] for center in DATA_CENTERS if center in levels}


_HIGH = _stock(high=_EUROPE + _AMERICA)
_WIDE = _stock(high=_EUROPE + _AMERICA, low=_PACIFIC)
_WEST = _stock(high=_AMERICA, medium=_EUROPE)
_SOME = _stock(medium=_EUROPE + _AMERICA)
_FEW = _stock(medium=_AMERICA, low=_EUROPE)
_RARE = _stock(low=("US-KS-2", "US-CA-2", "EU-RO-1"))

GPUS = {
    gpu.id: gpu
    for gpu in (
        Gpu("NVIDIA RTX A4000", "RTX A4000", "AMPERE_16", 16, (0.25, 0.17, 0.58), (8, 6), _HIGH),
        Gpu("NVIDIA RTX 2000 Ada Generation", "RTX 2000 Ada", "AMPERE_16", 16, (0.24, 0.18, 0.58), (8, 4), _SOME),
        Gpu("NVIDIA RTX A5000", "RTX A5000", "AMPERE_24", 24, (0.27, 0.16, 0.69), (8, 8), _WIDE),
        Gpu("NVIDIA GeForce RTX 3090", "RTX 3090", "AMPERE_24", 24, (0.46, 0.22, 0.69), (8, 8), _FEW),
        Gpu("NVIDIA L4", "L4", "AMPERE_24", 24, (0.39, 0.32, 0.69), (8, 4), _SOME),
        Gpu("NVIDIA GeForce RTX 4090", "RTX 4090", "ADA_24", 24, (0.69, 0.34, 1.1), (8, 8), _WIDE),
        Gpu("NVIDIA GeForce RTX 5090", "RTX 5090", "ADA_32_PRO", 32, (0.94, 0.69, 1.58), (8, 8), _SOME),
        Gpu("NVIDIA A40", "A40", "AMPERE_48", 48, (0.4, 0.35, 1.22), (10, 8), _HIGH),
        Gpu("NVIDIA RTX A6000", "RTX A6000", "AMPERE_48", 48, (0.49, 0.33, 1.22), (8, 8), _SOME),
        Gpu("NVIDIA L40S", "L40S", "ADA_48_PRO", 48, (0.86, 0.79, 1.9), (8, 8), _WIDE),
        Gpu("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada", "ADA_48_PRO", 48, (0.77, 0.74, 1.9), (8, 8), _SOME),
        Gpu("NVIDIA A100 80GB PCIe", "A100 PCIe", "AMPERE_80", 80, (1.64, 1.19, 2.72), (8, 8), _SOME),
        Gpu("NVIDIA A100-SXM4-80GB", "A100 SXM", "AMPERE_80", 80, (1.74, 1.39, 2.72), (8, 8), _WEST),
        Gpu("NVIDIA H100 80GB HBM3", "H100 SXM", "ADA_80_PRO", 80, (2.99, 2.69, 4.18), (8, 8), _WEST),
        Gpu("NVIDIA H200", "H200 SXM", "HOPPER_141", 141, (3.99, 3.59, 5.58), (8, 8), _FEW),
        Gpu("NVIDIA RTX PRO 6000 Blackwell", "RTX PRO 6000", "BLACKWELL_96", 96, (1.84, 1.69, 3.6), (8, 8), _SOME),
        Gpu("NVIDIA B200", "B200", "BLACKWELL_180", 180, (5.98, 5.49, 8.64), (8, 8), _RARE),
        Gpu("AMD Instinct MI300X OAM", "MI300X", None, 192, (2.49, 1.99, 0.0), (8, 8), _RARE, "AMD"),
    )
}

CPUS = {
    cpu.id: cpu
    for cpu in (
        Cpu("cpu3c", "Compute-Optimized", "Gen 3", 32, 2, (0.03, 0.04), _stock(high=_EUROPE + _AMERICA)),
        Cpu("cpu3g", "General Purpose", "Gen 3", 32, 4, (0.04, 0.05), _stock(high=_EUROPE + _AMERICA)),
        Cpu(
            "cpu5c", "Compute-Optimized", "Gen 5", 32, 2, (0.035, 0.045), _stock(high=_EUROPE + _AMERICA, low=_PACIFIC)
        ),
        Cpu("cpu5g", "General Purpose", "Gen 5", 32, 4, (0.045, 0.055), _stock(medium=_EUROPE + _AMERICA)),
    )
}

POOLS = {
    pool: tuple(gpu.id for gpu in GPUS.values() if gpu.pool == pool)
    for pool in dict.fromkeys(gpu.pool for gpu in GPUS.values() if gpu.pool)
}


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a worker runs.

    Args:
        data_center: Data center id.
        gpu: GPU type id; None for CPU workers.
        per_hour: US dollars.
    """

    data_center: str
    gpu: str | None
    per_hour: float


StockOf = Callable[[Gpu | Cpu], Mapping[str, Level]]


def own_stock(item: Gpu | Cpu) -> Mapping[str, Level]:
    """Return what the catalog itself says that there is."""
    return item.stock


def place_gpu(
    pools: Sequence[str],
    excluded: Sequence[str],
    count: int,
    centers: Sequence[str],
    *,
    stock: StockOf = own_stock,
) -> Placement | None:
    """Return the best stocked place for a GPU worker, earlier pools first among equals, or None."""
    offers = [
        (level, gpu, center)
        for pool in pools
        for gpu in GPUS.values()
        if gpu.pool == pool and gpu.id not in excluded and count <= max(gpu.max_count)
        for center in centers or DATA_CENTERS
        if (level := stock(gpu).get(center, Level.NONE)) != Level.NONE
    ]
    if not offers:
        return None
    _, gpu, center = max(offers, key=lambda offer: _ORDER.index(offer[0]))
    return Placement(center, gpu.id, gpu.price[2] * count)


def place_cpu(
    choices: Sequence[tuple[str, int]], centers: Sequence[str], *, stock: StockOf = own_stock
) -> Placement | None:
    """Return the first place for a CPU worker of one of these flavours and sizes, or None."""
    for flavour, vcpu in choices:
        for center in centers or DATA_CENTERS:
            if stock(CPUS[flavour]).get(center, Level.NONE) != Level.NONE:
                return Placement(center, None, CPUS[flavour].price[1] * vcpu)
    return None
