"""The programs that the README shows, as it shows them."""

import re
import shutil
from pathlib import Path

import pytest

from pulumi_visgate.runpod import RunpodClient
from tests.engine.conftest import Stack

pytestmark = pytest.mark.engine

README = Path(__file__).resolve().parents[2] / "README.md"


def programs() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


def test_the_smallest_program_works(stack: Stack, runpod: RunpodClient) -> None:
    stack.write(programs()[0])
    stack.up()
    [endpoint] = runpod.list_endpoints()
    [volume] = runpod.list_network_volumes()
    assert endpoint.network_volumes == [volume.id]
    assert stack.steps() == {}
    stack.run("destroy", "--yes", "--skip-preview")
    assert runpod.list_endpoints() == []


def test_the_platform_can_be_previewed(stack: Stack, model_folder: Path) -> None:
    shutil.copytree(model_folder, stack.folder / ".visgate" / "models" / "visgate" / "tiny-sd")
    stack.write(programs()[1])
    planned = stack.steps(
        VISGATE_HOST_URL="http://127.0.0.1:9", VISGATE_HOST_TOKEN="nobody", VISGATE_CDN_URL="http://127.0.0.1:9/cdn"
    )
    assert set(planned.values()) == {"create"}
    assert {"visgate", "visgate-artifacts", "visgate-cache-eu-ro-1", "visgate-gateway-service"} <= set(planned)
