"""The emulator put together: storage, queue, workers, scheduler, and what a request handler can reach."""

import asyncio
import contextlib
import os
from collections.abc import Mapping

from pulumi_visgate.local.emulator.bells import Bells
from pulumi_visgate.local.emulator.catalog import Placement, place_cpu, place_gpu
from pulumi_visgate.local.emulator.clock import Clock
from pulumi_visgate.local.emulator.errors import StartError
from pulumi_visgate.local.emulator.faults import Faults
from pulumi_visgate.local.emulator.fleet import Fleet, Parts, Worker
from pulumi_visgate.local.emulator.identity import Identity, Scope
from pulumi_visgate.local.emulator.images import Images
from pulumi_visgate.local.emulator.jobs import JobQueue, webhook_body
from pulumi_visgate.local.emulator.lock import FolderLock
from pulumi_visgate.local.emulator.logs import Logs
from pulumi_visgate.local.emulator.process import container_environment
from pulumi_visgate.local.emulator.quirks import Quirks
from pulumi_visgate.local.emulator.quota import Quota
from pulumi_visgate.local.emulator.scheduler import Scheduler
from pulumi_visgate.local.emulator.settings import Settings
from pulumi_visgate.local.emulator.stock import Stock
from pulumi_visgate.local.emulator.store import Doc, Kind, Record, Store
from pulumi_visgate.local.emulator.traffic import Traffic
from pulumi_visgate.local.emulator.usage import Usage
from pulumi_visgate.local.emulator.webhooks import Webhooks

_CLOCK = "clock offset"


