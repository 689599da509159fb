"""`python -m pulumi_visgate.local.emulator`: run the emulator until SIGTERM."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pulumi_visgate.local.emulator.errors import StartError
from pulumi_visgate.local.emulator.server import ready_line, run
from pulumi_visgate.local.emulator.settings import Settings


def _image(text: str) -> tuple[str, str]:
    image, equals, command = text.partition("=")
    if not (image and equals and command):
        message = f"{text!r} is not IMAGE=COMMAND"
        raise argparse.ArgumentTypeError(message)
    return image, command


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pulumi_visgate.local.emulator", description="Runpod on this machine: API v2, jobs, workers."
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on")
    add("--port", type=int, default=0, help="port to listen on; 0 takes a free one")
    add("--data", type=Path, required=True, help="folder of the database")
    add("--volumes", type=Path, required=True, help="folder of the network volumes")
    add("--image", type=_image, action="append", default=[], metavar="IMAGE=COMMAND", help="what an image runs")
    add("--quota-per-minute", type=int, default=Settings.quota_per_minute, help="requests of an account in a minute")
    add("--quota-per-hour", type=int, default=Settings.quota_per_hour, help="requests of an account in an hour")
    add("--latency-ms", type=float, default=Settings.latency_ms, help="delay of every answer")
    add("--idle-scale", type=float, default=Settings.idle_scale, help="factor on idleTimeout")
    add("--idle-poll", type=float, default=Settings.poll_s, help="seconds an idle worker's request is held")
    add("--ping-interval", type=int, default=Settings.ping_interval_s, help="seconds between a worker's pings")
    add("--kill-grace", type=float, default=Settings.kill_grace_s, help="seconds from SIGTERM to SIGKILL of a worker")
    add("--stop-grace", type=float, default=Settings.stop_grace_s, help="seconds a worker has to drop a job")
    add("--webhook-retry", type=float, default=Settings.webhook_retry_s, help="seconds between webhook attempts")
    add("--log-lines", type=int, default=Settings.log_lines, help="lines kept of each worker")
    add("--until-eof", action="store_true", help="end when standard input does, so with whoever holds it")
    add("--bind-templates", action="store_true", help="delete an endpoint's template with it")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the emulator; returns the exit status."""
    given = _parser().parse_args(arguments)
    settings = Settings(
        data=given.data.absolute(),
        volumes=given.volumes.absolute(),
        host=given.host,
        port=given.port,
        images=dict(given.image),
        quota_per_minute=given.quota_per_minute,
        quota_per_hour=given.quota_per_hour,
        latency_ms=given.latency_ms,
        idle_scale=given.idle_scale,
        poll_s=given.idle_poll,
        ping_interval_s=given.ping_interval,
        kill_grace_s=given.kill_grace,
        stop_grace_s=given.stop_grace,
        webhook_retry_s=given.webhook_retry,
        log_lines=given.log_lines,
        bind_templates=given.bind_templates,
    )
    try:
        run(settings, on_ready=lambda ready: _say(ready_line(ready)), until_eof=given.until_eof)
    except StartError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
