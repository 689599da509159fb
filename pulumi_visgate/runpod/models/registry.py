"""Registry credentials (`/v2/registries`) and delegations of ECR repositories."""

from typing import Annotated, Any, ClassVar, TypeAlias

from pydantic import AwareDatetime, Field, PlainSerializer, SecretStr, SerializationInfo

from pulumi_visgate.runpod.models.common import REVEAL, Answer, Name, Request


def _secret_text(value: SecretStr, info: SerializationInfo[Any]) -> str:
    reveal = info.context is REVEAL
    return value.get_secret_value() if reveal else str(value)


WriteOnly: TypeAlias = Annotated[SecretStr, Field(min_length=1), PlainSerializer(_secret_text, return_type=str)]
"""A secret that is masked in every dump except the request's own body."""


class CreateRegistry(Request):
    """Body of `createRegistry`.

    Args:
        name: Name of the credential.
        username: Never returned by the API.
        password: Never returned by the API.
    """

    name: Name
    username: WriteOnly
    password: WriteOnly


class Registry(Answer):
    """A registry credential, without what it protects."""

    id: str
    name: str


class CreateDelegation(Request):
    """Body of `createDelegation`.

    Args:
        resource: ARN of the ECR resource.
        name: Optional name.
    """

    nullable: ClassVar[frozenset[str]] = frozenset({"name"})

    resource: str
    name: str | None = None


class EcrDelegation(Answer):
    """A delegated ECR repository."""

    id: str
    delegator_user_id: str
    aws_user: str
    repository: str
    tag: str
    aws_region: str
    created_at: AwareDatetime
    name: str | None = None
    docker_registry_uri: str | None = None
