"""Every program of `examples/`, in one stack, with answers as untidy as a server may give them."""

import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pulumi_visgate.local.emulator.testing import RunpodEmulator
from pulumi_visgate.runpod import RunpodClient
from tests import registry as registries
from tests.engine.conftest import Stack

pytestmark = pytest.mark.engine

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TOKEN = "canary-of-the-registry-token"
PROGRAM = """
import runpy
from pathlib import Path
for example in sorted(Path("examples").glob("*.py")):
    runpy.run_path(str(example), run_name="__main__")
"""


@pytest.fixture
def registry(stack: Stack, environment: dict[str, str], tmp_path: Path) -> Iterator[None]:
    """What `container_image.py` needs: a builder, something to build, and a registry that one has logged in to."""
    shutil.copytree(EXAMPLES, stack.folder / "examples")
    if registries.missing():
        (stack.folder / "examples" / "container_image.py").unlink()  # `test_images` says why
        yield
        return
    (stack.folder / "worker").mkdir()
    (stack.folder / "worker" / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    environment |= {"VISGATE_CACHE_DIR": str(tmp_path / "cache"), "STORAGE_DRIVER": "vfs"}
    with registries.serve(tmp_path) as running:
        auth = base64.b64encode(f"{registries.USER}:{registries.PASSWORD}".encode()).decode()
        (tmp_path / ".docker").mkdir()
        (tmp_path / ".docker" / "config.json").write_text(json.dumps({"auths": {running.host: {"auth": auth}}}))
        stack.run("config", "set", "repository", f"{running.host}/acme/worker")
        yield


@pytest.mark.usefixtures("registry")
def test_every_example_is_made_stays_as_it_is_and_goes(
    stack: Stack, runpod: RunpodClient, runpod_emulator: RunpodEmulator, model_folder: Path
) -> None:
    runpod_emulator.set_quirks("reorder", "nulls", "platform_env", "name_suffix", "additions")
    shutil.copytree(model_folder, stack.folder / "models" / "tiny")
    stack.write(PROGRAM)
    stack.run("config", "set", "--secret", "registryToken", TOKEN)
    up = stack.up()
    assert TOKEN not in up.text
    assert registries.PASSWORD not in up.text
    assert TOKEN not in stack.exported()

    stack.run("refresh", "--yes", "--skip-preview", "--expect-no-changes")
    stack.run("preview", "--expect-no-changes")

    stack.run("destroy", "--yes", "--skip-preview")
    assert runpod.list_endpoints() == []
    assert runpod.list_templates() == []
    assert runpod.list_registries() == []
    [kept] = runpod.list_network_volumes()  # `retain_on_delete`
    assert kept.name.startswith("datasets-")
