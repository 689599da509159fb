"""Settings of the provider, read once from the stack's `visgate:` configuration and the environment."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self
from urllib.parse import urlsplit

from pydantic import SecretStr

from pulumi_visgate.hub import HF_ENDPOINT
from pulumi_visgate.resources.errors import ConfigError

NAMESPACE = "visgate"
RUNPOD_API_URL = "https://api.runpod.io"
RUNPOD_JOBS_URL = "https://api.runpod.ai/v2"
API_TIMEOUT_S, MAX_API_TIMEOUT_S = 30.0, 600

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Market(StrEnum):
    """What a plan does for which Runpod's catalog has no stock."""

    WARN = "warn"
    FAIL = "fail"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class S3Settings:
    """An S3-compatible store and the credentials for it.

    Args:
        endpoint: Base URL; None is AWS.
        region: Region that requests are signed for.
        access_key_id: Access key id; None leaves it to the AWS SDK's own search.
        secret_access_key: Secret of that key.
    """

    endpoint: str | None = None
    region: str = "us-east-1"
    access_key_id: str | None = field(default=None, repr=False)
    secret_access_key: SecretStr | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a provider needs besides the inputs of a resource.

    Args:
        runpod_api_key: Key of the account that owns the resources.
        runpod_api_url: Base URL of Runpod's API v2.
        api_timeout_s: Deadline of each call of that API in seconds, repeats included, waits for its quota not.
        runpod_jobs_url: Base URL of Runpod's job API.
        store: Store of `Bucket`.
        volume_store: Store that fronts network volumes; without an endpoint, Runpod's own for each data center.
        hf_token: Token for the model hub.
        hf_endpoint: Base URL of the model hub.
        host_url: Service host of the local cloud.
        host_token: Bearer token of that host.
        aws_profile: Profile of AWS credentials that the stack names for pulumi-aws (`aws:profile`).
        market: What a plan does for which there is no stock.
    """

    runpod_api_key: SecretStr | None = None
    runpod_api_url: str = RUNPOD_API_URL
    api_timeout_s: float = API_TIMEOUT_S
    runpod_jobs_url: str = RUNPOD_JOBS_URL
    store: S3Settings = field(default_factory=S3Settings)
    volume_store: S3Settings = field(default_factory=S3Settings)
    hf_token: SecretStr | None = None
    hf_endpoint: str = HF_ENDPOINT
    host_url: str | None = None
    host_token: SecretStr | None = None
    aws_profile: str | None = None
    market: Market = Market.WARN

    @classmethod
    def read(cls, config: Callable[[str], object], environ: Mapping[str, str]) -> Self:
        """Read the settings; a `visgate:` key wins over the environment.

        Args:
            config: Returns the value of a key such as `visgate:runpodApiKey`, or None.
            environ: Environment of the process.

        Raises:
            ConfigError: A value is unusable.
        """

        def text(key: str, variable: str) -> str | None:
            value = config(f"{NAMESPACE}:{key}") or environ.get(variable)
            return str(value).strip() or None if value is not None else None

        def secret(key: str, variable: str) -> SecretStr | None:
            value = text(key, variable)
            return SecretStr(value) if value else None

        api_url = text("runpodApiUrl", "RUNPOD_API_URL") or RUNPOD_API_URL
        own_jobs_url = f"{api_url.rstrip('/')}/jobs/v2" if is_loopback(api_url) else RUNPOD_JOBS_URL
        jobs_url = text("runpodJobsUrl", "RUNPOD_JOBS_URL") or own_jobs_url
        hf_endpoint = text("hfEndpoint", "HF_ENDPOINT") or HF_ENDPOINT
        store = S3Settings(
            text("s3Endpoint", "VISGATE_S3_ENDPOINT"),
            text("s3Region", "VISGATE_S3_REGION") or "us-east-1",
            text("s3AccessKeyId", "VISGATE_S3_ACCESS_KEY_ID"),
            secret("s3SecretAccessKey", "VISGATE_S3_SECRET_ACCESS_KEY"),
        )
        for url, key, variable in (
            (api_url, "runpodApiUrl", "RUNPOD_API_URL"),
            (jobs_url, "runpodJobsUrl", "RUNPOD_JOBS_URL"),
            (hf_endpoint, "hfEndpoint", "HF_ENDPOINT"),
            (store.endpoint, "s3Endpoint", "VISGATE_S3_ENDPOINT"),
        ):
            _require_https(url, key, variable)
        volume_store = (
            store
            if is_loopback(api_url)
            else S3Settings(
                access_key_id=text("runpodS3AccessKeyId", "RUNPOD_S3_ACCESS_KEY_ID"),
                secret_access_key=secret("runpodS3SecretAccessKey", "RUNPOD_S3_SECRET_ACCESS_KEY"),
            )
        )
        return cls(
            runpod_api_key=secret("runpodApiKey", "RUNPOD_API_KEY"),
            runpod_api_url=api_url.rstrip("/"),
            api_timeout_s=_seconds(text("apiTimeoutS", "VISGATE_API_TIMEOUT_S")),
            runpod_jobs_url=jobs_url.rstrip("/"),
            store=store,
            volume_store=volume_store,
            hf_token=secret("hfToken", "HF_TOKEN"),
            hf_endpoint=hf_endpoint.rstrip("/"),
            host_url=(text("hostUrl", "VISGATE_HOST_URL") or "").rstrip("/") or None,
            host_token=secret("hostToken", "VISGATE_HOST_TOKEN"),
            aws_profile=str(config("aws:profile") or "") or None,
            market=_market(text("market", "VISGATE_MARKET")),
        )

    def require_key(self) -> str:
        """Return the Runpod API key in clear.

        Raises:
            ConfigError: There is none.
        """
        if self.runpod_api_key is None:
            detail = "There is no Runpod API key."
            hint = (
                "Set RUNPOD_API_KEY, or run `pulumi config set --secret visgate:runpodApiKey`; "
                "for the local cloud run `visgate local up` and `. .visgate/env`."
            )
            raise ConfigError(detail, hint=hint)
        return self.runpod_api_key.get_secret_value()

    def secrets(self) -> list[str]:
        """Return every secret in clear, for masking."""
        held = (
            self.runpod_api_key,
            self.store.secret_access_key,
            self.volume_store.secret_access_key,
            self.host_token,
            self.hf_token,
        )
        return [secret.get_secret_value() for secret in held if secret is not None]


def is_loopback(url: str) -> bool:
    """Tell whether a URL stays on this machine."""
    return urlsplit(url).hostname in _LOOPBACK


def _market(value: str | None) -> Market:
    if value is None or value.lower() in list(Market):
        return Market((value or Market.WARN).lower())
    detail = f"{NAMESPACE}:market must be one of {', '.join(Market)}; {value!r} was given."
    raise ConfigError(detail, hint="Correct it, or VISGATE_MARKET if it is set there.")


def _seconds(value: str | None) -> float:
    with suppress(ValueError):
        seconds = API_TIMEOUT_S if value is None else float(value)
        if 1 <= seconds <= MAX_API_TIMEOUT_S:
            return seconds
    detail = f"{NAMESPACE}:apiTimeoutS must be 1 to {MAX_API_TIMEOUT_S} seconds; {value!r} was given."
    raise ConfigError(detail, hint="Correct it, or VISGATE_API_TIMEOUT_S if it is set there.")


def _require_https(url: str | None, key: str, variable: str) -> None:
    if url is None:
        return
    parts = urlsplit(url)
    if parts.hostname and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(url))):
        return
    detail = (
        f"{NAMESPACE}:{key} must be an https URL, or http on this machine; {parts.scheme or 'no scheme'} was given."
    )
    raise ConfigError(detail, hint=f"Correct it, or {variable} if it is set there.")
