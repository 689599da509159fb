"""`/v2/catalog`: GPU and CPU types and data centers, with stock when it is asked for."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from starlette.responses import Response

from pulumi_visgate.local.emulator.calls import Call, answer
from pulumi_visgate.local.emulator.catalog import (
    CPUS,
    CUDA_VERSIONS,
    DATA_CENTERS,
    GPUS,
    Cpu,
    DataCenter,
    Gpu,
    Level,
    StockOf,
    best,
)
from pulumi_visgate.local.emulator.errors import bad_request, not_found
from pulumi_visgate.local.emulator.store import Doc
from pulumi_visgate.runpod.models.catalog import (
    CpuFilter,
    DataCenterDetail,
    DataCenterFilter,
    DataCenterInclude,
    GpuFilter,
    Product,
)

ItemT = TypeVar("ItemT")


async def list_gpu_types(call: Call) -> Response:
    """`listGpuTypes`."""
    wanted = _checked_gpu(call)
    gpus = list(GPUS.values())
    if wanted.country_codes is not None:
        gpus = [gpu for gpu in gpus if _some(_gpu_stock(gpu, wanted, call.emulator.stock.of))]
    return answer({"gpus": [_gpu(gpu, wanted, call.emulator.stock.of) for gpu in gpus]})


async def get_gpu_type(call: Call) -> Response:
    """`getGpuType`."""
    wanted = _checked_gpu(call)
    return answer(_gpu(_known(GPUS.get(call.param("id")), "GPU type", call), wanted, call.emulator.stock.of))


async def list_cpu_types(call: Call) -> Response:
    """`listCpuTypes`."""
    wanted = _checked_cpu(call)
    return answer({"cpus": [_cpu(cpu, wanted, call.emulator.stock.of) for cpu in CPUS.values()]})


async def get_cpu_type(call: Call) -> Response:
    """`getCpuType`."""
    wanted = _checked_cpu(call)
    return answer(_cpu(_known(CPUS.get(call.param("id")), "CPU type", call), wanted, call.emulator.stock.of))


async def list_data_centers(call: Call) -> Response:
    """`listDataCenters`."""
    wanted = call.filter(DataCenterFilter)
    tests: list[Callable[[DataCenter], bool]] = []
    if wanted.regions is not None:
        regions = wanted.regions
        tests.append(lambda center: center.region in regions)
    if wanted.network_volume_types is not None:
        tiers = wanted.network_volume_types
        tests.append(lambda center: set(tiers) <= set(center.volume_types))
    if wanted.compliance is not None:
        certificates = wanted.compliance
        tests.append(lambda center: set(certificates) <= set(center.compliance))
    if wanted.global_network is not None:
        tests.append(lambda center: center.global_network is wanted.global_network)
    centers = [center for center in DATA_CENTERS.values() if all(test(center) for test in tests)]
    return answer({"dataCenters": [_center(center, wanted, call.emulator.stock.of) for center in centers]})


async def get_data_center(call: Call) -> Response:
    """`getDataCenter`."""
    wanted = call.filter(DataCenterDetail)
    center = _known(DATA_CENTERS.get(call.param("id")), "data center", call)
    return answer(_center(center, wanted, call.emulator.stock.of))


def _known(item: ItemT | None, noun: str, call: Call) -> ItemT:
    if item is None:
        raise not_found(noun, call.param("id"))
    return item


def _checked_gpu(call: Call) -> GpuFilter:
    wanted = call.filter(GpuFilter)
    narrowing = ("product", "count", "cloud", "country_codes", "cuda_versions", "min_cuda_version")
    _check_include(wanted, narrowing)
    if wanted.cuda_versions is not None and wanted.min_cuda_version is not None:
        detail = "cudaVersions and minCudaVersion exclude each other"
        raise bad_request(detail)
    return wanted


def _checked_cpu(call: Call) -> CpuFilter:
    wanted = call.filter(CpuFilter)
    _check_include(wanted, ("product", "vcpu_count"))
    if wanted.vcpu_count is not None and wanted.vcpu_count & (wanted.vcpu_count - 1):
        detail = "vcpuCount: must be a power of two"
        raise bad_request(detail)
    return wanted


def _check_include(wanted: GpuFilter | CpuFilter, narrowing: tuple[str, ...]) -> None:
    if wanted.include and not wanted.product:
        detail = "product: required with include=AVAILABILITY"
        raise bad_request(detail)
    if not wanted.include:
        for name in narrowing:
            if getattr(wanted, name) is not None:
                detail = f"{type(wanted).model_fields[name].alias}: valid only with include=AVAILABILITY"
                raise bad_request(detail)


def _gpu(gpu: Gpu, wanted: GpuFilter, stock_of: StockOf) -> Doc:
    secure, community, serverless = gpu.price
    doc: Doc = {
        "id": gpu.id,
        "name": gpu.name,
        "pool": gpu.pool,
        "manufacturer": gpu.manufacturer,
        "memory": gpu.memory,
        "secure": True,
        "community": True,
        "price": {"secure": secure, "community": community} | ({"serverless": serverless} if gpu.pool else {}),
        "maxCount": {"secure": gpu.max_count[0], "community": gpu.max_count[1]},
    }
    if wanted.include:
        stock = _gpu_stock(gpu, wanted, stock_of)
        doc |= _availability(stock)
        versions = [version for version in CUDA_VERSIONS if _fits(version, wanted)]
        if gpu.manufacturer == "NVIDIA":
            doc["cudaVersions"] = [{"version": version, "available": _some(stock)} for version in versions]
    return doc


def _gpu_stock(gpu: Gpu, wanted: GpuFilter, stock_of: StockOf) -> dict[str, Level]:
    if wanted.product == [Product.SERVERLESS] and gpu.pool is None:
        return {}
    if (wanted.count or 1) > max(gpu.max_count):
        return {}
    if not any(_fits(version, wanted) for version in CUDA_VERSIONS):
        return {}
    countries = wanted.country_codes
    return {
        center: level
        for center, level in stock_of(gpu).items()
        if countries is None or DATA_CENTERS[center].country in countries
    }


def _some(stock: Mapping[str, Level]) -> bool:
    return best(stock.values()) != Level.NONE


def _fits(version: str, wanted: GpuFilter) -> bool:
    if wanted.cuda_versions is not None:
        return version in wanted.cuda_versions
    return wanted.min_cuda_version is None or _numbers(version) >= _numbers(wanted.min_cuda_version)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _cpu(cpu: Cpu, wanted: CpuFilter, stock_of: StockOf) -> Doc:
    doc: Doc = {
        "id": cpu.id,
        "name": cpu.name,
        "group": cpu.group,
        "vcpu": {"min": 2, "max": cpu.max_vcpu},
        "ramGbPerVcpu": cpu.ram_gb_per_vcpu,
        "price": {"securePerVcpu": cpu.price[0], "serverlessPerVcpu": cpu.price[1]},
    }
    if wanted.include:
        doc |= _availability(stock_of(cpu) if (wanted.vcpu_count or 2) <= cpu.max_vcpu else {})
    return doc


def _availability(stock: Mapping[str, Level]) -> Doc:
    doc: Doc = {"availability": best(stock.values())}
    if _some(stock):
        doc["dataCenters"] = [
            {"id": center, "name": DATA_CENTERS[center].name, "availability": level} for center, level in stock.items()
        ]
    return doc


def _center(center: DataCenter, wanted: DataCenterDetail, stock_of: StockOf) -> Doc:
    doc: Doc = {
        "id": center.id,
        "name": center.name,
        "region": center.region,
        "globalNetwork": center.global_network,
        "networkVolumeTypes": list(center.volume_types),
        "compliance": list(center.compliance),
    }
    shown: dict[DataCenterInclude, tuple[str, Sequence[Gpu | Cpu]]] = {
        DataCenterInclude.GPU_AVAILABILITY: ("gpuAvailability", list(GPUS.values())),
        DataCenterInclude.CPU_AVAILABILITY: ("cpuAvailability", list(CPUS.values())),
    }
    for include in wanted.include or ():
        name, items = shown[include]
        levels = [(item, stock_of(item).get(center.id)) for item in items]
        if stocked := [(item, level) for item, level in levels if level is not None]:
            doc[name] = [{"id": item.id, "name": item.name, "availability": level} for item, level in stocked]
    return doc
