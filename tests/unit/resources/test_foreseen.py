"""Who has a name already is said by the check, which previews run, in the words that a creation would use."""

from typing import Any

import pytest

from pulumi_visgate.resources._endpoint_crud import EndpointCrud
from pulumi_visgate.resources.network_volume import NetworkVolumeCrud
from pulumi_visgate.runpod.errors import ServerFault
from tests.unit.resources.conftest import MemoryRunpod, MemorySession

GPU: dict[str, Any] = {"owner": "p/s/sd", "image": "acme/worker:1", "gpu_pools": ["ADA_24"]}


class Heard:
    def __init__(self) -> None:
        self.noted: list[str] = []

    def note(self, text: str) -> None:
        self.noted.append(text)

    def warn(self, text: str) -> None:
        raise AssertionError(text)

    status = warn


@pytest.fixture
def heard(session: MemorySession) -> Heard:
    session.report = heard = Heard()
    return heard


def made(crud: EndpointCrud, **inputs: Any) -> str:
    values, problems = crud.check({}, {**GPU, **inputs})
    assert problems == []
    return crud.create(values)[0]


def later(memory: MemoryRunpod) -> EndpointCrud:
    """Return what another run would use: it knows nothing of what this one has made."""
    return EndpointCrud(MemorySession(memory))


def test_a_name_of_somebody_else_fails_before_anything_is_made(session: MemorySession, memory: MemoryRunpod) -> None:
    id_ = made(EndpointCrud(session), name="sd")
    _, [problem] = later(memory).check({}, {**GPU, "owner": "p/s/other", "name": "sd"})
    assert problem.property == "name"
    assert problem.reason.startswith(f"Endpoint {id_} is called 'sd' already. Choose another name")
    assert len(memory.items["endpoint"]) == 1


@pytest.mark.parametrize(
    ("news", "told"),
    [({}, "as adopt says, as it is."), ({"max_workers": 9}, "as adopt says, and changes max_workers.")],
)
def test_what_adopt_takes_over_and_changes_is_told(
    session: MemorySession, memory: MemoryRunpod, heard: Heard, news: dict[str, Any], told: str
) -> None:
    id_ = made(later(memory), name="sd")
    _, problems = EndpointCrud(session).check({}, {**GPU, **news, "name": "sd", "adopt": True})
    assert problems == []
    assert heard.noted == [f"Endpoint sd: `up` takes over {id_}, {told}"]


def test_what_an_interrupted_run_made_is_told(session: MemorySession, memory: MemoryRunpod, heard: Heard) -> None:
    id_ = made(later(memory))
    values, problems = EndpointCrud(session).check({}, GPU)
    assert problems == []
    assert heard.noted == [
        f"Endpoint {values['name']}: `up` takes over {id_}, which an interrupted run made, as it is."
    ]


def test_several_of_a_name_cannot_be_adopted(session: MemorySession, memory: MemoryRunpod) -> None:
    made(EndpointCrud(session), name="sd")
    memory.items["endpoint"]["double"] = {**memory.items["endpoint"]["endpoint1"], "id": "double"}
    _, [problem] = later(memory).check({}, {**GPU, "name": "sd", "adopt": True})
    assert "there are 2 of Endpoint called 'sd' (endpoint1, double)" in problem.reason


def test_what_the_list_still_shows_but_is_gone_stops_nothing(session: MemorySession, memory: MemoryRunpod) -> None:
    made(EndpointCrud(session), name="sd")
    crud = later(memory)
    assert crud.session.endpoints.named("sd")
    memory.items["endpoint"].clear()
    assert crud.check({}, {**GPU, "name": "sd"})[1] == []


def test_a_list_that_cannot_be_read_is_left_to_the_creation(session: MemorySession, memory: MemoryRunpod) -> None:
    broken = ServerFault(500, "Internal Server Error", "broken")

    def fail() -> Any:
        raise broken

    session.endpoints._fetch = fail
    assert EndpointCrud(session).check({}, {**GPU, "name": "sd"})[1] == []


def test_what_is_there_already_is_not_asked_about(session: MemorySession, memory: MemoryRunpod) -> None:
    crud = NetworkVolumeCrud(session)
    inputs, _ = crud.check({}, {"owner": "p/s/v", "name": "v", "size_gb": 10, "data_center": "EU-RO-1"})
    crud.create(inputs)
    memory.calls.clear()
    assert crud.check(inputs, inputs)[1] == []
    assert memory.calls == []
