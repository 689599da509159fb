import ipaddress
import ssl
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_visgate.gateway import egress
from pulumi_visgate.gateway.egress import EgressPolicy
from pulumi_visgate.gateway.problems import InvalidField

PUBLIC = EgressPolicy()
LOCAL = EgressPolicy(allow_loopback=True)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com/hook",
        "//example.com/hook",
        "http://example.com/hook",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "javascript:alert(1)",
        "https://",
        "https:///path",
        "https://user@example.com/",
        "https://user:secret@example.com/",
        "https://example.com@127.0.0.1/",
        "https://@example.com/",
        "https://example.com:22/",
        "https://example.com:80/",
        "https://example.com:99999/",
        "https://example.com/#part",
        "https://example.com/\r\nX-Injected: 1",
        "https://example.com/ space",
        "https://example.com\\@127.0.0.1/",
        "https://localhost/",
        "https://localhost./",
        "https://LOCALHOST/",
        "https://api.localhost/",
        "https://intranet/",
        "https://printer.local/",
        "https://metadata.google.internal/",
        "https://router.home.arpa/",
        "https://127.0.0.1/",
        "https://127.0.0.1./",
        "https://127.1/",
        "https://127.0.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.0.0.1/",
        "https://0177.0.0.1/",
        "https://017700000001/",
        "https://1.2.3.0x4/",
        "https://0/",
        "https://0.0.0.0/",
        "https://10.0.0.1/",
        "https://172.16.5.4/",
        "https://192.168.1.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://100.64.0.1/",
        "https://198.18.0.1/",
        "https://192.0.2.1/",
        "https://224.0.0.1/",
        "https://255.255.255.255/",
        "https://240.0.0.1/",
        "https://[::1]/",
        "https://[::]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:7f00:1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[fe80::1]/",
        "https://[fc00::1]/",
        "https://[fd00:ec2::254]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[64:ff9b:1::1]/",
        "https://[2002:7f00:1::]/",
        "https://[2001:0:7f00:1::]/",
        "https://[ff02::1]/",
        "https://[2001:db8::1]/",
        "https://127。0。0。1/",
        "https://①②⑦.0.0.1/",
        "https://-bad-.example.com/",
        "https://exa mple.com/",
        "https://example..com/",
        "https://" + "a" * 3000 + ".com/",
    ],
)
def test_what_is_refused(url: str) -> None:
    with pytest.raises(InvalidField) as caught:
        egress.check(url, PUBLIC)
    error = caught.value
    assert (error.field, error.code) == ("webhook_url", "webhook_url_refused")
    assert error.hint
    assert "secret" not in str(error)


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("https://example.com/hook?a=b", "example.com", 443),
        ("https://EXAMPLE.com:8443/", "example.com", 8443),
        ("https://8.8.8.8/", "8.8.8.8", 443),
        ("https://[2606:4700:4700::1111]/", "2606:4700:4700::1111", 443),
        ("https://bücher.example/", "xn--bcher-kva.example", 443),
    ],
)
def test_what_is_allowed(url: str, host: str, port: int) -> None:
    target = egress.check(url, PUBLIC)
    assert (target.host, target.port) == (host, port)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9000/", "http://localhost:9000/x", "http://[::1]:1/", "https://127.3.2.1/"]
)
def test_loopback_by_opt_in_only(url: str) -> None:
    assert egress.check(url, LOCAL)
    with pytest.raises(InvalidField):
        egress.check(url, PUBLIC)


@pytest.mark.parametrize(
    "url", ["http://example.com/", "https://10.0.0.1/", "https://169.254.169.254/", "http://0.0.0.0/"]
)
def test_the_opt_in_is_for_loopback_alone(url: str) -> None:
    with pytest.raises(InvalidField):
        egress.check(url, LOCAL)


@given(
    st.one_of(st.text(max_size=200), st.text(max_size=80).map("https://{}".format), st.from_regex(r"https?://[^/]*"))
)
def test_any_text_is_refused_or_leads_to_a_public_host(text: str) -> None:
    try:
        target = egress.check(text, PUBLIC)
    except InvalidField:
        return
    assert target.url.scheme == "https"
    assert target.address is None or target.address.is_global
    assert target.address is not None or "." in target.host


@given(st.ip_addresses())
def test_public_never_contradicts_the_standard_library(address: Any) -> None:
    if egress.is_public(address):
        assert address.is_global
        assert not address.is_loopback
        assert not address.is_link_local
        assert not address.is_multicast


def resolver(*answers: list[str]) -> egress.Resolver:
    """Answer each question with the next list, and then the last one again."""
    left = list(answers)

    async def resolve(_: str, __: int) -> list[str]:
        return left.pop(0) if len(left) > 1 else left[0]

    return resolve


@pytest.mark.parametrize(
    "found",
    [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["8.8.8.8", "::1"], ["169.254.169.254"], ["fe80::1%eth0"], []],
)
async def test_one_address_that_is_not_public_is_too_many(found: list[str]) -> None:
    target = egress.check("https://example.com/", PUBLIC)
    with pytest.raises(InvalidField):
        await egress.resolve(target, PUBLIC, resolver(found))


async def test_a_name_that_does_not_exist_is_refused() -> None:
    async def fails(_: str, __: int) -> list[str]:
        raise OSError

    with pytest.raises(InvalidField, match="does not resolve"):
        await egress.resolve(egress.check("https://example.com/", PUBLIC), PUBLIC, fails)


async def test_localhost_must_lead_to_loopback() -> None:
    target = egress.check("http://localhost:9/", LOCAL)
    assert await egress.resolve(target, LOCAL, resolver(["127.0.0.1", "::1"])) == ipaddress.ip_address("127.0.0.1")
    with pytest.raises(InvalidField):
        await egress.resolve(target, LOCAL, resolver(["8.8.8.8"]))


async def test_the_checked_address_is_dialled_even_if_the_name_moves() -> None:
    seen: list[httpx.Request] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        headers = {"Location": "https://169.254.169.254/", "Set-Cookie": "a=b"}
        return httpx.Response(302, headers=headers, stream=httpx.ByteStream(b"gone"))

    moving = resolver(["8.8.8.8"], ["127.0.0.1"])
    target = egress.check("https://hooks.example.com:8443/in?x=1", PUBLIC)
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer), follow_redirects=False) as client:
        address = await egress.resolve(target, PUBLIC, moving)
        given = await egress.post(client, target, address, body=b"{}", headers={"webhook-id": "msg_1"})
        assert dict(client.cookies) == {}
    (request,) = seen
    assert given.status == 302
    assert str(request.url) == "https://8.8.8.8:8443/in?x=1"
    assert request.headers["host"] == "hooks.example.com:8443"
    assert request.extensions["sni_hostname"] == "hooks.example.com"
    assert request.headers["webhook-id"] == "msg_1"


async def test_an_endless_answer_is_not_read() -> None:
    read = 0

    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            nonlocal read
            while True:
                read += 1
                yield b"x" * 1024

    transport = httpx.MockTransport(lambda _: httpx.Response(200, stream=Endless()))
    async with httpx.AsyncClient(transport=transport) as client:
        target = egress.check("https://8.8.8.8/", PUBLIC)
        assert target.address is not None
        assert await egress.post(client, target, target.address, body=b"{}", headers={}) == egress.Answer(200)
    assert read <= 6


async def test_the_delivery_client_follows_nothing_and_trusts_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    async with egress.new_client() as client:
        assert client.follow_redirects is False
        assert client.trust_env is False
        context = client._transport._pool._ssl_context  # type: ignore[attr-defined]
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
