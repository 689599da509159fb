"""LocalCdn: a bucket at the CDN route of the local cloud."""

from typing import Any, ClassVar, Required, Unpack

import pulumi
from pydantic import Field

from pulumi_visgate.resources._crud import Crud, Found, Inputs
from pulumi_visgate.resources._local_host import host_delete, host_get, host_put
from pulumi_visgate.resources._provider import Provider, ResourceArgs, VisgateResource
from pulumi_visgate.resources._values import Properties


class LocalCdnInputs(Inputs):
    """Inputs of a CDN route; `LocalCdnArgs` describes them."""

    bucket: str = Field(min_length=3)


class LocalCdnCrud(Crud):
    """A route is known by its bucket, so that creating it twice is the same as once."""

    kind = "LocalCdn"
    model = LocalCdnInputs
    fixed = ("bucket",)
    notes = frozenset()
    outputs = ("url",)

    def create(self, inputs: Properties) -> tuple[str, dict[str, Any]]:
        """Call `PUT /buckets/{name}`."""
        record = host_put(self.session, f"/buckets/{inputs['bucket']}", {})
        return str(inputs["bucket"]), dict(inputs) | {"url": record.get("url")}

    def read(self, id_: str, props: Properties) -> Found | None:
        """Call `GET /buckets/{name}`."""
        record = host_get(self.session, f"/buckets/{id_}")
        if record is None:
            return None
        inputs = {name: props[name] for name in LocalCdnInputs.model_fields if name in props} | {"bucket": id_}
        return Found({**inputs, "url": record.get("url")}, inputs)

    def update(self, id_: str, _olds: Properties, news: Properties) -> dict[str, Any]:
        """Publish it again; there is nothing to change."""
        return self.create({**news, "bucket": id_})[1]

    def delete(self, id_: str, _props: Properties, /) -> None:
        """Call `DELETE /buckets/{name}`."""
        host_delete(self.session, f"/buckets/{id_}")


class LocalCdnProvider(Provider):
    """Dynamic provider of `LocalCdn`."""

    crud: ClassVar = LocalCdnCrud


class LocalCdnArgs(ResourceArgs):
    """Arguments of `LocalCdn`."""

    bucket: Required[pulumi.Input[str]]
    """Bucket whose objects everyone with the link may read. A change makes a new route."""


class LocalCdn(VisgateResource, module="visgate", name="LocalCdn"):
    """A bucket published at the CDN route of the local cloud, for reading."""

    bucket: pulumi.Output[str]
    url: pulumi.Output[str]

    def __init__(
        self, resource_name: str, opts: pulumi.ResourceOptions | None = None, **args: Unpack[LocalCdnArgs]
    ) -> None:
        super().__init__(LocalCdnProvider(), resource_name, args, opts)
