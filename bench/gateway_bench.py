"""A warm hit: what the gateway adds to the Runpod calls it makes, and how many it can take.

Runpod is a stub with a fixed answering time that reports how long it was busy, so that the difference is the gateway's
own, the loopback network included. The anchors are a bare `hello` of the same ASGI server and a bare route of the same
framework that reads the same request and gives the same answer, with the same client.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import aiohttp
import psutil

from bench.report import Measurement, percentile
from bench.servers import free_port, server
from visgate_contract.jobs import MODEL_ID_ENV, WEBHOOK_SECRET_ENV
from visgate_contract.names import EndpointName, user_hash
from visgate_contract.pools import PoolPolicy
from visgate_contract.signing import derive_webhook_secret
from visgate_contract.tasks import Task

KEY = "rpa_BENCHMARKACCOUNT0000000000000000"
SIGNING_KEY = "a-signing-key-for-the-benchmark-only"
MODEL = "acme/model"
LATENCY_S = 0.02
REQUESTS = 300
WARM_UP = 30
LOAD = 2_000
LONG_LOAD = 10_000
CONNECTIONS = 64
BODY = {"model": MODEL, "input": {"prompt": "a red fox", "width": 64, "height": 64}}


@dataclass(frozen=True, slots=True)
class _Servers:
    gateway: str
    stub: str
    hello: str
    bare: str
    pid: int


@dataclass(frozen=True, slots=True)
class _Load:
    """Requests a second of each server, and the gateway's resident memory in MiB before and after the long load."""

    gateway: float
    bare: float
    hello: float
    memory: tuple[float, float]


def measure() -> list[Measurement]:
    """Measure warm hits one by one, then under load."""
    with _servers(LATENCY_S) as servers:
        added, hello = asyncio.run(_one_by_one(servers))
    with _servers(0.0) as servers:
        load = asyncio.run(_under_load(servers))
    return [
        *(
            Measurement.of(
                f"gateway.warm_hit.added_ms.p{percent}",
                percentile(added, percent) * 1000,
                "ms",
                anchor=percentile(hello, percent) * 1000,
            )
            for percent in (50, 99)
        ),
        Measurement.of("gateway.throughput.ratio", load.gateway, "requests/s", anchor=load.bare),
        Measurement.of("gateway.bare_route.ratio", load.bare, "requests/s", anchor=load.hello),
        Measurement.of("gateway.memory_mb", load.memory[1], "MiB", anchor=load.memory[0]),
    ]


async def _one_by_one(servers: _Servers) -> tuple[list[float], list[float]]:
    added: list[float] = []
    hello: list[float] = []
    async with _session() as session:
        for count in range(WARM_UP + REQUESTS):
            took = await _post(session, f"{servers.gateway}/v1/jobs")
            async with session.post(f"{servers.stub}/bench/take") as answer:
                busy = (await answer.json())["busy_s"]
            bare = await _post(session, servers.hello)
            if count >= WARM_UP:
                added.append(took - busy)
                hello.append(bare)
    return added, hello


async def _under_load(servers: _Servers) -> _Load:
    process = psutil.Process(servers.pid)
    async with _session() as session:
        gateway, bare, hello = [
            await _rate(session, url)
            for url in (f"{servers.gateway}/v1/jobs", f"{servers.bare}/v1/jobs", servers.hello)
        ]
        before = process.memory_info().rss
        await _flood(session, f"{servers.gateway}/v1/jobs", LONG_LOAD)
        return _Load(gateway, bare, hello, (before / 2**20, process.memory_info().rss / 2**20))


async def _rate(session: aiohttp.ClientSession, url: str) -> float:
    await _flood(session, url, WARM_UP * 10)
    started = time.perf_counter()
    await _flood(session, url, LOAD)
    return LOAD / (time.perf_counter() - started)


