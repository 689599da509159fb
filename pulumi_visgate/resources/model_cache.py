"""ModelCache: the files of a model on a network volume, or in a bucket, where workers load them from."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Required, Unpack

import pulumi
from pydantic import Field, ValidationError

from pulumi_visgate.resources._crud import Crud, Found, Inputs, Problem
from pulumi_visgate.resources._manifest import MANIFEST_NAME, Manifest, ManifestFile, model_prefix, scan
from pulumi_visgate.resources._provider import Provider, ResourceArgs, VisgateResource
from pulumi_visgate.resources._s3 import attempting, delete_objects, object_sizes
from pulumi_visgate.resources._values import Properties, has_unknown
from pulumi_visgate.resources.errors import StoreError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

UPLOADS_AT_ONCE = 4
_SHA256 = "sha256"


class ModelCacheInputs(Inputs):
    """Inputs of a model cache; `ModelCacheArgs` describes them. `digest` is computed from the source."""

    model_id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$")
    source: str = Field(min_length=1)
    volume_id: str | None = None
    data_center: str | None = None
    bucket: str | None = None
    retain: bool = False
    digest: str | None = None


class ModelCacheCrud(Crud):
    """The manifest is uploaded last, so a model with a manifest is a whole one."""

    kind = "ModelCache"
    model = ModelCacheInputs
    fixed = ("model_id", "volume_id", "bucket")
    notes = frozenset({"source", "data_center"})
    outputs = ("prefix", "file_count", "size_bytes")

    def complete(self, values: dict[str, Any]) -> None:
        """Compute the digest of the source; what the program says of it does not count."""
        source = values.get("source")
        values["digest"] = None
        if not has_unknown([source, values.get("model_id")]) and (Path(str(source)) / "model_index.json").is_file():
            values["digest"] = scan(Path(str(source)), str(values["model_id"])).digest

    def rules(self, values: Properties, /) -> Iterator[Problem]:
        """There is one destination, and a model in the source."""
        if bool(values.get("volume_id")) == bool(values.get("bucket")):
            yield Problem("volume_id", "give either volume_id or bucket.")
        source = values.get("source")
        if not has_unknown(source) and not values.get("digest") and not has_unknown(values.get("model_id")):
            yield Problem("source", "is not a folder with a model in diffusers format: it has no model_index.json.")

    def create(self, inputs: Properties) -> tuple[str, dict[str, Any]]:
        """Upload what is missing; safe to repeat."""
        bucket = str(inputs.get("volume_id") or inputs["bucket"])
        return f"{bucket}/{model_prefix(inputs['model_id'])}", self._upload(bucket, inputs)

    def read(self, _id: str, props: Properties) -> Found | None:
        """Compare what is stored with its manifest; a lost or cut file shows as another digest."""
        bucket, prefix = str(props.get("volume_id") or props["bucket"]), model_prefix(props["model_id"])
        client = self._client(props)
        try:
            with attempting(f"reading model {props['model_id']} in {bucket}"):
                sizes = object_sizes(client, bucket, prefix)
            manifest = _stored_manifest(client, bucket, prefix) if sizes else None
        except StoreError as error:
            if error.gone:
                return None
            raise
        if not sizes:
            return None
        whole = manifest is not None and all(
            sizes.get(prefix + path) == file.size for path, file in manifest.files.items()
        )
        inputs = {name: props[name] for name in ModelCacheInputs.model_fields if name in props}
        inputs["digest"] = manifest.digest if manifest and whole else "incomplete"
        return Found({**props, **inputs}, inputs)

    def update(self, _id: str, _olds: Properties, news: Properties) -> dict[str, Any]:
        """Upload what differs, then remove what the model no longer has."""
        return self._upload(str(news.get("volume_id") or news["bucket"]), news)

    def delete(self, _id: str, props: Properties, /) -> None:
        """Remove the files, unless the program says `retain`."""
        if props.get("retain"):
            return
        bucket, client = str(props.get("volume_id") or props["bucket"]), self._client(props)
        prefix = model_prefix(props["model_id"])
        try:
            with attempting(f"removing model {props['model_id']} from {bucket}"):
                # The manifest goes first, so that a half-removed model is not taken for a whole one.
                delete_objects(client, bucket, [prefix + MANIFEST_NAME])
                delete_objects(client, bucket, object_sizes(client, bucket, prefix))
        except StoreError as error:
            if not error.gone:
                raise

    def _client(self, values: Properties) -> "S3Client":
        if values.get("volume_id"):
            return self.session.volume_store(values.get("data_center"))
        return self.session.store

    def _upload(self, bucket: str, inputs: Properties) -> dict[str, Any]:
        folder, prefix = Path(inputs["source"]), model_prefix(inputs["model_id"])
        manifest = scan(folder, inputs["model_id"])
        if manifest.digest != inputs["digest"]:
            detail = f"source: {folder} has changed since the preview."
            raise StoreError(detail, hint="Run `pulumi up` again when nothing writes to it.")
        with attempting(f"uploading model {inputs['model_id']} to {bucket}"):
            _transfer(self._client(inputs), bucket, prefix, folder, manifest)
        outputs = {"prefix": prefix, "file_count": len(manifest.files), "size_bytes": manifest.size}
        return dict(inputs) | outputs


def _transfer(client: "S3Client", bucket: str, prefix: str, folder: Path, manifest: Manifest) -> None:
    stored = _stored_manifest(client, bucket, prefix)
    sizes = object_sizes(client, bucket, prefix)

    def is_there(path: str, file: ManifestFile) -> bool:
        if sizes.get(prefix + path) != file.size:
            return False
        known = stored.files.get(path) if stored else None
        if known:
            return known.sha256 == file.sha256
        # Left by an interrupted upload: stores that keep metadata tell what it is.
        return client.head_object(Bucket=bucket, Key=prefix + path)["Metadata"].get(_SHA256) == file.sha256

    missing = [(path, file) for path, file in manifest.files.items() if not is_there(path, file)]
    stale = sorted(set(sizes) - {prefix + path for path in manifest.files} - {prefix + MANIFEST_NAME})
    if not missing and not stale and stored and stored.digest == manifest.digest:
        return
    delete_objects(client, bucket, [prefix + MANIFEST_NAME] if stored else [])

    def put(item: tuple[str, ManifestFile]) -> None:
        path, file = item
        # The SDK sends a checksum that the store verifies, and splits what is large.
        client.upload_file(str(folder / path), bucket, prefix + path, ExtraArgs={"Metadata": {_SHA256: file.sha256}})

    with ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:
        list(pool.map(put, missing))
    delete_objects(client, bucket, stale)
    sizes = object_sizes(client, bucket, prefix)
    wrong = [path for path, file in manifest.files.items() if sizes.get(prefix + path) != file.size]
    if wrong:
        detail = f"The S3 store has another size than the source for {', '.join(wrong)}."
        raise StoreError(detail, hint="Run `pulumi up` again; if it stays, the store is broken.")
    client.put_object(Bucket=bucket, Key=prefix + MANIFEST_NAME, Body=manifest.to_bytes())


def _stored_manifest(client: "S3Client", bucket: str, prefix: str) -> Manifest | None:
    try:
        with attempting(f"reading {prefix}{MANIFEST_NAME} in {bucket}"):
            body = client.get_object(Bucket=bucket, Key=prefix + MANIFEST_NAME)["Body"].read()
        return Manifest.model_validate_json(body)
    except ValidationError:
        return None
    except StoreError as error:
        if error.gone and error.s3_code != "NoSuchBucket":
            return None
        raise


class ModelCacheProvider(Provider):
    """Dynamic provider of `ModelCache`."""

    crud: ClassVar = ModelCacheCrud


class ModelCacheArgs(ResourceArgs, total=False):
    """Arguments of `ModelCache`; give `volume_id` or `bucket`."""

    model_id: Required[pulumi.Input[str]]
    """Hub id of the model, `org/name`. A change makes a new cache."""
    source: Required[pulumi.Input[str]]
    """Folder on this machine with the model in diffusers format."""
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
    digest: pulumi.Output[str]
    prefix: pulumi.Output[str]
    file_count: pulumi.Output[int]
    size_bytes: pulumi.Output[int]

    def __init__(
        self, resource_name: str, opts: pulumi.ResourceOptions | None = None, **args: Unpack[ModelCacheArgs]
    ) -> None:
        super().__init__(ModelCacheProvider(), resource_name, args, opts)
