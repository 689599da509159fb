from collections.abc import Callable
from typing import Any

import httpx

from pulumi_visgate.local.emulator.testing import RunpodEmulator
from pulumi_visgate.runpod import RunpodClient

POOLS = ["ADA_24", "AMPERE_24", "ADA_48_PRO", "AMPERE_48"]


def test_answers_are_tidy_until_quirks_are_on(
    api: httpx.Client, runpod_emulator: RunpodEmulator, endpoint: Callable[..., dict[str, Any]]
) -> None:
    made = endpoint(gpu={"pools": POOLS}, flashboot="FLASHBOOT")
    path = f"/v2/serverless/{made['id']}"
    assert (made["gpu"]["pools"], made["name"], made["ports"]) == (POOLS, "painter", [])

    runpod_emulator.set_quirks("reorder", "nulls", "name_suffix", "additions")
    seen = [api.get(path).json() for _ in range(10)]
    assert len({tuple(shown["gpu"]["pools"]) for shown in seen}) > 1
    assert all(sorted(shown["gpu"]["pools"]) == sorted(POOLS) for shown in seen)
    assert seen[0]["name"] == "painter -fb"
    assert (seen[0]["ports"], seen[0]["args"], seen[0]["gpu"]["excludedTypes"]) == (None, None, None)
    assert seen[0]["workers"]["workersStandby"] == 1
    with RunpodClient(runpod_emulator.key, base_url=runpod_emulator.api_url) as client:
        assert client.get_endpoint(made["id"]).ports == []

    runpod_emulator.set_quirks()
    assert api.get(path).json() == made


def test_a_load_balancer_gets_its_ports_once(
    api: httpx.Client, runpod_emulator: RunpodEmulator, endpoint: Callable[..., dict[str, Any]]
) -> None:
    runpod_emulator.set_quirks("platform_env")
    balanced: dict[str, Any] = {"type": "LOAD_BALANCER", "scaling": {"type": "REQUEST_COUNT", "requestCount": 2}}
    made = endpoint(**balanced, env={"PORT": "8000"})
    assert made["env"] == {"PORT": "8000", "PORT_HEALTH": "80"}
    assert endpoint()["env"] == {}
    changed = api.patch(f"/v2/serverless/{made['id']}", json={"env": {"A": "1"}}).json()
    assert changed["env"] == {"A": "1"}


def test_an_unknown_quirk_is_refused(runpod_emulator: RunpodEmulator) -> None:
    answer = httpx.put(f"{runpod_emulator.api_url}/admin/quirks", json={"odd": True}, trust_env=False)
    assert answer.status_code == 422
