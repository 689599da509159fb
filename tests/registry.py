"""A container registry of the real kind, and what is needed to build images for it."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

REGISTRY_PROGRAM = "docker-registry"
BUSYBOX = Path("/bin/busybox")
USER = "ada"
PASSWORD = "canary-of-the-registry-password"
_HASH = "$2b$04$1eraFQ3bHOnash4Tqbtw6erEGPvMV7jLS87Ppx0g8etXB8D1Wvy4q"  # of the password, by bcrypt
_CONFIG = """\
version: 0.1
log: {{level: warn}}
storage: {{filesystem: {{rootdirectory: {data}}}, delete: {{enabled: true}}}}
auth: {{htpasswd: {{realm: test, path: {users}}}}}
http: {{addr: "{host}"}}
"""


def missing() -> str:
    """Say what keeps images from being built here; empty when nothing does."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "images are built here by root on Linux only, because nothing else needs no container engine"
    lacking = [name for name in ("buildah", REGISTRY_PROGRAM) if not shutil.which(name)]
    if not BUSYBOX.exists():
        lacking.append("busybox-static")
    return (
        f"{', '.join(lacking)} not installed: `make image-tools` installs what images are tested with"
        if lacking
        else ""
    )


@dataclass(frozen=True)
class RunningRegistry:
    """A registry.

    Args:
        host: Host and port.
        log: Its output.
    """

    host: str
    log: Path

    def tags(self, name: str) -> list[str]:
        """Return the tags of an image."""
        answer = httpx.get(f"http://{self.host}/v2/{name}/tags/list", auth=(USER, PASSWORD), trust_env=False)
        return sorted(answer.json().get("tags") or [])


@contextmanager
def serve(folder: Path) -> Iterator[RunningRegistry]:
    """Run a registry that wants a user and password."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    (folder / "users").write_text(f"{USER}:{_HASH}\n")
    (folder / "config.yml").write_text(_CONFIG.format(data=folder / "data", users=folder / "users", host=host))
    log = folder / "registry.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [REGISTRY_PROGRAM, "serve", str(folder / "config.yml")], stdout=output, stderr=subprocess.STDOUT
        )
    try:
        end = time.monotonic() + 30
        while not _answers(host):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.02)
        yield RunningRegistry(host, log)
    finally:
        process.terminate()
        process.wait(10)


def _answers(host: str) -> bool:
    try:
        return httpx.get(f"http://{host}/v2/", trust_env=False).status_code == httpx.codes.UNAUTHORIZED
    except httpx.HTTPError:
        return False
