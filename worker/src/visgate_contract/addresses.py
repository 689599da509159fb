"""Where a server may be sent by a URL that a caller gave: rules on its text and on addresses, without any I/O.

They follow OWASP's SSRF prevention sheet. Whoever dials resolves the name, has every address found public, and dials
one of just these addresses; a redirect is a new URL.
"""

import ipaddress
import re
from dataclasses import dataclass

MAX_URL_CHARACTERS = 2_048

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_PRIVATE_SUFFIXES = (".localhost", ".local", ".localdomain", ".internal", ".intranet", ".lan", ".home.arpa", ".onion")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_NAT64_LOCAL = ipaddress.ip_network("64:ff9b:1::/48")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")
_FORBIDDEN_CHARACTERS = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\\]")


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """Where requests may go.

    Args:
        allow_loopback: This machine, too, by http or https and on any port.
        ports: Ports of public servers.
    """

    allow_loopback: bool = False
    ports: tuple[int, ...] = (443, 8443)


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


def text_problem(url: str) -> str | None:
    """Return what is wrong with the text of a URL before it is parsed, or None; never repeats the URL."""
    if len(url) > MAX_URL_CHARACTERS:
        return f"has {len(url)} characters; {MAX_URL_CHARACTERS} are allowed."
    if _FORBIDDEN_CHARACTERS.search(url):
        return "has spaces, backslashes or control characters; encode them."
    if "@" in re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]:
        return "must not hold a user name or password."
    return None


def address_of(host: str) -> Address | None:
    """Return the address that a host is, or None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine by its text."""
    address = address_of(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def place_problem(*, scheme: str, host: str, port: int, policy: EgressPolicy) -> str | None:
    """Return why a parsed URL is against the policy, as far as its text tells, or None.

    Args:
        scheme: In lower case.
        host: In ASCII, lower case, without brackets and final dot.
        port: Explicit or the scheme's own.
        policy: What is allowed.
    """
    if policy.allow_loopback and is_loopback(host):
        return None
    if scheme != "https":
        return "must use https."
    if port not in policy.ports:
        return f"uses port {port}; allowed are {', '.join(map(str, policy.ports))}."
    address = address_of(host)
    if address is not None:
        return None if is_public(address) else "names an address that is not public."
    return _name_problem(host)


def _name_problem(host: str) -> str | None:
    labels = host.split(".")
    # A last label of digits makes a system resolver read the whole host as an IPv4 address, in octal or hex too.
    if _NUMERIC_LABEL.fullmatch(labels[-1]):
        return "spells an IP address in an unusual way."
    if len(labels) == 1 or host.endswith(_PRIVATE_SUFFIXES):
        return "names a host of a private network."
    if not all(_LABEL.fullmatch(label) for label in labels):
        return "has a host name that is not one."
    return None


def may_dial(host: str, addresses: list[Address], policy: EgressPolicy) -> bool:
    """Tell whether a host may be dialled that leads to these addresses: all of them have to be allowed."""
    if policy.allow_loopback and is_loopback(host):
        return bool(addresses) and all(address.is_loopback for address in addresses)
    return bool(addresses) and all(is_public(address) for address in addresses)
