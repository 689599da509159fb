"""What builds and pushes images: Docker's BuildKit, here or far away, or Buildah, which needs no daemon; no Pulumi."""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pulumi_visgate.resources import _build_run
from pulumi_visgate.resources._registry import Login, Repository
from pulumi_visgate.resources._report import Report
from pulumi_visgate.resources.errors import BuildFailed
from visgate_contract.redaction import Redactor

DOCKER, BUILDAH = "docker", "buildah"
EPOCH = "0"  # files and history of an image have no date, so that the same content has the same digest anywhere
_PROBE_S = 20.0
_ASK_S = 600.0  # asking the store, and clearing it: gigabytes on `vfs` take minutes


@dataclass(frozen=True, slots=True)
class Build:
    """One image to make.

    Args:
        context: The build context.
        dockerfile: Relative to it.
        repository: Where it goes.
        tag: Tag, which says what is in it.
        platform: Such as `linux/amd64`.
        target: Stage; the last one when left out.
        arguments: Build arguments.
        secrets: Files that build steps may read and that are in no layer, by id.
        insecure: The registry speaks plain http.
        is_anew: Ask the registry for the base image, too, even if it is here.
        login: Credentials of the registry; what the machine knows when left out.
    """

    context: Path
    dockerfile: str
    repository: Repository
    tag: str
    platform: str
    target: str | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    insecure: bool = False
    is_anew: bool = False
    login: Login | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Reference by tag."""
        return f"{self.repository}:{self.tag}"

    def flags(self) -> list[str]:
        """Return what both builders are told in the same words."""
        flags = ["--file", str(self.context / self.dockerfile), "--tag", self.name, "--platform", self.platform]
        flags += ["--target", self.target] if self.target else []
        flags += [part for name, value in sorted(self.arguments.items()) for part in ("--build-arg", f"{name}={value}")]
        flags += [part for id_, file in sorted(self.secrets.items()) for part in ("--secret", f"id={id_},src={file}")]
        return flags


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a builder works with.

    Args:
        cache: Folder for logs and for Buildah's layers.
        report: Told of progress.
        redactor: Takes secrets out of output.
        timeout_s: Deadline of each command in seconds.
    """

    cache: Path
    report: Report
    redactor: Redactor
    timeout_s: float

    def run(self, command: Sequence[str], build: Build, doing: str, env: Mapping[str, str] | None = None) -> None:
        """Run one command to its end.

        Raises:
            BuildFailed: It failed.
        """
        log = self.cache / "logs" / f"{build.tag}.log"
        about = f"{doing} {build.repository}"
        report, redactor, timeout_s = self.report, self.redactor, self.timeout_s
        _build_run.run(command, doing=about, report=report, redactor=redactor, log=log, timeout_s=timeout_s, env=env)


class Builder(Protocol):
    """Builds images."""

    @property
    def name(self) -> str:
        """What people call it."""

    def publish(self, build: Build, around: Surroundings) -> str:
        """Build an image, push it and return the digest of its manifest.

        Raises:
            BuildFailed: It could not be built or pushed.
        """

    def keep(self, build: Build, around: Surroundings) -> str:
        """Build an image, leave it with the builder and return its id.

        Raises:
            BuildFailed: It could not be built.
        """


