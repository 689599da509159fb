"""The gateway holds nothing that a job needs."""

import json
from typing import Any

import httpx
import pytest

from pulumi_visgate.client import Client
from pulumi_visgate.local.receiver import receiving
from visgate_contract.events import Status

pytestmark = pytest.mark.chaos

Stack = tuple[Any, str]


def outputs(stack: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(stack.pulumi("stack", "output", "--stack", "local", "--json").stdout)
    return found


def stop_gateway(cloud: dict[str, str]) -> None:
    headers = {"authorization": f"Bearer {cloud['VISGATE_HOST_TOKEN']}"}
    with httpx.Client(base_url=cloud["VISGATE_HOST_URL"], headers=headers, trust_env=False) as host:
        (service,) = host.get("/services").json()["services"]
        assert service["module"] == "pulumi_visgate.gateway"
        assert host.delete(f"/services/{service['name']}").status_code == 204


def test_a_job_ends_with_its_events_delivered_though_the_gateway_is_gone(local_stack: Stack) -> None:
    stack, _ = local_stack
    cloud, url = stack.cloud(), outputs(stack)["gateway_url"]
    wished = {"prompt": "a lighthouse", "width": 64, "height": 64, "steps": 4, "seed": 1}
    with Client(url, stack.key) as gateway, receiving(gateway.webhook_secret()) as receiver:
        accepted = gateway.submit("visgate/tiny-sd", wished, webhook_url=receiver.url)
        stop_gateway(cloud)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/healthz", trust_env=False)
        data = []
        for delivery in receiver.deliveries(timeout_s=240):
            assert delivery.verified
            assert delivery.event is not None
            data.append(delivery.event.data)
            if data[-1].status.is_terminal:
                break
    assert [item.sequence for item in data] == list(range(len(data)))
    assert [data[0].status, data[1].status, data[-1].status] == [Status.PROVISIONING, Status.STARTED, Status.READY]
    assert {item.task_id for item in data} == {accepted.task_id}
    link = data[-1].artifacts[0].url
    assert httpx.get(link, trust_env=False).headers["content-type"] == "image/png"

    # The stack sees that its gateway is gone, starts another, and that one knows the job by its id alone.
    stack.pulumi("up", "--stack", "local", "--yes", "--skip-preview", "--refresh")
    with Client(outputs(stack)["gateway_url"], stack.key) as successor:
        assert successor.wait(accepted.job_id, timeout_s=60).artifacts[0].url == link
    stack.pulumi("preview", "--stack", "local", "--expect-no-changes")
