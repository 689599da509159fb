"""Finds the programs that Python cannot install, the engine and the S3 server, where `tools/toolchain.py` puts them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from pulumi_visgate.local.errors import LocalCloudError

S3_PROGRAM = "versitygw"
ENGINE_PROGRAM = "pulumi"
# Beside the package in a checkout; an installed wheel has none, and the programs are then expected on PATH.
_SCRIPT = Path(__file__).parents[2] / "tools" / "toolchain.py"
_TIMEOUT_S = 60


def tool_folders(script: Path = _SCRIPT) -> list[Path]:
    """Return the folders of the toolchain, those that belong first on PATH.

    Args:
        script: The checkout's `tools/toolchain.py`.

    Raises:
        LocalCloudError: A tool is not there yet.
    """
    if not script.is_file():
        return []
    done = subprocess.run(  # noqa: S603 - the checkout's own script, by its absolute path
        [sys.executable, str(script), "path"], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        reason = done.stderr.strip().removeprefix("visgate: ")
        raise LocalCloudError(reason or "The toolchain is not there.", hint="`make setup` installs all of it.")
    return [Path(folder) for folder in done.stdout.strip().split(os.pathsep) if folder]


def search_path(environ: Mapping[str, str]) -> str:
    """Return the PATH of everything that the local cloud runs: this Python's programs, the toolchain, the caller's.

    Args:
        environ: Environment of the caller.

    Raises:
        LocalCloudError: A tool is not there yet.
    """
    first = [str(Path(sys.executable).parent), *map(str, tool_folders())]
    rest = [folder for folder in environ.get("PATH", os.defpath).split(os.pathsep) if folder and folder not in first]
    return os.pathsep.join([*first, *rest])


def program(name: str, path: str) -> Path:
    """Return the absolute path of a program.

    Args:
        name: Of the program.
        path: Where to look, as PATH is.

    Raises:
        LocalCloudError: It is not there.
    """
    found = shutil.which(name, path=path)
    if found is None:
        detail = f"The program {name} is not installed."
        raise LocalCloudError(detail, hint="`make setup` installs it.")
    return Path(found).absolute()
