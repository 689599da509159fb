import asyncio
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from PIL import Image
from pydantic import SecretStr

from visgate_contract.addresses import EgressPolicy
from visgate_contract.capabilities import capability_of
from visgate_contract.ed25519 import PrivateKey
from visgate_contract.errors import ErrorCode
from visgate_contract.events import Event, LoadProgress, LoadReport, RuntimeReport, Status
from visgate_contract.jobs import JobProgress, JobResult
from visgate_contract.signing import JobRef, derive_webhook_key, derive_webhook_secret, new_task_id, tenant_of
from visgate_worker import handler
from visgate_worker.adapters.base import Generation
from visgate_worker.failures import JobFailedError
from visgate_worker.handler import JobHandler
from visgate_worker.inputs import ImageInputs
from visgate_worker.link import ActiveJob, Answers, Attempt, Emitted, Ended, KeepWarm, Link, Message, parse
from visgate_worker.logs import Masker
from visgate_worker.loras import loras_of
from visgate_worker.model import LoadedModel
from visgate_worker.runtime.base import OnStep
from visgate_worker.services import ColdStart, Services
from visgate_worker.settings import Settings
from visgate_worker.uploads import Uploader

if TYPE_CHECKING:
    from tests.unit.worker.conftest import Server

SECRET = derive_webhook_secret("a signing key of a test platform", "0" * 64)
TASK_ID = "task_" + "0" * 26
CANARY = "canary-hugging-face-token"
RUNTIME = RuntimeReport(name="eager", device="cpu", family="flux", peak_memory_bytes=5)
REPORT = LoadReport(source="volume", size_bytes=123, seconds=0.5)


class Drawing:
    def __call__(
        self, prompt: str, height: int, width: int, num_inference_steps: int = 4, generator: Any = None
    ) -> None:
        """Draw."""


class FakeRuntime:
    """Steps without a model; `before_step` may wait or raise."""

    def __init__(self) -> None:
        self.before_step: Callable[[int], object] = lambda _: None

    def class_of(self, pipeline: str) -> type:
        return Drawing

    checker = None

    def load(self, folder: Path) -> None:
        """Have nothing to load."""

    def generate(self, batch: Sequence[Generation], on_step: OnStep) -> list[Any]:
        for step in range(1, batch[0].steps + 1):
            self.before_step(step)
            on_step(step)
        return [Image.new("RGB", (64, 64), (one.seed % 256, 0, 0)) for one in batch]

    def improve(self, check: OnStep = lambda _: None) -> bool:
        return False

    def report(self) -> RuntimeReport:
        return RUNTIME


@dataclass
class Bench:
    """A handler with everything around it."""

    handler: JobHandler
    runtime: FakeRuntime
    model: "Future[LoadedModel]"
    store: "Server"
    link_end: int
    answers: Answers
    progress: list[Any] = field(default_factory=list)
    loading: Callable[[], LoadProgress | None] = lambda: None

    def load(self) -> None:
        self.model.set_result(
            LoadedModel("org/model", self.runtime, capability_of({"_class_name": "FluxPipeline"}), REPORT, 3.0)
        )

    def job(self, **more: Any) -> dict[str, Any]:
        params = {"prompt": "a fox", "seed": 5, "steps": 4} | more.pop("params", {})
        count = params.get("num_images", 1)
        uploads = [{"put_url": f"{self.store.url}/{n}?X-Amz-Signature=s", "cdn_url": f"cdn/{n}"} for n in range(count)]
        job_input = {"task_id": TASK_ID, "model_id": "org/model", "params": params, "uploads": uploads}
        return {"id": "job-1", "input": job_input | {"webhook_url": "http://receiver/"} | more}

    def run(self, **more: Any) -> JobResult:
        answer = asyncio.run(self.handler(self.job(**more)))
        return as_runpod_holds_it(answer)

    def messages(self) -> list[Message]:
        """Return what the supervisor has been told so far."""
        return [parse(line) for line in os.read(self.link_end, 1_000_000).splitlines()]


