"""SigningKey: a random secret that is made once and lives, encrypted, in the state alone."""

import hashlib
import secrets
from typing import Any, ClassVar, Unpack

import pulumi

from pulumi_visgate.resources._crud import Crud, Found, Inputs
from pulumi_visgate.resources._provider import Provider, ResourceArgs, VisgateResource
from pulumi_visgate.resources._values import Properties

KEY_BYTES = 32


class SigningKeyInputs(Inputs):
    """Inputs of a signing key.

    Args:
        rotation: Any text; another one makes another key.
    """

    rotation: str | None = None


class SigningKeyCrud(Crud):
    """A key exists nowhere but in the state, so nothing is asked of anyone."""

    kind = "SigningKey"
    model = SigningKeyInputs
    fixed = ("rotation",)
    notes = frozenset()
    outputs = ("value",)
    secret = frozenset({"value"})

    def create(self, inputs: Properties) -> tuple[str, dict[str, Any]]:
        """Make a key; the id tells nothing about it but that it is another one."""
        value = secrets.token_urlsafe(KEY_BYTES)
        return f"key-{hashlib.sha256(value.encode()).hexdigest()[:12]}", dict(inputs) | {"value": value}

    def read(self, _id: str, props: Properties) -> Found:
        """Return what is known."""
        known = {name: value for name, value in props.items() if name in self.model.model_fields}
        return Found(dict(props), known)

    def update(self, _id: str, olds: Properties, news: Properties) -> dict[str, Any]:
        """Keep the key."""
        return dict(news) | {"value": olds["value"]}

    def delete(self, _id: str, _props: Properties, /) -> None:
        """Forget it."""


class SigningKeyProvider(Provider):
    """Dynamic provider of `SigningKey`."""

    crud: ClassVar = SigningKeyCrud


class SigningKeyArgs(ResourceArgs, total=False):
    """Arguments of `SigningKey`."""

    rotation: pulumi.Input[str]
    """Any text, such as a date; another one makes another key."""


class SigningKey(VisgateResource, module="visgate", name="SigningKey"):
    """The platform's signing key; every user's webhook secret is derived from it."""

    value: pulumi.Output[str]
    """The key. Always secret."""

    def __init__(
        self, resource_name: str, opts: pulumi.ResourceOptions | None = None, **args: Unpack[SigningKeyArgs]
    ) -> None:
        super().__init__(SigningKeyProvider(), resource_name, args, opts)
