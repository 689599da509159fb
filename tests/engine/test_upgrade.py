"""A stack that an earlier version has left, in the hands of this one: nothing is replaced, deleted or made anew."""

import json
import os
from pathlib import Path

import pytest

from tests.engine.conftest import Stack

pytestmark = pytest.mark.engine

RECORDED = Path(__file__).parent / "upgrade"
SETTINGS = json.loads((RECORDED / "settings.json").read_text(encoding="utf-8"))
# The gateway is told where the cloud is, and a test's cloud is elsewhere than that of the recording.
MOVED = {"visgate-gateway-service": "update", "alone-service": "update"}


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """The account that was recorded; the host of its services is not there, and a preview does not need it."""
    return environment | {
        "PULUMI_CONFIG_PASSPHRASE": SETTINGS["passphrase"],
        "RUNPOD_API_KEY": SETTINGS["key"],
        "VISGATE_HOST_URL": "http://127.0.0.1:9",
        "VISGATE_HOST_TOKEN": "nobody",
    }


@pytest.mark.parametrize("version", sorted(path.name for path in RECORDED.glob("v*")))
def test_an_upgrade_changes_nothing(stack: Stack, version: str) -> None:
    folder = RECORDED / version
    stack.write((folder / "program.py").read_text(encoding="utf-8"))
    (stack.folder / "model").mkdir()
    for name, text in SETTINGS["model"].items():
        (stack.folder / "model" / name).write_text(text, encoding="utf-8")
    stack.run("stack", "import", "--file", os.fspath(folder / "state.json"))
    assert stack.steps() == MOVED
