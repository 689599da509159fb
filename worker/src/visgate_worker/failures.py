"""How a job or the worker fails: one exception, with the code that the caller sees.

VisgateError
├── SettingsError      the environment is wrong (settings.py)
├── JobFailedError     a job cannot be done
└── JobCancelledError  somebody wanted the job to stop
"""

from visgate_contract.errors import ErrorCode, VisgateError

# Failures that say nothing about the worker: the request was wrong, too large, withdrawn, or came too late.
CALLERS_OWN = frozenset(
    {
        ErrorCode.INVALID_REQUEST,
        ErrorCode.TASK_NOT_SUPPORTED,
        ErrorCode.WEBHOOK_URL_REFUSED,
        ErrorCode.CANCELLED,
        ErrorCode.OUT_OF_MEMORY,
        ErrorCode.DEADLINE_EXCEEDED,
    }
)


class JobFailedError(VisgateError):
    """A job cannot be done; `code` says why."""

    code = ErrorCode.GENERATION_FAILED


class JobCancelledError(VisgateError):
    """The job was cancelled or ran out of its time at Runpod."""

    code = ErrorCode.CANCELLED

    def __init__(self) -> None:
        super().__init__("The job was cancelled or reached its execution timeout.")


def summary(error: BaseException, limit: int = 300) -> str:
    """Return the type and first line of an error, bounded: for callers, who get no traceback."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}"[:limit] if lines else type(error).__name__
