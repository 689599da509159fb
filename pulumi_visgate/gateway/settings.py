"""Settings of the gateway, read once from the environment (`VISGATE_GATEWAY_…`) and frozen."""

import ipaddress
import re
from functools import cached_property
from importlib.util import find_spec
from typing import Annotated, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pulumi_visgate.gateway.services.limiter import quota_of
from pulumi_visgate.hub import HF_ENDPOINT
from visgate_contract.pools import PoolPolicy, Window
from visgate_contract.signing import MIN_SIGNING_KEY_BYTES
from visgate_contract.tasks import Task

ENV_PREFIX = "VISGATE_GATEWAY_"
MAX_PRESIGN_S = 7 * 24 * 3600  # SigV4 signs no longer
MAX_ROLE_PRESIGN_S = (
    3300  # a session of a role that another role took lasts an hour; it is renewed before its last part
)

Name = Annotated[str, Field(min_length=1)]


class Volume(BaseModel):
    """One network volume of the platform.

    Args:
        id: Runpod's id.
        data_center_id: Where it is.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: Name
    data_center_id: Name


class OfferedModel(BaseModel):
    """One model that this platform offers.

    Args:
        model_id: Hub id such as `stabilityai/sdxl-turbo`.
        revision: Commit of the model; the newest when left out.
        tasks: What callers may ask of it.
        policy: Pool policy that the platform runs it under.
        windows: When a `scheduled_warm` pool keeps workers.
        min_workers: Workers that its pool always keeps; at least one for `always_on`.
        max_workers: Most workers of its pool; the platform's `workers_max` when left out.
        idle_timeout_s: Seconds until an idle worker of its pool stops; the platform's when left out.
        gpu_pools: Runpod pools fit for it; the platform's when empty.
        network_volume_ids: Volumes that hold it. Those that the caller's account owns are mounted.
    """

    # Unknown fields are ignored, so that a newer platform program can start an older gateway.
    model_config = ConfigDict(frozen=True, extra="ignore")

    model_id: Name
    revision: str | None = None
    tasks: Annotated[tuple[Task, ...], Field(min_length=1)] = (Task.TEXT2IMG,)
    policy: PoolPolicy = PoolPolicy.ON_DEMAND
    windows: tuple[Window, ...] = ()
    min_workers: int = Field(default=0, ge=0)
    max_workers: int | None = Field(default=None, ge=1)
    idle_timeout_s: int | None = Field(default=None, ge=1, le=3600)
    gpu_pools: tuple[Name, ...] = ()
    network_volume_ids: tuple[Name, ...] = ()


class Settings(BaseSettings):
    """Everything the gateway is told; nothing else reads the environment.

    Args:
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        public_url: Base of the links in answers, without a slash at its end.
        signing_key: The platform's key; every user's webhook secret is derived from it.
        previous_signing_key: The one before, while what it made is still to be good; see docs/webhooks.md.
        origin_secret: What the CDN in front sends as `X-Visgate-Origin`; requests without it are refused.
        runpod_api_url: Base of Runpod's REST API.
        runpod_jobs_url: Base of Runpod's job API.
        runpod_timeout_s: Longest wait for one call to Runpod, in seconds.
        deadline_s: Longest time for one answer, in seconds.
        list_ttl_s: How long a user's list of endpoints is trusted, in seconds.
        image: Worker image of endpoints that the gateway creates.
        gpu_pools: Runpod GPU pools of such endpoints.
        data_center_ids: Where they may run; anywhere when empty.
        container_disk_gb: Their container disk, in GB.
        workers_max: Most workers of one of them; also what a scaled-down endpoint is restored to.
        idle_timeout_s: Seconds until an idle worker stops.
        watchdog_idle_s: Seconds without a job after which the worker's watchdog acts.
        watchdog_action: What the watchdog does then, and after repeated failures.
        watchdog_max_failures: Failed jobs in a row that the watchdog accepts.
        models: What the platform offers, the caller's own endpoints apart.
        network_volumes: Where the platform's volumes are; those of a model that are not here are asked for.
        allow_unlisted_models: Create endpoints for any model on the Hub, too.
        allow_pickles: Weights may be pickles, which can run code when they are read, where there are no safetensors.
        hf_endpoint: Base of the model hub; workers that have to download are sent there, too.
        hub_timeout_s: Longest time for everything that is read from it about one model, in seconds.
        max_job_usd: Most that one job may cost, in US dollars; no ceiling when left out.
        max_key_usd_per_day: Most that the account behind a key may spend on serverless endpoints in a day, in US
            dollars; no ceiling when left out.
        bucket: Where artifacts go.
        s3_endpoint: URL of the S3 service; AWS when left out.
        s3_access_key_id: Key that signs uploads; the process's own identity when left out.
        s3_secret_access_key: Its secret.
        s3_region: Region that signatures name.
        s3_role_arn: Role whose session signs uploads; it lasts an hour, so `upload_ttl_s` must be less.
        key_prefix: What the keys of artifacts begin with, such as `artifacts/`.
        cdn_base_url: Where artifacts are read; by presigned requests to the bucket when left out.
        link_key_id: CloudFront's id of the key that links are signed with; they are not signed when left out.
        link_ttl_s: How long a signed link is good, in seconds; a job that is asked for has new ones.
        upload_ttl_s: How long an upload URL is good, in seconds; not less than `job_ttl_s`.
        job_timeout_s: Longest run of one job, in seconds.
        job_ttl_s: Longest life of one job, queue included, in seconds.
        images_wait_s: How long a request in OpenAI's form waits for its pictures, in seconds; less than a proxy in
            front of the gateway does.
        allow_loopback: Webhooks may go to this machine, by http too. For the local stack only.
        webhook_ports: Ports that webhooks may use.
        announce_wait_s: Longest that an answer waits for the receiver of `provisioning`, in seconds.
        max_body_bytes: Largest request body; a picture sent as a data URI has to fit.
        rate_per_user: Requests of one Runpod key: a rate, and how many may come at once.
        rate_per_ip: Requests of one address, or of one /64 network where it is IPv6.
        valkey_url: `valkey://[user:password@]host[:port]`, or `valkeys://…` for TLS: counts for all processes together;
            each counts for itself when left out.
        trusted_proxies: Networks of proxies whose word about their callers' addresses is taken.
        client_address_header: Where they put it: `X-Forwarded-For` or one of its kind, or `Forwarded` (RFC 7239).
        heartbeat_s: Seconds between comments on a silent event stream.
        log_level: What is logged.
        log_format: `json`, one object a line, or `text`.
        metrics_token: Bearer token for `GET /metrics`, which answers nobody when left out.
        tracing: Send spans as OpenTelemetry's own variables (`OTEL_EXPORTER_OTLP_ENDPOINT`, …) say; needs the extra
            `tracing`.
    """

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    public_url: str = "http://127.0.0.1:8080"
    signing_key: SecretStr
    previous_signing_key: SecretStr | None = None
    origin_secret: SecretStr | None = None

    runpod_api_url: str = "https://api.runpod.io"
    runpod_jobs_url: str = "https://api.runpod.ai/v2"
    runpod_timeout_s: float = Field(default=8.0, gt=0)
    deadline_s: float = Field(default=10.0, gt=0)
    list_ttl_s: float = Field(default=5.0, ge=0)

    image: Name
    gpu_pools: Annotated[tuple[Name, ...], Field(min_length=1)]
    data_center_ids: tuple[Name, ...] = ()
    container_disk_gb: int = Field(default=40, ge=1)
    workers_max: int = Field(default=3, ge=1)
    idle_timeout_s: int = Field(default=60, ge=1, le=3600)
    watchdog_idle_s: int = Field(default=1800, ge=1)
    watchdog_action: Literal["none", "scale_to_zero", "delete"] = "scale_to_zero"
    watchdog_max_failures: int = Field(default=3, ge=1)

    models: tuple[OfferedModel, ...] = ()
    network_volumes: tuple[Volume, ...] = ()
    allow_unlisted_models: bool = False
    allow_pickles: bool = False
    hf_endpoint: str = HF_ENDPOINT
    hub_timeout_s: float = Field(default=5.0, gt=0)

    max_job_usd: float | None = Field(default=None, gt=0)
    max_key_usd_per_day: float | None = Field(default=None, gt=0)

    bucket: Name
    s3_endpoint: str | None = None
    s3_access_key_id: SecretStr | None = None
    s3_secret_access_key: SecretStr | None = None
    s3_region: str = "us-east-1"
    s3_role_arn: str | None = None
    key_prefix: Annotated[str, Field(pattern=r"^([A-Za-z0-9_-]+/)*$")] = ""
    cdn_base_url: str | None = None
    link_key_id: str | None = None
    link_ttl_s: int = Field(default=MAX_PRESIGN_S, ge=60)
    upload_ttl_s: int = Field(default=90_000, ge=60, le=MAX_PRESIGN_S)
    job_timeout_s: int = Field(default=900, ge=5, le=MAX_PRESIGN_S)
    job_ttl_s: int = Field(default=86_400, ge=10, le=MAX_PRESIGN_S)

    images_wait_s: float = Field(default=55.0, gt=0)
    allow_loopback: bool = False
    webhook_ports: tuple[int, ...] = (443, 8443)
    announce_wait_s: float = Field(default=0.3, ge=0)

    max_body_bytes: int = Field(default=7 * 1024 * 1024, ge=1024)
    rate_per_user: str = "1200/minute burst 40"
    rate_per_ip: str = "2400/minute burst 80"
    valkey_url: SecretStr | None = None
    trusted_proxies: tuple[IPvAnyNetwork, ...] = ()
    client_address_header: str = Field(default="X-Forwarded-For", pattern=r"^[A-Za-z0-9-]{1,64}$")
    heartbeat_s: float = Field(default=15.0, gt=0)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "text"] = "json"
    metrics_token: Annotated[SecretStr, Field(min_length=16)] | None = None
    tracing: bool = False

    @field_validator("public_url", "runpod_api_url", "runpod_jobs_url", "cdn_base_url", "s3_endpoint", "hf_endpoint")
    @classmethod
    def _is_base_url(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            message = "must start with http:// or https://"
            raise ValueError(message)
        return value.rstrip("/") if value else None

    @field_validator("rate_per_user", "rate_per_ip")
    @classmethod
    def _is_rate(cls, value: str) -> str:
        quota_of(value)
        return value

    @field_validator("valkey_url")
    @classmethod
    def _is_valkey(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.match(r"(valkey|redis)s?://[^/]", value.get_secret_value()):
            message = "must start with valkey:// or valkeys:// and name a host"
            raise ValueError(message)
        return value

    @field_validator("previous_signing_key", mode="before")
    @classmethod
    def _is_none_if_empty(cls, value: object) -> object:
        return value or None

    @field_validator("signing_key", "previous_signing_key")
    @classmethod
    def _is_long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < MIN_SIGNING_KEY_BYTES:
            message = f"must have at least {MIN_SIGNING_KEY_BYTES} characters; `openssl rand -base64 32` makes one"
            raise ValueError(message)
        return value

    @field_validator("tracing")
    @classmethod
    def _can_trace(cls, value: bool) -> bool:
        if value and not _is_installed("opentelemetry.exporter.otlp.proto.http"):
            message = "needs the extra `tracing`: pip install 'pulumi-visgate[gateway,tracing]'"
            raise ValueError(message)
        return value

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.upload_ttl_s < self.job_ttl_s:
            message = "upload_ttl_s must not be less than job_ttl_s: a late job could not upload"
            raise ValueError(message)
        if (self.s3_access_key_id is None) != (self.s3_secret_access_key is None):
            message = "s3_access_key_id and s3_secret_access_key go together"
            raise ValueError(message)
        if self.s3_role_arn is not None and self.upload_ttl_s > MAX_ROLE_PRESIGN_S:
            message = f"upload_ttl_s must not be more than {MAX_ROLE_PRESIGN_S} with s3_role_arn: a session ends then"
            raise ValueError(message)
        return self

    @property
    def signing_keys(self) -> tuple[SecretStr, ...]:
        """The keys that are good, newest first."""
        previous = self.previous_signing_key
        return (self.signing_key,) if previous is None else (self.signing_key, previous)

    @property
    def can_be_called_back(self) -> bool:
        """Runpod can reach this gateway: it does not run on a machine of its own network, unless Runpod does, too."""
        return not is_inside(self.public_url) or is_inside(self.runpod_jobs_url)

    def offered(self, model_id: str) -> OfferedModel | None:
        """Return the offer for a model, or None."""
        return self._by_id.get(model_id)

    @cached_property
    def _by_id(self) -> dict[str, OfferedModel]:
        return {model.model_id: model for model in reversed(self.models)}

    def secrets(self) -> tuple[str, ...]:
        """Return the platform's secrets, for masking."""
        stored = (self.s3_access_key_id, self.s3_secret_access_key)
        held = (*self.signing_keys, self.origin_secret, *stored, self.valkey_url, self.metrics_token)
        told = [secret.get_secret_value() for secret in held if secret is not None]
        password = urlsplit(self.valkey_url.get_secret_value()).password if self.valkey_url else None
        return (*told, unquote(password)) if password else tuple(told)


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even what it is a part of
        return False


def is_inside(url: str) -> bool:
    """Tell whether a base URL names this machine or a private address."""
    host = urlsplit(url).hostname or ""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
