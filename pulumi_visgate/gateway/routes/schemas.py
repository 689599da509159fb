"""Bodies of requests and answers. Names of the upstream service's clients are accepted beside our own."""

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from pulumi_visgate.gateway.egress import MAX_URL_CHARACTERS
from pulumi_visgate.gateway.services.callbacks import Outcome
from pulumi_visgate.gateway.services.history import Expectation
from pulumi_visgate.gateway.services.limits import Limits
from pulumi_visgate.gateway.services.orders import Warmth
from pulumi_visgate.gateway.services.placement import Asked
from pulumi_visgate.gateway.services.redelivery import Which
from pulumi_visgate.gateway.settings import MAX_PRESIGN_S
from pulumi_visgate.runpod.models.job import JobStatus
from visgate_contract.jobs import MAX_WARM_FOR_S
from visgate_contract.pools import PoolPolicy
from visgate_contract.tasks import Task, TaskInput

_UPSTREAM_NAMES = {"hf_model_id": "model", "user_webhook_url": "webhook_url", "gpu_tier": "gpu_pool"}
_TAKEN_BY_AUTHENTICATION = ("user_runpod_key", "hf_token")
_TASK_NAMES = {
    "text_to_image": Task.TEXT2IMG,
    "txt2img": Task.TEXT2IMG,
    "image_to_image": Task.IMAGE2IMG,
    "img2img": Task.IMAGE2IMG,
    "inpainting": Task.INPAINT,
    "text_to_video": Task.TEXT2VIDEO,
    "txt2video": Task.TEXT2VIDEO,
    "image_to_video": Task.IMAGE2VIDEO,
    "img2video": Task.IMAGE2VIDEO,
}


ENDPOINT_ID = r"^[A-Za-z0-9_]{1,64}$"


def _task(value: object) -> object:
    return _TASK_NAMES.get(value, value) if isinstance(value, str) else value


AnyTask = Annotated[Task, BeforeValidator(_task)]


class Wanted(BaseModel):
    """What every kind of request says."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    model: str = Field(
        min_length=1, max_length=200, description="Hub id of the model.", examples=["stabilityai/sdxl-turbo"]
    )
    task: AnyTask = Field(default=Task.TEXT2IMG, description="What to ask of the model.")
    webhook_url: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_URL_CHARACTERS,
        description="Public https URL that receives the signed events.",
        examples=["https://example.com/webhooks/visgate"],
    )
    region: str | None = Field(
        default=None,
        min_length=2,
        max_length=20,
        description="Where to run: a Runpod data center, or the beginning of several.",
        examples=["EU-RO-1"],
    )
    gpu_pool: str | None = Field(
        default=None, min_length=1, max_length=40, description="GPU pool to run on.", examples=["ADA_24"]
    )
    max_cost_usd: float | None = Field(
        default=None,
        gt=0,
        le=10_000,
        description="Most that one job may cost, in US dollars: the dearest GPU that it may get, for its longest run "
        "and the idle time after it. A job that may cost more is refused before anything is created.",
        examples=[0.5],
    )

    @model_validator(mode="before")
    @classmethod
    def _accept_upstream_names(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        given = {name: value for name, value in data.items() if name not in _TAKEN_BY_AUTHENTICATION}
        for theirs, ours in _UPSTREAM_NAMES.items():
            if theirs in given:
                given.setdefault(ours, given.pop(theirs))
        if given.get("provider") == "runpod":
            del given["provider"]
        return given

    def asked(self) -> Asked:
        """Return model and place."""
        signs = self.webhook_url is not None
        return Asked(self.model, self.task, self.region, self.gpu_pool, signs, self.max_cost_usd)


class UpstreamPolicy(BaseModel):
    """Limits of a job as the upstream service names them, in milliseconds."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    execution_timeout_ms: int | None = Field(default=None, ge=5_000, le=MAX_PRESIGN_S * 1000)
    ttl_ms: int | None = Field(default=None, ge=10_000, le=MAX_PRESIGN_S * 1000)
    low_priority: StrictBool = False


class DeploymentRequest(Wanted):
    """Have an endpoint ready for a model."""

    warm_for_s: int | None = Field(
        default=None,
        ge=1,
        le=MAX_WARM_FOR_S,
        description="Start a worker now, too, and let it stay for so many seconds from when the model is loaded.",
        examples=[600],
    )

    def asked(self) -> Asked:
        """Return model, place and how long to stay warm."""
        return replace(super().asked(), warm_for_s=self.warm_for_s)


