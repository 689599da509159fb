"""What can go wrong with a model hub.

HubError             it refused, or has something else than it said
├── Gated            the model's terms were not accepted with this token, or there is no token
├── TokenRefused     it does not accept the token at all
├── NotOnHub         there is no such model, or it is private
├── NoSuchRevision   the model has no such branch, tag or commit
└── Passing          it did not answer, or said that it may the next time
"""

# ruff: noqa: N818  # named after what they say; the tree above shows that they are errors

from visgate_contract.errors import ErrorCode, VisgateError


class HubError(VisgateError):
    """The model hub refused, does not answer, or has something else than it said."""

    code = ErrorCode.INVALID_REQUEST


class Gated(HubError):
    """The model's files are for those who have accepted its terms."""

    code = ErrorCode.MODEL_GATED


class TokenRefused(HubError):
    """The token is not one of the hub's, or was revoked."""


class NotOnHub(HubError):
    """There is no such model, or it is private and the token does not open it."""

    code = ErrorCode.MODEL_NOT_FOUND


class NoSuchRevision(HubError):
    """The model has no such branch, tag or commit."""

    code = ErrorCode.MODEL_NOT_FOUND


class Passing(HubError):
    """What was asked may be answered the next time.

    Args:
        detail: What happened.
        after_s: How long the hub asks to wait, in seconds, if it says so.
    """

    code = ErrorCode.HUB_UNREACHABLE

    def __init__(self, detail: str, *, after_s: float | None = None) -> None:
        super().__init__(detail)
        self.after_s = after_s
