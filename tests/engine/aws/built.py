"""The gateway's image, built by Buildah on a base of Debian's packages, and its root file system as a folder."""

import json
import os
import platform
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pulumi_visgate.gateway_image import write_context
from pulumi_visgate.resources._builders import Build, Buildah, Surroundings
from pulumi_visgate.resources._registry import Repository
from pulumi_visgate.resources._report import Silent
from visgate_contract.redaction import Redactor

BASE = "localhost/visgate/python:debian"
ADAPTER = "localhost/visgate/adapter:none"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
DEADLINE_S = 900.0
_DEBIAN = ("http://deb.debian.org/debian/", "bookworm")
_FORGOTTEN = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "TMPDIR")


@dataclass(frozen=True)
class Root:
    """The root file system of the image.

    Args:
        folder: Where it is.
        config: The image's configuration: `Env`, `User`, `WorkingDir`, `Cmd`.
    """

    folder: Path
    config: dict[str, Any]

    def command(self, *command: str) -> list[str]:
        """Return what runs a command in it, as the image's user, with the image's variables on top of the caller's."""
        place = shlex.quote(str(self.folder))
        forgotten = [part for name in _FORGOTTEN for part in ("-u", name)]
        inside = ["env", "-C", self.config["WorkingDir"], *forgotten, *self.config["Env"], *command]
        start = shlex.join(["exec", "chroot", f"--userspec={self.config['User']}", str(self.folder), *inside])
        script = f"mount -t proc proc {place}/proc && mount --rbind /dev {place}/dev && {start}"
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]


@contextmanager
def gateway_root(scratch: Path) -> Iterator[Root]:
    """Build the image as `ContainerImage` does, and show its root; base and layers are kept in the user's cache.

    Args:
        scratch: An empty folder.
    """
    store = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "visgate" / "gateway-image-tests"
    store.mkdir(parents=True, exist_ok=True)
    buildah = ["buildah", "--root", str(store / "storage"), "--runroot", str(store / "run")]
    buildah += ["--storage-driver", "overlay"]
    _ensure_base(buildah, scratch)
    _ensure_adapter(buildah, scratch)
    (scratch / "gateway").mkdir()
    write_context(scratch / "gateway")
    build = Build(
        context=scratch / "gateway",
        dockerfile="Dockerfile",
        repository=Repository.parse("localhost/visgate/gateway"),
        tag="latest",
        platform=f"linux/{'arm64' if platform.machine() == 'aarch64' else 'amd64'}",
        arguments={"PYTHON": BASE, "ADAPTER": ADAPTER},
        secrets={"ca.pem": str(CERTIFICATES)} if CERTIFICATES.exists() else {},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_DRIVER", "overlay")
        image = Buildah().keep(build, Surroundings(store, Silent(), Redactor(()), DEADLINE_S))
    config = json.loads(run([*buildah, "inspect", "--type", "image", image]))["OCIv1"]["config"]
    container = run([*buildah, "from", "--pull-never", image])
    try:
        yield Root(Path(run([*buildah, "mount", container])), config)
    finally:
        run([*buildah, "rm", container])


def run(command: Sequence[str]) -> str:
    """Run a command to its end and return its output; a failure shows what it said."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, f"{shlex.join(command)}: {done.stderr[-2000:]}"
    return done.stdout.strip()


def _ensure_base(buildah: Sequence[str], scratch: Path) -> None:
    if run([*buildah, "images", "--quiet", "--filter", f"reference={BASE}"]):
        return
    mirror, release = _DEBIAN
    root = scratch / "debian"
    run(["debootstrap", "--variant=minbase", "--include=ca-certificates,python3-venv", release, str(root), mirror])
    _build(buildah, BASE, root, "FROM scratch\nCOPY . /\nENV LANG=C.UTF-8\n", scratch / "Dockerfile.base")


def _ensure_adapter(buildah: Sequence[str], scratch: Path) -> None:
    """Let an empty file stand for the Lambda Web Adapter, which is in a registry, and idle outside of Lambda."""
    folder = scratch / "adapter"
    folder.mkdir()
    (folder / "lambda-adapter").touch()
    os.utime(folder / "lambda-adapter", (0, 0))
    _build(buildah, ADAPTER, folder, "FROM scratch\nCOPY lambda-adapter /\n", scratch / "Dockerfile.adapter")


def _build(buildah: Sequence[str], name: str, context: Path, recipe: str, file: Path) -> None:
    file.write_text(recipe)
    options = ["--layers", "--isolation", "chroot", "--format", "oci", "--timestamp", "0"]
    run([*buildah, "build", *options, "--file", str(file), "--tag", name, str(context)])
