"""Signing in to Amazon ECR by a token of some hours from AWS credentials, so that no password is kept; no Pulumi."""

import base64
import re
from typing import Any

from pulumi_visgate.resources.errors import RegistryError

_HOST = re.compile(r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?")
_CONNECT_TIMEOUT_S = 5
_READ_TIMEOUT_S = 20
_ATTEMPTS = 4


class EcrLoginError(RegistryError):
    """AWS gives no token for its registry."""


def ecr_login(host: str, profile: str | None = None) -> tuple[str, str] | None:
    """Return user and password for a registry of ECR (`GetAuthorizationToken`), or None for any other registry.

    Args:
        host: Of the registry, such as `123456789012.dkr.ecr.eu-central-1.amazonaws.com`.
        profile: Profile of the credentials; those that boto3 finds when left out.

    Raises:
        EcrLoginError: AWS did not give a token.
    """
    found = _HOST.fullmatch(host)
    if found is None:
        return None
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415, slow to import

    try:
        data = _client(found["region"], profile).get_authorization_token(registryIds=[found["account"]])[
            "authorizationData"
        ]
        user, _, password = base64.b64decode(data[0]["authorizationToken"]).decode().partition(":")
    except (BotoCoreError, ClientError) as error:
        reason = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
        detail = f"ECR gives no token for {host}: {reason}."
        hint = "See that AWS credentials are there and that they may call ecr:GetAuthorizationToken."
        raise EcrLoginError(detail, hint=hint) from None
    return user, password


def _client(region: str, profile: str | None) -> Any:
    import boto3  # noqa: PLC0415, slow to import
    from botocore.config import Config  # noqa: PLC0415, as above

    config = Config(
        connect_timeout=_CONNECT_TIMEOUT_S,
        read_timeout=_READ_TIMEOUT_S,
        retries={"mode": "standard", "max_attempts": _ATTEMPTS},
    )
    return boto3.Session(profile_name=profile).client("ecr", region_name=region, config=config)
