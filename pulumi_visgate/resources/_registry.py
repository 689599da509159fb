"""A container registry, asked by the distribution API (OCI distribution-spec 1.1); no Pulumi."""

import hashlib
import re
from collections.abc import Generator
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.request import parse_http_list, parse_keqv_list

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from pulumi_visgate.resources.errors import RegistryError

DOCKER_HUB = "docker.io"
_HUB_HOST = "registry-1.docker.io"
_HUB_AUTH = "https://index.docker.io/v1/"
_TIMEOUT_S = 20.0
_ATTEMPTS = 3
_MANIFESTS = ", ".join(
    (
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    )
)
# The grammar of the specification, with an optional host.
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
REPOSITORY = rf"^(?:[A-Za-z0-9.-]+(?::[0-9]+)?/)?{_PART}(?:/{_PART})*$"


@dataclass(frozen=True, slots=True)
class Login:
    """Credentials of a registry.

    Args:
        username: User.
        password: Password or token.
    """

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Repository:
    """A place for images.

    Args:
        host: Registry, with its port if it has one.
        path: Name in it.
    """

    host: str
    path: str

    @classmethod
    def parse(cls, name: str) -> "Repository":
        """Read a name as Docker does: without a host it is Docker Hub's."""
        host, slash, path = name.partition("/")
        if slash and ("." in host or ":" in host or host == "localhost"):
            return cls(host, path)
        return cls(DOCKER_HUB, name if slash else f"library/{name}")

    def __str__(self) -> str:
        return f"{self.host}/{self.path}"

    @property
    def is_local(self) -> bool:
        """The registry is on this machine, where registries speak plain http."""
        name = re.sub(r":\d+$", "", self.host)
        try:
            return name == "localhost" or ip_address(name).is_loopback
        except ValueError:
            return False

    @property
    def login_server(self) -> str:
        """What credential stores know the registry as."""
        return _HUB_AUTH if self.host == DOCKER_HUB else self.host


@dataclass(frozen=True, slots=True)
class Pushed:
    """An image in a registry.

    Args:
        digest: Of its manifest.
        size_bytes: Of its layers, as they are downloaded; None for an index of several images.
    """

    digest: str
    size_bytes: int | None


class Registry:
    """Reads one repository.

    Args:
        repository: Which.
        login: Credentials; what the machine knows when left out.
        insecure: Speak plain http.
    """

    def __init__(self, repository: Repository, login: Login | None = None, *, insecure: bool = False) -> None:
        self._repository = repository
        self._login = login or known_login(repository)
        host = _HUB_HOST if repository.host == DOCKER_HUB else repository.host
        self._base = f"{'http' if insecure else 'https'}://{host}/v2/{repository.path}"

    def find(self, reference: str) -> Pushed | None:
        """Return the image of a tag or digest, or None when there is none (`GET /v2/<name>/manifests/<reference>`).

        Raises:
            RegistryError: The registry refused, or does not answer.
        """
        try:
            response = self._get(f"{self._base}/manifests/{reference}")
            if response.status_code == httpx.codes.NOT_FOUND:
                return None
            if not response.is_success:
                raise self._refused(response)
            manifest = response.json()
            layers = [manifest["config"], *manifest["layers"]] if "layers" in manifest else []
            size_bytes = sum(layer["size"] for layer in layers) if layers else None
        except (ValueError, KeyError, TypeError):
            detail = f"{self._repository.host} answered with something that is no registry's."
            raise RegistryError(detail, hint="Check `repository`, and whether a proxy answers instead.") from None
        # A registry should send the digest, and need not; it is that of the manifest's bytes.
        digest = (
            response.headers.get("docker-content-digest") or f"sha256:{hashlib.sha256(response.content).hexdigest()}"
        )
        return Pushed(digest, size_bytes)

    def _get(self, url: str) -> httpx.Response:
        passing = retry_if_exception_type(httpx.TransportError)
        tries = Retrying(
            retry=passing,
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_exponential_jitter(multiplier=0.2, max=2, jitter=0.2),
            reraise=True,
        )
        auth = _Challenged(self._login, f"repository:{self._repository.path}:pull")
        try:
            with httpx.Client(auth=auth, timeout=_TIMEOUT_S, follow_redirects=True) as client:
                return tries(client.get, url, headers={"accept": _MANIFESTS})
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            detail = f"The registry {self._repository.host} does not answer: {type(error).__name__}."
            raise RegistryError(detail, hint="Check `repository` and the network.") from None

    def _refused(self, response: httpx.Response) -> RegistryError:
        host, status = self._repository.host, response.status_code
        detail = f"The registry {host} answered {status} for {self._repository.path}."
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            return RegistryError(
                detail, hint=f"Give `username` and `password`, or run `docker login {host}`.", status=status
            )
        return RegistryError(detail, hint="Check `repository`.", status=status)


class _Challenged(httpx.Auth):
    """Answers a registry's challenge: with the login, or with a token that the login, or nobody, is given for."""

    requires_response_body = True

    def __init__(self, login: Login | None, scope: str) -> None:
        self._basic = httpx.BasicAuth(login.username, login.password) if login else None
        self._scope = scope

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        response = yield request
        scheme, _, rest = response.headers.get("www-authenticate", "").partition(" ")
        if response.status_code != httpx.codes.UNAUTHORIZED:
            return
        if scheme.lower() == "basic" and self._basic:
            yield next(self._basic.auth_flow(request))
        elif scheme.lower() == "bearer":
            told = parse_keqv_list(parse_http_list(rest))
            query = {"scope": told.get("scope", self._scope)} | {k: told[k] for k in ("service",) if k in told}
            ask = httpx.Request("GET", told["realm"], params=query)
            answer = yield next(self._basic.auth_flow(ask)) if self._basic else ask
            if answer.is_success:
                given = answer.json()
                request.headers["authorization"] = f"Bearer {given.get('token') or given['access_token']}"
                yield request


def known_login(repository: Repository) -> Login | None:
    """Return the login that `docker login` left on this machine, from a credential helper if there is one."""
    from docker import auth  # noqa: PLC0415, only programs with images need it
    from docker.errors import DockerException  # noqa: PLC0415, only programs with images need it

    try:
        found = auth.load_config().resolve_authconfig(repository.login_server)
    except DockerException:
        return None
    name = (found or {}).get("username") or (found or {}).get("Username")
    password = (found or {}).get("password") or (found or {}).get("Password")
    return Login(name, password) if name and password else None
