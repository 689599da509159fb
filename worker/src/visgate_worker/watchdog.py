"""When to end the worker: decided from the messages of the serving process, the machine and the clock, without I/O.

Never imports torch.
"""

from dataclasses import dataclass
from enum import StrEnum

from visgate_contract.errors import ErrorCode
from visgate_worker.link import ActiveJob, Beat, Emitted, Ended, Fatal, KeepWarm, Loaded, Message, Ready
from visgate_worker.settings import Settings

# After a fatal error the job for which the worker was started may still be taken and told.
FATAL_GRACE_S = 15.0
RESULT_GRACE_S = 5.0  # from the end of a job to its result being at Runpod


class Cause(StrEnum):
    """Why the watchdog acts."""

    IDLE = "idle"
    FATAL = "fatal"
    FAILURES = "failures"
    HANG = "hang"
    DIED = "died"
    GPU = "gpu"
    DISK = "disk"
    STOPPED = "stopped"

    @property
    def is_this_worker_s_own(self) -> bool:
        """Another worker of the endpoint need not have it, too."""
        return self not in {Cause.FATAL, Cause.FAILURES}

    @property
    def is_still_served(self) -> bool:
        """The SDK can be asked to stop, and posts what it has."""
        return self in {Cause.IDLE, Cause.FATAL, Cause.FAILURES, Cause.DISK, Cause.STOPPED}


@dataclass(frozen=True, slots=True)
class Verdict:
    """The worker has to end.

    Args:
        cause: Why.
        detail: The same in words.
        hint: What to do about it.
        code: Code for the job that was running, if any.
    """

    cause: Cause
    detail: str
    hint: str = ""
    code: ErrorCode = ErrorCode.WORKER_FATAL


class Watch:
    """What the supervisor knows of the serving process.

    Args:
        settings: Limits.
        now: Monotonic seconds at the start.
    """

    def __init__(self, settings: Settings, now: float) -> None:
        self._settings = settings
        self._last_sign = now
        self._last_progress = now
        self._since = now
        self._is_ready = False
        self._is_loaded = False
        self._has_served = False
        self._failures = 0
        self._fatal: Fatal | None = None
        self._fatal_since = now
        self._warm_until = now
        self.jobs: dict[str, ActiveJob] = {}
        self.last_sequences: dict[str, int] = {}

    def note(self, message: Message, now: float) -> None:
        """Take in one message."""
        self._last_sign = now
        if not isinstance(message, Beat):
            self._last_progress = now
        match message:
            case Ready():
                self._is_ready, self._since = True, now
            case Loaded():
                self._is_loaded, self._since = True, now
            case Fatal():
                self._fatal, self._fatal_since = message, now
            case ActiveJob():
                self.jobs[message.runpod_job_id], self._since = message, now
                self.last_sequences[message.runpod_job_id] = 0
            case Emitted():
                self.last_sequences[message.runpod_job_id] = message.event.data.sequence
            case KeepWarm():
                self._warm_until = now + message.warm_for_s
            case Ended():
                self.jobs.pop(message.runpod_job_id, None)
                self.last_sequences.pop(message.runpod_job_id, None)
                self._since, self._has_served = now, True
                self._failures = self._failures + 1 if message.counts_as_failure else self._failures
                self._failures = 0 if message.succeeded else self._failures

    def verdict(self, now: float) -> Verdict | None:
        """Tell whether the worker has to end."""
        return (
            self._fatal_verdict(now) or self._failures_verdict() or self._hang_verdict(now) or self._idle_verdict(now)
        )

    def settling_s(self, now: float) -> float:
        """Return for how many seconds the SDK should be given time to post the last result."""
        return max(0.0, RESULT_GRACE_S - (now - self._since)) if self._has_served and not self.jobs else 0.0

    def died(self, status: int) -> Verdict:
        """Judge a serving process that ended by itself.

        Args:
            status: Exit status; negative is a signal's number.
        """
        if self._fatal is not None:
            return self._from_fatal(self._fatal)
        how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        detail = f"The worker's process {how}."
        return Verdict(Cause.DIED, detail, "Memory may have run out: use a larger GPU or ask for a smaller picture.")

    def _fatal_verdict(self, now: float) -> Verdict | None:
        if self._fatal is None or self.jobs:
            return None
        waited_long_enough = now - self._fatal_since >= FATAL_GRACE_S or self._failures > 0
        return self._from_fatal(self._fatal) if waited_long_enough else None

    @staticmethod
    def _from_fatal(fatal: Fatal) -> Verdict:
        return Verdict(Cause.FATAL, fatal.detail, fatal.hint, fatal.code)

    def _failures_verdict(self) -> Verdict | None:
        if self._failures < self._settings.max_failures:
            return None
        return Verdict(Cause.FAILURES, f"{self._failures} jobs in a row have failed.", "The log above says why.")

    def _hang_verdict(self, now: float) -> Verdict | None:
        settings = self._settings
        if not self._is_ready:
            silent_s, limit_s, what = now - self._since, settings.start_timeout_s, "start"
        elif not self._is_loaded and self._fatal is None:
            silent_s, limit_s, what = now - self._since, settings.load_timeout_s, "load its model"
        else:
            # The event loop beats on while a generation hangs, so a job has to show progress of its own.
            last = self._last_progress if self.jobs else self._last_sign
            silent_s, limit_s, what = now - last, settings.hang_timeout_s, "give a sign of life"
        if silent_s < limit_s:
            return None
        return Verdict(Cause.HANG, f"The worker did not {what} within {limit_s:g} s.", "Send the request again.")

    def _idle_verdict(self, now: float) -> Verdict | None:
        limit_s = self._settings.idle_timeout_s
        if limit_s is None or self.jobs or not self._is_loaded or now < self._warm_until:
            return None
        if now - self._since < limit_s:
            return None
        return Verdict(Cause.IDLE, f"There was no job for {limit_s:g} s.")
