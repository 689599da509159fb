"""The least that stands for Runpod: canned answers after a fixed time, as a bare ASGI application.

`POST /bench/take` answers how long the calls since the last one were being answered, overlaps counted once.
"""

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

LATENCY_S = float(os.environ.get("BENCH_LATENCY_S", "0"))
ENDPOINTS = json.dumps({"endpoints": [json.loads(os.environ.get("BENCH_ENDPOINT", "{}"))]}).encode()
HEALTH = json.dumps(
    {
        "jobs": {"completed": 0, "failed": 0, "inProgress": 0, "inQueue": 0, "retried": 0},
        "workers": {"idle": 1, "initializing": 0, "ready": 1, "running": 0, "throttled": 0, "unhealthy": 0},
    }
).encode()
JOB = b'{"id": "00000000-0000-4000-8000-000000000000-e1", "status": "IN_QUEUE"}'

_busy: list[tuple[float, float]] = []


async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """Answer one request."""
    if scope["type"] != "http":
        return
    started = time.perf_counter()
    while (await receive()).get("more_body"):
        pass
    path = scope["path"]
    if path == "/bench/take":
        body = json.dumps({"busy_s": _union(_busy)}).encode()
        _busy.clear()
    else:
        if LATENCY_S:
            await asyncio.sleep(LATENCY_S)
        body = ENDPOINTS if path == "/v2/serverless" else HEALTH if path.endswith("/health") else JOB
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
    if path != "/bench/take":
        _busy.append((started, time.perf_counter()))


async def hello(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """Answer `hello` to anything: what the server itself costs."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"5")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hello"})


def _union(spans: list[tuple[float, float]]) -> float:
    total, end = 0.0, 0.0
    for start, stop in sorted(spans):
        total += max(0.0, stop - max(start, end))
        end = max(end, stop)
    return total
