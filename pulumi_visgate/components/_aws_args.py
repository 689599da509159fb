"""What target `aws` can be told besides: the TypedDicts of programs, and the models that check them. No pulumi-aws."""

from typing import Literal, NotRequired, TypedDict

import pulumi
from pydantic import Field, model_validator

from pulumi_visgate.components._base import Arguments

CLOUDWATCH_RETENTIONS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 3653)
LAMBDA = "lambda"
FARGATE = "fargate"
ARTIFACT_PREFIX = "artifacts/"


class AwsCdn(TypedDict):
    """The bucket for artifacts and its distribution in AWS."""

    domain: NotRequired[str]
    """Name that artifacts are read at, such as `cdn.acme.example`; one of CloudFront's own when left out."""
    zone_id: NotRequired[str]
    """Route 53 zone of `domain`."""
    signed_links: NotRequired[bool]
    """Links carry a signature and end in time; off by default, then a link is good while the object is there."""
    versioning: NotRequired[bool]
    """Keep a deleted or overwritten artifact for 7 days; off by default."""
    expire_prefix_days: NotRequired[dict[str, int]]
    """Days after which objects go, by prefix, such as `{"artifacts/": 30}`; beside `expire_after_days`."""
    log_retention_days: NotRequired[int]
    """Days that access logs are kept, 30 by default; 0 for no access logs."""
    price_class: NotRequired[str]
    """CloudFront's price class, `PriceClass_100` by default."""


class AwsGateway(TypedDict):
    """The gateway in AWS."""

    compute: NotRequired[str]
    """`lambda`, the default, which costs nothing when idle, or `fargate` for steady load and many listeners."""
    image: NotRequired[pulumi.Input[str]]
    """Gateway image in ECR; built from this version and pushed when left out."""
    domain: NotRequired[str]
    """Name that callers use, such as `api.acme.example`; one of CloudFront's own when left out. Fargate needs it."""
    zone_id: NotRequired[str]
    """Route 53 zone of `domain`."""
    memory_mb: NotRequired[int]
    """Memory in MiB, 1024 by default."""
    cpu: NotRequired[int]
    """Of a Fargate task, in units of which 1024 are a virtual CPU; 512 by default."""
    reserved_concurrency: NotRequired[int]
    """Most requests at once of the Lambda function, 50 by default; 0 for no reservation."""
    min_tasks: NotRequired[int]
    """Fewest Fargate tasks, 2 by default."""
    max_tasks: NotRequired[int]
    """Most Fargate tasks, 10 by default."""
    shared_limits: NotRequired[bool]
    """Count requests over all Fargate tasks in Valkey; off by default, then each task counts for itself."""
    waf: NotRequired[bool]
    """Put a web ACL in front; on by default."""
    waf_requests_per_ip: NotRequired[int]
    """Requests of one address in five minutes that the web ACL lets pass, 2000 by default."""
    log_retention_days: NotRequired[int]
    """Days that logs are kept, 30 by default."""
    alarm_email: NotRequired[str]
    """Who is told of alarms; nobody when left out, the topic is there anyway."""
    monthly_budget_usd: NotRequired[float]
    """AWS spend of the account in a month from which on it is told; no budget when left out."""
    runpod_hourly_limit_usd: NotRequired[float]
    """Runpod spend of the account in an hour from which on it is told; needs the reaper's schedule."""
    price_class: NotRequired[str]
    """CloudFront's price class, `PriceClass_100` by default."""


class AwsReaper(TypedDict):
    """Ends what nobody owns at Runpod."""

    delete: NotRequired[bool]
    """End it; off by default, then it is reported only. Look at some reports first."""
    every_hours: NotRequired[int]
    """How often it looks, 1 by default."""
    min_age_hours: NotRequired[int]
    """Hours that an endpoint must have been idle since it was made or changed, 24 by default."""


class AwsPlatform(TypedDict):
    """The whole platform in AWS."""

    cdn: NotRequired[AwsCdn]
    """The bucket for artifacts and its distribution."""
    gateway: NotRequired[AwsGateway]
    """The gateway."""
    model_store: NotRequired[bool]
    """Keep the models in a store behind CloudFront, too, for pools that start where no volume is; off by default."""
    runpod_key_secret_arn: NotRequired[str]
    """Secrets Manager secret with the account's Runpod key, for schedules and reaper. Make it by hand, so that the key
    is in no state."""
    reaper: NotRequired[AwsReaper]
    """Look for what nobody owns; not at all when left out."""


