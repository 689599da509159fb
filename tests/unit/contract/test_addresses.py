import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visgate_contract.addresses import EgressPolicy, address_of, is_public, may_dial, place_problem, text_problem

PUBLIC = EgressPolicy()
LOCAL = EgressPolicy(allow_loopback=True)


@pytest.mark.parametrize(
    "text", ["https://me:secret@example.com/", "https://a b/", "https://a\\b/", "https://" + "a" * 3000]
)
def test_text_that_two_parsers_could_read_differently_is_refused_without_repeating_it(text: str) -> None:
    problem = text_problem(text)
    assert problem is not None
    assert "secret" not in problem
    assert text_problem("https://example.com/a@b") is None


@pytest.mark.parametrize(
    ("scheme", "host", "port", "words"),
    [
        ("http", "example.com", 80, "https"),
        ("https", "example.com", 22, "port 22"),
        ("https", "10.0.0.1", 443, "not public"),
        ("https", "::1", 443, "not public"),
        ("https", "metadata", 443, "private network"),
        ("https", "db.internal", 443, "private network"),
        ("https", "1.2.3.0x4", 443, "unusual"),
        ("https", "exa_.-", 443, "not one"),
    ],
)
def test_what_is_refused_and_why(scheme: str, host: str, port: int, words: str) -> None:
    assert words in (place_problem(scheme=scheme, host=host, port=port, policy=PUBLIC) or "")


def test_this_machine_is_allowed_by_the_local_policy_alone() -> None:
    for host in ("localhost", "127.0.0.1", "::1"):
        assert place_problem(scheme="http", host=host, port=8080, policy=LOCAL) is None
        assert place_problem(scheme="http", host=host, port=8080, policy=PUBLIC) is not None
    assert place_problem(scheme="https", host="10.0.0.1", port=443, policy=LOCAL) is not None


@given(st.lists(st.ip_addresses(), max_size=4))
def test_a_name_is_dialled_only_when_all_of_its_addresses_are_public(
    found: list[ipaddress.IPv4Address | ipaddress.IPv6Address],
) -> None:
    assert may_dial("example.com", found, PUBLIC) == (bool(found) and all(is_public(one) for one in found))
    loopback = ipaddress.ip_address("127.0.0.1")
    assert not may_dial("example.com", [*found, loopback], LOCAL)
    assert may_dial("localhost", [loopback], LOCAL)


def test_a_host_is_an_address_only_when_it_is_written_as_one() -> None:
    assert address_of("example.com") is None
    assert address_of("1.1.1.1") == ipaddress.ip_address("1.1.1.1")
