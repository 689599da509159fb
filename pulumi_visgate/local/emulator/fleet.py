"""The workers: real processes that run an endpoint's image, from placement to their end.

Each worker is one task here: place it, start its process, restart it with growing pauses when it crashes, and clear up.
"""

import asyncio
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import psutil

from pulumi_visgate.local.emulator.bells import Bells
from pulumi_visgate.local.emulator.catalog import SECONDS_OF_HOUR, Placement
from pulumi_visgate.local.emulator.clock import Clock
from pulumi_visgate.local.emulator.faults import FaultKind, Faults
from pulumi_visgate.local.emulator.identity import Identity
from pulumi_visgate.local.emulator.images import Images
from pulumi_visgate.local.emulator.jobs import JobQueue, queue_bell
from pulumi_visgate.local.emulator.logs import CONTAINER, SYSTEM, Logs, log_bell
from pulumi_visgate.local.emulator.process import Watch, WorkerProcess
from pulumi_visgate.local.emulator.reaper import kill_group
from pulumi_visgate.local.emulator.settings import Settings
from pulumi_visgate.local.emulator.store import Doc, Kind, Record, Store, new_id
from pulumi_visgate.local.emulator.usage import Component, Usage

_CAPACITY_CHECK_S = 2.0
_MAX_PAUSE_S = 30.0
_FIRST_PAUSE_S = 0.5
_KEPT_WORKERS = 200
WORKER_ID_LENGTH = 14


class WorkerState(StrEnum):
    """States of a worker, as the API names them."""

    RUNNING = "RUNNING"
    IDLE = "IDLE"
    INITIALIZING = "INITIALIZING"
    THROTTLED = "THROTTLED"
    UNHEALTHY = "UNHEALTHY"


@dataclass(slots=True, eq=False)
class Worker:
    """One worker.

    Args:
        id: Its identifier, `RUNPOD_POD_ID` in its environment.
        endpoint: Endpoint id.
        account: Who pays.
        version: Version of the endpoint's configuration it was started with.
        config: That configuration, as the API answers it.
        created: When it was asked for, in seconds since the epoch.
    """

    id: str
    endpoint: str
    account: str
    version: int
    config: Doc
    created: float
    placement: Placement | None = None
    process: WorkerProcess | None = None
    started: float | None = None
    idle_since: float | None = None
    jobs: set[str] = field(default_factory=set)
    stopping: dict[str, float] = field(default_factory=dict)
    signals: list[str] = field(default_factory=list)
    failures: int = 0
    trouble: WorkerState | None = None
    retiring: bool = False
    ending: bool = False
    task: asyncio.Task[None] | None = None

    @property
    def state(self) -> WorkerState:
        """Its state as the API shows it."""
        if self.trouble is not None:
            return self.trouble
        if self.jobs or self.stopping:
            return WorkerState.RUNNING
        return WorkerState.INITIALIZING if self.idle_since is None else WorkerState.IDLE

    @property
    def bell(self) -> str:
        """Name of the bell that rings when this worker has to look up."""
        return f"worker {self.id}"


@dataclass(frozen=True, slots=True)
class Parts:
    """What the fleet works with."""

    store: Store
    clock: Clock
    settings: Settings
    bells: Bells
    logs: Logs
    usage: Usage
    queue: JobQueue
    faults: Faults
    identity: Identity
    images: Images


