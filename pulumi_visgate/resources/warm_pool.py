"""WarmPool: an endpoint for one model and task, with a policy for how many workers wait."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, NotRequired, Required, TypedDict, Unpack

import pulumi
from pydantic import Field, TypeAdapter

from pulumi_visgate.resources._cost import CENT_DIGITS, HOURS_OF_MONTH, weekly_average
from pulumi_visgate.resources._crud import Inputs, Problem
from pulumi_visgate.resources._endpoint_crud import EndpointCrud, EndpointInputs
from pulumi_visgate.resources._placement import Placement
from pulumi_visgate.resources._provider import Provider, ResourceArgs, VisgateResource
from pulumi_visgate.resources._rollout_hooks import rollout_options
from pulumi_visgate.resources._session import Session
from pulumi_visgate.resources._values import UNKNOWN, Properties, has_unknown
from pulumi_visgate.resources.endpoint import CpuFlavorArgs, RolloutArgs
from pulumi_visgate.resources.reconcile import reconcile
from pulumi_visgate.runpod.models.endpoint import Endpoint
from visgate_contract.jobs import MODEL_ID_ENV, MODEL_REVISION_ENV
from visgate_contract.names import EndpointName
from visgate_contract.pools import PoolPolicy, Window, effective_minimum, next_transition
from visgate_contract.tasks import Task

DRAINING = "draining-"
DEFAULT_IDLE_TIMEOUT_S = 60
DEFAULT_EXECUTION_TIMEOUT_S = 900
WINDOWS: TypeAdapter[list[Window]] = TypeAdapter(list[Window])
_OWN = ("model_id", "model_revision", "task", "policy", "windows")


class WarmPoolInputs(EndpointInputs):
    """Inputs of a pool; `WarmPoolArgs` describes them."""

    model_id: str = Field(min_length=1)
    model_revision: str | None = None
    task: Task = Task.TEXT2IMG
    policy: PoolPolicy = PoolPolicy.ON_DEMAND
    min_workers: int | None = Field(default=None, ge=0)  # type: ignore[assignment]  # follows from the policy
    windows: list[Window] = Field(default_factory=list)
    execution_timeout_s: int = Field(default=DEFAULT_EXECUTION_TIMEOUT_S, ge=1)
    monthly_floor_usd: float | None = None


class WarmPoolCrud(EndpointCrud):
    """An endpoint whose name and environment tell the gateway what it serves."""

    kind = "WarmPool"
    model: ClassVar[type[Inputs]] = WarmPoolInputs
    costs = (*EndpointCrud.costs, "monthly_floor_usd")
    outputs: ClassVar[tuple[str, ...]] = (*EndpointCrud.outputs, "effective_min_workers", "next_transition")

    def __init__(self, session: Session, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        super().__init__(session)
        self._now = now

    def complete(self, values: dict[str, Any]) -> None:
        """Fill in what follows from the policy."""
        if values.get("min_workers") is None:
            values["min_workers"] = 1 if values.get("policy") == PoolPolicy.ALWAYS_ON else 0
        if not values.get("idle_timeout_s") and not values.get("request_count"):
            values["idle_timeout_s"] = DEFAULT_IDLE_TIMEOUT_S
        super().complete(values)

    def prices(self, values: Properties) -> dict[str, Any]:
        """Return what the workers cost, also in a month with its windows."""
        costs = super().prices(values)
        policy, windows, least = (values.get(name) for name in ("policy", "windows", "min_workers"))
        hours: Any = UNKNOWN
        if has_unknown(policy):
            costs["hourly_floor_usd"] = UNKNOWN  # so is the minimum that follows from it
        elif not has_unknown([windows, least]):
            average = weekly_average(PoolPolicy(str(policy)), _windows(values), min_workers=int(least or 0))
            hours = average * HOURS_OF_MONTH
        monthly = Placement(self.kind, self.session, values).usd(hours, digits=CENT_DIGITS)
        return {**costs, "monthly_floor_usd": monthly}

    def own_name(self, values: Properties) -> Any:
        """Return the name that the gateway looks for; its last part marks the owner."""
        parts = [values.get(name) for name in ("model_id", "task", "policy", "owner")]
        if has_unknown(parts) or not all(parts):
            return UNKNOWN
        model_id, task, policy, owner = parts
        spec = {"owner": owner, "routing": values.get("routing"), "cpu": bool(values.get("cpus"))}
        name = EndpointName.build(
            user_hash=self.session.user_hash,
            model_id=str(model_id),
            task=Task(str(task)),
            policy=PoolPolicy(str(policy)),
            spec=spec,
        )
        return str(name)

    def rules(self, values: Properties, /) -> Iterator[Problem]:
        """The policy decides the minimum; the environment names the model once."""
        yield from super().rules(values)
        policy, least = values.get("policy"), values.get("min_workers")
        if policy == PoolPolicy.SCHEDULED_WARM:
            yield from _window_problems(values)
        elif values.get("windows"):
            yield Problem("windows", f"do not apply to policy {policy}; use scheduled_warm.")
        if policy == PoolPolicy.ON_DEMAND and least != 0 and not has_unknown(least):
            yield Problem("min_workers", "must be 0 for policy on_demand; use always_on to keep workers.")
        elif policy == PoolPolicy.ALWAYS_ON and least == 0:
            yield Problem("min_workers", "must be at least 1 for policy always_on; use on_demand to keep none.")
        if values.get("routing") == "LOAD_BALANCER":
            yield Problem("routing", "must be QUEUE: the gateway hands a pool jobs. Use Endpoint for a load balancer.")
        if values.get("template_id"):
            yield Problem("template_id", "does not apply: a pool says itself what its workers are. Use Endpoint.")
        env = values.get("env")
        for name in (MODEL_ID_ENV, MODEL_REVISION_ENV):
            if isinstance(env, dict) and name in env:
                yield Problem("env", f"{name} is set from model_id and model_revision; leave it out.")

    def replaced_by(self, changed: Iterable[str], olds: Properties, news: Properties, /) -> Iterable[str]:
        """A pool of another model or task is another pool."""
        changed = tuple(changed)
        yield from super().replaced_by(changed, olds, news)
        yield from (name for name in ("model_id", "task") if name in changed)

    def create(self, inputs: Properties) -> tuple[str, dict[str, Any]]:
        """Call `createEndpoint`; a scheduled pool that was there already is given the minimum of the moment."""
        id_, outs = super().create(inputs)
        if id_ in self.session.adopted and _scheduled(inputs):
            done = reconcile(
                self.session.runpod,
                id_,
                _windows(inputs),
                self._now(),
                min_workers=int(inputs.get("min_workers") or 0),
            )
            outs["effective_min_workers"] = done.minimum
        return id_, self._with_policy(outs, inputs)

    def update(self, id_: str, olds: Properties, news: Properties) -> dict[str, Any]:
        """Call `updateEndpoint` with what differs."""
        return self._with_policy(super().update(id_, olds, news), news)

    def api_changes(self, changed: tuple[str, ...]) -> tuple[str, ...]:
        """Another revision is another environment, other windows are another minimum."""
        more = {"model_revision": "env", **dict.fromkeys(("windows", "policy", "max_workers"), "min_workers")}
        return (*changed, *(more[name] for name in changed if name in more))

    def api_values(self, values: Properties) -> Properties:
        """Put in the minimum of the moment."""
        return {**values, "min_workers": self._minimum(values)} if _scheduled(values) else values

    def hidden_name(self, props: Properties, /) -> str | None:
        """Return a name that the gateway does not take for a pool's."""
        return f"{DRAINING}{props['name']}" if props.get("name") else None

    def api_env(self, values: Properties) -> dict[str, str]:
        """Add what the worker must know about its model."""
        return super().api_env(values) | _model_env(values)

    def program_env(self, env: dict[str, str], values: Properties, /) -> dict[str, str]:
        """Take out what `api_env` adds; what somebody changed stays, so that it shows as drift."""
        ours = _model_env(values)
        kept = {name: value for name, value in env.items() if ours.get(name) != value}
        return kept | {name: "" for name in ours if name not in env}

    def _found(self, endpoint: Any, props: Properties) -> Any:
        if "model_id" not in props:
            props = {**props, **identity(endpoint)}
        found = super()._found(endpoint, props)
        noted = {name: props[name] for name in _OWN if name in props}
        if _scheduled(props):
            noted["min_workers"] = props.get("min_workers", 0)  # the endpoint's own is the scheduler's
        found.inputs.update(noted)
        found.outs.update(noted, effective_min_workers=endpoint.workers.min, **self._following(props))
        return found

    def _minimum(self, values: Properties) -> int:
        least = int(values.get("min_workers") or 0)
        return effective_minimum(PoolPolicy.SCHEDULED_WARM, _windows(values), self._now(), min_workers=least)

    def _following(self, values: Properties) -> dict[str, str]:
        if not _scheduled(values):
            return {}
        least = int(values.get("min_workers") or 0)
        following = next_transition(PoolPolicy.SCHEDULED_WARM, _windows(values), self._now(), min_workers=least)
        return {"next_transition": following[0].isoformat()} if following else {}

    @staticmethod
    def _with_policy(outs: dict[str, Any], inputs: Properties) -> dict[str, Any]:
        kept = {name: value for name, value in outs.items() if name not in _OWN}
        return kept | {name: inputs[name] for name in _OWN if name in inputs}


