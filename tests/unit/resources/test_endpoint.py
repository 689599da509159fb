from typing import Any

import pytest

from pulumi_visgate.resources._endpoint_crud import EndpointCrud
from pulumi_visgate.resources._values import UNKNOWN
from pulumi_visgate.resources.errors import NameTaken
from pulumi_visgate.runpod.errors import BadRequest, RunpodUnreachable
from tests.unit.resources.conftest import MemoryRunpod, MemorySession

GPU = {"image": "acme/worker:1", "gpu_pools": ["ADA_24", "AMPERE_24"], "owner": "p/s/sd"}


@pytest.fixture
def crud(session: MemorySession) -> EndpointCrud:
    return EndpointCrud(session)


def checked(crud: EndpointCrud, **inputs: Any) -> dict[str, Any]:
    values, problems = crud.check({}, {**GPU, **inputs})
    assert problems == []
    return values


def wrong(crud: EndpointCrud, **inputs: Any) -> dict[str, str]:
    given = {name: value for name, value in {**GPU, **inputs}.items() if value is not None}
    return {problem.property: problem.reason for problem in crud.check({}, given)[1]}


def test_a_floats_only_host_gets_whole_numbers_and_spelled_out_defaults(crud: EndpointCrud) -> None:
    values = checked(crud, max_workers=5.0, env={"N": 5.0, "RATE": 0.5, "ON": True})
    assert values["max_workers"] == 5
    assert values["env"] == {"N": "5", "RATE": "0.5", "ON": "true"}
    assert (values["min_workers"], values["idle_timeout_s"], values["queue_delay_s"]) == (0, 10, 4)
    assert values["name"].startswith("sd-")


@pytest.mark.parametrize(
    ("inputs", "name", "said"),
    [
        ({"image": None}, "image", "unless template_id"),
        ({"gpu_pools": None}, "gpu_pools", "either gpu_pools or cpus"),
        ({"cpus": [{"id": "cpu5c", "vcpus": 2}]}, "gpu_pools", "either gpu_pools or cpus"),
        ({"min_workers": 4, "max_workers": 3}, "min_workers", "above max_workers, 3"),
        ({"min_workers": -1}, "min_workers", "greater than or equal to 0"),
        ({"request_count": 2, "queue_delay_s": 3}, "request_count", "combined with queue_delay_s"),
        ({"request_count": 2, "idle_timeout_s": 3}, "idle_timeout_s", "does not apply"),
        ({"routing": "LOAD_BALANCER"}, "request_count", "is required"),
        ({"routing": "ROUND"}, "routing", "QUEUE"),
        ({"cpus": [{"id": "cpu5c", "vcpus": 6}], "gpu_pools": None}, "cpus", "6 is not a power of two"),
        ({"data_center_ids": ["EU-RO-1", "EU-RO-1"]}, "data_center_ids", "names one twice"),
        ({"excluded_gpu_types": ["NVIDIA L4", " NVIDIA L4 "]}, "excluded_gpu_types", "names one twice"),
        ({"env": {"A B": "secret-value"}}, "env", "pattern"),
        ({"env": "secret-value"}, "env", "dictionary"),
        ({"max_worker": 3}, "max_worker", "Did you mean max_workers?"),
        ({"allowed_cuda_versions": ["12.8"], "min_cuda_version": "12.1"}, "min_cuda_version", "allowed_cuda_versions"),
        ({"gpu_pools": ["NVIDIA L4"]}, "gpu_pools", "NVIDIA L4 is a GPU type in pool ADA_24"),
        ({"gpu_pools": ["RTX"]}, "gpu_pools", "choose of ADA_24, AMPERE_24"),
        ({"excluded_gpu_types": ["NVIDIA H100"]}, "excluded_gpu_types", "is in none of the pools"),
        (
            {"gpu_pools": ["AMPERE_24"], "excluded_gpu_types": ["NVIDIA A5000"]},
            "excluded_gpu_types",
            "leaves no GPU type",
        ),
        ({"data_center_ids": ["EU-XX-1"]}, "data_center_ids", "EU-XX-1 is no Runpod data center; choose of EU-RO-1"),
    ],
)
def test_a_problem_names_its_input_and_what_is_allowed_but_no_secret(
    crud: EndpointCrud, inputs: dict[str, Any], name: str, said: str
) -> None:
    problems = wrong(crud, **inputs)
    assert said in problems[name]
    assert "secret-value" not in str(problems)


def test_unknown_values_of_a_preview_are_accepted_everywhere(crud: EndpointCrud) -> None:
    for name in crud.model.model_fields:
        if name not in ("owner", "template_id", "cpus"):
            assert wrong(crud, **{name: UNKNOWN}) == {}, name
    values = checked(crud, network_volume_ids=[UNKNOWN], env={"A": UNKNOWN})
    assert values["network_volume_ids"] == [UNKNOWN]
    assert "env_fingerprints" not in values


def test_unchanged_inputs_ask_the_catalog_nothing(crud: EndpointCrud, memory: MemoryRunpod) -> None:
    values = checked(crud)
    memory.calls.clear()
    assert crud.check(values, GPU) == (values, [])
    assert memory.calls == []


def test_a_renamed_resource_keeps_its_name_at_runpod(crud: EndpointCrud) -> None:
    before = checked(crud)
    after, _ = crud.check(before, {**GPU, "owner": "p/s/renamed"})
    assert after["name"] == before["name"]


