"""The build context of the gateway's image, from the installed packages: the gateway, what it imports, and pins."""

import shutil
from importlib.metadata import version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

DISTRIBUTION = "pulumi-visgate"
OWN = (
    "__init__.py",
    "errors.py",
    "gateway",
    "link_signing.py",
    "py.typed",
    "references.py",
    "resources/__init__.py",
    "resources/reconcile.py",
    "runpod",
    "upkeep",
)
"""What of this library the gateway and upkeep need."""
CONTRACT = "visgate_contract"
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "image")


def write_context(folder: Path) -> None:
    """Fill a folder with Dockerfile, pinned requirements and code.

    Args:
        folder: An empty folder.
    """
    image = files("pulumi_visgate.gateway") / "image"
    for name in ("Dockerfile", "requirements.lock"):
        (folder / name).write_bytes((image / name).read_bytes())
    app = folder / "app"
    own = _package("pulumi_visgate")
    for name in OWN:
        target = app / "pulumi_visgate" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (own / name).is_dir():
            shutil.copytree(own / name, target, ignore=_LEFT_OUT)
        else:
            shutil.copy(own / name, target)
    shutil.copytree(_package(CONTRACT), app / CONTRACT, ignore=_LEFT_OUT)
    # The gateway asks for its own version.
    metadata = app / f"{DISTRIBUTION.replace('-', '_')}-{version(DISTRIBUTION)}.dist-info"
    metadata.mkdir()
    text = f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: {version(DISTRIBUTION)}\n"
    (metadata / "METADATA").write_text(text, encoding="utf-8")


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        message = f"{name} is not installed as a package"
        raise ModuleNotFoundError(message, name=name)
    return Path(spec.submodule_search_locations[0])
