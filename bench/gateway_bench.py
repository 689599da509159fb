"""What the gateway adds to Runpod, how much it can take, and what it needs for that.

Runpod is a stub that reports how long it was busy, so that the difference is the gateway's own, the loopback network
included. A warm hit is measured twice: `deployment` asks whether an endpoint is there, for which nobody is asked as
long as list and health are fresh, and `job` submits a job as well, which is one call to Runpod each time. The anchors
are routes of the same server and framework that read the same request and give the same answer, and a bare `hello` of
the server. Throughput on a busy machine says little, so the processor time of a request is compared as well.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
import psutil
import uvloop

from bench import gateway_crowd
from bench.gateway_servers import AUTHORIZATION, JOB, Servers, running
from bench.load import Request, flood, kept
from bench.report import Measurement, percentile

LATENCY_S = 0.02
REQUESTS = 300
WARM_UP = 30
LOAD = 1_500
ROUNDS = 4
LONG_LOAD = 10_000
CONNECTIONS = 64


@dataclass(frozen=True, slots=True)
class Rate:
    """What a route can take.

    Args:
        per_s: Requests a second.
        cpu_ms: Processor time of the server for one request, in milliseconds.
    """

    per_s: float
    cpu_ms: float


@dataclass(frozen=True, slots=True)
class Load:
    """Rates by route, gateway and anchor, and the gateway's resident memory in MiB before and after the long load."""

    rates: dict[str, tuple[Rate, Rate]]
    hello: float
    memory: tuple[float, float]


def measure() -> list[Measurement]:
    """Measure warm hits one by one, under load and in a crowd, and count a cold request's calls."""
    with running(LATENCY_S) as servers:
        added, hello = uvloop.run(_one_by_one(servers))
    with running(LATENCY_S, warm=False) as servers:
        calls = uvloop.run(_cold(servers))
    with running(0.0) as servers:
        load = uvloop.run(_under_load(servers))
    with running(0.0) as servers:
        crowd = uvloop.run(gateway_crowd.measure(servers))
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
        *(
            Measurement.of(f"gateway.{name}.throughput", ours.per_s, "requests/s", anchor=bare.per_s)
            for name, (ours, bare) in load.rates.items()
        ),
        *(
            Measurement.of(f"gateway.{name}.cpu_ms", ours.cpu_ms, "ms", anchor=bare.cpu_ms)
            for name, (ours, bare) in load.rates.items()
        ),
        Measurement.of("gateway.bare_route.throughput", load.rates["job"][1].per_s, "requests/s", anchor=load.hello),
        Measurement.of("gateway.memory_mb", load.memory[1], "MiB", anchor=load.memory[0]),
        Measurement.of("gateway.cold.runpod_calls", calls, "calls"),
        *crowd,
    ]


async def _one_by_one(servers: Servers) -> tuple[list[float], list[float]]:
    """Return what jobs take on top of Runpod's own time, and what `hello` takes, one request after the other."""
    added: list[float] = []
    hello: list[float] = []
    job, greeting = servers.job(servers.gateway), Request(servers.hello, JOB, AUTHORIZATION, b"hello")
    async with aiohttp.ClientSession() as session, kept(servers.gateway) as ask, kept(servers.hello) as greet:
        for count in range(WARM_UP + REQUESTS):
            took = await ask(job)
            busy = (await _taken(session, servers))["busy_s"]
            bare = await greet(greeting)
            if count >= WARM_UP:
                added.append(took - busy)
                hello.append(bare)
    return added, hello


async def _cold(servers: Servers) -> float:
    """Return the calls to Runpod of a request for which nothing is there."""
    async with aiohttp.ClientSession(headers=AUTHORIZATION) as session:
        await _taken(session, servers)
        async with session.post(f"{servers.gateway}/v1/jobs", json=JOB) as answer:
            text = await answer.text()
        if "accepted_cold" not in text:
            message = f"a cold request was answered {answer.status}: {text[:200]}"
            raise RuntimeError(message)
        return (await _taken(session, servers))["calls"]


async def _taken(session: aiohttp.ClientSession, servers: Servers) -> dict[str, float]:
    async with session.post(f"{servers.stub}/bench/take") as answer:
        found: dict[str, float] = await answer.json()
        return found


async def _under_load(servers: Servers) -> Load:
    gateway, bare = psutil.Process(servers.gateway_pid), psutil.Process(servers.bare_pid)
    rates = {}
    kinds: tuple[tuple[str, Callable[[str], Request]], ...] = (
        ("deployment", servers.deployment),
        ("job", servers.job),
    )
    for name, request in kinds:
        ours, anchor = await _best(((request(servers.gateway), gateway), (request(servers.bare), bare)))
        rates[name] = ours, anchor
    hello = Request(servers.hello, JOB, AUTHORIZATION, b"hello")
    (greeting,) = await _best(((hello, None),))
    before = gateway.memory_info().rss
    await flood(servers.job(servers.gateway), LONG_LOAD, connections=CONNECTIONS)
    memory = before / 2**20, gateway.memory_info().rss / 2**20
    return Load(rates, greeting.per_s, memory)


async def _best(pairs: tuple[tuple[Request, psutil.Process | None], ...]) -> list[Rate]:
    """Return the best of some rounds for each request, all in each round, so that they meet the same machine."""
    for request, _ in pairs:
        await flood(request, LOAD // 5, connections=CONNECTIONS)
    rounds = [[await _rate(request, process) for request, process in pairs] for _ in range(ROUNDS)]
    return [
        Rate(max(rate.per_s for rate in column), min(rate.cpu_ms for rate in column))
        for column in zip(*rounds, strict=True)
    ]


async def _rate(request: Request, process: psutil.Process | None) -> Rate:
    def used() -> float:
        times = process.cpu_times() if process is not None else None
        return times.user + times.system if times is not None else 0.0

    began, used_before = time.perf_counter(), used()
    await flood(request, LOAD, connections=CONNECTIONS)
    took = time.perf_counter() - began
    return Rate(LOAD / took, (used() - used_before) / LOAD * 1000)
