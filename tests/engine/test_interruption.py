"""`kill -9` of the engine between Runpod's answer and the state: the next `up` finds what was made."""

import pytest

from pulumi_visgate.local.emulator.testing import RunpodEmulator
from pulumi_visgate.runpod import RunpodClient
from tests.engine.conftest import Stack, kill_engine, until

pytestmark = pytest.mark.engine

PROGRAM = """
from pulumi_visgate import *
volume = NetworkVolume("cache", size_gb=10, data_center="EU-RO-1")
Template("template", image="acme/worker:1")
for n in range(3):
    Endpoint(f"sd-{n}", image="acme/worker:1", gpu_pools=["ADA_24"], network_volume_ids=[volume.id])
WarmPool("pool", model_id="acme/tiny", image="acme/worker:1", gpu_pools=["ADA_24"])
"""
LATENCY_MS = 400


@pytest.mark.parametrize("operation", [pytest.param("createNetworkVolume", marks=pytest.mark.long), "createEndpoint"])
def test_a_killed_up_leaves_no_double(
    stack: Stack, runpod: RunpodClient, runpod_emulator: RunpodEmulator, operation: str
) -> None:
    stack.write(PROGRAM)
    runpod_emulator.set_latency(LATENCY_MS)
    process = stack.start("up", "--yes", "--skip-preview")
    try:
        until(lambda: runpod_emulator.requests().get(operation, 0) > 0, operation)
    finally:
        kill_engine(process)
    runpod_emulator.set_latency(0)

    stack.run("cancel", "--yes", "dev")
    stack.up()
    ids = stack.ids()
    stack.run("preview", "--expect-no-changes")
    endpoints = {endpoint.id for endpoint in runpod.list_endpoints()}
    assert len(runpod.list_endpoints()) == 4
    assert endpoints == {ids[name] for name in ("sd-0", "sd-1", "sd-2", "pool")}
    assert [volume.id for volume in runpod.list_network_volumes()] == [ids["cache"]]
    assert [template.id for template in runpod.list_templates()] == [ids["template"]]


def test_a_create_whose_answer_is_lost_is_not_repeated(
    stack: Stack, runpod: RunpodClient, runpod_emulator: RunpodEmulator
) -> None:
    stack.write('from pulumi_visgate import *\nTemplate("template", image="acme/worker:1")\n')
    runpod_emulator.fault("lost_answer", operation="createTemplate", times=1)
    stack.up()
    assert [template.id for template in runpod.list_templates()] == [stack.ids()["template"]]
