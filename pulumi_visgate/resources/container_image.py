"""ContainerImage: an image that `pulumi up` builds when what it is made of has changed, and pushes to a registry."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Required, Unpack

import pulumi
from pydantic import Field, field_validator

from pulumi_visgate.resources import _builders
from pulumi_visgate.resources._build_context import identity, scan
from pulumi_visgate.resources._builders import Build, Builder, Surroundings
from pulumi_visgate.resources._crud import Change, Crud, Found, Inputs, Problem
from pulumi_visgate.resources._ecr_login import EcrLoginError, ecr_login
from pulumi_visgate.resources._provider import Provider, ResourceArgs, VisgateResource
from pulumi_visgate.resources._registry import REPOSITORY, Login, Pushed, Registry, Repository, known_login
from pulumi_visgate.resources._values import UNKNOWN, Properties, has_unknown
from pulumi_visgate.resources.errors import BuildFailed, RegistryError
from visgate_contract.redaction import Redactor

TAG_LENGTH = 16
_RECIPE = ("dockerfile", "target", "platform", "build_args", "rebuild")


class ContainerImageInputs(Inputs):
    """Inputs of an image; `ContainerImageArgs` describes them. `content` and `tag` are found out."""

    repository: str = Field(pattern=REPOSITORY)
    context: str = Field(min_length=1)
    dockerfile: str = Field(default="Dockerfile", min_length=1)
    target: str | None = Field(default=None, min_length=1)
    platform: str = Field(default="linux/amd64", pattern=r"^[a-z0-9]+/[a-z0-9]+(/[a-z0-9]+)?$")
    build_args: dict[str, str] = Field(default_factory=dict)
    secrets: dict[str, str] = Field(default_factory=dict)
    rebuild: str | None = None
    push: bool = True
    username: str | None = Field(default=None, min_length=1)
    password: str | None = Field(default=None, min_length=1)
    insecure: bool | None = None
    builder: str | None = Field(default=None, pattern=f"^({_builders.DOCKER}|{_builders.BUILDAH})$")
    buildx_builder: str | None = Field(default=None, min_length=1)
    timeout_s: int = Field(default=3600, ge=1)
    content: dict[str, str] = Field(default_factory=dict)
    tag: str | None = None

    @field_validator("secrets")
    @classmethod
    def _are_files(cls, secrets: dict[str, str]) -> dict[str, str]:
        for id_, file in secrets.items():
            if not Path(file).is_file():
                message = f"{id_}: there is no file {file}"
                raise ValueError(message)
        return secrets


class ContainerImageCrud(Crud):
    """The tag says what the image is made of, so an image that is in the registry already is not built again."""

    kind = "ContainerImage"
    model = ContainerImageInputs
    fixed = ("repository",)
    secret = frozenset({"username", "password"})
    # How it gets there says nothing of what is there; credentials of some registries are new at every run.
    notes = frozenset(
        {"context", "secrets", "username", "password", "insecure", "builder", "buildx_builder", "timeout_s"}
    )
    outputs = ("digest", "ref", "size_bytes")

    def complete(self, values: dict[str, Any]) -> None:
        """Find out what it would be made of."""
        values["content"], values["tag"] = {}, None
        recipe = {name: values.get(name) for name in _RECIPE}
        if has_unknown([values.get("context"), *recipe.values()]):
            values["tag"] = UNKNOWN
            return
        found = scan(Path(values["context"]), values["dockerfile"])
        values["content"] = found.content
        values["tag"] = identity(found.files, **recipe)[:TAG_LENGTH]

    def rules(self, values: Properties, /) -> Iterator[Problem]:
        """A user has a password, and only Docker has named builders."""
        if (values.get("username") is None) != (values.get("password") is None):
            yield Problem("username" if values.get("password") else "password", "is required beside the other.")
        if values.get("buildx_builder") and values.get("builder") == _builders.BUILDAH:
            yield Problem("buildx_builder", "is a builder of docker buildx; leave it out, or set builder='docker'.")

    def diff(self, olds: Properties, news: Properties) -> Change:
        """Compare, and say what would be built and why."""
        change = super().diff(olds, news)
        if change.changed:
            reasons = "; ".join(_reasons(change.changed, olds, news))
            self.session.report.note(
                f"{news.get('repository')}: to be built by {self._who(news)}, because of {reasons}"
            )
        return change

    def create(self, inputs: Properties) -> tuple[str, dict[str, Any]]:
        """Build and push it, unless it is in the registry."""
        return str(inputs["repository"]), self._made(inputs)

    def read(self, _id: str, props: Properties) -> Found | None:
        """Look for the digest in the registry; one that cannot be asked is taken to have it."""
        known = {name: props[name] for name in ContainerImageInputs.model_fields if name in props}
        if not props.get("push"):
            return Found(dict(props), known)
        repository = Repository.parse(props["repository"])
        try:
            there = _registry(props, repository, self._login(props, repository)).find(str(props.get("digest")))
        except RegistryError as error:
            self.session.report.warn(f"{error.detail} Whether {props.get('ref')} is still there was not checked.")
            return Found(dict(props), known)
        return Found(dict(props), known) if there else None

    def update(self, _id: str, _olds: Properties, news: Properties) -> dict[str, Any]:
        """Build and push what has changed; an image that the registry has under its tag is only looked up."""
        return self._made(news)

    def delete(self, _id: str, _props: Properties, /) -> None:
        """Leave the image where it is: a former release may still run it, and registries have rules of their own."""

    def _made(self, inputs: Properties) -> dict[str, Any]:
        repository = Repository.parse(inputs["repository"])
        if not inputs.get("push"):
            digest = self._builder(inputs).keep(_build(inputs, repository), self._around(inputs))
            return dict(inputs) | {"digest": digest, "ref": f"{repository}:{inputs['tag']}"}
        login = self._login(inputs, repository)
        registry = _registry(inputs, repository, login)
        if before := registry.find(inputs["tag"]):
            self.session.report.note(f"{repository}: the registry has what is wanted, nothing is built")
            return self._outs(inputs, repository, before)
        digest = self._builder(inputs).publish(_build(inputs, repository, login), self._around(inputs, login))
        pushed = registry.find(digest)
        if pushed is None:
            detail = f"{repository} does not have {digest}, which was pushed to it."
            raise RegistryError(detail, hint="Run again; the registry may need a moment.")
        return self._outs(inputs, repository, pushed)

    def _outs(self, inputs: Properties, repository: Repository, pushed: Pushed) -> dict[str, Any]:
        ref = f"{repository}@{pushed.digest}"
        size = {"size_bytes": pushed.size_bytes} if pushed.size_bytes else {}
        return dict(inputs) | {"digest": pushed.digest, "ref": ref, **size}

    def _login(self, inputs: Properties, repository: Repository) -> Login | None:
        """Return the login that is given, or for ECR one that AWS gives for some hours; None leaves it to the machine.

        Raises:
            EcrLoginError: AWS gives none, and nobody has signed in here.
        """
        name, password = inputs.get("username"), inputs.get("password")
        if name and password:
            return Login(str(name), str(password))
        try:
            token = ecr_login(repository.host, self.session.settings.aws_profile)
        except EcrLoginError:
            if known_login(repository) is None:
                raise
            return None
        return Login(*token) if token else None

    def _builder(self, inputs: Properties) -> Builder:
        found = _builders.find(inputs.get("builder"), inputs.get("buildx_builder"))
        if found is None:
            wanted = inputs.get("builder")
            wanted = "docker with buildx" if wanted == _builders.DOCKER else wanted
            detail = f"builder: {f'there is no {wanted}' if wanted else 'neither docker buildx nor buildah is'} here."
            hint = "Install one, or name an image that was built elsewhere."
            raise BuildFailed(detail, hint=hint)
        return found

    def _who(self, inputs: Properties) -> str:
        found = _builders.find(inputs.get("builder"), inputs.get("buildx_builder"))
        return found.name if found else "a builder, which is not here"

    def _around(self, inputs: Properties, login: Login | None = None) -> Surroundings:
        given = (inputs.get("password"), login and login.password)
        secrets = [*self.session.settings.secrets(), *(secret for secret in given if secret)]
        return Surroundings(_cache(os.environ), self.session.report, Redactor(secrets), float(inputs["timeout_s"]))


def _reasons(changed: Iterable[str], olds: Properties, news: Properties) -> Iterator[str]:
    """Say what has changed, files by the folders they are in."""
    for name in changed:
        if name == "content":
            old, new = olds.get(name) or {}, news.get(name) or {}
            yield ", ".join(sorted(part for part in {*old, *new} if old.get(part) != new.get(part)))
        elif name != "tag":
            yield name


def _build(inputs: Properties, repository: Repository, login: Login | None = None) -> Build:
    return Build(
        context=Path(inputs["context"]).absolute(),
        dockerfile=inputs["dockerfile"],
        repository=repository,
        tag=inputs["tag"],
        platform=inputs["platform"],
        target=inputs.get("target"),
        arguments=inputs.get("build_args") or {},
        secrets=inputs.get("secrets") or {},
        insecure=_insecure(inputs, repository),
        is_anew=inputs.get("rebuild") is not None,
        login=login,
    )


def _registry(inputs: Properties, repository: Repository, login: Login | None) -> Registry:
    return Registry(repository, login, insecure=_insecure(inputs, repository))


def _insecure(inputs: Properties, repository: Repository) -> bool:
    wanted = inputs.get("insecure")
    return repository.is_local if wanted is None else bool(wanted)


def _cache(environ: Mapping[str, str]) -> Path:
    """Return the folder for logs and layers."""
    own = environ.get("VISGATE_CACHE_DIR")
    cache = Path(own) if own else Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "visgate"
    return cache / "images"


class ContainerImageProvider(Provider):
    """Dynamic provider of `ContainerImage`."""

    crud: ClassVar = ContainerImageCrud


class ContainerImageArgs(ResourceArgs, total=False):
    """Arguments of `ContainerImage`."""

    repository: Required[pulumi.Input[str]]
    """Where it is pushed to, such as `ghcr.io/acme/worker`, without a tag. A change pushes it there as well."""
    context: Required[pulumi.Input[str]]
    """Folder with what it is built from. What `.dockerignore` names there counts for nothing."""
    dockerfile: pulumi.Input[str]
    """Path of the Dockerfile in the context; `Dockerfile` by default."""
    target: pulumi.Input[str]
    """Stage of the Dockerfile; the last one by default."""
    platform: pulumi.Input[str]
    """What it is for; `linux/amd64`, which Runpod's GPU machines are, by default."""
    build_args: pulumi.Input[Mapping[str, pulumi.Input[str]]]
    """Values of the Dockerfile's `ARG`s. They can be read from the image, so no secret belongs there."""
    secrets: pulumi.Input[Mapping[str, pulumi.Input[str]]]
    """Files of this machine by the `id` under which a `RUN --mount=type=secret` may read them. They are in no layer,
    and another content of them builds nothing."""
    rebuild: pulumi.Input[str]
    """Any text, such as a date; another one builds it anew, with what its base image is by then."""
    push: pulumi.Input[bool]
    """Push it; on by default. Off leaves it with the builder."""
    username: pulumi.Input[str]
    """User at the registry. Left out, ECR gives a token for the AWS credentials of the environment or of `aws:profile`,
    and any other registry gets what `docker login` left on this machine. Always secret."""
    password: pulumi.Input[str]
    """Password or token. Always secret; another one builds nothing."""
    insecure: pulumi.Input[bool]
    """The registry speaks plain http; on by default for one on this machine only."""
    builder: pulumi.Input[str]
    """`docker` (BuildKit by `docker buildx`) or `buildah`; the one that is there when left out."""
    buildx_builder: pulumi.Input[str]
    """Name of a builder of `docker buildx create`, which may be on another machine or in a cluster."""
    timeout_s: pulumi.Input[int]
    """Longest time in seconds that building, and pushing, may take; an hour by default."""


class ContainerImage(VisgateResource, module="visgate", name="ContainerImage"):
    """An image in a registry, built by this program; the same content is built once, whoever asks for it."""

    repository: pulumi.Output[str]
    content: pulumi.Output[dict[str, str]]
    """Short digests of what it was built from."""
    tag: pulumi.Output[str]
    """Tag in the repository, derived from everything that it is made of."""
    digest: pulumi.Output[str]
    """Digest of its manifest."""
    ref: pulumi.Output[str]
    """Reference by digest: the image of endpoints and templates, which change only when it does."""
    size_bytes: pulumi.Output[int | None]
    """What a machine without it downloads, in bytes."""

    def __init__(
        self, resource_name: str, opts: pulumi.ResourceOptions | None = None, **args: Unpack[ContainerImageArgs]
    ) -> None:
        super().__init__(ContainerImageProvider(), resource_name, args, opts)
