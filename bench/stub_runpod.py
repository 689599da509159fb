"""The least that stands for Runpod: canned answers after a fixed time, as a bare ASGI application.

`POST /bench/take` tells of the calls since the last one: how many there were, and how long they were being answered,
overlaps counted once. Workers' logs go on for ever: that of the endpoint in the list has a short line every half
second, that of any other endpoint has long ones without a pause.
"""

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

LATENCY_S = float(os.environ.get("BENCH_LATENCY_S", "0"))
ENDPOINT: dict[str, Any] = json.loads(os.environ.get("BENCH_ENDPOINT", "{}"))
ENDPOINTS = json.dumps({"endpoints": [ENDPOINT]}).encode()
HEALTH = json.dumps(
    {
        "jobs": {"completed": 0, "failed": 0, "inProgress": 0, "inQueue": 0, "retried": 0},
        "workers": {"idle": 1, "initializing": 0, "ready": 1, "running": 0, "throttled": 0, "unhealthy": 0},
    }
).encode()
WORKERS = json.dumps(
    {
        "workers": [{"id": "bench0worker", "status": "RUNNING", "isStale": False, "gpuCount": 1}],
        "summary": {"running": 1, "idle": 0, "initializing": 0, "throttled": 0, "unhealthy": 0, "total": 1},
    }
).encode()
JOB_ID = "00000000-0000-4000-8000-000000000000-e1"
JOB = json.dumps({"id": JOB_ID, "status": "IN_QUEUE"}).encode()
RUNNING = json.dumps({"id": JOB_ID, "status": "IN_PROGRESS", "workerId": "bench0worker", "delayTime": 7}).encode()
LINE_EVERY_S = 0.5
LONG_LINE = "x" * 3_000

_calls: list[tuple[float, float]] = []


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request."""
    if scope["type"] != "http":
        return
    started = time.perf_counter()
    while (await receive()).get("more_body"):
        pass
    path: str = scope["path"]
    if path == "/bench/take":
        body = json.dumps({"calls": len(_calls), "busy_s": _union(_calls)}).encode()
        _calls.clear()
        await _answer(send, body)
        return
    if path.endswith("/logs"):
        await _logs(send, short=ENDPOINT["id"] in path)
        return
    if LATENCY_S:
        await asyncio.sleep(LATENCY_S)
    await _answer(send, _body(scope["method"], path))
    _calls.append((started, time.perf_counter()))


def _body(method: str, path: str) -> bytes:
    if method == "POST" and path == "/v2/serverless":
        return json.dumps(ENDPOINT).encode()
    if path == "/v2/serverless":
        return ENDPOINTS if os.environ.get("BENCH_WARM", "1") == "1" else b'{"endpoints": []}'
    if path.endswith("/workers"):
        return WORKERS
    if path.endswith("/health"):
        return HEALTH
    return RUNNING if "/status/" in path else JOB


async def _answer(send: Send, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _logs(send: Send, *, short: bool) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    number = 0
    while True:
        number += 1
        now = time.time()
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e6):06d}Z"
        line = {"source": "container", "line": f"step {number}" if short else LONG_LINE, "ts": moment}
        await send(
            {
                "type": "http.response.body",
                "body": f"id: {moment}-{number:09d}\ndata: {json.dumps(line)}\n\n".encode(),
                "more_body": True,
            }
        )
        await asyncio.sleep(LINE_EVERY_S if short else 0.002)


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
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
