"""Where the local cloud keeps what it knows: one private folder, `.visgate/`, beside `Pulumi.yaml`."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pulumi_visgate.local.errors import LocalCloudError

HOME_ENV = "VISGATE_HOME"
FOLDER = ".visgate"
IGNORE_FILE = ".gitignore"
PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600


@dataclass(frozen=True, slots=True)
class Home:
    """The paths of one local cloud.

    Args:
        root: The `.visgate` folder, absolute.
    """

    root: Path

    @classmethod
    def find(cls, environ: Mapping[str, str], start: Path) -> Self:
        """Return the home that `VISGATE_HOME` names, else `.visgate` beside the nearest `Pulumi.yaml`.

        Args:
            environ: Environment of the process.
            start: Folder to look from, upwards.

        Raises:
            LocalCloudError: There is no `Pulumi.yaml` in `start` or above it.
        """
        if named := environ.get(HOME_ENV):
            return cls(Path(named).expanduser().absolute())
        start = start.absolute()
        for folder in (start, *start.parents):
            if (folder / "Pulumi.yaml").is_file():
                return cls(folder / FOLDER)
        detail = f"There is no Pulumi.yaml in {start} or above it."
        raise LocalCloudError(detail, hint=f"Change into the project's folder, or set {HOME_ENV}.")

    @property
    def local(self) -> Path:
        """Data of the local cloud's processes."""
        return self.root / "local"

    @property
    def cloud_file(self) -> Path:
        """Ports, processes and credentials of the local cloud."""
        return self.local / "cloud.json"

    @property
    def lock_file(self) -> Path:
        """Held by whoever starts or stops the cloud."""
        return self.local / "lock"

    @property
    def services(self) -> Path:
        """One record for each process that the service host has started."""
        return self.local / "services"

    @property
    def published(self) -> Path:
        """The buckets that the CDN route serves."""
        return self.local / "cdn.json"

    @property
    def s3(self) -> Path:
        """Root of the S3 server: a bucket is a folder, and so is a network volume."""
        return self.local / "s3"

    @property
    def s3_metadata(self) -> Path:
        """What the S3 server knows of an object besides its bytes."""
        return self.local / "metadata"

    @property
    def emulator(self) -> Path:
        """Database of the Runpod emulator."""
        return self.local / "emulator"

    @property
    def logs(self) -> Path:
        """Logs of every process, one file each."""
        return self.root / "logs"

    @property
    def state(self) -> Path:
        """Pulumi's file backend."""
        return self.root / "state"

    @property
    def models(self) -> Path:
        """Models that set-up makes, as `<org>/<name>/`."""
        return self.root / "models"

    @property
    def env_file(self) -> Path:
        """Shell exports of the running cloud."""
        return self.root / "env"

    def log_file(self, name: str) -> Path:
        """Return the log file of a process."""
        return self.logs / f"{name}.log"

    def make(self) -> None:
        """Create the folders, readable by their owner only."""
        for folder in (
            self.root,
            self.local,
            self.services,
            self.s3,
            self.s3_metadata,
            self.emulator,
            self.logs,
            self.state,
            self.models,
        ):
            folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        self.root.chmod(PRIVATE_FOLDER)
        (self.root / IGNORE_FILE).write_text("*\n")

    def forget(self) -> None:
        """Remove the folder itself, unless it holds something that is not this product's."""
        if {path.name for path in self.root.iterdir()} <= {IGNORE_FILE}:
            shutil.rmtree(self.root)


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step; only its owner can read it.

    Args:
        path: The file.
        text: Its new content.
    """
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    unfinished.replace(path)
