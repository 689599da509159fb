"""A job's way from Runpod's queue to its result; the only place where events begin and failures end."""

import asyncio
import logging
import secrets
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from visgate_contract.ed25519 import PrivateKey
from visgate_contract.errors import ErrorCode, VisgateError
from visgate_contract.events import (
    Artifact,
    Event,
    EventData,
    EventError,
    LoadReport,
    Progress,
    RuntimeReport,
    Status,
    Timings,
)
from visgate_contract.jobs import RECEIPT_TYPE, JobError, JobInput, JobResult, WarmUp
from visgate_contract.signing import JobRef, task_time
from visgate_contract.tasks import MAX_SEED, TaskInput, image_references
from visgate_worker.adapters.base import LoraFile
from visgate_worker.drawing import Drawing, OnProgress
from visgate_worker.failures import (
    CALLERS_OWN,
    WORKERS_OWN,
    JobCancelledError,
    JobFailedError,
    invalid_input,
    loses_the_device,
    summary,
)
from visgate_worker.finishing import Finishing
from visgate_worker.job_events import JobEvents
from visgate_worker.link import ActiveJob, Attempt, Ended, Fatal, KeepWarm, Mark
from visgate_worker.model import LoadedModel
from visgate_worker.places import FINISHING
from visgate_worker.progress import LOAD_INTERVAL_S, LoadThrottle, ProgressReporter, Throttle
from visgate_worker.provenance import Provenance
from visgate_worker.receipt import receipt
from visgate_worker.safety import checked, policy_of
from visgate_worker.services import Services
from visgate_worker.settings import Settings

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)

CLOCKS_S = 2.0
"""How far apart this machine's clock and the gateway's may be."""


