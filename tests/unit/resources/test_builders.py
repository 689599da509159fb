"""What the builders are told. Docker is a script that writes it down; Buildah is the real one in `tests/image`."""

import base64
import json
import os
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pulumi_visgate.resources import _builders
from pulumi_visgate.resources._builders import Build, Buildah, Buildx, Surroundings
from pulumi_visgate.resources._registry import Login, Repository
from pulumi_visgate.resources._report import Silent
from pulumi_visgate.resources.errors import BuildFailed
from visgate_contract.redaction import Redactor

DIGEST = "sha256:" + "b" * 64
PASSWORD = "canary-of-a-registry"
DOCKER = """#!/bin/sh
printf '%s\\n' "$@" > {told}
env > {told}.env
[ -z "$DOCKER_CONFIG" ] || {{ cp "$DOCKER_CONFIG/config.json" {told}.config; ls "$DOCKER_CONFIG" > {told}.ls; }} 2>&-
while [ $# -gt 0 ]; do
  case $1 in
    --metadata-file) echo '{{"containerimage.digest": "{digest}"}}' > "$2" ;;
    --iidfile) echo {digest} > "$2" ;;
  esac
  shift
done
"""


@pytest.fixture
def build(tmp_path: Path) -> Build:
    (tmp_path / "context").mkdir()
    return Build(tmp_path / "context", "Dockerfile", Repository("ghcr.io", "acme/worker"), "0123", "linux/amd64")


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    return Surroundings(tmp_path / "cache", Silent(), Redactor([PASSWORD]), 30)


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    return script(tmp_path / "docker", DOCKER.format(told=tmp_path / "told", digest=DIGEST))


