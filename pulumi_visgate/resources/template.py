"""Template: container settings that endpoints and pods copy once (`/v2/templates`)."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Required, TypedDict, Unpack

import pulumi
from pydantic import BaseModel, ConfigDict, Field

from pulumi_visgate.resources._adopt import OneOfAName
from pulumi_visgate.resources._crud import Crud, Found, NamedInputs, Problem, WithEnv
from pulumi_visgate.resources._endpoint_crud import CudaVersion, Env, repeated
from pulumi_visgate.resources._provider import Provider, ResourceArgs, VisgateResource
from pulumi_visgate.resources._users import template_users
from pulumi_visgate.resources._values import Properties
from pulumi_visgate.resources.errors import InUse
from pulumi_visgate.runpod.errors import BadRequest, NotFound
from pulumi_visgate.runpod.models import template as wire
from pulumi_visgate.runpod.models.template import CreateTemplate, TemplateCategory, UpdateTemplate


class PersistentMount(BaseModel):
    """Storage on the host of a pod."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    size_gb: int = Field(ge=10)
    path: str = Field(pattern=r"^/")


class TemplateInputs(NamedInputs):
    """Inputs of a template; `TemplateArgs` describes them."""

    image: str = Field(min_length=1)
    env: Env = Field(default_factory=dict)
    env_fingerprints: dict[str, str] = Field(default_factory=dict)
    args: str | None = None
    container_disk_gb: int | None = Field(default=None, ge=1)
    mount: PersistentMount | None = None
    ports: list[str] = Field(default_factory=list)
    registry_id: str | None = None
    allowed_cuda_versions: list[CudaVersion] = Field(default_factory=list)
    category: TemplateCategory = TemplateCategory.NVIDIA
    serverless: bool = True
    public: bool = False
    start_ssh: bool = False
    start_jupyter: bool = False


class TemplateCrud(Crud, WithEnv):
    """Rules and calls of templates."""

    kind = "Template"
    model = TemplateInputs
    secret = frozenset({"env"})
    unordered = frozenset({"ports", "allowed_cuda_versions"})
    unmanaged = frozenset({"container_disk_gb"})
    notes = frozenset({"owner", "adopt", "env_fingerprints"})

    def complete(self, values: dict[str, Any]) -> None:
        """Name it, and note the environment."""
        super().complete(values)
        self.note_env(values)

    def rules(self, values: Properties, /) -> Iterator[Problem]:
        """A public template shows its environment to everyone."""
        yield from repeated(values, self.unordered)
        if values.get("public") is True and values.get("env"):
            yield Problem("public", "cannot be true for a template with env: everyone could read it.")

    def replaced_by(self, changed: Iterable[str], _olds: Properties, news: Properties, /) -> Iterable[str]:
        """The API changes a mount, and has no way to take it away."""
        return (name for name in changed if name == "mount" and not news.get("mount"))

    def create(self, inputs: Properties) -> tuple[str, dict[str, Any]]:
        """Call `createTemplate`."""
        body = {api: value for api, value in _fields(inputs).values() if value not in (None, "", [])}
        template, there = self.one().find_or_create(
            inputs["name"],
            lambda: self.session.runpod.create_template(CreateTemplate.model_validate(body)),
            derived=inputs["name"] == self.own_name(inputs),
            adopt=bool(inputs.get("adopt")),
        )
        outs = self._found(template, inputs).outs
        if there:
            self.session.adopted.add(template.id)
            outs = self.update(template.id, outs, inputs)
        return template.id, outs

    def read(self, id_: str, props: Properties) -> Found | None:
        """Look into the shared list, then ask `getTemplate`."""
        template = self.session.templates.get(id_)
        if template is None:
            try:
                template = self.session.runpod.get_template(id_)
            except NotFound:
                return None
        return self._found(template, props)

    def update(self, id_: str, olds: Properties, news: Properties) -> dict[str, Any]:
        """Call `updateTemplate` with what differs; endpoints made from it keep their copy."""
        changed = self.diff(olds, news).changed
        body = {api: value for ours, (api, value) in _fields(news).items() if ours in changed}
        if not body:
            return dict(olds) | {name: news[name] for name in self.notes if name in news}
        template = self.session.runpod.update_template(id_, UpdateTemplate.model_validate(body))
        self.session.templates.changed(template)
        return self._found(template, news).outs

    def delete(self, id_: str, props: Properties, /) -> None:
        """Call `deleteTemplate`; it goes with its endpoint, so gone is the usual case.

        Raises:
            InUse: An endpoint or pod of somebody else has it.
        """
        if id_ in self.session.adopted:
            return  # the "replacement" is the very same template
        if props.get("name") == self.own_name(props):
            self.one().sweep(props["name"], id_)
        try:
            self.session.runpod.delete_template(id_)
        except NotFound:
            pass
        except BadRequest as error:
            if not (users := template_users(self.session, id_, str(error))):
                raise
            detail = f"Template {props.get('name', id_)} ({id_}) is used by {', '.join(users)}."
            raise InUse(detail, hint="Delete its users first; an endpoint takes the template along.") from None
        self.session.templates.deleted(id_)

    def one(self) -> OneOfAName[wire.Template]:
        """Look for the name in the account."""
        return OneOfAName(
            kind=self.kind,
            listing=self.session.templates,
            report=self.session.report,
            get=self.session.runpod.get_template,
            remove=self.session.runpod.delete_template,
        )

    def _found(self, template: wire.Template, props: Properties) -> Found:
        mount = template.mounts.persistent
        observed: dict[str, Any] = {
            "name": template.name,
            "image": template.image,
            "env": dict(template.env),
            "args": template.args,
            "mount": {"size_gb": mount.size, "path": mount.path} if mount else None,
            "ports": template.ports,
            "registry_id": template.registry,
            "allowed_cuda_versions": template.allowed_cuda_versions,
            "category": str(template.category),
            "serverless": template.serverless,
            "public": template.public,
            "start_ssh": template.start_ssh,
            "start_jupyter": template.start_jupyter,
        }
        if "container_disk_gb" in props:
            observed["container_disk_gb"] = template.disk
        self.note_env(observed)
        return self.found(observed, {}, {n: value for n, value in props.items() if n != "env_fingerprints"})


