"""Which gateway and which key: an argument, else the environment."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from pydantic import SecretStr

from pulumi_visgate.client.errors import UsageError

GATEWAY_URL_ENV = "VISGATE_GATEWAY_URL"
KEY_ENV = "RUNPOD_API_KEY"

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def is_on_this_machine(url: str) -> bool:
    """Tell whether a URL does not leave this machine."""
    return urlsplit(url).hostname in _LOOPBACK


def checked_url(url: str | None, environ: Mapping[str, str]) -> str:
    """Return a gateway's base URL; the key travels by https, or stays on this machine.

    Args:
        url: The caller's, else that of the environment.
        environ: With VISGATE_GATEWAY_URL.

    Raises:
        UsageError: There is none, or the key would travel in clear.
    """
    found = (url or environ.get(GATEWAY_URL_ENV) or "").rstrip("/")
    if not found:
        detail = f"No gateway is given, and {GATEWAY_URL_ENV} is not set."
        raise UsageError(detail, hint="Give the URL of your platform's gateway.")
    parts = urlsplit(found)
    if parts.scheme == "https" and parts.hostname and not parts.username:
        return found
    if parts.scheme == "http" and is_on_this_machine(found):
        return found
    detail = "The gateway's URL must be https, or http on this machine: your Runpod API key travels in every request."
    raise UsageError(detail, hint="Correct the gateway's URL.")


def headers(
    key: str | SecretStr | None, hf_token: str | SecretStr | None, environ: Mapping[str, str]
) -> dict[str, str]:
    """Return the headers of every request.

    Args:
        key: Runpod API key, else that of the environment.
        hf_token: Hugging Face token for gated models.
        environ: With RUNPOD_API_KEY.

    Raises:
        UsageError: There is no key.
    """
    found = _plain(key) or environ.get(KEY_ENV, "")
    if not found:
        detail = f"No key is given, and {KEY_ENV} is not set."
        raise UsageError(detail, hint="Give your Runpod API key.")
    token = _plain(hf_token)
    return {"authorization": f"Bearer {found}", **({"x-hf-token": token} if token else {})}


def _plain(secret: str | SecretStr | None) -> str:
    return secret.get_secret_value() if isinstance(secret, SecretStr) else secret or ""
