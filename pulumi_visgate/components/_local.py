"""The parts of the platform on the local cloud: worker from the checkout, gateway as a process, CDN route."""

import hashlib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pulumi

from pulumi_visgate.components._base import ArgumentError
from pulumi_visgate.components._family import Family
from pulumi_visgate.components._gateway_env import GATEWAY_MODULE, endpoints, env_name, env_value
from pulumi_visgate.resources._settings import Settings, is_loopback
from pulumi_visgate.resources.account import stack_settings
from pulumi_visgate.resources.local_cdn import LocalCdn
from pulumi_visgate.resources.local_schedule import LocalSchedule
from pulumi_visgate.resources.local_service import LocalService

WORKER_REPOSITORY = "local/visgate-worker"
_WORKER_PACKAGES = ("visgate_contract", "visgate_worker")
_HASH_LENGTH = 12


def settings() -> Settings:
    """Read the settings that the providers of this stack use.

    Raises:
        ArgumentError: They point to a real account, or the local cloud is not known.
    """
    found = stack_settings()
    if not is_loopback(found.runpod_api_url) or not found.host_url:
        detail = (
            "The local cloud is not known here: RUNPOD_API_URL must point to this machine, and VISGATE_HOST_URL too."
        )
        raise ArgumentError(detail, hint="Run `visgate local up` and `. .visgate/env`.")
    return found


def worker_image() -> str:
    """Return a reference to the worker in this checkout, tagged by the content of its code.

    The emulator runs the installed worker for it, so nothing is built.
    """
    digest = hashlib.sha256()
    for package in _WORKER_PACKAGES:
        spec = find_spec(package)
        for folder in sorted(spec.submodule_search_locations or ()) if spec else ():
            for file in sorted(Path(folder).rglob("*.py")):
                digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return f"{WORKER_REPOSITORY}:{digest.hexdigest()[:_HASH_LENGTH]}"


def cdn(family: Family, name: str, bucket: pulumi.Input[str]) -> pulumi.Output[str]:
    """Publish a bucket at the CDN route and return its URL."""
    return family.resource("route", LocalCdn, name, {"bucket": bucket}).url


def schedule(family: Family, name: str, pool: Mapping[str, Any]) -> None:
    """Let the service host move a pool's minimum.

    Args:
        family: Component that owns it.
        name: Name of the resource.
        pool: The pool's `endpoint_id`, its `windows`, and the `min_workers` that are kept outside of them.
    """
    family.resource("schedule", LocalSchedule, name, pool)


def gateway(family: Family, name: str, values: Mapping[str, pulumi.Input[Any]]) -> pulumi.Output[str]:
    """Run the gateway in the service host and return its URL.

    Args:
        family: Component that owns it.
        name: Name of the resource.
        values: Settings of the gateway by lower-case name; lists and mappings become JSON.
    """
    known = settings()
    secret = known.store.secret_access_key
    local: dict[str, pulumi.Input[Any]] = {
        **endpoints(known),
        "s3_endpoint": known.store.endpoint,
        "s3_region": known.store.region,
        "s3_access_key_id": known.store.access_key_id,
        "s3_secret_access_key": secret.get_secret_value() if secret else None,
        "allow_loopback": True,
        "log_format": "text",  # people read it in `.visgate/logs`
    }
    env = {env_name(key): env_value(value) for key, value in (local | dict(values)).items() if value is not None}
    return family.resource("service", LocalService, name, {"module": GATEWAY_MODULE, "env": env}).url
