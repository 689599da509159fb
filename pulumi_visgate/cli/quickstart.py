"""`visgate quickstart`: everything on this machine, and two pictures to show for it. `make up` runs this."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

from PIL import Image, UnidentifiedImageError
from pydantic import SecretStr
from rich.console import Console
from rich.text import Text

from pulumi_visgate.cli.console import err
from pulumi_visgate.cli.gateway import AcceptedJob, Gateway
from pulumi_visgate.cli.generate import file_stem
from pulumi_visgate.cli.target import LOCAL_MODEL, Target
from pulumi_visgate.errors import VisgateError
from pulumi_visgate.local import cloud
from pulumi_visgate.local.engine import Changes, Engine
from pulumi_visgate.local.home import Home
from pulumi_visgate.local.receiver import Receiver, receiving
from pulumi_visgate.local.state import CloudState
from visgate_contract.events import Artifact, Event, Status

SIDE_PX = 256
STEPS = 8
WARM_S = 2.0
COLD_S = 300.0
SEED = 7
PROMPT = "a red fox"
_MODEL_S = 300
_IN_PROGRESS = re.compile(
    r"^\s*@ |(creating|updating|deleting|refreshing|reading|refresh) \([\d.]+s\)$|^(Updating|Destroying) \("
)


class QuickstartError(VisgateError):
    """A step did not show what it must."""


class Steps:
    """Prints each step with the time it took.

    Args:
        console: Where to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def step(self, doing: str) -> Iterator[Callable[[str], None]]:
        """Time a step; it says itself what came of it.

        Args:
            doing: What is being done, shown until it is.
        """
        result: list[str] = []
        started = perf_counter()
        with self._console.status(doing):
            yield result.append
        for line in result:
            self.done(line, perf_counter() - started)

    def done(self, line: str, seconds: float) -> None:
        """Print what was done, and how long it took."""
        mark = Text("✓ ", style="bold green")
        self._console.print(mark + Text(f"{line:<72}") + Text(f"{seconds:8.2f} s", style="cyan"))

    def note(self, line: str) -> None:
        """Print something that took no time of its own."""
        self._console.print(Text(f"  {line}"))

    def aside(self, line: str) -> None:
        """Print what a tool says, the lines apart that only tell of work in progress."""
        if _IN_PROGRESS.search(line):
            return
        self._console.print(Text(f"    {line}", style="dim"))


def quickstart(*, prompt: str = PROMPT, seed: int = SEED) -> Path:
    """Bring up the local stack, generate a picture cold and again warm, and check all of it.

    Args:
        prompt: What to draw.
        seed: Of both pictures.

    Returns:
        The picture.

    Raises:
        VisgateError: A step failed; its message says which and what to do.
    """
    steps = Steps(err())
    home = Home.find(os.environ, Path.cwd())
    project = Path.cwd()
    with steps.step("starting the local cloud") as done:
        report = cloud.up(home, environ=os.environ, say=steps.aside)
        done("local cloud up" + ("" if report.started else " already"))
    engine = Engine.of(home, report.state, project=project, environ=os.environ, say=steps.aside)
    with steps.step("asking for the engine") as done:
        done(f"engine ready: pulumi {engine.version()}")
    with steps.step("making a tiny model") as done:
        model_folder = make_tiny_model(home)
        done(f"model ready: {LOCAL_MODEL} in {_short(model_folder, project)}")
    with steps.step("bringing up the stack") as done:
        changes = bring_up(engine)
        done(f"stack up: {changes.total} resources ({changes['create']} created, {changes['same']} unchanged)")
    target = Target(gateway_url(engine.outputs()), SecretStr(report.environment["RUNPOD_API_KEY"]), LOCAL_MODEL)
    picture = project / f"{file_stem(prompt)}.png"
    with Gateway(target) as gateway, receiving(gateway.webhook_secret()) as receiver:
        first = _request(steps, gateway, receiver, prompt=prompt, seed=seed)
        with steps.step("downloading") as done:
            gateway.download(first, picture)
            check_picture(picture)
            done(f"file saved: {_short(picture, project)} ({SIDE_PX} x {SIDE_PX} PNG)")
        _again(steps, gateway, prompt=prompt, seed=seed, first=first)
    _print_ways_on(steps, target, home, report.state)
    return picture


def make_tiny_model(home: Home) -> Path:
    """Make the local model unless it is there (a few MB, in the diffusers folder format).

    Args:
        home: Where it goes.

    Raises:
        QuickstartError: It could not be made.
    """
    folder = home.models / LOCAL_MODEL
    command = [sys.executable, "-m", "visgate_worker.tiny_model", str(folder)]
    made = subprocess.run(command, capture_output=True, text=True, timeout=_MODEL_S, check=False)  # noqa: S603 - own module
    if made.returncode != 0:
        end = "\n".join(made.stderr.splitlines()[-10:])
        detail = f"The tiny model could not be made:\n{end}"
        raise QuickstartError(detail, hint="`visgate doctor` says what is missing; `make setup` installs it.")
    return folder


