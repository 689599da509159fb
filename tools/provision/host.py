"""What is particular to this machine: its platform name, the cache folder, programs on PATH."""

import os
import platform
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.provision.errors import UnusableCacheError

TOOLS_DIR = Path(__file__).resolve().parent.parent

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def platform_key() -> str:
    """Names the platform as the pins do, for example `linux-amd64`."""
    machine = platform.machine().lower()
    return f"{sys.platform}-{_ARCHITECTURES.get(machine, machine)}"


def cache_root() -> Path:
    """The folder that all checkouts of one user share.

    Raises:
        UnusableCacheError: There is no home folder and no variable names another place.
    """
    if chosen := os.environ.get("VISGATE_CACHE_DIR"):
        return Path(chosen).expanduser().absolute()
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base).absolute() / "visgate"
    try:
        return Path.home() / ".cache" / "visgate"
    except RuntimeError as error:
        message = "there is no home folder to keep the tools in: set VISGATE_CACHE_DIR"
        raise UnusableCacheError(message) from error


def find_program(name: str, folders: Sequence[Path] = ()) -> Path | None:
    """Looks for an executable in `folders`, then on PATH."""
    path = os.pathsep.join([*map(str, folders), os.environ.get("PATH", os.defpath)])
    found = shutil.which(name, path=path)
    return Path(found).absolute() if found else None
