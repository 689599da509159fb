"""Which gateway, with which key: options, then the environment, then the local cloud of this folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from pulumi_visgate.client.address import GATEWAY_URL_ENV, KEY_ENV, checked_url
from pulumi_visgate.client.errors import UsageError

LOCAL_MODEL = "visgate/tiny-sd"


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go.

    Args:
        url: Base URL of the gateway.
        key: Runpod API key of the caller.
        model_id: Model when none is asked for; only the local cloud has one.
    """

    url: str
    key: SecretStr
    model_id: str | None = None

    @classmethod
    def find(cls, gateway: str | None, environ: Mapping[str, str], folder: Path) -> "Target":
        """Decide.

        Args:
            gateway: URL from the command line, if any.
            environ: Environment of the process.
            folder: Where the command runs.

        Raises:
            UsageError: There is no gateway or no key, or the key would travel in clear.
        """
        url = (gateway or environ.get(GATEWAY_URL_ENV) or "").rstrip("/")
        local = _local_gateway(environ, folder)
        if not url and local is None:
            detail = "No gateway is known: neither --gateway nor VISGATE_GATEWAY_URL is given, and none runs here."
            raise UsageError(detail, hint="`make up` starts one on this machine.")
        is_local = local is not None and url in {"", local}
        url = checked_url(url or local, {})
        key = environ.get(KEY_ENV) or (_local_key() if is_local else "")
        if not key:
            detail = f"{KEY_ENV} is not set."
            raise UsageError(detail, hint="Export your Runpod API key; never pass it as an option.")
        return cls(url, SecretStr(key), LOCAL_MODEL if is_local else None)


def _local_gateway(environ: Mapping[str, str], folder: Path) -> str | None:
    try:
        from pulumi_visgate.local.errors import LocalCloudError  # noqa: PLC0415
        from pulumi_visgate.local.home import Home  # noqa: PLC0415 - needs the [local] extra
        from pulumi_visgate.local.host.services import load_records  # noqa: PLC0415
    except ModuleNotFoundError:
        return None
    try:
        records = load_records(Home.find(environ, folder))
    except LocalCloudError:
        return None
    return next((record.url for record in records if record.module == "pulumi_visgate.gateway"), None)


def _local_key() -> str:
    from pulumi_visgate.local.environment import LOCAL_API_KEY  # noqa: PLC0415 - needs the [local] extra

    return LOCAL_API_KEY
