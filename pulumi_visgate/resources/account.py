"""Who the account is, for programs: a hash, never the key."""

import os

import pulumi

from pulumi_visgate.resources._settings import NAMESPACE, Settings
from visgate_contract.names import user_hash


def stack_settings() -> Settings:
    """Read the settings that the providers of this stack use; outside of a stack, those of the environment.

    Raises:
        ConfigError: A value is unusable.
    """
    config = pulumi.Config(NAMESPACE)
    return Settings.read(lambda key: config.get(key.removeprefix(f"{NAMESPACE}:")), os.environ)


def account_user_hash() -> pulumi.Output[str]:
    """Return the SHA-256 of the Runpod API key that the providers of this stack use, as a plain output.

    Raises:
        ConfigError: There is neither `visgate:runpodApiKey` nor `RUNPOD_API_KEY`.
    """
    return pulumi.Output.from_input(user_hash(stack_settings().require_key()))