class Emulator:
    """One emulated Runpod.

    Args:
        settings: What it is started with.

    Raises:
        StartError: Its data folder is in use or cannot be written.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.base_url = settings.base_url
        try:
            settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
            settings.volumes.mkdir(parents=True, exist_ok=True)
            self._lock = FolderLock(settings.data)
            self.store = Store(settings.database)
        except OSError as error:
            detail = f"The folder {error.filename or settings.data} cannot be used: {error.strerror}."
            raise StartError(detail, hint="Choose another --data or --volumes.") from None
        self.clock = Clock(self.store.recall(_CLOCK, 0.0))
        self.bells = Bells()
        self.faults = Faults()
        self.traffic = Traffic(settings.latency_ms)
        self.identity = Identity(self.store)
        self.quota = Quota(self.clock, settings.quota_per_minute, settings.quota_per_hour)
        self.images = Images(self.store, settings.images)
        self.logs = Logs(self.store, self.clock, self.bells, keep=settings.log_lines)
        self.usage = Usage(self.store, self.clock)
        self.webhooks = Webhooks(settings.webhook_retry_s)
        self.bind_templates = settings.bind_templates
        self.quirks = Quirks()
        self.stock = Stock()
        self.closing = False
        self.queue = JobQueue(
            self.store, self.clock, settings, self.bells, on_change=self._changed, on_final=self._job_ended
        )
        parts = Parts(
            *(self.store, self.clock, settings, self.bells, self.logs, self.usage, self.queue, self.faults),
            *(self.identity, self.images),
        )
        self.fleet = Fleet(parts, place=self._place, environment=self._environment, on_change=self._changed)
        self.scheduler = Scheduler(
            *(self.store, self.clock, settings, self.bells), queue=self.queue, fleet=self.fleet, usage=self.usage
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Clear up after an earlier run and start to scale."""
        self.fleet.recover()
        self.queue.recover()
        self.usage.recover()
        self._task = asyncio.create_task(self.scheduler.run(), name="scheduler")

    def shut(self) -> None:
        """Let every held request go, so that connections can close."""
        self.closing = True
        self.bells.ring_all()

    async def close(self) -> None:
        """End every worker and close the database."""
        self.shut()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        await self.fleet.close()
        await self.webhooks.close()
        self.queue.recover()
        self.store.close()
        self._lock.release()

    def advance(self, seconds: float) -> None:
        """Move the clock forward and let everything react to it."""
        self.clock.advance(seconds)
        self.store.remember(_CLOCK, self.clock.offset_s)
        self.scheduler.touch_all()

    def volume_of(self, endpoint: Doc, data_center: str | None) -> Record | None:
        """Return the network volume that a worker in this data center mounts, or None."""
        for identifier in endpoint["networkVolumes"]:
            volume = self.store.get(Kind.VOLUME, identifier)
            if volume is not None and data_center in {None, volume.doc["dataCenter"]}:
                return volume
        return None

    def _changed(self, endpoint: str) -> None:
        self.scheduler.touch(endpoint)

    def _job_ended(self, job: str) -> None:
        row = self.store.row("SELECT * FROM job WHERE id = ?", job)
        if row is not None and row["webhook"]:
            self.webhooks.deliver(row["webhook"], webhook_body(row))

    def _place(self, endpoint: Doc) -> Placement | None:
        centers = endpoint["dataCenterIds"]
        volumes = [self.store.get(Kind.VOLUME, identifier) for identifier in endpoint["networkVolumes"]]
        with_volume = [volume.doc["dataCenter"] for volume in volumes if volume is not None]
        if with_volume:
            centers = [center for center in with_volume if not centers or center in centers] or with_volume
        if "cpu" in endpoint:
            return place_cpu(
                [(choice["id"], choice["vcpuCount"]) for choice in endpoint["cpu"]], centers, stock=self.stock.of
            )
        gpu = endpoint["gpu"]
        excluded, count = gpu.get("excludedTypes", []), gpu.get("count", 1)
        return place_gpu(gpu["pools"], excluded, count, centers, stock=self.stock.of)

    def _environment(self, worker: Worker) -> Mapping[str, str]:
        return container_environment(worker.config.get("env") or {}, self._platform(worker), os.environ)

    def _platform(self, worker: Worker) -> dict[str, str]:
        """Return the variables that Runpod itself gives a worker."""
        routes = f"{self.base_url}/worker/v2/{worker.endpoint}"
        center = worker.placement.data_center if worker.placement else None
        gpu = worker.config.get("gpu")
        variables = {
            "RUNPOD_POD_ID": worker.id,
            "RUNPOD_POD_HOSTNAME": worker.id,
            "RUNPOD_ENDPOINT_ID": worker.endpoint,
            "RUNPOD_AI_API_KEY": self.identity.issue(worker.account, worker.endpoint, worker.id, Scope.JOBS),
            "RUNPOD_API_KEY": self.identity.issue(worker.account, worker.endpoint, worker.id, Scope.OWN_ENDPOINT),
            "RUNPOD_API_URL": self.base_url,
            "RUNPOD_JOBS_URL": f"{self.base_url}/jobs/v2",
            # The SDK fills in $ID and $RUNPOD_POD_ID, and appends its own parameters with an ampersand.
            "RUNPOD_WEBHOOK_GET_JOB": f"{routes}/job-take/$ID?gpu={_gpu_label(worker)}",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{routes}/job-done/$RUNPOD_POD_ID/$ID?gpu={_gpu_label(worker)}",
            "RUNPOD_WEBHOOK_POST_STREAM": f"{routes}/job-stream/$RUNPOD_POD_ID/$ID?gpu={_gpu_label(worker)}",
            "RUNPOD_WEBHOOK_PING": f"{routes}/ping/$RUNPOD_POD_ID",
            "RUNPOD_PING_INTERVAL": str(self.settings.ping_interval_s * 1000),
            "RUNPOD_GPU_COUNT": str(gpu["count"] if gpu else 0),
            "RUNPOD_DC_ID": center or "",
            "HOME": str(self.settings.scratch / worker.id),
        }
        volume = self.volume_of(worker.config, center)
        if volume is not None:
            variables["RUNPOD_VOLUME_ID"] = volume.id
            variables["VISGATE_VOLUME_PATH"] = str(self.settings.volumes / volume.id)
        return variables


def _gpu_label(worker: Worker) -> str:
    gpu = worker.placement.gpu if worker.placement else None
    return (gpu or "cpu").replace(" ", "+")
