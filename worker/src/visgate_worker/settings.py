"""What the worker is told by its environment, read once at each process's border."""

import os
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from visgate_contract.errors import ErrorCode, VisgateError
from visgate_contract.jobs import MODEL_ID_ENV, MODEL_REVISION_ENV, WEBHOOK_KEY_ENV, WEBHOOK_SECRET_ENV
from visgate_contract.signing import WEBHOOK_KEY_PREFIX, WEBHOOK_SECRET_PREFIX
from visgate_contract.tasks import Safety
from visgate_worker.runtime.recipe import Policy


class SettingsError(VisgateError):
    """An environment variable is missing or wrong."""

    code = ErrorCode.WORKER_FATAL


class WatchdogAction(StrEnum):
    """What becomes of the endpoint when its worker is idle for too long or broken."""

    NONE = "none"
    SCALE_TO_ZERO = "scale_to_zero"
    DELETE = "delete"


class Improve(StrEnum):
    """When a better runtime is looked for."""

    OFF = "off"
    START = "start"
    IDLE = "idle"


class Verify(StrEnum):
    """How a copy of the model is checked before it is loaded."""

    SIZE = "size"
    DIGEST = "digest"


def _hub_id(value: str | None) -> str | None:
    return None if value is None else _model_id(value)


def _names(value: object) -> object:
    return tuple(part.strip().lower() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _model_id(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", value) or ".." in value:
        message = "must be a hub id such as stabilityai/sdxl-turbo"
        raise ValueError(message)
    return value


def _revision(value: str | None) -> str | None:
    if value is not None and (not re.fullmatch(r"[\w.-]+(/[\w.-]+)*", value) or ".." in value):
        message = "must be a branch, tag or commit"
        raise ValueError(message)
    return value


def _models_url(value: str | None) -> str | None:
    if value is not None and (not value.startswith(("https://", "http://")) or "?" in value or "@" in value):
        message = "must be the URL of a folder, without a key in it"
        raise ValueError(message)
    return value


def _webhook_secret(value: SecretStr | None) -> SecretStr | None:
    if value is not None and not value.get_secret_value().startswith(WEBHOOK_SECRET_PREFIX):
        message = f"must begin with {WEBHOOK_SECRET_PREFIX}"
        raise ValueError(message)
    return value


def _webhook_key(value: SecretStr | None) -> SecretStr | None:
    if value is not None and not re.fullmatch(WEBHOOK_KEY_PREFIX + r"[A-Za-z0-9+/]{43}=", value.get_secret_value()):
        message = f"must be {WEBHOOK_KEY_PREFIX} and 32 bytes in base64"
        raise ValueError(message)
    return value


Seconds = Annotated[float, Field(gt=0)]
Names = Annotated[tuple[str, ...], BeforeValidator(_names)]

# Field of Settings → environment variable.
_ENVIRONMENT: Mapping[str, str] = {
    "model_id": MODEL_ID_ENV,
    "model_revision": MODEL_REVISION_ENV,
    "webhook_secret": WEBHOOK_SECRET_ENV,
    "webhook_key": WEBHOOK_KEY_ENV,
    "volume_path": "VISGATE_VOLUME_PATH",
    "cache_path": "VISGATE_CACHE_PATH",
    "models_url": "VISGATE_MODELS_URL",
    "models_token": "VISGATE_MODELS_TOKEN",
    "verify": "VISGATE_VERIFY",
    "runtime": "VISGATE_RUNTIME",
    "improve": "VISGATE_IMPROVE",
    "max_batch": "VISGATE_MAX_BATCH",
    "lora_hosts": "VISGATE_LORA_HOSTS",
    "lora_max_bytes": "VISGATE_LORA_MAX_BYTES",
    "lora_cache_bytes": "VISGATE_LORA_CACHE_BYTES",
    "safety": "VISGATE_SAFETY",
    "safety_model": "VISGATE_SAFETY_MODEL",
    "safety_labels": "VISGATE_SAFETY_LABELS",
    "safety_threshold": "VISGATE_SAFETY_THRESHOLD",
    "idle_timeout_s": "VISGATE_IDLE_TIMEOUT_S",
    "watchdog_action": "VISGATE_WATCHDOG_ACTION",
    "max_failures": "VISGATE_MAX_FAILURES",
    "start_timeout_s": "VISGATE_START_TIMEOUT_S",
    "load_timeout_s": "VISGATE_LOAD_TIMEOUT_S",
    "hang_timeout_s": "VISGATE_HANG_TIMEOUT_S",
    "shutdown_grace_s": "VISGATE_SHUTDOWN_GRACE_S",
    "allow_loopback": "VISGATE_ALLOW_LOOPBACK",
    "hf_token": "HF_TOKEN",
    "runpod_api_key": "RUNPOD_API_KEY",
    "runpod_api_url": "RUNPOD_API_URL",
    "runpod_worker_key": "RUNPOD_AI_API_KEY",
    "job_done_url": "RUNPOD_WEBHOOK_POST_OUTPUT",
    "endpoint_id": "RUNPOD_ENDPOINT_ID",
    "worker_id": "RUNPOD_POD_ID",
}


class Settings(BaseModel):
    """The worker's settings.

    Args:
        model_id: Hub id of the one model that this worker serves.
        model_revision: Branch, tag or commit of the model; the default branch when left out.
        webhook_secret: The user's secret, with which events are signed; without it no webhook can be delivered.
        webhook_key: The user's private key, with which events are signed, too.
        volume_path: Where the network volume is mounted.
        cache_path: Folder of this machine for what is fetched where no volume can be written to.
        models_url: Base of the platform's model store: `models/<org>/<name>/` is below it.
        models_token: Sent to the store's own host as a bearer token.
        verify: How a cached model is checked before it is loaded: sizes, or every byte.
        runtime: How the model is executed; see `runtime.recipe.Policy`.
        improve: When a better runtime is looked for: never, before the first job, or while no job waits.
        max_batch: Small pictures that are drawn at once, and jobs that are taken at once.
        lora_hosts: Hosts that URLs of LoRA weights may name; any public one when empty.
        lora_max_bytes: Largest file of LoRA weights.
        lora_cache_bytes: What is kept of them all.
        safety: What becomes of pictures that the safety checker objects to, unless a job is stricter.
        safety_model: Hub id of a classifier of pictures; the model's own checker when left out.
        safety_labels: Its labels that are objected to.
        safety_threshold: From which probability of all of them together.
        idle_timeout_s: Seconds without a job after which the worker ends; never when left out.
        watchdog_action: What the watchdog does to the endpoint.
        max_failures: Failed jobs in a row after which the watchdog acts.
        start_timeout_s: Seconds until the worker must be able to take jobs.
        load_timeout_s: Seconds that loading the model may take.
        hang_timeout_s: Seconds without a sign of life after which the worker counts as hung.
        shutdown_grace_s: Seconds that a running job may take to end once the worker is told to stop.
        allow_loopback: Input images may come from this machine, by http too. For the local stack only.
        hf_token: Hugging Face token, for gated models.
        runpod_api_key: Key that can only read, change and delete this worker's endpoint.
        runpod_api_url: Base URL of Runpod's API v2.
        runpod_worker_key: What the SDK takes and finishes jobs with.
        job_done_url: Where the SDK posts results, with `$RUNPOD_POD_ID` and `$ID` to be filled in.
        endpoint_id: This worker's endpoint.
        worker_id: This worker.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model_id: Annotated[str, AfterValidator(_model_id)]
    model_revision: Annotated[str | None, AfterValidator(_revision)] = None
    webhook_secret: Annotated[SecretStr | None, AfterValidator(_webhook_secret)] = None
    webhook_key: Annotated[SecretStr | None, AfterValidator(_webhook_key)] = None
    volume_path: Path = Path("/runpod-volume")
    cache_path: Path = Path("~/.cache/visgate")
    models_url: Annotated[str | None, AfterValidator(_models_url)] = None
    models_token: SecretStr | None = None
    verify: Verify = Verify.SIZE
    runtime: Policy = Policy.AUTO
    improve: Improve = Improve.IDLE
    max_batch: int = Field(default=1, ge=1, le=32)
    lora_hosts: Names = ()
    lora_max_bytes: int = Field(default=2 * 1024**3, ge=1)
    lora_cache_bytes: int = Field(default=20 * 1024**3, ge=1)
    safety: Safety = Safety.OFF
    safety_model: Annotated[str | None, AfterValidator(_hub_id)] = None
    safety_labels: Names = ("nsfw",)
    safety_threshold: float = Field(default=0.5, gt=0, le=1)
    idle_timeout_s: Seconds | None = None
    watchdog_action: WatchdogAction = WatchdogAction.NONE
    max_failures: int = Field(default=3, ge=1)
    start_timeout_s: Seconds = 420.0
    load_timeout_s: Seconds = 3600.0
    hang_timeout_s: Seconds = 600.0
    shutdown_grace_s: Seconds = 30.0
    allow_loopback: bool = False
    hf_token: SecretStr | None = None
    runpod_api_key: SecretStr | None = None
    runpod_api_url: str = "https://api.runpod.io"
    runpod_worker_key: SecretStr | None = None
    job_done_url: str | None = None
    endpoint_id: str | None = None
    worker_id: str | None = None

    @property
    def kept_path(self) -> Path:
        """Where to keep what the next worker should find: the volume, or this machine where there is none."""
        is_there = self.volume_path.is_dir() and os.access(self.volume_path, os.W_OK)
        return self.volume_path if is_there else self.cache_path.expanduser()

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read the settings.

        Args:
            environ: `os.environ` when left out. Empty values count as left out.

        Raises:
            SettingsError: A variable is missing or wrong; names all of them, never a value.
        """
        environ = os.environ if environ is None else environ
        values: dict[str, Any] = {
            field: environ[name] for field, name in _ENVIRONMENT.items() if environ.get(name, "").strip()
        }
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problems = [
                f"{_ENVIRONMENT[str(problem['loc'][0])]} {_said(problem['type'], problem['msg'])}"
                for problem in error.errors(include_input=False, include_url=False, include_context=False)
            ]
        detail = f"Wrong environment: {'; '.join(problems)}."
        raise SettingsError(detail, hint="Set it in the env of the endpoint or its template.")

    @classmethod
    def of_watchdog(cls, environ: Mapping[str, str]) -> Self:
        """Return what the watchdog needs of an environment that is wrong elsewhere; a wrong action counts as none."""
        values: dict[str, Any] = {
            field: environ[_ENVIRONMENT[field]]
            for field in ("runpod_api_key", "runpod_api_url", "endpoint_id", "worker_id")
            if environ.get(_ENVIRONMENT[field], "").strip()
        }
        action = environ.get(_ENVIRONMENT["watchdog_action"], "")
        values["watchdog_action"] = action if action in set(WatchdogAction) else WatchdogAction.NONE
        return cls.model_validate({"model_id": "unknown", **values})


def _said(kind: str, message: str) -> str:
    if kind == "missing":
        return "is missing"
    return message.removeprefix("Value error, ").replace("Input should", "should")
