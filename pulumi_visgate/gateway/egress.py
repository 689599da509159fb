"""Outbound requests to addresses that callers name: what is allowed, and a dial that cannot be redirected.

The rules follow OWASP's SSRF prevention sheet: one parser for check and dial, every resolved address must be public,
the checked address is the one that is dialled, and a redirect is a failure.
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import httpx

from pulumi_visgate.gateway.problems import InvalidField
from visgate_contract.errors import ErrorCode

MAX_URL_CHARACTERS = 2_048
MAX_ANSWER_BYTES = 4_096
FIELD = "webhook_url"

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Awaitable[list[str]]]

_PRIVATE_SUFFIXES = (".localhost", ".local", ".localdomain", ".internal", ".intranet", ".lan", ".home.arpa", ".onion")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_NAT64_LOCAL = ipaddress.ip_network("64:ff9b:1::/48")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
_FORBIDDEN_CHARACTERS = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\\]")


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """Where webhooks may go.

    Args:
        allow_loopback: This machine, too, by http or https and on any port.
        ports: Ports of public receivers.
    """

    allow_loopback: bool = False
    ports: tuple[int, ...] = (443, 8443)


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that follows the policy as far as its text tells.

    Args:
        url: Parsed once; checked and dialled from the same parse.
        host: In ASCII, lower case, without brackets.
        port: Explicit or the scheme's own.
        address: The address, for a URL that names one.
    """

    url: httpx.URL
    host: str
    port: int
    address: Address | None


def refused(*, detail: str) -> InvalidField:
    """Return the error of a webhook URL that is against the policy."""
    hint = "Give a public https URL, such as https://example.com/webhooks."
    return InvalidField(field=FIELD, detail=detail, hint=hint, code=ErrorCode.WEBHOOK_URL_REFUSED)


def is_public(address: Address) -> bool:
    """Tell whether an address, and any IPv4 address inside it, is globally routable."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64_LOCAL:
            return False
        embedded = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            embedded = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if address.teredo is not None:
            return False
        if embedded is not None:
            return is_public(embedded)
    return address.is_global and not address.is_multicast and not address.is_reserved


def check(url: str, policy: EgressPolicy) -> Target:
    """Check everything about a URL that its text tells.

    Raises:
        InvalidField: It is against the policy; the message names the rule and never repeats the URL.
    """
    if len(url) > MAX_URL_CHARACTERS:
        raise refused(detail=f"has {len(url)} characters; {MAX_URL_CHARACTERS} are allowed.")
    if _FORBIDDEN_CHARACTERS.search(url):
        raise refused(detail="has spaces, backslashes or control characters; encode them.")
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError):
        raise refused(detail="is not a URL.") from None
    if parsed.scheme not in {"https", "http"} or not parsed.host:
        raise refused(detail="must be an https URL with a host.")
    if "@" in re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]:
        raise refused(detail="must not hold a user name or password.")
    if parsed.fragment:
        raise refused(detail="must not hold a fragment (#).")
    target = _target(parsed)
    if policy.allow_loopback and _is_loopback(target):
        return target
    _check_public(target, policy)
    return target


def _target(url: httpx.URL) -> Target:
    host = url.raw_host.decode("ascii").lower().strip("[]").removesuffix(".")
    try:
        address: Address | None = ipaddress.ip_address(host)
    except ValueError:
        address = None
    return Target(url, host, url.port or (443 if url.scheme == "https" else 80), address)


def _is_loopback(target: Target) -> bool:
    return target.host == "localhost" or (target.address is not None and target.address.is_loopback)


def _check_public(target: Target, policy: EgressPolicy) -> None:
    if target.url.scheme != "https":
        raise refused(detail="must use https.")
    if target.port not in policy.ports:
        raise refused(detail=f"uses port {target.port}; allowed are {', '.join(map(str, policy.ports))}.")
    if target.address is not None:
        if not is_public(target.address):
            raise refused(detail="names an address that is not public.")
        return
    labels = target.host.split(".")
    # A last label of digits makes a system resolver read the whole host as an IPv4 address, in octal or hex too.
    if _NUMERIC_LABEL.fullmatch(labels[-1]):
        raise refused(detail="spells an IP address in an unusual way.")
    if len(labels) == 1 or target.host.endswith(_PRIVATE_SUFFIXES):
        raise refused(detail="names a host of a private network.")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise refused(detail="has a host name that is not one.")


async def system_resolver(host: str, port: int) -> list[str]:
    """Resolve a name with the system's resolver, IPv4 and IPv6."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


async def resolve(target: Target, policy: EgressPolicy, resolver: Resolver = system_resolver) -> Address:
    """Return the address to dial, after all addresses of the name were found public.

    Raises:
        InvalidField: The name does not exist, or one of its addresses is not public.
    """
    if target.address is not None:
        return target.address
    try:
        found = [ipaddress.ip_address(text.partition("%")[0]) for text in await resolver(target.host, target.port)]
    except (OSError, UnicodeError):
        raise refused(detail="has a host name that does not resolve.") from None
    if not found:
        raise refused(detail="has a host name that does not resolve.")
    if policy.allow_loopback and _is_loopback(target):
        allowed = all(address.is_loopback for address in found)
    else:
        allowed = all(is_public(address) for address in found)
    if not allowed:
        raise refused(detail="has a host name that leads to an address that is not public.")
    return found[0]


def new_client(*, timeout_s: float = 5.0) -> httpx.AsyncClient:
    """Return a client for deliveries: no proxy, no redirects, no cookies, few connections kept.

    Args:
        timeout_s: Longest wait for each of connect, write and read.
    """
    return httpx.AsyncClient(
        timeout=timeout_s,
        follow_redirects=False,
        trust_env=False,
        limits=httpx.Limits(max_connections=200, max_keepalive_connections=20, keepalive_expiry=10.0),
    )


async def post(
    client: httpx.AsyncClient, target: Target, address: Address, *, body: bytes, headers: Mapping[str, str]
) -> int:
    """Send one POST to the checked address, under the host's name for TLS and HTTP, and return the status.

    Raises:
        httpx.HTTPError: The receiver could not be reached or did not answer.
    """
    literal = f"[{address}]" if address.version == 6 else str(address)  # noqa: PLR2004, the IP version
    pinned = target.url.copy_with(host=literal)
    named = {
        **headers,
        "host": target.url.netloc.decode("ascii"),
        "user-agent": "visgate-gateway",
        "accept-encoding": "identity",
    }
    request = client.build_request(
        "POST", pinned, content=body, headers=named, extensions={"sni_hostname": target.host}
    )
    answer = await client.send(request, stream=True)
    try:
        read = 0
        async for chunk in answer.aiter_raw():
            read += len(chunk)
            if read > MAX_ANSWER_BYTES:
                break
    finally:
        await answer.aclose()
        client.cookies.clear()
    return answer.status_code