class AwsDomain(Arguments):
    """A name and the zone that it is in go together."""

    domain: str | None = Field(default=None, pattern=r"^[a-z0-9.-]+\.[a-z]{2,}$")
    zone_id: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _go_together(self) -> "AwsDomain":
        if (self.domain is None) != (self.zone_id is None):
            message = "domain and zone_id go together"
            raise ValueError(message)
        return self


PriceClass = Literal["PriceClass_100", "PriceClass_200", "PriceClass_All"]


class CdnOnAws(AwsDomain):
    """Checked `AwsCdn`."""

    signed_links: bool = False
    versioning: bool = False
    expire_prefix_days: dict[str, int] = Field(default_factory=dict)
    log_retention_days: int = Field(default=30)
    price_class: PriceClass = "PriceClass_100"

    @model_validator(mode="after")
    def _is_possible(self) -> "CdnOnAws":
        if self.log_retention_days:
            require_retention(self.log_retention_days)
        for prefix, days in self.expire_prefix_days.items():
            if days < 1 or not prefix or prefix.startswith("/"):
                message = "expire_prefix_days maps prefixes such as artifacts/ to 1 day or more"
                raise ValueError(message)
        return self


class GatewayOnAws(AwsDomain):
    """Checked `AwsGateway`."""

    compute: Literal["lambda", "fargate"] = "lambda"
    image: object = None
    memory_mb: int = Field(default=1024, ge=512, le=10240)
    cpu: int = Field(default=512, ge=256, le=16384)
    reserved_concurrency: int = Field(default=50, ge=0)
    min_tasks: int = Field(default=2, ge=1)
    max_tasks: int = Field(default=10, ge=1)
    shared_limits: bool = False
    waf: bool = True
    waf_requests_per_ip: int = Field(default=2000, ge=10)
    log_retention_days: int = 30
    alarm_email: str | None = Field(default=None, pattern=r"^[^@\s]+@[^@\s]+$")
    monthly_budget_usd: float | None = Field(default=None, gt=0)
    runpod_hourly_limit_usd: float | None = Field(default=None, gt=0)
    price_class: PriceClass = "PriceClass_100"

    @model_validator(mode="after")
    def _is_possible(self) -> "GatewayOnAws":
        require_retention(self.log_retention_days)
        if self.compute == FARGATE and self.domain is None:
            message = "compute fargate needs domain and zone_id: the load balancer's certificate is for that name"
            raise ValueError(message)
        if self.shared_limits and self.compute != FARGATE:
            message = "shared_limits need compute fargate; the web ACL's rate rule counts for all of Lambda"
            raise ValueError(message)
        if self.min_tasks > self.max_tasks:
            message = "min_tasks must not be more than max_tasks"
            raise ValueError(message)
        return self


class ReaperOnAws(Arguments):
    """Checked `AwsReaper`."""

    delete: bool = False
    every_hours: int = Field(default=1, ge=1)
    min_age_hours: int = Field(default=24, ge=1)


class PlatformOnAws(Arguments):
    """Checked `AwsPlatform`."""

    cdn: CdnOnAws = Field(default_factory=CdnOnAws)
    gateway: GatewayOnAws = Field(default_factory=GatewayOnAws)
    model_store: bool = False
    runpod_key_secret_arn: str | None = Field(default=None, pattern=r"^arn:aws[a-z-]*:secretsmanager:.+")
    reaper: ReaperOnAws | None = None

    @model_validator(mode="after")
    def _has_a_key(self) -> "PlatformOnAws":
        if self.reaper and self.runpod_key_secret_arn is None:
            message = "reaper needs runpod_key_secret_arn"
            raise ValueError(message)
        return self


def require_retention(days: int) -> None:
    """Refuse a time that CloudWatch Logs does not offer."""
    if days not in CLOUDWATCH_RETENTIONS:
        offered = ", ".join(map(str, CLOUDWATCH_RETENTIONS))
        message = f"log_retention_days must be one of {offered}"
        raise ValueError(message)
