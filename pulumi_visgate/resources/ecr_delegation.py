"""EcrDelegation: lets Runpod pull from a private repository of Amazon ECR (`/v2/registries/delegations`)."""

from contextlib import suppress
from typing import Any, ClassVar, Required, Unpack

import pulumi
from pydantic import Field

from pulumi_visgate.resources._adopt import OneOfAName
from pulumi_visgate.resources._crud import Crud, Found, NamedInputs
from pulumi_visgate.resources._provider import Provider, ResourceArgs, VisgateResource
from pulumi_visgate.resources._values import Properties
from pulumi_visgate.runpod.errors import NotFound
from pulumi_visgate.runpod.models import registry as wire
from pulumi_visgate.runpod.models.registry import CreateDelegation

_ARN = r"^arn:aws[a-z-]*:ecr:[a-z0-9-]+:\d{12}:repository/[a-z0-9._/-]+(:[A-Za-z0-9._-]+)?$"
_ANY_TAG = ("", "*")


class EcrDelegationInputs(NamedInputs):
    """Inputs of a delegation; `EcrDelegationArgs` describes them."""

    repository_arn: str = Field(pattern=_ARN)


class EcrDelegationCrud(Crud):
    """A delegation cannot be changed, only revoked, and there is no operation that reads a single one."""

    kind = "EcrDelegation"
    model = EcrDelegationInputs
    fixed = ("repository_arn", "name")
    outputs = ("repository", "tag", "aws_account", "aws_region", "registry_uri")

    def own_name(self, values: Properties) -> Any:
        """Derive the name; the name itself is no part of it."""
        return super().own_name({**values, "name": None})

    def create(self, inputs: Properties) -> tuple[str, dict[str, Any]]:
        """Call `createDelegation`."""
        body = CreateDelegation(resource=inputs["repository_arn"], name=inputs["name"])
        delegation, there = self.one().find_or_create(
            inputs["name"],
            lambda: self.session.runpod.create_delegation(body),
            derived=inputs["name"] == self.own_name(inputs),
            adopt=bool(inputs.get("adopt")),
        )
        if there:
            self.session.adopted.add(delegation.id)
        return delegation.id, self._found(delegation, inputs).outs

    def read(self, id_: str, props: Properties) -> Found | None:
        """Look into the list of delegations (`listDelegations`)."""
        delegation = self.session.delegations.get(id_)
        if delegation is None:
            fresh = self.session.delegations.all(fresh=True)
            delegation = next((found for found in fresh if found.id == id_), None)
        return None if delegation is None else self._found(delegation, props)

    def update(self, _id: str, olds: Properties, news: Properties) -> dict[str, Any]:
        """Take note; nothing of it can change in place."""
        return dict(olds) | {name: news[name] for name in self.notes if name in news}

    def delete(self, id_: str, props: Properties, /) -> None:
        """Call `revokeDelegation`."""
        if id_ in self.session.adopted:
            return  # the "replacement" is the very same delegation
        if props.get("name") == self.own_name(props):
            self.one().sweep(props["name"], id_)
        with suppress(NotFound):
            self.session.runpod.revoke_delegation(id_)
        self.session.delegations.deleted(id_)

    def one(self) -> OneOfAName[wire.EcrDelegation]:
        """Look for the name in the account."""
        return OneOfAName(
            kind=self.kind,
            listing=self.session.delegations,
            report=self.session.report,
            remove=self.session.runpod.revoke_delegation,
        )

    def _found(self, delegation: wire.EcrDelegation, props: Properties) -> Found:
        observed = {"name": delegation.name, "repository_arn": _arn(delegation, str(props.get("repository_arn", "")))}
        outputs = {
            "repository": delegation.repository,
            "tag": delegation.tag,
            "aws_account": delegation.aws_user,
            "aws_region": delegation.aws_region,
            "registry_uri": delegation.docker_registry_uri,
        }
        return self.found(observed, outputs, props)


def _arn(delegation: wire.EcrDelegation, known: str) -> str:
    """Return the ARN of a delegation, as the program wrote it if that names the same."""
    tag = "" if delegation.tag in _ANY_TAG else f":{delegation.tag}"
    place = f":ecr:{delegation.aws_region}:{delegation.aws_user}:repository/{delegation.repository}"
    same = known.removesuffix(f":{delegation.tag}").endswith(place)
    return known if same else f"arn:aws{place}{tag}"


class EcrDelegationProvider(Provider):
    """Dynamic provider of `EcrDelegation`."""

    crud: ClassVar = EcrDelegationCrud


class EcrDelegationArgs(ResourceArgs, total=False):
    """Arguments of `EcrDelegation`; a change of any makes a new delegation."""

    repository_arn: Required[pulumi.Input[str]]
    """ARN of the repository, such as `arn:aws:ecr:us-east-2:123456789012:repository/acme/worker`."""
    name: pulumi.Input[str]
    """Name at Runpod; derived from project, stack, resource and repository when left out."""
    adopt: pulumi.Input[bool]
    """Take over the one existing delegation of this `name`."""


class EcrDelegation(VisgateResource, module="visgate", name="EcrDelegation"):
    """Lets Runpod pull images from a private ECR repository without a password."""

    name: pulumi.Output[str]
    repository: pulumi.Output[str]
    """Name of the repository."""
    tag: pulumi.Output[str]
    """The only tag that may be pulled, or `*`."""
    aws_account: pulumi.Output[str]
    """AWS account that has it."""
    aws_region: pulumi.Output[str]
    """Its region."""
    registry_uri: pulumi.Output[str | None]
    """Registry that images are named with."""

    def __init__(
        self, resource_name: str, opts: pulumi.ResourceOptions | None = None, **args: Unpack[EcrDelegationArgs]
    ) -> None:
        super().__init__(EcrDelegationProvider(), resource_name, args, opts)