def as_runpod_holds_it(answer: dict[str, Any]) -> JobResult:
    output = json.loads(json.dumps(answer))
    error = output.pop("error", None)
    result = JobResult.from_runpod({"status": "FAILED" if error else "COMPLETED", "output": output, "error": error})
    assert result is not None
    return result


@pytest.fixture
def bench(make_server: "Callable[..., Server]") -> Iterator[Bench]:
    read_end, write_end = os.pipe()
    settings = Settings.model_validate(
        {"model_id": "org/model", "webhook_secret": SECRET, "endpoint_id": "ep1", "worker_id": "w1"}
    )
    uploader = Uploader(first_wait_s=0.01)
    images = ImageInputs(EgressPolicy(allow_loopback=True))
    loras = loras_of(settings, EgressPolicy(allow_loopback=True))
    model: Future[LoadedModel] = Future()
    progress: list[Any] = []
    answers = Answers()
    services = Services(
        settings=settings,
        link=Link(write_end),
        answers=answers,
        model=model,
        images=images,
        loras=loras,
        uploader=uploader,
        send_update=lambda _, update: progress.append(update),
        mask=Masker({"HF_TOKEN": CANARY}).text,
        cold_start=ColdStart(0.1, 0.2),
        loading=lambda: made.loading(),  # noqa: PLW0108, a test may replace it
    )
    made = Bench(JobHandler(services), FakeRuntime(), model, make_server(), read_end, answers, progress)
    yield made
    uploader.close()
    images.close()
    loras.close()
    os.close(read_end)
    os.close(write_end)


def story(events: tuple[Event, ...]) -> list[tuple[int, Status]]:
    return [(event.data.sequence, event.data.status) for event in events]


def test_a_job_ends_ready_with_every_phase_reported(bench: Bench) -> None:
    bench.load()
    result = bench.run(params={"num_images": 2})
    assert result.error is None
    assert [artifact.seed for artifact in result.artifacts] == [5, 6]
    assert [artifact.url for artifact in result.artifacts] == ["cdn/0", "cdn/1"]
    assert [len(request.body) for request in bench.store.requests] == [one.size_bytes for one in result.artifacts]
    assert story(result.events)[:3] == [(0, Status.PROVISIONING), (1, Status.STARTED), (2, Status.PROGRESS)]
    assert story(result.events)[-1][1] is Status.READY
    assert [sequence for sequence, _ in story(result.events)] == list(range(len(result.events)))
    ready = result.events[-1].data
    assert ready.artifacts == result.artifacts
    assert ready.load == result.load == REPORT
    assert ready.runtime == result.runtime == RUNTIME
    assert result.timings is not None
    assert (result.timings.interpreter_s, result.timings.sdk_import_s) == (0.1, 0.2)
    assert (result.timings.framework_import_s, result.timings.load_s) == (3.0, 0.5)
    assert result.timings.step_s is not None
    assert 0 < result.timings.step_s <= result.timings.generate_s
    assert result.timings.wait_s is not None
    assert result.timings.ttft_s is not None
    assert result.timings.total_s is not None
    assert result.timings.ttft_s <= result.timings.total_s


def test_the_supervisor_is_told_the_same_and_can_speak_for_the_job(bench: Bench) -> None:
    bench.load()
    result = bench.run()
    messages = bench.messages()
    assert tuple(one.event for one in messages if isinstance(one, Emitted)) == result.events
    job = messages[0]
    assert isinstance(job, ActiveJob)
    assert job.job_id is not None
    assert JobRef.parse(job.job_id, SECRET) == JobRef("ep1", "job-1", TASK_ID)
    assert {event.data.job_id for event in result.events} == {job.job_id}
    assert messages[-1] == Ended(runpod_job_id="job-1", succeeded=True, counts_as_failure=False)


LEDGER = {"get_url": "http://store/get", "put_url": "http://store/put"}


