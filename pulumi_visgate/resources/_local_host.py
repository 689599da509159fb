"""Calls to the service host of the local cloud; no Pulumi."""

from http import HTTPStatus
from typing import Any

import httpx

from pulumi_visgate.resources._session import Session
from pulumi_visgate.resources.errors import HostError


def host_get(session: Session, path: str) -> dict[str, Any] | None:
    """Return what the host says of a thing, or None when there is none.

    Raises:
        HostError: The host does not answer, or refuses.
    """
    answer = _call(session, "GET", path)
    return None if answer.status_code == HTTPStatus.NOT_FOUND else _json(answer)


def host_put(session: Session, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Make a thing be as the body says.

    Raises:
        HostError: The host does not answer, or refuses.
    """
    return _json(_call(session, "PUT", path, body))


def host_delete(session: Session, path: str) -> None:
    """Remove a thing; gone is done.

    Raises:
        HostError: The host does not answer, or refuses.
    """
    answer = _call(session, "DELETE", path)
    if answer.status_code != HTTPStatus.NOT_FOUND:
        _json(answer)


def _call(session: Session, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
    try:
        return session.host.request(method, path, json=body)
    except httpx.HTTPError as error:
        detail = f"The local cloud's service host does not answer ({type(error).__name__})."
        raise HostError(
            detail, hint="Run `visgate local status`, or `visgate local up` and `. .visgate/env`."
        ) from None


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        body = answer.json() if answer.content else {}
    except ValueError:
        body = {}
    if answer.is_success and isinstance(body, dict):
        return body
    said = body if isinstance(body, dict) else {}
    detail = said.get("detail") or f"The local cloud's service host answered {answer.status_code}."
    raise HostError(str(detail), hint=str(said.get("hint") or ""))
