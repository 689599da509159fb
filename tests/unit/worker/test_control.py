import json
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from visgate_worker.control import ControlError, EndpointControl, control_for
from visgate_worker.settings import Settings, WatchdogAction

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.worker.conftest import Server

KEY = SecretStr("rpa_ENDPOINTKEYENDPOINTKEY")


@pytest.mark.parametrize(
    ("action", "method", "body"),
    [
        (WatchdogAction.SCALE_TO_ZERO, "PATCH", {"workers": {"min": 0, "max": 0}}),
        (WatchdogAction.DELETE, "DELETE", None),
    ],
)
async def test_the_action_is_one_call_on_the_own_endpoint(
    make_server: "Callable[..., Server]",
    answer_of: "Callable[..., Any]",
    action: WatchdogAction,
    method: str,
    body: object,
) -> None:
    server = make_server(lambda request: answer_of(body=request.body))
    await EndpointControl("ep1", KEY, base_url=server.url + "/").act(action)
    (request,) = server.requests
    assert (request.method, request.path) == (method, "/v2/serverless/ep1")
    assert request.headers["authorization"] == f"Bearer {KEY.get_secret_value()}"
    assert (request.json() if request.body else None) == body


async def test_no_action_is_no_call(make_server: "Callable[..., Server]") -> None:
    server = make_server()
    await EndpointControl("ep1", KEY, base_url=server.url).act(WatchdogAction.NONE)
    assert server.requests == []


@pytest.mark.parametrize("statuses", [[500, 429, 200], [404], [503, 404]])
async def test_faults_are_retried_and_an_endpoint_that_is_gone_is_fine(
    make_server: "Callable[..., Server]", answer_of: "Callable[..., Any]", statuses: list[int]
) -> None:
    expected = len(statuses)
    server = make_server(lambda _: answer_of(status=statuses.pop(0)))
    await EndpointControl("ep1", KEY, base_url=server.url, first_wait_s=0.01).act(WatchdogAction.DELETE)
    assert len(server.requests) == expected


@pytest.mark.parametrize("status", [403, 307])
async def test_a_refusal_is_told_without_the_key(
    make_server: "Callable[..., Server]", answer_of: "Callable[..., Any]", status: int
) -> None:
    server = make_server(lambda _: answer_of(status=status, headers={"location": "/elsewhere"}))
    with pytest.raises(ControlError, match=f"{status} to DELETE") as caught:
        await EndpointControl("ep1", KEY, base_url=server.url).act(WatchdogAction.DELETE)
    assert KEY.get_secret_value() not in str(caught.value)
    assert len(server.requests) == 1


async def test_scaling_goes_on_until_runpod_confirms_it(
    make_server: "Callable[..., Server]", answer_of: "Callable[..., Any]"
) -> None:
    at_zero = b'{"workers": {"min": 0, "max": 0}}'
    answers = [(500, b""), (200, b"<html>"), (429, b""), (200, b'{"workers": {"max": 3}}'), *[(503, b"")] * 8]
    answers.append((200, at_zero))
    expected = len(answers)

    def answer(_: object) -> object:
        status, body = answers.pop(0)
        return answer_of(status=status, body=body)

    server = make_server(answer)
    control = EndpointControl("ep1", KEY, base_url=server.url, first_wait_s=0.001)
    await control.act(WatchdogAction.SCALE_TO_ZERO)
    assert len(server.requests) == expected


async def test_an_idle_timeout_that_cannot_be_set_is_given_up(make_server: "Callable[..., Server]") -> None:
    server = make_server()
    server.close()
    with pytest.raises(ControlError, match="ConnectError"):
        await EndpointControl("ep1", KEY, base_url=server.url, first_wait_s=0.01).set_idle_timeout(5)


@pytest.mark.parametrize(
    ("status", "workers", "work"),
    [
        (200, [{"id": "w1", "status": "RUNNING"}, {"id": "w2", "status": "IDLE"}], False),
        (200, [{"id": "w1", "status": "IDLE"}, {"id": "w2", "status": "RUNNING"}], True),
        (200, [{"name": "of another shape"}], False),
        (404, [], False),
        (403, [], False),
        (500, [{"id": "w2", "status": "RUNNING"}], False),
    ],
)
async def test_only_other_workers_with_a_job_are_at_work(
    make_server: "Callable[..., Server]", answer_of: "Callable[..., Any]", status: int, workers: Any, work: bool
) -> None:
    server = make_server(lambda _: answer_of(status=status, body=json.dumps({"workers": workers}).encode()))
    assert await EndpointControl("ep1", KEY, base_url=server.url).others_work("w1") is work
    [request] = server.requests
    assert (request.method, request.path) == ("GET", "/v2/serverless/ep1/workers")


def test_without_key_or_endpoint_there_is_no_control() -> None:
    assert control_for(Settings(model_id="m", endpoint_id="e")) is None
    assert control_for(Settings(model_id="m", runpod_api_key=KEY)) is None
    assert control_for(Settings(model_id="m", runpod_api_key=KEY, endpoint_id="e")) is not None
