"""A stack that an earlier version has left, in the hands of this one: nothing is replaced, deleted or made anew."""

import json
import os
import re
from pathlib import Path

import pytest

from tests.engine.conftest import Stack

pytestmark = pytest.mark.engine

RECORDED = Path(__file__).parent / "upgrade"
SETTINGS = json.loads((RECORDED / "settings.json").read_text(encoding="utf-8"))
# The gateway is told where the cloud is, and a test's cloud is elsewhere than that of the recording.
RENAMED = """\
import pulumi

def renamed(component):
    return lambda name, args: component(
        f"new-{name}", args, pulumi.ResourceOptions(aliases=[pulumi.Alias(name=name)])
    )

"""
VERSIONS = sorted(path.name for path in RECORDED.glob("v*"))
MOVED = {"visgate-gateway-service": "update", "alone-service": "update"}
# Workers are given the user's private key for webhooks, which 0.1.0 did not know.
POOLS = ("visgate-other-509547-text2img", "visgate-tiny-e7f063-image2img", "visgate-tiny-e7f063-text2img")
CHANGED = MOVED | dict.fromkeys(POOLS, "update")


@pytest.fixture
def environment(environment: dict[str, str]) -> dict[str, str]:
    """The account that was recorded; the host of its services is not there, and a preview does not need it."""
    return environment | {
        "PULUMI_CONFIG_PASSPHRASE": SETTINGS["passphrase"],
        "RUNPOD_API_KEY": SETTINGS["key"],
        "VISGATE_HOST_URL": "http://127.0.0.1:9",
        "VISGATE_HOST_TOKEN": "nobody",
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_an_upgrade_changes_nothing(stack: Stack, version: str) -> None:
    program = restore(stack, version)
    stack.write(program)
    assert stack.steps() == CHANGED


def test_a_renamed_component_keeps_its_resources(stack: Stack) -> None:
    program = restore(stack, VERSIONS[-1])
    program, renamed = re.subn(
        r"= (InferencePlatform|GeoRoutedCache|ArtifactCdn|Gateway)\(", r"= renamed(\1)(", program
    )
    assert renamed == 4
    stack.write(RENAMED + program)
    assert stack.steps() == {f"new-{name}": "update" for name in CHANGED}


def restore(stack: Stack, version: str) -> str:
    """Give a stack what was recorded, and return the program that made it."""
    folder = RECORDED / version
    (stack.folder / "model").mkdir()
    for name, text in SETTINGS["model"].items():
        (stack.folder / "model" / name).write_text(text, encoding="utf-8")
    stack.run("stack", "import", "--file", os.fspath(folder / "state.json"))
    return (folder / "program.py").read_text(encoding="utf-8")
