"""How a resource tells people something while it works; no Pulumi."""

from typing import Protocol


class Report(Protocol):
    """Where messages of the resources go; nobody waits for them and none of them can fail."""

    def warn(self, text: str) -> None:
        """Say what may go wrong; the same text is said once."""

    def note(self, text: str) -> None:
        """Say what stays in the log."""

    def status(self, text: str) -> None:
        """Say what is going on at the moment; the next status replaces it."""


class Silent:
    """Says nothing."""

    def warn(self, text: str) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""

    def status(self, text: str) -> None:
        """Say nothing."""
