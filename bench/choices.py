"""What the gateway could have been built on, with its own traffic: servers, JSON codecs, asynchronous HTTP clients.

What was not chosen is in no lock file, so it is brought for the run alone:

    uv run --with granian --with hypercorn --with orjson --with msgspec --with httpx-aiohttp python -m bench.choices

Processor time is told beside the rate, since it says more on a machine that others use.
"""

import asyncio
import importlib
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import httpx
import psutil
import uvloop
from pydantic import BaseModel, SecretStr

from bench.bare_route import submit
from bench.gateway_servers import AUTHORIZATION, JOB
from bench.load import Request, flood
from bench.report import Measurement, save, show
from bench.servers import free_port, server
from pulumi_visgate.gateway.routes.schemas import JobRequestBody
from pulumi_visgate.runpod import AsyncRunpodClient
from pulumi_visgate.runpod.models.job import JobRequest

REQUESTS = 3_000
ROUNDS = 3
CODEC_ROUNDS = 3_000
CONNECTIONS = 32

SERVERS = {
    "uvicorn+uvloop+httptools": ("uvicorn", "bench.bare_route:app", "--port", "{}", "--log-level", "error"),
    "uvicorn+asyncio+h11": (
        *("uvicorn", "bench.bare_route:app", "--port", "{}", "--log-level", "error"),
        *("--loop", "asyncio", "--http", "h11"),
    ),
    "granian": (
        *("granian", "--interface", "asgi", "--port", "{}", "--no-ws", "--log-level", "critical"),
        *("--loop", "uvloop", "bench.bare_route:app"),
    ),
    "hypercorn": ("hypercorn", "--bind", "127.0.0.1:{}", "--worker-class", "uvloop", "bench.bare_route:app"),
}


def main() -> None:
    """Measure all three, print the tables and keep the figures."""
    for title, measurements in (
        ("servers", uvloop.run(_servers())),
        ("codecs", _codecs()),
        ("clients", uvloop.run(_clients())),
    ):
        show(title, measurements)
        save(measurements)


async def _servers() -> list[Measurement]:
    found = []
    for name, command in SERVERS.items():
        port = free_port()
        filled = [sys.executable, "-m", *(part.format(port) for part in command)]
        with server(filled, ready_url=f"http://127.0.0.1:{port}/") as pid:
            request = Request(f"http://127.0.0.1:{port}/v1/jobs", JOB, AUTHORIZATION, b"warm_ready")
            await flood(request, REQUESTS // 5, connections=CONNECTIONS)
            rates, costs = [], []
            for _ in range(ROUNDS):
                began, before = time.perf_counter(), _used(pid)
                await flood(request, REQUESTS, connections=CONNECTIONS)
                rates.append(REQUESTS / (time.perf_counter() - began))
                costs.append((_used(pid) - before) / REQUESTS * 1000)
            memory = sum(process.memory_info().rss for process in _family(pid)) / 2**20
        found += [
            Measurement.of(f"choice.server.{name}.throughput", max(rates), "requests/s"),
            Measurement.of(f"choice.server.{name}.cpu_ms", min(costs), "ms"),
            Measurement.of(f"choice.server.{name}.memory_mb", memory, "MiB"),
        ]
    return found


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _used(pid: int) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in _family(pid))


def _codecs() -> list[Measurement]:
    """Read the body of a job, and write its answer, each with the whole way between bytes and model."""
    orjson, msgspec = importlib.import_module("orjson"), importlib.import_module("msgspec.json")
    body = json.dumps(JOB).encode()
    answer: BaseModel = asyncio.run(submit(JobRequestBody.model_validate_json(body)))
    read, write = JobRequestBody.model_validate, answer.model_dump
    ways: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "pydantic": (lambda: JobRequestBody.model_validate_json(body), lambda: answer.model_dump_json().encode()),
        "orjson": (lambda: read(orjson.loads(body)), lambda: orjson.dumps(write(mode="json"))),
        "msgspec": (lambda: read(msgspec.decode(body)), lambda: msgspec.encode(write(mode="json"))),
        "json": (lambda: read(json.loads(body)), lambda: json.dumps(write(mode="json")).encode()),
    }
    return [
        Measurement.of(f"choice.codec.{name}.{what}_us", _each(way) * 1e6, "us")
        for name, both in ways.items()
        for what, way in zip(("read", "write"), both, strict=True)
    ]


def _each(way: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(5):
        began = time.process_time()
        for _ in range(CODEC_ROUNDS):
            way()
        best = min(best, (time.process_time() - began) / CODEC_ROUNDS)
    return best


Ask = Callable[[], Awaitable[object]]


async def _clients() -> list[Measurement]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "bench.stub_runpod:app", "--port", str(port), "--log-level", "error"]
    base = f"http://127.0.0.1:{port}"
    found = []
    with server([*command, "--lifespan", "off"], ready_url=f"{base}/", env={"BENCH_ENDPOINT": '{"id": "e"}'}):
        for name, opened in (
            ("httpx", _httpx),
            ("httpx-aiohttp", _httpx_aiohttp),
            ("aiohttp", _aiohttp),
            ("ours", _ours),
        ):
            async with opened(base) as ask:
                rates, costs = [], []
                for count in (REQUESTS // 5, *[REQUESTS] * ROUNDS):
                    began, before = time.perf_counter(), time.process_time()
                    await _many(ask, count)
                    rates.append(count / (time.perf_counter() - began))
                    costs.append((time.process_time() - before) / count * 1000)
            found += [
                Measurement.of(f"choice.client.{name}.throughput", max(rates[1:]), "requests/s"),
                Measurement.of(f"choice.client.{name}.cpu_ms", min(costs[1:]), "ms"),
            ]
    return found


async def _many(ask: Ask, count: int) -> None:
    left = iter(range(count))

    async def one() -> None:
        for _ in left:
            await ask()

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))


@asynccontextmanager
async def _httpx(base: str, transport: httpx.AsyncBaseTransport | None = None) -> AsyncIterator[Ask]:
    limits = httpx.Limits(max_connections=CONNECTIONS)
    async with httpx.AsyncClient(limits=limits, transport=transport, trust_env=False, timeout=60) as client:

        async def ask() -> object:
            return (await client.post(f"{base}/jobs/v2/e/run", json={"input": JOB}, headers=AUTHORIZATION)).json()

        yield ask


@asynccontextmanager
async def _httpx_aiohttp(base: str) -> AsyncIterator[Ask]:
    transport = importlib.import_module("httpx_aiohttp").AiohttpTransport(client=aiohttp.ClientSession)
    async with _httpx(base, transport) as ask:
        yield ask


@asynccontextmanager
async def _aiohttp(base: str) -> AsyncIterator[Ask]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as session:

        async def ask() -> object:
            url = f"{base}/jobs/v2/e/run"
            async with session.post(url, json={"input": JOB}, headers=AUTHORIZATION) as answer:
                return await answer.json()

        yield ask


@asynccontextmanager
async def _ours(base: str) -> AsyncIterator[Ask]:
    """The whole of our client over aiohttp: quota, deadline, validation and errors included."""
    key = SecretStr(AUTHORIZATION["Authorization"].removeprefix("Bearer "))
    async with AsyncRunpodClient(key, base_url=base, jobs_url=f"{base}/jobs/v2") as client:
        yield lambda: client.run_job("e", JobRequest(input=JOB))


if __name__ == "__main__":
    main()
