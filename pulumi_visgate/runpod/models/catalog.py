"""Catalog (`/v2/catalog`): GPU and CPU types, data centers, public templates. Prices are USD for an hour."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from pulumi_visgate.runpod.models.common import Answer, Bool, CudaVersion, Int, Open, Query
from pulumi_visgate.runpod.models.volume import VolumeType


class AvailabilityLevel(StrEnum):
    """Stock."""

    NONE = "NONE"
    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"


class CatalogInclude(StrEnum):
    """Optional part of a GPU or CPU answer."""

    AVAILABILITY = "AVAILABILITY"


class DataCenterInclude(StrEnum):
    """Optional part of a data center answer."""

    GPU_AVAILABILITY = "GPU_AVAILABILITY"
    CPU_AVAILABILITY = "CPU_AVAILABILITY"


class Product(StrEnum):
    """What availability is asked for."""

    POD = "POD"
    CLUSTER = "CLUSTER"
    SERVERLESS = "SERVERLESS"


class CpuProduct(StrEnum):
    """What CPU availability is asked for."""

    POD = "POD"
    SERVERLESS = "SERVERLESS"


class Cloud(StrEnum):
    """Whose machines."""

    SECURE = "SECURE"
    COMMUNITY = "COMMUNITY"


class GpuManufacturer(StrEnum):
    """Who made a GPU."""

    NVIDIA = "NVIDIA"
    AMD = "AMD"
    UNKNOWN = "UNKNOWN"


class DataCenterRegion(StrEnum):
    """Continent of a data center."""

    NORTH_AMERICA = "NORTH_AMERICA"
    SOUTH_AMERICA = "SOUTH_AMERICA"
    EUROPE = "EUROPE"
    ASIA = "ASIA"
    MIDDLE_EAST = "MIDDLE_EAST"
    AFRICA = "AFRICA"
    OCEANIA = "OCEANIA"
    ANTARCTICA = "ANTARCTICA"
    UNKNOWN = "UNKNOWN"


class Compliance(StrEnum):
    """Certificates of a data center."""

    GDPR = "GDPR"
    ISO_IEC_27001 = "ISO_IEC_27001"
    ISO_14001 = "ISO_14001"
    PCI_DSS = "PCI_DSS"
    HITRUST = "HITRUST"
    SOC_1_TYPE_2 = "SOC_1_TYPE_2"
    SOC_2_TYPE_2 = "SOC_2_TYPE_2"
    SOC_3_TYPE_2 = "SOC_3_TYPE_2"
    ITAR = "ITAR"
    FISMA_HIGH = "FISMA_HIGH"
    HIPAA = "HIPAA"
    RENEWABLE = "RENEWABLE"


class TemplateSource(StrEnum):
    """Who publishes a public template."""

    OFFICIAL = "official"
    VERIFIED = "verified"
    COMMUNITY = "community"


class GpuFilter(Query):
    """Query of `listGpuTypes` and `getGpuType`; all but `include` narrow the availability.

    Args:
        include: `AVAILABILITY` adds stock; it needs `product`.
        product: What the GPUs are for.
        count: GPUs on one machine.
        cloud: Whose machines.
        country_codes: ISO 3166-1 alpha-2, upper case.
        cuda_versions: Exact versions as `major.minor`.
        min_cuda_version: Lowest version as `major` or `major.minor`; not together with `cuda_versions`.
    """

    include: Annotated[list[CatalogInclude], Field(max_length=1)] | None = None
    product: list[Product] | None = None
    count: Annotated[Int, Field(ge=1)] | None = None
    cloud: Cloud | None = None
    country_codes: list[Annotated[str, Field(pattern=r"^[A-Z]{2}$")]] | None = None
    cuda_versions: list[CudaVersion] | None = None
    min_cuda_version: Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?$")] | None = None


class CpuFilter(Query):
    """Query of `listCpuTypes` and `getCpuType`.

    Args:
        include: `AVAILABILITY` adds stock; it needs `product`.
        product: What the CPUs are for.
        vcpu_count: Virtual CPUs, a power of two from 2.
    """

    include: Annotated[list[CatalogInclude], Field(max_length=1)] | None = None
    product: list[CpuProduct] | None = None
    vcpu_count: Annotated[Int, Field(ge=2)] | None = None


class DataCenterDetail(Query):
    """Query of `getDataCenter`.

    Args:
        include: Stock of GPUs or CPUs.
    """

    include: list[DataCenterInclude] | None = None


class DataCenterFilter(DataCenterDetail):
    """Query of `listDataCenters`.

    Args:
        regions: Any of these continents.
        network_volume_types: All of these tiers.
        compliance: All of these certificates.
        global_network: With or without the private network between data centers.
    """

    regions: list[DataCenterRegion] | None = None
    network_volume_types: list[VolumeType] | None = None
    compliance: list[Compliance] | None = None
    global_network: Bool | None = None


class PublicTemplateFilter(Query):
    """Query of `listPublicTemplates`.

    Args:
        source: Who publishes them.
    """

    source: TemplateSource | None = None


class DataCenterAvailability(Answer):
    """Stock in one data center."""

    id: str
    name: str
    availability: Open[AvailabilityLevel]


class CudaVersionAvailability(Answer):
    """Whether a CUDA version has free machines now."""

    version: str
    available: bool


class GpuPrice(Answer):
    """USD for one GPU and hour; `serverless` is None outside serverless pools."""

    secure: float
    community: float
    serverless: float | None = None


class GpuMaxCount(Answer):
    """Most GPUs on one machine."""

    secure: int
    community: int


class GpuType(Answer):
    """A GPU type; `memory` is in GB, `pool` names its serverless pool."""

    id: str
    name: str
    pool: str | None
    manufacturer: Open[GpuManufacturer]
    memory: int
    secure: bool
    community: bool
    price: GpuPrice
    max_count: GpuMaxCount
    availability: Open[AvailabilityLevel] | None = None
    data_centers: list[DataCenterAvailability] = Field(default_factory=list[DataCenterAvailability])
    cuda_versions: list[CudaVersionAvailability] = Field(default_factory=list[CudaVersionAvailability])


class CpuRange(Answer):
    """Virtual CPUs that can be had."""

    min: int
    max: int


class CpuPrice(Answer):
    """USD for one virtual CPU and hour."""

    secure_per_vcpu: float
    serverless_per_vcpu: float


class CpuType(Answer):
    """A CPU flavour."""

    id: str
    name: str
    group: str
    vcpu: CpuRange
    ram_gb_per_vcpu: float
    price: CpuPrice
    availability: Open[AvailabilityLevel] | None = None
    data_centers: list[DataCenterAvailability] = Field(default_factory=list[DataCenterAvailability])


class CatalogResourceAvailability(Answer):
    """Stock of one GPU or CPU type."""

    id: str
    name: str
    availability: Open[AvailabilityLevel]


class DataCenter(Answer):
    """A data center."""

    id: str
    name: str
    region: Open[DataCenterRegion]
    global_network: bool
    network_volume_types: list[Open[VolumeType]]
    compliance: list[Open[Compliance]]
    gpu_availability: list[CatalogResourceAvailability] = Field(default_factory=list[CatalogResourceAvailability])
    cpu_availability: list[CatalogResourceAvailability] = Field(default_factory=list[CatalogResourceAvailability])
