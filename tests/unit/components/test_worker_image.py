"""Where the worker's image comes from, and what it is built of."""

import re
import shutil
from pathlib import Path
from typing import Any

import pulumi
import pytest

from pulumi_visgate import VisgateError, WorkerImage
from pulumi_visgate.components import _contexts
from pulumi_visgate.components._contexts import worker_context
from pulumi_visgate.resources._build_context import scan
from tests.unit.components.conftest import Recorder, run

CHECKOUT = Path(__file__).parents[3]
REPOSITORY = "ghcr.io/acme/visgate-worker"


def ref_of(**args: Any) -> Any:
    given: Any = args
    told: list[Any] = []
    run(lambda: WorkerImage("w", given).ref.apply(told.append))
    return told[0]


def test_with_a_repository_it_is_built_and_pushed_there(recorder: Recorder) -> None:
    recorder.answers["ref"] = f"{REPOSITORY}@sha256:0"
    password = pulumi.Output.secret("canary-of-a-registry")
    args = {"username": "ada", "password": password, "secrets": {"pip.conf": "/etc/pip.conf"}, "rebuild": "2026-12"}
    assert ref_of(repository=REPOSITORY, builder="buildah", tags={"team": "a"}, **args) == f"{REPOSITORY}@sha256:0"
    kind, made = recorder.made["w-build"]
    assert kind == "pulumi-python:dynamic/visgate:ContainerImage"
    assert made["context"] == str(CHECKOUT / "worker")
    assert {name: made[name] for name in ("repository", "builder", "secrets", "rebuild", "tags")} == {
        "repository": REPOSITORY,
        "builder": "buildah",
        "secrets": {"pip.conf": "/etc/pip.conf"},
        "rebuild": "2026-12",
        "tags": {"team": "a"},
    }
    # Both are secret in the state, as the engine marks it.
    assert {name: made[name]["value"] for name in ("username", "password")} == {
        "username": "ada",
        "password": "canary-of-a-registry",
    }


def test_without_one_nothing_is_built(recorder: Recorder) -> None:
    assert ref_of(image="acme/worker:1") == "acme/worker:1"
    assert re.fullmatch(r"local/visgate-worker:[0-9a-f]{12}", ref_of())
    assert "w-build" not in recorder.made


def test_one_that_is_there_and_a_place_for_a_new_one_are_a_contradiction(recorder: Recorder) -> None:
    with pytest.raises(VisgateError, match=r"WorkerImage: repository: .*leave either out"):
        ref_of(image="acme/worker:1", repository=REPOSITORY)


@pytest.mark.parametrize("args", [{"rebuild": "2026-12"}, {"builder": "docker", "image": "acme/worker:1"}])
def test_what_only_a_build_needs_is_refused_without_one(recorder: Recorder, args: dict[str, Any]) -> None:
    with pytest.raises(VisgateError, match=r"WorkerImage: .*(rebuild|builder): only goes with repository"):
        ref_of(**args)


def test_the_context_holds_what_the_dockerfile_needs_and_nothing_else() -> None:
    files = scan(CHECKOUT / "worker", "Dockerfile").files
    dockerfile = (CHECKOUT / "worker" / "Dockerfile").read_text()
    named = set(re.findall(r"\b(requirements[a-z-]*\.lock|sbom\.py|metadata\.py|pyproject\.toml)\b", dockerfile))
    outside = {name for name in files if not name.startswith("src/")}
    assert outside == named | {"requirements-base.lock", "Dockerfile", ".dockerignore"}
    assert all(name.endswith((".py", "py.typed", ".json")) for name in files if name.startswith("src/"))


def test_an_installed_wheel_has_the_same_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`tests/contract/test_packaging.py` has the wheel itself."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    site = tmp_path / "lib" / "python" / "site-packages"
    for name in ("visgate_worker", "visgate_contract"):
        shutil.copytree(CHECKOUT / "worker" / "src" / name, site / name)
    image = site / "visgate_worker" / "image"
    image.mkdir()
    for file in (CHECKOUT / "worker").iterdir():
        if file.is_file() and file.name != "README.md":
            shutil.copy(file, image)
    monkeypatch.setattr(_contexts, "_package", lambda name: site / name)
    made = worker_context()
    assert made.is_relative_to(tmp_path / "cache")
    assert worker_context() == made
    there, here = scan(made, "Dockerfile").files, scan(CHECKOUT / "worker", "Dockerfile").files
    assert there == here
