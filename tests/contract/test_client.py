"""The client for applications against a gateway process: docs/python.md as it is, and what it does not show."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pulumi_visgate.client import AsyncClient, Client, Event, GatewayError, JobFailedError, Status, Waiting

pytestmark = pytest.mark.contract

PAGE = Path(__file__).parents[2] / "docs/python.md"
MODEL = "visgate/tiny-sd"
PICTURE = b"picture"


def test_the_page_does_what_it_says(start_gateway: Any, runpod_emulator: Any, cdn: str, tmp_path: Path) -> None:
    gateway = start_gateway(CDN_BASE_URL=cdn)
    snippets = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(snippets) == 5
    program = tmp_path / "page.py"
    program.write_text("\n\n".join(snippets))
    env = {**os.environ, "VISGATE_GATEWAY_URL": gateway.url, "RUNPOD_API_KEY": runpod_emulator.key}
    ran = subprocess.run(
        [sys.executable, "-W", "error", program],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "fox.png").read_bytes() == PICTURE
    for said in ("step 1 of 1", "2 pictures; seconds on the GPU: 0.5", "prompt: a red fox", f"['{MODEL}']", "runs for"):
        assert said in ran.stdout
    assert "[masked]" in ran.stdout


async def test_a_running_job_is_cancelled_and_its_waiter_told(start_gateway: Any, runpod_emulator: Any) -> None:
    gateway = start_gateway()
    async with AsyncClient(gateway.url, runpod_emulator.key) as visgate:
        job = await visgate.submit(MODEL, {"prompt": "wait"})
        began = asyncio.Event()

        def see(update: Event | Waiting) -> None:
            if isinstance(update, Event) and update.data.status is Status.STARTED:
                began.set()

        waiter = asyncio.create_task(visgate.wait(job.job_id, on_update=see, timeout_s=60))
        await asyncio.wait_for(began.wait(), 60)
        assert (await visgate.cancel(job.job_id)).status is Status.FAILED
        with pytest.raises(JobFailedError) as caught:
            await waiter
        assert caught.value.code == "cancelled"
        (deployment,) = await visgate.deployments()
        assert (await visgate.deploy(MODEL)).endpoint_id == deployment.endpoint_id == job.endpoint_id
        await visgate.delete_deployment(deployment.deployment_id)
        assert await visgate.deployments() == ()


def test_a_repeated_order_is_one_job(start_gateway: Any, runpod_emulator: Any) -> None:
    with Client(start_gateway().url, runpod_emulator.key) as visgate:
        first, second = (visgate.submit(MODEL, {"prompt": "a red fox"}, idempotency_key="one") for _ in range(2))
        assert first == second
        with pytest.raises(GatewayError, match="width") as caught:
            visgate.submit(MODEL, {"prompt": "x", "width": 7})
        assert (caught.value.status, list(caught.value.errors)) == (422, ["input.width"])
