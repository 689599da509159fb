"""Rollouts as pure decisions: what a change still has to do, how far a release is, and when to stop waiting.

No I/O and nothing of Pulumi is here; `_rollout_wait` looks at Runpod, and the engine calls `_rollout_hooks`.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pulumi_visgate.runpod.models.endpoint import (
    Endpoint,
    EndpointReleaseList,
    EndpointWorkerList,
    UpdateEndpoint,
    Worker,
    WorkerStatus,
)

DEFAULT_TIMEOUT_S = 600
DEFAULT_GRACE_S = 30
MAX_TIMEOUT_S = 24 * 3600
LAG_S = 10.0
"""How long a change may take, in seconds, until the list of releases has it."""

RELEASED = frozenset(
    {
        "image", "args", "disk", "ports", "env", "registry", "data_center_ids", "network_volumes", "flashboot", "gpu",
        "cpu", "template_id",
    }
)  # fmt: skip
"""Fields of `updateEndpoint` whose change makes a release that reaches the workers as they are replaced."""

_CONTAINER = ("image", "args", "disk", "ports", "env", "registry")
_READY = (WorkerStatus.RUNNING, WorkerStatus.IDLE)
_UNORDERED = frozenset({"ports", "data_center_ids", "network_volumes", "pools", "excluded_types"})


class Rollout(BaseModel):
    """How an update waits for its release; `RolloutArgs` describes it."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    timeout_s: int = Field(default=DEFAULT_TIMEOUT_S, ge=1, le=MAX_TIMEOUT_S)
    on_failure: Literal["fail", "warn", "rollback"] = "fail"
    grace_s: int = Field(default=DEFAULT_GRACE_S, ge=0)


# --- the change ---


def undo(change: UpdateEndpoint, before: Endpoint) -> UpdateEndpoint:
    """Return the change that leads back to an endpoint as it was.

    Args:
        change: What is about to be asked of `updateEndpoint`.
        before: The endpoint before that.
    """
    values: dict[str, Any] = {}
    for name in change.model_fields_set:
        if name == "template_id":  # it was copied, so what it brought is taken back instead
            values |= {field: getattr(before, field) for field in _CONTAINER}
        else:
            values[name] = _value(name, before, getattr(change, name))
    return UpdateEndpoint.model_validate(values)


def _value(name: str, endpoint: Endpoint, asked: Any) -> Any:
    if name == "workers":
        kept = {field: getattr(endpoint.workers, field) for field in asked.model_fields_set}
        return {field: value for field, value in kept.items() if value is not None}
    if name == "scaling":
        return endpoint.scaling.model_dump(by_alias=False)
    if name == "gpu" and endpoint.gpu is not None:
        gpu = endpoint.gpu.model_dump(by_alias=False, include=set(type(asked).model_fields))
        return gpu | {"min_cuda_version": gpu["min_cuda_version"] or ""}
    if name == "cpu" and endpoint.cpu is not None:
        return [{"id": cpu.id, "vcpu_count": cpu.vcpu_count} for cpu in endpoint.cpu]
    return getattr(endpoint, name)


def remaining(change: UpdateEndpoint, endpoint: Endpoint) -> UpdateEndpoint | None:
    """Return what of a change an endpoint does not have yet, None when it has all of it.

    Args:
        change: What the program wants to have changed.
        endpoint: As it is now.
    """
    now = undo(change, endpoint)
    asked, there = (one.model_dump(by_alias=False, exclude_unset=True) for one in (change, now))
    kept = {name: value for name, value in asked.items() if name == "template_id" or _differs(value, there, name)}
    return UpdateEndpoint.model_validate(kept) if kept else None


def _differs(asked: Any, there: dict[str, Any], name: str) -> bool:
    is_now = there.get(name)
    if isinstance(asked, dict) and isinstance(is_now, dict) and name != "env":
        return any(_differs(value, is_now, field) for field, value in asked.items())
    if isinstance(asked, list) and isinstance(is_now, list) and name in _UNORDERED:
        return sorted(map(str, asked)) != sorted(map(str, is_now))
    return bool((asked or None) != (is_now or None))


def makes_release(change: UpdateEndpoint | None) -> bool:
    """Tell whether a change reaches the workers by a release."""
    return change is not None and bool(change.model_fields_set & RELEASED)


