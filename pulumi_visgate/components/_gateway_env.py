"""The gateway's settings as environment variables: one mapping for every target."""

import json
from typing import Any

import pulumi

from pulumi_visgate.resources._settings import Settings

GATEWAY_MODULE = "pulumi_visgate.gateway"
GATEWAY_PREFIX = "VISGATE_GATEWAY_"
SECRET_SETTINGS = frozenset(
    {
        "signing_key",
        "previous_signing_key",
        "origin_secret",
        "s3_access_key_id",
        "s3_secret_access_key",
        "valkey_url",
        "metrics_token",
    }
)
"""Settings that no environment in the clear may hold."""


def endpoints(known: Settings) -> dict[str, pulumi.Input[Any]]:
    """Return the settings that say where Runpod and the hub are: where the providers of the stack find them."""
    return {
        "runpod_api_url": known.runpod_api_url,
        "runpod_jobs_url": known.runpod_jobs_url,
        "hf_endpoint": known.hf_endpoint,
    }


def env_name(setting: str) -> str:
    """Return the variable of a setting."""
    return GATEWAY_PREFIX + setting.upper()


def env_value(value: pulumi.Input[Any]) -> pulumi.Output[str]:
    """Return the text of a value; lists and mappings become JSON."""
    return pulumi.Output.from_input(value).apply(lambda known: known if isinstance(known, str) else json.dumps(known))
