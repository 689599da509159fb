"""Errors of the command line.

VisgateError
├── GatewayError       the gateway refused, or cannot be reached
├── JobFailedError     the job ended without a picture
└── UsageError         an option or a variable is missing or wrong
"""

from pulumi_visgate.errors import VisgateError


class GatewayError(VisgateError):
    """The gateway refused, or cannot be reached.

    Args:
        status: HTTP status; None when there was no answer.
    """

    def __init__(self, detail: str, *, hint: str = "", status: int | None = None) -> None:
        super().__init__(detail, hint=hint)
        self.status = status

    @property
    def may_pass(self) -> bool:
        """Trying again may help."""
        return self.status is None or self.status == 429 or self.status >= 500  # noqa: PLR2004 - HTTP's own numbers


class JobFailedError(VisgateError):
    """The job ended without a picture."""


class UsageError(VisgateError):
    """An option or a variable is missing or wrong."""
