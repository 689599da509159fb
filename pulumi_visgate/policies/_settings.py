"""The settings of each policy; the schema that the engine checks them with is made from these models."""

from typing import Any, Self

from pulumi_policy import PolicyConfigSchema
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class Settings(BaseModel):
    """Base of the settings; in JSON their names are in camel case."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True, extra="ignore", populate_by_name=True)

    @classmethod
    def of(cls, config: object) -> Self:
        """Read what the engine hands over; it has checked it.

        Args:
            config: Of the policy, with whole numbers as floats.
        """
        return cls.model_validate({key: value for key, value in dict(config or {}).items() if value is not None})  # type: ignore[call-overload]

    @classmethod
    def schema_of(cls) -> PolicyConfigSchema:
        """Return the JSON schema of the settings."""
        properties: dict[str, dict[str, Any]] = cls.model_json_schema()["properties"]
        return PolicyConfigSchema(properties={name: _simple(schema) for name, schema in properties.items()})


def _simple(schema: dict[str, Any]) -> dict[str, Any]:
    """Leave out titles, and that a value may be absent: the engine's schema language says it by absence."""
    found = {key: value for key, value in schema.items() if key not in {"title", "anyOf"}}
    for option in schema.get("anyOf", ()):
        if option != {"type": "null"}:
            found |= option
    if found.get("default", ...) is None:
        del found["default"]
    return found


class MonthlyCeiling(Settings):
    """Settings of `monthly-ceiling`."""

    max_monthly_usd: float | None = Field(
        default=None, gt=0, description="Most US dollars a month with every worker running all the time."
    )
    max_idle_monthly_usd: float | None = Field(
        default=None, ge=0, description="Most US dollars a month when nobody uses the stack."
    )
    refuse_unknown: bool = Field(default=False, description="Refuse a stack whose price is not wholly known.")


class Regions(Settings):
    """Settings of `allowed-regions`."""

    allowed: list[str] = Field(
        default_factory=list, description="Data centers, such as EU-RO-1, or patterns, such as EU-*; any when empty."
    )


class AlwaysOnWorkers(Settings):
    """Settings of `always-on-workers`."""

    max_workers: int = Field(default=2, ge=0, description="Most workers of the whole stack that are never stopped.")


class MaxWorkers(Settings):
    """Settings of `max-workers`."""

    max_workers: int = Field(default=10, ge=1, description="Highest max_workers of one endpoint or pool.")


class PlainSecrets(Settings):
    """Settings of `no-plain-secrets`."""

    allowed: list[str] = Field(
        default_factory=list, description="Properties that are no secrets, as resource.path patterns: api.env.HF_*."
    )


class PrivateBuckets(Settings):
    """Settings of `private-buckets`."""

    allowed: list[str] = Field(
        default_factory=list, description="Names, or patterns of names, of buckets that may be public."
    )


class PinnedImages(Settings):
    """Settings of `pinned-images`."""

    floating: list[str] = Field(
        default=["latest", "main", "master", "nightly", "dev"], description="Tags that do not stay the same."
    )
    require_digest: bool = Field(default=False, description="Ask for a digest, name@sha256:….")
