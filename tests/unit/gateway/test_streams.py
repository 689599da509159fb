import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import httpx_sse
import pytest
import uvicorn

from pulumi_visgate.gateway.app import create_app
from pulumi_visgate.gateway.services import follow, log_tunnel
from pulumi_visgate.gateway.state import Clients
from visgate_contract.events import Event, EventData, Progress, Status
from visgate_contract.jobs import JobProgress, JobResult
from visgate_contract.names import user_hash
from visgate_contract.signing import derive_webhook_secret
from visgate_contract.tasks import Task

KEY = "rpa_CANARYKEY0000000000000000000001"
MODEL = "visgate/tiny-sd"
SECRET = derive_webhook_secret("signing-key-of-the-tests-0123456789", user_hash(KEY))
JOB = {"model": MODEL, "input": {"prompt": "a red fox"}}
Live = Callable[..., AbstractAsyncContextManager[httpx.AsyncClient]]


@pytest.fixture
def live(runpod: Any, new_settings: Any) -> Live:
    """The application behind a real server, as streams need one."""

    @asynccontextmanager
    async def serving(**changes: Any) -> AsyncIterator[httpx.AsyncClient]:
        app = create_app(new_settings(**changes), clients=Clients(runpod=runpod.transport()))
        config = uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve())
        try:
            async with asyncio.timeout(20):
                while not server.started:  # noqa: ASYNC110, the server offers no event
                    await asyncio.sleep(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            headers = {"Authorization": f"Bearer {KEY}"}
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=20) as client:
                yield client
        finally:
            server.should_exit = True
            await task

    return serving


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(follow, "LONGEST_WAIT_S", 0.02)
    monkeypatch.setattr(log_tunnel, "QUIET_S", 0.05)


async def accepted(client: httpx.AsyncClient, runpod: Any) -> tuple[str, dict[str, Any]]:
    answer = await client.post("/v1/jobs", json=JOB)
    assert answer.status_code == 202, answer.text
    return answer.json()["job_id"], next(reversed(runpod.jobs.values()))


def told(job: dict[str, Any], *statuses: Status) -> tuple[Event, ...]:
    def one(sequence: int, status: Status) -> Event:
        progress = Progress(step=sequence, steps=9) if status is Status.PROGRESS else None
        data = EventData(
            task_id=job["input"]["task_id"],
            sequence=sequence,
            status=status,
            model_id=MODEL,
            task=Task.TEXT2IMG,
            progress=progress,
        )
        return Event.of(data, timestamp=datetime.now(UTC))

    return tuple(one(number, status) for number, status in enumerate(statuses, start=1))


def running(job: dict[str, Any], *statuses: Status) -> None:
    output = JobProgress(events=told(job, *statuses)).model_dump(mode="json")
    job.update(status="IN_PROGRESS", workerId="w1", output=output)


def completed(job: dict[str, Any], *statuses: Status) -> None:
    result = JobResult(task_id=job["input"]["task_id"], events=told(job, *statuses))
    job.update(status="COMPLETED", workerId="w1", output=result.to_runpod())


async def test_events_arrive_in_order_and_the_stream_ends(live: Live, runpod: Any) -> None:
    seen: list[tuple[str, str]] = []
    async with live() as client:
        job_id, job = await accepted(client, runpod)
        async with httpx_sse.aconnect_sse(client, "GET", f"/v1/jobs/{job_id}/events") as stream:
            stream.response.raise_for_status()
            async for sse in stream.aiter_sse():
                if sse.event == "waiting":
                    continue
                event = Event.model_validate_json(sse.data)
                assert sse.id == str(event.data.sequence)
                seen.append((sse.id, sse.event))
                if event.data.status is Status.PROVISIONING:
                    assert event.data.job_id == job_id
                    running(job, Status.STARTED)
                elif event.data.status is Status.STARTED:
                    running(job, Status.STARTED, Status.PROGRESS)
                elif event.data.status is Status.PROGRESS:
                    completed(job, Status.STARTED, Status.PROGRESS, Status.READY)
    assert seen == [("0", "job.provisioning"), ("1", "job.started"), ("2", "job.progress"), ("3", "job.ready")]


async def test_a_stream_is_resumed_after_the_last_event(live: Live, runpod: Any) -> None:
    async with live() as client:
        job_id, job = await accepted(client, runpod)
        completed(job, Status.STARTED, Status.PROGRESS, Status.READY)
        headers = {"Last-Event-ID": "1"}
        async with httpx_sse.aconnect_sse(client, "GET", f"/v1/jobs/{job_id}/events", headers=headers) as stream:
            ids = [sse.id async for sse in stream.aiter_sse()]
        over = await client.get(f"/v1/jobs/{job_id}/events", headers={"Last-Event-ID": "3"})
    assert ids == ["2", "3"]
    assert over.status_code == 204


async def test_a_job_that_no_worker_spoke_of_still_ends(live: Live, runpod: Any) -> None:
    async with live() as client:
        job_id, _ = await accepted(client, runpod)
        await client.post(f"/v1/jobs/{job_id}/cancel")
        async with httpx_sse.aconnect_sse(client, "GET", f"/v1/jobs/{job_id}/events") as stream:
            events = [Event.model_validate_json(sse.data) async for sse in stream.aiter_sse()]
    assert [event.type for event in events] == ["job.provisioning", "job.failed"]
    last = events[-1].data
    assert last.error is not None
    assert (last.error.code, last.sequence, last.model_id, last.job_id) == ("cancelled", 999, MODEL, job_id)


