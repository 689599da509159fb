"""The real Pulumi engine on a file backend, an emulated Runpod, and the real S3 server."""

import contextlib
import json
import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from pulumi_visgate.local.emulator.testing import EmulatorServer, RunpodEmulator
from pulumi_visgate.local.toolchain import ENGINE_PROGRAM, S3_PROGRAM, program, search_path
from pulumi_visgate.runpod import RunpodClient
from tests.s3 import S3_KEY_ID, S3_SECRET, s3_server

ENV_SECRET = "canary-of-an-environment-variable"
DEADLINE_S = 120.0


def until(condition: Callable[[], bool], what: str, *, deadline_s: float = DEADLINE_S) -> None:
    """Wait for a condition."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"gave up waiting for {what}"
        time.sleep(0.02)


@dataclass
class Result:
    """What one engine command did."""

    code: int
    text: str

    @property
    def events(self) -> list[dict[str, Any]]:
        """Steps of a `preview --json`."""
        steps: list[dict[str, Any]] = json.loads(self.text[self.text.index("{") :]).get("steps", [])
        return steps


@dataclass
class Stack:
    """One stack of one program."""

    folder: Path
    environment: dict[str, str] = field(repr=False)

    def write(self, program_text: str) -> None:
        """Set the program."""
        (self.folder / "Pulumi.yaml").write_text("name: engine\nruntime: python\n")
        (self.folder / "__main__.py").write_text(program_text)

    def run(self, *arguments: str, ok: bool = True, **more: str) -> Result:
        """Run a command; a failure shows what it said."""
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=self.folder,
            env=self.environment | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert not ok or done.returncode == 0, done.stdout
        return Result(done.returncode, done.stdout)

    def up(self, *, ok: bool = True, **more: str) -> Result:
        """Run `pulumi up`."""
        return self.run("up", "--yes", "--skip-preview", "--diff", ok=ok, **more)

    def preview(self, *, ok: bool = True, **more: str) -> Result:
        """Run `pulumi preview --diff`."""
        return self.run("preview", "--diff", ok=ok, **more)

    def steps(self, **more: str) -> dict[str, str]:
        """Return what a preview would do to each resource, by its name; those that stay are left out."""
        found = self.run("preview", "--json", ok=True, **more).events
        return {step["urn"].rsplit("::", 1)[1]: step["op"] for step in found if step["op"] not in {"same", "refresh"}}

    def exported(self) -> str:
        """Return the state, secrets encrypted."""
        return self.run("stack", "export").text

    def ids(self) -> dict[str, str]:
        """Return the id of each resource by its name."""
        resources = json.loads(self.exported())["deployment"].get("resources", [])
        return {item["urn"].rsplit("::", 1)[1]: item["id"] for item in resources if "id" in item}

    def start(self, *arguments: str, **more: str) -> subprocess.Popen[bytes]:
        """Start a command in a process group of its own."""
        with (self.folder / "started.log").open("wb") as log:
            return subprocess.Popen(
                ["pulumi", *arguments, "--non-interactive"],
                cwd=self.folder,
                env=self.environment | more,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


@pytest.fixture(scope="session")
def tools_path() -> str:
    """PATH with the engine and the S3 server."""
    path = search_path(os.environ)
    program(ENGINE_PROGRAM, path)
    program(S3_PROGRAM, path)
    return path


@pytest.fixture(scope="session")
def s3_endpoint(runpod_emulator_server: EmulatorServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The S3 server over the emulator's network volumes: a volume is a bucket, as at Runpod."""
    metadata = tmp_path_factory.mktemp("s3-metadata")
    runpod_emulator_server.volumes.mkdir(parents=True, exist_ok=True)
    with s3_server(runpod_emulator_server.volumes, metadata) as address:
        yield address


@pytest.fixture
def environment(tools_path: str, runpod_emulator: RunpodEmulator, s3_endpoint: str, tmp_path: Path) -> dict[str, str]:
    """What the engine is run with: the toolchain, one account, no home of the developer's."""
    (tmp_path / "state").mkdir()
    return {
        "PATH": tools_path,
        "HOME": str(tmp_path),
        "PULUMI_HOME": str(tmp_path / "pulumi"),
        "PULUMI_BACKEND_URL": f"{(tmp_path / 'state').as_uri()}?metadata=skip",
        "PULUMI_CONFIG_PASSPHRASE": secrets.token_hex(4),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PYTHONDONTWRITEBYTECODE": "1",
        "VISGATE_S3_ENDPOINT": s3_endpoint,
        "VISGATE_S3_ACCESS_KEY_ID": S3_KEY_ID,
        "VISGATE_S3_SECRET_ACCESS_KEY": S3_SECRET,
        **runpod_emulator.env,
    }


@pytest.fixture
def stack(environment: dict[str, str], tmp_path: Path) -> Stack:
    """An empty stack; what a test leaves of it goes with the emulator's account."""
    folder = tmp_path / "project"
    folder.mkdir()
    stack = Stack(folder, environment)
    stack.write("")
    stack.run("stack", "init", "dev")
    return stack


@pytest.fixture
def runpod(runpod_emulator: RunpodEmulator) -> Iterator[RunpodClient]:
    """Somebody else with the same account, such as a person in Runpod's console."""
    with RunpodClient(runpod_emulator.key, base_url=runpod_emulator.api_url) as client:
        yield client


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """Something in the shape of a diffusers model."""
    folder = tmp_path / "model"
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    (folder / "unet" / "weights.safetensors").write_bytes(b"\x01\x02" * 5000)
    return folder


def kill_engine(process: subprocess.Popen[bytes]) -> None:
    """`kill -9` an engine, then its language and provider hosts, which have process groups of their own."""
    with contextlib.suppress(psutil.NoSuchProcess):
        hosts = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        for host in hosts:
            with contextlib.suppress(psutil.NoSuchProcess):
                host.kill()
    process.wait(10)
