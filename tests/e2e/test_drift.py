"""What happens to the stack when the account is changed behind its back."""

import json
import re
from typing import Any

import pytest

from pulumi_visgate.runpod.client import RunpodClient
from pulumi_visgate.runpod.models.endpoint import EndpointWorkers, UpdateEndpoint

Stack = tuple[Any, str]


def pool(stack: Any) -> str:
    outputs = json.loads(stack.pulumi("stack", "output", "--stack", "local", "--json").stdout)
    endpoint_id: str = outputs["pools"][0]["endpoint_id"]
    return endpoint_id


def client(stack: Any) -> RunpodClient:
    return RunpodClient(stack.key, base_url=stack.cloud()["RUNPOD_API_URL"])


def test_a_patch_shows_as_exactly_that_and_is_undone(local_stack: Stack) -> None:
    stack, _ = local_stack
    endpoint_id = pool(stack)
    with client(stack) as runpod:
        before = runpod.get_endpoint(endpoint_id)
        runpod.update_endpoint(endpoint_id, UpdateEndpoint(workers=EndpointWorkers(max=7)))
        stack.pulumi("refresh", "--stack", "local", "--yes", "--skip-preview")
        preview = stack.pulumi("preview", "--stack", "local", "--diff").stdout
        changed = re.findall(r"^\s+[~+-] (\w+)\s*: (.*)$", preview, re.MULTILINE)
        assert changed == [("max_workers", "7 => 2")], preview
        assert "~ 1 to update" in preview
        stack.pulumi("up", "--stack", "local", "--yes", "--skip-preview")
        assert runpod.get_endpoint(endpoint_id) == before
    stack.pulumi("preview", "--stack", "local", "--expect-no-changes")


def test_a_deletion_shows_and_is_made_good(local_stack: Stack) -> None:
    stack, _ = local_stack
    endpoint_id = pool(stack)
    with client(stack) as runpod:
        runpod.delete_endpoint(endpoint_id)
        stack.pulumi("refresh", "--stack", "local", "--yes", "--skip-preview")
        preview = stack.pulumi("preview", "--stack", "local", "--diff").stdout
        assert "+ 1 to create" in preview, preview
        stack.pulumi("up", "--stack", "local", "--yes", "--skip-preview")
        names = [endpoint.name for endpoint in runpod.list_endpoints()]
        assert len(names) == len(set(names)) == 1
    assert pool(stack) != endpoint_id
    stack.pulumi("preview", "--stack", "local", "--expect-no-changes")


@pytest.mark.parametrize(
    ("key", "value", "names"),
    [
        ("visgate:region", "MARS-1", "MARS-1"),
        ("visgate:gpuPool", "ABACUS", "ABACUS"),
        ("visgate:poolPolicy", "sometimes", "models.0.policy: Input should be 'always_on'"),
    ],
)
def test_wrong_configuration_names_itself_in_the_preview(local_stack: Stack, key: str, value: str, names: str) -> None:
    stack, _ = local_stack
    before = (stack.project / "stacks" / "Pulumi.local.yaml").read_bytes()
    try:
        stack.pulumi("config", "set", "--stack", "local", key, value)
        failed = stack.pulumi("preview", "--stack", "local", check=False)
    finally:
        (stack.project / "stacks" / "Pulumi.local.yaml").write_bytes(before)
    assert failed.returncode != 0
    assert names in failed.stdout
    assert "Traceback" not in failed.stdout


def test_without_the_local_cloud_the_program_says_so(local_stack: Stack) -> None:
    stack, _ = local_stack
    failed = stack.pulumi("preview", "--stack", "local", check=False, RUNPOD_API_URL="https://api.runpod.io")
    assert failed.returncode != 0
    assert "visgate local up" in failed.stdout
