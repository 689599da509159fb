"""Images with the real engine, Buildah and registry: built once, rolled by digest, nothing half-made."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pulumi_visgate.local.emulator.testing import RunpodEmulator
from pulumi_visgate.runpod import RunpodClient
from tests import registry as registries
from tests.engine.conftest import Stack, kill_engine, until
from tests.registry import BUSYBOX, PASSWORD, USER, RunningRegistry

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(bool(registries.missing()), reason=registries.missing() or "images can be built"),
]

PROGRAM = """
import pulumi
from pulumi_visgate import ContainerImage, Endpoint
image = ContainerImage(
    "image", repository="{host}/acme/worker", context="worker", builder="buildah",
    username="{user}", password=pulumi.Config().require_secret("registry"),
)
Endpoint("sd", image=image.ref, gpu_pools=["ADA_24"])
pulumi.export("ref", image.ref)
"""
DOCKERFILE = """\
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "sh", "-c", "{command}"]
COPY src /src
CMD ["/bin/busybox", "cat", "/src/serve"]
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    with registries.serve(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Buildah keeps layers."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def environment(environment: dict[str, str], cache: Path) -> dict[str, str]:
    # vfs works in any container, chroot without any runtime.
    return environment | {
        "VISGATE_CACHE_DIR": str(cache), "STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"
    }  # fmt: skip


@pytest.fixture
def project(stack: Stack, registry: RunningRegistry) -> Stack:
    stack.write(PROGRAM.format(host=registry.host, user=USER))
    stack.run("config", "set", "--secret", "registry", PASSWORD)
    (stack.folder / "worker" / "src").mkdir(parents=True)
    shutil.copy(BUSYBOX, stack.folder / "worker" / "busybox")
    write(stack, "Dockerfile", DOCKERFILE.format(command="echo built"))
    write(stack, ".dockerignore", "*.md\n")
    write(stack, "src/serve", "one\n")
    return stack


def write(stack: Stack, name: str, text: str) -> None:
    (stack.folder / "worker" / name).write_text(text)


def image_of(runpod: RunpodClient) -> str:
    [endpoint] = runpod.list_endpoints()
    return str(endpoint.image)


def containers(cache: Path) -> str:
    """What unfinished builds have left."""
    places = [
        "--root",
        str(cache / "images/storage"),
        "--runroot",
        str(cache / "images/run"),
        "--storage-driver",
        "vfs",
    ]
    listed = subprocess.run(
        ["buildah", *places, "containers", "--quiet"], capture_output=True, text=True, timeout=60, check=True
    )
    return listed.stdout


def test_an_image_is_built_once_and_endpoints_roll_when_its_digest_changes(
    project: Stack, registry: RunningRegistry, runpod: RunpodClient, runpod_emulator: RunpodEmulator
) -> None:
    first = project.up()
    ref = image_of(runpod)
    assert ref.startswith(f"{registry.host}/acme/worker@sha256:")
    assert len(registry.tags("acme/worker")) == 1
    assert PASSWORD not in first.text + project.exported()
    write(project, "NOTES.md", "not in the image")
    project.run("preview", "--refresh", "--expect-no-changes")

    # The Dockerfile differs, what comes out of it does not.
    write(project, "Dockerfile", "# the worker\n" + DOCKERFILE.format(command="echo built"))
    before = runpod_emulator.requests().get("updateEndpoint", 0)
    project.up()
    assert image_of(runpod) == ref
    assert runpod_emulator.requests().get("updateEndpoint", 0) == before

    write(project, "src/serve", "two\n")
    preview = project.preview().text
    assert "acme/worker: to be built by buildah, because of src/serve" in preview
    assert "2 to update" in preview
    project.up()
    assert image_of(runpod) != ref

    write(project, "src/serve", "one\n")
    back = project.up()
    assert "nothing is built" in back.text
    assert image_of(runpod) == ref


@pytest.mark.long
def test_a_failed_build_shows_its_end_and_leaves_nothing(
    project: Stack, registry: RunningRegistry, runpod: RunpodClient, cache: Path
) -> None:
    before = registry.tags("acme/worker")
    broken = f"echo pip install; echo {PASSWORD}; echo No space left on device; exit 4"
    write(project, "Dockerfile", DOCKERFILE.format(command=broken))
    failed = project.up(ok=False)
    assert failed.code != 0
    assert "No space left on device" in failed.text
    assert "Free disk space" in failed.text
    assert "[masked]" in failed.text
    assert "Traceback" not in failed.text
    assert PASSWORD not in failed.text + project.exported()
    assert all(PASSWORD not in log.read_text() for log in (cache / "images/logs").iterdir())
    assert registry.tags("acme/worker") == before
    assert containers(cache) == ""
    assert runpod.list_endpoints() == []


@pytest.mark.long
def test_an_interrupted_build_leaves_nothing_half_made(
    project: Stack, registry: RunningRegistry, runpod: RunpodClient, cache: Path
) -> None:
    before = registry.tags("acme/worker")
    write(project, "src/serve", "interrupted\n")
    write(project, "Dockerfile", DOCKERFILE.format(command="/bin/busybox sleep 3171"))
    process = project.start("up", "--yes", "--skip-preview")
    try:
        until(sleeps, "the build step")
    finally:
        kill_engine(process)
    until(lambda: not sleeps(), "the end of the build")
    assert registry.tags("acme/worker") == before

    project.run("cancel", "--yes", "dev")
    write(project, "Dockerfile", DOCKERFILE.format(command="echo built"))
    project.up()
    assert len(registry.tags("acme/worker")) == len(before) + 1
    assert image_of(runpod).startswith(registry.host)
    assert containers(cache) == ""


def sleeps() -> bool:
    """Tell whether the build step runs that takes for ever."""
    return any("3171" in (process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))
