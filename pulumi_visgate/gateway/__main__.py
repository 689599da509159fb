"""`python -m pulumi_visgate.gateway`: serve, with settings from the environment (`VISGATE_GATEWAY_…`)."""

import gc
import os
import sys

import uvicorn
from pydantic import ValidationError

from pulumi_visgate.gateway import logs
from pulumi_visgate.gateway.app import create_app
from pulumi_visgate.gateway.settings import ENV_PREFIX, Settings
from pulumi_visgate.references import UnreadableReferenceError, referenced

SHUTDOWN_S = 5
EXIT_USAGE = 2
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
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,  # the gateway writes its own, without addresses and queries
        server_header=False,
        proxy_headers=False,  # `trusted_proxies` decides whose word is taken
        timeout_graceful_shutdown=SHUTDOWN_S,
        timeout_keep_alive=30,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
