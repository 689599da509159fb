"""Which address a request has: the connection's own, or what trusted proxies say of it."""

import ipaddress
from typing import Any

import pytest

from pulumi_visgate.gateway.middleware.client_address import ClientAddress, address_of

PROXIES = tuple(ipaddress.ip_network(text) for text in ("10.0.0.0/8", "fd00::/8"))


async def seen(peer: str, *headers: str, name: str = "X-Forwarded-For") -> str:
    """The address that the application sees behind a connection from `peer`."""
    found: list[str] = []

    async def application(scope: Any, *_: Any) -> None:
        found.append(scope["client"][0])

    scope = {
        "type": "http",
        "client": (peer, 4711),
        "headers": [(name.lower().encode(), text.encode("latin-1")) for text in headers],
    }
    middleware = ClientAddress(application, trusted=PROXIES, header=name)
    await middleware(scope, None, None)  # type: ignore[arg-type]  # nothing is received or sent
    (address,) = found
    return address


@pytest.mark.parametrize(
    ("peer", "headers", "expected"),
    [
        ("203.0.113.9", (), "203.0.113.9"),
        ("203.0.113.9", ("198.51.100.1",), "203.0.113.9"),  # anyone can send the header
        ("10.0.0.1", (), "10.0.0.1"),
        ("10.0.0.1", ("198.51.100.1",), "198.51.100.1"),
        ("10.0.0.1", ("1.1.1.1, 198.51.100.1",), "198.51.100.1"),  # what was there before is the caller's own word
        ("10.0.0.1", ("1.1.1.1, 198.51.100.1, 10.0.0.2",), "198.51.100.1"),
        ("10.0.0.1", ("1.1.1.1", "198.51.100.1", "10.0.0.2"), "198.51.100.1"),  # sent in three lines
        ("10.0.0.1", ("10.0.0.3,10.0.0.2",), "10.0.0.3"),  # the proxies themselves
        ("10.0.0.1", ("198.51.100.1:5000",), "198.51.100.1"),
        ("10.0.0.1", ("2001:db8::1",), "2001:db8::1"),
        ("10.0.0.1", ("[2001:db8::1]:5000",), "2001:db8::1"),
        ("10.0.0.1", ("[2001:db8::1]",), "2001:db8::1"),
        ("10.0.0.1", ("::ffff:198.51.100.1",), "198.51.100.1"),
        ("::ffff:10.0.0.1", ("198.51.100.1",), "198.51.100.1"),
        ("fd00::1", ("198.51.100.1",), "198.51.100.1"),
        ("10.0.0.1", ("198.51.100.1, nonsense",), "10.0.0.1"),  # nobody known has said anything
        ("10.0.0.1", ("198.51.100.1, nonsense, 10.0.0.2",), "10.0.0.2"),
        ("10.0.0.1", ("",), "10.0.0.1"),
        ("10.0.0.1", (", ,",), "10.0.0.1"),
        ("10.0.0.1", ("1.1.1.1," * 5_000 + "10.0.0.2",), "1.1.1.1"),
        ("10.0.0.1", ("198.51.100.1," + "10.0.0.2," * 5_000 + "10.0.0.2",), "10.0.0.2"),  # nobody has so many proxies
        ("testclient", ("198.51.100.1",), "testclient"),
    ],
)
async def test_the_last_address_that_is_no_proxy_counts(peer: str, headers: tuple[str, ...], expected: str) -> None:
    assert await seen(peer, *headers) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (("for=198.51.100.1",), "198.51.100.1"),
        (("For=198.51.100.1;proto=https;by=10.0.0.1",), "198.51.100.1"),
        (('proto=https;for="198.51.100.1:5000"',), "198.51.100.1"),
        (('for="[2001:db8::1]:5000"',), "2001:db8::1"),
        (('for=1.1.1.1, for=198.51.100.1;host="a,b;for=2.2.2.2", for=10.0.0.2',), "198.51.100.1"),
        (("for=1.1.1.1", "for=198.51.100.1", "for=10.0.0.2"), "198.51.100.1"),
        (("for=198.51.100.1, for=unknown",), "10.0.0.1"),
        (("for=198.51.100.1, for=_hidden",), "10.0.0.1"),
        (("for=198.51.100.1, proto=https",), "10.0.0.1"),  # this proxy does not say
        (('for="198.51.100.1',), "10.0.0.1"),
        (("for=198.51.100.1 for=1.1.1.1",), "10.0.0.1"),
        (("198.51.100.1",), "10.0.0.1"),
        (("",), "10.0.0.1"),
    ],
)
async def test_forwarded_is_read_as_rfc_7239_says(headers: tuple[str, ...], expected: str) -> None:
    assert await seen("10.0.0.1", *headers, name="Forwarded") == expected


async def test_only_the_header_that_the_proxies_set_is_read() -> None:
    found: list[str] = []

    async def application(scope: Any, *_: Any) -> None:
        found.append(scope["client"][0])

    scope = {"type": "http", "client": ("10.0.0.1", 1), "headers": [(b"x-forwarded-for", b"1.1.1.1")]}
    middleware = ClientAddress(application, trusted=PROXIES, header="CloudFront-Viewer-Address")
    await middleware(scope, None, None)  # type: ignore[arg-type]  # nothing is received or sent
    scope["headers"] = [(b"x-forwarded-for", b"1.1.1.1"), (b"cloudfront-viewer-address", b"198.51.100.1:46532")]
    await middleware(scope, None, None)  # type: ignore[arg-type]  # as above
    assert found == ["10.0.0.1", "198.51.100.1"]


def test_an_address_that_is_none_is_none() -> None:
    assert [address_of(text) for text in ("", "a", "1.2.3", "1.2.3.4.5", "[::1", "300.1.1.1", ":80")] == [None] * 7


async def test_limits_hold_for_the_address_that_proxies_tell(serve: Any) -> None:
    behind: dict[str, Any] = {"trusted_proxies": ("127.0.0.0/8",), "rate_per_ip": "2/hour burst 2"}
    async with serve(**behind) as client:
        first = [await client.get("/v1/models", headers={"X-Forwarded-For": "198.51.100.1"}) for _ in range(3)]
        forged = await client.get("/v1/models", headers={"X-Forwarded-For": "1.1.1.1, 198.51.100.1"})
        other = await client.get("/v1/models", headers={"X-Forwarded-For": "198.51.100.2"})
    assert [answer.status_code for answer in first] == [200, 200, 429]
    assert (forged.status_code, other.status_code) == (429, 200)


async def test_without_a_trusted_proxy_the_header_says_nothing(serve: Any) -> None:
    async with serve(rate_per_ip="2/hour burst 2") as client:
        answers = [await client.get("/v1/models", headers={"X-Forwarded-For": f"198.51.100.{n}"}) for n in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
