"""When an image is built, and what is said before; builder and registry are played."""

from pathlib import Path
from typing import Any

import pytest

from pulumi_visgate.resources import _builders, container_image
from pulumi_visgate.resources._builders import Build, Surroundings
from pulumi_visgate.resources._ecr_login import EcrLoginError
from pulumi_visgate.resources._registry import Login, Pushed
from pulumi_visgate.resources._session import Session
from pulumi_visgate.resources._settings import Settings
from pulumi_visgate.resources._values import UNKNOWN
from pulumi_visgate.resources.container_image import ContainerImageCrud
from pulumi_visgate.resources.errors import BuildFailed, RegistryError

REPOSITORY = "ghcr.io/acme/worker"
PASSWORD = "canary-of-a-registry"
ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"


class Heard:
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def warn(self, text: str) -> None:
        self.said.append(text)

    note = status = warn


class World:
    """A builder and the registry that it pushes to."""

    name = "buildah"

    def __init__(self) -> None:
        self.built: list[Build] = []
        self.images: dict[str, Pushed] = {}
        self.trouble: Exception | None = None
        self.around: Surroundings | None = None

    def publish(self, build: Build, around: Surroundings) -> str:
        self.built.append(build)
        self.around = around
        # What is in an image decides its digest, here: the Dockerfile alone.
        digest = f"sha256:{(build.context / 'Dockerfile').read_text().strip()}"
        self.images[build.tag] = self.images[digest] = Pushed(digest, 1000)
        return digest

    def keep(self, build: Build, around: Surroundings) -> str:
        self.built.append(build)
        return "sha256:kept"

    def masks(self, secret: str) -> bool:
        return self.around is not None and secret not in self.around.redactor.text(f"pushing with {secret}")

    def find(self, reference: str) -> Pushed | None:
        if self.trouble:
            raise self.trouble
        return self.images.get(reference)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(_builders, "find", lambda *_: world)
    monkeypatch.setattr(container_image, "Registry", lambda *_, **__: world)
    return world


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text("one")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "serve.py").write_text("serve()")
    return tmp_path


@pytest.fixture
def crud() -> ContainerImageCrud:
    session = Session(Settings())
    session.report = Heard()
    return ContainerImageCrud(session)


def checked(crud: ContainerImageCrud, context: Path, **given: Any) -> dict[str, Any]:
    values, problems = crud.check({}, {"repository": REPOSITORY, "context": str(context), **given})
    assert problems == []
    return values


def said(crud: ContainerImageCrud) -> list[str]:
    assert isinstance(crud.session.report, Heard)
    return crud.session.report.said


def test_the_same_content_is_built_once_whoever_asks(crud: ContainerImageCrud, world: World, context: Path) -> None:
    inputs = checked(crud, context)
    id_, outs = crud.create(inputs)
    assert id_ == REPOSITORY
    assert (outs["digest"], outs["ref"], outs["size_bytes"]) == ("sha256:one", f"{REPOSITORY}@sha256:one", 1000)
    assert crud.create(inputs)[1] == outs  # after a kill before the state was written, or on another machine
    assert len(world.built) == 1
    assert "nothing is built" in said(crud)[-1]
    assert not crud.diff(outs, checked(crud, context)).changed


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"build_args": {"A": "2"}}, "build_args"),
        ({"platform": "linux/arm64"}, "platform"),
        ({"target": "slim"}, "target"),
        ({"rebuild": "2026-12"}, "rebuild"),
    ],
)
def test_another_recipe_is_another_image_and_the_preview_says_why(
    crud: ContainerImageCrud, world: World, context: Path, change: dict[str, Any], reason: str
) -> None:
    outs = crud.create(checked(crud, context))[1]
    news = checked(crud, context, **change)
    assert news["tag"] != outs["tag"]
    assert crud.diff(outs, news).replaces == ()
    assert said(crud)[-1] == f"{REPOSITORY}: to be built by buildah, because of {reason}"
    crud.update(REPOSITORY, outs, news)
    assert len(world.built) == 2


def test_the_preview_names_what_has_changed_in_the_context(
    crud: ContainerImageCrud, world: World, context: Path
) -> None:
    outs = crud.create(checked(crud, context))[1]
    (context / "src" / "serve.py").write_text("serve(2)")
    (context / "new.lock").write_text("x")
    news = checked(crud, context)
    assert crud.diff(outs, news).changed == ("content", "tag")
    assert said(crud)[-1].endswith("because of new.lock, src/serve.py")
    # The image comes out as it was, so what runs it is not touched.
    assert crud.update(REPOSITORY, outs, news)["ref"] == outs["ref"]


def test_how_it_gets_there_builds_nothing(crud: ContainerImageCrud, world: World, context: Path) -> None:
    outs = crud.create(checked(crud, context, username="ada", password=PASSWORD))[1]
    (context.parent / "pip.conf").write_text("[global]\n")
    news = checked(
        crud, context, username="AWS", password="another", builder="buildah", timeout_s=60,
        secrets={"pip.conf": str(context.parent / "pip.conf")},
    )  # fmt: skip
    assert not crud.diff(outs, news).changed


def test_another_repository_is_another_resource(crud: ContainerImageCrud, world: World, context: Path) -> None:
    outs = crud.create(checked(crud, context))[1]
    news = checked(crud, context, repository="ghcr.io/acme/other")
    assert crud.diff(outs, news).replaces == ("repository",)


