"""An account of the emulator, and the CRUD classes against it over HTTP, each time as a new process would."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from pulumi_visgate.local.emulator.testing import RunpodEmulator
from pulumi_visgate.resources._crud import Crud
from pulumi_visgate.resources._session import Once, Session
from pulumi_visgate.resources._settings import Settings
from pulumi_visgate.runpod import RunpodClient
from pulumi_visgate.runpod.models.registry import CreateRegistry
from pulumi_visgate.runpod.models.template import CreateTemplate
from pulumi_visgate.runpod.models.volume import CreateNetworkVolume
from tools.reference.fields import CRUDS

QUIRKS = ("reorder", "nulls", "platform_env", "name_suffix", "additions")
_PATHS = {
    "Endpoint": "serverless",
    "WarmPool": "serverless",
    "Template": "templates",
    "NetworkVolume": "network-volumes",
    "RegistryAuth": "registries",
}
_CENTERS = {"1": "EU-RO-1", "2": "US-KS-2"}


class Account:
    """What a test does as the account's owner.

    Args:
        emulator: Where.
        client: Client of the account.
        http: The same without any model.
    """

    def __init__(self, emulator: RunpodEmulator, client: RunpodClient, http: httpx.Client) -> None:
        self.emulator = emulator
        self.client = client
        self._http = http
        self._settings = Settings(runpod_api_key=SecretStr(emulator.key), runpod_api_url=emulator.api_url)
        self._ids: dict[str, str] = {}

    def crud(self, resource: str) -> Crud:
        session = Session(self._settings)
        session._runpod = Once(lambda: self.client)
        return CRUDS[resource](session)

    def checked(self, resource: str, program: Mapping[str, Any], olds: Mapping[str, Any] | None = None) -> Any:
        """What `check` makes of a program; the test ends when it finds a problem."""
        values, problems = self.crud(resource).check(olds or {}, self.resolved(program))
        assert problems == []
        return values

    def create(self, resource: str, program: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        inputs = self.checked(resource, program)
        return self.crud(resource).create(inputs)

    def refreshed(self, resource: str, id_: str, outs: Mapping[str, Any], program: Mapping[str, Any]) -> dict[str, Any]:
        """Preview, refresh, and preview again: nothing may have changed. Return what the state has then."""
        known = {name: outs[name] for name in self.crud(resource).model.model_fields if name in outs}
        self._unchanged(resource, outs, self.checked(resource, program, known))
        found = self.crud(resource).read(id_, outs)
        assert found is not None
        self._unchanged(resource, found.outs, self.checked(resource, program, found.inputs))
        return found.outs

    def _unchanged(self, resource: str, outs: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        assert self.crud(resource).diff(outs, wanted).changed == (), (outs, wanted)

    def held(self, resource: str, id_: str) -> dict[str, Any]:
        """What the API has, without quirks."""
        self.emulator.set_quirks()
        try:
            if resource == "EcrDelegation":
                found: list[dict[str, Any]] = self._http.get("/v2/registries/delegations").json()["delegations"]
                return next(item for item in found if item["id"] == id_)
            answer = self._http.get(f"/v2/{_PATHS[resource]}/{id_}")
            answer.raise_for_status()
            body: dict[str, Any] = answer.json()
            return body
        finally:
            self.emulator.set_quirks(*QUIRKS)

    def clear(self, resource: str) -> None:
        """Delete what a test has made of a resource."""
        calls: dict[str, tuple[Callable[[], Any], Callable[[str], None]]] = {
            "RegistryAuth": (self.client.list_registries, self.client.delete_registry),
            "EcrDelegation": (self.client.list_delegations, self.client.revoke_delegation),
            "Template": (self.client.list_templates, self.client.delete_template),
            "NetworkVolume": (self.client.list_network_volumes, self.client.delete_network_volume),
        }
        listing, delete = calls.get(resource, (self.client.list_endpoints, self.client.delete_endpoint))
        for item in listing():
            if item.id not in self._ids.values():
                delete(item.id)

    def resolved(self, value: Any) -> Any:
        """Put ids in the place of `$template1` and its like; what they name is made first."""
        if isinstance(value, Mapping):
            return {name: self.resolved(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self.resolved(item) for item in value]
        if isinstance(value, str) and value.startswith("$"):
            if value not in self._ids:
                self._ids[value] = self._made(value[1:])
            return self._ids[value]
        return value

    def _made(self, name: str) -> str:
        kind, number = name[:-1], name[-1]
        if kind == "template":
            body = {"env": {"T": number, "SHARED": "template"}, "allowed_cuda_versions": ["12.6"], "args": "--template"}
            return self.client.create_template(
                CreateTemplate(name=name, image=f"acme/{name}:1", serverless=True, **body)
            ).id
        if kind == "registry":
            return self.client.create_registry(
                CreateRegistry(name=name, username=SecretStr("u"), password=SecretStr("p"))
            ).id
        return self.client.create_network_volume(
            CreateNetworkVolume(name=name, size=10, data_center=_CENTERS[number])
        ).id


@pytest.fixture
def account(runpod_emulator: RunpodEmulator) -> Iterator[Account]:
    """An account with every quirk on, and no quota to speak of."""
    runpod_emulator.set_quota(per_minute=1_000_000, per_hour=1_000_000)
    runpod_emulator.set_quirks(*QUIRKS)
    headers = {"Authorization": f"Bearer {runpod_emulator.key}"}
    with (
        RunpodClient(runpod_emulator.key, base_url=runpod_emulator.api_url) as client,
        httpx.Client(base_url=runpod_emulator.api_url, headers=headers, timeout=60, trust_env=False) as http,
    ):
        yield Account(runpod_emulator, client, http)
