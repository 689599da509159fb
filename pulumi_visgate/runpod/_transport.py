"""What the asynchronous client needs of an HTTP library: send a request, read its answer in parts, say what failed."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Protocol

from pulumi_visgate.runpod._exchange import Fault, Send


class Broken(Exception):  # noqa: N818, it carries a fault to whoever turns it into an error
    """A request or its answer came to nothing.

    Args:
        fault: What happened, without secrets.
    """

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.reason)
        self.fault = fault


class Answer(Protocol):
    """An answer whose body is still to come."""

    @property
    @abstractmethod
    def status(self) -> int:
        """The status code."""

    @property
    @abstractmethod
    def headers(self) -> Mapping[str, str]:
        """The headers, names in lower case; one that came several times is joined by commas."""

    @abstractmethod
    async def read(self) -> bytes:
        """Return the next part of the body, decompressed; nothing at its end.

        Raises:
            Broken: It ended too early.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Give the connection back; one with something left to read is closed."""


class Transport(Protocol):
    """Sends requests, each exactly once, over connections that it keeps.

    It follows no redirect, keeps no cookie and repeats nothing; the client has the deadlines and decides the rest.
    """

    @abstractmethod
    async def send(self, step: Send, *, silence_s: float | None = None) -> Answer:
        """Send a request and return its answer once the headers are here.

        Args:
            step: The request.
            silence_s: Longest time in seconds between two parts of the body; the caller's own deadline when None.

        Raises:
            Broken: There is no answer.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Close the connections."""