def test_create_then_read_is_no_change_in_any_order(crud: EndpointCrud, memory: MemoryRunpod) -> None:
    inputs = checked(crud, env={"A": "1"}, excluded_gpu_types=["NVIDIA L4"], network_volume_ids=["v1", "v2"])
    id_, outs = crud.create(inputs)
    stored = memory.items["endpoint"][id_]
    stored["gpu"]["pools"].reverse()
    stored["networkVolumes"].reverse()
    stored["name"] += " -fb"
    found = EndpointCrud(MemorySession(memory)).read(id_, outs)
    assert found is not None
    assert found.outs == outs
    assert found.inputs == inputs
    assert crud.diff(found.outs, inputs).changed == ()


@pytest.mark.parametrize(
    ("change", "body"),
    [
        ({"max_workers": 9}, {"workers": {"max": 9}}),
        (
            {"gpu_pools": ["ADA_24"]},
            {
                "gpu": {
                    "pools": ["ADA_24"],
                    "excludedTypes": ["NVIDIA L4"],
                    "count": 1,
                    "allowedCudaVersions": [],
                    "minCudaVersion": "",
                }
            },
        ),
        ({"min_cuda_version": "12.4"}, {"gpu": {"minCudaVersion": "12.4"}}),
        ({"env": {}}, {"env": {}}),
        ({"data_center_ids": []}, {"dataCenterIds": []}),
        ({"execution_timeout_s": 600}, {"timeout": 600_000}),
        ({"registry_id": None}, {"registry": None}),
        (
            {"request_count": 2},
            {"scaling": {"type": "REQUEST_COUNT", "requestCount": 2}},
        ),
    ],
)
def test_an_update_sends_what_changed_and_what_belongs_to_it(
    crud: EndpointCrud, memory: MemoryRunpod, change: dict[str, Any], body: dict[str, Any]
) -> None:
    full: dict[str, Any] = {
        "env": {"A": "1"},
        "excluded_gpu_types": ["NVIDIA L4"],
        "data_center_ids": ["EU-RO-1"],
        "registry_id": "reg1",
    }
    id_, outs = crud.create(checked(crud, **full))
    memory.calls.clear()
    news = checked(crud, **(full | change))
    outs = crud.update(id_, outs, news)
    assert [call for call in memory.calls if call[0].startswith("update")] == [("update_endpoint", body)]
    assert crud.diff(outs, news).changed == ()


def test_an_endpoint_between_gpu_and_cpu_is_replaced_under_another_name(crud: EndpointCrud) -> None:
    _, outs = crud.create(checked(crud))
    cpu, problems = crud.check({}, {"image": "i", "cpus": [{"id": "cpu5c", "vcpus": 4}], "owner": GPU["owner"]})
    assert problems == []
    change = crud.diff(outs, cpu)
    assert change.replaces == ("cpus",)
    assert not change.delete_first
    named = {"name": "mine"}
    assert crud.diff({**outs, **named}, {**cpu, **named}).delete_first


def test_settings_of_a_template_are_left_alone(crud: EndpointCrud, memory: MemoryRunpod) -> None:
    inputs = checked(crud, image=None, template_id="t1")
    id_, outs = crud.create(inputs)
    assert "env" not in memory.calls[-1][1]
    memory.items["endpoint"][id_].update(image="from/template:1", env={"T": "1"})
    found = crud.read(id_, outs)
    assert found is not None
    assert crud.diff(found.outs, inputs).changed == ()
    assert "T" not in str(found)


def test_an_interrupted_create_is_found_again_and_brought_up_to_date(crud: EndpointCrud, memory: MemoryRunpod) -> None:
    id_, _ = crud.create(checked(crud))
    again = EndpointCrud(MemorySession(memory))
    same_id, outs = again.create(checked(again, max_workers=8))
    assert same_id == id_
    assert outs["max_workers"] == 8
    assert memory.items["endpoint"][id_]["workers"]["max"] == 8
    assert len(memory.items["endpoint"]) == 1
    again.delete(id_, outs)  # "delete the original" of a replacement that is the same one
    assert id_ in memory.items["endpoint"]


def test_a_foreign_endpoint_of_the_name_is_never_taken(crud: EndpointCrud, memory: MemoryRunpod) -> None:
    named = checked(crud, name="theirs")
    crud.create(named)
    other = EndpointCrud(MemorySession(memory))
    with pytest.raises(NameTaken, match="adopt=True"):
        other.create(named)
    assert other.create({**named, "adopt": True})[0] == "endpoint1"


def test_two_of_a_name_of_the_program_are_told_apart_by_a_person(crud: EndpointCrud, memory: MemoryRunpod) -> None:
    id_, _ = crud.create(checked(crud, name="sd"))
    memory.items["endpoint"]["twin"] = {**memory.items["endpoint"][id_], "id": "twin"}
    with pytest.raises(NameTaken, match=r"2 of Endpoint .*endpoint1, twin"):
        EndpointCrud(MemorySession(memory)).create(checked(crud, name="sd", adopt=True))


def test_a_lost_answer_is_looked_up_and_a_refusal_is_not(crud: EndpointCrud, memory: MemoryRunpod) -> None:
    memory.after["create_endpoint"] = RunpodUnreachable("cut", sent=True)
    id_, _ = crud.create(checked(crud))
    assert list(memory.items["endpoint"]) == [id_]

    memory.items["endpoint"].clear()
    memory.after["create_endpoint"] = BadRequest(400, "Bad Request", "no capacity")
    with pytest.raises(BadRequest):
        EndpointCrud(MemorySession(memory)).create(checked(crud))


def test_gone_is_none_and_deleting_the_gone_is_done(crud: EndpointCrud) -> None:
    assert crud.read("nothing", {}) is None
    crud.delete("nothing", {})