def test_events_wait_for_the_number_of_the_attempt_and_the_generation_does_not(bench: Bench) -> None:
    bench.load()
    drawn: list[int] = []

    def draw(step: int) -> None:
        drawn.append(step)
        if step == 4:
            assert not [one for one in bench.messages() if isinstance(one, Emitted)]
            bench.answers.take(Attempt(runpod_job_id="job-1", number=3).model_dump_json().encode())

    bench.runtime.before_step = draw
    result = bench.run(ledger=LEDGER)
    assert drawn == [1, 2, 3, 4]
    assert story(result.events)[:2] == [(2001, Status.STARTED), (2002, Status.PROGRESS)]
    assert {event.data.attempt for event in result.events} == {3}
    assert result.events[-1].id.endswith("_3_ready")


def test_the_first_attempt_counts_from_one_and_tells_provisioning(bench: Bench) -> None:
    bench.load()
    bench.answers.take(Attempt(runpod_job_id="job-1", number=1).model_dump_json().encode())
    result = bench.run(ledger=LEDGER)
    assert story(result.events)[:2] == [(0, Status.PROVISIONING), (1, Status.STARTED)]


def test_what_an_earlier_attempt_has_done_is_not_done_again(bench: Bench) -> None:
    bench.load()
    done = bench.run()
    stored = len(bench.store.requests)
    bench.messages()
    answer = Attempt(runpod_job_id="job-1", number=1, finished=done.events[-1])
    bench.runtime.before_step = lambda _: bench.answers.take(answer.model_dump_json().encode())
    again = bench.run(ledger=LEDGER)
    assert (again.artifacts, again.error, again.events) == (done.artifacts, None, done.events[-1:])
    assert len(bench.store.requests) == stored
    messages = bench.messages()
    assert not [one for one in messages if isinstance(one, Emitted)]
    assert messages[-1] == Ended(runpod_job_id="job-1", succeeded=True, counts_as_failure=False)


@pytest.mark.parametrize(("attempt", "began"), [(1, False), (2, True)])
def test_a_job_that_comes_too_late_is_refused_unless_it_was_begun_in_time(
    bench: Bench, attempt: int, *, began: bool
) -> None:
    bench.load()
    bench.answers.take(Attempt(runpod_job_id="job-1", number=attempt).model_dump_json().encode())
    result = bench.run(ledger=LEDGER, start_timeout_s=60)  # its task was made in 1970
    (ended,) = [one for one in bench.messages() if isinstance(one, Ended)]
    if began:
        assert result.error is None
        return
    assert result.error is not None
    assert (result.error.code, result.error.detail) == (
        ErrorCode.DEADLINE_EXCEEDED,
        "No worker took the job within 60 s.",
    )
    assert [event.data.status for event in result.events] == [Status.PROVISIONING, Status.FAILED]
    assert JobRef.parse(result.events[-1].data.job_id or "", SECRET).start_timeout_s == 60
    assert not ended.counts_as_failure
    assert bench.store.requests == []


def test_a_job_that_comes_in_time_is_done(bench: Bench) -> None:
    bench.load()
    assert bench.run(start_timeout_s=60, task_id=new_task_id(datetime.now(UTC))).error is None


