"""Serverless endpoints, their workers and their releases (`/v2/serverless`)."""

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias

from pydantic import AwareDatetime, Field, model_validator

from pulumi_visgate.runpod.models.common import (
    Answer,
    ContainerAnswer,
    ContainerRequest,
    CudaChoice,
    CudaVersion,
    Int,
    Name,
    Number,
    Open,
    Request,
    UniqueList,
)


class EndpointType(StrEnum):
    """How requests reach the workers."""

    QUEUE = "QUEUE"
    LOAD_BALANCER = "LOAD_BALANCER"


class FlashBoot(StrEnum):
    """Cold-start acceleration."""

    OFF = "OFF"
    FLASHBOOT = "FLASHBOOT"
    PRIORITY_FLASHBOOT = "PRIORITY_FLASHBOOT"


class WorkerStatus(StrEnum):
    """State of one worker."""

    RUNNING = "RUNNING"
    IDLE = "IDLE"
    INITIALIZING = "INITIALIZING"
    THROTTLED = "THROTTLED"
    UNHEALTHY = "UNHEALTHY"


class ReleaseSource(StrEnum):
    """What made a release."""

    GIT_BUILD = "GIT_BUILD"
    MANUAL = "MANUAL"


class EndpointWorkers(Request):
    """Worker limits.

    Args:
        min: Workers that always run.
        max: Most workers at once.
        idle_timeout: Seconds until an idle worker stops, 1 to 3600.
    """

    min: Annotated[Int, Field(ge=0)] | None = None
    max: Annotated[Int, Field(ge=0)] | None = None
    idle_timeout: Annotated[Int, Field(ge=1, le=3600)] | None = None


class _Tagged(Request):
    """A member of a union: its tag is always sent, also when the default made it."""

    def model_post_init(self, _context: Any, /) -> None:
        self.model_fields_set.add("type")


class QueueDelayScaling(_Tagged):
    """Scale on waiting time.

    Args:
        queue_delay: Seconds a request may wait before another worker starts, at least 0.5.
    """

    type: Literal["QUEUE_DELAY"] = "QUEUE_DELAY"
    queue_delay: Annotated[Number, Field(ge=0.5)]


class RequestCountScaling(_Tagged):
    """Scale on requests in flight.

    Args:
        request_count: Requests for each worker, at least 1.
    """

    type: Literal["REQUEST_COUNT"] = "REQUEST_COUNT"
    request_count: Annotated[Int, Field(ge=1)]


EndpointScaling: TypeAlias = Annotated[QueueDelayScaling | RequestCountScaling, Field(discriminator="type")]


class CpuChoice(Request):
    """One eligible CPU configuration.

    Args:
        id: CPU flavour of the catalog.
        vcpu_count: Virtual CPUs, a power of two from 2.
    """

    id: Name
    vcpu_count: Annotated[Int, Field(ge=2)]


class _GpuChoice(CudaChoice):
    """What GPU requests of create and update share."""

    excluded_types: UniqueList[Annotated[str, Field(pattern=r"^\s*[^-\s]")]] | None = None
    count: Annotated[Int, Field(ge=1)] | None = None


class CreateEndpointGpu(_GpuChoice):
    """GPUs of a new endpoint.

    Args:
        pools: Serverless pool ids of the catalog, at least one.
        excluded_types: GPU type ids taken out of the pools.
        count: GPUs for each worker.
        min_cuda_version: Lowest CUDA version as `major.minor`.
    """

    pools: Annotated[list[str], Field(min_length=1)]
    min_cuda_version: CudaVersion | None = None


class UpdateEndpointGpu(_GpuChoice):
    """GPU change; naming `pools` replaces pools and exclusions together, so exclusions must be named again.

    Args:
        pools: Serverless pool ids of the catalog, at least one.
        excluded_types: GPU type ids taken out of the pools; needs `pools`.
        count: GPUs for each worker.
        min_cuda_version: Lowest CUDA version as `major.minor`; the empty text clears it.
    """

    pools: Annotated[list[str], Field(min_length=1)] | None = None
    min_cuda_version: Annotated[str, Field(pattern=r"^$|^[0-9]+\.[0-9]+$")] | None = None

    @model_validator(mode="after")
    def _exclusions_need_pools(self) -> Self:
        if self.excluded_types is not None and self.pools is None:
            message = "excludedTypes needs pools: only a new list of pools replaces the exclusions"
            raise ValueError(message)
        return self


class _EndpointFields(ContainerRequest):
    """What create and update of an endpoint share."""

    image: str | None = None
    cpu: Annotated[UniqueList[CpuChoice], Field(min_length=1)] | None = None
    data_center_ids: list[str] | None = None
    flashboot: FlashBoot | None = None
    network_volumes: list[str] | None = None
    timeout: Int | None = None
    workers: EndpointWorkers | None = None


