"""Server processes of a benchmark: started on a free port, awaited, ended."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
from pydantic import SecretStr

from pulumi_visgate.local.toolchain import S3_PROGRAM, program, search_path
from pulumi_visgate.resources._settings import S3Settings

START_DEADLINE_S = 60.0
KEY_ID = "benchmark"
SECRET = "benchmark-secret"  # noqa: S105 - of a server that lives for a benchmark


def free_port() -> int:
    """Return a port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(command: Sequence[str], *, ready_url: str, env: Mapping[str, str] | None = None) -> Iterator[int]:
    """Run a server until the block ends; yields its process id.

    Args:
        command: What to run.
        ready_url: Answers 200 when the server is ready.
        env: Added to the environment.

    Raises:
        RuntimeError: The server ended, or was not ready in a minute.
    """
    process = subprocess.Popen(  # noqa: S603 - our own command
        command, env={**os.environ, **(env or {})}, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        _await(process, ready_url)
        yield process.pid
    finally:
        # A server that ended by itself has no group any more; why it ended is the error to show.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=20)


@contextmanager
def s3_server(data: Path, sidecar: Path) -> Iterator[S3Settings]:
    """Run the S3 server of the toolchain until the block ends.

    Args:
        data: Folder whose folders are the buckets.
        sidecar: Folder for what it knows of objects beside their bytes.
    """
    address = f"127.0.0.1:{free_port()}"
    command = [str(program(S3_PROGRAM, search_path(os.environ))), "--port", address, "--health", "/healthz", "posix"]
    env = {"ROOT_ACCESS_KEY": KEY_ID, "ROOT_SECRET_KEY": SECRET}
    with server([*command, "--sidecar", str(sidecar), str(data)], ready_url=f"http://{address}/healthz", env=env):
        yield S3Settings(f"http://{address}", "us-east-1", KEY_ID, SecretStr(SECRET))


def _await(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            message = f"the server ended with {process.returncode} before {url} answered"
            raise RuntimeError(message)
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url, timeout=2).status_code == httpx.codes.OK:
                return
        time.sleep(0.05)
    message = f"{url} did not answer in {START_DEADLINE_S:g} s"
    raise RuntimeError(message)