async def test_a_silent_stream_says_that_it_lives(live: Live, runpod: Any) -> None:
    async with live(heartbeat_s=0.05) as client:
        job_id, job = await accepted(client, runpod)
        async with client.stream("GET", f"/v1/jobs/{job_id}/events") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["cache-control"] == "no-store"
            lines = []
            async for line in answer.aiter_lines():
                lines.append(line)
                if line == ": still here":
                    completed(job, Status.READY)
    assert "retry: 2000" in lines
    assert "event: job.ready" in lines


async def test_a_stream_outlives_a_fault_and_tells_of_a_lasting_one(live: Live, runpod: Any) -> None:
    fault = httpx.Response(503, json={"title": "Error", "status": 503, "detail": f"down {KEY}"})
    async with live() as client:
        job_id, job = await accepted(client, runpod)
        async with httpx_sse.aconnect_sse(client, "GET", f"/v1/jobs/{job_id}/events") as stream:
            events: list[httpx_sse.ServerSentEvent] = []
            async for sse in stream.aiter_sse():
                events.append(sse)
                if sse.event == "job.provisioning":
                    running(job, Status.STARTED)
                elif sse.event == "job.started":
                    runpod.jobs.clear()
                    runpod.answers["status"] = httpx.Response(403, content=fault.content)
    assert [sse.event for sse in events] == ["job.provisioning", "waiting", "job.started", "error"]
    problem = json.loads(events[-1].data)
    assert problem["code"] == "runpod_refused"
    assert KEY not in events[-1].data


async def test_hanging_up_stops_the_questions(live: Live, runpod: Any) -> None:
    async with live() as client:
        job_id, _ = await accepted(client, runpod)
        async with httpx_sse.aconnect_sse(client, "GET", f"/v1/jobs/{job_id}/events") as stream:
            async for _sse in stream.aiter_sse():
                break
        async with asyncio.timeout(10):
            before = -1
            while runpod.calls["status"] != before:
                before = runpod.calls["status"]
                await asyncio.sleep(0.1)


async def test_many_listeners_ask_runpod_as_one(live: Live, runpod: Any) -> None:
    async def listen(client: httpx.AsyncClient, job_id: str, joined: asyncio.Event) -> list[str]:
        async with httpx_sse.aconnect_sse(client, "GET", f"/v1/jobs/{job_id}/events") as stream:
            found = []
            async for sse in stream.aiter_sse():
                found.append(sse.event)
                joined.set()
            return found

    async with live() as client:
        job_id, job = await accepted(client, runpod)
        joined = [asyncio.Event() for _ in range(50)]
        listeners = [asyncio.create_task(listen(client, job_id, each)) for each in joined]
        async with asyncio.timeout(20):
            await asyncio.gather(*(each.wait() for each in joined))
            before = runpod.calls["status"]
            completed(job, Status.READY)
            seen = await asyncio.gather(*listeners)
    assert seen == [["job.provisioning", "waiting", "job.ready"]] * 50
    assert runpod.calls["status"] - before <= 3


def stamp(seconds: int) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


async def test_a_jobs_log_is_tunnelled_masked_and_ends(live: Live, runpod: Any) -> None:
    other_token = "hf_SOMETHINGELSE0000000000"
    runpod.logs["w1"] = [
        (stamp(-3600), "a line of an earlier job"),
        (stamp(1), "loading"),
        (stamp(2), f"using {KEY} and {SECRET} and {other_token}"),
        (stamp(3), f"broken {KEY[:20]}"),
        (stamp(4), f"{KEY[20:]} over lines"),
    ]
    async with live() as client:
        job_id, job = await accepted(client, runpod)
        completed(job, Status.READY)
        async with httpx_sse.aconnect_sse(client, "GET", f"/v1/jobs/{job_id}/logs") as stream:
            events = [(sse.event, sse.id, json.loads(sse.data)) async for sse in stream.aiter_sse()]
        resume = {"Last-Event-ID": events[0][1]}
        async with httpx_sse.aconnect_sse(client, "GET", f"/v1/jobs/{job_id}/logs", headers=resume) as stream:
            again = [(sse.event, sse.id) async for sse in stream.aiter_sse()]
    assert [name for name, _, _ in events] == ["log"] * 4 + ["end"]
    assert [data.get("line") for _, _, data in events[:4]] == [
        "loading",
        "using [masked] and [masked] and [masked]",
        "broken [masked]",
        "[masked] over lines",
    ]
    assert events[0][2]["worker_id"] == "w1"
    assert [name for name, _ in again] == ["log"] * 3 + ["end"]


async def test_an_endpoints_logs_come_from_all_its_workers(live: Live, runpod: Any) -> None:
    runpod.logs = {"w1": [(stamp(1), "one")], "w2": [(stamp(2), "two")]}
    async with live() as client:
        await accepted(client, runpod)
        (endpoint,) = runpod.endpoints
        found = set()
        async with httpx_sse.aconnect_sse(client, "GET", f"/v1/endpoints/{endpoint}/logs") as stream:
            async for sse in stream.aiter_sse():
                data = json.loads(sse.data)
                found.add((data["worker_id"], data["line"]))
                if len(found) == 2:
                    break
        missing = await client.get("/v1/endpoints/nosuch/logs")
    assert found == {("w1", "one"), ("w2", "two")}
    assert missing.status_code == 404