def test_what_a_preview_does_not_know_yet_is_not_looked_for(crud: ContainerImageCrud, context: Path) -> None:
    values, problems = crud.check(
        {}, {"repository": UNKNOWN, "context": str(context), "password": UNKNOWN, "username": "A"}
    )
    assert problems == []
    assert values["repository"] is UNKNOWN
    assert len(values["tag"]) == 16
    unknown = crud.check({}, {"repository": REPOSITORY, "context": str(context), "build_args": {"A": UNKNOWN}})[0]
    assert unknown["tag"] is UNKNOWN


def test_an_image_that_stays_is_built_every_time_it_changes(
    crud: ContainerImageCrud, world: World, context: Path
) -> None:
    inputs = checked(crud, context, push=False)
    outs = crud.create(inputs)[1]
    assert outs["digest"] == "sha256:kept"
    assert outs["ref"] == f"{REPOSITORY}:{inputs['tag']}"
    assert crud.read(REPOSITORY, outs) is not None


def test_one_that_is_gone_is_noticed_and_a_registry_that_is_silent_is_no_reason_to_build(
    crud: ContainerImageCrud, world: World, context: Path
) -> None:
    outs = crud.create(checked(crud, context))[1]
    found = crud.read(REPOSITORY, outs)
    assert found is not None
    assert found.inputs == checked(crud, context)
    world.trouble = RegistryError("The registry ghcr.io does not answer.")
    assert crud.read(REPOSITORY, outs) is not None
    assert "was not checked" in said(crud)[-1]
    world.trouble = None
    world.images.clear()
    assert crud.read(REPOSITORY, outs) is None


def test_ecr_gives_a_token_that_is_kept_nowhere(
    crud: ContainerImageCrud, world: World, context: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str | None]] = []

    def token(host: str, profile: str | None) -> tuple[str, str]:
        asked.append((host, profile))
        return "AWS", PASSWORD

    monkeypatch.setattr(container_image, "ecr_login", token)
    inputs = checked(crud, context, repository=f"{ECR}/worker")
    assert asked == []  # a preview needs no credentials
    outs = crud.create(inputs)[1]
    assert asked == [(ECR, None)]
    assert world.built[0].login == Login("AWS", PASSWORD)
    assert world.masks(PASSWORD)
    assert PASSWORD not in repr((outs, world.built))
    crud.read(f"{ECR}/worker", outs)
    assert len(asked) == 2


def test_who_has_signed_in_to_ecr_by_hand_needs_no_credentials_of_aws(
    crud: ContainerImageCrud, world: World, context: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(host: str, profile: str | None) -> tuple[str, str]:
        detail = f"ECR gives no token for {host}: NoCredentialsError."
        raise EcrLoginError(detail)

    monkeypatch.setattr(container_image, "ecr_login", none)
    inputs = checked(crud, context, repository=f"{ECR}/worker")
    monkeypatch.setattr(container_image, "known_login", lambda _repository: None)
    with pytest.raises(EcrLoginError, match="NoCredentialsError"):
        crud.create(inputs)
    monkeypatch.setattr(container_image, "known_login", lambda _repository: Login("AWS", PASSWORD))
    outs = crud.create(inputs)[1]
    assert world.built[0].login is None
    monkeypatch.setattr(container_image, "known_login", lambda _repository: None)
    assert crud.read(f"{ECR}/worker", outs) is not None  # a refresh without credentials is no reason to build
    assert "was not checked" in said(crud)[-1]


def test_a_push_that_did_not_arrive_is_no_success(
    crud: ContainerImageCrud, world: World, context: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world, "publish", lambda *_: "sha256:elsewhere")
    with pytest.raises(RegistryError, match="does not have sha256:elsewhere"):
        crud.create(checked(crud, context))


def test_without_a_builder_only_what_has_to_be_built_fails(
    crud: ContainerImageCrud, world: World, context: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = checked(crud, context)
    outs = crud.create(inputs)[1]
    monkeypatch.setattr(_builders, "find", lambda *_: None)
    assert crud.create(inputs)[1] == outs
    world.images.clear()
    with pytest.raises(BuildFailed, match="neither docker buildx nor buildah is here"):
        crud.create(inputs)


@pytest.mark.parametrize(
    ("given", "property_", "reason"),
    [
        ({"repository": "ghcr.io/Acme/worker:1"}, "repository", "match pattern"),
        ({"context": "/nowhere"}, None, "has no Dockerfile"),
        ({"dockerfile": "other"}, None, "has no other"),
        ({"secrets": {"pip.conf": "/nowhere"}}, "secrets", "pip.conf: there is no file /nowhere"),
        ({"username": "ada"}, "password", "is required beside"),
        ({"password": PASSWORD}, "username", "is required beside"),
        ({"builder": "kaniko"}, "builder", "match pattern"),
        ({"builder": "buildah", "buildx_builder": "far"}, "buildx_builder", "builder of docker buildx"),
        ({"platform": "amd64"}, "platform", "match pattern"),
        ({"timeout_s": 0}, "timeout_s", "greater than or equal to 1"),
    ],
)
def test_wrong_input_is_named_with_what_is_allowed(
    crud: ContainerImageCrud, context: Path, given: dict[str, Any], property_: str | None, reason: str
) -> None:
    program = {"repository": REPOSITORY, "context": str(context), **given}
    if property_ is None:
        with pytest.raises(BuildFailed, match=reason):
            crud.check({}, program)
        return
    _, [problem] = crud.check({}, program)
    assert problem.property == property_
    assert reason in problem.reason
    assert PASSWORD not in problem.reason