def test_a_supervisor_that_does_not_answer_holds_nothing_up_for_ever(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("visgate_worker.job_events.ATTEMPT_LIMIT_S", 0.01)
    bench.load()
    assert story(bench.run(ledger=LEDGER).events)[0] == (0, Status.PROVISIONING)


def test_an_announced_job_begins_with_started(bench: Bench) -> None:
    bench.load()
    assert story(bench.run(announced=True).events)[0] == (1, Status.STARTED)


def test_while_the_model_is_on_its_way_events_say_how_far_it_is(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handler, "LOAD_INTERVAL_S", 0.001)
    steps = iter([None, (10, 100), (11, 100), (15, 100), (100, 100)])

    def loading() -> LoadProgress | None:
        try:
            step = next(steps)
        except StopIteration:
            if not bench.model.done():
                bench.load()
            return None
        return None if step is None else LoadProgress(source="s3", done_bytes=step[0], total_bytes=step[1])

    bench.loading = loading
    result = bench.run()
    told = [event.data.loading.done_bytes for event in result.events if event.data.loading is not None]
    assert told == [10, 15, 100]
    assert {event.data.status for event in result.events if event.data.loading} == {Status.PROGRESS}
    assert result.events[-1].data.loading is None


def test_the_second_job_finds_the_model_in_memory(bench: Bench) -> None:
    bench.load()
    bench.run()
    result = bench.run()
    assert result.load == LoadReport(source="memory", size_bytes=123, seconds=0)
    assert result.timings is not None
    assert result.timings.load_s == 0
    assert result.timings.framework_import_s is None


def test_progress_is_cumulative_and_none_follows_the_result(bench: Bench) -> None:
    bench.load()
    result = bench.run()
    reports = [JobProgress.model_validate(update).events for update in bench.progress]
    assert reports
    assert all(report == result.events[: len(report)] for report in reports)
    assert all(not event.data.status.is_terminal for report in reports for event in report)


def test_without_a_seed_one_is_chosen_and_told(bench: Bench) -> None:
    bench.load()
    seeds = {bench.run(params={"seed": None}).artifacts[0].seed for _ in range(3)}
    assert len(seeds) == 3


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"model_id": "other/model"}, "this worker serves org/model, not other/model"),
        ({"params": {"num_images": 2}, "uploads": [{"put_url": "u", "cdn_url": "c"}]}, "1 given for 2 files"),
    ],
)
def test_a_job_that_does_not_fit_is_refused_and_does_not_count(bench: Bench, more: dict[str, Any], words: str) -> None:
    bench.load()
    result = bench.run(**more)
    assert result.error is not None
    assert result.error.code is ErrorCode.INVALID_REQUEST
    assert words in result.error.detail
    assert result.error.hint
    assert bench.messages()[-1] == Ended(runpod_job_id="job-1", succeeded=False, counts_as_failure=False)


def test_input_that_is_no_job_is_an_error_that_names_the_field(bench: Bench) -> None:
    bench.load()
    result = bench.run(params={"width": -64})
    assert result.error is not None
    assert "params.width" in result.error.detail
    assert result.error.code is ErrorCode.INVALID_REQUEST


def boom(_: int) -> None:
    message = f"broke with {CANARY}\nand a second line"
    raise RuntimeError(message)


def test_an_unexpected_error_is_one_failed_event_without_traceback_or_secret(bench: Bench) -> None:
    bench.load()
    bench.runtime.before_step = boom
    result = bench.run()
    assert result.error is not None
    assert result.error.code is ErrorCode.INTERNAL
    assert result.error.detail == "The worker failed: RuntimeError: broke with [masked]"
    assert [status for _, status in story(result.events)].count(Status.FAILED) == 1
    assert result.events[-1].data.error is not None
    messages = bench.messages()
    assert CANARY not in repr(messages)
    assert messages[-1] == Ended(runpod_job_id="job-1", succeeded=False, counts_as_failure=True)


def test_a_model_that_cannot_be_loaded_fails_the_job_with_the_reason(bench: Bench) -> None:
    bench.model.set_exception(JobFailedError("gone", hint="copy it", code=ErrorCode.MODEL_NOT_FOUND))
    result = bench.run()
    assert result.error is not None
    assert (result.error.code, result.error.detail, result.error.hint) == (ErrorCode.MODEL_NOT_FOUND, "gone", "copy it")
    assert story(result.events)[-1] == (2, Status.FAILED)


def test_a_store_that_refuses_fails_the_job(bench: Bench, answer_of: Callable[..., Any]) -> None:
    bench.load()
    bench.store.answer = lambda _: answer_of(status=403)
    result = bench.run()
    assert result.error is not None
    assert result.error.code is ErrorCode.UPLOAD_FAILED
    assert result.artifacts == ()


