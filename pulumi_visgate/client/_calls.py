"""Every operation as a request and the way to read its answer; no I/O happens here, so both clients share it."""

import base64
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypedDict, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ValidationError
from tenacity import RetryCallState

from pulumi_visgate.client.errors import GatewayError, UsageError
from pulumi_visgate.client.models import (
    Deployment,
    Job,
    OwnDeployment,
    SubmittedJob,
)
from pulumi_visgate.client.offers import OfferedModel, Placements, Preflight
from visgate_contract.tasks import MAX_IMAGE_CHARACTERS, Prompted, Task

T = TypeVar("T")
ModelT = TypeVar("ModelT", bound=BaseModel)

Input = Mapping[str, Any] | Prompted
"""Input of a task: fields by name, or one of `visgate_contract.tasks`, such as `Text2ImgInput`."""

REQUEST_S = 60.0
"""A cold request may take the gateway half a minute."""
CONNECT_S = 10.0
OK, NO_CONTENT = 200, 204
WAIT_S = 900.0
TRIES = 4
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
LONGEST_RETRY_AFTER_S = 10.0
"""A gateway that wants a longer pause is not waited for: its caller is told."""

_IMAGE_TYPES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp"}


class Where(TypedDict, total=False):
    """Where something may run.

    Args:
        region: A Runpod data center, or the beginning of several, such as `EU`.
        gpu_pool: One of the platform's GPU pools.
    """

    region: str
    gpu_pool: str


class DeployOptions(Where, total=False):
    """What may be said of a deployment.

    Args:
        webhook_url: Public https URL that receives the signed events.
        max_cost_usd: Most that one job may cost, in US dollars.
    """

    webhook_url: str
    max_cost_usd: float


class JobOptions(DeployOptions, total=False):
    """What may be said of a job beside its input.

    Args:
        deployment_id: Run on this endpoint of yours, and on no other.
        run_timeout_s: Longest run, in seconds.
        start_timeout_s: Seconds within which a worker has to take it.
        low_priority: Start no worker for it; it runs when one is there.
        idempotency_key: Makes it safe to call again after a crash; one is made for each call when left out.
    """

    deployment_id: str
    run_timeout_s: int
    start_timeout_s: int
    low_priority: bool
    idempotency_key: str


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One operation.

    Args:
        method: HTTP method.
        path: Path with query.
        parse: Reads the body of the answer.
        body: JSON body.
        headers: Headers beside the client's own.
        is_repeatable: It may be sent again when nobody knows what became of it.
    """

    method: str
    path: str
    parse: Callable[[bytes], T] = field(repr=False)
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    is_repeatable: bool = True

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of httpx's request functions."""
        return {"method": self.method, "url": self.path, "json": self.body, "headers": dict(self.headers)}

    def may_repeat(self, error: BaseException) -> bool:
        """Tell whether to send it again after an error."""
        if not isinstance(error, GatewayError) or not error.invites_repeat:
            return False
        return self.is_repeatable and (error.retry_after_s or 0.0) <= LONGEST_RETRY_AFTER_S


def pause_s(state: RetryCallState) -> float:
    """Return how long to wait before a request is sent again, in seconds: as told, or longer each time."""
    error = state.outcome.exception() if state.outcome is not None else None
    told = error.retry_after_s if isinstance(error, GatewayError) else None
    return told or min(FIRST_PAUSE_S * 2.0 ** (state.attempt_number - 1), LONGEST_PAUSE_S)


def image_data(file: str | Path) -> str:
    """Return a PNG, JPEG or WebP file as a data URI, for the `image` and `mask` of an input.

    Args:
        file: At most 4.5 MB.

    Raises:
        UsageError: It is too large or of another kind; give its public https URL instead.
    """
    content = Path(file).read_bytes()
    kind = next((kind for magic, kind in _IMAGE_TYPES.items() if content.startswith(magic)), None)
    if kind is None:
        detail = f"{file} is no PNG, JPEG or WebP picture."
        raise UsageError(detail, hint="Convert it, or give the https URL of one.")
    data = f"data:{kind};base64,{base64.b64encode(content).decode()}"
    if len(data) > MAX_IMAGE_CHARACTERS:
        detail = f"{file} has {len(content) / 1e6:.1f} MB; 4.5 MB are allowed."
        raise UsageError(detail, hint="Make it smaller, or give its public https URL.")
    return data