# --- the look ---


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at an endpoint has shown.

    Args:
        version: Its newest release.
        total: Workers there are.
        latest: Those of them that run the newest release.
        states: State of each of those.
        ill: Ids of those that are unhealthy.
        throttled: Ids of workers that wait for capacity.
    """

    version: int | None
    total: int
    latest: int
    states: tuple[str, ...] = ()
    ill: tuple[str, ...] = ()
    throttled: tuple[str, ...] = ()

    @classmethod
    def of(cls, releases: EndpointReleaseList, workers: EndpointWorkerList) -> "Look":
        """Put together the answers of `listEndpointReleases` and `listEndpointWorkers`; the less advanced counts."""
        newest = [worker for worker in workers.workers if not worker.is_stale]
        return cls(
            version=releases.endpoint_version,
            total=max(releases.rollout.workers_total, len(workers.workers)),
            latest=min(releases.rollout.workers_on_latest, len(newest)),
            states=tuple(sorted(str(worker.status) for worker in newest)),
            ill=_ids(newest, WorkerStatus.UNHEALTHY),
            throttled=_ids(newest, WorkerStatus.THROTTLED),
        )

    @property
    def ready(self) -> int:
        """Workers of the newest release that can work."""
        return sum(state in _READY for state in self.states)

    def text(self) -> str:
        """Say it in one line."""
        if not self.total:
            return "no worker runs"
        counts = ", ".join(f"{number} {state}" for state, number in sorted(Counter(self.states).items()))
        older = self.total - self.latest
        parts = [counts] if counts else []
        parts += [f"{older} of the former release"] if older else []
        more = f" ({'; '.join(parts)})" if parts else ""
        return f"{self.latest} of {self.total} workers on the new release{more}"


def _ids(workers: Sequence[Worker], status: WorkerStatus) -> tuple[str, ...]:
    return tuple(worker.id for worker in workers if worker.status == status)


def rolled(look: Look, minimum: int) -> bool:
    """Tell whether a release has reached its workers and works.

    Workers that start or wait for capacity beside enough others that work are the scaler's business.

    Args:
        look: What was seen.
        minimum: Workers that the endpoint always keeps.
    """
    if not look.total:
        return minimum == 0
    return look.latest == look.total and not look.ill and look.ready >= max(1, minimum)


# --- the verdict ---


class Verdict(StrEnum):
    """What to do after a look."""

    WAIT = "wait"
    DONE = "done"
    FAILED = "failed"


class Watch:
    """Judges the looks at one rollout, in their order.

    Args:
        rollout: How long to wait.
        minimum: Workers that the endpoint always keeps.
        started: When waiting began, in seconds of any clock.
        former: Release before the change, None when there was nothing left to change.
    """

    def __init__(self, rollout: Rollout, *, minimum: int, started: float, former: int | None = None) -> None:
        self._rollout = rollout
        self._minimum = minimum
        self._started = started
        self._former = former
        self._ill_since: float | None = None
        self._was_rolled = False
        self.reason = ""

    def see(self, look: Look | None, now: float) -> Verdict:
        """Judge a look; `reason` says why a rollout has failed.

        A worker can be ready for a moment before it crashes, so two looks in a row have to say that all is well.

        Args:
            look: What was seen, None when Runpod did not answer.
            now: Seconds of the same clock.
        """
        late = now - self._started >= self._rollout.timeout_s
        if look is not None and not self._lags(look, now):
            verdict = self._judge(look, now, late=late)
            if verdict is not Verdict.WAIT:
                return verdict
        if late:
            self.reason = (
                f"not done after {self._rollout.timeout_s} s: {look.text() if look else 'Runpod does not answer'}"
            )
            return Verdict.FAILED
        return Verdict.WAIT

    def _judge(self, look: Look, now: float, *, late: bool) -> Verdict:
        if look.ready:
            self._ill_since = None
        elif look.ill and self._ill_since is None:
            self._ill_since = now
        if self._ill_since is not None:
            for_s = now - self._ill_since
            if look.total == 0:
                self.reason = "its workers were unhealthy and are gone"
                return Verdict.FAILED
            if for_s >= self._rollout.grace_s:
                ill = ", ".join(look.ill) or "its workers"
                self.reason = f"none of its workers is ready, and {ill} has been UNHEALTHY for {for_s:.0f} s"
                return Verdict.FAILED
        is_rolled = rolled(look, self._minimum)
        if is_rolled and (self._was_rolled or late or not look.total):
            return Verdict.DONE
        self._was_rolled = is_rolled
        return Verdict.WAIT

    def _lags(self, look: Look, now: float) -> bool:
        """Lists can be behind; some changes make no release at all, so this has an end."""
        behind = self._former is not None and look.version is not None and look.version <= self._former
        return behind and now - self._started < LAG_S


def pauses(first_s: float = 1.0, most_s: float = 10.0) -> Callable[[], float]:
    """Return a function that says how many seconds to wait before the next look: short at first, then sparing."""
    pause_s = first_s

    def following() -> float:
        nonlocal pause_s
        now_s, pause_s = pause_s, min(most_s, pause_s * 1.5)
        return now_s

    return following