async def cancel_when(bench: Bench, begun: threading.Event, release: Callable[[], object]) -> None:
    job = asyncio.get_running_loop().create_task(bench.handler(bench.job(params={"steps": 100})))
    assert await asyncio.to_thread(begun.wait, 10)
    job.cancel()
    await asyncio.sleep(0)
    release()
    with pytest.raises(asyncio.CancelledError):
        await job


def test_cancelling_ends_the_generation_at_its_next_step(bench: Bench) -> None:
    bench.load()
    begun, go_on, steps = threading.Event(), threading.Event(), []

    def wait(step: int) -> None:
        steps.append(step)
        begun.set()
        go_on.wait(10)

    bench.runtime.before_step = wait
    asyncio.run(cancel_when(bench, begun, go_on.set))
    assert steps == [1]
    messages = bench.messages()
    last = [one.event for one in messages if isinstance(one, Emitted)][-1].data
    assert last.status is Status.FAILED
    assert last.error is not None
    assert last.error.code is ErrorCode.CANCELLED
    assert messages[-1] == Ended(runpod_job_id="job-1", succeeded=False, counts_as_failure=False)


def test_cancelling_does_not_wait_for_a_model_that_is_still_loading(bench: Bench) -> None:
    begun = threading.Event()
    begun.set()
    asyncio.run(cancel_when(bench, begun, lambda: None))
    assert not bench.model.done()
    assert bench.messages()[-1] == Ended(runpod_job_id="job-1", succeeded=False, counts_as_failure=False)


def warm_up(**more: Any) -> dict[str, Any]:
    given = {"task_id": TASK_ID, "model_id": "org/model", "warm_for_s": 600, "idle_timeout_s": 60}
    return {"id": "warm-1", "input": given | more}


def test_a_warm_up_waits_for_the_model_and_draws_nothing(bench: Bench) -> None:
    bench.load()
    result = as_runpod_holds_it(asyncio.run(bench.handler(warm_up())))
    assert (result.error, result.load, result.artifacts) == (None, REPORT, ())
    assert bench.messages() == [KeepWarm(warm_for_s=600, idle_timeout_s=60)]
    drawn = bench.run()
    assert drawn.load is not None
    assert drawn.load.source == "memory"  # the first picture finds the model there


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"model_id": "org/other"}, "serves org/model, not org/other"),
        ({"warm_for_s": 0}, "warm_for_s"),
        ({"warm_for_s": 86_400}, "warm_for_s"),
        ({"task_id": "x"}, "task_id"),
    ],
)
def test_a_wrong_warm_up_is_refused_and_keeps_nobody(bench: Bench, wrong: dict[str, Any], said: str) -> None:
    bench.load()
    result = as_runpod_holds_it(asyncio.run(bench.handler(warm_up(**wrong))))
    assert result.error is not None
    assert result.error.code is ErrorCode.INVALID_REQUEST
    assert said in result.error.detail


def test_a_warm_up_tells_why_the_model_does_not_load(bench: Bench) -> None:
    bench.model.set_exception(JobFailedError(f"no {CANARY}", hint="copy it", code=ErrorCode.MODEL_LOAD_FAILED))
    result = as_runpod_holds_it(asyncio.run(bench.handler(warm_up())))
    assert result.error is not None
    assert (result.error.code, result.error.hint) == (ErrorCode.MODEL_LOAD_FAILED, "copy it")
    assert CANARY not in result.error.detail


def test_a_cancelled_warm_up_leaves_the_model_to_others(bench: Bench) -> None:
    async def cancel_then_draw() -> dict[str, Any]:
        waiting = asyncio.create_task(bench.handler(warm_up()))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        bench.load()
        return await bench.handler(bench.job())

    assert as_runpod_holds_it(asyncio.run(cancel_then_draw())).error is None


KEY = derive_webhook_key("a signing key of a test platform", tenant_of("0" * 64))