class Buildx:
    """`docker buildx`: BuildKit in Docker, or the remote builder that `docker buildx create` has named.

    Args:
        program: The `docker` command.
        instance: Name of the builder; the current one when left out.
    """

    def __init__(self, program: str = "docker", instance: str | None = None) -> None:
        self._program = program
        self._instance = instance

    @property
    def name(self) -> str:
        """What people call it."""
        return f"docker buildx ({self._instance})" if self._instance else "docker buildx"

    def publish(self, build: Build, around: Surroundings) -> str:
        """Build and push in one go: a remote builder has the image, this machine has not."""
        insecure = ",registry.insecure=true" if build.insecure else ""
        output = f"type=image,push=true,oci-mediatypes=true,rewrite-timestamp=true{insecure}"
        with tempfile.TemporaryDirectory(prefix="visgate-build-") as scratch:
            told = Path(scratch) / "told.json"
            command = [*self._build(build), "--output", output, "--metadata-file", str(told), str(build.context)]
            around.run(command, build, "building", self._environment(Path(scratch), build))
            return _digest(json.loads(told.read_text(encoding="utf-8")).get("containerimage.digest"))

    def keep(self, build: Build, around: Surroundings) -> str:
        """Build into Docker's own store."""
        with tempfile.TemporaryDirectory(prefix="visgate-build-") as scratch:
            id_file = Path(scratch) / "id"
            command = [*self._build(build), "--load", "--iidfile", str(id_file), str(build.context)]
            around.run(command, build, "building", self._environment(Path(scratch), None))
            return _digest(id_file.read_text(encoding="utf-8").strip())

    def _build(self, build: Build) -> list[str]:
        instance = ["--builder", self._instance] if self._instance else []
        anew = ["--pull"] if build.is_anew else []  # Buildah looks for a newer one by itself
        # An attestation holds the time of the build, so with it no digest would come twice.
        quiet = ["--progress=plain", "--provenance=false"]
        return [self._program, "buildx", "build", *instance, *build.flags(), *anew, *quiet]

    def _environment(self, scratch: Path, build: Build | None) -> dict[str, str]:
        env = {**os.environ, "SOURCE_DATE_EPOCH": EPOCH}
        if build is None or build.login is None:
            return env
        own = Path(env.get("DOCKER_CONFIG") or Path.home() / ".docker")
        config = _docker_config(own, build.repository.login_server, build.login)
        _write_private(scratch / "config.json", json.dumps(config))
        for shared in ("cli-plugins", "contexts"):
            if (own / shared).exists():
                (scratch / shared).symlink_to(own / shared)
        return {**env, "DOCKER_CONFIG": str(scratch), "BUILDX_CONFIG": env.get("BUILDX_CONFIG") or str(own / "buildx")}


