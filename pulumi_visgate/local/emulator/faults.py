"""Faults on demand: what can go wrong between a client and Runpod, and inside Runpod."""

import asyncio
import fnmatch
from collections.abc import Callable
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from pulumi_visgate.local.emulator.errors import Problem
from pulumi_visgate.local.emulator.store import new_id


class FaultKind(StrEnum):
    """What goes wrong."""

    STATUS = "status"  # answered with an error status instead of being done
    HANG = "hang"  # held open for `delay_ms`, for ever when left out, then cut; not done
    RESET = "reset"  # connection reset before anything is done
    LOST_ANSWER = "lost_answer"  # done, held open for `delay_ms`, then reset: the caller cannot know
    LATE_ERROR = "late_error"  # done, then answered with an error status
    STALE_LIST = "stale_list"  # lists are `delay_ms` old: without what is new, with what is gone
    NO_CAPACITY = "no_capacity"  # no worker can be placed
    WORKER_DEATH = "worker_death"  # a worker is killed `delay_ms` after it took a job


_WORLD = frozenset({FaultKind.NO_CAPACITY, FaultKind.WORKER_DEATH})


class Fault(BaseModel):
    """One rule.

    Args:
        kind: What goes wrong.
        operation: Operation id such as `createEndpoint`, or a pattern such as `*Endpoint`.
        method: HTTP method, or a pattern.
        path: Path, or a pattern such as `/v2/serverless/*`.
        endpoint: For faults of workers: the endpoint id, or a pattern.
        times: How often it happens; null for always.
        skip: How many matching events pass first.
        status: HTTP status of `status` and `late_error`.
        retry_after_s: Value of the `Retry-After` header, when given.
        delay_ms: Length of a hang, age of a list, time to a lost answer or to a worker's death.
    """

    model_config = ConfigDict(extra="forbid")

    id: str = Field(default_factory=new_id)
    kind: FaultKind
    operation: str = "*"
    method: str = "*"
    path: str = "*"
    endpoint: str = "*"
    times: Annotated[int, Field(ge=0)] | None = 1
    skip: Annotated[int, Field(ge=0)] = 0
    status: Annotated[int, Field(ge=400, le=599)] = 500
    retry_after_s: Annotated[int, Field(ge=0)] | None = None
    delay_ms: Annotated[float, Field(ge=0)] | None = None

    def problem(self) -> Problem:
        """Return the error answer of `status` and `late_error`."""
        headers = {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}
        return Problem(HTTPStatus(self.status), "injected fault", headers=headers)

    async def hang(self) -> None:
        """Wait for `delay_ms`, or until the caller gives up."""
        if self.delay_ms is None:
            await asyncio.Event().wait()
        else:
            await asyncio.sleep(self.delay_ms / 1000)


class Faults:
    """The rules in force, oldest first."""

    def __init__(self) -> None:
        self._rules: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Put a rule in force."""
        self._rules.append(fault)

    def remove(self, identifier: str) -> bool:
        """Take a rule out of force; tell whether it was in force."""
        before = len(self._rules)
        self._rules = [rule for rule in self._rules if rule.id != identifier]
        return len(self._rules) < before

    def clear(self) -> None:
        """Take every rule out of force."""
        self._rules.clear()

    def rules(self) -> list[Fault]:
        """Return the rules in force."""
        return list(self._rules)

    def on_request(self, operation: str, method: str, path: str) -> Fault | None:
        """Return the fault that hits this request, and count it."""
        return self._hit(
            lambda rule: (
                rule.kind not in _WORLD
                and _matches((operation, rule.operation), (method, rule.method), (path, rule.path))
            )
        )

    def on_worker(self, kind: FaultKind, endpoint: str) -> Fault | None:
        """Return the fault of this kind that hits a worker of this endpoint, and count it."""
        return self._hit(lambda rule: rule.kind is kind and _matches((endpoint, rule.endpoint)))

    def _hit(self, matches: Callable[[Fault], bool]) -> Fault | None:
        for rule in self._rules:
            if not matches(rule):
                continue
            if rule.skip:
                rule.skip -= 1
                continue
            if rule.times is not None:
                rule.times -= 1
                if not rule.times:
                    self._rules = [other for other in self._rules if other.id != rule.id]
            return rule
        return None


def _matches(*pairs: tuple[str, str]) -> bool:
    return all(fnmatch.fnmatchcase(value, pattern) for value, pattern in pairs)
