"""The gateway's image as a folder: what its build puts together, with packages linked from this environment."""

import re
import sys
from importlib.metadata import distribution
from pathlib import Path

from pulumi_visgate.gateway_image import write_context

PIN = re.compile(r"^([a-z0-9-]+)==([^\s;]+)\s*;?\s*(.*?)\s*\\?$", re.MULTILINE)


def unpacked(folder: Path) -> Path:
    """Return the folder that holds exactly what the image's site-packages would.

    Args:
        folder: An empty folder.
    """
    write_context(folder)
    site = folder / "app"
    for name, _, marker in PIN.findall((folder / "requirements.lock").read_text()):
        if marker and not _holds(marker):
            continue
        for file in distribution(name).files or ():
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (site / top).exists():
                (site / top).symlink_to(Path(str(distribution(name).locate_file(top))))
    return site


def _holds(marker: str) -> bool:
    from packaging.markers import Marker

    return Marker(marker).evaluate()


def command(site: Path, module: str) -> list[str]:
    """Return what runs a module with that folder and the standard library alone."""
    code = f"import sys, runpy; sys.path.append({str(site)!r}); runpy.run_module({module!r}, run_name='__main__')"
    return [sys.executable, "-I", "-S", "-c", code]
