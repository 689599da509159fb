"""Whose address a request has: that of the connection, or what proxies of one's own say of it.

Every proxy appends the address that it was called from, and a caller can send such a header, too. So the header is read
from its end, as long as the addresses are those of trusted proxies; the first one that is not is the caller's.
"""

import ipaddress
import re
from collections.abc import Iterator, Sequence

from starlette.types import ASGIApp, Receive, Scope, Send

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

FORWARDED = b"forwarded"
MAX_HOPS = 32
# One parameter of RFC 7239 §4, with what separates it from the one before.
_PARAMETER = re.compile(r'\s*([;,]?)\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)=("(?:[^"\\]|\\.)*"|[^\s;,"]*)\s*')


class ClientAddress:
    """Puts the caller's address into the request, where others find that of the connection.

    Args:
        app: What is wrapped.
        trusted: Networks of proxies whose word is taken.
        header: The header they set: `X-Forwarded-For` or one of its kind, or `Forwarded` (RFC 7239).
    """

    def __init__(self, app: ASGIApp, *, trusted: Sequence[Network], header: str) -> None:
        self._app = app
        self._trusted = tuple(trusted)
        self._header = header.lower().encode("latin-1")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope.get("client"):
            scope = {**scope, "client": (self._caller(scope), 0)}
        await self._app(scope, receive, send)

    def _caller(self, scope: Scope) -> str:
        peer: str = scope["client"][0]
        known = address_of(peer)
        if known is None or not self._trusts(known):
            return peer
        said = b",".join(value for name, value in scope["headers"] if name == self._header).decode("latin-1")
        for hop in _from_the_end(said, is_forwarded=self._header == FORWARDED):
            found = address_of(hop)
            if found is None:
                break  # a name, or nonsense; who wrote it is the last that is known
            known = found
            if not self._trusts(known):
                break
        return str(known)

    def _trusts(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self._trusted)


def _from_the_end(said: str, *, is_forwarded: bool) -> Iterator[str]:
    hops = _forwarded(said) if is_forwarded else said.split(",") if said else []
    yield from hops[: -MAX_HOPS - 1 : -1]


def _forwarded(said: str) -> list[str]:
    """Return the `for` parameters of a `Forwarded` header, empty where a hop has none; nothing if it is broken."""
    hops: list[str] = [""]
    at = 0
    while at < len(said):
        found = _PARAMETER.match(said, at)
        if found is None or (at > 0 and not found[1]):
            return []
        separator, name, value = found.groups()
        if separator == ",":
            hops.append("")
        if name.lower() == "for":
            hops[-1] = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
        at = found.end()
    return hops


def address_of(text: str) -> Address | None:
    """Return the address in a text that may hold a port, too, or None if there is none."""
    text = text.strip()
    bracketed = re.fullmatch(r"\[([^\]]+)\](?::\d{1,5})?", text)
    for candidate in (bracketed[1] if bracketed else text, text.rpartition(":")[0]):
        try:
            found = ipaddress.ip_address(candidate.partition("%")[0])
        except ValueError:
            continue
        mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
        return mapped or found
    return None
