"""One worker process: its environment, its output line by line, and its end with everything it has started."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

import psutil

from pulumi_visgate.local.emulator.reaper import kill_group

_CHUNK = 65_536
_MAX_LINE = 16_384
_DRAIN_S = 1.0
_INHERITED = (
    "PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "VIRTUAL_ENV",
    "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "CUDA_HOME",
    "NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "COVERAGE_PROCESS_START",
    "VISGATE_CLOUD_HOME",  # by which the local cloud finds every process of its own
)  # fmt: skip


def container_environment(
    own: Mapping[str, str], platform: Mapping[str, str], host: Mapping[str, str]
) -> dict[str, str]:
    """Return what a worker sees: little of the host, nothing of the user's credentials, then endpoint, then platform.

    Args:
        own: Environment of the endpoint.
        platform: What Runpod sets; wins.
        host: Environment of the emulator, of which only what programs need to run is passed on.
    """
    inherited = {name: host[name] for name in _INHERITED if name in host}
    # The SDK's start-up checks test a rented machine's network and GPU, not a laptop; an endpoint can switch them on.
    defaults = {
        "PYTHONUNBUFFERED": "1",
        "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
        "RUNPOD_SKIP_GPU_CHECK": "true",
    }
    return {**inherited, **defaults, **own, **platform}


class _Lines:
    """Cuts output into lines, also when it comes without any line feed."""

    def __init__(self, emit: Callable[[Sequence[str]], None]) -> None:
        self._emit = emit
        self._rest = b""

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        while len(self._rest) > _MAX_LINE:
            lines.append(self._rest[:_MAX_LINE])
            self._rest = self._rest[_MAX_LINE:]
        self._emit([_text(line) for line in lines])

    def end(self) -> None:
        if self._rest:
            self._emit([_text(self._rest)])
            self._rest = b""


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\r")


class Watch:
    """Keeps the process that kills the workers should the emulator die, started with the first worker."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None

    async def add(self, pid: int, created: float) -> None:
        """Watch over a worker."""
        if self._process is None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "pulumi_visgate.local.emulator.reaper"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        self._tell(f"add {pid} {created!r}")

    def drop(self, pid: int) -> None:
        """Forget a worker that has ended."""
        self._tell(f"drop {pid}")

    async def close(self) -> None:
        """End the watcher; it kills what it still watches over."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            await self._process.wait()
            self._process = None

    def _tell(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(f"{line}\n".encode())


class _Output:
    """The pipe that a worker writes to."""

    def __init__(self, reader: asyncio.StreamReader, transport: asyncio.BaseTransport, write_end: int) -> None:
        self.reader = reader
        self.write_end = write_end
        self._transport = transport

    @classmethod
    async def open(cls) -> Self:
        read_end, write_end = os.pipe()
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb")
        )
        return cls(reader, transport, write_end)

    def close(self) -> None:
        self._transport.close()


class WorkerProcess:
    """A running worker, leader of a process group of its own.

    Args:
        process: The child.
        created: Its start time, by which it is told from a later process with the same id.
        output: Its standard output and standard error.
        lines: Where its output goes.
        watch: Kills it when the emulator dies.
    """

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        created: float,
        output: _Output,
        *,
        lines: _Lines,
        watch: Watch,
    ) -> None:
        self._process = process
        self._output = output
        self._lines = lines
        self._watch = watch
        self.created = created

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        env: Mapping[str, str],
        folder: Path,
        *,
        on_lines: Callable[[Sequence[str]], None],
        watch: Watch,
    ) -> Self:
        """Start a worker.

        Args:
            command: Program and arguments.
            env: Its whole environment.
            folder: Its working directory.
            on_lines: Gets standard output and standard error, mixed as they come.
            watch: Kills it when the emulator dies.

        Raises:
            OSError: The program cannot be started.
        """
        # A pipe of our own: asyncio reports the exit of a process only when its pipes are closed, and a worker's
        # children can hold those open.
        output = await _Output.open()
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                env=dict(env),
                cwd=folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output.write_end,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError:
            output.close()
            raise
        finally:
            os.close(output.write_end)
        try:
            created = psutil.Process(process.pid).create_time()
        except psutil.NoSuchProcess:
            created = 0.0
        await watch.add(process.pid, created)
        return cls(process, created, output, lines=_Lines(on_lines), watch=watch)

    @property
    def pid(self) -> int:
        """Process id, and id of its process group."""
        return self._process.pid

    async def wait(self) -> int:
        """Pass on output until the worker has ended, kill what it has left behind, and return its exit code."""
        pump = asyncio.create_task(self._pump())
        try:
            code = await self._process.wait()
            self.kill()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(pump, _DRAIN_S)
        finally:
            pump.cancel()
            self._output.close()
            self._lines.end()
            self._watch.drop(self.pid)
        return code

    def terminate(self) -> None:
        """Ask the worker to end (SIGTERM)."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM) if self._process.returncode is None else None

    def kill(self) -> None:
        """End the worker and everything in its process group (SIGKILL)."""
        kill_group(self.pid, self.created)

    async def _pump(self) -> None:
        while data := await self._output.reader.read(_CHUNK):
            self._lines.feed(data)
