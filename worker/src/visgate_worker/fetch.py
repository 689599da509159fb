"""Files from where callers say, fetched safely.

Callers choose the address and the bytes, so both are bounded: public https servers only, the checked address is the one
that is dialled, redirects are checked anew, and time and size have limits.
"""

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx

from visgate_contract.addresses import (
    Address,
    EgressPolicy,
    address_of,
    may_dial,
    place_problem,
    text_problem,
)

MAX_REDIRECTS = 3

Resolver = Callable[[str, int], list[str]]

_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class RefusedError(Exception):
    """A file that is not fetched, or not taken; whoever asked for it puts it into the caller's words.

    Args:
        problem: What is wrong, to follow the name of a field; never holds the URL.
        hint: What to do about it.
    """

    def __init__(self, problem: str, *, hint: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.hint = hint


def system_resolver(host: str, port: int) -> list[str]:
    """Resolve a name with the system's resolver, IPv4 and IPv6."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class Fetcher:
    """Fetches over https, or over http from this machine where the policy allows it.

    Args:
        policy: Where files may come from.
        resolver: Names to addresses.
        client: HTTP client; must not follow redirects or use a proxy, which would dial for us.
    """

    def __init__(
        self,
        policy: EgressPolicy | None = None,
        *,
        resolver: Resolver = system_resolver,
        client: httpx.Client | None = None,
    ) -> None:
        self._policy = policy or EgressPolicy()
        self._resolver = resolver
        self._client = client or httpx.Client(follow_redirects=False, trust_env=False)

    def fetch(
        self, url: str, take: Callable[[bytes], object], *, accept: str, max_bytes: int, deadline_s: float
    ) -> None:
        """Fetch a file in pieces.

        Args:
            url: Address.
            take: Is given each piece.
            accept: Media types for the request.
            max_bytes: Largest file.
            deadline_s: Seconds for all of it, redirects included.

        Raises:
            RefusedError: It may not be fetched, or cannot.
        """
        until = time.monotonic() + deadline_s
        for _ in range(MAX_REDIRECTS + 1):
            target, address = self._checked(url, until)
            try:
                location = self._get(target, address, until, take, accept=accept, max_bytes=max_bytes)
            except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
                raise _refused(problem=f"could not be fetched: {type(error).__name__}.") from None
            if location is None:
                return
            url = location
        raise _refused(problem=f"redirects more than {MAX_REDIRECTS} times.")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _checked(self, url: str, until: float) -> tuple[httpx.URL, Address]:
        problem = text_problem(url)
        if problem is not None:
            raise _refused(problem=problem)
        try:
            target = httpx.URL(url)
        except (httpx.InvalidURL, UnicodeError):
            raise _refused(problem="is not a URL.") from None
        if target.scheme not in {"https", "http"} or not target.host:
            raise _refused(problem="must be an https URL with a host.")
        host, port = _host(target), target.port or (443 if target.scheme == "https" else 80)
        problem = place_problem(scheme=target.scheme, host=host, port=port, policy=self._policy)
        if problem is not None:
            raise _refused(problem=problem)
        own = address_of(host)
        found = [own] if own is not None else self._resolved(host, port, until)
        if not may_dial(host, found, self._policy):
            raise _refused(problem="has a host name that leads to an address that is not public.")
        return target, found[0]

    def _resolved(self, host: str, port: int, until: float) -> list[Address]:
        # The system's resolver knows no deadline; a thread that is still waiting ends by itself.
        resolving = ThreadPoolExecutor(1, thread_name_prefix="resolver")
        try:
            texts = resolving.submit(self._resolver, host, port).result(max(0.0, until - time.monotonic()))
        except (OSError, UnicodeError, TimeoutError):
            raise _refused(problem="has a host name that does not resolve.") from None
        finally:
            resolving.shutdown(wait=False)
        found = [address_of(text.partition("%")[0]) for text in texts]
        return [address for address in found if address is not None]

    def _get(
        self,
        target: httpx.URL,
        address: Address,
        until: float,
        take: Callable[[bytes], object],
        *,
        accept: str,
        max_bytes: int,
    ) -> str | None:
        """Fetch from the checked address, under the host's name; returns where it redirects to, if it does."""
        literal = f"[{address}]" if address.version == 6 else str(address)  # noqa: PLR2004, the IP version
        request = self._client.build_request(
            "GET",
            target.copy_with(host=literal, fragment=None),
            headers={
                "host": target.netloc.decode("ascii"),
                "user-agent": "visgate-worker",
                "accept": accept,
                "accept-encoding": "identity",
            },
            timeout=max(0.1, min(10.0, until - time.monotonic())),
            extensions={"sni_hostname": _host(target)},
        )
        answer = self._client.send(request, stream=True)
        try:
            if answer.status_code in _REDIRECTS and "location" in answer.headers:
                return str(target.join(answer.headers["location"]))
            if answer.status_code != httpx.codes.OK:
                raise _refused(problem=f"could not be fetched: its server answered {answer.status_code}.")
            _read(answer, until, take, max_bytes=max_bytes)
            return None
        finally:
            answer.close()
            self._client.cookies.clear()


def _read(answer: httpx.Response, until: float, take: Callable[[bytes], object], *, max_bytes: int) -> None:
    size = 0
    for chunk in answer.iter_raw():
        size += len(chunk)
        if size > max_bytes:
            raise too_large(max_bytes)
        if time.monotonic() > until:
            raise TimeoutError
        take(chunk)


def too_large(max_bytes: int) -> RefusedError:
    """Return the error of a file that is larger than is taken."""
    return RefusedError(f"is larger than {max_bytes} bytes.", hint="Send a smaller file.")


def _refused(*, problem: str) -> RefusedError:
    return RefusedError(problem, hint="Give a public https URL.")


def _host(url: httpx.URL) -> str:
    return url.raw_host.decode("ascii").lower().strip("[]").removesuffix(".")
