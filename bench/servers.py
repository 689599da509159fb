"""Server processes of a benchmark: started on a free port, awaited, ended."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import httpx

START_DEADLINE_S = 60.0


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