class CreateEndpoint(_EndpointFields):
    """Body of `createEndpoint`; the API wants exactly one of `gpu` and `cpu`.

    Args:
        name: Not unique in an account.
        type: Request routing.
        scaling: Autoscaling signal; load balancers scale on requests only.
        gpu: GPU pools and constraints.
        image: Docker image reference; needed without a template.
        cpu: CPU configurations.
        data_center_ids: Where workers may run; empty means anywhere.
        flashboot: Cold-start acceleration.
        network_volumes: Ids of volumes, at most one for each data center.
        template_id: Serverless template whose container settings are copied once.
        timeout: Longest execution of one request in milliseconds.
        workers: Worker limits.
    """

    name: Name
    type: EndpointType
    scaling: EndpointScaling
    gpu: CreateEndpointGpu | None = None
    template_id: Name | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.image is None and self.template_id is None:
            message = "image is required unless templateId is set"
            raise ValueError(message)
        if self.type is EndpointType.LOAD_BALANCER and not isinstance(self.scaling, RequestCountScaling):
            message = "scaling of a LOAD_BALANCER endpoint must be REQUEST_COUNT"
            raise ValueError(message)
        return self


class UpdateEndpoint(_EndpointFields):
    """Body of `updateEndpoint`: only what is set changes. Arguments as in `CreateEndpoint`."""

    name: Name | None = None
    scaling: EndpointScaling | None = None
    gpu: UpdateEndpointGpu | None = None
    template_id: str | None = None


class ReportedWorkers(EndpointWorkers):
    """Worker limits as reported; `idle_timeout` is in seconds."""

    model_config: ClassVar = {"extra": "ignore"}


class ReportedQueueDelay(QueueDelayScaling):
    """Scaling on waiting time (seconds), as reported."""

    model_config: ClassVar = {"extra": "ignore"}


class ReportedRequestCount(RequestCountScaling):
    """Scaling on requests in flight, as reported."""

    model_config: ClassVar = {"extra": "ignore"}


class EndpointCpu(Answer):
    """CPU configuration as reported; `memory` is in GB."""

    id: str
    vcpu_count: int
    memory: int


class EndpointGpu(Answer):
    """GPU selection as reported."""

    pools: list[str]
    excluded_types: list[str] = Field(default_factory=list[str])
    count: int = 1
    allowed_cuda_versions: list[str]
    min_cuda_version: str | None


class EndpointRequestUrls(Answer):
    """Where an endpoint is called: a queue has all but `base`, a load balancer has `base` and `health`."""

    run: str | None = None
    run_sync: str | None = None
    status: str | None = None
    stream: str | None = None
    cancel: str | None = None
    retry: str | None = None
    purge_queue: str | None = None
    base: str | None = None
    health: str | None = None


class Endpoint(ContainerAnswer):
    """A serverless endpoint; `timeout` is in milliseconds."""

    id: str
    name: str
    type: Open[EndpointType] = EndpointType.QUEUE
    request_urls: EndpointRequestUrls | None = None
    gpu: EndpointGpu | None = None
    cpu: list[EndpointCpu] | None = None
    workers: ReportedWorkers
    scaling: Annotated[ReportedQueueDelay | ReportedRequestCount, Field(discriminator="type")]
    data_center_ids: list[str]
    network_volumes: list[str]
    timeout: int
    flashboot: Open[FlashBoot]
    created_at: AwareDatetime


class Worker(Answer):
    """One worker of an endpoint; fields that placement decides are None before it."""

    id: str
    status: Open[WorkerStatus]
    is_stale: bool
    gpu_count: int
    version: int | None = None
    image: str | None = None
    uptime_seconds: int | None = None
    gpu_type_id: str | None = None
    data_center_id: str | None = None
    started_at: AwareDatetime | None = None


class WorkerSummary(Answer):
    """Workers by state."""

    running: int
    idle: int
    initializing: int
    throttled: int
    unhealthy: int
    total: int


class EndpointWorkerList(Answer):
    """Answer of `listEndpointWorkers`."""

    workers: list[Worker]
    summary: WorkerSummary
    endpoint_version: int | None = None


class ReleaseDiffEntry(Answer):
    """One changed field; the values stay out of `repr`, because a release can change the environment."""

    field: str
    old: Any = Field(repr=False)
    new: Any = Field(repr=False)


class Release(Answer):
    """One configuration version of an endpoint."""

    id: str
    source: Open[ReleaseSource]
    created_at: AwareDatetime
    worker_count: int
    diff: list[ReleaseDiffEntry]
    version: int | None = None
    build_id: str | None = None
    created_by_user_id: str | None = None


class RolloutSummary(Answer):
    """How far the newest release has come."""

    in_progress: bool
    workers_on_latest: int
    workers_total: int
    percent_on_latest: int


class EndpointReleaseList(Answer):
    """Answer of `listEndpointReleases`, newest release first."""

    rollout: RolloutSummary
    releases: list[Release]
    endpoint_version: int | None = None
