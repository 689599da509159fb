"""The build context of the gateway's image, from the installed packages: the gateway, what it imports, and pins."""

import shutil
from importlib.metadata import version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

DISTRIBUTION = "pulumi-visgate"
LEFT_OUT = ("cli", "components", "local", "policies", "preview", "resources")
"""Folders of this library that neither the gateway nor upkeep imports."""
NEEDED = ("resources/__init__.py", "resources/reconcile.py")
"""What of them upkeep does need."""
CONTRACT = "visgate_contract"


def write_context(folder: Path) -> None:
    """Fill a folder with Dockerfile, pinned requirements and code.

    Args:
        folder: An empty folder.
    """
    image = files("pulumi_visgate.gateway") / "image"
    for name in ("Dockerfile", "requirements.lock"):
        (folder / name).write_bytes((image / name).read_bytes())
    app, own = folder / "app", _package("pulumi_visgate")
    own_folder = app / "pulumi_visgate"
    shutil.copytree(own, own_folder, ignore=lambda at, names: _ignored(own, Path(at), names))
    for name in NEEDED:
        target = own_folder / name
        target.parent.mkdir(exist_ok=True)
        shutil.copy(own / name, target)
    shutil.copytree(_package(CONTRACT), app / CONTRACT, ignore=shutil.ignore_patterns("__pycache__"))
    # The gateway asks for its own version.
    metadata = app / f"{DISTRIBUTION.replace('-', '_')}-{version(DISTRIBUTION)}.dist-info"
    metadata.mkdir()
    text = f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: {version(DISTRIBUTION)}\n"
    (metadata / "METADATA").write_text(text, encoding="utf-8")


def _ignored(own: Path, at: Path, names: list[str]) -> set[str]:
    """Tell what is not copied: at the top the folders left out, and anywhere bytecode and the image's own files."""
    top = set(LEFT_OUT) if at == own else set()
    return (top | {"__pycache__", "image"}) & set(names)


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        message = f"{name} is not installed as a package"
        raise ModuleNotFoundError(message, name=name)
    return Path(spec.submodule_search_locations[0])
