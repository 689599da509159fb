"""Hugging Face's routes as pure functions: the addresses, the headers, and the meaning of what comes back.

| route                                          | answers                                                          |
|------------------------------------------------|------------------------------------------------------------------|
| `GET /api/models/{id}/revision/{revision}`     | commit, gating, and each file with its size and digest (`blobs`) |
| `GET /{id}/resolve/{commit}/{path}`            | a file, or a redirect to where it lies; in ranges (RFC 9110, 14) |

The public metadata of a gated model is open to all, its files are not. A token that the hub does not know is refused
everywhere. The hub says what is wrong in `X-Error-Code`, and answers 401 for a model that is not there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pulumi_visgate.hub.errors import Gated, HubError, NoSuchRevision, NotOnHub, Passing, TokenRefused

UNKNOWN_TOKEN = "Invalid credentials in Authorization header"  # noqa: S105, what the hub says of one
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _ERROR = 401, 403, 404, 400


@dataclass(frozen=True, slots=True)
class RepoFile:
    """A file as the hub tells of it.

    Args:
        path: Relative path, with forward slashes.
        size: Bytes.
        sha256: Known for large files.
        blob_id: Known for small files: git's SHA-1, 40 hexadecimal digits.
    """

    path: str
    size: int
    sha256: str | None = None
    blob_id: str | None = None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What the hub tells of a model at a revision.

    Args:
        model_id: Hub id.
        commit: 40 hexadecimal digits.
        is_gated: Its files are for those who have accepted its terms.
        files: All of its files.
    """

    model_id: str
    commit: str
    is_gated: bool
    files: tuple[RepoFile, ...]


class _Lfs(BaseModel):
    sha256: str
    size: int


class _Sibling(BaseModel):
    path: str = Field(alias="rfilename")
    size: int | None = None
    blob_id: str | None = Field(default=None, alias="blobId")
    lfs: _Lfs | None = None

    def file(self) -> RepoFile:
        if self.lfs is not None:
            return RepoFile(self.path, self.lfs.size, sha256=self.lfs.sha256)
        return RepoFile(self.path, self.size or 0, blob_id=self.blob_id)


class _Info(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)

    sha: str = Field(pattern=r"^[0-9a-f]{40}$")
    gated: bool | str = False
    siblings: list[_Sibling] = Field(default_factory=list[_Sibling])


def info_url(endpoint: str, model_id: str, revision: str | None) -> str:
    """Return where the metadata of a model is.

    Args:
        endpoint: Base URL of the hub.
        model_id: Hub id.
        revision: Branch, tag or commit; the default branch when left out.
    """
    path = "" if revision is None else f"/revision/{quote(revision, safe='')}"
    return f"{endpoint}/api/models/{quote(model_id)}{path}?blobs=true"


def file_url(endpoint: str, model_id: str, commit: str, path: str) -> str:
    """Return where a file of a commit is."""
    return f"{endpoint}/{quote(model_id)}/resolve/{commit}/{quote(path)}"


def headers(token: str | None) -> dict[str, str]:
    """Return the headers of every request; bytes are wanted as they are stored."""
    bearer = {"authorization": f"Bearer {token}"} if token else {}
    return {"accept-encoding": "identity", **bearer}


def read_info(model_id: str, body: bytes) -> ModelInfo:
    """Read the answer of the metadata's route.

    Raises:
        HubError: It is something else.
    """
    try:
        found = _Info.model_validate_json(body)
    except ValidationError:
        detail = f"The hub does not say which commit {model_id} is at, and which files it has."
        raise HubError(detail) from None
    return ModelInfo(model_id, found.sha, bool(found.gated), tuple(item.file() for item in found.siblings))


def check(status: int, answered: Mapping[str, str], *, model_id: str, revision: str | None = None) -> None:
    """See that the hub gave what was asked for.

    Args:
        status: HTTP status.
        answered: Headers of the answer, case-insensitive.
        model_id: What was asked for.
        revision: Its revision.

    Raises:
        HubError: It did not; the class says why.
    """
    if status < _ERROR:
        return
    code = answered.get("x-error-code", "")
    if status in _PASSING:
        raise passing(status, answered)
    if code == "GatedRepo":
        message = f"{model_id} is gated on the hub."
        raise Gated(message)
    if status == _UNAUTHORIZED and answered.get("x-error-message") == UNKNOWN_TOKEN:
        message = "The hub does not accept the given token."
        raise TokenRefused(message)
    if code == "RevisionNotFound":
        message = f"{model_id} has no revision {revision!r} on the hub."
        raise NoSuchRevision(message)
    if code == "EntryNotFound":
        message = f"The hub does not have a file that it listed of {model_id}."
        raise HubError(message)
    if code == "RepoNotFound" or status in {_UNAUTHORIZED, _NOT_FOUND}:
        message = f"{model_id} is not on the hub, or is private."
        raise NotOnHub(message)
    if status == _FORBIDDEN:
        message = f"The hub does not give {model_id} to this token."
        raise Gated(message)
    message = f"The hub answered {status} when asked for {model_id}."
    raise HubError(message)


def passing(status: int, answered: Mapping[str, str]) -> Passing:
    """Return the error of an answer that may be another the next time."""
    return Passing(f"answered {status}", after_s=_seconds(answered.get("retry-after", "")))


def _seconds(text: str) -> float | None:
    return float(text) if text.isdigit() else None
