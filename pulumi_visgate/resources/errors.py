"""What can go wrong in a resource.

ResourceError        refused by a rule of this library, not by an API
├── ConfigError      a setting of the provider is missing or wrong
├── NameTaken        something of that name is there, and is not known to be ours
├── InUse            cannot be removed while others use it
├── StoreError       the S3-compatible store refused, or does not support it
├── RolloutFailed    a new release did not reach the workers, or does not work there
├── BuildFailed      an image could not be built or pushed
├── RegistryError    the container registry refused, or does not answer
└── HostError        the service host of the local cloud refused, or does not answer

HubError             the model hub refused, or does not answer (pulumi_visgate.hub.errors)
"""

# ruff: noqa: N818  # named after what they say; the tree above shows that they are errors

from pulumi_visgate.hub.errors import HubError
from visgate_contract.errors import ErrorCode, VisgateError

__all__ = [
    "ConfigError",
    "HostError",
    "HubError",
    "InUse",
    "NameTaken",
    "ResourceError",
    "RolloutFailed",
    "StoreError",
]


class ResourceError(VisgateError):
    """Root of every error of the resources."""

    code = ErrorCode.INVALID_REQUEST


class ConfigError(ResourceError):
    """A setting of the provider is missing or wrong."""


class NameTaken(ResourceError):
    """Something of that name exists and is not known to be ours."""


class InUse(ResourceError):
    """Cannot be removed while others use it."""


class StoreError(ResourceError):
    """The S3-compatible store refused, or does not answer.

    Args:
        s3_code: S3's code of the refusal, such as `NoSuchBucket`.
    """

    def __init__(self, detail: str, *, hint: str = "", s3_code: str = "") -> None:
        super().__init__(detail, hint=hint)
        self.s3_code = s3_code

    @property
    def gone(self) -> bool:
        """The thing is not there."""
        return self.s3_code in {"404", "NoSuchBucket", "NotFound", "NoSuchKey"}

    @property
    def unsupported(self) -> bool:
        """The store cannot do this at all."""
        return self.s3_code in {"NotImplemented", "501", "MethodNotAllowed", "405", "AccessControlListNotSupported"}

    @property
    def passing(self) -> bool:
        """The store, or a gateway before it, may say something else in a moment."""
        codes = {"InternalError", "SlowDown", "ServiceUnavailable", "RequestTimeout", "GatewayTimeout"}
        return self.s3_code in codes or (self.s3_code.startswith("5") and not self.unsupported)

    @property
    def unclear(self) -> bool:
        """What was asked for may have happened, or may still."""
        return self.passing or not self.s3_code


class RolloutFailed(ResourceError):
    """A new release did not reach the workers, or does not work there."""


class BuildFailed(ResourceError):
    """An image could not be built or pushed."""


class RegistryError(ResourceError):
    """The container registry refused, or does not answer.

    Args:
        status: HTTP status of its answer; None when there was none.
    """

    def __init__(self, detail: str, *, hint: str = "", status: int | None = None) -> None:
        super().__init__(detail, hint=hint)
        self.status = status


class HostError(ResourceError):
    """The service host of the local cloud refused, or does not answer."""
