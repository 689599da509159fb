"""`python -m pulumi_visgate.gateway`: serve, with settings from the environment (`VISGATE_GATEWAY_…`)."""

import contextlib
import gc
import os
import socket
import sys

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError

from pulumi_visgate.gateway import logs
from pulumi_visgate.gateway.app import create_app
from pulumi_visgate.gateway.event_stream import OpenStreams
from pulumi_visgate.gateway.protocol import BoundedProtocol
from pulumi_visgate.gateway.settings import ENV_PREFIX, Settings
from pulumi_visgate.references import UnreadableReferenceError, referenced

SHUTDOWN_S = 5
EXIT_USAGE = 2
EXIT_NOT_STARTED = 3
GC_OBJECTS = 20_000


def main() -> int:
    """Read the settings and serve until told to stop; return the exit code."""
    try:
        settings = Settings(**referenced(os.environ, ENV_PREFIX))
    except UnreadableReferenceError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_USAGE
    except ValidationError as error:
        for found in error.errors(include_input=False, include_url=False):
            name = ENV_PREFIX + "_".join(str(part) for part in found["loc"]).upper()
            sys.stderr.write(f"{name}: {found['msg']}\n")
        return EXIT_USAGE
    logs.configure(settings.log_level, settings.log_format, settings.secrets())
    app = create_app(settings)
    # What is there by now stays, and a request leaves next to nothing that only the collector could free.
    gc.freeze()
    gc.set_threshold(GC_OBJECTS, 20, 20)
    server = _Server(server_config(app, settings.host, settings.port), app.state.streams)
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again once it has ended
        server.run()
    return 0 if server.started else EXIT_NOT_STARTED


def server_config(app: FastAPI, host: str, port: int) -> uvicorn.Config:
    """Return how the application is served."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=BoundedProtocol,
        ws="none",
        log_config=None,
        access_log=False,  # the gateway writes its own, without addresses and queries
        server_header=False,
        proxy_headers=False,  # `trusted_proxies` decides whose word is taken
        timeout_graceful_shutdown=SHUTDOWN_S,
        timeout_keep_alive=30,
    )


class _Server(uvicorn.Server):
    """A server that does not wait for streams that never end by themselves.

    Args:
        config: The server's settings.
        streams: Streams that are open.
    """

    def __init__(self, config: uvicorn.Config, streams: OpenStreams) -> None:
        super().__init__(config)
        self._streams = streams

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End streams first, then everything else."""
        self._streams.close()
        await super().shutdown(sockets)


if __name__ == "__main__":
    sys.exit(main())
