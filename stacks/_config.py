"""Configuration of the stacks in AWS: every `visgate:` key, typed and checked, with what it is when left out."""

from typing import Any, Literal

import pulumi
from pulumi.runtime.config import get_config_env
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

NAMESPACE = "visgate"
# Read by the providers of the resources, see docs/library.md.
PROVIDER_KEYS = frozenset(
    {
        "runpodApiKey", "runpodApiUrl", "runpodJobsUrl", "apiTimeoutS", "s3Endpoint", "s3Region", "s3AccessKeyId",
        "s3SecretAccessKey", "runpodS3AccessKeyId", "runpodS3SecretAccessKey", "hfToken", "hfEndpoint", "market",
        "hostUrl", "hostToken",
    }
)  # fmt: skip


class _Section(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, hide_input_in_errors=True
    )


class Window(_Section):
    """A time of the week in which a pool keeps workers."""

    start: str
    end: str
    timezone: str
    days: list[str] | None = None
    min_workers: int = 1


class Model(_Section):
    """One model of the platform; what each field means is in docs/library.md."""

    model_id: str
    source: str | None = None
    revision: str | None = None
    tasks: list[str] | None = None
    policy: str | None = None
    windows: list[Window] | None = None
    min_workers: int | None = None
    max_workers: int | None = None
    idle_timeout_s: int | None = None
    gpu_pools: list[str] | None = None


class StackConfig(_Section):
    """Everything that a stack in AWS can be told."""

    regions: list[str] = Field(min_length=1, description="Runpod data centers with a model cache; workers run there.")
    gpu_pools: list[str] = Field(min_length=1, description="Serverless GPU pools of Runpod's catalog.")
    models: list[Model] = Field(min_length=1, description="What the platform serves.")
    volume_size_gb: int = Field(default=50, description="Size of each region's volume in GB.")
    model_store: bool = Field(
        default=False, description="Keep the models behind a CDN, too, for pools without a volume."
    )
    worker_image: str | None = Field(default=None, description="Worker image; built and pushed when left out.")
    gateway_image: str | None = Field(default=None, description="Gateway image in ECR; built and pushed when left out.")

    compute: Literal["lambda", "fargate"] = Field(
        default="lambda", description="Where the gateway runs: lambda costs nothing when idle, fargate is for load."
    )
    domain: str | None = Field(default=None, description="Name that callers use; fargate needs one.")
    cdn_domain: str | None = Field(default=None, description="Name that artifacts are read at.")
    zone_id: str | None = Field(default=None, description="Route 53 zone of both names.")
    memory_mb: int = Field(default=1024, description="Memory of the gateway in MiB.")
    reserved_concurrency: int = Field(default=50, description="Most requests at once of Lambda; 0 for no reservation.")
    min_tasks: int = Field(default=2, description="Fewest Fargate tasks.")
    max_tasks: int = Field(default=10, description="Most Fargate tasks.")
    shared_limits: bool = Field(default=False, description="Count requests over all Fargate tasks, in Valkey.")
    waf: bool = Field(default=True, description="Put a web ACL in front of the gateway.")
    waf_requests_per_ip: int = Field(default=2000, description="Requests of one address in five minutes that pass.")

    cdn_url: str | None = Field(default=None, description="Where R2, MinIO or the like serves the artifacts.")
    cors_origins: list[str] = Field(default_factory=list, description="Origins whose pages may read artifacts.")
    signed_links: bool = Field(default=False, description="Links to artifacts are signed and end in time.")
    versioning: bool = Field(default=False, description="Keep deleted and overwritten artifacts for 7 days.")
    expire_after_days: int | None = Field(default=None, description="Days after which an artifact is deleted.")

    runpod_key_secret_arn: str | None = Field(
        default=None, description="Secret with the account's Runpod key, for schedules and reaper."
    )
    reaper: Literal["off", "report", "delete"] = Field(
        default="off", description="What becomes of endpoints at Runpod that nobody owns."
    )
    reaper_min_age_hours: int = Field(default=24, description="Hours of no use after which nobody owns one.")

    alarm_email: str | None = Field(default=None, description="Who is told of alarms.")
    monthly_budget_usd: float | None = Field(default=None, description="AWS spend in a month that is told of.")
    runpod_hourly_limit_usd: float | None = Field(default=None, description="Runpod spend in an hour that is told of.")
    log_retention_days: int = Field(default=30, description="Days that logs are kept.")

    force_destroy: bool = Field(default=False, description="Delete artifacts and images with the stack.")
    tags: dict[str, str] = Field(default_factory=dict, description="Tags of every resource.")


def read(**defaults: Any) -> StackConfig:
    """Read the configuration of the selected stack.

    Args:
        defaults: What a stack's program wants where its configuration is silent, by field.

    Raises:
        pulumi.RunError: A key is missing, wrong or unknown; the message names each.
    """
    config = pulumi.Config(NAMESPACE)
    keys = {name: field.alias or name for name, field in StackConfig.model_fields.items()}
    given = {name: _value(config, key) for name, key in keys.items() if config.get(key) is not None}
    unknown = sorted(
        key
        for key in (found.partition(":")[2] for found in get_config_env() if found.startswith(f"{NAMESPACE}:"))
        if key not in keys.values() and key not in PROVIDER_KEYS
    )
    lines = [f"visgate:{key} is not known" for key in unknown]
    try:
        found = StackConfig.model_validate({**defaults, **given})
    except ValidationError as error:
        for wrong in error.errors(include_url=False, include_input=False, include_context=False):
            first, *others = wrong["loc"]
            key = ".".join(str(part) for part in (keys.get(str(first), str(first)), *others))
            lines.append(f"visgate:{key}: {wrong['msg']}")
    if lines:
        message = (
            f"The configuration of stack {pulumi.get_stack()} is not usable: {'; '.join(lines)}."
            " stacks/Pulumi.prod.yaml.example shows every key."
        )
        raise pulumi.RunError(message)
    return found


def _value(config: pulumi.Config, key: str) -> Any:
    field = next(field for field in StackConfig.model_fields.values() if field.alias == key)
    if _is_text(field.annotation):
        return config.get(key)
    try:
        return config.get_object(key)
    except pulumi.ConfigTypeError:
        return config.get(key)  # no JSON, which the model says in its own words


def _is_text(annotation: Any) -> bool:
    return annotation is str or annotation == (str | None) or str(annotation).startswith("typing.Literal")
