"""Bucket: a bucket of any S3-compatible store."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

import pulumi
from pydantic import Field, field_validator

from pulumi_visgate.resources._crud import Crud, Found, NamedInputs, Problem
from pulumi_visgate.resources._provider import Provider, ResourceArgs, VisgateResource
from pulumi_visgate.resources._s3 import attempting, delete_objects, delete_versions, object_sizes
from pulumi_visgate.resources._values import Properties, has_unknown
from pulumi_visgate.resources.errors import InUse, NameTaken, StoreError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import TagTypeDef

_NAME = r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"
_RULE_ID = "visgate-expire"
_OPTIONS = ("public_read", "cors_origins", "expire_after_days")
Tags = Mapping[str, str]


class BucketInputs(NamedInputs):
    """Inputs of a bucket; `BucketArgs` describes them."""

    name: str | None = Field(default=None, pattern=_NAME)
    public_read: bool = False
    cors_origins: list[str] = Field(default_factory=list)
    expire_after_days: int | None = Field(default=None, ge=1)
    force_destroy: bool = False

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, origins: list[str]) -> list[str]:
        for origin in origins:
            if origin != "*" and not origin.startswith(("https://", "http://")):
                message = f"{origin} is no origin; use * or one such as https://app.example."
                raise ValueError(message)
        return origins


class BucketCrud(Crud):
    """Rules and calls of buckets."""

    kind = "Bucket"
    model = BucketInputs
    fixed = ("name",)
    unordered = frozenset({"cors_origins"})
    keeps_tags = True
    outputs = ("endpoint", "region")

    def own_name(self, values: Properties) -> Any:
        """Derive the name from the owner alone; it is the only fixed input."""
        return super().own_name({**values, "name": None})

    def rules(self, values: Properties, /) -> Iterator[Problem]:
        """S3 names have no two dots in a row."""
        name = values.get("name")
        if not has_unknown(name) and ".." in str(name):
            yield Problem("name", "must not have two dots in a row.")

    def create(self, inputs: Properties) -> tuple[str, dict[str, Any]]:
        """Call `CreateBucket`, then set its options; a bucket whose options cannot be had is taken back."""
        client, name = self.session.store, inputs["name"]
        there = _exists(client, name)
        if there and not (inputs.get("adopt") or name == self.own_name(inputs)):
            detail = f"name: there is a bucket called {name!r} already."
            raise NameTaken(detail, hint="Choose another name, leave name out, or set adopt=True to take it over.")
        if there:
            self.session.adopted.add(name)
        else:
            _create(client, name, self.session.settings.store.region)
        try:
            _set_options(client, name, inputs, _OPTIONS if there else _wanted(inputs))
            _set_tags(client, name, {}, inputs.get("tags") or {})
        except StoreError:
            if not there:
                with suppress(StoreError), attempting(f"taking bucket {name} back"):
                    client.delete_bucket(Bucket=name)
            raise
        return name, self._outs(inputs)

    def read(self, id_: str, props: Properties) -> Found | None:
        """Ask the store for the bucket and its options."""
        client = self.session.store
        if not _exists(client, id_):
            return None
        observed = {name: props.get(name) for name in BucketInputs.model_fields} | {
            "name": id_,
            "public_read": _public_read(client, id_),
            "cors_origins": _cors(client, id_),
            "expire_after_days": _expiry(client, id_),
            "tags": _own_tags(client, id_, props.get("tags") or {}),
        }
        return self.found(observed, self._outputs(), props)

    def update(self, id_: str, olds: Properties, news: Properties) -> dict[str, Any]:
        """Set the options and tags that differ."""
        changed = self.diff(olds, news).changed
        _set_options(self.session.store, id_, news, [name for name in changed if name in _OPTIONS])
        if "tags" in changed:
            _set_tags(self.session.store, id_, olds.get("tags") or {}, news.get("tags") or {})
        return self._outs(news)

    def delete(self, id_: str, props: Properties, /) -> None:
        """Call `DeleteBucket`, with its objects only when the program allows that.

        Raises:
            InUse: There are objects, and `force_destroy` is not set.
        """
        if id_ in self.session.adopted:
            return  # the "replacement" is the very same bucket
        client = self.session.store
        try:
            with attempting(f"deleting bucket {id_}"):
                objects = object_sizes(client, id_)
                if objects and not props.get("force_destroy"):
                    detail = f"Bucket {id_} holds {len(objects)} objects."
                    raise InUse(detail, hint="Empty it, or set force_destroy=True and run `pulumi up` first.")
                if props.get("force_destroy"):
                    delete_objects(client, id_, objects)
                    delete_versions(client, id_)
                client.delete_bucket(Bucket=id_)
        except StoreError as error:
            if not error.gone:
                raise

    def _outputs(self) -> dict[str, Any]:
        store = self.session.settings.store
        return {"endpoint": store.endpoint, "region": store.region}

    def _outs(self, values: Properties) -> dict[str, Any]:
        return dict(values) | {name: value for name, value in self._outputs().items() if value}


def _wanted(values: Properties) -> tuple[str, ...]:
    return tuple(name for name in _OPTIONS if values.get(name))


def _location(region: str) -> dict[str, Any]:
    """The one region that S3 does not want to hear is its first."""
    return {} if region in ("us-east-1", "auto") else {"CreateBucketConfiguration": {"LocationConstraint": region}}


def _create(client: "S3Client", name: str, region: str) -> None:
    try:
        with attempting(f"creating bucket {name}"):
            client.create_bucket(Bucket=name, **_location(region))
    except StoreError as error:
        # It was not there a moment ago: the answer to the first attempt was lost, and the SDK has tried again.
        if error.s3_code != "BucketAlreadyOwnedByYou":
            raise


def _exists(client: "S3Client", name: str) -> bool:
    try:
        with attempting(f"looking for bucket {name}"):
            client.head_bucket(Bucket=name)
    except StoreError as error:
        if error.gone:
            return False
        raise
    return True


def _set_options(client: "S3Client", name: str, values: Properties, options: Sequence[str]) -> None:
    setters = {"public_read": _set_public_read, "cors_origins": _set_cors, "expire_after_days": _set_expiry}
    for option in options:
        try:
            with attempting(f"setting {option} of bucket {name}"):
                setters[option](client, name, values.get(option))
        except StoreError as error:
            if not error.unsupported:
                raise
            if values.get(option):
                detail = f"{option}: this S3 store does not support it ({error.s3_code})."
                raise StoreError(detail, hint="Leave it out, or use another store.") from None


@contextmanager
def _reading(what: str, name: str, absent: str) -> Iterator[None]:
    """An option that was never set, or that the store does not have, is off."""
    try:
        with attempting(f"reading the {what} of bucket {name}"):
            yield
    except StoreError as error:
        if error.s3_code != absent and not error.unsupported:
            raise


def _public_read(client: "S3Client", name: str) -> bool:
    with _reading("policy", name, "NoSuchBucketPolicy"):
        policy = json.loads(client.get_bucket_policy(Bucket=name)["Policy"])
        return bool(policy.get("Statement") == _public_policy(name)["Statement"])
    return False


def _cors(client: "S3Client", name: str) -> list[str]:
    with _reading("CORS rules", name, "NoSuchCORSConfiguration"):
        rules = client.get_bucket_cors(Bucket=name)["CORSRules"]
        return [origin for rule in rules for origin in rule["AllowedOrigins"]]
    return []


def _expiry(client: "S3Client", name: str) -> int | None:
    with _reading("lifecycle", name, "NoSuchLifecycleConfiguration"):
        rules = client.get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
        days = [rule.get("Expiration", {}).get("Days") for rule in rules if rule.get("ID") == _RULE_ID]
        return days[0] if days else None
    return None


def _stored_tags(client: "S3Client", name: str) -> dict[str, str] | None:
    """Return the tags that the store has, or None when it has no such thing."""
    try:
        with attempting(f"reading the tags of bucket {name}"):
            return {tag["Key"]: tag["Value"] for tag in client.get_bucket_tagging(Bucket=name)["TagSet"]}
    except StoreError as error:
        if error.s3_code == "NoSuchTagSet":
            return {}
        if error.unsupported:
            return None
        raise


def _own_tags(client: "S3Client", name: str, known: Tags) -> dict[str, str]:
    """Return the program's tags as they are at the store; those that others have put there are theirs."""
    stored = _stored_tags(client, name) if known else {}
    return dict(known) if stored is None else {tag: stored[tag] for tag in known if tag in stored}


