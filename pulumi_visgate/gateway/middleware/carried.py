"""What a request carries that nothing may show: read from its headers and address before anything else looks at it."""

from collections.abc import Iterator
from urllib.parse import parse_qsl

from starlette.types import Scope

from pulumi_visgate.gateway.services import tickets

FAL_WEBHOOK = "fal_webhook"
KEY_SCHEMES = frozenset({"bearer", "key"})
_READ = "visgate_credential"
_SECRET_HEADERS = frozenset({b"x-hf-token"})


def credential(scope: Scope) -> tuple[str, str] | None:
    """Return scheme, in lower case, and value of the Authorization header, or None; read once for each request."""
    if _READ in scope:
        found: tuple[str, str] | None = scope[_READ]
        return found
    header = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
    scheme, _, value = header.partition(" ")
    scope[_READ] = found = (scheme.lower(), value.strip()) if value.strip() else None
    return found


def key(scope: Scope) -> str | None:
    """Return the Runpod key in the Authorization header: a bearer token, or a `Key` as fal's clients send it."""
    found = credential(scope)
    return found[1] if found is not None and found[0] in KEY_SCHEMES else None


def secrets(scope: Scope) -> Iterator[str]:
    """Yield whatever of a request has to be masked: credentials, tokens in its path, receivers in its query."""
    found = credential(scope)
    if found is not None:
        yield found[1]
    for name, value in scope["headers"]:
        if name in _SECRET_HEADERS:
            yield value.decode("latin-1")
    path: str = scope["path"]
    if path.startswith(tickets.PATH):
        yield path.removeprefix(tickets.PATH)
    # A receiver's URL can hold a password of its own; the access log shows the query as it came.
    for part in scope["query_string"].decode("latin-1").split("&"):
        if part.startswith(f"{FAL_WEBHOOK}="):
            yield part.partition("=")[2]
            yield from (value for _, value in parse_qsl(part))