def extended(bench: Bench, count: int, **more: Any) -> dict[str, Any]:
    """Uploads with small pictures, and a receipt."""

    def upload(name: str) -> dict[str, Any]:
        return {"put_url": f"{bench.store.url}/{name}", "cdn_url": f"https://cdn/{name}"}

    files = [
        upload(f"{n}.png") | {"thumbnail": upload(f"{n}.webp"), "poster": upload(f"{n}.jpg")} for n in range(count)
    ]
    return {"uploads": files, "receipt": upload("receipt.jws")} | more


def with_key(bench: Bench) -> None:
    services = bench.handler._services
    settings = services.settings.model_copy(update={"webhook_key": SecretStr(KEY)})
    bench.handler._services = replace(services, settings=settings)


def test_a_receipt_ties_the_files_to_what_made_them(bench: Bench) -> None:
    with_key(bench)
    bench.load()
    result = bench.run(**extended(bench, 2), params={"num_images": 2, "prompt": f"a fox {CANARY}"})
    assert result.error is None
    assert result.receipt_url == result.events[-1].data.receipt_url == "https://cdn/receipt.jws"
    stored = {request.path.strip("/"): request.body for request in bench.store.requests}
    assert set(stored) == {"0.png", "0.webp", "1.png", "1.webp", "receipt.jws"}
    said = jwt.decode(stored["receipt.jws"], jwt.PyJWK(PrivateKey.of(KEY).jwk()), algorithms=["EdDSA"])
    assert [one["sha256"] for one in said["artifacts"]] == [
        hashlib.sha256(stored[f"{n}.png"]).hexdigest() for n in range(2)
    ]
    assert [one["seed"] for one in said["artifacts"]] == [5, 6]
    assert (said["task_id"], said["model"], said["task"], said["attempt"]) == (TASK_ID, "org/model", "text2img", 1)
    assert said["timings"]["generate_s"] > 0
    assert said["runtime"]["name"] == RUNTIME.name
    assert CANARY not in json.dumps(said)
    assert all(CANARY.encode() not in body for body in stored.values())


def test_each_picture_has_its_thumbnail_and_only_clips_have_posters(bench: Bench) -> None:
    bench.load()
    result = bench.run(**extended(bench, 1))
    [artifact] = result.artifacts
    assert (artifact.url, artifact.thumbnail_url) == ("https://cdn/0.png", "https://cdn/0.webp")
    assert artifact.poster_url is None
    assert result.receipt_url is None  # nobody gave a key


@pytest.mark.parametrize("missing", ["/0.webp", "/receipt.jws"])
def test_a_job_does_not_fail_for_the_want_of_what_stands_beside_its_files(
    bench: Bench, answer_of: "type[Any]", missing: str
) -> None:
    with_key(bench)
    bench.store.answer = lambda request: answer_of(status=403 if request.path == missing else 200)
    bench.load()
    result = bench.run(**extended(bench, 1))
    assert result.error is None
    [artifact] = result.artifacts
    assert (artifact.thumbnail_url is None, result.receipt_url is None) == (missing == "/0.webp", missing != "/0.webp")


def test_the_next_job_draws_while_the_files_of_one_are_on_their_way(bench: Bench, answer_of: "type[Any]") -> None:
    bench.load()
    drawn, stored = threading.Event(), threading.Event()

    def answer(request: Any) -> Any:
        return answer_of(before=lambda: stored.wait(30) if request.path == "/slow" else None)

    bench.store.answer = answer
    slow = {"uploads": [{"put_url": f"{bench.store.url}/slow", "cdn_url": "cdn/slow"}]}

    async def both() -> list[dict[str, Any]]:
        first = asyncio.create_task(bench.handler(bench.job(**slow)))
        await asyncio.to_thread(drawn.wait, 30)
        second = await bench.handler(bench.job() | {"id": "job-2"})
        assert not first.done()
        stored.set()
        return [second, await first]

    bench.runtime.before_step = lambda step: drawn.set() if step == 4 else None
    assert all("error" not in answer for answer in asyncio.run(both()))
