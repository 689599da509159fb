"""Lambda functions from the gateway's image: the gateway itself, and what the schedules call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_aws import cloudwatch, iam, lambda_

from pulumi_visgate.components._aws._children import AwsFamily, Statement, policy, trust

PARTS = ("role", "role_policy", "log_group", "function")
URL_PARTS = ("function_url", "url_permission", "invoke_permission")
MAX_TIMEOUT_S = 900
PORT = 8080


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a function is, made before it: others name its role.

    Args:
        role: Its role.
        log_group: Where it logs.
    """

    role: iam.Role
    log_group: cloudwatch.LogGroup


def identity(aws: AwsFamily, name: str, *, description: str, log_retention_days: int) -> Identity:
    """Make role and log group of a function.

    Args:
        aws: Component that owns them.
        name: Name of the function in the program.
        description: What the function is for.
        log_retention_days: Days that its logs are kept.
    """
    role = aws.make(
        "role",
        iam.Role,
        f"{name}-role",
        iam.RoleArgs(description=description, assume_role_policy=trust("lambda.amazonaws.com")),
    )
    group = aws.make(
        "log_group",
        cloudwatch.LogGroup,
        f"{name}-log",
        cloudwatch.LogGroupArgs(name_prefix=f"/aws/lambda/{name}-", retention_in_days=log_retention_days),
    )
    return Identity(role, group)


def function(
    aws: AwsFamily,
    name: str,
    who: Identity,
    *,
    image: pulumi.Input[str],
    module: str,
    environment: Mapping[str, pulumi.Input[str]],
    may: tuple[Statement, ...],
    memory_mb: int,
    timeout_s: int,
    reserved_concurrency: int | None = None,
    adapter: Mapping[str, str] | None = None,
) -> lambda_.Function:
    """Make a function that serves HTTP behind the Lambda Web Adapter.

    Args:
        aws: Component that owns it.
        name: Name in the program.
        who: Its role and log group.
        image: Image in ECR.
        module: Python module that serves.
        environment: Its variables, none of them a secret.
        may: What it may do besides writing its log.
        memory_mb: Memory in MiB.
        timeout_s: Longest request in seconds.
        reserved_concurrency: Most requests at once; not limited when None.
        adapter: Settings of the Lambda Web Adapter besides the port.
    """
    log = {
        "Sid": "WriteLog",
        "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
        "Resource": who.log_group.arn.apply(lambda arn: f"{arn.removesuffix(':*')}:log-stream:*"),
    }
    granted = aws.make(
        "role_policy",
        iam.RolePolicy,
        f"{name}-policy",
        iam.RolePolicyArgs(role=who.role.id, policy=policy(log, *may)),
    )
    web_adapter = {"AWS_LWA_PORT": str(PORT), "AWS_LWA_READINESS_CHECK_PATH": "/readyz", **(adapter or {})}
    return aws.make(
        "function",
        lambda_.Function,
        name,
        lambda_.FunctionArgs(
            package_type="Image",
            image_uri=image,
            image_config=lambda_.FunctionImageConfigArgs(commands=["python", "-m", module]),
            architectures=["x86_64"],
            role=who.role.arn,
            memory_size=memory_mb,
            timeout=timeout_s,
            reserved_concurrent_executions=reserved_concurrency,
            logging_config=lambda_.FunctionLoggingConfigArgs(log_format="JSON", log_group=who.log_group.name),
            environment=lambda_.FunctionEnvironmentArgs(variables={**web_adapter, **environment}),
        ),
        depends_on=[granted],
    )


def function_url(aws: AwsFamily, name: str, made: lambda_.Function) -> lambda_.FunctionUrl:
    """Give a function an address that streams.

    It asks for no signature: CloudFront would sign in the `Authorization` header, in which callers send their key, and
    Lambda would want of callers the hash of each body. So the gateway itself refuses whatever does not carry the secret
    that only its distribution knows.

    Args:
        aws: Component that owns it.
        name: Name of the function in the program.
        made: The function.
    """
    url = aws.make(
        "function_url",
        lambda_.FunctionUrl,
        f"{name}-url",
        lambda_.FunctionUrlArgs(function_name=made.name, authorization_type="NONE", invoke_mode="RESPONSE_STREAM"),
    )
    aws.make(
        "url_permission",
        lambda_.Permission,
        f"{name}-url-permission",
        lambda_.PermissionArgs(
            function=made.name, action="lambda:InvokeFunctionUrl", principal="*", function_url_auth_type="NONE"
        ),
    )
    aws.make(
        "invoke_permission",
        lambda_.Permission,
        f"{name}-invoke-permission",
        lambda_.PermissionArgs(
            function=made.name, action="lambda:InvokeFunction", principal="*", invoked_via_function_url=True
        ),
    )
    return url
