"""Letting an endpoint finish its jobs before it is deleted; no Pulumi."""

import time
from collections.abc import Callable

from pulumi_visgate.resources._session import Session
from pulumi_visgate.resources._values import Properties
from pulumi_visgate.runpod.errors import NotFound, RunpodError
from pulumi_visgate.runpod.models.endpoint import UpdateEndpoint, WorkerStatus

LOOK_EVERY_S = 5.0


def drain(
    session: Session,
    endpoint: str,
    props: Properties,
    *,
    hidden_as: str | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until nothing is queued or in progress, at most `drain_timeout_s`, and say what is left then.

    Runpod can refuse no job of an endpoint that is there. Callers that look for it by its name no longer find it under
    another one; its limits stay, so that what is queued gets done. Jobs are counted by `health`; a load balancer has no
    queue, there workers at work count.

    Args:
        session: Account and messages.
        endpoint: Its id.
        props: Outputs of the last run.
        hidden_as: Name to give it meanwhile.
        clock: Monotonic clock in seconds.
        sleep: How to wait, in seconds.
    """
    until = clock() + float(props["drain_timeout_s"])
    name, left = str(props.get("name") or endpoint), None
    try:
        if hidden_as is not None:
            session.runpod.update_endpoint(endpoint, UpdateEndpoint(name=hidden_as))
        while True:
            left = _left(session, endpoint, balancer=props.get("routing") == "LOAD_BALANCER")
            remaining_s = until - clock()
            if left == "" or remaining_s <= 0:
                break
            session.report.status(f"{name} drains: {left or 'no answer'}; {remaining_s:.0f} s until it is deleted.")
            sleep(min(LOOK_EVERY_S, remaining_s))
    except NotFound:
        return
    if left == "":
        session.report.note(f"{name} has finished its jobs.")
    else:
        counted = left or "an unknown number of jobs"
        session.report.warn(f"{name} is deleted after {props['drain_timeout_s']:.0f} s; cancelled: {counted}.")


def _left(session: Session, endpoint: str, *, balancer: bool) -> str | None:
    """Say what is not finished: nothing is empty text, None that Runpod does not answer."""
    try:
        if balancer:
            workers = session.runpod.list_endpoint_workers(endpoint).workers
            at_work = sum(worker.status == WorkerStatus.RUNNING for worker in workers)
            return f"the requests of {at_work} workers" if at_work else ""
        jobs = session.runpod.endpoint_health(endpoint).jobs
    except NotFound:
        raise
    except RunpodError:
        return None
    return f"{jobs.in_queue} queued jobs, {jobs.in_progress} in progress" if jobs.in_queue or jobs.in_progress else ""
