"""One call from start to end as a generator of steps: wait, send, wait, send again, answer. No I/O happens here.

A client runs the steps with its own HTTP library and its own way to wait, so that the blocking and the asynchronous
client share every decision. Imports `_call`, `_policy` and errors.
"""

import hashlib
import itertools
import re
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from pydantic import SecretStr

from pulumi_visgate.runpod._call import Call, Plane, Reply, error_of, parsed
from pulumi_visgate.runpod._policy import Limit, Quota, RetryPolicy, left_traces, shared_quota
from pulumi_visgate.runpod.errors import (
    DeadlineExceeded,
    InvalidArgument,
    NotFound,
    RateLimited,
    RunpodError,
    RunpodUnreachable,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait, then go on; the answer to this step is None.

    Args:
        seconds: How long.
        for_quota: Because the account's quota is used up.
    """

    seconds: float
    for_quota: bool = False


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request; the answer to this step is a `Reply` or a `Fault`.

    Args:
        method: HTTP method.
        url: Address with query.
        headers: All headers, with the key.
        json: JSON body.
        timeout_s: When to give up, in seconds.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    json: dict[str, Any] | None = field(repr=False)
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Fault:
    """No answer came.

    Args:
        reason: What happened, in words without secrets.
        sent: The request may have reached the server.
        timed_out: It was given up for its time.
    """

    reason: str
    sent: bool
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """One sending of a call, for whoever counts.

    Args:
        operation_id: Name of the operation.
        status: HTTP status; None without an answer.
        took_s: Seconds from the sending to the end of the answer.
        quota_left: Part of the account's quota that is left, from 0 to 1; None if Runpod does not tell.
    """

    operation_id: str
    status: int | None
    took_s: float
    quota_left: float | None


def _uncounted(_attempt: Attempt) -> None:
    """Count nothing."""


Step: TypeAlias = Pause | Send
Outcome: TypeAlias = Reply | Fault | None
Exchange: TypeAlias = Generator[Step, Outcome, T]


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """Everything about a client that is not its HTTP library.

    Args:
        api_key: Runpod API key.
        base_url: Address of API v2.
        jobs_url: Address of the job API.
        timeout_s: Deadline of a call in seconds, waits and repeats included.
        user_agent: What the client calls itself.
        retry: When to repeat.
        clock: Monotonic clock in seconds.
        jitter: Source of numbers from 0 to 1.
        on_attempt: Told of every sending.
    """

    api_key: SecretStr
    base_url: str
    jobs_url: str
    timeout_s: float
    user_agent: str
    retry: RetryPolicy
    clock: Callable[[], float]
    jitter: Callable[[], float]
    on_attempt: Callable[[Attempt], None] = _uncounted

    def __post_init__(self) -> None:
        """Refuse what could not be sent, or would send the key somewhere odd."""
        if not re.fullmatch(r"[!-~]+", self.api_key.get_secret_value()):
            detail = "the Runpod API key is empty or has characters that a header cannot hold"
            raise InvalidArgument(detail, hint="Set RUNPOD_API_KEY to the key as Runpod's console shows it.")
        for name, url in (("base_url", self.base_url), ("jobs_url", self.jobs_url)):
            if not _is_plain_address(url):
                detail = f"{name} must be an http or https address without user and query"
                raise InvalidArgument(detail)
        if self.timeout_s <= 0:
            detail = "timeout_s must be above 0"
            raise InvalidArgument(detail)

    def changed(self, *, api_key: SecretStr | None = None, timeout_s: float | None = None) -> "Core":
        """Return a core for another key or another deadline."""
        # Written out, as a gateway does this for each request and `replace` takes three times as long.
        return Core(
            api_key=api_key or self.api_key,
            base_url=self.base_url,
            jobs_url=self.jobs_url,
            timeout_s=timeout_s or self.timeout_s,
            user_agent=self.user_agent,
            retry=self.retry,
            clock=self.clock,
            jitter=self.jitter,
            on_attempt=self.on_attempt,
        )

    def quota(self, plane: Plane) -> Quota:
        """Return the quota view that all clients of this key share."""
        account = hashlib.sha256(self.api_key.get_secret_value().encode()).hexdigest()
        return shared_quota(account, self._address(plane))

    def exchange(self, call: Call[T]) -> Exchange[T]:
        """Carry a call out.

        Yields:
            Steps for the client; it sends back what they led to.

        Returns:
            The result of the call.

        Raises:
            RunpodError: The call failed for good, or its deadline has come.
        """
        limit = Limit(self.clock() + (call.timeout_s or self.timeout_s), self.retry.quota_wait_s)
        quota = self.quota(call.plane)
        unclear = False
        for attempt in itertools.count(1):
            yield from self._claim(call, quota, limit)
            sent_at = self.clock()
            try:
                outcome = yield self._send(call, limit.deadline)
            finally:
                quota.release()
            self._take_note(call, outcome, quota, sent_at)
            if isinstance(outcome, Reply) and outcome.ok:
                return parsed(call, outcome)
            failure = self._failure(call, outcome, quota)
            if unclear and call.method == "DELETE" and isinstance(failure, NotFound):
                return parsed(call, Reply(204, {}, b""))  # an attempt before this one has deleted it
            unclear = unclear or left_traces(failure)
            wait_s = self.retry.wait_s(failure, attempt=attempt, repeatable=call.repeatable, jitter=self.jitter())
            refused = isinstance(failure, RateLimited)
            if wait_s is None or not limit.permits(self.clock() + wait_s, quota=refused):
                raise failure
            yield from self._pause(wait_s, limit, for_quota=refused)
        raise AssertionError  # the loop above does not end by itself

    def _take_note(self, call: Call[Any], outcome: Outcome, quota: Quota, sent_at: float) -> None:
        now = self.clock()
        status = None
        if isinstance(outcome, Reply):
            status = outcome.status
            quota.observe(outcome.headers, now)
        self.on_attempt(Attempt(call.operation_id, status, now - sent_at, quota.left()))

    def _claim(self, call: Call[Any], quota: Quota, limit: Limit) -> Generator[Step, Outcome, None]:
        while (wait_s := quota.claim(now := self.clock())) > 0:
            if not limit.permits(now + wait_s, quota=True):
                detail = f"{call.operation_id} was not sent: the account's quota is used up for {wait_s:.0f} s"
                raise RateLimited(429, "Quota used up", detail, retry_after_s=wait_s)
            yield from self._pause(wait_s, limit, for_quota=True)

    def _pause(self, wait_s: float, limit: Limit, *, for_quota: bool) -> Generator[Step, Outcome, None]:
        before = self.clock()
        yield Pause(wait_s, for_quota=for_quota)
        if for_quota:
            limit.extend(self.clock() - before)

    def _send(self, call: Call[Any], deadline: float) -> Send:
        remaining_s = max(0.001, deadline - self.clock())
        query = f"?{urlencode(call.params, quote_via=quote, safe=',')}" if call.params else ""
        headers = {
            "Accept": "application/json, application/problem+json",
            "User-Agent": self.user_agent,
            **call.headers,
            "Authorization": f"Bearer {self.api_key.get_secret_value()}",
        }
        return Send(
            method=call.method,
            url=self._address(call.plane) + call.path + query,
            headers=headers,
            json=None if call.body is None else call.body.body(),
            timeout_s=self.retry.attempt_timeout_s(remaining_s, repeatable=call.repeatable),
        )

    def _failure(self, call: Call[Any], outcome: Outcome, quota: Quota) -> RunpodError:
        if isinstance(outcome, Reply):
            error = error_of(call, outcome, key=self.api_key.get_secret_value())
            if isinstance(error, RateLimited) and error.retry_after_s is not None:
                quota.block(self.clock() + error.retry_after_s)
            return error
        return failure_of(call, outcome)

    def _address(self, plane: Plane) -> str:
        return (self.base_url if plane is Plane.CONTROL else self.jobs_url).rstrip("/")


@lru_cache(maxsize=64)  # a gateway makes a core for each request
def _is_plain_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False
    extras = parts.username or parts.password or parts.query or parts.fragment
    return parts.scheme in {"http", "https"} and named and not extras


def failure_of(call: Call[Any], fault: Fault | None) -> RunpodUnreachable | DeadlineExceeded:
    """Return the error of a call that got no answer."""
    fault = fault or Fault("nothing came of it", sent=True)
    unknown = fault.sent and not call.repeatable
    hint = "It may have been carried out: look before you repeat it." if unknown else ""
    detail = f"{call.operation_id}: {fault.reason}"
    if fault.timed_out:
        return DeadlineExceeded(detail, hint=hint, sent=fault.sent)
    return RunpodUnreachable(detail, hint=hint, sent=fault.sent)