class WithInput(Wanted):
    """What a request says that has an input."""

    input: TaskInput | None = None

    @model_validator(mode="before")
    @classmethod
    def _let_either_place_name_the_task(cls, data: Any) -> Any:
        given = data.get("input") if isinstance(data, Mapping) else None
        if not isinstance(given, Mapping):
            return data
        task = _task(data.get("task", given.get("task", Task.TEXT2IMG)))
        return {**data, "task": task, "input": {"task": task, **given}} if task in tuple(Task) else data

    @field_validator("input")
    @classmethod
    def _is_of_the_task(cls, value: TaskInput | None, info: ValidationInfo) -> TaskInput | None:
        task = info.data.get("task")
        if value is not None and task is not None and value.task is not task:
            kind, message = "task_mismatch", "is the input of {input_task}, but task is {task}"
            raise PydanticCustomError(kind, message, {"input_task": value.task.value, "task": task.value})
        return value


class JobRequestBody(WithInput):
    """Have a model do something."""

    model: str = Field(
        max_length=200,
        description="Hub id of the model; may be left out with `deployment_id`.",
        examples=["stabilityai/sdxl-turbo"],
    )
    input: TaskInput = Field(
        description="Input of the task.",
        examples=[{"prompt": "a red fox in the snow", "width": 512, "height": 512, "seed": 7}],
    )
    deployment_id: str | None = Field(
        default=None,
        pattern=ENDPOINT_ID,
        description="Run on this endpoint of yours, and on no other.",
        examples=["4m7x2k9q"],
    )
    run_timeout_s: int | None = Field(
        default=None,
        ge=5,
        le=MAX_PRESIGN_S,
        description="Longest run, in seconds; at most the platform's own limit, which holds when left out.",
        examples=[300],
    )
    start_timeout_s: int | None = Field(
        default=None,
        ge=10,
        le=MAX_PRESIGN_S,
        description="A job that no worker has taken after so many seconds ends as `deadline_exceeded`.",
        examples=[120],
    )
    low_priority: StrictBool = Field(default=False, description="Start no worker for it; it runs when one is there.")
    policy: UpstreamPolicy | None = Field(
        default=None, exclude=True, repr=False, description="The same limits as the upstream service names them."
    )

    @model_validator(mode="before")
    @classmethod
    def _let_the_deployment_name_the_model(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or data.get("deployment_id") is None or "hf_model_id" in data:
            return data
        return {"model": "", **data}

    @model_validator(mode="after")
    def _needs_a_model_or_a_deployment(self) -> Self:
        if not self.model and self.deployment_id is None:
            message = "model must not be empty: name one, or a deployment_id"
            raise ValueError(message)
        return self

    def asked(self) -> Asked:
        """Return model and place."""
        return replace(super().asked(), run_s=self.limits().run_s, endpoint_id=self.deployment_id)

    def limits(self) -> Limits:
        """Return how long it may take."""
        given = self.policy or UpstreamPolicy()
        return Limits(
            run_s=self.run_timeout_s or _seconds(given.execution_timeout_ms),
            start_s=self.start_timeout_s,
            life_s=_seconds(given.ttl_ms),
            low_priority=self.low_priority or given.low_priority,
        )


def _seconds(milliseconds: int | None) -> int | None:
    return None if milliseconds is None else math.ceil(milliseconds / 1000)


class DeploymentLinks(BaseModel):
    """Where to go on."""

    jobs: str
    logs: str


class Expected(BaseModel):
    """What can be expected, from what jobs of your endpoints for this model took in the last hours."""

    start_s: float = Field(description="Seconds until a worker can begin.", examples=[14.2])
    done_s: float = Field(description="Seconds until the result.", examples=[17.0])
    samples: int = Field(description="Jobs that this is taken from.", examples=[12])

    @classmethod
    def of(cls, expected: Expectation | None) -> "Expected | None":
        """Return it as it is shown."""
        return None if expected is None else cls.model_construct(**asdict(expected))


class DeploymentAnswer(BaseModel):
    """An endpoint that serves the request, warm (200) or on its way (202)."""

    status: Warmth
    task_id: str = Field(examples=["task_01k5d8v0c2n4q6s8t0w2y4z6a8"])
    deployment_id: str = Field(examples=["4m7x2k9q"])
    endpoint_id: str = Field(examples=["4m7x2k9q"])
    endpoint_url: str = Field(examples=["https://api.runpod.ai/v2/4m7x2k9q"])
    model: str = Field(examples=["stabilityai/sdxl-turbo"])
    task: Task
    job_id: str | None = Field(
        default=None, description="The warm-up, to be followed like any job; with `warm_for_s` only."
    )
    expected: Expected | None = Field(default=None, description="For a job that is sent now; null while unknown.")
    links: DeploymentLinks


class JobLinks(BaseModel):
    """Where to go on."""

    self: str
    events: str
    logs: str
    cancel: str
    retry: str


class JobAnswer(BaseModel):
    """A job that is in Runpod's queue. Everything about it can be asked by its `job_id` and your key."""

    status: Warmth
    task_id: str = Field(examples=["task_01k5d8v0c2n4q6s8t0w2y4z6a8"])
    job_id: str = Field(examples=["job_4m7x2k9q_0b1c2d3e-u1.01k5d8v0c2n4q6s8t0w2y4z6a8_5f0c8b1de6f94f3c5f0c8b1d"])
    endpoint_id: str = Field(examples=["4m7x2k9q"])
    model: str = Field(examples=["stabilityai/sdxl-turbo"])
    task: Task
    expected: Expected | None = Field(default=None, description="For this job; null while unknown.")
    links: JobLinks


class Deployment(BaseModel):
    """One of the caller's endpoints."""

    deployment_id: str
    endpoint_id: str
    endpoint_url: str
    name: str
    model: str
    task: Task
    policy: PoolPolicy
    managed_by: str = Field(description="`gateway` or `pulumi`; only the gateway's can be deleted here.")
    workers_min: int
    workers_max: int
    data_center_ids: tuple[str, ...]
    created_at: datetime


class Deployments(BaseModel):
    """The caller's endpoints, oldest first."""

    deployments: list[Deployment]


class Model(BaseModel):
    """A model that this platform offers."""

    model: str = Field(examples=["stabilityai/sdxl-turbo"])
    revision: str | None
    tasks: tuple[Task, ...]
    policy: PoolPolicy


class Models(BaseModel):
    """What this platform offers."""

    models: list[Model]


class WebhookKey(BaseModel):
    """What verifies this caller's webhooks (Standard Webhooks): a secret (`v1`), or a public key (`v1a`)."""

    secret: str = Field(examples=["whsec_…"])
    previous_secret: str | None = Field(default=None, description="Signs, too, while the platform changes its key.")
    public_key: str = Field(examples=["whpk_…"], description="Ed25519.")
    jwks_url: str = Field(
        description="The public keys as JSON Web Keys; open to everybody.",
        examples=["https://gateway.example.com/v1/webhooks/3f2a9c0d4b5e6f708192a3b4c5d6e7f8/jwks.json"],
    )


class ReplayRequest(BaseModel):
    """Which events to send again, and where to; without a body, what never arrived, to the job's own receiver."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    events: Which = Field(
        default=Which.MISSED,
        description="`missed`: what never arrived and still matters, or the last event if all did. `all`: everything.",
    )
    webhook_url: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_URL_CHARACTERS,
        description="Another receiver than the job's own.",
        examples=["https://example.com/webhooks/visgate"],
    )


class WebhookDelivery(BaseModel):
    """One event and what became of it."""

    webhook_id: str = Field(examples=["msg_01k5d8v0c2n4q6s8t0w2y4z6a8_ready"])
    type: str = Field(examples=["job.ready"])
    attempt: int
    sequence: int
    timestamp: datetime
    delivered_at: datetime | None = Field(description="When the receiver acknowledged it.")
    tries: int
    detail: str = Field(description="What was heard last, where it did not arrive.", examples=["it answered 503"])


class WebhookDeliveries(BaseModel):
    """A job's events and what became of them."""

    job_id: str
    task_id: str
    delivered: bool = Field(description="All of these have arrived.")
    deliveries: list[WebhookDelivery]


class KeySet(BaseModel):
    """Public keys (RFC 7517)."""

    keys: list[dict[str, str]]


class Completion(JobStatus):
    """A finished job as Runpod reports it to its webhook."""

    model_config = ConfigDict(title="Completion")

    input: Any = Field(default=None, repr=False, description="What the job was submitted with.")


class CallbackAnswer(BaseModel):
    """What became of a completion call."""

    outcome: Outcome


class Probe(BaseModel):
    """Answer of a probe."""

    status: str = Field(examples=["ok"])