def identity(endpoint: Endpoint) -> dict[str, str]:
    """Return what the name and environment of an endpoint say about its model, task and policy.

    Args:
        endpoint: What the API reports.
    """
    said = {"model_id": endpoint.env.get(MODEL_ID_ENV), "model_revision": endpoint.env.get(MODEL_REVISION_ENV)}
    if name := EndpointName.parse(endpoint.name):
        said |= {"task": str(name.task), "policy": str(name.policy)}
    return {key: value for key, value in said.items() if value}


def _scheduled(values: Properties) -> bool:
    return values.get("policy") == PoolPolicy.SCHEDULED_WARM


def _windows(values: Properties) -> list[Window]:
    return WINDOWS.validate_python(values.get("windows") or [])


def _window_problems(values: Properties) -> Iterator[Problem]:
    windows, most = values.get("windows"), values.get("max_workers")
    if not windows:
        yield Problem("windows", "are required for policy scheduled_warm.")
    elif not has_unknown([windows, most]):
        for number, window in enumerate(windows):
            if window["min_workers"] > most:
                yield Problem("windows", f"{number}.min_workers: must not be above max_workers, {most}.")


def _model_env(values: Properties) -> dict[str, str]:
    env = {MODEL_ID_ENV: values["model_id"]} if values.get("model_id") else {}
    if values.get("model_revision"):
        env[MODEL_REVISION_ENV] = values["model_revision"]
    return env


