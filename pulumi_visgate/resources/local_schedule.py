"""LocalSchedule: the local cloud's service host moves a pool's minimum by its windows."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Required, Unpack

import pulumi
from pydantic import Field

from pulumi_visgate.resources._crud import Change, Crud, Found, Inputs
from pulumi_visgate.resources._local_host import host_delete, host_get, host_put
from pulumi_visgate.resources._provider import Provider, ResourceArgs, VisgateResource
from pulumi_visgate.resources._values import Properties, derived_name
from pulumi_visgate.resources.errors import HostError
from pulumi_visgate.resources.warm_pool import WindowArgs
from visgate_contract.pools import Window

_NAME_LENGTH = 63


class LocalScheduleInputs(Inputs):
    """Inputs of a schedule; `LocalScheduleArgs` describes them."""

    name: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    owner: str | None = None
    endpoint_id: str = Field(min_length=1)
    windows: list[Window] = Field(min_length=1)
    min_workers: int = Field(default=0, ge=0)


class LocalScheduleCrud(Crud):
    """The host keeps a schedule in memory only, so a digest that covers the account's key tells whether it has it."""

    kind = "LocalSchedule"
    model = LocalScheduleInputs
    fixed = ("name",)
    notes = frozenset({"owner"})
    outputs = ("spec_digest",)

    def own_name(self, values: Properties) -> Any:
        """Derive the name from the owner alone; it is the only fixed input."""
        return derived_name(str(values.get("owner", "")), ())[:_NAME_LENGTH]

    def diff(self, olds: Properties, news: Properties) -> Change:
        """Compare, and look whether the host has it: it forgets its schedules when it is started anew."""
        change = super().diff(olds, news)
        return change if change.changed else Change(tuple(self._forgotten(olds)))

    def create(self, inputs: Properties) -> tuple[str, dict[str, Any]]:
        """Call `PUT /schedules/{name}`."""
        return inputs["name"], self._put(inputs)

    def read(self, id_: str, props: Properties) -> Found | None:
        """Call `GET /schedules/{name}`."""
        record = host_get(self.session, f"/schedules/{id_}")
        if record is None:
            return None
        noted = {name: props[name] for name in self.notes if name in props}
        inputs = {name: record.get(name) for name in LocalScheduleInputs.model_fields if name not in self.notes} | noted
        return Found({**inputs, "spec_digest": record.get("spec_digest")}, inputs)

    def update(self, id_: str, _olds: Properties, news: Properties) -> dict[str, Any]:
        """Call `PUT /schedules/{name}`."""
        return self._put({**news, "name": id_})

    def delete(self, id_: str, _props: Properties, /) -> None:
        """Call `DELETE /schedules/{name}`."""
        host_delete(self.session, f"/schedules/{id_}")

    def _put(self, inputs: Properties) -> dict[str, Any]:
        settings = self.session.settings
        body = {
            "endpoint_id": inputs["endpoint_id"],
            "windows": [Window.model_validate(window).model_dump(mode="json") for window in inputs["windows"]],
            "min_workers": int(inputs.get("min_workers") or 0),
            "runpod_api_url": settings.runpod_api_url,
            "runpod_api_key": settings.require_key(),
        }
        record = host_put(self.session, f"/schedules/{inputs['name']}", body)
        return dict(inputs) | {"spec_digest": record.get("spec_digest")}

    def _forgotten(self, olds: Properties) -> Iterator[str]:
        try:
            record = host_get(self.session, f"/schedules/{olds.get('name')}")
        except HostError:
            return  # a preview must not need the host; `up` will say what is wrong
        if record is None or record.get("spec_digest") != olds.get("spec_digest"):
            yield "spec_digest"


class LocalScheduleProvider(Provider):
    """Dynamic provider of `LocalSchedule`."""

    crud: ClassVar = LocalScheduleCrud


class LocalScheduleArgs(ResourceArgs, total=False):
    """Arguments of `LocalSchedule`."""

    endpoint_id: Required[pulumi.Input[str]]
    """Endpoint of the pool: the id of a `WarmPool`."""
    windows: Required[pulumi.Input[Sequence[pulumi.Input[WindowArgs]]]]
    """The pool's windows."""
    min_workers: pulumi.Input[int]
    """Workers that are kept outside of the windows; 0 by default."""
    name: pulumi.Input[str]
    """Name at the host; derived from project, stack and resource when left out."""


class LocalSchedule(VisgateResource, module="visgate", name="LocalSchedule"):
    """Moves the minimum of a pool at the edges of its windows, while the local cloud runs."""

    name: pulumi.Output[str]
    endpoint_id: pulumi.Output[str]

    def __init__(
        self, resource_name: str, opts: pulumi.ResourceOptions | None = None, **args: Unpack[LocalScheduleArgs]
    ) -> None:
        super().__init__(LocalScheduleProvider(), resource_name, args, opts)