class Fleet:
    """All workers of all endpoints.

    Args:
        parts: What it works with.
        place: Finds a place for a worker of this configuration.
        environment: What a worker finds in its environment.
        on_change: Called with the endpoint id when a worker's state has changed.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        place: Callable[[Doc], Placement | None],
        environment: Callable[[Worker], Mapping[str, str]],
        on_change: Callable[[str], None],
    ) -> None:
        self._parts = parts
        self._place = place
        self._environment = environment
        self._on_change = on_change
        self._watch = Watch()
        self._workers: dict[str, Worker] = {}

    def of(self, endpoint: str) -> list[Worker]:
        """Return the workers of an endpoint, oldest first."""
        return [worker for worker in self._workers.values() if worker.endpoint == endpoint]

    def get(self, worker: str) -> Worker | None:
        """Return a worker that has not ended, or None."""
        return self._workers.get(worker)

    def all(self) -> list[Worker]:
        """Return every worker that has not ended."""
        return list(self._workers.values())

    def knows(self, endpoint: str, worker: str) -> bool:
        """Tell whether this was ever a worker of this endpoint, as far as is remembered."""
        row = self._parts.store.row("SELECT 1 FROM worker WHERE id = ? AND endpoint = ?", worker, endpoint)
        return row is not None

    def start(self, record: Record) -> Worker:
        """Start a worker of an endpoint."""
        now = self._parts.clock.now()
        worker = Worker(
            new_id(WORKER_ID_LENGTH), record.id, record.account, record.meta["version"], record.doc, created=now
        )
        self._parts.store.execute(
            "INSERT INTO worker (id, endpoint, account, created) VALUES (?, ?, ?, ?)",
            *(worker.id, worker.endpoint, worker.account, now),
        )
        self._workers[worker.id] = worker
        worker.task = asyncio.create_task(self._live(worker), name=f"worker {worker.id}")
        return worker

    def stop(self, worker: Worker, *, at_once: bool = False) -> None:
        """End a worker.

        Args:
            worker: Which.
            at_once: Kill it instead of asking first.
        """
        already = worker.ending
        worker.ending = True
        if worker.process is not None:
            if at_once:
                worker.process.kill()
            elif not already:
                worker.process.terminate()
                asyncio.get_running_loop().call_later(self._parts.settings.kill_grace_s, worker.process.kill)
        self._parts.bells.ring(worker.bell, queue_bell(worker.endpoint))

    def ready(self, worker: Worker) -> None:
        """Note that a worker asks for jobs and has none in hand."""
        worker.stopping.clear()
        if worker.trouble is WorkerState.UNHEALTHY:
            worker.trouble = None
        if worker.idle_since is None:
            worker.idle_since = self._parts.clock.now()
            self._system(worker, "worker is ready")
            self._on_change(worker.endpoint)

    def took(self, worker: Worker, job: str) -> None:
        """Note that a worker has a job in hand."""
        worker.jobs.add(job)
        self._on_change(worker.endpoint)
        fault = self._parts.faults.on_worker(FaultKind.WORKER_DEATH, worker.endpoint)
        if fault is not None and worker.process is not None:
            asyncio.get_running_loop().call_later((fault.delay_ms or 0.0) / 1000, worker.process.kill)

    def finished(self, worker: Worker, job: str) -> None:
        """Note that a job is no longer in a worker's hands."""
        worker.jobs.discard(job)
        worker.stopping.pop(job, None)
        worker.failures = 0
        if not worker.jobs:
            worker.idle_since = self._parts.clock.now()
        self._on_change(worker.endpoint)

    def signal_stop(self, worker: Worker, job: str) -> None:
        """Tell a worker to drop a job; it is restarted when it does not within `stop_grace_s`."""
        worker.jobs.discard(job)
        worker.stopping[job] = self._parts.clock.now() + self._parts.settings.stop_grace_s
        worker.signals.append(job)
        self._parts.bells.ring(worker.bell)
        self._on_change(worker.endpoint)

    def report_unhealthy(self, worker: Worker, reason: str) -> None:
        """Note that a worker's own checks have failed."""
        worker.trouble = WorkerState.UNHEALTHY
        self._system(worker, f"fitness check failed: {reason}")
        self._on_change(worker.endpoint)

    async def close(self) -> None:
        """End every worker, first politely, and wait until they are gone."""
        workers = self.all()
        for worker in workers:
            self.stop(worker)
        await asyncio.gather(*(worker.task for worker in workers if worker.task is not None), return_exceptions=True)
        await self._watch.close()

    async def kill(self, workers: Sequence[Worker]) -> None:
        """Kill some workers and wait until they are gone."""
        for worker in workers:
            self.stop(worker, at_once=True)
        await asyncio.gather(*(worker.task for worker in workers if worker.task is not None), return_exceptions=True)

    def recover(self) -> None:
        """Clear up after an emulator that ended without doing so: kill its workers and close their rows."""
        store = self._parts.store
        orphans = store.rows("SELECT id, pid, pid_started FROM worker WHERE ended IS NULL")
        for row in orphans:
            if row["pid"] is not None:
                kill_group(row["pid"], row["pid_started"])
        lost = {row["id"] for row in orphans if row["pid"] is None}
        if lost:
            _kill_unrecorded(lost)
        store.execute("UPDATE worker SET ended = ? WHERE ended IS NULL", self._parts.clock.now())
        shutil.rmtree(self._parts.settings.scratch, ignore_errors=True)

    async def _live(self, worker: Worker) -> None:
        try:
            while not worker.ending:
                worker.placement = worker.placement or await self._placed(worker)
                if worker.ending or await self._run(worker):
                    break
        finally:
            self._end(worker)

    async def _placed(self, worker: Worker) -> Placement | None:
        while not worker.ending:
            full = self._parts.faults.on_worker(FaultKind.NO_CAPACITY, worker.endpoint)
            placement = None if full else self._place(worker.config)
            if placement is not None:
                worker.trouble = None
                component = Component.GPU if placement.gpu else Component.CPU
                per_second = placement.per_hour / SECONDS_OF_HOUR
                self._parts.usage.start(worker.account, worker.endpoint, component, per_second, worker=worker.id)
                return placement
            if worker.trouble is None:
                worker.trouble = WorkerState.THROTTLED
                self._system(worker, "waiting for capacity: no machine with this GPU is free in these data centers")
                self._on_change(worker.endpoint)
            await self._parts.bells.wait(worker.bell, timeout_s=_CAPACITY_CHECK_S)
        return None

    async def _run(self, worker: Worker) -> bool:
        """Run the worker's process once; tell whether the worker ends with it."""
        code = await self._process(worker)
        worker.process = None
        worker.jobs.clear()
        worker.stopping.clear()
        was_ready, worker.idle_since = worker.idle_since is not None, None
        self._parts.queue.abandon(worker.endpoint, worker.id, f"worker exited with exit code {code}")
        if worker.ending or (code == 0 and was_ready):
            return True
        worker.failures += 1
        worker.trouble = WorkerState.UNHEALTHY
        self._on_change(worker.endpoint)
        if not was_ready or worker.failures > 1:
            pause = min(_MAX_PAUSE_S, _FIRST_PAUSE_S * 2**worker.failures)
            await self._parts.bells.wait(worker.bell, timeout_s=pause)
        worker.trouble = None
        return worker.ending

    async def _process(self, worker: Worker) -> int | None:
        command = self._parts.images.command(worker.config["image"], worker.config.get("args") or "")
        if command is None:
            self._system(worker, self._parts.images.advice(worker.config["image"]))
            return None
        folder = self._scratch(worker)
        self._system(worker, f"start container {worker.config['image']}")
        try:
            process = await WorkerProcess.start(
                command,
                self._environment(worker),
                folder,
                on_lines=lambda lines: self._parts.logs.write(worker.id, CONTAINER, lines),
                watch=self._watch,
            )
        except OSError as error:
            self._system(worker, f"cannot start the container: {error.strerror}: {command[0]}")
            return None
        worker.process = process
        worker.started = self._parts.clock.now()
        self._parts.store.execute(
            "UPDATE worker SET pid = ?, pid_started = ? WHERE id = ?", process.pid, process.created, worker.id
        )
        if worker.ending:
            process.kill()
        code = await process.wait()
        self._system(worker, f"container exited with code {code}")
        return code

    def _end(self, worker: Worker) -> None:
        parts = self._parts
        parts.usage.stop_worker(worker.id)
        parts.identity.revoke(worker.id)
        parts.store.execute("UPDATE worker SET ended = ? WHERE id = ?", parts.clock.now(), worker.id)
        shutil.rmtree(parts.settings.scratch / worker.id, ignore_errors=True)
        self._workers.pop(worker.id, None)
        self._system(worker, "worker has ended")
        parts.bells.ring(worker.bell, log_bell(worker.id))
        if parts.store.get(Kind.ENDPOINT, worker.endpoint) is None:
            self._forget(worker.id)
        self._forget_old(worker.endpoint)
        self._on_change(worker.endpoint)

    def forget_endpoint(self, endpoint: str) -> None:
        """Delete the logs of the workers of an endpoint that is gone; those that still end follow by themselves."""
        for row in self._parts.store.rows("SELECT id FROM worker WHERE endpoint = ?", endpoint):
            if row["id"] not in self._workers:
                self._forget(row["id"])

    def _forget(self, worker: str) -> None:
        self._parts.logs.forget(worker)
        self._parts.store.execute("DELETE FROM worker WHERE id = ?", worker)

    def _forget_old(self, endpoint: str) -> None:
        old = self._parts.store.rows(
            "SELECT id FROM worker WHERE endpoint = ? AND ended IS NOT NULL ORDER BY created DESC LIMIT -1 OFFSET ?",
            *(endpoint, _KEPT_WORKERS),
        )
        for row in old:
            self._forget(row["id"])

    def _scratch(self, worker: Worker) -> Path:
        folder = self._parts.settings.scratch / worker.id
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        return folder

    def _system(self, worker: Worker, line: str) -> None:
        self._parts.logs.write(worker.id, SYSTEM, [line])


def _kill_unrecorded(workers: set[str]) -> None:
    # A worker that was started in the moment before the emulator died is known by its environment only.
    for process in psutil.process_iter():
        try:
            if process.uids().real == os.getuid() and process.environ().get("RUNPOD_POD_ID") in workers:
                process.kill()
        except psutil.Error:
            continue
