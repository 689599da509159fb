"""The supervising process: masks what the serving process prints, delivers its events, ends it when needed.

It outlives a crash or hang of the serving process, and tells the running job's receiver and Runpod about it. Never
imports torch or runpod.
"""

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

import httpx
from pydantic import ValidationError

from visgate_contract.ed25519 import PrivateKey
from visgate_contract.errors import VisgateError
from visgate_contract.events import Event, EventData, EventError, Status, first_sequence
from visgate_contract.jobs import JobError, JobResult
from visgate_contract.signing import WebhookSigner, hmac_signature
from visgate_worker import link
from visgate_worker.control import ControlError, EndpointControl, control_for
from visgate_worker.events import Deliverer
from visgate_worker.logs import LineWriter, MaskedHandler, Masker, Tail, forward, log_to
from visgate_worker.machine import Machine
from visgate_worker.settings import Settings, WatchdogAction
from visgate_worker.watchdog import Cause, Verdict, Watch

log = logging.getLogger(__name__)

CHECK_INTERVAL_S = 0.25
TERMINATE_LIMIT_S = 2.0  # an idle SDK waits in a long poll that no signal ends
POST_LIMIT_S = 10.0
MAX_MESSAGE_BYTES = 1024 * 1024
FAILURE = 1


def supervise(child: "subprocess.Popen[bytes]", link_fd: int) -> int:
    """Supervise the serving process until it has ended; returns the exit status of the worker.

    Args:
        child: The serving process, in a session of its own, with pipes for its three streams.
        link_fd: Reading end of its link.
    """
    masker = Masker(os.environ)
    tail = Tail()
    out, err = LineWriter(sys.stdout.buffer, tail), LineWriter(sys.stderr.buffer, tail)
    log_to(MaskedHandler(masker, out))
    pumps = [
        threading.Thread(target=forward, args=(source, masker, writer), name="log", daemon=True)
        for source, writer in ((child.stdout, out), (child.stderr, err))
    ]
    for pump in pumps:
        pump.start()
    try:
        settings = Settings.from_environment()
    except VisgateError as error:
        log.error("%s", error)  # noqa: TRY400, the message says all
        asyncio.run(_give_up(child))
        status = FAILURE
    else:
        status = asyncio.run(Supervisor(settings, child, tail=tail).run(link_fd))
    _kill(child)
    # Nothing holds the pipes open any more, so what was printed last arrives.
    for pump in pumps:
        pump.join(TERMINATE_LIMIT_S)
    return status


