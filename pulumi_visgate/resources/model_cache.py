"""ModelCache: the files of a model on a network volume, or in a bucket, where workers load them from."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Required, Unpack

import pulumi
from pydantic import Field

from pulumi_visgate.resources._crud import Crud, Found, Inputs, Problem
from pulumi_visgate.resources._manifest import FOLDER_LENGTH, SourceFile, pinned_digest, scan
from pulumi_visgate.resources._parts import FolderSource, Source
from pulumi_visgate.resources._provider import Provider, ResourceArgs, VisgateResource
from pulumi_visgate.resources._s3 import attempting
from pulumi_visgate.resources._seed import Place, seed
from pulumi_visgate.resources._values import UNKNOWN, Properties, has_unknown
from pulumi_visgate.resources.errors import StoreError
from visgate_contract.caches import CacheHead
from visgate_contract.capabilities import MODEL_INDEX

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_COMMIT = re.compile(r"[0-9a-f]{40}")
_OF_HUB = ("model_id", "revision", "variant", "allow_patterns")
INCOMPLETE = "incomplete"


class ModelCacheInputs(Inputs):
    """Inputs of a model cache; `ModelCacheArgs` describes them. `commit` and `digest` are found out."""

    model_id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$")
    source: str | None = Field(default=None, min_length=1)
    revision: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*$"
    )
    variant: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_]+$")
    allow_patterns: list[str] = Field(default_factory=list)
    volume_id: str | None = None
    data_center: str | None = None
    bucket: str | None = None
    retain: bool = False
    commit: str | None = None
    digest: str | None = None


class ModelCacheCrud(Crud):
    """The manifest is written last, so a model with a manifest is a whole one."""

    kind = "ModelCache"
    model = ModelCacheInputs
    fixed = ("model_id", "volume_id", "bucket")
    notes = frozenset({"source", "data_center"})
    unordered = frozenset({"allow_patterns"})
    outputs = ("prefix", "path", "file_count", "size_bytes")

    _olds: Properties = {}  # noqa: RUF012, replaced, never changed

    def check(self, olds: Properties, news: Properties) -> tuple[dict[str, Any], list[Problem]]:
        """Validate, and find out which content is meant; unchanged inputs ask nobody."""
        self._olds = olds
        return super().check(olds, news)

    def complete(self, values: dict[str, Any]) -> None:
        """Pin the content; what the program says of commit and digest does not count."""
        source = values.get("source")
        values["commit"] = values["digest"] = None
        if has_unknown([source, *(values.get(name) for name in _OF_HUB)]):
            values["digest"] = UNKNOWN
        elif not source:
            values["commit"] = self._commit(values)
            values["digest"] = pinned_digest(values["commit"], values["variant"], values["allow_patterns"])
        elif (Path(source) / MODEL_INDEX).is_file():
            values["digest"] = scan(Path(source), values["model_id"]).digest

    def _commit(self, values: Properties) -> str:
        revision = values["revision"]
        if revision and _COMMIT.fullmatch(revision):
            return str(revision)
        known = self._olds.get("commit")
        if known and all(self._olds.get(name) == values[name] for name in ("model_id", "revision")):
            return str(known)
        return self.session.hub.commit(values["model_id"], revision)

    def rules(self, values: Properties, /) -> Iterator[Problem]:
        """There is one destination, and one source."""
        if bool(values.get("volume_id")) == bool(values.get("bucket")):
            yield Problem("volume_id", "give either volume_id or bucket.")
        if not values.get("source"):
            return
        if not values["digest"]:
            yield Problem("source", f"is not a folder with a model in diffusers format: it has no {MODEL_INDEX}.")
        for name in ("variant", "allow_patterns"):
            if values.get(name):
                yield Problem(name, "chooses files of the hub; leave it out, or leave source out.")

    def create(self, inputs: Properties) -> tuple[str, dict[str, Any]]:
        """Bring what is missing; safe to repeat, and after a kill."""
        outs = self._seed(inputs)
        return f"{_bucket(inputs)}/{outs['prefix']}", outs

    def read(self, _id: str, props: Properties) -> Found | None:
        """Compare what is stored with its manifest; a lost or cut file shows as another digest."""
        place = self._place(props)
        try:
            with attempting(f"reading model {place.model_id} in {place.bucket}"):
                stored = place.stored()
            manifest = None if stored.empty else place.manifest()
        except StoreError as error:
            if error.gone:
                return None
            raise
        if stored.empty:
            return None
        inputs = {name: props[name] for name in ModelCacheInputs.model_fields if name in props}
        inputs["digest"] = INCOMPLETE
        if manifest and stored.is_whole(manifest):
            inputs |= {"digest": manifest.identity, "revision": manifest.revision}
        outs = {**props, **inputs}
        return Found(*({key: value for key, value in some.items() if value is not None} for some in (outs, inputs)))

    def update(self, _id: str, _olds: Properties, news: Properties) -> dict[str, Any]:
        """Bring what differs beside what is there, make it the current revision, and remove the former one."""
        return self._seed(news)

    def delete(self, _id: str, props: Properties, /) -> None:
        """Remove the files and unfinished uploads, unless the program says `retain`."""
        if props.get("retain"):
            return
        try:
            self._place(props).remove_all()
        except StoreError as error:
            if not error.gone:
                raise

    def _place(self, values: Properties) -> Place:
        return Place(self._client(values), _bucket(values), values["model_id"])

    def _client(self, values: Properties) -> "S3Client":
        if values.get("volume_id"):
            return self.session.volume_store(values.get("data_center"))
        return self.session.store

    def _seed(self, inputs: Properties) -> dict[str, Any]:
        place, source = self._place(inputs), self._source(inputs)
        commit, digest = inputs.get("commit"), str(inputs["digest"])
        of_choice = "-" + digest[:8] if inputs.get("variant") or inputs.get("allow_patterns") else ""
        folder = commit + of_choice if commit else digest[:FOLDER_LENGTH]
        head = CacheHead(folder=folder, revision=inputs.get("revision"), commit=commit)
        try:
            with attempting(f"bringing model {place.model_id} to {place.bucket}"):
                manifest = seed(place, source, head, digest, self.session.report)
        finally:
            source.close()
        outputs = {
            "prefix": place.prefix,
            "path": f"{place.prefix}{folder}/",
            "file_count": len(manifest.files),
            "size_bytes": manifest.size,
        }
        return dict(inputs) | outputs

    def _source(self, inputs: Properties) -> Source:
        if not inputs.get("source"):
            variant, patterns = inputs.get("variant"), inputs.get("allow_patterns") or []
            return self.session.hub.source(inputs["model_id"], inputs["commit"], variant=variant, patterns=patterns)
        folder = Path(inputs["source"])
        manifest = scan(folder, inputs["model_id"])
        if manifest.digest != inputs["digest"]:
            detail = f"source: {folder} has changed since the preview."
            raise StoreError(detail, hint="Run `pulumi up` again when nothing writes to it.")
        return FolderSource(folder, [SourceFile(path, file.size, file.sha256) for path, file in manifest.files.items()])


def _bucket(values: Properties) -> str:
    return str(values.get("volume_id") or values["bucket"])


class ModelCacheProvider(Provider):
    """Dynamic provider of `ModelCache`."""

    crud: ClassVar = ModelCacheCrud


class ModelCacheArgs(ResourceArgs, total=False):
    """Arguments of `ModelCache`; give `volume_id` or `bucket`."""

    model_id: Required[pulumi.Input[str]]
    """Hub id of the model, `org/name`. A change makes a new cache."""
    source: pulumi.Input[str]
    """Folder on this machine with the model in diffusers format; from the hub when left out."""
    revision: pulumi.Input[str]
    """Branch, tag or commit of the hub; the default branch when left out. A branch is pinned to the commit that it is
    at when this input is new. With `source` it is a name for what is in the folder."""
    variant: pulumi.Input[str]
    """Variant of the weights, such as `fp16`, for every part of the model that has it."""
    allow_patterns: pulumi.Input[Sequence[pulumi.Input[str]]]
    """Shell patterns of the files to take from the hub, such as `unet/*`, instead of those that a pipeline loads."""
    volume_id: pulumi.Input[str]
    """Network volume, written through Runpod's S3-compatible API."""
    data_center: pulumi.Input[str]
    """Data center of the volume."""
    bucket: pulumi.Input[str]
    """Bucket, instead of a volume."""
    retain: pulumi.Input[bool]
    """Keep the files when the resource is deleted; off by default."""


class ModelCache(VisgateResource, module="visgate", name="ModelCache"):
    """A model's files at `models/<org>/<name>/`, complete when its manifest is there."""

    model_id: pulumi.Output[str]
    commit: pulumi.Output[str | None]
    """Commit of the hub."""
    digest: pulumi.Output[str]
    """Identity of the content."""
    prefix: pulumi.Output[str]
    """Folder of the model, with all of its revisions."""
    path: pulumi.Output[str | None]
    """Folder of the current revision."""
    file_count: pulumi.Output[int]
    """Files of the current revision."""
    size_bytes: pulumi.Output[int]
    """Their size in bytes."""

    def __init__(
        self, resource_name: str, opts: pulumi.ResourceOptions | None = None, **args: Unpack[ModelCacheArgs]
    ) -> None:
        super().__init__(ModelCacheProvider(), resource_name, args, opts)
