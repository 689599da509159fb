from typing import Any

import pytest

from pulumi_visgate.resources._endpoint_crud import EndpointCrud
from pulumi_visgate.resources.errors import InUse
from pulumi_visgate.resources.network_volume import NetworkVolumeCrud
from tests.unit.resources.conftest import MemoryRunpod, MemorySession

VOLUME = {"size_gb": 20, "data_center": "US-KS-2", "owner": "p/s/v"}


@pytest.fixture
def crud(session: MemorySession) -> NetworkVolumeCrud:
    return NetworkVolumeCrud(session)


def checked(crud: NetworkVolumeCrud, **inputs: Any) -> dict[str, Any]:
    values, problems = crud.check({}, {**VOLUME, **inputs})
    assert problems == []
    return values


@pytest.mark.parametrize(
    ("inputs", "name", "said"),
    [
        ({"size_gb": 9}, "size_gb", "greater than or equal to 10"),
        ({"size_gb": 20.5}, "size_gb", "integer"),
        ({"data_center": "EU"}, "data_center", "choose of EU-RO-1, US-KS-2."),
        ({"data_center": "US-XX-1"}, "data_center", "has no network volumes"),
        (
            {"data_center": "EU-RO-1", "tier": "HIGH_PERFORMANCE"},
            "tier",
            "not offered in EU-RO-1; choose of STANDARD",
        ),
    ],
)
def test_a_problem_says_what_is_allowed(crud: NetworkVolumeCrud, inputs: dict[str, Any], name: str, said: str) -> None:
    problems = {problem.property: problem.reason for problem in crud.check({}, {**VOLUME, **inputs})[1]}
    assert said in problems[name]


def test_a_volume_grows_in_place_and_shrinks_by_a_new_one(crud: NetworkVolumeCrud, memory: MemoryRunpod) -> None:
    id_, outs = crud.create(checked(crud))
    grown = checked(crud, size_gb=30)
    assert crud.diff(outs, grown).replaces == ()
    outs = crud.update(id_, outs, grown)
    assert memory.calls[-1] == ("update_network_volume", {"size": 30})
    shrunk = crud.diff(outs, checked(crud))
    assert (shrunk.replaces, shrunk.delete_first) == (("size_gb",), True)  # the new one would have the same name


def test_a_moved_volume_has_another_name_so_both_can_be_there(crud: NetworkVolumeCrud) -> None:
    _, outs = crud.create(checked(crud))
    moved = crud.diff(outs, checked(crud, data_center="EU-RO-1"))
    assert (moved.replaces, moved.delete_first) == (("data_center",), False)


def test_naming_the_tier_it_has_is_no_change(crud: NetworkVolumeCrud) -> None:
    _, outs = crud.create(checked(crud))
    assert crud.diff(outs, checked(crud, tier="STANDARD")).changed == ()
    assert crud.diff(outs, checked(crud, tier="HIGH_PERFORMANCE")).replaces == ("tier",)


def test_a_volume_in_use_is_kept_and_its_users_are_named(
    crud: NetworkVolumeCrud, session: MemorySession, memory: MemoryRunpod
) -> None:
    id_, outs = crud.create(checked(crud))
    endpoints = EndpointCrud(session)
    inputs = {"image": "i", "gpu_pools": ["ADA_24"], "network_volume_ids": [id_], "name": "busy"}
    endpoint_id, endpoint_outs = endpoints.create(endpoints.check({}, inputs)[0])
    with pytest.raises(InUse, match="is used by endpoint busy"):
        crud.delete(id_, outs)
    endpoints.delete(endpoint_id, endpoint_outs)
    crud.delete(id_, outs)
    assert memory.items["network_volume"] == {}
    crud.delete(id_, outs)
