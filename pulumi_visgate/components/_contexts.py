"""Build contexts of both images, from a checkout or from the installed packages."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from pulumi_visgate.components._base import ArgumentError
from pulumi_visgate.gateway_image import write_context

_DIGEST_LENGTH = 16
_WORKER_PACKAGES = ("visgate_contract", "visgate_worker")
_IMAGE = "image"


def gateway_context() -> Path:
    """Return a folder with the build context of the gateway's image; the same content is always the same folder."""
    return _kept("gateway", write_context)


def worker_context() -> Path:
    """Return a folder with the build context of the worker's image: the checkout's own, or one put together.

    Raises:
        ArgumentError: The worker's distribution is not installed.
    """
    packages = {name: _package(name) for name in _WORKER_PACKAGES}
    checkout = packages["visgate_worker"].parents[1]
    if (checkout / "Dockerfile").is_file():
        return checkout

    def fill(folder: Path) -> None:
        shutil.copytree(packages["visgate_worker"] / _IMAGE, folder, dirs_exist_ok=True)
        for name, package in packages.items():
            kept_out = shutil.ignore_patterns("__pycache__", _IMAGE)
            shutil.copytree(package, folder / "src" / name, ignore=kept_out)

    return _kept("worker", fill)


def _kept(name: str, fill: Callable[[Path], None]) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "visgate" / "contexts"
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        made = Path(scratch) / name
        made.mkdir()
        fill(made)
        folder = cache / f"{name}-{_digest(made)}"
        if not folder.exists():
            made.rename(folder)
    return folder


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:_DIGEST_LENGTH]


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        detail = f"WorkerImage: image is needed, because {name} is not installed here."
        raise ArgumentError(detail, hint="Install visgate-worker, or name an image that was built elsewhere.")
    return Path(spec.submodule_search_locations[0])
