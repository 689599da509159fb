"""A request on its way to a handler: who calls, what is asked, and how it is checked."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Any, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from pulumi_visgate.local.emulator.clock import RFC3339
from pulumi_visgate.local.emulator.core import Emulator
from pulumi_visgate.local.emulator.errors import Problem, bad_request, not_found, unprocessable
from pulumi_visgate.local.emulator.faults import Fault, FaultKind
from pulumi_visgate.local.emulator.identity import Caller
from pulumi_visgate.local.emulator.store import Doc, Kind, Record

ModelT = TypeVar("ModelT", bound=BaseModel)

MAX_CONTROL_BYTES = 1_000_000
_TIME = "date-time"
PROBLEM_TYPE = "application/problem+json"
Handler: TypeAlias = "Callable[[Call], Awaitable[Response]]"


@dataclass(slots=True)
class Call:
    """One request.

    Args:
        request: The HTTP request.
        emulator: The emulator it goes to.
        caller: Who sent it.
        fault: Fault that hits it, of those that a handler has to act on.
    """

    request: Request
    emulator: Emulator
    caller: Caller
    fault: Fault | None = None

    @property
    def account(self) -> str:
        """The account that calls."""
        return self.caller.account

    def param(self, name: str) -> str:
        """Return a path parameter."""
        return str(self.request.path_params[name])

    async def raw(self, limit: int) -> bytes:
        """Return the body.

        Args:
            limit: Most bytes.

        Raises:
            Problem: 413.
        """
        parts: list[bytes] = []
        size = 0
        async for chunk in self.request.stream():
            size += len(chunk)
            if size > limit:
                raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"request body is larger than {limit} bytes")
            parts.append(chunk)
        return b"".join(parts)

    async def json(self, limit: int = MAX_CONTROL_BYTES) -> Any:
        """Return the body as JSON.

        Raises:
            Problem: 400 or 413.
        """
        try:
            return json.loads(await self.raw(limit))
        except ValueError:
            detail = "request body is not valid JSON"
            raise bad_request(detail) from None

    async def body(self, model: type[ModelT]) -> ModelT:
        """Return the body as a request model, under the API's own field names and with nothing converted.

        Raises:
            Problem: 400, 413 or 422.
        """
        raw = await self.raw(MAX_CONTROL_BYTES)
        try:
            return model.model_validate_json(raw, by_alias=True, by_name=False)
        except ValidationError as error:
            if any(item["type"] == "json_invalid" for item in error.errors(include_input=False, include_url=False)):
                detail = "request body is not valid JSON"
                raise bad_request(detail) from None
            raise unprocessable(_lines(error)) from None

    def own(self, kind: Kind, identifier: str) -> Record:
        """Return a resource of the caller.

        Raises:
            Problem: 404.
        """
        record = self.emulator.store.get(kind, identifier, self.account)
        if record is None:
            raise not_found(kind.value, identifier)
        return record

    def listed(self, kind: Kind) -> list[Doc]:
        """Return the caller's resources of a kind, as they were some time ago when lists are made stale."""
        store = self.emulator.store
        if self.fault is None or self.fault.kind is not FaultKind.STALE_LIST:
            return [self.shown(record.doc) for record in store.list(kind, self.account)]
        age_s = (self.fault.delay_ms or 0.0) / 1000
        then = self.emulator.clock.now() - age_s
        gone = store.removed(kind, self.account, before=then, within_s=age_s)
        return [self.shown(record.doc) for record in (*store.list(kind, self.account, before=then), *gone)]

    def shown(self, doc: Doc) -> Doc:
        """Return a resource as this emulator answers it."""
        return self.emulator.quirks.shown(doc)

    def query(self) -> dict[str, str]:
        """Return the query parameters; of one that is given twice the last counts."""
        return dict(self.request.query_params)

    def filter(self, model: type[ModelT]) -> ModelT:
        """Return the query parameters as a query model; unknown ones are ignored, as a web server does.

        Raises:
            Problem: 422.
        """
        kinds = _query_kinds(model)
        given = {name: _typed(text, kinds[name]) for name, text in self.query().items() if name in kinds}
        untimely = [name for name in given if kinds[name] == _TIME and not RFC3339.fullmatch(str(given[name]))]
        if untimely:
            raise unprocessable([f"{name}: must be an RFC 3339 time" for name in untimely])
        try:
            return model.model_validate_json(json.dumps(given), by_alias=True, by_name=False)
        except ValidationError as error:
            raise unprocessable(_lines(error)) from None

    async def wait(self, *bells: str, timeout_s: float) -> bool:
        """Wait for a bell; tell whether the caller is still there."""
        rung = self.emulator.bells.expect(*bells)  # before anything else can run, so that no ring is lost
        gone = asyncio.ensure_future(self.gone())
        try:
            await asyncio.wait({rung, gone}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            return not gone.done()
        finally:
            self.emulator.bells.forget(rung, *bells)
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)

    async def gone(self) -> None:
        """Wait until the caller has closed the connection."""
        with contextlib.suppress(ClientDisconnect):
            while (await self.request.receive())["type"] != "http.disconnect":
                pass


def answer(content: object, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Return a JSON answer."""
    return JSONResponse(content, status_code=status)


def created(content: object) -> Response:
    """Return a JSON answer with 201."""
    return JSONResponse(content, status_code=HTTPStatus.CREATED)


def no_content() -> Response:
    """Return an empty answer with 204."""
    return Response(status_code=HTTPStatus.NO_CONTENT)


def problem_response(problem: Problem) -> Response:
    """Return a problem document (RFC 9457)."""
    return JSONResponse(
        problem.document(), status_code=problem.status, headers=problem.headers, media_type=PROBLEM_TYPE
    )


def _lines(error: ValidationError) -> list[str]:
    lines = []
    for item in error.errors(include_input=False, include_url=False):
        # Tags of unions and of alternatives are steps of the validator, not of the document.
        steps = [str(step) for step in item["loc"] if not (isinstance(step, str) and (step.isupper() or "[" in step))]
        text = "unknown field" if item["type"] == "extra_forbidden" else item["msg"].removeprefix("Value error, ")
        lines.append(f"{'.'.join(steps)}: {text}" if steps else text)
    return lines


@cache
def _query_kinds(model: type[BaseModel]) -> dict[str, str]:
    """Return the JSON type of every parameter of a query model, or its format where it has one."""
    kinds: dict[str, str] = {}
    for name, schema in model.model_json_schema(by_alias=True)["properties"].items():
        options: list[dict[str, str]] = schema.get("anyOf", [schema])
        option: dict[str, str] = next((option for option in options if option.get("type", "null") != "null"), {})
        kinds[name] = option.get("format") or option.get("type", "string")
    return kinds


def _typed(text: str, kind: str) -> object:
    if kind == "array":
        return text.split(",")
    if kind == "integer" and text.removeprefix("-").isdecimal():
        return int(text)
    if kind == "boolean" and text in {"true", "false"}:
        return text == "true"
    return text
