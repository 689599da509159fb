import inspect
from typing import Any

import pytest

import pulumi_visgate
from pulumi_visgate import providers
from pulumi_visgate.resources._provider import Provider, VisgateResource
from pulumi_visgate.resources.network_volume import NetworkVolumeCrud
from tests.unit.resources.conftest import MemoryRunpod, MemorySession

PROVIDERS: list[type[Provider]] = [getattr(providers, name) for name in providers.__all__]
RESOURCES = [
    name
    for name in pulumi_visgate.__all__
    if inspect.isclass(kind := getattr(pulumi_visgate, name)) and issubclass(kind, VisgateResource)
]


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda kind: kind.__name__)
def test_tags_are_an_input_of_every_resource_and_a_note_of_all_but_those_that_have_them(provider: Any) -> None:
    assert "tags" in provider.crud.model.model_fields
    assert ("tags" in provider.crud.notes) == (provider.crud.kind != "Bucket")


@pytest.mark.parametrize("name", RESOURCES)
def test_tags_are_an_argument_of_every_resource(name: str) -> None:
    assert "tags" in getattr(pulumi_visgate, f"{name}Args").__annotations__


def test_a_change_of_tags_asks_nothing_of_runpod_and_is_kept(session: MemorySession, memory: MemoryRunpod) -> None:
    crud = NetworkVolumeCrud(session)
    volume = {"owner": "p/s/cache", "size_gb": 10, "data_center": "EU-RO-1"}
    inputs, problems = crud.check({}, {**volume, "tags": {"floor": 3.0, "night": True}})
    assert problems == []
    assert inputs["tags"] == {"floor": "3", "night": "true"}
    id_, outs = crud.create(inputs)
    assert outs["tags"] == inputs["tags"]
    found = crud.read(id_, outs)
    assert found is not None
    assert found.inputs["tags"] == inputs["tags"]

    news, _ = crud.check(inputs, {**volume, "tags": {"floor": "4"}})
    assert crud.diff(outs, news).changed == ()
    asked = len(memory.calls)
    assert crud.update(id_, outs, news)["tags"] == {"floor": "4"}
    assert len(memory.calls) == asked