def script(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def told(docker: Path) -> list[str]:
    return docker.with_name("told").read_text().splitlines()


def test_buildx_builds_and_pushes_in_one_command(docker: Path, build: Build, around: Surroundings) -> None:
    full = replace(build, target="slim", arguments={"B": "2", "A": "1 x"}, secrets={"pip.conf": "/etc/pip.conf"})
    assert Buildx(str(docker), "far-away").publish(full, around) == DIGEST
    said = told(docker)
    assert said[:4] == ["buildx", "build", "--builder", "far-away"]
    assert said[-1] == str(build.context)
    for pair in (
        ("--file", f"{build.context}/Dockerfile"),
        ("--tag", "ghcr.io/acme/worker:0123"),
        ("--platform", "linux/amd64"),
        ("--target", "slim"),
        ("--build-arg", "A=1 x"),
        ("--build-arg", "B=2"),
        ("--secret", "id=pip.conf,src=/etc/pip.conf"),
        ("--output", "type=image,push=true,oci-mediatypes=true,rewrite-timestamp=true"),
    ):
        assert pair in pairwise(said)
    assert "--provenance=false" in said  # it would hold the time of the build
    assert "SOURCE_DATE_EPOCH=0" in docker.with_name("told.env").read_text().splitlines()


def test_a_registry_that_speaks_http_is_told_so(docker: Path, build: Build, around: Surroundings) -> None:
    Buildx(str(docker)).publish(replace(build, insecure=True), around)
    assert any(word.endswith("registry.insecure=true") for word in told(docker))


def test_an_image_that_stays_is_loaded(docker: Path, build: Build, around: Surroundings) -> None:
    assert Buildx(str(docker)).keep(build, around) == DIGEST
    assert "--load" in told(docker)
    assert "push=true" not in " ".join(told(docker))


def test_the_password_is_in_a_file_for_the_time_of_the_build_alone(
    docker: Path, build: Build, around: Surroundings, tmp_path: Path
) -> None:
    own = tmp_path / "home" / ".docker"
    (own / "cli-plugins").mkdir(parents=True)
    config = {"credsStore": "desktop", "auths": {"ghcr.io": {}, "quay.io": {}}, "currentContext": "far"}
    (own / "config.json").write_text(json.dumps(config))
    Buildx(str(docker)).publish(replace(build, login=Login("ada", PASSWORD)), around)
    used = json.loads(docker.with_name("told.config").read_text())
    assert base64.b64decode(used["auths"]["ghcr.io"]["auth"]).decode() == f"ada:{PASSWORD}"
    assert used["credHelpers"] == {"quay.io": "desktop"}  # a store for all would hide the login
    assert "credsStore" not in used
    assert used["currentContext"] == "far"
    assert "cli-plugins" in docker.with_name("told.ls").read_text()
    env = dict(line.split("=", 1) for line in docker.with_name("told.env").read_text().splitlines() if "=" in line)
    assert env["BUILDX_CONFIG"] == str(own / "buildx")
    assert not Path(env["DOCKER_CONFIG"]).exists()
    assert PASSWORD not in " ".join(told(docker)) + "".join(env.values())


def test_a_builder_that_says_nothing_of_its_image_is_not_believed(
    build: Build, around: Surroundings, tmp_path: Path
) -> None:
    mute = script(
        tmp_path / "docker", '#!/bin/sh\nfor w; do [ "$o" = --metadata-file ] && echo {} > "$w"; o=$w; done\n'
    )
    with pytest.raises(BuildFailed, match="did not say which image"):
        Buildx(str(mute)).publish(build, around)


def test_buildah_gets_its_login_in_a_file_too_and_clears_what_a_killed_build_left(
    build: Build, around: Surroundings, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    buildah = script(
        tmp_path / "buildah",
        f'#!/bin/sh\necho "$@" >> {log}\nfor w; do\n  [ "$o" = --digestfile ] && echo {DIGEST} > "$w"\n'
        f'  [ "$o" = --authfile ] && cat "$w" > {tmp_path}/auth\n  o=$w\ndone\n'
        'case "$*" in *containers*) echo left;; *images*) echo ghcr.io/acme/worker:old;'
        "  echo ghcr.io/acme/worker:0123;; esac\n",
    )
    digest = Buildah(str(buildah)).publish(replace(build, login=Login("ada", PASSWORD), insecure=True), around)
    assert digest == DIGEST
    store = f"--root {around.cache}/storage --runroot {around.cache}/run"
    commands = [line.removeprefix(store).strip() for line in log.read_text().splitlines()]
    assert [command.split()[0] for command in commands] == ["containers", "rm", "build", "push", "images", "rmi"]
    assert "--timestamp 0" in commands[2]
    assert "--tls-verify=false" in commands[3]
    assert commands[3].endswith("ghcr.io/acme/worker:0123 docker://ghcr.io/acme/worker:0123")
    assert commands[5] == "rmi ghcr.io/acme/worker:old"
    auth = json.loads((tmp_path / "auth").read_text())["auths"]["ghcr.io"]["auth"]
    assert base64.b64decode(auth).decode() == f"ada:{PASSWORD}"
    assert PASSWORD not in log.read_text()


@pytest.mark.parametrize(
    ("there", "wanted", "instance", "found"),
    [
        ({"docker": "exit 0", "buildah": "exit 0"}, None, None, "docker buildx"),
        ({"docker": 'test "$1" = buildx', "buildah": "exit 0"}, None, None, "buildah"),  # no daemon
        ({"docker": 'test "$1" = buildx', "buildah": "exit 0"}, None, "far", "docker buildx (far)"),
        ({"docker": 'test "$1" = buildx'}, None, None, "docker buildx"),
        ({"docker": 'test "$1" = version'}, "docker", None, None),  # no buildx
        ({"docker": 'test "$1" = version', "buildah": "exit 0"}, None, None, "buildah"),
        ({"docker": 'test "$1" = version', "buildah": "exit 0"}, None, "far", None),
        ({"docker": "exit 0", "buildah": "exit 0"}, "buildah", None, "buildah"),
        ({"buildah": "exit 0"}, "docker", None, None),
        ({"docker": "exit 0"}, "buildah", None, None),
        ({}, None, None, None),
    ],
)
def test_the_builder_that_works_is_taken(
    tmp_path: Path, there: dict[str, str], wanted: str | None, instance: str | None, found: str | None
) -> None:
    for name, body in there.items():
        script(tmp_path / name, f"#!/bin/sh\n{body}\n")
    which: Callable[[str], Any] = lambda name: str(tmp_path / name) if name in there else None  # noqa: E731
    builder = _builders.find(wanted, instance, which)
    assert (builder.name if builder else None) == found


def test_build_steps_need_no_runtime_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("BUILDAH_ISOLATION", raising=False)
    assert _builders._isolation() == ["--isolation", "chroot"]
    monkeypatch.setenv("BUILDAH_ISOLATION", "rootless")
    assert _builders._isolation() == []
    monkeypatch.delenv("BUILDAH_ISOLATION")
    script(tmp_path / "crun", "#!/bin/sh\n")
    assert _builders._isolation() == []
    assert os.environ["PATH"] == str(tmp_path)


def test_a_new_base_image_is_asked_for_when_a_rebuild_is_wanted(
    docker: Path, build: Build, around: Surroundings, tmp_path: Path
) -> None:
    Buildx(str(docker)).publish(build, around)
    assert "--pull" not in (tmp_path / "told").read_text().splitlines()
    Buildx(str(docker)).publish(replace(build, is_anew=True), around)
    assert "--pull" in (tmp_path / "told").read_text().splitlines()


def test_clearing_up_that_hangs_never_hides_why_a_build_failed(
    build: Build, around: Surroundings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = 'case "$*" in *rm*--all*) exec sleep 300 ;; *containers*) [ ! -e {0} ] || echo one ;;\n'
    text = (
        "#!/bin/sh\n"
        + hangs.format(tmp_path / "built")
        + f"*build*) touch {tmp_path}/built; echo oh no; exit 7 ;; esac\n"
    )
    monkeypatch.setattr(_builders, "_ASK_S", 0.2)
    with pytest.raises(BuildFailed, match=r"failed with code 7"):
        Buildah(str(script(tmp_path / "buildah", text))).publish(build, around)
    with pytest.raises(BuildFailed, match=r"buildah … .*rm --all took longer than 0 s"):
        Buildah(str(tmp_path / "buildah")).publish(build, around)
