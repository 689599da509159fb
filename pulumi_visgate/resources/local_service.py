"""LocalService: a process of the local cloud's service host, such as the gateway; of no use without that cloud."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Required, Unpack

import pulumi
from pydantic import Field

from pulumi_visgate.resources._crud import Change, Crud, Found, NamedInputs, WithEnv
from pulumi_visgate.resources._endpoint_crud import Env
from pulumi_visgate.resources._local_host import host_delete, host_get, host_put
from pulumi_visgate.resources._provider import Provider, ResourceArgs, VisgateResource
from pulumi_visgate.resources._values import Properties, derived_name
from pulumi_visgate.resources.errors import HostError

_NAME_LENGTH = 63


class LocalServiceInputs(NamedInputs):
    """Inputs of a service; `LocalServiceArgs` describes them."""

    name: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    module: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$")
    env: Env = Field(default_factory=dict)
    env_fingerprints: dict[str, str] = Field(default_factory=dict)


class LocalServiceCrud(Crud, WithEnv):
    """The host keeps the environment in memory only, so the digest it answers is all that can be compared."""

    kind = "LocalService"
    model = LocalServiceInputs
    fixed = ("name",)
    secret = frozenset({"env"})
    notes = frozenset({"owner", "adopt", "env_fingerprints"})
    outputs = ("url", "running", "spec_digest")

    def own_name(self, values: Properties) -> Any:
        """Derive the name from the owner alone; it is the only fixed input."""
        return derived_name(str(values.get("owner", "")), ())[:_NAME_LENGTH]

    def complete(self, values: dict[str, Any]) -> None:
        """Name it, and note the environment."""
        super().complete(values)
        self.note_env(values)

    def diff(self, olds: Properties, news: Properties) -> Change:
        """Compare, and look whether it still runs: the host forgets its services when the machine starts anew."""
        change = super().diff(olds, news)
        if change.changed:
            return change
        return Change(tuple(self._drift(olds)))

    def create(self, inputs: Properties) -> tuple[str, dict[str, Any]]:
        """Call `PUT /services/{name}`, which answers when the service is ready."""
        return inputs["name"], self._put(inputs)

    def read(self, id_: str, props: Properties) -> Found | None:
        """Call `GET /services/{name}`; a dead service, or one of another specification, shows as drift."""
        record = host_get(self.session, f"/services/{id_}")
        if record is None:
            return None
        inputs = {name: props[name] for name in LocalServiceInputs.model_fields if name in props}
        outs = _outputs(record)
        if outs["spec_digest"] != props.get("spec_digest", outs["spec_digest"]):
            inputs["module"] = record.get("module")
            outs["running"] = False  # not what the program says
        return Found({**inputs, **outs}, inputs)

    def update(self, id_: str, _olds: Properties, news: Properties) -> dict[str, Any]:
        """Call `PUT /services/{name}`."""
        return self._put({**news, "name": id_})

    def delete(self, id_: str, _props: Properties, /) -> None:
        """Call `DELETE /services/{name}`."""
        host_delete(self.session, f"/services/{id_}")

    def _put(self, inputs: Properties) -> dict[str, Any]:
        body = {"module": inputs["module"], "env": dict(inputs.get("env") or {})}
        record = host_put(self.session, f"/services/{inputs['name']}", body)
        return dict(inputs) | _outputs(record)

    def _drift(self, olds: Properties) -> Iterator[str]:
        try:
            record = host_get(self.session, f"/services/{olds.get('name')}")
        except HostError:
            return  # a preview must not need the host; `up` will say what is wrong
        if record is None or not record.get("running"):
            yield "running"
        elif record.get("spec_digest") != olds.get("spec_digest") or not olds.get("running"):
            yield "spec_digest"


def _outputs(record: dict[str, Any]) -> dict[str, Any]:
    return {
        "url": record.get("url"),
        "running": bool(record.get("running")),
        "spec_digest": record.get("spec_digest"),
    }


class LocalServiceProvider(Provider):
    """Dynamic provider of `LocalService`."""

    crud: ClassVar = LocalServiceCrud


class LocalServiceArgs(ResourceArgs, total=False):
    """Arguments of `LocalService`."""

    module: Required[pulumi.Input[str]]
    """Python module that the host runs with `-m`."""
    env: pulumi.Input[Mapping[str, pulumi.Input[str]]]
    """Its environment. Always secret; the host keeps it in memory only."""
    name: pulumi.Input[str]
    """Name at the host; derived from project, stack and resource when left out."""


class LocalService(VisgateResource, module="visgate", name="LocalService"):
    """A process of the local cloud; created when it answers, started again when it is found dead."""

    name: pulumi.Output[str]
    url: pulumi.Output[str]
    running: pulumi.Output[bool]

    def __init__(
        self, resource_name: str, opts: pulumi.ResourceOptions | None = None, **args: Unpack[LocalServiceArgs]
    ) -> None:
        super().__init__(LocalServiceProvider(), resource_name, args, opts)
