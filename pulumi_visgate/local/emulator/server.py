"""Serves an emulator: socket, ready line, orderly end."""

import asyncio
import dataclasses
import json
import os
import signal
import socket
import sys
from collections.abc import Callable

import uvicorn

from pulumi_visgate.local.emulator.app import build
from pulumi_visgate.local.emulator.core import Emulator
from pulumi_visgate.local.emulator.errors import StartError
from pulumi_visgate.local.emulator.settings import Settings

_BACKLOG = 512
_CLOSE_S = 2


class _Server(uvicorn.Server):
    """Lets held requests go when it is told to stop."""

    def __init__(self, config: uvicorn.Config, emulator: Emulator, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._emulator = emulator
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._emulator.shut()
        await super().shutdown(sockets)


def bind(settings: Settings) -> socket.socket:
    """Return a listening socket.

    Raises:
        StartError: The address cannot be had.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # The protocol has to be named: only then does asyncio switch off the delay of small packets, 40 ms an answer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        detail = f"Cannot listen on {settings.host} port {settings.port}: {error.strerror}."
        raise StartError(detail, hint="Choose another --port; 0 takes a free one.") from None
    listener.listen(_BACKLOG)
    return listener


def ready_line(settings: Settings) -> str:
    """Return the one line printed when requests are answered: JSON with the URLs."""
    base = settings.base_url
    return json.dumps({"ready": True, "api_url": base, "jobs_url": f"{base}/jobs/v2", "port": settings.port})


async def serve(settings: Settings, *, on_ready: Callable[[Settings], None], until_eof: bool = False) -> None:
    """Run an emulator until SIGTERM or SIGINT.

    Args:
        settings: What to run; port 0 takes a free one.
        on_ready: Called once with the settings in force when requests are answered.
        until_eof: End at the end of standard input too, which comes when the process that holds it has gone.

    Raises:
        StartError: It cannot start.
    """
    listener = bind(settings)
    # The server raises the signal that ended it once more when it has closed; workers still have to be ended then.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    try:
        settings = dataclasses.replace(settings, port=listener.getsockname()[1])
        emulator = Emulator(settings)
        try:
            await emulator.start()
            config = uvicorn.Config(
                build(emulator), lifespan="off", access_log=False, log_level="error", server_header=False,
                timeout_graceful_shutdown=_CLOSE_S, timeout_keep_alive=75,
            )  # fmt: skip
            if until_eof:
                asyncio.get_running_loop().add_reader(sys.stdin, _end_at_eof)
            await _Server(config, emulator, lambda: on_ready(settings)).serve([listener])
        finally:
            await emulator.close()
    finally:
        listener.close()


def run(settings: Settings, *, on_ready: Callable[[Settings], None], until_eof: bool = False) -> None:
    """Run an emulator in this process until it is told to stop, as `serve` does."""
    asyncio.run(serve(settings, on_ready=on_ready, until_eof=until_eof))


def _end_at_eof() -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        asyncio.get_running_loop().remove_reader(sys.stdin)
        signal.raise_signal(signal.SIGTERM)
