from typing import Any

import pytest
from botocore.exceptions import ClientError

from pulumi_visgate.resources._endpoint_crud import EndpointCrud
from pulumi_visgate.resources.errors import InUse, NameTaken
from pulumi_visgate.resources.network_volume import NetworkVolumeCrud
from pulumi_visgate.runpod.pods import Pod
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


@pytest.mark.parametrize(
    ("inputs", "refused"),
    [
        ({"size_gb": 10}, "size_gb"),
        ({"data_center": "EU-RO-1"}, "data_center"),
        ({"tier": "HIGH_PERFORMANCE"}, "tier"),
        ({"tier": "STANDARD"}, None),
        ({"size_gb": 30}, None),
        ({"size_gb": 10, "delete_data": True}, None),
    ],
)
def test_data_is_not_lost_by_a_change_that_does_not_say_so(
    crud: NetworkVolumeCrud, inputs: dict[str, Any], refused: str | None
) -> None:
    olds = checked(crud)
    crud.create(olds)
    problems = crud.check(olds, {**VOLUME, **inputs})[1]
    assert [problem.property for problem in problems] == ([refused] if refused else [])
    assert all("Set delete_data=True" in problem.reason for problem in problems)


def test_a_volume_that_was_there_before_is_kept_unless_its_data_may_go(
    crud: NetworkVolumeCrud, memory: MemoryRunpod
) -> None:
    id_, _ = crud.create(checked(crud, name="models"))
    later = NetworkVolumeCrud(MemorySession(memory))
    outs = later.create(checked(crud, name="models", adopt=True))[1]
    outs = later.update(id_, outs, checked(crud, name="models", adopt=True, size_gb=30))
    found = later.read(id_, outs)
    assert found is not None
    NetworkVolumeCrud(MemorySession(memory)).delete(id_, found.outs)
    assert id_ in memory.items["network_volume"]

    allowed = checked(crud, name="models", adopt=True, size_gb=30, delete_data=True)
    assert later.diff(found.outs, allowed).changed == ("delete_data",)
    outs = later.update(id_, found.outs, allowed)
    NetworkVolumeCrud(MemorySession(memory)).delete(id_, outs)
    assert memory.items["network_volume"] == {}


def test_pods_are_users_too(crud: NetworkVolumeCrud, memory: MemoryRunpod) -> None:
    id_, outs = crud.create(checked(crud))
    memory.pods = [
        Pod.model_validate({"id": "p1", "name": "training", "mounts": {"network": [{"volumeId": id_, "path": "/w"}]}}),
        Pod.model_validate({"id": "p2", "name": "other", "mounts": {"persistent": {"size": 10, "path": "/w"}}}),
    ]
    with pytest.raises(InUse, match=r"is used by pod training \(p1\)\."):
        crud.delete(id_, outs)
    assert id_ in memory.items["network_volume"]


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


class Files:
    """A store in front of volumes, by the number of their files."""

    def __init__(self, **count: int) -> None:
        self.count = count

    def list_objects_v2(self, **given: Any) -> dict[str, int]:
        if given["Bucket"] not in self.count:
            raise ClientError({"Error": {"Code": "AccessDenied"}}, "ListObjectsV2")
        return {"KeyCount": self.count[given["Bucket"]]}


def test_of_two_volumes_only_one_that_is_seen_to_be_empty_is_removed(
    crud: NetworkVolumeCrud, memory: MemoryRunpod, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = checked(crud)
    id_, _ = crud.create(inputs)
    volumes = memory.items["network_volume"]
    volumes["twin"] = {**volumes[id_], "id": "twin"}

    def again(**count: int) -> str:
        session = MemorySession(memory)
        monkeypatch.setattr(session, "volume_store", lambda _center: Files(**count))
        return NetworkVolumeCrud(session).create(inputs)[0]

    with pytest.raises(NameTaken, match=f"2 of NetworkVolume .*{id_}, twin"):
        again()
    with pytest.raises(NameTaken, match=f"2 of NetworkVolume .*{id_}, twin"):
        again(twin=1, **{id_: 1})
    assert again(twin=1, **{id_: 0}) == "twin"
    assert list(volumes) == ["twin"]
