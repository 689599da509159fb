"""What the distributions hold, and what importing the library costs."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.contract

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("project", "packages"), [(".", {"pulumi_visgate"}), ("worker", {"visgate_contract", "visgate_worker"})]
)
def test_a_wheel_holds_its_own_packages_only(project: str, packages: set[str], tmp_path: Path) -> None:
    hidden = shutil.ignore_patterns(".venv", ".git", ".visgate", "tests", ".*_cache")
    source = shutil.copytree(ROOT / project, tmp_path / "source", ignore=hidden)
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=120)
    [wheel] = (tmp_path / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == packages
    assert all(f"{package}/py.typed" in names for package in packages)
    if project == "worker":  # with it a program that has installed the wheel builds the image
        context = {"Dockerfile", ".dockerignore", "pyproject.toml", "metadata.py", "sbom.py"}
        context |= {path.name for path in (ROOT / "worker").glob("requirements*.lock")}
        assert {name.removeprefix("visgate_worker/image/") for name in names if "/image/" in name} == context


def test_importing_the_library_loads_nothing_heavy() -> None:
    heavy = {"pulumi", "boto3", "httpx", "pydantic", "torch"}
    code = f"import sys, pulumi_visgate; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_every_public_name_can_be_imported() -> None:
    import pulumi_visgate

    assert [name for name in pulumi_visgate.__all__ if not hasattr(pulumi_visgate, name)] == []
