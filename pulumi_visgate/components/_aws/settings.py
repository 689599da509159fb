"""What the gateway is told in AWS: plain values in the environment, secrets and what comes late by reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi_aws import secretsmanager, ssm

from pulumi_visgate.components._aws._children import AwsFamily
from pulumi_visgate.components._gateway_env import SECRET_SETTINGS, env_name, env_value

PARTS = ("secret", "secret_version", "public_url")
_RECOVERY_DAYS = 7


def secret_settings(
    aws: AwsFamily, name: str, values: Mapping[str, pulumi.Input[Any]]
) -> tuple[dict[str, pulumi.Output[str]], secretsmanager.Secret]:
    """Put the secret settings into Secrets Manager, and return the environment that refers to them.

    Args:
        aws: Component that owns them.
        name: Name in the program.
        values: All settings by lower-case name; those that are no secret, and None, are left out.
    """
    secrets = {key: value for key, value in values.items() if key in SECRET_SETTINGS and value is not None}
    secret = aws.make(
        "secret",
        secretsmanager.Secret,
        name,
        secretsmanager.SecretArgs(description="Secret settings of the gateway", recovery_window_in_days=_RECOVERY_DAYS),
    )
    document = pulumi.Output.json_dumps({key: env_value(value) for key, value in secrets.items()})
    version = aws.make(
        "secret_version",
        secretsmanager.SecretVersion,
        f"{name}-version",
        secretsmanager.SecretVersionArgs(secret_id=secret.id, secret_string=_secret(document)),
    )

    # The version is in the reference, so that another secret is another environment: the gateway starts anew with it.
    def reference(key: str) -> pulumi.Output[str]:
        return pulumi.Output.concat(secret.arn, "#", key, "@", version.version_id)

    return {env_name(key): reference(key) for key in secrets}, secret


def _secret(text: pulumi.Output[str]) -> pulumi.Output[str]:
    return pulumi.Output.secret(text)


def plain_settings(values: Mapping[str, pulumi.Input[Any]]) -> dict[str, pulumi.Output[str]]:
    """Return the environment of the settings that are no secret."""
    return {
        env_name(key): env_value(value)
        for key, value in values.items()
        if key not in SECRET_SETTINGS and value is not None
    }


def public_url(aws: AwsFamily, name: str, url: pulumi.Input[str], parameter: pulumi.Input[str]) -> ssm.Parameter:
    """Write down where callers reach the gateway. It is known only after what the gateway itself is behind is made.

    Args:
        aws: Component that owns it.
        name: Name in the program.
        url: The address.
        parameter: Name of the parameter.
    """
    return aws.make("public_url", ssm.Parameter, name, ssm.ParameterArgs(name=parameter, type="String", value=url))
