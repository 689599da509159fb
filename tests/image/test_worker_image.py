"""The worker's image: what is in it, what is not, and that it draws."""

import json
import os
import re
import shlex
import shutil
import stat
import tomllib
from pathlib import Path
from typing import Any

import httpx
import psutil
from packaging.markers import Marker

from pulumi_visgate.local.home import Home
from tests.contract.gateway_image import PIN
from tests.image.conftest import CANARY, Built
from tools.worker_image import CONTEXT, Root, run

WORKER = 1000
WEIGHTS = (".safetensors", ".ckpt", ".gguf", ".onnx", ".pt", ".pth")


def test_a_change_of_the_code_builds_its_last_layers_only(built: Built, tmp_path: Path) -> None:
    """Before the others: a build clears away what shows an image's root."""
    shutil.copytree(CONTEXT, tmp_path / "worker", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "worker/src/visgate_worker/__main__.py").open("a") as file:
        file.write("# another release\n")
    other = built.workshop.build(tmp_path / "worker", tag="other")
    before, after = built.workshop.layers(built.image), built.workshop.layers(other)
    new = {digest: size for digest, size in after.items() if digest not in before}
    assert 1 <= len(new) <= 3
    assert sum(new.values()) < 30_000_000 < sum(after.values())
    assert built.workshop.build(tag="again") == built.image


def inside(root: Root, *command: str) -> str:
    """Run a command in the image, as its user."""
    return run(root.command(command=command))


def test_it_runs_as_a_user_who_can_write_nothing_that_it_runs(root: Root) -> None:
    assert inside(root, "id", "-u") == str(WORKER)
    assert root.config["Cmd"] == ["python", "-m", "visgate_worker"]
    writable = [
        path
        for top in ("opt", "usr", "etc")
        for path in (root.folder / top).rglob("*")
        if not path.is_symlink() and (path.stat().st_uid == WORKER or path.stat().st_mode & stat.S_IWOTH)
    ]
    assert writable == []


def test_what_is_installed_is_what_is_locked(root: Root) -> None:
    code = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
    found = {normal(name): one for name, one in json.loads(inside(root, "python", "-c", code)).items()}
    version = inside(root, "python", "-c", "import platform; print(platform.python_version())")
    there = {"python_full_version": version, "python_version": version.rpartition(".")[0]}
    locked = {
        name: one
        for name, one, marker in PIN.findall((CONTEXT / "requirements.lock").read_text())
        if not marker or Marker(marker).evaluate(there)
    }
    version = tomllib.loads((CONTEXT / "pyproject.toml").read_text())["project"]["version"]
    assert found == locked | {"visgate-worker": version}
    assert {"torch", "diffusers", "transformers", "runpod"} <= set(found)
    assert not {"pip", "cyclonedx-bom", "pulumi"} & set(found)


def test_the_bill_of_materials_is_whole(root: Root) -> None:
    """A build whose document is not CycloneDX fails."""
    document = json.loads((root.folder / "opt/visgate/sbom.cdx.json").read_text())
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    project = tomllib.loads((CONTEXT / "pyproject.toml").read_text())["project"]
    assert document["metadata"]["component"]["name"] == project["name"]
    described = [document["metadata"]["component"], *document["components"]]
    listed = {(normal(one["name"]), one["version"]) for one in described}
    code = "import importlib.metadata as m; print(*(f'{d.name}@{d.version}' for d in m.distributions()))"
    installed = (one.partition("@") for one in inside(root, "python", "-c", code).split())
    assert {(normal(name), version) for name, _, version in installed} <= listed
    assert "libc6" in {name for name, _ in listed}
    assert "cyclonedx-bom" not in {name for name, _ in listed}


def normal(name: str) -> str:
    """Return a distribution's name as locks write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_it_has_no_weights_no_secrets_and_nothing_of_the_build(root: Root) -> None:
    folder = root.folder
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    heavy = [path for path in files if path.suffix in WEIGHTS and path.stat().st_size > 100_000]
    assert heavy == []
    assert not (folder / "run/secrets").exists() or not list((folder / "run/secrets").iterdir())
    assert [
        path
        for path in (folder / "tmp", folder / "root/.cache", folder / "var/lib/apt/lists")
        if path.exists() and list(path.iterdir())
    ] == []


def test_a_secret_of_the_build_is_in_no_layer(built: Built) -> None:
    assert built.workshop.holds("requirements.lock")  # it does look into them
    assert not built.workshop.holds(CANARY)


def test_started_from_its_root_it_draws_through_the_local_stack(root: Root, empty_project: Any) -> None:
    stack = empty_project
    stack.run("visgate", "local", "up")
    volumes = Home(stack.home).s3
    volumes.chmod(0o755)  # as a mounted volume is
    command = root.command(volumes)
    body = {"image": "local/visgate-worker", "command": shlex.join(command)}
    httpx.put(f"{stack.cloud()['RUNPOD_API_URL']}/admin/images", json=body, trust_env=False).raise_for_status()
    said = stack.run("visgate", "quickstart").stdout
    assert "second request answered: warm_ready" in said
    assert "same seed, same bytes" in said
    workers = [
        one
        for one in psutil.process_iter(["cmdline", "uids"])
        if "visgate_worker.serve" in (one.info["cmdline"] or ())
        and os.readlink(f"/proc/{one.pid}/root") == str(root.folder)
    ]
    assert workers
    assert all(one.info["uids"].real == WORKER for one in workers)