def submit(model: str, input: Input, *, task: Task | str | None = None, options: JobOptions) -> Call[SubmittedJob]:
    """Queue a job (`POST /v1/jobs`), safe to send twice by its idempotency key."""
    body: dict[str, Any] = {**_wished(model, input, task), **options}
    key = body.pop("idempotency_key", None) or str(uuid.uuid4())
    return Call("POST", "/v1/jobs", _one(SubmittedJob), body, {"idempotency-key": key})


def job(job_id: str, action: str = "") -> Call[Job]:
    """Show a job, or with `cancel` or `retry` act on it."""
    path = f"/v1/jobs/{quote(job_id, safe='')}"
    if not action:
        return Call("GET", path, _one(Job))
    # Cancelling twice is cancelling once; a second retry is refused when the first one was heard.
    return Call("POST", f"{path}/{action}", _one(Job), is_repeatable=action == "cancel")


def preflight(model: str, input: Input | None, *, task: Task | str | None, options: DeployOptions) -> Call[Preflight]:
    """Ask whether something would run (`POST /v1/preflight`)."""
    return Call("POST", "/v1/preflight", _one(Preflight), {**_wished(model, input, task), **options})


def placements(model: str | None, *, task: Task | str | None, options: Where) -> Call[Placements]:
    """Ask where workers would run (`GET /v1/placements`)."""
    wanted: dict[str, Any] = {"model": model, "task": None if task is None else str(task), **options}
    query = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in wanted.items() if value is not None)
    return Call("GET", f"/v1/placements{'?' if query else ''}{query}", _one(Placements))


def models() -> Call[tuple[OfferedModel, ...]]:
    """List what the platform offers (`GET /v1/models`)."""
    return Call("GET", "/v1/models", lambda body: _Models.model_validate_json(body, extra="ignore").models)


def deploy(model: str, *, task: Task | str | None, warm_for_s: int | None, options: DeployOptions) -> Call[Deployment]:
    """Have an endpoint ready (`POST /v1/deployments`); equal requests make one endpoint."""
    body = {**_wished(model, None, task), **({} if warm_for_s is None else {"warm_for_s": warm_for_s}), **options}
    return Call("POST", "/v1/deployments", _one(Deployment), body, is_repeatable=warm_for_s is None)


def deployments() -> Call[tuple[OwnDeployment, ...]]:
    """List the caller's endpoints (`GET /v1/deployments`)."""
    return Call(
        "GET", "/v1/deployments", lambda body: _Deployments.model_validate_json(body, extra="ignore").deployments
    )


def delete_deployment(deployment_id: str) -> Call[None]:
    """Delete one of the caller's endpoints (`DELETE /v1/deployments/{id}`)."""
    return Call("DELETE", f"/v1/deployments/{quote(deployment_id, safe='')}", lambda _: None)


def webhook_secret() -> Call[str]:
    """Ask for what verifies the caller's webhooks (`GET /v1/webhooks/key`)."""
    return Call("GET", "/v1/webhooks/key", lambda body: _Secret.model_validate_json(body, extra="ignore").secret)


class _Models(BaseModel):
    models: tuple[OfferedModel, ...]


class _Deployments(BaseModel):
    deployments: tuple[OwnDeployment, ...]


class _Secret(BaseModel):
    secret: str


def parsed(call: Call[T], url: str, status: int, body: bytes) -> T:
    """Return what an answer says.

    Args:
        call: What was asked.
        url: Of the gateway.
        status: HTTP status.
        body: The whole body.

    Raises:
        GatewayError: It says something else.
    """
    try:
        return call.parse(body)
    except ValidationError as error:
        path = call.path.partition("?")[0]
        detail = f"{url} answered {call.method} {path} with something else than expected: is it a Visgate gateway?"
        raise GatewayError(detail, hint="Check the URL; update this client if it is.", status=status) from error


def _wished(model: str, input: Input | None, task: Task | str | None) -> dict[str, Any]:
    body: dict[str, Any] = {"model": model}
    if isinstance(input, Prompted):
        body["input"] = input.model_dump(mode="json", exclude_none=True, exclude_unset=True)
        task = task or getattr(input, "task", None)
    elif input is not None:
        body["input"] = dict(input)
    return body if task is None else {**body, "task": str(task)}


def _one(model: type[ModelT]) -> Callable[[bytes], ModelT]:
    return lambda body: model.model_validate_json(body, extra="ignore")