class Supervisor:
    """Watches one serving process.

    Args:
        settings: The worker's settings.
        child: The serving process.
        tail: The last lines that the worker has printed.
    """

    def __init__(self, settings: Settings, child: "subprocess.Popen[bytes]", *, tail: Tail) -> None:
        self._settings = settings
        self._child = child
        self._tail = tail
        self._machine = Machine()
        self._watch = Watch(settings, time.monotonic())
        self._deliverer = Deliverer(_signer(settings), answer=self._answer)
        self._stop = asyncio.Event()
        self._ending = asyncio.Event()
        self._warm: asyncio.Task[None] | None = None

    async def run(self, link_fd: int) -> int:
        """Run until the serving process has ended; returns the worker's exit status."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        listener = loop.create_task(self._listen(link_fd))
        looking = loop.create_task(self._machine.watch_gpu())
        verdict = await self._until_over(listener)
        looking.cancel()
        self._ending.set()
        if verdict is None:
            await self._end_gracefully(self._settings.shutdown_grace_s)
            verdict = self._stopped_verdict()
            status = 0
        else:
            log.error("%s: %s %s", verdict.cause, verdict.detail, verdict.hint)
            if verdict.cause.is_still_served:
                await self._end_gracefully(0)
            status = 0 if verdict.cause is Cause.IDLE else FAILURE
        _kill(self._child)
        await asyncio.wait([listener], timeout=TERMINATE_LIMIT_S)
        await asyncio.gather(*(self._speak_for(job, verdict) for job in self._watch.jobs.values()))
        if self._warm is not None:
            await self._warm
        if not self._stop.is_set():
            await self._act(verdict)
        await self._deliverer.drain(self._settings.shutdown_grace_s)
        await self._deliverer.close()
        return status

    async def _until_over(self, listener: "asyncio.Task[None]") -> Verdict | None:
        """Wait for a reason to end; None when told to by a signal."""
        while not self._stop.is_set():
            status = self._child.poll()
            if status is not None:
                _kill(self._child)
                await asyncio.wait([listener], timeout=TERMINATE_LIMIT_S)
                return self._watch.died(status)
            verdict = self._watch.verdict(time.monotonic()) or self._machine.verdict()
            if verdict is not None:
                return verdict
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), CHECK_INTERVAL_S)
        return None

    async def _listen(self, link_fd: int) -> None:
        reader = asyncio.StreamReader(limit=MAX_MESSAGE_BYTES)
        pipe = os.fdopen(link_fd, "rb")
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        try:
            while line := await reader.readline():
                try:
                    self._receive(link.parse(line))
                except ValidationError:
                    log.warning("a message of the serving process was not understood")
        finally:
            transport.close()

    def _receive(self, message: link.Message) -> None:
        self._watch.note(message, time.monotonic())
        match message:
            case link.ActiveJob():
                self._deliverer.begin(message)
            case link.Emitted():
                self._deliverer.submit(message.runpod_job_id, message.event)
            case link.KeepWarm():
                self._keep_warm(message)

    def _keep_warm(self, wish: link.KeepWarm) -> None:
        """Put the endpoint's idle timeout back when the time is over, or this worker ends; the last wish counts."""
        if self._warm is not None:
            self._warm.cancel()
        self._warm = asyncio.create_task(self._cool_down(wish))

    async def _cool_down(self, wish: link.KeepWarm) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), wish.warm_for_s)
        control = control_for(self._settings)
        if control is None or wish.idle_timeout_s is None:
            return
        try:
            await control.set_idle_timeout(wish.idle_timeout_s)
        except ControlError as error:
            log.error("%s", error)  # noqa: TRY400, the message says all
        else:
            log.info("idle workers leave after %d s again", wish.idle_timeout_s)

    def _answer(self, attempt: link.Attempt) -> None:
        """Tell the serving process which attempt of a job it has begun."""
        pipe = self._child.stdin
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):  # it has just died, which is noticed elsewhere
                pipe.write(attempt.model_dump_json().encode() + b"\n")
                pipe.flush()

    async def _end_gracefully(self, grace_s: float) -> None:
        """Ask the SDK to stop: it finishes the running job, and is ended once that job's result had time to be posted.

        Args:
            grace_s: Seconds for the running job.
        """
        self._child.send_signal(signal.SIGTERM)
        began = time.monotonic()
        while self._child.poll() is None:
            now = time.monotonic()
            limit_s = grace_s if self._watch.jobs else TERMINATE_LIMIT_S + self._watch.settling_s(began)
            if now - began >= limit_s and self._watch.settling_s(now) == 0:
                return
            await asyncio.sleep(CHECK_INTERVAL_S)

    @staticmethod
    def _stopped_verdict() -> Verdict:
        return Verdict(Cause.STOPPED, "The worker was told to stop before the job was done.", "Send the request again.")

    async def _speak_for(self, job: link.ActiveJob, verdict: Verdict) -> None:
        """Tell the receiver and Runpod that a running job has failed."""
        told = self._tail.lines() if verdict.cause is not Cause.STOPPED else ()
        error = JobError(code=verdict.code, detail=verdict.detail, hint=verdict.hint, log_tail=told)
        attempt = await self._deliverer.attempt_of(job.runpod_job_id)
        data = EventData(
            task_id=job.task_id,
            job_id=job.job_id,
            attempt=attempt,
            sequence=max(self._watch.last_sequences[job.runpod_job_id], first_sequence(attempt)) + 1,
            status=Status.FAILED,
            model_id=job.model_id,
            task=job.task,
            endpoint_id=self._settings.endpoint_id,
            worker_id=self._settings.worker_id,
            error=EventError.model_validate(error.model_dump()),
        )
        event = Event.of(data, timestamp=datetime.now(UTC))
        self._deliverer.submit(job.runpod_job_id, event)
        url, key = self._settings.job_done_url, self._settings.runpod_worker_key
        if url is None or key is None:
            return
        result = JobResult(task_id=job.task_id, error=error, events=(event,)).to_runpod()
        # As the SDK does it: `error` beside `output` makes the job FAILED.
        body = {"error": result.pop("error"), "output": result}
        target = url.replace("$RUNPOD_POD_ID", self._settings.worker_id or "").replace("$ID", job.runpod_job_id)
        try:
            async with httpx.AsyncClient(timeout=POST_LIMIT_S) as client:
                answer = await client.post(
                    f"{target}{'&' if '?' in target else '?'}isStream=false",
                    json=body,
                    headers={"authorization": key.get_secret_value(), "x-request-id": job.runpod_job_id},
                )
            log.info("Runpod was told that job %s has failed: status %d", job.runpod_job_id, answer.status_code)
        except httpx.HTTPError as problem:
            log.warning(
                "Runpod could not be told that job %s has failed: %s", job.runpod_job_id, type(problem).__name__
            )

    async def _act(self, verdict: Verdict) -> None:
        """Carry out the policy, unless the worker is told to stop meanwhile, or others of the endpoint are at work."""
        control = control_for(self._settings)
        action = self._settings.watchdog_action
        may_be_left = action is not WatchdogAction.NONE and verdict.cause.is_this_worker_s_own
        if may_be_left and control is not None and await control.others_work(self._settings.worker_id):
            log.warning("other workers of endpoint %s are at work: it is left alone", self._settings.endpoint_id)
            return
        await _until(self._stop, _carry_out(action, control, self._settings.endpoint_id))


