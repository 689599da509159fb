"""The worker, from the start of its process to the first picture, beside diffusers alone with the same model.

The emulator starts the real worker for a queued job, as Runpod does; `load` is measured with a model of some 900 MB
whose files are not in the page cache, beside a plain read of the same bytes.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from bench import models, store_load
from bench.report import Measurement
from bench.servers import s3_server
from pulumi_visgate.local.emulator.testing import EmulatorServer, RunpodEmulator
from pulumi_visgate.runpod import RunpodClient
from pulumi_visgate.runpod.models.endpoint import CreateEndpoint
from pulumi_visgate.runpod.models.job import JobRequest
from pulumi_visgate.runpod.models.volume import CreateNetworkVolume
from visgate_contract.jobs import MODEL_ID_ENV, JobInput, JobResult, Upload
from visgate_contract.signing import new_task_id
from visgate_contract.tasks import Text2ImgInput

SIDE = 128
STEPS = 10
DEADLINE_S = 300.0
BLOCK = 16 * 1024 * 1024


def measure() -> list[Measurement]:
    """Run both models through the worker and through diffusers alone."""
    with tempfile.TemporaryDirectory(prefix="visgate-bench-") as scratch, _sink() as sink:
        home = Path(scratch)
        tiny = models.tiny(home / "tiny")
        wide = models.wide(home / "wide", tiny)
        with EmulatorServer(home / "data", home / "volumes") as server:
            emulator = RunpodEmulator(server)
            emulator.set_quota(per_minute=100_000)
            with RunpodClient(emulator.key, base_url=emulator.api_url, jobs_url=emulator.jobs_url) as client:
                bench = _Bench(client, emulator.volumes_dir, sink)
                measured = [*bench.start(tiny), *_overhead(home, tiny, sink), *bench.load(wide)]
        data, sidecar = home / "s3", home / "sidecar"
        data.mkdir()
        sidecar.mkdir()
        with s3_server(data, sidecar) as store:
            return [*measured, *store_load.measure(store, models.stored(home / "stored"), home)]


class _Bench:
    def __init__(self, client: RunpodClient, volumes: Path, sink: str) -> None:
        self._client = client
        self._volumes = volumes
        self._sink = sink

    def start(self, model: Path) -> list[Measurement]:
        """Measure the first picture of a new worker and the second of the same."""
        bare = _bare(model)
        bare_start = bare["total_s"] - bare["second_s"]
        endpoint, _ = self._endpoint("bench/tiny", model)
        cold_s, cold = self._job(endpoint, "bench/tiny")
        warm_s = min(self._job(endpoint, "bench/tiny")[0] for _ in range(5))
        self._client.delete_endpoint(endpoint)
        timings = cold.timings.model_dump(exclude_none=True) if cold.timings else {}
        return [
            Measurement.of("worker.start.ratio", cold_s, "s", anchor=bare_start),
            *(Measurement.of(f"worker.start.{name}", value, "s") for name, value in timings.items()),
            *(Measurement.of(f"worker.start.bare.{name}", value, "s") for name, value in bare.items()),
            Measurement.of("worker.job_overhead.ratio", warm_s, "s", anchor=bare["second_s"]),
        ]

    def load(self, model: Path) -> list[Measurement]:
        """Measure loading from a volume whose files are on disk only.

        The worker maps the files and has them read ahead meanwhile, which may outrun the plain read of the anchor.
        """
        endpoint, volume = self._endpoint("bench/wide", model)
        _forget(volume)
        _, result = self._job(endpoint, "bench/wide")
        self._client.delete_endpoint(endpoint)
        _forget(volume)
        started = time.perf_counter()
        size = sum(_read(path) for path in volume.rglob("*") if path.is_file())
        plain_s = time.perf_counter() - started
        if result.load is None or result.load.source != "volume":
            message = f"the model was not loaded from the volume: {result}"
            raise RuntimeError(message)
        return [
            Measurement.of("worker.volume_load.ratio", result.load.seconds, "s", anchor=plain_s),
            Measurement.of("worker.volume_load.size", size / 1e6, "MB"),
        ]

    def _endpoint(self, model_id: str, model: Path) -> tuple[str, Path]:
        volume = self._client.create_network_volume(
            CreateNetworkVolume(name=model_id.replace("/", "-"), size=10, data_center="EU-RO-1")
        )
        folder = self._volumes / volume.id / "models" / model_id
        shutil.copytree(model, folder)
        endpoint = self._client.create_endpoint(
            CreateEndpoint.model_validate(
                {
                    "name": model_id.replace("/", "-"),
                    "type": "QUEUE",
                    "image": "acme/visgate-worker:1",
                    "env": {MODEL_ID_ENV: model_id},
                    "gpu": {"pools": ["ADA_24"]},
                    "workers": {"min": 0, "max": 1, "idleTimeout": 60},
                    "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
                    "dataCenterIds": ["EU-RO-1"],
                    "networkVolumes": [volume.id],
                }
            )
        )
        return endpoint.id, folder

    def _job(self, endpoint: str, model_id: str) -> tuple[float, JobResult]:
        task_id = new_task_id(datetime.now(UTC))
        job = JobInput(
            task_id=task_id,
            model_id=model_id,
            params=Text2ImgInput(prompt="a red fox", width=SIDE, height=SIDE, steps=STEPS, seed=1),
            uploads=(Upload(put_url=f"{self._sink}/{task_id}.png", cdn_url=f"{self._sink}/{task_id}.png"),),
        )
        started = time.perf_counter()
        queued = self._client.run_job(endpoint, JobRequest(input=job.model_dump(mode="json")))
        while time.perf_counter() - started < DEADLINE_S:
            status = self._client.job_status(endpoint, queued.id)
            result = JobResult.from_runpod(status.model_dump(mode="json", by_alias=True))
            if result is not None:
                if result.error is not None:
                    raise RuntimeError(result.error.detail)
                return time.perf_counter() - started, result
            time.sleep(0.01)
        message = f"job {queued.id} did not end in {DEADLINE_S:g} s"
        raise RuntimeError(message)


def _overhead(home: Path, model: Path, sink: str) -> list[Measurement]:
    """Measure a job beside the call that it comes down to, in one process."""
    volume = home / "volume"
    shutil.copytree(model, volume / "models" / "bench" / "tiny")
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-W", "ignore", "-m", "bench.job_overhead", str(volume), "bench/tiny", sink],
        check=True,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return [Measurement.of("worker.overhead.ratio", found["job"], "s", anchor=found["bare"])]


def _bare(model: Path) -> dict[str, float]:
    started = time.perf_counter()
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "bench.bare_worker", str(model), str(SIDE), str(STEPS)],
        check=True,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    phases: dict[str, float] = json.loads(done.stdout)
    return {**phases, "total_s": time.perf_counter() - started}


def _forget(folder: Path) -> None:
    """Take a folder's files out of the page cache."""
    for path in folder.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def _read(path: Path) -> int:
    buffer, size = bytearray(BLOCK), 0
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            size += count
    return size


class _Sink(BaseHTTPRequestHandler):
    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Stay quiet."""


@contextmanager
def _sink() -> Iterator[str]:
    """Serve uploads: read and forgotten."""
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), _Sink)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}"
    finally:
        httpd.shutdown()
        httpd.server_close()
