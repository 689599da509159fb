"""Endpoint: a serverless endpoint that scales workers by its queue (`/v2/serverless`)."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, TypedDict, Unpack

import pulumi

from pulumi_visgate.resources._endpoint_crud import EndpointCrud
from pulumi_visgate.resources._provider import Provider, ResourceArgs, VisgateResource
from pulumi_visgate.resources._rollout_hooks import rollout_options


class EndpointProvider(Provider):
    """Dynamic provider of `Endpoint`."""

    crud: ClassVar = EndpointCrud


class CpuFlavorArgs(TypedDict):
    """One CPU configuration."""

    id: pulumi.Input[str]
    """CPU flavour of the catalog, such as `cpu5c`."""
    vcpus: pulumi.Input[int]
    """Virtual CPUs, a power of two from 2."""


class RolloutArgs(TypedDict, total=False):
    """How `pulumi up` waits for a new release; `{}` waits with all defaults."""

    timeout_s: pulumi.Input[int]
    """Longest wait in seconds, 600 by default."""
    on_failure: pulumi.Input[str]
    """`fail`, the default: the new release stays and `up` fails; `warn`; `rollback`: the former release comes back."""
    grace_s: pulumi.Input[int]
    """Seconds for which workers may be unhealthy, with none ready, before that is a failure; 30 by default."""


class EndpointArgs(ResourceArgs, total=False):
    """Arguments of `Endpoint`; give `gpu_pools` or `cpus`, and `image` or `template_id`."""

    image: pulumi.Input[str]
    """Docker image reference of the worker."""
    template_id: pulumi.Input[str]
    """Serverless template whose container settings are copied once; settings given here win."""
    env: pulumi.Input[Mapping[str, pulumi.Input[str]]]
    """Environment of the workers. Always secret."""
    args: pulumi.Input[str]
    """Arguments of the container's entrypoint."""
    container_disk_gb: pulumi.Input[int]
    """Container disk in GB, wiped at restart; Runpod's default when left out."""
    ports: pulumi.Input[Sequence[pulumi.Input[str]]]
    """Exposed ports as `port/protocol`."""
    registry_id: pulumi.Input[str]
    """Registry credential for a private image."""
    gpu_pools: pulumi.Input[Sequence[pulumi.Input[str]]]
    """Serverless GPU pools of the catalog; workers run wherever one has capacity."""
    excluded_gpu_types: pulumi.Input[Sequence[pulumi.Input[str]]]
    """GPU types taken out of the pools."""
    gpus_per_worker: pulumi.Input[int]
    """GPUs of each worker, 1 by default."""
    allowed_cuda_versions: pulumi.Input[Sequence[pulumi.Input[str]]]
    """Exact CUDA versions as `major.minor`; any when left out."""
    min_cuda_version: pulumi.Input[str]
    """Lowest CUDA version as `major.minor`."""
    cpus: pulumi.Input[Sequence[pulumi.Input[CpuFlavorArgs]]]
    """CPU configurations instead of GPUs. Between the two an endpoint cannot change: it is replaced."""
    min_workers: pulumi.Input[int]
    """Workers that always run, and are paid for; 0 by default."""
    max_workers: pulumi.Input[int]
    """Most workers at once, 3 by default."""
    idle_timeout_s: pulumi.Input[int]
    """Seconds until an idle worker stops, 1 to 3600, 10 by default."""
    queue_delay_s: pulumi.Input[float]
    """Start another worker when a request waits this many seconds; 4 by default."""
    request_count: pulumi.Input[int]
    """Scale on this many requests in flight for each worker, instead of waiting time."""
    routing: pulumi.Input[str]
    """`QUEUE`, the default, or `LOAD_BALANCER`, which needs `request_count` and sends requests straight to the workers:
    to `PORT` of `env`, 80 by default, with `PORT_HEALTH` and `HEALTH_CHECK_PATH` for its probes. A change replaces the
    endpoint."""
    execution_timeout_s: pulumi.Input[int]
    """Longest execution of one request in seconds, 300 by default."""
    flashboot: pulumi.Input[str]
    """`OFF`, the default, `FLASHBOOT` or `PRIORITY_FLASHBOOT`."""
    data_center_ids: pulumi.Input[Sequence[pulumi.Input[str]]]
    """Data centers where workers may run; anywhere when left out."""
    network_volume_ids: pulumi.Input[Sequence[pulumi.Input[str]]]
    """Network volumes, at most one for each data center; they also limit where workers run."""
    rollout: pulumi.Input[RolloutArgs]
    """Wait until a changed image, environment or place has reached the workers; nobody waits when left out."""
    drain_timeout_s: pulumi.Input[int]
    """Seconds that jobs get to finish before a deletion, 0 by default: it cancels them at once."""
    name: pulumi.Input[str]
    """Name at Runpod; derived from project, stack and resource when left out."""
    adopt: pulumi.Input[bool]
    """Take over the one existing endpoint of this `name`."""


class Endpoint(VisgateResource, module="visgate", name="Endpoint"):
    """A serverless endpoint.

    A forced replacement deletes the old endpoint first, because the new one has the same name.
    """

    name: pulumi.Output[str]
    image: pulumi.Output[str]
    min_workers: pulumi.Output[int]
    max_workers: pulumi.Output[int]
    run_url: pulumi.Output[str]
    """Where requests go: jobs of a queue, or the base of a load balancer's own paths."""
    health_url: pulumi.Output[str]
    """Tells how the endpoint is."""
    hourly_floor_usd: pulumi.Output[float | None]
    """US dollars for an hour of `min_workers`; None for endpoints that older versions made."""
    hourly_ceiling_usd: pulumi.Output[float | None]
    """US dollars for an hour of `max_workers`, on the dearest of the GPU types."""
    request_urls: pulumi.Output[dict[str, str]]
    """All URLs by what they do: `run`, `run_sync`, `status`, `stream`, `cancel`, `retry` and `purge_queue` of a queue,
    `base` of a load balancer, `health` of both."""

    def __init__(
        self, resource_name: str, opts: pulumi.ResourceOptions | None = None, **args: Unpack[EndpointArgs]
    ) -> None:
        own = pulumi.ResourceOptions(delete_before_replace=True)
        own = pulumi.ResourceOptions.merge(own, rollout_options(EndpointCrud, resource_name, args))
        super().__init__(EndpointProvider(), resource_name, args, pulumi.ResourceOptions.merge(own, opts))
