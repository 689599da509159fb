"""Templates (`/v2/templates`) and the public ones of the catalog."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from pulumi_visgate.runpod.models.common import (
    Answer,
    Bool,
    ContainerAnswer,
    ContainerRequest,
    CudaChoice,
    Int,
    Name,
    Open,
    Request,
)


class TemplateCategory(StrEnum):
    """Group of a template in the console."""

    CPU = "CPU"
    NVIDIA = "NVIDIA"
    AMD = "AMD"


class PersistentMount(Request):
    """Host-local storage.

    Args:
        size: GB, at least 10.
        path: Where it is mounted in the container.
    """

    size: Annotated[Int, Field(ge=10)]
    path: str


class TemplateMounts(Request):
    """Storage of a template; in an update, empty leaves it as it is."""

    persistent: PersistentMount | None = None


class _TemplateFields(ContainerRequest, CudaChoice):
    """What create and update of a template share."""

    category: TemplateCategory | None = None
    mounts: TemplateMounts | None = None
    public: Bool | None = None
    serverless: Bool | None = None
    start_jupyter: Bool | None = None
    start_ssh: Bool | None = None


class CreateTemplate(_TemplateFields):
    """Body of `createTemplate`.

    Args:
        name: Not unique in an account.
        image: Docker image reference.
        category: Group in the console, NVIDIA by default.
        mounts: Persistent storage.
        public: Visible to everyone.
        serverless: For endpoints instead of pods.
        start_jupyter: Start JupyterLab where the image can; on by default.
        start_ssh: Start sshd where the image can; on by default.
    """

    name: Name
    image: str


class UpdateTemplate(_TemplateFields):
    """Body of `updateTemplate`: only what is set changes. Arguments as in `CreateTemplate`."""

    name: Name | None = None
    image: str | None = None


class ReportedMount(PersistentMount):
    """Host-local storage as reported; `size` is in GB."""

    model_config: ClassVar = {"extra": "ignore"}


class ReportedMounts(Answer):
    """Storage of a template as reported."""

    persistent: ReportedMount | None = None


class Template(ContainerAnswer):
    """A template; endpoints copy it once, so later edits do not reach them."""

    id: str
    name: str
    mounts: ReportedMounts
    serverless: bool
    public: bool
    category: Open[TemplateCategory]
    start_ssh: bool
    start_jupyter: bool
    allowed_cuda_versions: list[str]
