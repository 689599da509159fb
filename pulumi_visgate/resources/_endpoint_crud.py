"""Rules and calls of serverless endpoints (`/v2/serverless`); no Pulumi."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, field_validator

from pulumi_visgate.resources._adopt import OneOfAName
from pulumi_visgate.resources._crud import Change, Crud, Found, Inputs, NamedInputs, Problem, WithEnv
from pulumi_visgate.resources._drain import drain
from pulumi_visgate.resources._endpoint_wire import TEMPLATE_INPUTS, foreign_env, observed_inputs, patch, request
from pulumi_visgate.resources._placement import Placement
from pulumi_visgate.resources._rollout import Look, Rollout, makes_release, remaining, rolled
from pulumi_visgate.resources._values import Properties, as_text, has_unknown, known_items, same
from pulumi_visgate.runpod.errors import NotFound
from pulumi_visgate.runpod.models.endpoint import CreateEndpoint, Endpoint, FlashBoot, UpdateEndpoint

DEFAULT_QUEUE_DELAY_S = 4
DEFAULT_IDLE_TIMEOUT_S = 10
MAX_DRAIN_S = 24 * 3600
_CUDA = r"^[0-9]+\.[0-9]+$"


EnvValue = Annotated[str, BeforeValidator(as_text)]
EnvName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Env = dict[EnvName, EnvValue]
CudaVersion = Annotated[str, Field(pattern=_CUDA)]
GpuType = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]  # Runpod strips it, too


class CpuFlavor(BaseModel):
    """One CPU configuration."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    id: str = Field(min_length=1)
    vcpus: int = Field(ge=2)

    @field_validator("vcpus")
    @classmethod
    def _power_of_two(cls, vcpus: int) -> int:
        if vcpus & (vcpus - 1):
            message = f"{vcpus} is not a power of two."
            raise ValueError(message)
        return vcpus


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
    excluded_gpu_types: list[GpuType] = Field(default_factory=list)
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
    rollout: Rollout | None = None
    drain_timeout_s: int | None = Field(default=None, ge=0, le=MAX_DRAIN_S)
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
    notes = frozenset({"owner", "adopt", "env_fingerprints", "rollout", "drain_timeout_s"})
    costs: ClassVar[tuple[str, ...]] = ("hourly_floor_usd", "hourly_ceiling_usd")
    outputs: ClassVar[tuple[str, ...]] = ("run_url", "health_url", "request_urls", "rollout_pending")

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
        yield from repeated(values, ("cpus", *self.unordered))
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
        yield "drain_timeout_s"  # a note that the deletion reads from the state, so that has to have it
        for name in super().compared(news):
            if name == "env" or not (news.get("template_id") and name in TEMPLATE_INPUTS and name not in news):
                yield name

    def replaced_by(self, changed: Iterable[str], olds: Properties, news: Properties) -> Iterable[str]:
        """An endpoint keeps its routing, and cannot change between GPU and CPU."""
        changed = tuple(changed)
        yield from super().replaced_by(changed, olds, news)
        if "cpus" in changed and bool(olds.get("cpus")) != bool(news.get("cpus")):
            yield "cpus"

    def diff(self, olds: Properties, news: Properties) -> Change:
        """Compare; a rollout whose end nobody has seen is a change, so that the next run waits for it."""
        change = super().diff(olds, news)
        if olds.get("rollout_pending") and news.get("rollout"):
            return replace(change, changed=(*change.changed, "rollout"))
        return change

    # --- create, read, update, delete ---

    def create(self, inputs: Properties) -> tuple[str, dict[str, Any]]:
        """Call `createEndpoint`."""
        body = request(self.api_values(inputs), self.api_env(inputs))
        endpoint, there = self.one().find_or_create(
            inputs["name"],
            lambda: self.session.runpod.create_endpoint(CreateEndpoint.model_validate(body)),
            derived=inputs["name"] == self.own_name(inputs),
            adopt=bool(inputs.get("adopt")),
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
        """Call `updateEndpoint` with what differs; the hook of a rollout has made its part of that already."""
        change = self.change(id_, olds, news)
        if not news.get("rollout"):
            if change is None:
                kept = {name: value for name, value in olds.items() if name not in self.notes}
                return kept | {name: news[name] for name in self.notes if name in news}
            endpoint = self.session.runpod.update_endpoint(id_, change)
        else:
            endpoint = self.session.runpod.get_endpoint(id_)
            left = remaining(change, endpoint) if change is not None else None
            endpoint = self.session.runpod.update_endpoint(id_, left) if left is not None else endpoint
        self.session.endpoints.changed(endpoint)
        outs = self._found(endpoint, news).outs
        if self._rolls(endpoint, olds, news, change):
            outs["rollout_pending"] = True
        return outs

    def change(self, id_: str, olds: Properties, news: Properties) -> UpdateEndpoint | None:
        """Return the request for what differs, None when nothing of it is Runpod's.

        Args:
            id_: The endpoint.
            olds: Outputs of the last run.
            news: Checked inputs.
        """
        changes = self.api_changes(self.diff(olds, news).changed)
        env = self.api_env(news)
        if {"env", "template_id"} & set(changes):
            env = self._others_env(id_, olds, news) | env
        body = patch(changes, self.api_values(news), env)
        return UpdateEndpoint.model_validate(body) if body else None

    def _rolls(self, endpoint: Endpoint, olds: Properties, news: Properties, change: UpdateEndpoint | None) -> bool:
        """Tell whether a rollout that the program waits for is still going on."""
        waited = (news.get("rollout") or {}).get("on_failure", "warn") != "warn"
        if not waited or not (makes_release(change) or olds.get("rollout_pending")):
            return False
        runpod = self.session.runpod
        look = Look.of(runpod.list_endpoint_releases(endpoint.id), runpod.list_endpoint_workers(endpoint.id))
        return not rolled(look, endpoint.workers.min or 0)

    def delete(self, id_: str, props: Properties, /) -> None:
        """Call `deleteEndpoint`, which cancels jobs; `drain_timeout_s` lets them end before."""
        if id_ in self.session.adopted:
            return  # the "replacement" is the very same endpoint
        if props.get("drain_timeout_s"):
            drain(self.session, id_, props, hidden_as=self.hidden_name(props))
        if props.get("name") == self.own_name(props):
            self.one().sweep(props["name"], id_)
        with suppress(NotFound):
            self.session.runpod.delete_endpoint(id_)
        self.session.endpoints.deleted(id_)

    def one(self) -> OneOfAName[Endpoint]:
        """Look for the name in the account."""
        return OneOfAName(
            kind=self.kind,
            listing=self.session.endpoints,
            report=self.session.report,
            get=self.session.runpod.get_endpoint,
            remove=self.session.runpod.delete_endpoint,
        )

    def _others_env(self, id_: str, olds: Properties, news: Properties) -> dict[str, str]:
        """Return the variables that are not the program's; a PATCH without them would take them away."""
        kept = dict(news)
        if not same(olds.get("template_id"), news.get("template_id")):
            kept.pop("template_id", None)  # the former template's go with it
        if not kept.get("template_id") and news.get("routing") == "QUEUE":
            return {}
        known = {*self.api_env(olds), *self.api_env(news)}
        return foreign_env(self.session.runpod.get_endpoint(id_).env, known, kept)

    def hidden_name(self, _props: Properties, /) -> str | None:
        """Return a name under which nobody looks for the endpoint while it drains, None when nobody goes by name."""
        return None

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
        env = self.program_env(dict(endpoint.env), props)
        foreign = foreign_env(env, props.get("env") or {}, observed)
        observed["env"] = {name: value for name, value in env.items() if name not in foreign}
        if props.get("template_id"):
            observed = {n: value for n, value in observed.items() if n not in TEMPLATE_INPUTS or n in props}
        if "container_disk_gb" not in props:
            observed.pop("container_disk_gb", None)
        self.note_env(observed)
        urls = endpoint.request_urls
        outputs = {
            "run_url": urls and (urls.run or urls.base),
            "health_url": urls and urls.health,
            "request_urls": urls and urls.model_dump(by_alias=False, exclude_none=True),
        }
        outputs["rollout_pending"] = props.get("rollout_pending")
        noted = {name: value for name, value in props.items() if name != "env_fingerprints"}
        return self.found(observed, outputs, noted)


def repeated(values: Properties, names: Iterable[str]) -> Iterator[Problem]:
    """Refuse lists that name something twice: the API refuses them, or answers with a list that looks changed."""
    for name in names:
        listed = known_items(values, name)
        if any(item in listed[:place] for place, item in enumerate(listed)):
            yield Problem(name, "names one twice.")


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