class JobHandler:
    """The handler that the Runpod SDK calls, with as many jobs at a time as the settings allow.

    Args:
        services: What every job uses.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._executor = ThreadPoolExecutor(services.settings.max_batch + FINISHING, thread_name_prefix="job")
        self._has_served = False

    async def __call__(self, job: dict[str, Any]) -> dict[str, Any]:
        """Do one job.

        Args:
            job: `id` and `input` as Runpod's queue holds them.

        Returns:
            `JobResult.to_runpod()`; see `visgate_contract.jobs` for how a failure looks.
        """
        try:
            if WarmUp.is_meant(job.get("input")):
                return (await self._warm_up(job)).to_runpod()
            return (await self._run(job)).to_runpod()
        finally:
            self._services.places.leave(str(job.get("id")))

    async def _run(self, job: dict[str, Any]) -> JobResult:
        run = JobRun(self._services, job, is_first=not self._has_served)
        self._has_served = True
        working = asyncio.get_running_loop().run_in_executor(self._executor, run.execute)
        try:
            return await asyncio.shield(working)
        except asyncio.CancelledError:
            # The SDK stops a job by cancelling this call. The generation has to end before the next job begins.
            run.cancel()
            await asyncio.wait([working])
            raise

    async def _warm_up(self, job: dict[str, Any]) -> JobResult:
        """Wait for the model and have the worker kept, without drawing anything."""
        services = self._services
        try:
            wish = WarmUp.model_validate(job["input"])
        except ValidationError as error:
            return JobResult(task_id="", error=invalid_input(error))
        try:
            _require_model(wish.model_id, services.settings)
            model = await asyncio.shield(asyncio.wrap_future(services.model))
        except VisgateError as error:
            mask = services.mask
            failure = JobError(code=error.code, detail=mask(error.detail), hint=mask(error.hint))
            return JobResult(task_id=wish.task_id, error=failure)
        is_first, self._has_served = not self._has_served, True
        services.link.send(KeepWarm(warm_for_s=wish.warm_for_s, idle_timeout_s=wish.idle_timeout_s))
        load = model.report if is_first else model.in_memory
        return JobResult(task_id=wish.task_id, load=load, timings=Timings(load_s=load.seconds))


class JobRun:
    """One job.

    Args:
        services: What every job uses.
        job: The job as the SDK gave it.
        is_first: No job was done by this process before.
    """

    def __init__(self, services: Services, job: dict[str, Any], *, is_first: bool) -> None:
        self._services = services
        self._job = job
        self._is_first = is_first
        self._taken = time.perf_counter()
        self._cancelled = threading.Event()
        self._wake = threading.Event()
        self._runpod_job_id = str(job.get("id"))
        self._finished: Event | None = None
        self._load: LoadReport | None = None
        self._runtime: RuntimeReport | None = None
        self._drawing: Drawing | None = None
        self._finishing: Finishing | None = None
        self._origin: Provenance | None = None
        self._timings: dict[str, float | None] = {}

    def cancel(self) -> None:
        """Make the job end at its next step; safe from any thread."""
        self._cancelled.set()
        self._wake.set()

    def execute(self) -> JobResult:
        """Do the job; every failure becomes part of the result."""
        try:
            job_input = JobInput.model_validate(self._job.get("input"))
        except ValidationError as error:
            return JobResult(task_id="", error=invalid_input(error))
        reporter = ProgressReporter(self._job, self._services.send_update)
        self._events = self._begin(job_input, reporter)
        try:
            return self._outcome(job_input, reporter)
        finally:
            self._services.answers.forget(self._runpod_job_id)

    def _outcome(self, job_input: JobInput, reporter: ProgressReporter) -> JobResult:
        try:
            artifacts = self._work(job_input)
        except Exception as error:  # noqa: BLE001, every failure of a job ends here
            reporter.close()
            if self._finished is not None:
                return self._done_before(job_input, self._finished)
            return self._end(job_input, error=self._job_error(error))
        reporter.close()
        return self._end(job_input, artifacts=artifacts)

    def _begin(self, job_input: JobInput, reporter: ProgressReporter) -> JobEvents:
        services, settings = self._services, self._services.settings
        secret, job_id = settings.webhook_secret, None
        if secret is not None and settings.endpoint_id:
            ref = JobRef(settings.endpoint_id, self._runpod_job_id, job_input.task_id, job_input.start_timeout_s)
            job_id = ref.job_id(secret.get_secret_value())
        services.link.send(
            ActiveJob(
                runpod_job_id=self._runpod_job_id,
                job_id=job_id,
                task_id=job_input.task_id,
                model_id=job_input.model_id,
                task=job_input.params.task,
                webhook_url=job_input.webhook_url,
                ledger=job_input.ledger,
            )
        )
        attempt = services.answers.of(self._runpod_job_id) if job_input.ledger is not None else None
        about = EventData(
            task_id=job_input.task_id,
            job_id=job_id,
            sequence=0,
            status=Status.PROVISIONING,
            model_id=job_input.model_id,
            task=job_input.params.task,
            endpoint_id=settings.endpoint_id,
            worker_id=settings.worker_id,
        )
        events = JobEvents(self._runpod_job_id, about, link=services.link, attempt=attempt, report=reporter.update)
        if attempt is not None:
            attempt.add_done_callback(self._answered)
        return events

    def _answered(self, answer: "Future[Attempt]") -> None:
        """Stop what has been done before: its worker died when all was told, but before Runpod knew it."""
        self._finished = answer.result().finished
        if self._finished is not None:
            self.cancel()

    def _done_before(self, job_input: JobInput, event: Event) -> JobResult:
        self._services.link.send(Ended(runpod_job_id=self._runpod_job_id, succeeded=True, counts_as_failure=False))
        data = event.data
        return JobResult(
            task_id=job_input.task_id,
            artifacts=data.artifacts,
            receipt_url=data.receipt_url,
            timings=data.timings,
            load=data.load,
            runtime=data.runtime,
            events=(event,),
        )

    def _work(self, job_input: JobInput) -> tuple[Artifact, ...]:
        params = job_input.params
        if not job_input.announced:
            self._emit(Status.PROVISIONING)
        self._check_start(job_input)
        self._emit(Status.STARTED)
        self._check(job_input)
        images, loras = self._inputs(params)  # while the model is still being loaded
        model = self._await_model()
        policy = policy_of(self._services.settings.safety, params.safety, model.checker)
        seed = params.seed if params.seed is not None else secrets.randbelow(MAX_SEED - params.artifact_count)
        generations = model.adapter(params.task).plan(params, seed=seed, images=images, loras=loras)
        origin = self._origin = Provenance.of(params, model_id=job_input.model_id, revision=model.revision)
        drawing = self._drawing = Drawing(self._services.lane, model.runtime, generations, self._on_progress())
        uploader, mask = self._services.uploader, self._services.mask
        # A picture is encoded and uploaded while the next one is generated, of this job or of another one.
        finishing = self._finishing = Finishing(job_input, uploader, mask=mask, alive=self._alive)
        try:
            with finishing:
                for n, generation in enumerate(generations):
                    made = drawing.take(n)
                    self._timings.setdefault("ttft_s", time.perf_counter() - self._taken)
                    look = partial(checked, made, policy, model.checker)
                    finishing.add(look, origin.with_details(seed=generation.seed, steps=generation.steps))
                    del made, look
                self._services.places.leave(self._runpod_job_id)
                return finishing.artifacts()
        finally:
            drawing.close()

    def _alive(self) -> None:
        self._check_cancelled()
        self._services.link.send(Mark())

    def _on_progress(self) -> OnProgress:
        throttle: Throttle | None = None

        def on_progress(done: int, steps: int) -> None:
            nonlocal throttle
            self._alive()
            throttle = throttle or Throttle(steps)
            if throttle.is_due(done):
                self._emit(Status.PROGRESS, progress=Progress(step=done, steps=steps))

        return on_progress

    def _check_start(self, job_input: JobInput) -> None:
        """Refuse a job that came too late, unless a worker had begun it in time before."""
        if job_input.start_timeout_s is None:
            return
        late_s = time.time() - task_time(job_input.task_id).timestamp() - job_input.start_timeout_s
        if late_s <= CLOCKS_S or self._events.attempt() > 1:
            return
        detail = f"No worker took the job within {job_input.start_timeout_s} s."
        hint = "Send the request again, or give it more time to start."
        raise JobFailedError(detail, hint=hint, code=ErrorCode.DEADLINE_EXCEEDED)

    def _check(self, job_input: JobInput) -> None:
        _require_model(job_input.model_id, self._services.settings)
        given, wanted = len(job_input.uploads), job_input.params.artifact_count
        if given < wanted:
            detail = f"uploads: {given} given for {wanted} files."
            raise JobFailedError(detail, hint="Give one for each file.", code=ErrorCode.INVALID_REQUEST)

    def _inputs(self, params: TaskInput) -> "tuple[dict[str, Image], tuple[LoraFile, ...]]":
        services, references, began = self._services, image_references(params), time.perf_counter()
        images = {field: services.images.load(reference, field=field) for field, reference in references.items()}
        loras = services.loras.bring(params.loras)
        if images or loras:
            self._add("input_s", began)
        return images, loras

    def _await_model(self) -> LoadedModel:
        loading, throttle = self._services.model, LoadThrottle()
        loading.add_done_callback(lambda _: self._wake.set())
        while not self._wake.wait(LOAD_INTERVAL_S):
            progress = self._services.loading()
            if throttle.is_due(progress):
                self._emit(Status.PROGRESS, loading=progress)
        self._check_cancelled()
        model = loading.result()
        if self._is_first:
            self._load = model.report
            start = self._services.cold_start
            self._timings |= {"interpreter_s": start.interpreter_s, "sdk_import_s": start.sdk_import_s}
            self._timings |= {"framework_import_s": model.framework_import_s, "load_s": model.report.seconds}
            self._timings |= {"find_s": model.find_s, "improve_s": model.improve_s}
        else:
            self._load = model.in_memory
        self._runtime = model.runtime.report()
        return model

    def _end(
        self, job_input: JobInput, *, artifacts: tuple[Artifact, ...] = (), error: JobError | None = None
    ) -> JobResult:
        self._timings["total_s"] = time.perf_counter() - self._taken
        if drawing := self._drawing:
            self._timings |= {"wait_s": drawing.wait_s, "generate_s": drawing.generate_s, "step_s": drawing.step_s}
            self._runtime = drawing.report or self._runtime
        if finishing := self._finishing:
            self._timings |= {"check_s": finishing.check_s, "encode_s": finishing.encode_s}
            self._timings["upload_s"] = finishing.upload_s
        timings = Timings.model_validate(
            {name: None if value is None else round(value, 6) for name, value in self._timings.items()}
        )
        status = Status.READY if error is None else Status.FAILED
        event_error = None if error is None else EventError.model_validate(error.model_dump())
        receipt_url = self._receipt(job_input, artifacts, timings) if error is None else None
        said = {"artifacts": artifacts, "receipt_url": receipt_url, "timings": timings, "error": event_error}
        events = self._events.end(status, load=self._load, runtime=self._runtime, **said)
        counts = error is not None and error.code not in CALLERS_OWN
        self._services.link.send(
            Ended(runpod_job_id=self._runpod_job_id, succeeded=error is None, counts_as_failure=counts)
        )
        return JobResult(
            task_id=job_input.task_id,
            artifacts=artifacts,
            receipt_url=receipt_url,
            timings=timings,
            load=self._load,
            runtime=self._runtime,
            error=error,
            events=events,
        )

    def _receipt(self, job_input: JobInput, artifacts: tuple[Artifact, ...], timings: Timings) -> str | None:
        """Store the job's receipt and return its link; a job does not fail for the want of one."""
        key, upload, origin = self._services.settings.webhook_key, job_input.receipt, self._origin
        if key is None or upload is None or origin is None:
            return None
        content = receipt(
            PrivateKey.of(key.get_secret_value()),
            origin,
            job={"task_id": job_input.task_id, "job_id": self._events.job_id, "attempt": self._events.attempt()},
            artifacts=artifacts,
            timings=timings,
            runtime=self._runtime,
            mask=self._services.mask,
        )
        try:
            self._services.uploader.put(upload, content, content_type=RECEIPT_TYPE, alive=self._alive)
        except VisgateError as error:
            log.warning("the receipt is missing: %s", error.detail)
            return None
        return upload.cdn_url

    def _emit(self, status: Status, **more: Any) -> None:
        self._events.emit(status, load=self._load, runtime=self._runtime, **more)

    def _check_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise JobCancelledError

    def _add(self, name: str, began: float) -> None:
        self._timings[name] = (self._timings.get(name) or 0.0) + time.perf_counter() - began

    def _job_error(self, error: Exception) -> JobError:
        if not isinstance(error, VisgateError):
            log.error("the job failed unexpectedly", exc_info=error)
            error = JobFailedError(f"The worker failed: {summary(error)}", code=ErrorCode.INTERNAL)
        if loses_the_device(error):
            detail = "The GPU failed, and this process cannot use it any more."
            self._services.link.send(Fatal(code=ErrorCode.WORKER_FATAL, detail=detail, hint="Send the request again."))
        mask = self._services.mask
        tail = self._services.log_tail.lines() if error.code in WORKERS_OWN else ()
        return JobError(code=error.code, detail=mask(error.detail), hint=mask(error.hint), log_tail=tail)


def _require_model(model_id: str, settings: Settings) -> None:
    if model_id != settings.model_id:
        detail = f"model_id: this worker serves {settings.model_id}, not {model_id}."
        hint = "Send the job to an endpoint of that model."
        raise JobFailedError(detail, hint=hint, code=ErrorCode.INVALID_REQUEST)
