"""Billing (`/v2/billing`): amounts in USD for each bucket of time, half-open ranges."""

from enum import StrEnum
from typing import Annotated, Generic, Self, TypeVar

from pydantic import AwareDatetime, Field, model_validator

from pulumi_visgate.runpod.models.common import Answer, Int, Open, Query


class BillingBucketSize(StrEnum):
    """Length of a bucket."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


class BillingFilter(Query):
    """Query of every billing operation.

    Args:
        start_time: Start of the period, 30 days ago by default.
        end_time: End of the period, exclusive, now by default.
        bucket_size: Length of a bucket, a day by default.
        last_n: The last buckets instead of a period.
    """

    start_time: AwareDatetime | None = None
    end_time: AwareDatetime | None = None
    bucket_size: BillingBucketSize | None = None
    last_n: Annotated[Int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _one_way_to_say_when(self) -> Self:
        if self.last_n is not None and (self.start_time is not None or self.end_time is not None):
            message = "lastN cannot be combined with startTime or endTime"
            raise ValueError(message)
        return self


class PodBillingFilter(BillingFilter):
    """Query of `listPodBilling`, for one pod when named."""

    pod_id: str | None = None


class ServerlessBillingFilter(BillingFilter):
    """Query of `listServerlessBilling`, for one endpoint when named."""

    serverless_id: str | None = None


class NetworkVolumeBillingFilter(BillingFilter):
    """Query of `listNetworkVolumeBilling`, for one volume when named."""

    network_volume_id: str | None = None


class ClusterBillingFilter(BillingFilter):
    """Query of `listClusterBilling`, for one cluster when named."""

    cluster_id: str | None = None


class Amounts(Answer):
    """The part that all amounts share; this is all there is for Runpod's public endpoints."""

    total_amount: float


class AccountAmounts(Amounts):
    """Everything an account pays for."""

    pod_gpu_amount: float
    pod_cpu_amount: float
    pod_disk_amount: float
    serverless_gpu_amount: float
    serverless_cpu_amount: float
    serverless_disk_amount: float
    serverless_fee_amount: float
    storage_standard_amount: float
    storage_high_performance_amount: float
    endpoint_amount: float
    cluster_gpu_amount: float
    cluster_disk_amount: float
    cluster_networking_amount: float


class PodAmounts(Amounts):
    """Cost of pods."""

    gpu_amount: float
    cpu_amount: float
    disk_amount: float


class ServerlessAmounts(PodAmounts):
    """Cost of serverless endpoints."""

    fee_amount: float


class NetworkVolumeAmounts(Amounts):
    """Cost of network volumes by tier."""

    standard_amount: float
    high_performance_amount: float


class ClusterAmounts(Amounts):
    """Cost of clusters."""

    gpu_amount: float
    disk_amount: float
    networking_amount: float


class TimeRange(Answer):
    """A bucket, or the period that was asked for, as the API rounded it."""

    start_time: AwareDatetime
    end_time: AwareDatetime


class BillingRecord(TimeRange, AccountAmounts):
    """One bucket of the account."""


class PodBillingRecord(TimeRange, PodAmounts):
    """One bucket of one pod."""

    pod_id: str


class ServerlessBillingRecord(TimeRange, ServerlessAmounts):
    """One bucket of one endpoint."""

    serverless_id: str


class EndpointBillingRecord(TimeRange, Amounts):
    """One bucket of Runpod's public endpoints."""


class NetworkVolumeBillingRecord(TimeRange, NetworkVolumeAmounts):
    """One bucket of one volume."""

    network_volume_id: str


class ClusterBillingRecord(TimeRange, ClusterAmounts):
    """One bucket of one cluster."""

    cluster_id: str


class BillingQueryEcho(TimeRange):
    """The query as the API understood it; at most one of the ids is set."""

    bucket_size: Open[BillingBucketSize]
    pod_id: str | None = None
    serverless_id: str | None = None
    network_volume_id: str | None = None
    cluster_id: str | None = None


RecordT = TypeVar("RecordT", bound=TimeRange)
AmountsT = TypeVar("AmountsT", bound=Amounts)


class BillingMetadata(Answer, Generic[AmountsT]):
    """Query, counts and totals; the count of the resource that was asked for is set."""

    query: BillingQueryEcho
    record_count: int
    totals: AmountsT
    unique_pod_count: int | None = None
    unique_serverless_count: int | None = None
    unique_network_volume_count: int | None = None
    unique_cluster_count: int | None = None


class BillingReport(Answer, Generic[RecordT, AmountsT]):
    """Answer of every billing operation."""

    records: list[RecordT]
    metadata: BillingMetadata[AmountsT]


class AccountBilling(BillingReport[BillingRecord, AccountAmounts]):
    """Answer of `listBilling`."""


class PodBilling(BillingReport[PodBillingRecord, PodAmounts]):
    """Answer of `listPodBilling`."""


class ServerlessBilling(BillingReport[ServerlessBillingRecord, ServerlessAmounts]):
    """Answer of `listServerlessBilling`."""


class EndpointBilling(BillingReport[EndpointBillingRecord, Amounts]):
    """Answer of `listEndpointBilling`."""


class NetworkVolumeBilling(BillingReport[NetworkVolumeBillingRecord, NetworkVolumeAmounts]):
    """Answer of `listNetworkVolumeBilling`."""


class ClusterBilling(BillingReport[ClusterBillingRecord, ClusterAmounts]):
    """Answer of `listClusterBilling`."""
