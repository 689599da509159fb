"""The hub's routes.

| route                                              | answers                                                     |
|----------------------------------------------------|-------------------------------------------------------------|
| `GET /api/models/{id}[/revision/{revision}]`       | commit, gating, files with sizes and digests                |
| `GET /api/models/{id}/tree/{revision}[/{folder}]`  | files with sizes                                            |
| `GET, HEAD /{id}/resolve/{revision}/{path}`        | a file, in ranges; a large one may be at another origin     |

Refusals are those of Hugging Face: `X-Error-Code`, 401 for a model that is not there, metadata of gated models for all.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from pulumi_visgate.hub.protocol import UNKNOWN_TOKEN
from pulumi_visgate.local.hub.library import BRANCH, Blob, Commit, Library


@dataclass
class Access:
    """Who may read what.

    Args:
        tokens: Those that the hub knows; any when None.
        gates: Tokens that opened a gated model, by its id.
    """

    tokens: set[str] | None = None
    gates: dict[str, set[str]] = field(default_factory=dict)


class _RefusalError(Exception):
    """An answer of the hub that is not what was asked for."""

    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(code)
        headers = {"x-error-code": code, "x-error-message": message}
        self.response = Response(status_code=status, headers={name: value for name, value in headers.items() if value})


# Says where a large file lies, or None to have it sent from here.
Elsewhere = Callable[[Request], str | None]
# Answers what this hub does not have.
Beyond = Callable[[Request], Awaitable[Response]]


def create_app(
    library: Library,
    *,
    access: Access | None = None,
    elsewhere: Elsewhere = lambda _: None,
    beyond: Beyond | None = None,
) -> Starlette:
    """Make the app.

    Args:
        library: What it has.
        access: Who may read it; everybody when left out.
        elsewhere: Where large files are to be read.
        beyond: Answers everything else; nobody when left out.
    """
    hub = _Hub(library, access or Access(), elsewhere)

    async def other(request: Request) -> Response:
        if beyond is None:
            raise _RefusalError(404, "RepoNotFound", "Repository not found")
        return await beyond(request)

    def of_model(answer: Beyond) -> Beyond:
        async def checked(request: Request) -> Response:
            return await (answer if beyond is None or hub.knows(request) else beyond)(request)

        return checked

    model = "/api/models/{org}/{name}"
    return Starlette(
        routes=[
            Route(model, of_model(hub.info)),
            Route(f"{model}/revision/{{revision:path}}", of_model(hub.info)),
            Route(f"{model}/tree/{{revision}}", of_model(hub.tree)),
            Route(f"{model}/tree/{{revision}}/{{folder:path}}", of_model(hub.tree)),
            Route("/{org}/{name}/resolve/{revision}/{path:path}", of_model(hub.file), methods=["GET", "HEAD"]),
            Route("/{path:path}", other, methods=["GET", "HEAD"]),
        ],
        exception_handlers={_RefusalError: lambda _, refusal: refusal.response},
    )


class _Hub:
    def __init__(self, library: Library, access: Access, elsewhere: Elsewhere) -> None:
        self._library = library
        self._access = access
        self._elsewhere = elsewhere

    def knows(self, request: Request) -> bool:
        return self._library.has(_model_id(request))

    async def info(self, request: Request) -> Response:
        model_id, commit = await self._commit(request)
        gated = "manual" if model_id in self._access.gates else False
        siblings = [_sibling(path, blob) for path, blob in commit.files.items()]
        about: dict[str, Any] = {
            "id": model_id,
            "modelId": model_id,
            "sha": commit.sha,
            "gated": gated,
            "private": False,
            "tags": [],
        }
        return JSONResponse({**about, "library_name": "diffusers", "siblings": siblings})

    async def tree(self, request: Request) -> Response:
        _, commit = await self._commit(request)
        inside = request.path_params.get("folder", "")
        files = {path: blob for path, blob in commit.files.items() if not inside or path.startswith(f"{inside}/")}
        return JSONResponse([_entry(path, blob) for path, blob in files.items()])

    async def file(self, request: Request) -> Response:
        model_id, commit = await self._commit(request)
        opened = self._access.gates.get(model_id)
        if opened is not None and _token(request) not in opened:
            raise _RefusalError(
                403 if _token(request) else 401, "GatedRepo", f"Access to model {model_id} is restricted."
            )
        blob = commit.files.get(request.path_params["path"])
        if blob is None:
            raise _RefusalError(404, "EntryNotFound", "Entry not found")
        headers = {"etag": f'"{blob.etag}"', "x-repo-commit": commit.sha, "accept-ranges": "bytes"}
        if blob.is_large:
            headers |= {"x-linked-etag": f'"{blob.sha256}"', "x-linked-size": str(blob.size)}
            if location := self._elsewhere(request):
                return RedirectResponse(location, 302, headers)
        return FileResponse(blob.file, media_type="application/octet-stream", headers=headers)

    async def _commit(self, request: Request) -> tuple[str, Commit]:
        """Return the model and the commit that a request is about."""
        model_id, token, known = _model_id(request), _token(request), self._access.tokens
        if token and known is not None and token not in known:
            raise _RefusalError(401, "", UNKNOWN_TOKEN)
        if not self._library.has(model_id):
            raise _RefusalError(404 if token else 401, "RepoNotFound", "Repository not found")
        commit = await run_in_threadpool(self._library.commit, model_id, request.path_params.get("revision") or BRANCH)
        if commit is None:
            raise _RefusalError(404, "RevisionNotFound", "Invalid rev id")
        return model_id, commit


def _model_id(request: Request) -> str:
    return f"{request.path_params['org']}/{request.path_params['name']}"


def _token(request: Request) -> str:
    return request.headers.get("authorization", "").removeprefix("Bearer ")


def _sibling(path: str, blob: Blob) -> dict[str, Any]:
    found: dict[str, Any] = {"rfilename": path, "size": blob.size, "blobId": blob.sha1}
    return found | {"lfs": _lfs(blob)} if blob.is_large else found


def _entry(path: str, blob: Blob) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "file", "path": path, "size": blob.size, "oid": blob.sha1}
    return found | {"lfs": {"oid": blob.sha256, "size": blob.size, "pointerSize": 134}} if blob.is_large else found


def _lfs(blob: Blob) -> dict[str, Any]:
    return {"sha256": blob.sha256, "size": blob.size, "pointerSize": 134}