async def _flood(session: aiohttp.ClientSession, url: str, count: int) -> None:
    todo = iter(range(count))

    async def work() -> None:
        for _ in todo:
            await _post(session, url)

    await asyncio.gather(*(work() for _ in range(CONNECTIONS)))


async def _post(session: aiohttp.ClientSession, url: str) -> float:
    started = time.perf_counter()
    async with session.post(url, json=BODY) as answer:
        text = await answer.text()
    took = time.perf_counter() - started
    if not answer.ok or ("warm_ready" not in text and text != "hello"):
        message = f"{url} answered {answer.status}: {text[:200]}"
        raise RuntimeError(message)
    return took


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        headers={"authorization": f"Bearer {KEY}"},
        connector=aiohttp.TCPConnector(limit=CONNECTIONS),
        timeout=aiohttp.ClientTimeout(total=30),
    )


@contextmanager
def _servers(latency_s: float) -> Iterator[_Servers]:
    gateway, stub, hello, bare = (free_port() for _ in range(4))
    base = [f"http://127.0.0.1:{port}" for port in (gateway, stub, hello, bare)]
    with ExitStack() as stack:
        env = {"BENCH_LATENCY_S": str(latency_s), "BENCH_ENDPOINT": json.dumps(_endpoint())}
        for port, app in ((stub, "stub_runpod:app"), (hello, "stub_runpod:hello"), (bare, "bare_route:app")):
            command = [sys.executable, "-m", "uvicorn", f"bench.{app}", "--port", str(port)]
            command += ["--log-level", "error", "--lifespan", "off", "--timeout-keep-alive", "60"]
            stack.enter_context(server(command, ready_url=f"http://127.0.0.1:{port}/", env=env))
        command = [sys.executable, "-m", "pulumi_visgate.gateway"]
        env = dict(_settings(gateway, base[1]))
        pid = stack.enter_context(server(command, ready_url=f"{base[0]}/healthz", env=env))
        yield _Servers(base[0], base[1], base[2], base[3], pid)


def _settings(port: int, stub: str) -> Mapping[str, str]:
    settings = {
        "PORT": str(port),
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "SIGNING_KEY": SIGNING_KEY,
        "RUNPOD_API_URL": stub,
        "RUNPOD_JOBS_URL": f"{stub}/jobs/v2",
        "IMAGE": "acme/visgate-worker:1",
        "GPU_POOLS": '["ADA_24"]',
        "MODELS": json.dumps([{"model_id": MODEL}]),
        "BUCKET": "artifacts",
        "S3_ENDPOINT": "http://127.0.0.1:1",
        "S3_ACCESS_KEY_ID": "benchmark",
        "S3_SECRET_ACCESS_KEY": "benchmark-secret",
        "CDN_BASE_URL": "http://127.0.0.1:1/cdn",
        "RATE_PER_USER": "1000000/second",
        "RATE_PER_IP": "1000000/second",
        "LOG_LEVEL": "warning",
    }
    return {f"VISGATE_GATEWAY_{name}": value for name, value in settings.items()}


def _endpoint() -> dict[str, object]:
    user = user_hash(KEY)
    name = EndpointName.build(
        user_hash=user, model_id=MODEL, task=Task.TEXT2IMG, policy=PoolPolicy.ALWAYS_ON, spec={"bench": 1}
    )
    return {
        "id": "bench0endpoint",
        "name": str(name),
        "type": "QUEUE",
        "image": "acme/visgate-worker:1",
        "env": {MODEL_ID_ENV: MODEL, WEBHOOK_SECRET_ENV: derive_webhook_secret(SIGNING_KEY, user)},
        "gpu": {"pools": ["ADA_24"], "count": 1, "allowedCudaVersions": [], "minCudaVersion": None},
        "workers": {"min": 1, "max": 3, "idleTimeout": 60},
        "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
        "dataCenterIds": [],
        "networkVolumes": [],
        "timeout": 300_000,
        "flashboot": "OFF",
        "createdAt": "2026-01-01T00:00:00Z",
    }