class WarmPoolProvider(Provider):
    """Dynamic provider of `WarmPool`."""

    crud: ClassVar = WarmPoolCrud


class WindowArgs(TypedDict):
    """A time of the week in which a pool keeps workers."""

    start: str
    """Wall clock time as `HH:MM` from which they are kept."""
    end: str
    """Wall clock time as `HH:MM` until which they are, or `24:00`; on the next day when it is before `start`."""
    timezone: str
    """IANA name of the time zone, such as `Europe/Berlin`."""
    days: NotRequired[list[str]]
    """Days on which the window begins, `mon` to `sun`; every day when left out."""
    min_workers: NotRequired[int]
    """Workers that are kept, and paid for; 1 by default."""


class WarmPoolArgs(ResourceArgs, total=False):
    """Arguments of `WarmPool`; give `gpu_pools` or `cpus`."""

    model_id: Required[pulumi.Input[str]]
    """Hub id of the model, such as `stabilityai/sdxl-turbo`. A change replaces the pool."""
    image: Required[pulumi.Input[str]]
    """Docker image reference of the worker."""
    model_revision: pulumi.Input[str]
    """Revision of the model; the cache's own when left out."""
    task: pulumi.Input[str]
    """`text2img`, the default, `image2img`, `inpaint`, `text2video` or `image2video`. A change replaces the pool."""
    policy: pulumi.Input[str]
    """`on_demand`, the default, which keeps no worker and costs nothing when idle, `always_on` or `scheduled_warm`."""
    windows: pulumi.Input[Sequence[pulumi.Input[WindowArgs]]]
    """When a `scheduled_warm` pool keeps workers; where several are open, the one with the most counts."""
    min_workers: pulumi.Input[int]
    """Workers that are always kept, and paid for; 1 by default for `always_on`, 0 for `scheduled_warm`."""
    max_workers: pulumi.Input[int]
    """Most workers at once, 3 by default."""
    env: pulumi.Input[Mapping[str, pulumi.Input[str]]]
    """Environment of the workers. Always secret."""
    args: pulumi.Input[str]
    """Arguments of the container's entrypoint."""
    ports: pulumi.Input[Sequence[pulumi.Input[str]]]
    """Exposed ports as `port/protocol`."""
    gpu_pools: pulumi.Input[Sequence[pulumi.Input[str]]]
    """Serverless GPU pools of the catalog."""
    excluded_gpu_types: pulumi.Input[Sequence[pulumi.Input[str]]]
    """GPU types taken out of the pools."""
    gpus_per_worker: pulumi.Input[int]
    """GPUs of each worker, 1 by default."""
    allowed_cuda_versions: pulumi.Input[Sequence[pulumi.Input[str]]]
    """Exact CUDA versions as `major.minor`; any when left out."""
    min_cuda_version: pulumi.Input[str]
    """Lowest CUDA version as `major.minor`."""
    cpus: pulumi.Input[Sequence[pulumi.Input[CpuFlavorArgs]]]
    """CPU configurations instead of GPUs."""
    container_disk_gb: pulumi.Input[int]
    """Container disk in GB, wiped at restart."""
    registry_id: pulumi.Input[str]
    """Registry credential for a private image."""
    idle_timeout_s: pulumi.Input[int]
    """Seconds until an idle worker stops, 60 by default."""
    queue_delay_s: pulumi.Input[float]
    """Start another worker when a request waits this many seconds; 4 by default."""
    request_count: pulumi.Input[int]
    """Scale on this many requests in flight for each worker, instead of waiting time."""
    execution_timeout_s: pulumi.Input[int]
    """Longest execution of one request in seconds, 900 by default."""
    flashboot: pulumi.Input[str]
    """`OFF`, the default, `FLASHBOOT` or `PRIORITY_FLASHBOOT`."""
    data_center_ids: pulumi.Input[Sequence[pulumi.Input[str]]]
    """Data centers where workers may run; anywhere when left out."""
    network_volume_ids: pulumi.Input[Sequence[pulumi.Input[str]]]
    """Network volumes with the model, at most one for each data center."""
    rollout: pulumi.Input[RolloutArgs]
    """Wait until a changed image, environment or place has reached the workers; nobody waits when left out."""
    drain_timeout_s: pulumi.Input[int]
    """Seconds that jobs get to finish before a deletion, 0 by default: it cancels them at once."""
    name: pulumi.Input[str]
    """Name at Runpod instead of the one that is derived for the gateway to find; for pools that exist already."""
    adopt: pulumi.Input[bool]
    """Take over the one existing endpoint of this `name`."""