def _fields(values: Properties) -> dict[str, tuple[str, Any]]:
    """Our name to the API's name and value; the value of what was not given is the one that clears it."""
    disk, mount = values.get("container_disk_gb"), values.get("mount")
    return {
        "name": ("name", values.get("name")),
        "image": ("image", values.get("image")),
        "env": ("env", values.get("env") or {}),
        "args": ("args", values.get("args") or ""),
        "container_disk_gb": ("disk", int(disk) if disk else None),
        "mount": ("mounts", mount and {"persistent": {"size": int(mount["size_gb"]), "path": mount["path"]}}),
        "ports": ("ports", values.get("ports") or []),
        "registry_id": ("registry", values.get("registry_id")),
        "allowed_cuda_versions": ("allowed_cuda_versions", values.get("allowed_cuda_versions") or []),
        "category": ("category", values.get("category")),
        "serverless": ("serverless", bool(values.get("serverless"))),
        "public": ("public", bool(values.get("public"))),
        "start_ssh": ("start_ssh", bool(values.get("start_ssh"))),
        "start_jupyter": ("start_jupyter", bool(values.get("start_jupyter"))),
    }


class TemplateProvider(Provider):
    """Dynamic provider of `Template`."""

    crud: ClassVar = TemplateCrud


class PersistentMountArgs(TypedDict):
    """Storage on the host of a pod, lost with that host."""

    size_gb: pulumi.Input[int]
    """Size in GB, at least 10."""
    path: pulumi.Input[str]
    """Where the container has it, such as `/workspace`."""


class TemplateArgs(ResourceArgs, total=False):
    """Arguments of `Template`."""

    image: Required[pulumi.Input[str]]
    """Docker image reference."""
    env: pulumi.Input[Mapping[str, pulumi.Input[str]]]
    """Environment of the container. Always secret."""
    args: pulumi.Input[str]
    """Arguments of the container's entrypoint."""
    container_disk_gb: pulumi.Input[int]
    """Container disk in GB, wiped at restart; Runpod's default when left out."""
    mount: pulumi.Input[PersistentMountArgs]
    """Persistent storage of pods. It can change in place; without it the template is made anew."""
    ports: pulumi.Input[Sequence[pulumi.Input[str]]]
    """Exposed ports as `port/protocol`."""
    registry_id: pulumi.Input[str]
    """Registry credential for a private image."""
    allowed_cuda_versions: pulumi.Input[Sequence[pulumi.Input[str]]]
    """Exact CUDA versions as `major.minor`; any when left out."""
    category: pulumi.Input[str]
    """Group in the console: `NVIDIA`, the default, `AMD` or `CPU`."""
    serverless: pulumi.Input[bool]
    """For endpoints, the default, instead of pods."""
    public: pulumi.Input[bool]
    """Visible to everyone; not together with `env`."""
    start_ssh: pulumi.Input[bool]
    """Start sshd where the image can."""
    start_jupyter: pulumi.Input[bool]
    """Start JupyterLab where the image can."""
    name: pulumi.Input[str]
    """Name at Runpod; derived from project, stack and resource when left out."""
    adopt: pulumi.Input[bool]
    """Take over the one existing template of this `name`."""


class Template(VisgateResource, module="visgate", name="Template"):
    """Container settings that endpoints copy when they are made; later changes do not reach them."""

    name: pulumi.Output[str]
    image: pulumi.Output[str]

    def __init__(
        self, resource_name: str, opts: pulumi.ResourceOptions | None = None, **args: Unpack[TemplateArgs]
    ) -> None:
        own = pulumi.ResourceOptions(delete_before_replace=True)
        super().__init__(TemplateProvider(), resource_name, args, pulumi.ResourceOptions.merge(own, opts))
