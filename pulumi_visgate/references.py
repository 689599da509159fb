"""Settings given by reference: what a variable refers to is read from AWS when a service starts.

A value that is the ARN of a secret or of a parameter is replaced by what it holds:

    arn:aws:secretsmanager:eu-central-1:123456789012:secret:visgate-Ab1#signing_key@a1b2…
    arn:aws:ssm:eu-central-1:123456789012:parameter/visgate/prod/public-url

Behind `#` is a key of the secret's JSON, behind `@` a version; both can be left out. No Pulumi.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from pulumi_visgate.errors import VisgateError

_REFERENCE = re.compile(
    r"(?P<arn>arn:aws[a-z-]*:(?P<service>secretsmanager|ssm):(?P<region>[a-z0-9-]+):\d{12}:[^#@\s]+)"
    r"(?:#(?P<key>[A-Za-z0-9_.-]+))?(?:@(?P<version>[A-Za-z0-9-]+))?"
)
_CONNECT_TIMEOUT_S = 3
_READ_TIMEOUT_S = 5
_ATTEMPTS = 3


class UnreadableReferenceError(VisgateError):
    """What a setting refers to cannot be read."""


@dataclass(frozen=True, slots=True)
class _Reference:
    arn: str
    service: str
    region: str
    key: str | None
    version: str | None


def referenced(environ: Mapping[str, str], prefix: str) -> dict[str, Any]:
    """Return the settings that are given by reference, with what they refer to; names without the prefix, lower-case.

    Args:
        environ: Environment of the process.
        prefix: What the names of a service's variables start with.

    Raises:
        UnreadableReferenceError: The message names the variable, never what it holds.
    """
    found = {name: _parse(value) for name, value in environ.items() if name.startswith(prefix)}
    references = {name: reference for name, reference in found.items() if reference is not None}
    if not references:
        return {}
    read = _reader()
    return {name.removeprefix(prefix).lower(): _value(name, reference, read) for name, reference in references.items()}


def _parse(value: str) -> _Reference | None:
    found = _REFERENCE.fullmatch(value)
    return _Reference(**found.groupdict()) if found else None


def _value(name: str, reference: _Reference, read: Any) -> str:
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415, slow to import

    try:
        text: str = read(reference.service, reference.region, reference.arn, reference.version)
    except (BotoCoreError, ClientError) as error:
        reason = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
        detail = f"{name} refers to {reference.arn}, which cannot be read: {reason}."
        raise UnreadableReferenceError(
            detail, hint="See that it exists and that this service's role may read it."
        ) from None
    if reference.key is None:
        return text
    try:
        return str(json.loads(text)[reference.key])
    except (ValueError, KeyError, TypeError):
        detail = f"{name} refers to {reference.arn}, which is no JSON object with {reference.key}."
        raise UnreadableReferenceError(detail, hint="Write the secret as one JSON object, key by key.") from None


def _reader() -> Any:
    """Return what reads a text; each secret is asked for once."""
    import boto3  # noqa: PLC0415, slow to import
    from botocore.config import Config  # noqa: PLC0415, as above

    config = Config(
        connect_timeout=_CONNECT_TIMEOUT_S,
        read_timeout=_READ_TIMEOUT_S,
        retries={"mode": "standard", "max_attempts": _ATTEMPTS},
    )

    @cache
    def read(service: str, region: str, arn: str, version: str | None) -> str:
        client: Any = boto3.client(service, region_name=region, config=config)  # type: ignore[call-overload]
        if service == "ssm":
            return str(client.get_parameter(Name=arn, WithDecryption=True)["Parameter"]["Value"])
        which = {"VersionId": version} if version else {}
        return str(client.get_secret_value(SecretId=arn, **which)["SecretString"])

    return read
