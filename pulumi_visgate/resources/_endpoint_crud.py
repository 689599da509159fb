"""Rules and calls of serverless endpoints (`/v2/serverless`); no Pulumi."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from pulumi_visgate.resources._adopt import find_or_create
from pulumi_visgate.resources._crud import Crud, Found, Inputs, NamedInputs, Problem, WithEnv
from pulumi_visgate.resources._endpoint_wire import observed_inputs, patch, request
from pulumi_visgate.resources._placement import Placement
from pulumi_visgate.resources._values import Properties, as_text, has_unknown
from pulumi_visgate.runpod.errors import NotFound
from pulumi_visgate.runpod.models.endpoint import CreateEndpoint, Endpoint, FlashBoot, UpdateEndpoint

DEFAULT_QUEUE_DELAY_S = 4
DEFAULT_IDLE_TIMEOUT_S = 10
CONTAINER_INPUTS = frozenset({"image", "args", "container_disk_gb", "env", "ports", "registry_id"})
_CUDA = r"^[0-9]+\.[0-9]+$"


EnvValue = Annotated[str, BeforeValidator(as_text)]
EnvName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Env = dict[EnvName, EnvValue]
CudaVersion = Annotated[str, Field(pattern=_CUDA)]


class CpuFlavor(BaseModel):
    """One CPU configuration."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    id: str = Field(min_length=1)
    vcpus: int = Field(ge=2)


class EndpointInputs(NamedInputs):
    """Inputs of an endpoint; `EndpointArgs` describes them."""

    image: str | None = None
    template_id: str | None = None
    env: Env = Field(default_factory=dict)
    env_fingerprints: dict[str, str] = Field(default_factory=dict)
    args: str | None = None
    container_disk_gb: int | None = Field(default=None, ge=1)
    ports: list[str] = Field(default_factory=list)
    registry_id: str | None = None
    gpu_pools: list[str] = Field(default_factory=list)
    excluded_gpu_types: list[str] = Field(default_factory=list)
    gpus_per_worker: int | None = Field(default=None, ge=1)
    allowed_cuda_versions: list[CudaVersion] = Field(default_factory=list)
    min_cuda_version: CudaVersion | None = None
    cpus: list[CpuFlavor] = Field(default_factory=list)
    min_workers: int = Field(default=0, ge=0)
    max_workers: int = Field(default=3, ge=0)
    idle_timeout_s: int | None = Field(default=None, ge=1, le=3600)
    queue_delay_s: float | None = Field(default=None, ge=0.5)
    request_count: int | None = Field(default=None, ge=1)
    routing: Literal["QUEUE", "LOAD_BALANCER"] = "QUEUE"
    execution_timeout_s: int = Field(default=300, ge=1)
    flashboot: FlashBoot = FlashBoot.OFF
    data_center_ids: list[str] = Field(default_factory=list)
    network_volume_ids: list[str] = Field(default_factory=list)
    hourly_floor_usd: float | None = None
    hourly_ceiling_usd: float | None = None


