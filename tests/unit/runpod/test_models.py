import json
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from pulumi_visgate.runpod.models.billing import BillingFilter
from pulumi_visgate.runpod.models.common import Request
from pulumi_visgate.runpod.models.endpoint import (
    CreateEndpoint,
    CreateEndpointGpu,
    Endpoint,
    EndpointType,
    EndpointWorkers,
    QueueDelayScaling,
    RequestCountScaling,
    UpdateEndpoint,
    UpdateEndpointGpu,
    Worker,
)
from pulumi_visgate.runpod.models.job import JobPolicy, JobRequest, JobState, JobStatus
from pulumi_visgate.runpod.models.registry import CreateDelegation, CreateRegistry
from pulumi_visgate.runpod.models.template import CreateTemplate, PersistentMount, TemplateMounts, UpdateTemplate
from pulumi_visgate.runpod.models.volume import CreateNetworkVolume, NetworkVolume, UpdateNetworkVolume, VolumeType

NEW: dict[str, Any] = {"name": "n", "type": "QUEUE", "image": "i", "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4}}


def test_only_what_was_set_is_sent() -> None:
    made = CreateEndpoint(
        name="n",
        type=EndpointType.QUEUE,
        image="i",
        scaling=QueueDelayScaling(queue_delay=1),
        workers=EndpointWorkers(max=2),
        gpu=CreateEndpointGpu(pools=["ADA_24"]),
        env=None,
        registry=None,
    )
    assert made.body() == {
        "name": "n",
        "type": "QUEUE",
        "image": "i",
        "scaling": {"type": "QUEUE_DELAY", "queueDelay": 1.0},
        "workers": {"max": 2},
        "gpu": {"pools": ["ADA_24"]},
        "registry": None,
    }


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (CreateEndpoint, {**NEW, "gpuCount": 1}),
        (CreateEndpoint, {**NEW, "workers": {"minimum": 1}}),
        (CreateEndpoint, {**NEW, "gpu": {"pools": ["A"], "id": "x"}}),
        (UpdateEndpoint, {"type": "QUEUE"}),
        (CreateTemplate, {"name": "n", "image": "i", "mounts": {"network": {}}}),
        (CreateNetworkVolume, {"name": "n", "size": 10, "dataCenter": "d", "tags": []}),
        (CreateRegistry, {"name": "n", "username": "u", "password": "p", "url": "x"}),
        (CreateDelegation, {"resource": "r", "tag": "t"}),
    ],
)
def test_unknown_fields_of_a_request_are_refused(model: type[Request], body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        model.model_validate(body)


def test_unknown_fields_and_values_of_an_answer_are_survived() -> None:
    endpoint = Endpoint.model_validate(
        {
            "id": "e",
            "name": "n",
            "newThing": 1,
            "workers": {"min": 0, "max": 1, "newThing": 1},
            "scaling": {"type": "REQUEST_COUNT", "requestCount": 2, "newThing": 1},
            "dataCenterIds": [],
            "networkVolumes": [],
            "timeout": 1,
            "flashboot": "HYPERBOOT",
            "createdAt": "2026-06-01T12:00:00Z",
        }
    )
    assert endpoint.flashboot == "HYPERBOOT"
    assert isinstance(endpoint.scaling, RequestCountScaling)


def test_what_an_endpoint_reports_can_be_sent_back() -> None:
    endpoint = Endpoint.model_validate(
        {
            "id": "e",
            "name": "n",
            "workers": {"min": 0, "max": 1, "idleTimeout": 5},
            "scaling": {"type": "QUEUE_DELAY", "queueDelay": 2},
            "dataCenterIds": [],
            "networkVolumes": [],
            "timeout": 1,
            "flashboot": "OFF",
            "createdAt": "2026-06-01T12:00:00Z",
        }
    )
    change = UpdateEndpoint(workers=endpoint.workers, scaling=endpoint.scaling)
    assert change.body() == {
        "workers": {"min": 0, "max": 1, "idleTimeout": 5},
        "scaling": {"type": "QUEUE_DELAY", "queueDelay": 2.0},
    }


@pytest.mark.parametrize("field", ["name", "image", "env", "workers", "cpu", "timeout"])
def test_json_null_is_refused_where_the_api_refuses_it(field: str) -> None:
    with pytest.raises(ValidationError, match=f"{field} cannot be null"):
        UpdateEndpoint.model_validate_json(json.dumps({field: None}))
    assert UpdateEndpoint.model_validate({field: None}).body() == {}


@pytest.mark.parametrize(("model", "field"), [(UpdateEndpoint, "registry"), (UpdateTemplate, "registry")])
def test_json_null_clears_what_can_be_cleared(model: type[Request], field: str) -> None:
    assert model.model_validate_json(f'{{"{field}":null}}').body() == {field: None}


@pytest.mark.parametrize("value", [True, "5", 5.5, [5]])
def test_a_number_is_a_number(value: Any) -> None:
    with pytest.raises(ValidationError):
        UpdateEndpoint.model_validate({"timeout": value})


def test_exclusions_need_pools_because_only_pools_replace_them() -> None:
    with pytest.raises(ValidationError, match="excludedTypes needs pools"):
        UpdateEndpointGpu(excluded_types=["NVIDIA L40"])
    assert UpdateEndpointGpu(pools=["A"], excluded_types=[]).body() == {"pools": ["A"], "excludedTypes": []}


def test_an_empty_text_clears_the_cuda_floor_in_an_update_only() -> None:
    assert UpdateEndpointGpu(min_cuda_version="").body() == {"minCudaVersion": ""}
    with pytest.raises(ValidationError, match="min_cuda_version"):
        CreateEndpointGpu(pools=["A"], min_cuda_version="")


def test_lists_that_must_be_unique_are() -> None:
    cpu = {"id": "cpu5c", "vcpuCount": 4}
    with pytest.raises(ValidationError, match="unique"):
        UpdateEndpoint.model_validate({"cpu": [cpu, dict(cpu)]})
    assert UpdateEndpoint.model_validate({"cpu": [cpu, {**cpu, "vcpuCount": 8}]}).cpu


def test_a_load_balancer_scales_on_requests() -> None:
    with pytest.raises(ValidationError, match="must be REQUEST_COUNT"):
        CreateEndpoint.model_validate({**NEW, "type": "LOAD_BALANCER"})


def test_an_endpoint_needs_an_image_or_a_template() -> None:
    without = {name: value for name, value in NEW.items() if name != "image"}
    with pytest.raises(ValidationError, match="image is required"):
        CreateEndpoint.model_validate(without)
    assert CreateEndpoint.model_validate({**without, "templateId": "t"}).template_id == "t"


def test_an_empty_volume_update_is_refused() -> None:
    with pytest.raises(ValidationError, match="name or size"):
        UpdateNetworkVolume()


def test_a_billing_period_is_named_in_one_way() -> None:
    with pytest.raises(ValidationError, match="lastN"):
        BillingFilter.model_validate({"lastN": 3, "endTime": "2026-06-01T12:00:00Z"})


def test_models_are_values_that_change_by_copies() -> None:
    volume = CreateNetworkVolume(name="n", size=10, data_center="d")
    with pytest.raises(ValidationError, match="frozen"):
        volume.size = 20  # type: ignore[misc]
    bigger = volume.changed(size=20)
    assert (bigger.body(), volume.size) == ({"name": "n", "size": 20, "dataCenter": "d"}, 10)
    with pytest.raises(ValidationError, match="size"):
        volume.changed(size=5)


def test_job_limits_have_bounds() -> None:
    assert JobPolicy(execution_timeout=5_000, ttl=10_000, low_priority=True).body() == {
        "executionTimeout": 5_000,
        "ttl": 10_000,
        "lowPriority": True,
    }
    for wrong in ({"execution_timeout": 4_999}, {"ttl": 9_999}):
        with pytest.raises(ValidationError):
            JobPolicy.model_validate(wrong)


@pytest.mark.parametrize("state", list(JobState))
def test_a_job_is_done_in_its_final_states_only(state: JobState) -> None:
    assert JobStatus(id="j", status=state).done is (state not in {JobState.IN_QUEUE, JobState.IN_PROGRESS})


def test_a_state_that_runpod_may_add_is_not_final() -> None:
    assert not JobStatus.model_validate({"id": "j", "status": "PAUSED"}).done


def test_names_on_the_wire_are_camel_case() -> None:
    worker = Worker.model_validate({"id": "w", "status": "IDLE", "isStale": False, "gpuCount": 1, "dataCenterId": "d"})
    assert (worker.is_stale, worker.gpu_count, worker.data_center_id) == (False, 1, "d")
    volume = NetworkVolume(id="v", name="n", size=10, data_center="d", type=VolumeType.STANDARD)
    assert volume.model_dump(mode="json")["dataCenter"] == "d"


SECRET = "s3cr3t-value-of-the-test"
HOLDERS: list[Any] = [
    CreateEndpoint.model_validate({**NEW, "env": {"TOKEN": SECRET}}),
    UpdateEndpoint(env={"TOKEN": SECRET}),
    CreateTemplate(
        name="n",
        image="i",
        env={"TOKEN": SECRET},
        mounts=TemplateMounts(persistent=PersistentMount(size=10, path="/w")),
    ),
    CreateRegistry(name="n", username=SecretStr(SECRET), password=SecretStr(SECRET)),
    JobRequest(input={"put_url": SECRET}, webhook=SECRET),
    JobStatus(id="j", status=JobState.FAILED, output={"url": SECRET}, error=SECRET),
]


@pytest.mark.parametrize("model", HOLDERS, ids=lambda model: type(model).__name__)
def test_no_secret_shows_in_text(model: Any) -> None:
    assert SECRET not in f"{model!r} {model}"


def test_a_password_is_revealed_in_the_body_only() -> None:
    registry = CreateRegistry(name="n", username=SecretStr("user"), password=SecretStr(SECRET))
    assert registry.body() == {"name": "n", "username": "user", "password": SECRET}
    assert SECRET not in registry.model_dump_json()
    assert SECRET not in str(registry.model_dump())


@pytest.mark.parametrize(
    "body",
    [
        {**NEW, "env": {"TOKEN": [SECRET]}},
        {**NEW, "env": SECRET},
        {**NEW, "timeout": SECRET},
        {**NEW, "scaling": SECRET},
        {**NEW, "env": {"TOKEN": SECRET}, "oops": 1},
    ],
)
def test_no_error_repeats_an_input(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        CreateEndpoint.model_validate(body)
    assert SECRET not in f"{caught.value!r} {caught.value}"
