"""How a job or the worker fails: one exception, with the code that the caller sees.

VisgateError
├── SettingsError      the environment is wrong (settings.py)
├── JobFailedError     a job cannot be done
└── JobCancelledError  somebody wanted the job to stop
"""

from pydantic import ValidationError

from visgate_contract.errors import ErrorCode, VisgateError
from visgate_contract.jobs import JobError
from visgate_contract.tasks import field_path

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


# Failures of the worker itself: the last lines of its log say why.
WORKERS_OWN = frozenset({ErrorCode.MODEL_LOAD_FAILED, ErrorCode.WORKER_FATAL, ErrorCode.INTERNAL})


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


def loses_the_device(error: BaseException) -> bool:
    """Tell whether an error came from a GPU that this process cannot use again: CUDA fails from then on, always."""
    cause: BaseException | None = error
    while cause is not None:
        if type(cause).__name__ == "AcceleratorError" or str(cause).startswith("CUDA error:"):
            return "out of memory" not in str(cause)
        cause = cause.__cause__
    return False


def invalid_input(error: ValidationError) -> JobError:
    """Return how a job fails whose input is not what the gateway makes."""
    problems = [
        f"{field_path(problem['loc']) or 'input'}: {problem['msg']}"
        for problem in error.errors(include_input=False, include_url=False, include_context=False)
    ]
    return JobError(
        code=ErrorCode.INVALID_REQUEST,
        detail=f"The job's input is wrong. {'; '.join(problems[:5])}.",
        hint="Submit jobs through the gateway's POST /v1/jobs.",
    )