class WarmPool(VisgateResource, module="visgate", name="WarmPool"):
    """Workers for one model and task, found by the gateway through the endpoint's name."""

    name: pulumi.Output[str]
    model_id: pulumi.Output[str]
    task: pulumi.Output[str]
    policy: pulumi.Output[str]
    effective_min_workers: pulumi.Output[int]
    """Minimum of the endpoint at the last `up` or `refresh`."""
    next_transition: pulumi.Output[str | None]
    """When the windows change it next, in UTC, seen from then."""
    hourly_floor_usd: pulumi.Output[float | None]
    """US dollars for an hour of `min_workers`, without windows; None for pools that older versions made."""
    hourly_ceiling_usd: pulumi.Output[float | None]
    """US dollars for an hour of `max_workers`, on the dearest of the GPU types."""
    monthly_floor_usd: pulumi.Output[float | None]
    """US dollars for a month of the workers that the policy keeps, with the windows of an average week."""
    run_url: pulumi.Output[str]
    """Where jobs go."""
    health_url: pulumi.Output[str]
    """Tells how the endpoint is."""
    request_urls: pulumi.Output[dict[str, str]]
    """All URLs by what they do: `run`, `run_sync`, `status`, `stream`, `cancel`, `retry`, `purge_queue`, `health`."""

    def __init__(
        self, resource_name: str, opts: pulumi.ResourceOptions | None = None, **args: Unpack[WarmPoolArgs]
    ) -> None:
        own = pulumi.ResourceOptions(delete_before_replace=True)
        own = pulumi.ResourceOptions.merge(own, rollout_options(WarmPoolCrud, resource_name, args))
        super().__init__(WarmPoolProvider(), resource_name, args, pulumi.ResourceOptions.merge(own, opts))
