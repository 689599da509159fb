"""The processes of the gateway's image, and a worker that uploads as real ones do."""

import contextlib
import os
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence

import httpx

from tests.engine.conftest import until

WORKER = """
import hashlib, os
from datetime import UTC, datetime
import httpx, runpod
from visgate_contract.events import Artifact, Event, EventData, Status, Timings
from visgate_contract.jobs import JobInput, JobResult
from visgate_contract.signing import JobRef

def handler(job):
    given = JobInput.model_validate(job["input"])
    ref = JobRef(os.environ["RUNPOD_ENDPOINT_ID"], job["id"], given.task_id)
    job_id = ref.job_id(os.environ["VISGATE_WEBHOOK_SECRET"])
    upload, made = given.uploads[0], given.params.prompt.encode()
    httpx.put(upload.put_url, content=made, headers=upload.headers, trust_env=False).raise_for_status()
    artifact = Artifact(url=upload.cdn_url, content_type="image/png", width=512, height=512, size_bytes=len(made),
        sha256=hashlib.sha256(made).hexdigest(), seed=given.params.seed or 0)
    ready = EventData(task_id=given.task_id, job_id=job_id, sequence=1, status=Status.READY, model_id=given.model_id,
        task=given.params.task, artifacts=(artifact,))
    return JobResult(task_id=given.task_id, artifacts=(artifact,), timings=Timings(generate_s=0.1),
        events=(Event.of(ready, timestamp=datetime.now(UTC)),)).to_runpod()

runpod.serverless.start({"handler": handler})
"""
_KEPT = ("PATH", "HOME", "LANG", "TMPDIR")


Starts = Callable[[str], Sequence[str]]
"""Returns the command that starts a module of the gateway's image."""


@contextlib.contextmanager
def started(
    starts: Starts, module: str, environment: Mapping[str, str], port_variable: str, log: list[str]
) -> Iterator[str]:
    """Run a module as the image does, with this environment alone, and yield its URL once it is ready.

    Args:
        starts: The image.
        module: What the image's command starts.
        environment: As the function has it.
        port_variable: What names its port.
        log: Gets what it has said when it has ended.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    process = subprocess.Popen(
        starts(module),
        env={**kept, **environment, port_variable: str(port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:

        def answers() -> bool:
            assert process.poll() is None, process.communicate()[0]
            try:
                return httpx.get(f"{url}/readyz", trust_env=False).is_success
            except httpx.HTTPError:
                return False

        until(answers, module, deadline_s=60)
        yield url
    finally:
        process.terminate()
        log.append(process.communicate(timeout=20)[0])
