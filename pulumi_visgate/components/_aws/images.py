"""Images that are built with the stack, when what they are made of has changed, and pushed to ECR."""

import hashlib
import os
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pulumi
from pulumi_aws import ecr

from pulumi_visgate.components._aws._children import AwsFamily
from pulumi_visgate.components._base import ArgumentError
from pulumi_visgate.gateway_image import write_context
from pulumi_visgate.resources.container_image import ContainerImage

_DIGEST_LENGTH = 16


def worker(aws: AwsFamily, name: str, into: ecr.Repository) -> pulumi.Output[str]:
    """Build the worker of this version and return its reference.

    Args:
        aws: Component that owns it.
        name: Name in the program.
        into: Where it is pushed to.

    Raises:
        ArgumentError: Its build context is not here.
    """
    spec = find_spec("visgate_worker")
    folder = Path(spec.origin).parents[2] if spec and spec.origin else Path()
    if not (folder / "Dockerfile").is_file():
        detail = "WorkerImage: image is needed, because the worker's build context is not installed here."
        raise ArgumentError(detail, hint="Run in a checkout of pulumi-visgate, or build it there and name it.")
    return _built(aws, name, into, folder)


def gateway(aws: AwsFamily, name: str, into: ecr.Repository) -> pulumi.Output[str]:
    """Build the gateway of this version and return its reference.

    Args:
        aws: Component that owns it.
        name: Name in the program.
        into: Where it is pushed to.
    """
    return _built(aws, name, into, gateway_context())


def gateway_context() -> Path:
    """Return a folder with the build context of the gateway's image; the same content is always the same folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "visgate" / "contexts"
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        made = Path(scratch) / "gateway"
        made.mkdir()
        write_context(made)
        folder = cache / f"gateway-{_digest(made)}"
        if not folder.exists():
            made.rename(folder)
    return folder


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:_DIGEST_LENGTH]


def _built(aws: AwsFamily, name: str, into: ecr.Repository, context: Path) -> pulumi.Output[str]:
    """Build and push; ECR gives the token for that, so no password is anywhere."""
    wanted = {"repository": into.repository_url, "context": str(context)}
    return aws.family.resource("build", ContainerImage, name, wanted).ref
