"""Error codes that gateway, worker and webhooks share.

VisgateError
└── ContractError      input that breaks a rule of this package
"""

from enum import StrEnum


class ErrorCode(StrEnum):
    """Stable codes of problem documents and `failed` events."""

    INVALID_REQUEST = "invalid_request"
    UNAUTHORIZED = "unauthorized"
    NOT_FOUND = "not_found"
    MODEL_NOT_FOUND = "model_not_found"
    MODEL_GATED = "model_gated"
    MODEL_NOT_SUPPORTED = "model_not_supported"
    MODEL_TOO_LARGE = "model_too_large"
    TASK_NOT_SUPPORTED = "task_not_supported"
    WEBHOOK_URL_REFUSED = "webhook_url_refused"
    WEBHOOK_DELIVERY_FAILED = "webhook_delivery_failed"
    NO_CAPACITY = "no_capacity"
    BUDGET_EXCEEDED = "budget_exceeded"
    HUB_UNREACHABLE = "hub_unreachable"
    RATE_LIMITED = "rate_limited"
    RUNPOD_UNREACHABLE = "runpod_unreachable"
    RUNPOD_REFUSED = "runpod_refused"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    MODEL_LOAD_FAILED = "model_load_failed"
    GENERATION_FAILED = "generation_failed"
    OUT_OF_MEMORY = "out_of_memory"
    UPLOAD_FAILED = "upload_failed"
    CANCELLED = "cancelled"
    WORKER_FATAL = "worker_fatal"
    INTERNAL = "internal"


class VisgateError(Exception):
    """Root of every error this product raises on purpose.

    Args:
        detail: What is wrong, naming the field or the thing.
        hint: What to do about it.
        code: Stable machine-readable code; the class's own when left out.
    """

    code: ErrorCode = ErrorCode.INTERNAL

    def __init__(self, detail: str, *, hint: str = "", code: ErrorCode | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return f"{self.detail} {self.hint}".rstrip()


class ContractError(VisgateError):
    """Input that breaks a rule of the contract, such as a name that cannot be built."""

    code = ErrorCode.INVALID_REQUEST
