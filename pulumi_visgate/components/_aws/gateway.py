"""The gateway in AWS: Lambda or Fargate behind its distribution, its secrets, its alarms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_aws import cloudfront, iam, sns

from pulumi_visgate.components._aws import (
    alarms,
    edge,
    function,
    images,
    repository,
    service,
    settings,
    uploader,
)
from pulumi_visgate.components._aws._children import AwsFamily, Statement
from pulumi_visgate.components._aws.artifact_cdn import url_of
from pulumi_visgate.components._aws.network import GATEWAY_PORT, network
from pulumi_visgate.components._aws_args import ARTIFACT_PREFIX, FARGATE, GatewayOnAws
from pulumi_visgate.components._base import ArgumentError
from pulumi_visgate.components._gateway_env import GATEWAY_MODULE, env_name
from pulumi_visgate.resources.signing_key import SigningKey

PARTS = tuple(
    dict.fromkeys(
        (
            *repository.PARTS,
            "build",
            "origin_secret",
            *settings.PARTS,
            *function.PARTS,
            *function.URL_PARTS,
            *uploader.PARTS,
            *edge.PARTS,
            *alarms.PARTS,
            *service.PARTS,
        )
    )
)
_ECR_IMAGE = re.compile(r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com/(?P<name>[^:@]+)")
LAMBDA_BODY_BYTES = 4 * 1024 * 1024  # of the 6 MB that an invocation may have, in which the body is text of JSON again
_JOB_TTL_S = 3300  # uploads are signed for so long, see services/role_session.py
_LAMBDA_ANNOUNCE_S = 2.0  # Lambda stops the process with its answer, so the announcement cannot go on behind it


@dataclass(frozen=True, slots=True)
class Deployed:
    """What the rest of the platform needs of it.

    Args:
        url: Where callers reach it.
        image: Its image.
        alarm_topic: Who is told.
        wanted: What the program asked for.
        hourly_floor_usd: What it costs in an hour of idling, in US dollars.
    """

    url: pulumi.Output[str]
    image: pulumi.Output[str]
    alarm_topic: sns.Topic
    wanted: GatewayOnAws
    hourly_floor_usd: float


def gateway(
    aws: AwsFamily,
    name: str,
    wanted: GatewayOnAws,
    values: Mapping[str, pulumi.Input[Any]],
    *,
    bucket: pulumi.Input[str] | None,
    force_delete: bool,
) -> Deployed:
    """Make the gateway and everything around it.

    Args:
        aws: Component that owns it.
        name: Name in the program.
        wanted: What the program asks for.
        values: Settings of the gateway by lower-case name.
        bucket: Bucket of the artifacts in this account; None where they go to another store.
        force_delete: Delete its images with the repository.
    """
    home = repository.repository(aws, f"{name}-image", force_delete=force_delete)
    image = (
        images.gateway(aws, f"{name}-build", home)
        if wanted.image is None
        else pulumi.Output.from_input(wanted.image).apply(str)
    )
    origin_secret = aws.family.resource("origin_secret", SigningKey, f"{name}-origin-secret", {}).value
    given = {
        **values,
        "origin_secret": origin_secret,
        "key_prefix": ARTIFACT_PREFIX,
        "images_wait_s": edge.READ_TIMEOUT_S - 5,
    }
    make = _on_fargate if wanted.compute == FARGATE else _on_lambda
    distribution, figures = make(
        aws,
        name,
        wanted,
        given,
        image=image,
        bucket=bucket,
        repository_arn=home.arn if wanted.image is None else image.apply(_repository_arn),
        secret=origin_secret,
    )
    told = alarms.topic(aws, f"{name}-alarms", email=wanted.alarm_email)
    made = [alarms.alarm(aws, f"{name}-{what}", told, watched) for what, watched in figures.items()]
    alarms.budget(aws, f"{name}-budget", told, wanted)
    alarms.dashboard(
        aws,
        f"{name}-dashboard",
        list(figures.values()),
        region=home.arn.apply(lambda arn: arn.split(":")[3]),
        alarms=[one.arn for one in made],
    )
    return Deployed(url_of(wanted.domain, distribution), image, told, wanted, aws.hourly_floor_usd)


_Figures = dict[str, alarms.Watched]


def _on_lambda(
    aws: AwsFamily,
    name: str,
    wanted: GatewayOnAws,
    values: Mapping[str, pulumi.Input[Any]],
    *,
    image: pulumi.Output[str],
    bucket: pulumi.Input[str] | None,
    repository_arn: pulumi.Output[str],  # noqa: ARG001, Lambda pulls with rights of its own
    secret: pulumi.Output[str],
) -> tuple[cloudfront.Distribution, _Figures]:
    who = function.identity(aws, name, description="The gateway", log_retention_days=wanted.log_retention_days)
    may_sign, signing = _signs_uploads(aws, name, who.role, bucket)
    given = {
        **values,
        **signing,
        "max_body_bytes": LAMBDA_BODY_BYTES,
        "announce_wait_s": _LAMBDA_ANNOUNCE_S,
    }
    references, held = settings.secret_settings(aws, f"{name}-settings", given)
    parameter = f"/visgate/{pulumi.get_project()}/{pulumi.get_stack()}/{name}/public-url"
    parameter_arn = held.arn.apply(lambda arn: _parameter_arn(arn, parameter))
    address = pulumi.Output.from_input(f"https://{wanted.domain}") if wanted.domain else parameter_arn
    environment = {
        **settings.plain_settings(given),
        **references,
        env_name("host"): pulumi.Output.from_input("127.0.0.1"),
        env_name("port"): pulumi.Output.from_input(str(function.PORT)),
        env_name("public_url"): address,
    }
    may: list[Statement] = [_may_read(held.arn), *may_sign]
    if not wanted.domain:
        may.append({"Sid": "ReadPublicUrl", "Action": "ssm:GetParameter", "Resource": parameter_arn})
    made = function.function(
        aws,
        name,
        who,
        image=image,
        module=GATEWAY_MODULE,
        environment=environment,
        may=tuple(may),
        memory_mb=wanted.memory_mb,
        timeout_s=function.MAX_TIMEOUT_S,  # as long as a stream of events may last
        reserved_concurrency=wanted.reserved_concurrency or None,
        adapter={"AWS_LWA_INVOKE_MODE": "response_stream"},
    )
    host = function.function_url(aws, name, made).function_url.apply(lambda url: url.split("/")[2])
    distribution = edge.edge(aws, name, wanted, host=host, origin_secret=secret)
    if not wanted.domain:
        settings.public_url(aws, f"{name}-public-url", url_of(None, distribution), parameter)
    return distribution, {
        **alarms.of_function(made.name),
        "latency": alarms.latency(aws, f"{name}-latency-filter", who.log_group),
    }


def _on_fargate(
    aws: AwsFamily,
    name: str,
    wanted: GatewayOnAws,
    values: Mapping[str, pulumi.Input[Any]],
    *,
    image: pulumi.Output[str],
    bucket: pulumi.Input[str] | None,
    repository_arn: pulumi.Output[str],
    secret: pulumi.Output[str],
) -> tuple[cloudfront.Distribution, _Figures]:
    who = service.task_identity(aws, name, log_retention_days=wanted.log_retention_days)
    may_sign, signing = _signs_uploads(aws, name, who.role, bucket)
    inside = network(aws, f"{name}-network")
    counters = service.shared_counters(aws, f"{name}-counters", inside) if wanted.shared_limits else None
    given = {**values, **signing, "valkey_url": counters}
    references, held = settings.secret_settings(aws, f"{name}-settings", given)
    environment = {
        **settings.plain_settings(given),
        **references,
        env_name("host"): pulumi.Output.from_input("0.0.0.0"),  # noqa: S104, inside its network
        env_name("port"): pulumi.Output.from_input(str(GATEWAY_PORT)),
        env_name("public_url"): pulumi.Output.from_input(f"https://{wanted.domain}"),
    }
    front = service.service(
        aws,
        name,
        who,
        inside,
        wanted,
        image=image,
        repository_arn=repository_arn,
        module=GATEWAY_MODULE,
        environment=environment,
        may=(_may_read(held.arn), *may_sign),
    )
    distribution = edge.edge(aws, name, wanted, host=front.host, origin_secret=secret, vpc_origin=front.vpc_origin)
    return distribution, {
        **alarms.of_service(front.load_balancer, front.target_group),
        "latency": alarms.latency(aws, f"{name}-latency-filter", who.log_group),
    }


def _signs_uploads(
    aws: AwsFamily, name: str, role: iam.Role, bucket: pulumi.Input[str] | None
) -> tuple[tuple[Statement, ...], dict[str, pulumi.Input[Any]]]:
    """Return what the gateway may do to sign uploads, and the settings for it; nothing where it has a key for that."""
    if bucket is None:
        return (), {}
    arn = pulumi.Output.concat("arn:aws:s3:::", bucket)
    signer = uploader.uploader(aws, f"{name}-uploader", bucket_arn=arn, prefix=ARTIFACT_PREFIX, trusted=role)
    return (uploader.may_take(signer),), {
        "s3_role_arn": signer.arn,
        "upload_ttl_s": _JOB_TTL_S,
        "job_ttl_s": _JOB_TTL_S,
    }


def _repository_arn(image: str) -> str:
    """Return the ARN of the repository that an image of ECR is in.

    Raises:
        ArgumentError: It is in another registry.
    """
    found = _ECR_IMAGE.match(image)
    if found is None:
        detail = f"Gateway: aws.image {image} is not in ECR, from which alone AWS runs it."
        raise ArgumentError(detail, hint="Push it to a repository of ECR in the stack's region.")
    return f"arn:aws:ecr:{found['region']}:{found['account']}:repository/{found['name']}"


def _may_read(secret_arn: pulumi.Output[str]) -> Statement:
    return {"Sid": "ReadSettings", "Action": "secretsmanager:GetSecretValue", "Resource": secret_arn}


def _parameter_arn(secret_arn: str, parameter: str) -> str:
    _, partition, _, region, account, *_ = secret_arn.split(":")
    return f"arn:{partition}:ssm:{region}:{account}:parameter{parameter}"