class Buildah:
    """`buildah`, with a store of its own, so that what an interrupted build left is known to be nobody else's.

    Args:
        program: The `buildah` command.
    """

    name = BUILDAH

    def __init__(self, program: str = "buildah") -> None:
        self._program = program

    def publish(self, build: Build, around: Surroundings) -> str:
        """Build, then push, which sends only layers that the registry lacks."""
        with self._store(around) as buildah, tempfile.TemporaryDirectory(prefix="visgate-build-") as scratch:
            self._build(buildah, build, around)
            digest = Path(scratch) / "digest"
            login = []
            if build.login:
                auths = {"auths": {build.repository.login_server: _auth(build.login)}}
                _write_private(Path(scratch) / "auth.json", json.dumps(auths))
                login = ["--authfile", str(Path(scratch) / "auth.json")]
            verify = f"--tls-verify={'false' if build.insecure else 'true'}"
            push = ["push", "--format", "oci", "--digestfile", str(digest), verify, *login]
            around.run([*buildah, *push, build.name, f"docker://{build.name}"], build, "pushing")
            self._forget_others(buildah, build)
            return _digest(digest.read_text(encoding="utf-8").strip())

    def keep(self, build: Build, around: Surroundings) -> str:
        """Build into this builder's own store."""
        with self._store(around) as buildah:
            self._build(buildah, build, around)
            image = _output([*buildah, "inspect", "--type", "image", "--format", "{{.FromImageID}}", build.name])
            return _digest(f"sha256:{image}")

    def _build(self, buildah: Sequence[str], build: Build, around: Surroundings) -> None:
        command = [
            *buildah,
            "build",
            "--layers",
            *_isolation(),
            "--format",
            "oci",
            "--timestamp",
            EPOCH,
            *build.flags(),
        ]
        around.run([*command, str(build.context)], build, "building")

    @contextmanager
    def _store(self, around: Surroundings) -> Iterator[list[str]]:
        """Take the store, once the builds before this one have ended; what a killed or failed one left is cleared."""
        around.cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        buildah = [self._program, "--root", str(around.cache / "storage"), "--runroot", str(around.cache / "run")]
        if driver := os.environ.get("STORAGE_DRIVER"):
            buildah += ["--storage-driver", driver]
        with (around.cache / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                around.report.status("waiting for another build to end")
                fcntl.flock(lock, fcntl.LOCK_EX)
            _clear(buildah)
            try:
                yield buildah
            except BuildFailed:
                with suppress(BuildFailed):  # why the build failed is what matters
                    _clear(buildah)
                raise

    def _forget_others(self, buildah: Sequence[str], build: Build) -> None:
        """Remove the former images of the repository, so that the store does not grow with every release."""
        with suppress(BuildFailed):
            names = _output([*buildah, "images", "--format", "{{.Name}}:{{.Tag}}", str(build.repository)]).split()
            for name in names:
                if name != build.name:
                    _output([*buildah, "rmi", name])


def find(wanted: str | None, instance: str | None, which: Callable[[str], str | None] = shutil.which) -> Builder | None:
    """Return the builder to use, or None when there is none here.

    Args:
        wanted: `docker` or `buildah`; the first of them that works when left out.
        instance: A named builder of `docker buildx`.
        which: Finds a program.
    """
    docker, buildah = which(DOCKER), which(BUILDAH)
    has_buildx = docker and wanted != BUILDAH and _works([docker, "buildx", "version"])
    # Without its daemon it is taken only when nothing else can be meant; its own message then says what is wrong.
    if docker and has_buildx and (wanted or instance or not buildah or _works([docker, "version"])):
        return Buildx(docker, instance)
    return Buildah(buildah) if buildah and wanted != DOCKER and not instance else None


def _clear(buildah: Sequence[str]) -> None:
    if _output([*buildah, "containers", "--quiet"]):
        _output([*buildah, "rm", "--all"])


def _isolation() -> list[str]:
    """Return how build steps run where no OCI runtime is installed, unless the machine's owner has said it."""
    runtime = shutil.which("crun") or shutil.which("runc")
    return [] if runtime or os.environ.get("BUILDAH_ISOLATION") else ["--isolation", "chroot"]


def _works(command: Sequence[str]) -> bool:
    with suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(command, capture_output=True, timeout=_PROBE_S, check=False).returncode == 0  # noqa: S603
    return False


def _output(command: Sequence[str]) -> str:
    what = f"{Path(command[0]).name} … {' '.join(command[-3:])}"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_ASK_S, check=False)  # noqa: S603, ours
    except subprocess.TimeoutExpired:
        detail = f"{what} took longer than {_ASK_S:.0f} s, and was stopped."
        raise BuildFailed(detail, hint="See what keeps the disk busy.") from None
    if done.returncode != 0:
        detail = f"{what} failed: {done.stderr.strip()[-400:]}"
        raise BuildFailed(detail, hint=_build_run.fix_for([done.stderr]))
    return done.stdout.strip()


def _digest(text: object) -> str:
    if isinstance(text, str) and text.startswith("sha256:"):
        return text
    detail = f"The builder did not say which image it made: {text!r}."
    raise BuildFailed(detail, hint="Update it, or choose another with `builder`.")


def _auth(login: Login) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{login.username}:{login.password}".encode()).decode()}


def _docker_config(own: Path, server: str, login: Login) -> dict[str, object]:
    """Return Docker's configuration with one more login; a credential store would hide it, so it is for the others."""
    try:
        config = json.loads((own / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        config = {}
    store, helpers = config.pop("credsStore", None), dict(config.get("credHelpers") or {})
    if store:
        helpers = {name: store for name in config.get("auths") or {}} | helpers
    helpers.pop(server, None)
    return {**config, "credHelpers": helpers, "auths": {**(config.get("auths") or {}), server: _auth(login)}}


def _write_private(path: Path, text: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
