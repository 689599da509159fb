"""Settings of the upkeep service, read once from the environment (`VISGATE_UPKEEP_…`) and frozen."""

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

ENV_PREFIX = "VISGATE_UPKEEP_"


class Settings(BaseSettings):
    """Everything the service is told besides its calls.

    Args:
        host: Address to listen on.
        port: Port to listen on.
        runpod_api_key: Key of the account whose endpoints it keeps.
        runpod_api_url: Base of Runpod's REST API.
        runpod_jobs_url: Base of Runpod's job API.
        runpod_timeout_s: Longest wait for one call to Runpod, in seconds.
        stack: Name of the stack, for figures.
    """

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    runpod_api_key: SecretStr
    runpod_api_url: str = "https://api.runpod.io"
    runpod_jobs_url: str = "https://api.runpod.ai/v2"
    runpod_timeout_s: float = Field(default=15.0, gt=0)
    stack: str = "visgate"

    @field_validator("runpod_api_url", "runpod_jobs_url")
    @classmethod
    def _is_base_url(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            message = "must start with http:// or https://"
            raise ValueError(message)
        return value.rstrip("/")