class EndpointCrud(Crud, WithEnv):
    """Rules and calls of endpoints."""

    kind = "Endpoint"
    model: ClassVar[type[Inputs]] = EndpointInputs
    fixed = ("routing",)
    secret = frozenset({"env"})
    unordered = frozenset(
        {"gpu_pools", "excluded_gpu_types", "allowed_cuda_versions", "data_center_ids", "network_volume_ids", "ports"}
    )
    unmanaged = frozenset({"container_disk_gb"})
    notes = frozenset({"owner", "adopt", "env_fingerprints"})
    costs: ClassVar[tuple[str, ...]] = ("hourly_floor_usd", "hourly_ceiling_usd")
    outputs: ClassVar[tuple[str, ...]] = ("run_url", "health_url")

    # --- check ---

    def complete(self, values: dict[str, Any]) -> None:
        """Fill in what depends on the kind of compute, routing and scaling."""
        if values.get("gpu_pools") and not values.get("gpus_per_worker"):
            values["gpus_per_worker"] = 1
        if not values.get("request_count") and not values.get("queue_delay_s"):
            values["queue_delay_s"] = DEFAULT_QUEUE_DELAY_S
        if not values.get("idle_timeout_s") and not _without_idle_timeout(values):
            values["idle_timeout_s"] = DEFAULT_IDLE_TIMEOUT_S
        super().complete(values)
        self.note_env(values)

    def own_name(self, values: Properties) -> Any:
        """Derive the name; a GPU and a CPU endpoint of one owner have different ones."""
        return super().own_name({**values, "routing": (values.get("routing"), bool(values.get("cpus")))})

    def rules(self, values: Properties) -> Iterator[Problem]:
        """What the API would refuse, or silently do otherwise."""
        given = {name for name, value in values.items() if value not in (None, [], {}, "")}
        if not given & {"image", "template_id"}:
            yield Problem("image", "is required unless template_id is given.")
        if ("gpu_pools" in given) == ("cpus" in given):
            yield Problem("gpu_pools", "give either gpu_pools or cpus, not both and not neither.")
        if "gpu_pools" not in given:
            for name in ("excluded_gpu_types", "gpus_per_worker", "allowed_cuda_versions", "min_cuda_version"):
                if name in given:
                    yield Problem(name, "needs gpu_pools.")
        if {"allowed_cuda_versions", "min_cuda_version"} <= given:
            yield Problem("min_cuda_version", "cannot be combined with allowed_cuda_versions.")
        yield from _scaling_rules(values, given)

    def remote_rules(self, values: Properties) -> Iterator[Problem]:
        """Check pools, GPU types, CPUs and data centers against the catalog and its stock."""
        yield from Placement(self.kind, self.session, values).problems()

    def prices(self, values: Properties) -> dict[str, Any]:
        """Return what the workers cost: when nobody asks for anything, and when all of them run."""
        plan = Placement(self.kind, self.session, values)
        return {
            "hourly_floor_usd": plan.usd(values.get("min_workers")),
            "hourly_ceiling_usd": plan.usd(values.get("max_workers"), dearest=True),
        }

    # --- diff ---

    def compared(self, news: Properties) -> Iterator[str]:
        """Container settings that come from a template are not the program's to compare."""
        for name in super().compared(news):
            if not (news.get("template_id") and name in CONTAINER_INPUTS and name not in news):
                yield name

    def replaced_by(self, changed: Iterable[str], olds: Properties, news: Properties) -> Iterable[str]:
        """An endpoint keeps its routing, and cannot change between GPU and CPU."""
        changed = tuple(changed)
        yield from super().replaced_by(changed, olds, news)
        if "cpus" in changed and bool(olds.get("cpus")) != bool(news.get("cpus")):
            yield "cpus"

    # --- create, read, update, delete ---

    def create(self, inputs: Properties) -> tuple[str, dict[str, Any]]:
        """Call `createEndpoint`."""
        body = request(self.api_values(inputs), self.api_env(inputs))
        endpoint, there = find_or_create(
            kind=self.kind,
            name=inputs["name"],
            ours=bool(inputs.get("adopt")) or inputs["name"] == self.own_name(inputs),
            listing=self.session.endpoints,
            create=lambda: self.session.runpod.create_endpoint(CreateEndpoint.model_validate(body)),
        )
        outs = self._found(endpoint, inputs).outs
        if there:
            self.session.adopted.add(endpoint.id)
            outs = self.update(endpoint.id, outs, inputs)
        return endpoint.id, outs

    def read(self, id_: str, props: Properties) -> Found | None:
        """Look into the shared list, then ask `getEndpoint`."""
        endpoint = self.session.endpoints.get(id_)
        if endpoint is None:
            try:
                endpoint = self.session.runpod.get_endpoint(id_)
            except NotFound:
                return None
        return self._found(endpoint, props)

    def update(self, id_: str, olds: Properties, news: Properties) -> dict[str, Any]:
        """Call `updateEndpoint` with what differs."""
        body = patch(self.api_changes(self.diff(olds, news).changed), self.api_values(news), self.api_env(news))
        if not body:
            return dict(olds) | {name: news[name] for name in self.notes if name in news}
        endpoint = self.session.runpod.update_endpoint(id_, UpdateEndpoint.model_validate(body))
        self.session.endpoints.changed(endpoint)
        return self._found(endpoint, news).outs

    def delete(self, id_: str, _props: Properties, /) -> None:
        """Call `deleteEndpoint`; it ends the workers and cancels the jobs."""
        if id_ in self.session.adopted:
            return  # the "replacement" is the very same endpoint
        with suppress(NotFound):
            self.session.runpod.delete_endpoint(id_)
        self.session.endpoints.deleted(id_)

    def api_changes(self, changed: tuple[str, ...]) -> tuple[str, ...]:
        """Name the endpoint inputs that these changes are made of."""
        return changed

    def api_values(self, values: Properties) -> Properties:
        """Return the inputs as the API gets them now."""
        return values

    def api_env(self, values: Properties) -> dict[str, str]:
        """Return the environment as the API gets it."""
        return dict(values.get("env") or {})

    def program_env(self, env: dict[str, str], _values: Properties, /) -> dict[str, str]:
        """Return the environment as the program gives it, from the API's."""
        return env

    def _found(self, endpoint: Endpoint, props: Properties) -> Found:
        observed = observed_inputs(endpoint, props)
        observed["env"] = self.program_env(dict(endpoint.env), props)
        if props.get("template_id"):
            observed = {n: value for n, value in observed.items() if n not in CONTAINER_INPUTS or n in props}
        if "container_disk_gb" not in props:
            observed.pop("container_disk_gb", None)
        self.note_env(observed)
        urls = endpoint.request_urls
        outputs = {"run_url": urls and (urls.run or urls.base), "health_url": urls and urls.health}
        noted = {name: value for name, value in props.items() if name != "env_fingerprints"}
        return self.found(observed, outputs, noted)


def _without_idle_timeout(values: Properties) -> bool:
    """The API refuses an idle timeout for a queue that scales on requests."""
    return bool(values.get("request_count")) and values.get("routing") == "QUEUE"


def _scaling_rules(values: Properties, given: set[str]) -> Iterator[Problem]:
    if {"request_count", "queue_delay_s"} <= given:
        yield Problem("request_count", "cannot be combined with queue_delay_s: an endpoint scales on one of them.")
    if values.get("routing") == "LOAD_BALANCER" and "request_count" not in given:
        yield Problem("request_count", "is required for routing LOAD_BALANCER.")
    if "idle_timeout_s" in given and _without_idle_timeout(values):
        yield Problem("idle_timeout_s", "does not apply to a queue that scales on request_count.")
    least, most = values.get("min_workers"), values.get("max_workers")
    if not has_unknown([least, most]) and least > most:  # type: ignore[operator]  # both are checked integers
        yield Problem("min_workers", f"must not be above max_workers, {most}.")