def bring_up(engine: Engine) -> Changes:
    """Run `pulumi up` of the local stack; one that was there before is compared with the account first.

    Args:
        engine: Runs it.

    Raises:
        EngineError: It failed.
    """
    known = engine.has_stack()
    engine.ensure_stack()
    return engine.up(refresh=known)


def gateway_url(outputs: dict[str, Any]) -> str:
    """Return the gateway's URL from the outputs of a stack.

    Raises:
        QuickstartError: The stack has no gateway.
    """
    url = outputs.get("gateway_url")
    if not isinstance(url, str):
        detail = "The stack has no output gateway_url."
        raise QuickstartError(detail, hint=f"Its outputs are: {', '.join(sorted(outputs)) or 'none'}.")
    return url


def check_picture(file: Path, *, side_px: int = SIDE_PX) -> None:
    """See that a file is a whole PNG of the asked size.

    Args:
        file: The picture.
        side_px: Width and height.

    Raises:
        QuickstartError: It is not.
    """
    try:
        with Image.open(file) as picture:
            picture.load()
            found = (picture.format, *picture.size)
    except (OSError, UnidentifiedImageError) as error:
        detail = f"{file} is no picture: {error}."
        raise QuickstartError(detail) from error
    if found != ("PNG", side_px, side_px):
        detail = f"{file} is {found[0]} of {found[1]} x {found[2]}; a PNG of {side_px} x {side_px} was asked for."
        raise QuickstartError(detail)


def _request(steps: Steps, gateway: Gateway, receiver: Receiver, *, prompt: str, seed: int) -> Artifact:
    """Send the first request and follow it by its webhooks alone."""
    with steps.step("sending a request") as done:
        accepted = _submit(gateway, prompt=prompt, seed=seed, webhook_url=receiver.url)
        done(f"request accepted: {accepted.status} ({accepted.job_id})")
    started = perf_counter()
    for delivery in receiver.deliveries(timeout_s=COLD_S):
        if not delivery.verified or delivery.event is None:
            detail = "A webhook arrived whose signature is not right."
            raise QuickstartError(detail, hint="`visgate local logs` shows what the worker said.")
        data = delivery.event.data
        progress = f" {data.progress.step}/{data.progress.steps}" if data.progress else ""
        line = f"webhook #{data.sequence} {data.status}{progress}, signature verified"
        steps.done(line, perf_counter() - started)
        if data.status is Status.FAILED:
            reason = data.error
            detail = f"The job failed: {reason.detail if reason else 'without a reason'}"
            raise QuickstartError(detail, hint=reason.hint if reason else "")
        if data.status is Status.READY:
            steps.note(f"CDN link: {data.artifacts[0].url}")
            return data.artifacts[0]
    detail = f"No terminal webhook came within {COLD_S:.0f} s."
    raise QuickstartError(detail, hint="`visgate local logs` shows what the worker said.")


def _again(steps: Steps, gateway: Gateway, *, prompt: str, seed: int, first: Artifact) -> None:
    """Send the same request again: it must be warm, fast to answer, and give the same bytes."""
    started = perf_counter()
    with steps.step("sending it again") as done:
        accepted = _submit(gateway, prompt=prompt, seed=seed)
        answered_s = perf_counter() - started
        done(f"second request answered: {accepted.status}")
    if accepted.status != "warm_ready" or answered_s >= WARM_S:
        detail = f"The second request was answered {accepted.status} after {answered_s:.2f} s."
        raise QuickstartError(detail, hint=f"warm_ready in under {WARM_S:.0f} s is expected; is the machine very busy?")
    ready = _last(gateway.events(accepted.job_id, timeout_s=COLD_S))
    seconds = perf_counter() - started
    if not ready.data.artifacts:
        detail = f"The second job failed: {ready.data.error.detail if ready.data.error else 'without a reason'}"
        raise QuickstartError(detail)
    second = ready.data.artifacts[0]
    if second.sha256 != first.sha256:
        detail = f"Seed {seed} gave two different pictures: SHA-256 {first.sha256[:12]}… and {second.sha256[:12]}…."
        raise QuickstartError(detail)
    steps.done(f"same seed, same bytes: SHA-256 {second.sha256[:16]}…", seconds)


def _submit(gateway: Gateway, *, prompt: str, seed: int, webhook_url: str | None = None) -> AcceptedJob:
    wished = {"prompt": prompt, "width": SIDE_PX, "height": SIDE_PX, "steps": STEPS, "seed": seed}
    body: dict[str, Any] = {"model": LOCAL_MODEL, "task": "text2img", "input": wished}
    return gateway.submit(body | ({"webhook_url": webhook_url} if webhook_url else {}))


def _last(events: Iterator[Event]) -> Event:
    *_, last = events
    return last


def _print_ways_on(steps: Steps, target: Target, home: Home, state: CloudState) -> None:
    steps.note("")
    steps.note(f"gateway   {target.url}/docs")
    steps.note(f"CDN       {state.url('host')}/cdn")
    steps.note(f"logs      visgate local logs -f      ({_short(home.logs, Path.cwd())})")
    steps.note('next      .venv/bin/visgate generate "a blue whale"      or      make down')


def _short(path: Path, base: Path) -> str:
    return str(path.relative_to(base)) if path.is_relative_to(base) else str(path)