def _set_tags(client: "S3Client", name: str, olds: Tags, news: Tags) -> None:
    """Put the program's tags beside those of others; a store without tags leaves them in the state alone."""
    if not olds and not news:
        return
    stored = _stored_tags(client, name)
    if stored is None:
        return
    wanted = {tag: value for tag, value in stored.items() if tag not in olds} | dict(news)
    if wanted == stored:
        return
    with attempting(f"setting the tags of bucket {name}"):
        if wanted:
            tags: list[TagTypeDef] = [{"Key": tag, "Value": value} for tag, value in sorted(wanted.items())]
            client.put_bucket_tagging(Bucket=name, Tagging={"TagSet": tags})
        else:
            client.delete_bucket_tagging(Bucket=name)


def _public_policy(name: str) -> dict[str, Any]:
    statement = {
        "Sid": "VisgatePublicRead",
        "Effect": "Allow",
        "Principal": "*",
        "Action": ["s3:GetObject"],
        "Resource": [f"arn:aws:s3:::{name}/*"],
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def _set_public_read(client: "S3Client", name: str, value: Any) -> None:
    if value:
        client.put_bucket_policy(Bucket=name, Policy=json.dumps(_public_policy(name)))
    else:
        client.delete_bucket_policy(Bucket=name)


def _set_cors(client: "S3Client", name: str, value: Any) -> None:
    if value:
        rule = {"AllowedOrigins": list(value), "AllowedMethods": ["GET", "HEAD"], "AllowedHeaders": ["*"]}
        client.put_bucket_cors(Bucket=name, CORSConfiguration={"CORSRules": [rule]})  # type: ignore[list-item]  # the stub wants its own dict
    else:
        client.delete_bucket_cors(Bucket=name)


def _set_expiry(client: "S3Client", name: str, value: Any) -> None:
    if value:
        client.put_bucket_lifecycle_configuration(
            Bucket=name,
            LifecycleConfiguration={
                "Rules": [
                    {"ID": _RULE_ID, "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": int(value)}}
                ]
            },
        )
    else:
        client.delete_bucket_lifecycle(Bucket=name)


