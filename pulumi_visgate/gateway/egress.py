"""Outbound requests to addresses that callers name, by the contract's rules; a dial that cannot be redirected.

One parser for check and dial, every resolved address must be public, the checked address is the one that is dialled,
and a redirect is a failure.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import httpx

from pulumi_visgate.gateway.problems import InvalidField
from visgate_contract.addresses import (
    MAX_URL_CHARACTERS,
    Address,
    EgressPolicy,
    address_of,
    is_public,
    may_dial,
    place_problem,
    text_problem,
)
from visgate_contract.errors import ErrorCode

MAX_ANSWER_BYTES = 4_096
FIELD = "webhook_url"

__all__ = [
    "MAX_URL_CHARACTERS",
    "Address",
    "Answer",
    "EgressPolicy",
    "check",
    "is_public",
    "new_client",
    "post",
    "resolve",
]

Resolver = Callable[[str, int], Awaitable[list[str]]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver has answered.

    Args:
        status: HTTP status.
        retry_after: Value of `Retry-After`, if any.
    """

    status: int
    retry_after: str | None = None


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


def check(url: str, policy: EgressPolicy) -> Target:
    """Check everything about a URL that its text tells.

    Raises:
        InvalidField: It is against the policy; the message names the rule and never repeats the URL.
    """
    problem = text_problem(url)
    if problem is not None:
        raise refused(detail=problem)
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, UnicodeError):
        raise refused(detail="is not a URL.") from None
    if parsed.scheme not in {"https", "http"} or not parsed.host:
        raise refused(detail="must be an https URL with a host.")
    if parsed.fragment:
        raise refused(detail="must not hold a fragment (#).")
    target = _target(parsed)
    problem = place_problem(scheme=parsed.scheme, host=target.host, port=target.port, policy=policy)
    if problem is not None:
        raise refused(detail=problem)
    return target


def _target(url: httpx.URL) -> Target:
    host = url.raw_host.decode("ascii").lower().strip("[]").removesuffix(".")
    return Target(url, host, url.port or (443 if url.scheme == "https" else 80), address_of(host))


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
    if not may_dial(target.host, found, policy):
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
) -> Answer:
    """Send one POST to the checked address, under the host's name for TLS and HTTP, and return the answer.

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
    return Answer(answer.status_code, answer.headers.get("retry-after"))
