"""What a stack has left behind in AWS: found by the tag that every resource of the stack carries."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pulumi_visgate.aws_prices import hourly_floor_usd
from pulumi_visgate.cli.leftovers import Leftover
from pulumi_visgate.cli.stack import Stack
from pulumi_visgate.resources._s3 import delete_objects, delete_versions, object_sizes

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

STACK_TAG = "visgate:stack"
EDGE_REGION = "us-east-1"
_CONNECT_TIMEOUT_S = 5
_READ_TIMEOUT_S = 30
_ATTEMPTS = 4
_GONE = ("NotFound", "NoSuch", "NonExistent", "DoesNotExist")


class AwsAccount:
    """Clients for the account of the environment.

    Args:
        environ: Environment of the process.
        region: Region of the stack.
    """

    def __init__(self, environ: Mapping[str, str], region: str) -> None:
        self.region = region
        self._endpoint = environ.get("AWS_ENDPOINT_URL")

    def client(self, service: str, region: str | None = None) -> Any:
        """Return a client with bounded waits."""
        import boto3  # noqa: PLC0415, slow to import
        from botocore.config import Config  # noqa: PLC0415, as above

        config = Config(
            connect_timeout=_CONNECT_TIMEOUT_S,
            read_timeout=_READ_TIMEOUT_S,
            retries={"mode": "standard", "max_attempts": _ATTEMPTS},
        )
        return boto3.client(  # type: ignore[call-overload]  # the name is a variable
            service, region_name=region or self.region, endpoint_url=self._endpoint, config=config
        )


def region_of(resources: Iterable[dict[str, Any]], environ: Mapping[str, str] = os.environ) -> str:
    """Return the region of a stack: that of its provider, else the environment's.

    Args:
        resources: As its state has them.
        environ: Environment of the process.
    """
    for resource in resources:
        if resource.get("type") == "pulumi:providers:aws":
            region = (resource.get("inputs") or {}).get("region")
            if region:
                return str(region)
    return environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or EDGE_REGION


def in_aws(account: AwsAccount, stack: Stack, resources: Iterable[dict[str, Any]]) -> list[Leftover]:
    """Return what carries the stack's tag and is not in its state.

    Args:
        account: Of the stack.
        stack: The stack.
        resources: As its state has them.
    """
    owned = {str((found.get("outputs") or {}).get("arn")) for found in resources}
    found: dict[str, Leftover] = {}
    wanted = f"{stack.project}/{stack.name}"
    for region in dict.fromkeys((account.region, EDGE_REGION)):
        pages = account.client("resourcegroupstaggingapi", region).get_paginator("get_resources")
        for page in pages.paginate(TagFilters=[{"Key": STACK_TAG, "Values": [wanted]}]):
            for one in page["ResourceTagMappingList"]:
                arn = one["ResourceARN"]
                if arn not in owned and not _is_ending(account, arn, region):
                    found[arn] = _leftover(account, arn, region)
    for role in _roles(account, wanted):
        if role["Arn"] not in owned:
            found[role["Arn"]] = _leftover(account, role["Arn"], account.region)
    return list(found.values())


def _is_ending(account: AwsAccount, arn: str, region: str) -> bool:
    """A deleted secret can be had back for some days, and keeps its tags until it is gone."""
    if ":secretsmanager:" not in arn:
        return False
    return "DeletedDate" in account.client("secretsmanager", region).describe_secret(SecretId=arn)


def _roles(account: AwsAccount, wanted: str) -> Iterator[dict[str, Any]]:
    """The tagging API knows no roles."""
    iam = account.client("iam")
    for page in iam.get_paginator("list_roles").paginate():
        for role in page["Roles"]:
            if role["Path"].startswith("/aws-service-role/"):
                continue
            tags = iam.list_role_tags(RoleName=role["RoleName"])["Tags"]
            if {"Key": STACK_TAG, "Value": wanted} in tags:
                yield role


def _leftover(account: AwsAccount, arn: str, region: str) -> Leftover:
    _, _, service, _, _, rest = arn.split(":", 5)
    kind = f"{service}:{rest.partition('/')[0].partition(':')[0]}" if service in _PREFIXED else service
    name, title, remove = rest.rpartition("/")[2].rpartition(":")[2], kind, _REMOVERS.get(kind)
    price = None if kind in _UNPRICED else hourly_floor_usd(_PRICED.get(kind, ""), {})
    holds_data = service == "s3"
    action = None if remove is None else _gone(remove, account, arn, region)
    return Leftover("AWS", title, name, arn, price, action, holds_data=holds_data)


def _gone(
    remove: Callable[[AwsAccount, str, str], object], account: AwsAccount, arn: str, region: str
) -> Callable[[], None]:
    def act() -> None:
        from botocore.exceptions import ClientError  # noqa: PLC0415, slow to import

        try:
            remove(account, arn, region)
        except ClientError as error:
            if not any(word in error.response["Error"]["Code"] for word in _GONE):
                raise

    return act


def _bucket(account: AwsAccount, arn: str, region: str) -> None:
    client: S3Client = account.client("s3", region)
    name = arn.rpartition(":")[2]
    delete_objects(client, name, object_sizes(client, name))
    delete_versions(client, name)
    client.delete_bucket(Bucket=name)


def _role(account: AwsAccount, arn: str, _region: str) -> None:
    iam, name = account.client("iam"), arn.rpartition("/")[2]
    for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
        iam.delete_role_policy(RoleName=name, PolicyName=policy)
    iam.delete_role(RoleName=name)


def _distribution(account: AwsAccount, arn: str, _region: str) -> None:
    """AWS deletes a distribution only once it is off everywhere: off now, gone at the next cleanup."""
    client, id_ = account.client("cloudfront", EDGE_REGION), arn.rpartition("/")[2]
    found = client.get_distribution_config(Id=id_)
    config = found["DistributionConfig"]
    if config["Enabled"]:
        config["Enabled"] = False
        client.update_distribution(Id=id_, IfMatch=found["ETag"], DistributionConfig=config)
    elif client.get_distribution(Id=id_)["Distribution"]["Status"] == "Deployed":
        client.delete_distribution(Id=id_, IfMatch=found["ETag"])


def _web_acl(account: AwsAccount, arn: str, region: str) -> None:
    client = account.client("wafv2", region)
    _, _, name, id_ = arn.rpartition(":")[2].split("/")
    scope = "CLOUDFRONT" if ":global/" in arn else "REGIONAL"
    token = client.get_web_acl(Name=name, Scope=scope, Id=id_)["LockToken"]
    with suppress(client.exceptions.WAFNonexistentItemException):
        client.delete_logging_configuration(ResourceArn=arn)
    client.delete_web_acl(Name=name, Scope=scope, Id=id_, LockToken=token)


def _last(service: str, operation: str, argument: str, **more: Any) -> Callable[[AwsAccount, str, str], object]:
    """Return what calls one operation with the last part of the ARN."""

    def remove(account: AwsAccount, arn: str, region: str) -> object:
        name = arn.rpartition("/")[2] if "/" in arn.split(":", 5)[5] else arn.rpartition(":")[2]
        return getattr(account.client(service, region), operation)(**{argument: name}, **more)

    return remove


def _whole(service: str, operation: str, argument: str, **more: Any) -> Callable[[AwsAccount, str, str], object]:
    """Return what calls one operation with the ARN itself."""

    def remove(account: AwsAccount, arn: str, region: str) -> object:
        return getattr(account.client(service, region), operation)(**{argument: arn}, **more)

    return remove


def _repository(account: AwsAccount, arn: str, region: str) -> object:
    name = arn.partition(":repository/")[2]
    return account.client("ecr", region).delete_repository(repositoryName=name, force=True)


def _log_group(account: AwsAccount, arn: str, region: str) -> object:
    name = arn.partition(":log-group:")[2].removesuffix(":*")
    return account.client("logs", region).delete_log_group(logGroupName=name)


def _alarm(account: AwsAccount, arn: str, region: str) -> object:
    return account.client("cloudwatch", region).delete_alarms(AlarmNames=[arn.rpartition(":")[2]])


def _parameter(account: AwsAccount, arn: str, region: str) -> object:
    return account.client("ssm", region).delete_parameter(Name=arn.partition(":parameter")[2])


_PREFIXED = frozenset({"lambda", "cloudfront", "wafv2", "iam", "logs", "ssm", "ecs", "ec2", "elasticloadbalancing"})
_PRICED = {
    "secretsmanager": "Secret",
    "cloudwatch": "MetricAlarm",
    "wafv2:global": "WebAcl",
    "elasticloadbalancing:loadbalancer": "LoadBalancer",
    "elasticache": "ServerlessCache",
}
_UNPRICED = frozenset({"ecs:service"})  # it costs what its tasks do
_REMOVERS: dict[str, Callable[[AwsAccount, str, str], object]] = {
    "s3": _bucket,
    "ecr": _repository,
    "iam:role": _role,
    "cloudfront:distribution": _distribution,
    "wafv2:global": _web_acl,
    "lambda:function": _last("lambda", "delete_function", "FunctionName"),
    "logs:log-group": _log_group,
    "secretsmanager": _whole("secretsmanager", "delete_secret", "SecretId", RecoveryWindowInDays=7),
    "sns": _whole("sns", "delete_topic", "TopicArn"),
    "cloudwatch": _alarm,
    "acm": _whole("acm", "delete_certificate", "CertificateArn"),
    "ssm:parameter": _parameter,
}
"""What can be removed from here; the rest is shown, and removed by hand."""
