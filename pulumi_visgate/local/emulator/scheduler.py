"""The autoscaler: brings every endpoint's workers to what its queue and limits ask for.

It sleeps until something changes or a deadline comes; an endpoint at rest costs nothing.
"""

import asyncio
from collections.abc import Sequence

from pulumi_visgate.local.emulator.bells import Bells
from pulumi_visgate.local.emulator.clock import Clock
from pulumi_visgate.local.emulator.fleet import Fleet, Worker, WorkerState
from pulumi_visgate.local.emulator.jobs import JobQueue
from pulumi_visgate.local.emulator.scaling import INACTIVITY, Limits, Wish, wish
from pulumi_visgate.local.emulator.settings import Settings
from pulumi_visgate.local.emulator.store import Kind, Record, Store
from pulumi_visgate.local.emulator.usage import Usage

_BELL = "scheduler"
_BEAT_S = 5.0
_READY = frozenset({WorkerState.IDLE, WorkerState.RUNNING})
_AT_REST = frozenset({WorkerState.IDLE, WorkerState.UNHEALTHY, WorkerState.THROTTLED})


class Scheduler:
    """Watches every endpoint.

    Args:
        store: Holds the endpoints.
        clock: The emulator's time.
        settings: Scale of idle times.
        bells: Wakes it.
        queue: Tells how much work there is.
        fleet: Starts and stops workers.
        usage: Gets a beat while workers run.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        settings: Settings,
        bells: Bells,
        *,
        queue: JobQueue,
        fleet: Fleet,
        usage: Usage,
    ) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._bells = bells
        self._queue = queue
        self._fleet = fleet
        self._usage = usage
        self._dirty: set[str] = set()
        self._due: dict[str, float] = {}

    def touch(self, endpoint: str) -> None:
        """Look at an endpoint soon, because something has changed."""
        self._dirty.add(endpoint)
        self._bells.ring(_BELL)

    def touch_all(self) -> None:
        """Look at every endpoint, because time or capacity has changed."""
        self._dirty.update(record.id for record in self._store.list(Kind.ENDPOINT))
        self._dirty.update(worker.endpoint for worker in self._fleet.all())
        for worker in self._fleet.all():
            self._bells.ring(worker.bell)
        self._bells.ring(_BELL)

    async def run(self) -> None:
        """Keep endpoints in shape until cancelled."""
        self.touch_all()
        beat_at = 0.0
        while True:
            now = self._clock.now()
            if self._fleet.all() and now >= beat_at:
                self._usage.beat()
                beat_at = now + _BEAT_S
            due = {endpoint for endpoint, at in self._due.items() if at <= now}
            endpoints, self._dirty = self._dirty | due, set()
            for endpoint in endpoints:
                self._reconcile(endpoint)
            if not self._dirty:
                await self._bells.wait(_BELL, timeout_s=self._sleep_s())
            await asyncio.sleep(0)

    def _sleep_s(self) -> float | None:
        times = [at - self._clock.now() for at in self._due.values()]
        if self._fleet.all():
            times.append(_BEAT_S)
        return max(0.0, min(times)) if times else None

    def _reconcile(self, endpoint: str) -> None:
        self._due.pop(endpoint, None)
        record = self._store.get(Kind.ENDPOINT, endpoint)
        if record is None:
            for worker in self._fleet.of(endpoint):
                self._fleet.stop(worker)
            return
        for job, holder in self._queue.expire(endpoint):
            held_by = self._fleet.get(holder)
            if held_by is not None:
                self._fleet.signal_stop(held_by, job)
        inactive_at = self._lower_inactive(record)
        now = self._clock.now()
        limits = Limits.of(record.doc, idle_scale=self._settings.idle_scale)
        wanted = wish(limits, self._queue.demand(endpoint), now)
        self._restart_stuck(endpoint, now)
        idle_at = self._scale(record, limits, wanted, now)
        stuck_at = [at for worker in self._fleet.of(endpoint) for at in worker.stopping.values()]
        deadlines = [wanted.again_at, self._queue.next_expiry(endpoint), inactive_at, idle_at, *stuck_at]
        coming = [at for at in deadlines if at is not None]
        if coming:
            self._due[endpoint] = min(coming)

    def _scale(self, record: Record, limits: Limits, wanted: Wish, now: float) -> float | None:
        """Start and stop workers; return when the next idle one is due."""
        workers = [worker for worker in self._fleet.of(record.id) if not worker.ending]
        current = [w for w in workers if w.version == record.meta["version"] and not w.retiring]
        outdated = [w for w in workers if w not in current]
        surplus = len(current) - limits.maximum
        for worker in sorted(current, key=lambda w: w.state not in _AT_REST)[: max(0, surplus)]:
            self._retire([worker])
            current.remove(worker)
        missing = self._roll(current, outdated, limits, wanted)
        for _ in range(missing):
            if len(self._fleet.of(record.id)) >= max(limits.maximum, wanted.workers):
                break  # a worker that is ending still holds its place
            current.append(self._fleet.start(record))
        return self._idle_out(current, limits, wanted, now)

    def _roll(self, current: Sequence[Worker], outdated: Sequence[Worker], limits: Limits, wanted: Wish) -> int:
        """Replace workers of former releases one by one, idle ones first; return how many new ones to start.

        An outdated worker stays until a new one is ready in its place, unless there is no room for both.
        """
        missing = max(0, wanted.workers - len(current))
        ready = sum(worker.state in _READY for worker in current)
        stay = max(0, wanted.workers - ready)
        if not outdated:
            return missing
        idle_first = sorted(outdated, key=lambda w: w.state is WorkerState.RUNNING)
        serving = [w for w in idle_first if w.state in _READY and not w.retiring]
        leaving = serving[: max(0, len(serving) - stay)]
        if not leaving and missing and len(current) == ready and len(current) + len(serving) >= limits.maximum:
            leaving = serving[:1]
        self._retire([w for w in outdated if w in leaving or w not in serving])
        return min(missing, 1) if len(current) == ready else 0

    def _idle_out(self, current: Sequence[Worker], limits: Limits, wanted: Wish, now: float) -> float | None:
        spare = len(current) - wanted.workers
        next_at: float | None = None
        for worker in sorted(current, key=lambda w: w.idle_since or w.created):
            if spare <= 0:
                break
            if worker.state is WorkerState.RUNNING:
                continue
            no_use = worker.state in {WorkerState.UNHEALTHY, WorkerState.THROTTLED}
            due = now if no_use else (worker.idle_since or worker.created) + limits.idle_s
            if due <= now:
                self._fleet.stop(worker)
                spare -= 1
            else:
                next_at = due if next_at is None else min(next_at, due)
        return next_at

    def _retire(self, workers: Sequence[Worker]) -> None:
        for worker in workers:
            worker.retiring = True
            if worker.state is not WorkerState.RUNNING:
                self._fleet.stop(worker)

    def _restart_stuck(self, endpoint: str, now: float) -> None:
        for worker in self._fleet.of(endpoint):
            if worker.process is not None and any(at <= now for at in worker.stopping.values()):
                worker.stopping.clear()
                worker.process.kill()

    def _lower_inactive(self, record: Record) -> float | None:
        """Lower the maximum of an endpoint that nobody uses, as Runpod does; return when that is due next."""
        workers = record.doc["workers"]
        quiet_since = self._store.recall(f"activity {record.id}", record.created)
        quiet_s = self._clock.now() - quiet_since
        for after_s, maximum in INACTIVITY:
            if quiet_s >= after_s and workers["max"] > maximum:
                workers["max"] = maximum
                workers["min"] = min(workers["min"], maximum)
                self._store.save(record)
        coming = [quiet_since + after_s for after_s, maximum in INACTIVITY if workers["max"] > maximum]
        return min(coming, default=None)
