"""SigningKey: a random secret that is made once and lives, encrypted, in the state alone; with the one before it."""

import hashlib
import secrets
from typing import Any, ClassVar, Unpack

import pulumi

from pulumi_visgate.resources._crud import Crud, Found, Inputs
from pulumi_visgate.resources._provider import Provider, ResourceArgs, VisgateResource
from pulumi_visgate.resources._values import Properties

KEY_BYTES = 32
NO_KEY = ""  # not None: the engine drops that from the state, and a preview would take the key for unknown


class SigningKeyInputs(Inputs):
    """Inputs of a signing key.

    Args:
        rotation: Any text; another one makes another key.
        keep_previous: Keep the former key beside the new one; so it is when left out.
    """

    rotation: str | None = None
    keep_previous: bool | None = None


class SigningKeyCrud(Crud):
    """A key exists nowhere but in the state, so nothing is asked of anyone."""

    kind = "SigningKey"
    model = SigningKeyInputs
    notes = frozenset()
    outputs = ("value", "previous")
    secret = frozenset({"value", "previous"})

    def create(self, inputs: Properties) -> tuple[str, dict[str, Any]]:
        """Make a key; the id tells nothing about it but that it is another one."""
        value = secrets.token_urlsafe(KEY_BYTES)
        id_ = f"key-{hashlib.sha256(value.encode()).hexdigest()[:12]}"
        return id_, dict(inputs) | {"value": value, "previous": NO_KEY}

    def read(self, _id: str, props: Properties) -> Found:
        """Return what is known."""
        known = {name: value for name, value in props.items() if name in self.model.model_fields}
        return Found(dict(props) | {"previous": props.get("previous") or NO_KEY}, known)

    def update(self, _id: str, olds: Properties, news: Properties) -> dict[str, Any]:
        """Make another key when the rotation is another one; the former goes when it is not to be kept."""
        value, previous = olds["value"], olds.get("previous") or NO_KEY
        if news.get("rotation") != olds.get("rotation"):
            value, previous = secrets.token_urlsafe(KEY_BYTES), value
        return dict(news) | {"value": value, "previous": NO_KEY if news.get("keep_previous") is False else previous}

    def delete(self, _id: str, _props: Properties, /) -> None:
        """Forget it."""


class SigningKeyProvider(Provider):
    """Dynamic provider of `SigningKey`."""

    crud: ClassVar = SigningKeyCrud


class SigningKeyArgs(ResourceArgs, total=False):
    """Arguments of `SigningKey`."""

    rotation: pulumi.Input[str]
    """Any text, such as a date; another one makes another key, beside which the former one stays."""
    keep_previous: pulumi.Input[bool]
    """Keep the former key after a rotation, on by default; off once nothing that it has signed matters any more."""


class SigningKey(VisgateResource, module="visgate", name="SigningKey"):
    """The platform's signing key; every user's webhook secret is derived from it."""

    value: pulumi.Output[str]
    """The key. Always secret."""
    previous: pulumi.Output[str]
    """The key before the last rotation, or empty; for `previous_signing_key` of the gateway. Always secret."""

    def __init__(
        self, resource_name: str, opts: pulumi.ResourceOptions | None = None, **args: Unpack[SigningKeyArgs]
    ) -> None:
        super().__init__(SigningKeyProvider(), resource_name, args, opts)
