"""Settings of one emulator, read once at its border."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

WORKER_REPOSITORY = "visgate-worker"
MB = 1_000_000


@dataclass(frozen=True)
class Settings:
    """What an emulator is started with.

    Args:
        data: Folder of the database, worker scratch folders and lock.
        volumes: Folder that holds one folder for each network volume.
        host: Address to listen on; the admin routes answer loopback peers only, whatever this is.
        port: Port to listen on; 0 takes a free one.
        images: Command line for an image reference (`repo:tag`) or repository (`repo`).
        quota_per_minute: Control plane requests of one account in a minute; Runpod's own default is 60.
        quota_per_hour: The same in an hour; Runpod's own default is 3000.
        latency_ms: Delay of every control and job plane answer.
        idle_scale: Factor on `idleTimeout`, to wait less in demos.
        poll_s: Longest time a worker's job-take request is held open.
        ping_interval_s: How often workers report that they live.
        kill_grace_s: Seconds between SIGTERM and SIGKILL of a worker.
        stop_grace_s: Seconds a worker may take to drop a job that was cancelled or ran out of time.
        max_attempts: How often a job is given to workers that die with it before it fails.
        result_s: How long results of `/run` are kept.
        sync_result_s: How long results of `/runsync` are kept.
        webhook_retry_s: Pause between the three attempts to deliver a job's webhook.
        max_job_bytes: Largest `/run` body; `/runsync` takes twice that.
        log_lines: Lines kept of each worker.
        bind_templates: A template named at creation belongs to the endpoint and is deleted with it.
    """

    data: Path
    volumes: Path
    host: str = "127.0.0.1"
    port: int = 0
    images: Mapping[str, str] = field(default_factory=dict)
    quota_per_minute: int = 6_000
    quota_per_hour: int = 300_000
    latency_ms: float = 0.0
    idle_scale: float = 1.0
    poll_s: float = 20.0
    ping_interval_s: int = 10
    kill_grace_s: float = 5.0
    stop_grace_s: float = 10.0
    max_attempts: int = 3
    result_s: float = 1800.0
    sync_result_s: float = 60.0
    webhook_retry_s: float = 10.0
    max_job_bytes: int = 10 * MB
    log_lines: int = 10_000
    bind_templates: bool = False

    @property
    def base_url(self) -> str:
        """Where this machine reaches it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104, compared, not bound
        return f"http://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{self.port}"

    @property
    def database(self) -> Path:
        """The SQLite file, readable by its owner only: it holds environment values of endpoints."""
        return self.data / "emulator.sqlite3"

    @property
    def scratch(self) -> Path:
        """Parent of the container disks of running workers."""
        return self.data / "workers"


def default_command(repository: str) -> list[str] | None:
    """Return the command for an image that nobody mapped: this product's own worker, or None."""
    if repository.endswith(WORKER_REPOSITORY):
        return [sys.executable, "-m", "visgate_worker"]
    return None


def repository_of(image: str) -> str:
    """Return an image reference without digest and tag: `host:5000/team/app:1` is `host:5000/team/app`."""
    repository = image.partition("@")[0]
    head, slash, last = repository.rpartition("/")
    return head + slash + last.partition(":")[0]