async def _carry_out(action: WatchdogAction, control: EndpointControl | None, endpoint_id: str | None) -> None:
    if action is WatchdogAction.NONE:
        return
    if control is None:
        log.error("the endpoint cannot be changed: RUNPOD_API_KEY or RUNPOD_ENDPOINT_ID is not set")
        return
    try:
        await control.act(action)
    except ControlError as error:
        log.error("%s", error)  # noqa: TRY400, the message says all
    else:
        log.warning("the watchdog did %s of endpoint %s", action, endpoint_id)


async def _give_up(child: "subprocess.Popen[bytes]") -> None:
    """Carry out the policy of a worker whose environment is wrong: it would be started again and again."""
    _kill(child)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    settings = Settings.of_watchdog(os.environ)
    await _until(stop, _carry_out(settings.watchdog_action, control_for(settings), settings.endpoint_id))


async def _until(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Do something until it is done or the worker is told to stop."""
    tasks = [asyncio.create_task(work), asyncio.create_task(stop.wait())]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    outcome, _ = await asyncio.gather(*tasks, return_exceptions=True)
    if isinstance(outcome, Exception):
        log.error("the policy could not be carried out", exc_info=outcome)


def _signer(settings: Settings) -> WebhookSigner | None:
    secret, key = settings.webhook_secret, settings.webhook_key
    if secret is None:
        return None
    signs = [hmac_signature(secret.get_secret_value())]
    if key is not None:
        signs.append(PrivateKey.of(key.get_secret_value()).webhook_signature)
    return WebhookSigner(tuple(signs))


def _kill(child: "subprocess.Popen[bytes]") -> None:
    """End the serving process and all that it has started, which share its process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
