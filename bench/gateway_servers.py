"""The processes of the gateway's benchmark: gateway, Runpod's stub, and what the gateway is compared with."""

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bench.load import Request
from bench.servers import free_port, server
from visgate_contract.jobs import MODEL_ID_ENV, WEBHOOK_SECRET_ENV
from visgate_contract.names import EndpointName, user_hash
from visgate_contract.pools import PoolPolicy
from visgate_contract.signing import derive_webhook_secret
from visgate_contract.tasks import Task

KEY = "rpa_BENCHMARKACCOUNT0000000000000000"
SIGNING_KEY = "a-signing-key-for-the-benchmark-only"
MODEL = "acme/model"
AUTHORIZATION = {"Authorization": f"Bearer {KEY}"}
JOB = {"model": MODEL, "input": {"prompt": "a red fox", "width": 64, "height": 64}}
DEPLOYMENT = {"model": MODEL}


@dataclass(frozen=True, slots=True)
class Servers:
    """Addresses, and the processes whose processor time is compared.

    Args:
        gateway: The gateway.
        stub: Runpod's stub.
        hello: The same ASGI server with next to no application.
        bare: The same server and framework with routes that only read and answer.
        gateway_pid: Process of the gateway.
        bare_pid: Process of the bare routes.
    """

    gateway: str
    stub: str
    hello: str
    bare: str
    gateway_pid: int
    bare_pid: int

    def job(self, base: str) -> Request:
        """Return the request for a job, at one of the servers."""
        return Request(f"{base}/v1/jobs", JOB, AUTHORIZATION, b'"warm_ready"')

    def deployment(self, base: str) -> Request:
        """Return the request for a deployment, at one of the servers."""
        return Request(f"{base}/v1/deployments", DEPLOYMENT, AUTHORIZATION, b'"warm_ready"')


@contextmanager
def running(latency_s: float, *, warm: bool = True) -> Iterator[Servers]:
    """Run all of them.

    Args:
        latency_s: How long the stub takes to answer a call, in seconds.
        warm: The account has an endpoint for the model.
    """
    gateway, stub, hello, bare = (free_port() for _ in range(4))
    base = [f"http://127.0.0.1:{port}" for port in (gateway, stub, hello, bare)]
    with ExitStack() as stack:
        env = {
            "BENCH_LATENCY_S": str(latency_s),
            "BENCH_ENDPOINT": json.dumps(_endpoint()),
            "BENCH_WARM": str(int(warm)),
        }
        pids = []
        for port, app in ((stub, "stub_runpod:app"), (hello, "stub_runpod:hello"), (bare, "bare_route:app")):
            command = [sys.executable, "-m", "uvicorn", f"bench.{app}", "--port", str(port)]
            command += ["--log-level", "error", "--lifespan", "off", "--timeout-keep-alive", "60"]
            pids.append(stack.enter_context(server(command, ready_url=f"http://127.0.0.1:{port}/", env=env)))
        command = [sys.executable, "-m", "pulumi_visgate.gateway"]
        pid = stack.enter_context(server(command, ready_url=f"{base[0]}/healthz", env=settings(gateway, base[1])))
        yield Servers(base[0], base[1], base[2], base[3], pid, pids[-1])


def settings(port: int, stub: str) -> Mapping[str, str]:
    """Return the environment of the gateway: its defaults, with limits that the load does not reach."""
    given = {
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
    return {f"VISGATE_GATEWAY_{name}": value for name, value in given.items()}


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
