"""RegistryAuth: credentials for a private container registry (`/v2/registries`)."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any, ClassVar, Required, Unpack

import pulumi
from pydantic import Field, SecretStr

from pulumi_visgate.resources._adopt import OneOfAName
from pulumi_visgate.resources._crud import Crud, Found, Inputs, Problem
from pulumi_visgate.resources._provider import Provider, ResourceArgs, VisgateResource
from pulumi_visgate.resources._values import (
    UNKNOWN,
    Properties,
    derived_name,
    fingerprints,
    former_name,
    has_unknown,
    same,
)
from pulumi_visgate.resources.errors import InUse
from pulumi_visgate.runpod.errors import BadRequest, Conflict, NotFound
from pulumi_visgate.runpod.models.registry import CreateRegistry, Registry

_CREDENTIALS = ("username", "password")


class RegistryAuthInputs(Inputs):
    """Inputs of a registry credential; `RegistryAuthArgs` describes them. `fingerprint` is computed from the two."""

    name: str | None = Field(default=None, min_length=1)
    owner: str | None = None
    username: str = Field(min_length=1)
    password: str = Field(min_length=1)
    fingerprint: str | None = None


class RegistryAuthCrud(Crud):
    """Runpod never shows a credential again and cannot change one, so another password is another credential.

    Its derived name says which credentials are in it, without telling them: a keyed digest. So one that an interrupted
    run made is only taken for this one when it holds the same credentials.
    """

    kind = "RegistryAuth"
    model = RegistryAuthInputs
    fixed = ("name", *_CREDENTIALS)
    secret = frozenset(_CREDENTIALS)
    notes = frozenset({"owner", "fingerprint"})

    def check(self, olds: Properties, news: Properties) -> tuple[dict[str, Any], list[Problem]]:
        """Validate; while the credentials stay, so does what was derived from them, whatever key the account has."""
        values, problems = super().check(olds, news)
        if not problems and olds and all(same(olds.get(name), values.get(name)) for name in _CREDENTIALS):
            values["fingerprint"] = olds.get("fingerprint")
            if not news.get("name") and olds.get("name") in {_derived(olds), _formerly_derived(olds)}:
                values["name"] = olds["name"]
        return values, problems

    def complete(self, values: dict[str, Any]) -> None:
        """Compute the fingerprint, and the name from it."""
        given = {name: values.get(name) for name in _CREDENTIALS}
        values["fingerprint"] = UNKNOWN
        if not has_unknown(given):
            both = fingerprints({"registry": repr(sorted(given.items()))}, self.session.settings.require_key().encode())
            values["fingerprint"] = both["registry"]
        super().complete(values)

    def own_name(self, values: Properties) -> Any:
        """Return the name derived from owner and fingerprint."""
        return UNKNOWN if has_unknown(values.get("fingerprint")) else _derived(values)

    def create(self, inputs: Properties) -> tuple[str, dict[str, Any]]:
        """Call `createRegistry`."""
        body = CreateRegistry(
            name=inputs["name"], username=SecretStr(inputs["username"]), password=SecretStr(inputs["password"])
        )
        registry, there = self.one().find_or_create(
            inputs["name"],
            lambda: self.session.runpod.create_registry(body),
            derived=inputs["name"] == _derived(inputs),
        )
        if there:
            self.session.adopted.add(registry.id)
        return registry.id, dict(inputs)

    def read(self, id_: str, props: Properties) -> Found | None:
        """Look into the shared list, then ask `getRegistry`; only the name can be seen."""
        registry = self.session.registries.get(id_)
        if registry is None:
            try:
                registry = self.session.runpod.get_registry(id_)
            except NotFound:
                return None
        known = {name: props[name] for name in _CREDENTIALS if name in props}
        return self.found({"name": registry.name, **known}, {}, props)

    def update(self, _id: str, olds: Properties, news: Properties) -> dict[str, Any]:
        """Take note; nothing of it can change in place."""
        return dict(olds) | {name: news[name] for name in self.notes if name in news}

    def delete(self, id_: str, props: Properties, /) -> None:
        """Call `deleteRegistry`.

        Raises:
            InUse: An endpoint or template names it, or a worker pulls with it. Runpod itself would take it out of
                templates without a word.
        """
        if id_ in self.session.adopted:
            return  # the "replacement" is the very same credential
        if users := ", ".join(self._users(id_)):
            detail = f"RegistryAuth {props.get('name')} ({id_}) is used by {users}."
            raise InUse(detail, hint="Take registry_id out of them, or delete them; then run again.")
        if props.get("name") == _derived(props):
            self.one().sweep(props["name"], id_)
        try:
            with suppress(NotFound):
                self.session.runpod.delete_registry(id_)
        except (BadRequest, Conflict) as error:
            detail = f"RegistryAuth {props.get('name')} ({id_}) is in use: {error.detail}"
            raise InUse(detail, hint="Wait until no worker or pod uses it, then run again.") from None
        self.session.registries.deleted(id_)

    def one(self) -> OneOfAName[Registry]:
        """Look for the name in the account."""
        return OneOfAName(
            kind=self.kind,
            listing=self.session.registries,
            report=self.session.report,
            get=self.session.runpod.get_registry,
            remove=self.session.runpod.delete_registry,
            used=lambda registry: any(self._users(registry.id)),
            hint="Choose another name or leave it out; what is in a credential cannot be read, so none is taken over.",
        )

    def _users(self, id_: str) -> Iterator[str]:
        yield from (
            f"endpoint {found.name}" for found in self.session.endpoints.all(fresh=True) if found.registry == id_
        )
        yield from (
            f"template {found.name}" for found in self.session.templates.all(fresh=True) if found.registry == id_
        )


def _derived(values: Properties) -> str:
    return derived_name(str(values.get("owner", "")), [values.get("fingerprint")])


def _formerly_derived(values: Properties) -> str:
    return former_name(str(values.get("owner", "")), [values.get("fingerprint")])


class RegistryAuthProvider(Provider):
    """Dynamic provider of `RegistryAuth`."""

    crud: ClassVar = RegistryAuthCrud


class RegistryAuthArgs(ResourceArgs, total=False):
    """Arguments of `RegistryAuth`; a change of any makes a new credential."""

    username: Required[pulumi.Input[str]]
    """User at the registry. Always secret."""
    password: Required[pulumi.Input[str]]
    """Password or token. Always secret."""
    name: pulumi.Input[str]
    """Name at Runpod; derived from project, stack, resource and credentials when left out, which is better: a new
    password then makes a new credential before the old one goes."""


class RegistryAuth(VisgateResource, module="visgate", name="RegistryAuth"):
    """Credentials for a private registry; its id is the `registry_id` of endpoints, pools and templates."""

    name: pulumi.Output[str]

    def __init__(
        self, resource_name: str, opts: pulumi.ResourceOptions | None = None, **args: Unpack[RegistryAuthArgs]
    ) -> None:
        super().__init__(RegistryAuthProvider(), resource_name, args, opts)
