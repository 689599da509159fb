"""Builds the worker's image for real, by Buildah, on a base of Debian's packages, and starts it without an engine.

It needs root, what `make image-tools` installs, and a network that reaches the
packages of Debian and Python.
"""

import json
import os
import platform
import shlex
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pulumi_visgate.resources._builders import Build, Buildah, Surroundings
from pulumi_visgate.resources._registry import Repository
from pulumi_visgate.resources._report import Silent
from visgate_contract.redaction import Redactor

CONTEXT = Path(__file__).resolve().parents[1] / "worker"
BASE = "localhost/visgate/python:debian"
NAME = "localhost/visgate/worker"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
BUILD_S = 3600.0
_BASE_PACKAGES = "ca-certificates,python3-venv"
_OF_THE_HOST = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Root:
    """The root file system of an image, as a folder.

    Args:
        folder: Where it is.
        config: The image's configuration: `Env`, `User`, `WorkingDir`, `Cmd`.
    """

    folder: Path
    config: Mapping[str, Any]

    def command(self, *shared: Path, command: Sequence[str] = ()) -> list[str]:
        """Return what starts the image's command as a process: in this root, as its user, with its variables.

        Args:
            shared: Folders of this machine that it sees at the same place, such as volumes.
            command: What runs instead of the image's own command.
        """
        root = shlex.quote(str(self.folder))
        mounts = [f"mount -t proc proc {root}/proc", f"mount --rbind /dev {root}/dev"]
        for path in shared:
            inside = shlex.quote(f"{self.folder}{path}")
            mounts += [f"mkdir -p {inside}", f"mount --rbind {shlex.quote(str(path))} {inside}"]
        variables = [f"HOME={self.config['WorkingDir']}", *self.config["Env"]]
        forgotten = [part for name in _OF_THE_HOST for part in ("-u", name)]
        inner = ["/usr/bin/env", "-C", self.config["WorkingDir"], *forgotten, *variables]
        start = ["exec", "chroot", f"--userspec={self.config['User']}", str(self.folder), *inner]
        script = " && ".join([*mounts, shlex.join([*start, *(command or self.config["Cmd"])])])
        return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]


class Workshop:
    """A store of images and layers.

    Args:
        folder: Where it keeps them, gigabytes; in the user's cache when left out.
        driver: `overlay`, or `vfs` where overlays cannot be mounted.
    """

    def __init__(self, folder: Path | None = None, *, driver: str = "overlay") -> None:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        self.folder = folder = folder or cache / "visgate" / "worker-image"
        os.environ["STORAGE_DRIVER"] = driver
        stores = ("--root", str(folder / "storage"), "--runroot", str(folder / "run"))
        self._buildah = ("buildah", *stores, "--storage-driver", driver)

    def ensure_base(self) -> None:
        """Make the base image, unless it is there."""
        if self._run("images", "--quiet", "--filter", f"reference={BASE}"):
            return
        with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
            root, recipe = Path(scratch) / "root", Path(scratch) / "Dockerfile"
            mirror, release = _debian()
            run(["debootstrap", "--variant=minbase", f"--include={_BASE_PACKAGES}", release, str(root), mirror])
            recipe.write_text("FROM scratch\nCOPY . /\nENV LANG=C.UTF-8\n", encoding="utf-8")
            self._run("build", "--isolation", "chroot", "--format", "oci", "--file", str(recipe), "-t", BASE, str(root))

    def build(self, context: Path = CONTEXT, *, tag: str = "latest", pip_conf: Path | None = None) -> str:
        """Build the worker, as `ContainerImage` does, and return its id.

        Args:
            context: Build context.
            tag: Of the image.
            pip_conf: Configuration of pip, which steps read as a secret.

        Raises:
            BuildFailed: It could not be built.
        """
        self.ensure_base()
        secrets = {"ca.pem": CERTIFICATES, "pip.conf": pip_conf}
        build = Build(
            context=context,
            dockerfile="Dockerfile",
            repository=Repository.parse(NAME),
            tag=tag,
            platform=f"linux/{'arm64' if platform.machine() == 'aarch64' else 'amd64'}",
            arguments={"PYTHON": BASE},
            secrets={id_: str(file) for id_, file in secrets.items() if file and file.exists()},
        )
        around = Surroundings(self.folder, Silent(), Redactor(()), BUILD_S)
        return Buildah("buildah").keep(build, around)

    def forget(self) -> None:
        """Remove all images but the base, so that the next build begins with it."""
        for image in self._run("images", "--all", "--format", "{{.ID}} {{.Name}}").splitlines():
            if not image.endswith(BASE.partition(":")[0]):
                self._run("rmi", "--force", image.split()[0])

    def layers(self, image: str) -> dict[str, int]:
        """Return the digest of each layer and its size in bytes, from the base up, not compressed."""
        manifest = json.loads(self._run("inspect", "--type", "image", image))["Manifest"]
        return {layer["digest"]: int(layer["size"]) for layer in json.loads(manifest)["layers"]}

    def holds(self, text: str) -> bool:
        """Tell whether any layer of any image has a text in any file, deleted ones included, or in its history."""
        found = subprocess.run(["grep", "-rqsF", text, str(self.folder / "storage")], timeout=BUILD_S, check=False)
        return found.returncode == 0

    @contextmanager
    def root(self, image: str) -> Iterator[Root]:
        """Show an image's root file system; what is written to it is gone afterwards."""
        config = json.loads(self._run("inspect", "--type", "image", image))["OCIv1"]["config"]
        container = self._run("from", "--pull-never", image)
        try:
            yield Root(Path(self._run("mount", container)), config)
        finally:
            self._run("rm", container)

    def _run(self, *arguments: str) -> str:
        self.folder.mkdir(parents=True, exist_ok=True)
        return run([*self._buildah, *arguments])


def run(command: Sequence[str]) -> str:
    """Run a command to its end and return its output.

    Raises:
        RuntimeError: It failed.
    """
    done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_S, check=False)
    if done.returncode != 0:
        message = f"{shlex.join(command)} failed: {done.stderr[-2000:]}"
        raise RuntimeError(message)
    return done.stdout.strip()


def _debian() -> tuple[str, str]:
    """Return the mirror and the release that this machine's own packages come from."""
    told = run(["apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages"])
    for line in told.splitlines():
        release, mirror = line.split()
        if "-" not in release and "security" not in mirror:
            return mirror, release
    message = "apt knows no mirror of Debian's packages"
    raise RuntimeError(message)
