"""Starts the service host of a home; the token and the ports come from its private files, not from the command line."""

import argparse
import os
from pathlib import Path

import uvicorn

from pulumi_visgate.local.environment import hub_upstream
from pulumi_visgate.local.home import Home
from pulumi_visgate.local.host.app import create_app
from pulumi_visgate.local.processes import base_environment
from pulumi_visgate.local.state import LOOPBACK, CloudState


def main() -> None:
    """Serve until SIGTERM, then end the services."""
    parser = argparse.ArgumentParser(prog="python -m pulumi_visgate.local.host", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="the .visgate folder")
    home = Home(parser.parse_args().home.absolute())
    state = CloudState.load(home)
    if state is None:
        parser.error(f"{home.root} holds no local cloud; start one with `visgate local up`")
    environment = base_environment(os.environ, home=home.root)
    app = create_app(home, state, environment, hub_upstream=hub_upstream(os.environ, state))
    # No access log: artifact links may be shared in confidence, and admin routes name services.
    uvicorn.run(app, host=LOOPBACK, port=state.ports["host"], access_log=False, log_level="info")


if __name__ == "__main__":
    main()
