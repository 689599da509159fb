"""How a registry is asked; it answers as the distribution specification says."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pulumi_visgate.resources._registry import Login, Pushed, Registry, Repository
from pulumi_visgate.resources.errors import RegistryError

LOGIN = Login("ada", "canary-of-a-registry")
MANIFEST = {"config": {"size": 10}, "layers": [{"size": 200}, {"size": 3000}]}
DIGEST = "sha256:" + "a" * 64


class FakeRegistry(ThreadingHTTPServer):
    """One image, behind no, basic or bearer authentication."""

    daemon_threads = True

    def __init__(self, scheme: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.scheme = scheme
        self.broken = 0
        self.seen: list[str] = []
        self.manifest: dict[str, Any] = MANIFEST
        self.anonymous = False
        self.names_digests = True
        self.page = b""

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: FakeRegistry

    def do_GET(self) -> None:
        given = self.headers.get("authorization", "")
        self.server.seen.append(self.path)
        if self.server.broken:
            self.server.broken -= 1
            self.close_connection = True
            return
        basic = "Basic " + base64.b64encode(b"ada:canary-of-a-registry").decode()
        if self.path.startswith("/token"):
            allowed = given == basic or (self.server.anonymous and not given)
            self._answer(200 if allowed else 401, {"token": "issued"})
        elif self.server.scheme and given != {"basic": basic, "bearer": "Bearer issued"}[self.server.scheme]:
            realm = f'realm="http://{self.server.host}/token",service="reg",scope="repository:acme/x:pull"'
            self._answer(
                401, {}, **{"www-authenticate": "Basic" if self.server.scheme == "basic" else f"Bearer {realm}"}
            )
        elif self.path.endswith(("/manifests/t", DIGEST)):
            named = {"docker-content-digest": DIGEST} if self.server.names_digests else {}
            self._answer(200, self.server.manifest, **named)
        else:
            self._answer(404, {})

    def _answer(self, status: int, body: Any, **headers: str) -> None:
        data = self.server.page or json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"content-length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@pytest.fixture
def registry(request: pytest.FixtureRequest) -> Iterator[FakeRegistry]:
    server = FakeRegistry(request.param)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def asked(server: FakeRegistry, login: Login | None = LOGIN) -> Registry:
    return Registry(Repository(server.host, "acme/x"), login, insecure=True)


@pytest.mark.parametrize("registry", ["", "basic", "bearer"], indirect=True)
def test_digest_and_size_are_told_whatever_it_wants_to_see(registry: FakeRegistry) -> None:
    assert asked(registry).find("t") == Pushed(DIGEST, 3210)
    assert asked(registry).find(DIGEST) == Pushed(DIGEST, 3210)
    assert asked(registry).find("other") is None


@pytest.mark.parametrize("registry", ["bearer"], indirect=True)
def test_a_public_image_needs_no_login(registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    registry.anonymous = True
    assert asked(registry, None).find("t") == Pushed(DIGEST, 3210)
    assert "/token?scope=repository%3Aacme%2Fx%3Apull&service=reg" in registry.seen


@pytest.mark.parametrize("registry", ["basic"], indirect=True)
def test_the_login_of_this_machine_is_used(
    registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    auth = base64.b64encode(b"ada:canary-of-a-registry").decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {registry.host: {"auth": auth}}}))
    assert asked(registry, None).find("t") == Pushed(DIGEST, 3210)


@pytest.mark.parametrize("registry", ["basic", "bearer"], indirect=True)
def test_a_wrong_password_is_refused_with_the_fix_and_never_shown(registry: FakeRegistry) -> None:
    with pytest.raises(RegistryError, match=r"answered 401 for acme/x\. Give `username` and `password`") as refused:
        asked(registry, Login("ada", "canary-that-is-wrong")).find("t")
    assert "canary" not in str(refused.value) + repr(Login("ada", "canary"))


@pytest.mark.parametrize("registry", [""], indirect=True)
def test_an_index_has_no_size_of_its_own(registry: FakeRegistry) -> None:
    registry.manifest = {"manifests": []}
    assert asked(registry).find("t") == Pushed(DIGEST, None)


@pytest.mark.parametrize("registry", [""], indirect=True)
def test_a_connection_that_breaks_is_tried_again_but_not_for_ever(registry: FakeRegistry) -> None:
    registry.broken = 1
    assert asked(registry).find("t") == Pushed(DIGEST, 3210)
    registry.broken = 100
    with pytest.raises(RegistryError, match=r"does not answer: RemoteProtocolError"):
        asked(registry).find("t")


@pytest.mark.parametrize(
    ("name", "host", "path", "local"),
    [
        ("ghcr.io/acme/worker", "ghcr.io", "acme/worker", False),
        ("localhost:5000/worker", "localhost:5000", "worker", True),
        ("127.0.0.1:5000/a/b", "127.0.0.1:5000", "a/b", True),
        ("acme/worker", "docker.io", "acme/worker", False),
        ("worker", "docker.io", "library/worker", False),
        ("1234.dkr.ecr.eu-west-1.amazonaws.com/w", "1234.dkr.ecr.eu-west-1.amazonaws.com", "w", False),
    ],
)
def test_names_are_read_as_docker_reads_them(name: str, host: str, path: str, local: bool) -> None:
    repository = Repository.parse(name)
    assert (repository.host, repository.path, repository.is_local) == (host, path, local)


@pytest.mark.parametrize("registry", [""], indirect=True)
def test_a_digest_that_is_not_said_is_reckoned(registry: FakeRegistry) -> None:
    registry.names_digests = False
    digest = f"sha256:{hashlib.sha256(json.dumps(MANIFEST).encode()).hexdigest()}"
    assert asked(registry).find("t") == Pushed(digest, 3210)


@pytest.mark.parametrize("page", [b"<html>Sign in to the network</html>", b'{"layers": [{}]}'])
@pytest.mark.parametrize("registry", [""], indirect=True)
def test_what_is_no_registry_is_said(registry: FakeRegistry, page: bytes) -> None:
    registry.page = page
    with pytest.raises(RegistryError, match=r"127\.0\.0\.1:\d+ answered with something that is no registry's"):
        asked(registry).find("t")