class BucketProvider(Provider):
    """Dynamic provider of `Bucket`."""

    crud: ClassVar = BucketCrud


class BucketArgs(ResourceArgs, total=False):
    """Arguments of `Bucket`."""

    name: pulumi.Input[str]
    """Name of the bucket; derived from project, stack and resource when left out. A change makes a new bucket."""
    public_read: pulumi.Input[bool]
    """Everyone may read every object; off by default."""
    cors_origins: pulumi.Input[Sequence[pulumi.Input[str]]]
    """Web origins whose pages may read objects, or `*`."""
    expire_after_days: pulumi.Input[int]
    """Days after which the store deletes an object; never when left out. Not every store can."""
    force_destroy: pulumi.Input[bool]
    """Delete the objects with the bucket; off by default, then a bucket with objects is kept."""
    adopt: pulumi.Input[bool]
    """Take over the existing bucket of this `name`."""


class Bucket(VisgateResource, module="visgate", name="Bucket"):
    """A bucket of the store that `visgate:s3Endpoint` or `VISGATE_S3_ENDPOINT` names, AWS by default."""

    name: pulumi.Output[str]
    endpoint: pulumi.Output[str | None]
    """URL of the store; None for AWS."""
    region: pulumi.Output[str]
    """Region of the store."""

    def __init__(
        self, resource_name: str, opts: pulumi.ResourceOptions | None = None, **args: Unpack[BucketArgs]
    ) -> None:
        super().__init__(BucketProvider(), resource_name, args, opts)
