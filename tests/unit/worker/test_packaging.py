"""The image's inputs: its lock file, and what each process imports."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LOCK = ROOT / "worker/requirements.lock"


def locked() -> dict[str, set[str]]:
    """Return name and versions of every package in the workspace's lock file."""
    found: dict[str, set[str]] = {}
    for package in tomllib.loads((ROOT / "uv.lock").read_text())["package"]:
        found.setdefault(package["name"], set()).add(package.get("version", ""))
    return found


def test_the_images_requirements_are_those_of_the_workspace_each_with_hashes() -> None:
    text = LOCK.read_text()
    pins = re.findall(r"^([a-z0-9-]+)==(\S+)(.*(?:\n .*)*)", text, re.MULTILINE)
    assert {name for name, _, _ in pins} >= {"torch", "diffusers", "runpod", "pydantic", "httpx", "tenacity"}
    versions = locked()
    assert [name for name, version, _ in pins if version not in versions[name]] == []
    assert [name for name, _, rest in pins if "--hash=sha256:" not in rest] == []


def test_the_images_requirements_name_no_host() -> None:
    assert "://" not in LOCK.read_text()


def test_every_dependency_of_the_worker_is_in_the_image() -> None:
    project = tomllib.loads((ROOT / "worker/pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["gpu"]]
    pinned = set(re.findall(r"^([a-z0-9-]+)==", LOCK.read_text(), re.MULTILINE))
    assert {re.split(r"[><=\[]", one)[0] for one in wanted} <= pinned


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("visgate_worker.supervisor", {"torch", "diffusers", "runpod", "transformers", "pulumi", "PIL"}),
        ("visgate_worker.serve", {"torch", "diffusers", "runpod", "transformers", "pulumi", "httpx"}),
        ("visgate_worker.tiny_model", {"torch", "diffusers", "runpod", "pydantic"}),
        ("visgate_worker.__main__", {"pydantic", "asyncio", "httpx", "torch", "runpod"}),
    ],
)
def test_slow_imports_are_late(module: str, absent: set[str]) -> None:
    code = f"import {module}, sys; print(*{absent!r} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_runpod_is_imported_in_one_place() -> None:
    sources = (ROOT / "worker/src").rglob("*.py")
    importing = [
        path.name for path in sources if re.search(r"^\s*(import|from) runpod\b", path.read_text(), re.MULTILINE)
    ]
    assert importing == ["serve.py"]
